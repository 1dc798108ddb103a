//! All the ways in which some server might read one request path. The gate decides on every one of
//! them and forwards the bytes as they came; a path on which two readings would be decided
//! differently is refused. Knows no rule and no route.
//!
//! A server may do any of these steps, in any order, and decode once or twice; so the readings are
//! everything that any sequence of steps leads to.

mod steps;

use crate::domain::limits;
use crate::domain::readings::steps::{Bytes, DECODINGS, STEPS, is_plain};

/// Why a path has no safe set of readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A control character, plain or encoded.
    #[error("the path has a control character")]
    Control,
    /// Does not begin with a slash.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// More readings than any honest path has.
    #[error("the path can be read in too many ways")]
    TooMany,
}

/// One reading on the way, with the number of times it was decoded.
#[derive(Clone, PartialEq, Eq)]
struct Reading {
    path: Vec<u8>,
    decoded: u8,
}

/// Decoding a third time is not something servers do by accident.
const MAX_DECODED: u8 = 2;

/// Shows every reading of the path, the raw one first, until `agrees` says no. Gives whether all
/// agreed. The path comes without its query. A plain path has one reading and costs no more than a
/// look at its bytes.
pub fn all(path: &[u8], mut agrees: impl FnMut(&[u8]) -> bool) -> Result<bool, Unreadable> {
    if is_plain(path) {
        return Ok(agrees(path));
    }
    check(path)?;
    if !path.starts_with(b"/") {
        return Err(Unreadable::NotAbsolute);
    }
    if !agrees(path) {
        return Ok(false);
    }
    let mut readings = vec![Reading {
        path: path.to_vec(),
        decoded: 0,
    }];
    let mut bytes = path.len();
    let mut next = 0;
    while let Some(reading) = readings.get(next).cloned() {
        next += 1;
        for further in reading.steps() {
            if readings.contains(&further) {
                continue;
            }
            check(&further.path)?;
            if !agrees(&further.path) {
                return Ok(false);
            }
            bytes += further.path.len();
            if readings.len() >= limits::MAX_PATH_READINGS || bytes > limits::MAX_READING_BYTES {
                return Err(Unreadable::TooMany);
            }
            readings.push(further);
        }
    }
    Ok(true)
}

fn check(path: &[u8]) -> Result<(), Unreadable> {
    if path.iter().any(u8::is_ascii_control) {
        Err(Unreadable::Control)
    } else {
        Ok(())
    }
}

impl Reading {
    /// What each single step makes of this reading, where it makes a difference.
    fn steps(&self) -> impl Iterator<Item = Self> {
        let path = self.path.as_slice();
        let bytes = Bytes::of(path);
        let decodings = DECODINGS.iter().map(|step| (step, 1));
        let decodings = decodings.filter(|_| self.decoded < MAX_DECODED);
        decodings
            .chain(STEPS.iter().map(|step| (step, 0)))
            .filter(move |(step, _)| step.may_change(&bytes))
            .map(move |(step, decoded)| Self {
                path: (step.take)(path),
                decoded: self.decoded + decoded,
            })
            .filter(move |further| further.path != path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(path: &str) -> Vec<String> {
        let mut found = Vec::new();
        let all_agreed = all(path.as_bytes(), |reading| {
            found.push(String::from_utf8_lossy(reading).into_owned());
            true
        });
        assert_eq!(all_agreed, Ok(true));
        found
    }

    #[test]
    fn a_plain_path_has_one_reading() {
        for path in ["/", "/saveUserInfo", "/a/b.c/d-e_f~g", "/a/", "/a:b/$c"] {
            assert_eq!(readings(path), [path]);
        }
    }

    #[test]
    fn no_step_changes_a_plain_path_but_for_its_letter_case() {
        for pair in 0..=u16::MAX {
            let [one, two] = pair.to_be_bytes().map(|byte| byte.to_ascii_lowercase());
            let path = vec![b'/', b'a', one, two];
            if is_plain(&path) {
                let reading = Reading { path, decoded: 0 };
                assert_eq!(check(&reading.path), Ok(()));
                assert!(reading.steps().next().is_none(), "{:?}", reading.path);
            }
        }
        for path in [
            "", "*", "a", "//", "/.", "/a.", "/a./b", "/a:$b", "/a b", "/a\u{7f}",
        ] {
            assert!(!is_plain(path.as_bytes()), "{path:?}");
        }
    }

    #[test]
    fn every_sequence_of_steps_is_a_reading() {
        for (path, hidden) in [
            ("/%61dmin", "/admin"),
            ("/%2561dmin", "/admin"),
            ("/x/../admin", "/admin"),
            ("/x/%2e%2e/admin", "/admin"),
            ("/x/%252e%252e/admin", "/admin"),
            ("/x%2f..%2fadmin", "/admin"),
            ("//admin", "/admin"),
            ("/%2fadmin", "/admin"),
            ("/admin;jsessionid=1", "/admin"),
            ("/x/..;/admin", "/admin"),
            ("/x/..;a=b/admin", "/admin"),
            ("/x/..%3b/admin", "/admin"),
            ("/x\\..\\admin", "/admin"),
            ("/x%5c..%5cadmin", "/admin"),
            ("/x/./../admin", "/admin"),
            ("/../../admin", "/admin"),
            ("/admin%3fx", "/admin"),
            ("/admin%23x", "/admin"),
            ("/admin/x/..", "/admin/"),
            ("/%e2%84%aaey", "/key"),
            ("/u/x%2fy/secr%65t", "/u/x%2fy/secret"),
            ("/u/x%5Cy/%61%zz%2", "/u/x%5Cy/a%zz%2"),
            ("/u/x%2fy/a%5c..%5csecret", "/u/x%2fy/secret"),
            ("/%u0061dmin", "/admin"),
            ("/%25u0061dm%69n", "/admin"),
            ("//host/admin", "/admin"),
            ("///host/admin", "/admin"),
            ("/\\host/admin", "/admin"),
            ("//host", "/"),
            ("/admin;/x", "/admin"),
            ("/admin./x", "/admin/x"),
            ("/admin%20%2e", "/admin"),
            ("/%20admin", "/admin"),
            ("/x/..%20/admin", "/admin"),
            ("/admin::$DATA/x", "/admin/x"),
            ("/x/..%c0%afadmin", "/admin"),
            ("/%e0%81%a1dmin", "/admin"),
            ("/x/%f0%80%80%ae%c0%ae/admin", "/admin"),
            ("/%ef%bd%81dm%ef%bc%a9n", "/admin"),
            ("/x/%ef%bc%8e./admin", "/admin"),
            ("/%c5%bfe%c4%b1%C4%B0", "/seii"),
            ("/stra%c3%9fe", "/strasse"),
        ] {
            assert!(
                readings(path).iter().any(|reading| reading == hidden),
                "{path}"
            );
        }
    }

    #[test]
    fn control_characters_and_relative_paths_are_unreadable() {
        let agrees = |_: &[u8]| true;
        for path in [
            "/a\0", "/a%00", "/a%2500", "/a%0d%0a", "/a%7f", "/a\tb", "/a%u0000", "/a%c0%80",
        ] {
            assert_eq!(
                all(path.as_bytes(), agrees),
                Err(Unreadable::Control),
                "{path}"
            );
        }
        assert_eq!(all(b"*", agrees), Err(Unreadable::NotAbsolute));
        assert_eq!(all(b"", agrees), Err(Unreadable::NotAbsolute));
    }

    #[test]
    fn a_path_made_to_have_very_many_readings_is_unreadable() {
        let path = b"/a;%253b/%252e%255c%5c\\..;/..//%2f%252f/;x/%25252e/./b%253f%23c";
        assert_eq!(all(path, |_| true), Err(Unreadable::TooMany));
    }

    #[test]
    fn a_path_made_to_be_expensive_is_unreadable() {
        // Not by the number of its readings, which are few, but by what they take together.
        let path = |length| format!("/{}%2561//b;x", "a".repeat(length));
        assert_eq!(all(path(1).as_bytes(), |_| true), Ok(true));
        assert_eq!(
            all(path(7800).as_bytes(), |_| true),
            Err(Unreadable::TooMany)
        );
    }

    #[test]
    fn the_first_reading_that_disagrees_ends_the_search() {
        assert_eq!(
            all(b"/x/../admin", |reading| reading != b"/admin"),
            Ok(false)
        );
    }
}

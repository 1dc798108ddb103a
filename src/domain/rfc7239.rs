//! The `Forwarded` header (RFC 7239), read from its end: there stands what the last proxy wrote.
//!
//! Whatever stands before that may come from anybody, and may be written so that a reader from the
//! front takes the proxy's words for a part of it: a quote that is never closed, for one. So elements
//! are cut off at the end, one by one, and what cannot be read ends the reading. Knows nothing of who
//! may be believed.

use std::net::IpAddr;

use crate::domain::fields::HeaderFields;
use crate::domain::forwarded::parse_address;
use http::header::FORWARDED;

/// Pairs in one element. The RFC knows four names; a client's own element may have as many as fit.
const MAX_PAIRS: usize = 16;

/// Between two pairs of an element, which may be empty.
const EMPTY: [char; 2] = [';', ' '];

/// What one proxy says about the request that it passed on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::domain) struct Element {
    /// From where it came. None when that is hidden (`unknown`, `_name`) or not said.
    pub(in crate::domain) client: Option<IpAddr>,
    /// By which scheme.
    pub(in crate::domain) proto: Option<String>,
    /// With which `Host`.
    pub(in crate::domain) host: Option<String>,
}

/// The elements of all `Forwarded` lines, the last proxy's first, up to one that cannot be read.
pub(in crate::domain) fn from_the_end(fields: &HeaderFields) -> impl Iterator<Item = Element> {
    // Each line for itself: nothing that a client left open reaches over to the proxy's own line.
    let lines: Vec<_> = fields.all(&FORWARDED).map(|field| field.value()).collect();
    let texts = lines.into_iter().rev().flat_map(elements);
    texts.map_while(|text| Element::parse(&text))
}

/// The elements of one line as texts, the last one first.
fn elements(line: &[u8]) -> Vec<String> {
    // A byte that has no place here stays as a mark, so that it spoils its own element only.
    let readable = |&byte: &u8| match byte {
        b' '..=b'~' => char::from(byte),
        b'\t' => ' ',
        _ => '\u{fffd}',
    };
    let line: String = line.iter().map(readable).collect();
    let mut found = Vec::new();
    let mut rest = Some(line.as_str());
    while let Some(text) = rest {
        let (before, element) = cut_last(text);
        rest = before;
        // Empty elements are allowed in every list (RFC 9110 §5.6.1.2).
        if !element.trim().is_empty() {
            found.push(element.trim().to_owned());
        }
    }
    found
}

/// Cuts the last element off: from the last comma that is in no quotes, as seen from the end.
fn cut_last(text: &str) -> (Option<&str>, &str) {
    let mut quoted = false;
    for (index, char) in text.char_indices().rev() {
        match char {
            // From the end, the first quote closes; the one that opens is not escaped.
            '"' if quoted && is_escaped(text, index) => {}
            '"' => quoted = !quoted,
            ',' if !quoted => {
                let (before, rest) = text.split_at(index);
                return (Some(before), rest.strip_prefix(',').unwrap_or(rest));
            }
            _ => {}
        }
    }
    (None, text)
}

/// Whether an odd number of backslashes stands before this place.
fn is_escaped(text: &str, index: usize) -> bool {
    let before = text.get(..index).unwrap_or_default();
    let backslashes = before.len() - before.trim_end_matches('\\').len();
    backslashes % 2 == 1
}

impl Element {
    /// Reads `name=value` pairs between semicolons. No name may be there twice (RFC 7239 §4).
    fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim_start_matches(EMPTY);
        let mut names: Vec<String> = Vec::new();
        let mut element = Self::default();
        loop {
            let (name, after) = rest.split_once('=')?;
            let name = name.trim().to_ascii_lowercase();
            let (value, after) = take_value(after)?;
            let is_name = !name.is_empty() && name.bytes().all(is_plain);
            if !is_name || names.contains(&name) || names.len() == MAX_PAIRS {
                return None;
            }
            match name.as_str() {
                "for" => element.client = parse_node(&value),
                "proto" => element.proto = Some(value),
                "host" => element.host = Some(value),
                _ => {}
            }
            names.push(name);
            let after = after.trim_start();
            rest = after.trim_start_matches(EMPTY);
            match after.chars().next() {
                None => return Some(element),
                Some(';') if rest.is_empty() => return Some(element),
                Some(';') => {}
                Some(_) => return None,
            }
        }
    }
}

/// The value at the beginning, quoted or not, and what follows it.
fn take_value(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ' ']);
        let (value, after) = text.split_at(end.unwrap_or(text.len()));
        // More than a token: many write addresses with ports and brackets without quotes.
        let is_value = !value.is_empty()
            && value
                .bytes()
                .all(|byte| is_plain(byte) || b":[]".contains(&byte));
        return is_value.then(|| (value.to_owned(), after));
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            char => value.push(char),
        }
    }
}

/// What a token is made of (RFC 9110 §5.6.2).
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// An address, whatever its port is (RFC 7239 §6): a number or a hidden one.
fn parse_node(node: &str) -> Option<IpAddr> {
    let (address, _) = node.split_once(":_").unwrap_or((node, ""));
    parse_address(address)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use proptest::prelude::*;

    use super::*;

    fn read(lines: &[&'static str]) -> Vec<Element> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED, HeaderValue::from_static(line));
        }
        from_the_end(&HeaderFields::from(&headers)).collect()
    }

    /// The addresses, the last proxy's first; `-` for one that is hidden.
    #[track_caller]
    fn check(lines: &[&'static str], expected: &[&str]) {
        let found: Vec<_> = read(lines)
            .iter()
            .map(|element| {
                element
                    .client
                    .map_or_else(|| "-".to_owned(), |ip| ip.to_string())
            })
            .collect();
        assert_eq!(found, expected, "{lines:?}");
    }

    #[test]
    fn nothing_that_stands_before_reaches_into_what_the_last_proxy_wrote() {
        for before in [
            r#"for=" "#,
            r#"for="6.6.6.6"#,
            r#"for="\"#,
            r#"for="\\"#,
            r#"for=6.6.6.6;x=""#,
            r#"for=6.6.6.6;x="\"#,
            r"",
            r"\",
            r#"""#,
            r"for=6.6.6.6;",
            r"for",
            "nonsense",
        ] {
            for last in [
                r"for=1.2.3.4",
                r#"for=1.2.3.4;host="a,b;c=\"d""#,
                r#"by="[::1]:80";for="1.2.3.4:567""#,
            ] {
                let mut headers = HeaderMap::new();
                let line = format!("{before}, {last}");
                headers.append(FORWARDED, line.parse().unwrap());
                let first = from_the_end(&HeaderFields::from(&headers)).next();
                let client = first.and_then(|element| element.client);
                assert_eq!(client, "1.2.3.4".parse().ok(), "{line}");
            }
        }
        check(&["for=\"6.6.6.6", "for=1.2.3.4"], &["1.2.3.4"]);
        check(&["for=6.6.6.6;x=\"", "\", for=1.2.3.4"], &["1.2.3.4"]);
    }

    proptest! {
        #[test]
        fn whatever_stands_before_the_last_proxy_is_read_whole(
            before in r#"[-,;="\\ a-f:\[\]1-9.]{0,60}"#,
        ) {
            let mut headers = HeaderMap::new();
            let line = format!(r#"{before}, for="1.2.3.4:5";host="a,\\\"b""#);
            headers.append(FORWARDED, line.parse().unwrap());
            let last = from_the_end(&HeaderFields::from(&headers)).next().unwrap();
            prop_assert_eq!(last.client, "1.2.3.4".parse().ok());
            prop_assert_eq!(last.host.as_deref(), Some(r#"a,\"b"#));
        }
    }

    #[test]
    fn an_element_of_very_many_pairs_is_not_read() {
        let pairs = |count| (0..count).map(|n| format!("x{n}=y;")).collect::<Vec<_>>();
        for (count, read) in [(MAX_PAIRS - 1, 1), (MAX_PAIRS, 0), (4000, 0)] {
            let mut headers = HeaderMap::new();
            let line = format!("{}for=1.2.3.4", pairs(count).concat());
            headers.append(FORWARDED, line.parse().unwrap());
            assert_eq!(
                from_the_end(&HeaderFields::from(&headers)).count(),
                read,
                "{count}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_ends_the_reading() {
        for bad in [
            "for",
            "for=",
            "=1.1.1.1",
            "for=1.1.1.1 x=y",
            "for=1.1.1.1;for=1.1.1.1",
            "for=1.1.1.1;FOR=1.1.1.1",
            ";",
            "for=1.1.1.1; x",
            "for=\"1.1.1.1\"x",
            "for=1.1.1.1\"",
            "for=(1.1.1.1)",
            "f r=1.1.1.1",
        ] {
            let mut headers = HeaderMap::new();
            headers.append(FORWARDED, HeaderValue::from_static("for=6.6.6.6"));
            headers.append(FORWARDED, bad.parse().unwrap());
            headers.append(FORWARDED, HeaderValue::from_static("for=1.2.3.4"));
            assert_eq!(
                from_the_end(&HeaderFields::from(&headers)).count(),
                1,
                "{bad}"
            );
        }
        let mut headers = HeaderMap::new();
        let odd = HeaderValue::from_bytes(b"for=6.6.6.6, for=1.1.1.1;x=\xff, for=1.2.3.4");
        headers.append(FORWARDED, odd.unwrap());
        assert_eq!(from_the_end(&HeaderFields::from(&headers)).count(), 1);
    }

    #[test]
    fn addresses_are_read_in_all_their_forms_and_nothing_else_is_one() {
        check(
            &["for=192.0.2.43, for=198.51.100.17"],
            &["198.51.100.17", "192.0.2.43"],
        );
        check(
            &["for=192.0.2.43", "for=198.51.100.17"],
            &["198.51.100.17", "192.0.2.43"],
        );
        check(&[", for=192.0.2.43 , ,"], &["192.0.2.43"]);
        check(&[";for=192.0.2.43; ;proto=http;"], &["192.0.2.43"]);
        check(
            &["For=\"[2001:db8:cafe::17]:4711\""],
            &["2001:db8:cafe::17"],
        );
        check(
            &["for=\"[2001:db8::1]\";proto=http;by=203.0.113.43"],
            &["2001:db8::1"],
        );
        check(&["for=[2001:db8::1]"], &["2001:db8::1"]);
        check(
            &["for=\"192.0.2.43:47011\", for=192.0.2.43:47011"],
            &["192.0.2.43"; 2],
        );
        check(
            &["for=\"192.0.2.43:_port\", for=\"[::1]:_p\""],
            &["::1", "192.0.2.43"],
        );
        check(&["for=\"1\\92.0.2.43\""], &["192.0.2.43"]);
        check(
            &["for=unknown, for=_gazonk, for=\"_a:1\", proto=http"],
            &["-"; 4],
        );
        check(
            &["for=1.2.3, for=\"\", for=\"1.2.3.4, 6.6.6.6\""],
            &["-"; 3],
        );
        check(&[""], &[]);
    }

    #[test]
    fn scheme_and_host_are_read_as_they_are_meant() {
        let [element] = read(&["for=1.2.3.4; PROTO=https ;host=\"a.example:8\\\"0\""])
            .try_into()
            .unwrap();
        assert_eq!(element.proto.as_deref(), Some("https"));
        assert_eq!(element.host.as_deref(), Some("a.example:8\"0"));
        assert_eq!(element.client, "1.2.3.4".parse().ok());
    }
}

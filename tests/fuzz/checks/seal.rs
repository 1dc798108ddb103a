//! Whatever stands in a file or in Redis, it opens only when it was sealed under the key that is here, for
//! the place in which it was found.
//!
//! Input: a byte that says what the rest is (0 a text to be sealed, 1 the same and another place, 2 the
//! same with one byte changed, 3 cut short, else what was found), one that says where, and the rest.

use wxgate::crypto::seal::{OpenError, Place, Sealer};
use wxgate::domain::secret::{SealKey, SealKeys};

const KEY: &str = "JVPZFZKcXCuF3YeNFV+mm5cMLMYuhhwwyUFx3Gd/R0Q=";

pub(crate) fn check(input: &[u8]) {
    let Some(([what, at], rest)) = input.split_first_chunk() else {
        return;
    };
    let sealer = Sealer::new(&SealKeys {
        current: SealKey::parse(KEY).unwrap(),
        previous: None,
    });
    let (here, there): (&[&[u8]], &[&[u8]]) = (&[b"a", b"b"], &[b"ab"]);
    let place = |whereabouts| Place {
        what: "fuzz v1",
        whereabouts,
    };
    let mut sealed = sealer.seal(place(here), rest);
    let opened = match what {
        0 => {
            let opened = sealer
                .open(place(here), &sealed)
                .expect("it was sealed here");
            assert_eq!(opened.as_slice(), rest);
            return;
        }
        1 => sealer.open(place(there), &sealed),
        2 => {
            let at = usize::from(*at) % sealed.len();
            sealed[at] ^= 1;
            sealer.open(place(here), &sealed)
        }
        3 => sealer.open(place(here), &sealed[..usize::from(*at) % sealed.len()]),
        _ => sealer.open(place(here), rest),
    };
    let why = opened.expect_err("nobody sealed this");
    let known = [
        OpenError::Damaged,
        OpenError::Foreign,
        OpenError::UnknownKey,
    ];
    assert!(known.contains(&why));
    assert!(
        SealKey::parse(&String::from_utf8_lossy(rest)).is_none_or(|key| key.expose().len() >= 32)
    );
}

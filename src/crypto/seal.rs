//! Sealing what is kept outside the process, under the operator's key: nobody else can read it, and
//! nobody can change it, or put it in another's place, without being found out. Knows nothing of what
//! the text is, or of where it is kept.
//!
//! A sealed text is: a byte for this format, four that tell which key opens it, a random nonce of 24
//! bytes, and the text and its tag in XAES-256-GCM. The format, the key's id and the [`Place`] of the
//! text are authenticated with it.
//!
//! What cannot be seen here is that a whole sealed text was replaced by an older one of the same
//! place. Who uses it has to make that harmless.

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::crypto::random;
pub use crate::crypto::xaes::TAG_BYTES;
use crate::crypto::xaes::{NONCE_BYTES, Nonce, Xaes};
use crate::domain::secret::{SealKey, SealKeys};

/// The format.
const FORMAT: u8 = 1;

/// What the keys are derived for, so that they are never the keys of anything else.
const LABEL: &[u8] = b"wxgate seal v1";

type KeyId = [u8; 4];

const HEADER_BYTES: usize = 1 + size_of::<KeyId>();

/// What sealing adds to the length of a text.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + NONCE_BYTES + TAG_BYTES;

/// What a text is, and where it belongs. It opens in this place only.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// What it is: a name of the gate's own with a version in it.
    pub what: &'static str,
    /// Where it belongs: the key it is stored under, its number among others.
    pub whereabouts: &'a [&'a [u8]],
}

/// Why a text does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It was changed, cut short, or sealed for another place.
    #[error("it was changed, cut short, or belongs somewhere else")]
    Damaged,
    /// It is not of this format.
    #[error("it is of a format that this version does not know")]
    Foreign,
    /// It was sealed under a key that is not here.
    #[error("it was sealed under another key")]
    UnknownKey,
}

/// Seals under the current key, and opens what was sealed under it or the one before.
#[derive(Clone)]
pub struct Sealer {
    current: Keyed,
    previous: Option<Keyed>,
}

impl Sealer {
    /// Makes the operator's keys ready.
    pub fn new(keys: &SealKeys) -> Self {
        Self {
            current: Keyed::new(&keys.current),
            previous: keys.previous.as_ref().map(Keyed::new),
        }
    }

    /// Seals a text for a place.
    ///
    /// # Panics
    ///
    /// When the operating system has no randomness to give, and beyond 64 GiB.
    #[expect(
        clippy::expect_used,
        reason = "AES-GCM takes up to 64 GiB (NIST SP 800-38D §5.2.1.1); a text is in memory, and a \
                  thousandth of that"
    )]
    pub fn seal(&self, place: Place<'_>, text: &[u8]) -> Vec<u8> {
        let nonce: Nonce = random::bytes();
        let mut sealed = Vec::with_capacity(text.len() + OVERHEAD_BYTES);
        sealed.push(FORMAT);
        sealed.extend_from_slice(&self.current.id);
        let associated = associated(&sealed, place);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(text);
        let (_, text) = sealed.split_at_mut(HEADER_BYTES + NONCE_BYTES);
        let tag = self.current.xaes.encrypt(&nonce, &associated, text);
        sealed.extend_from_slice(&tag.expect("a text of less than 64 GiB"));
        sealed
    }

    /// Opens a text that was sealed for this place.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (&format, rest) = sealed.split_first().ok_or(OpenError::Damaged)?;
        if format != FORMAT {
            return Err(OpenError::Foreign);
        }
        let (id, rest) = rest.split_first_chunk().ok_or(OpenError::Damaged)?;
        let (nonce, rest) = rest.split_first_chunk().ok_or(OpenError::Damaged)?;
        let (text, tag) = rest.split_last_chunk().ok_or(OpenError::Damaged)?;
        let keyed = self.key(*id).ok_or(OpenError::UnknownKey)?;
        let header = sealed.get(..HEADER_BYTES).unwrap_or_default();
        let mut text = Zeroizing::new(text.to_vec());
        keyed
            .xaes
            .decrypt(nonce, &associated(header, place), &mut text, *tag)
            .ok_or(OpenError::Damaged)?;
        Ok(text)
    }

    fn key(&self, id: KeyId) -> Option<&Keyed> {
        std::iter::once(&self.current)
            .chain(&self.previous)
            .find(|keyed| keyed.id == id)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

/// A key, made ready.
#[derive(Clone)]
struct Keyed {
    /// Tells keys apart. To guess a key by it takes no less work than by any sealed text, and it tells
    /// less; a [`SealKey`] is no text that could be guessed either way.
    id: KeyId,
    xaes: Xaes,
}

impl Keyed {
    fn new(key: &SealKey) -> Self {
        // Exposed to derive two values from it, neither of which leads back, or to the other.
        let derive = Hkdf::<Sha256>::new(Some(LABEL), key.expose());
        let mut id = KeyId::default();
        expand(&derive, b"id", &mut id);
        let mut key = Zeroizing::new([0; 32]);
        expand(&derive, b"XAES-256-GCM", key.as_mut_slice());
        Self {
            id,
            xaes: Xaes::new(&key),
        }
    }
}

#[expect(
    clippy::expect_used,
    reason = "HKDF-SHA256 gives up to 8160 bytes (RFC 5869 §2.3), and 32 at most are asked for"
)]
fn expand(derive: &Hkdf<Sha256>, info: &[u8], into: &mut [u8]) {
    derive.expand(info, into).expect("no more than 32 bytes");
}

/// Lengths go first, so that no two places are the same bytes; as long on every machine.
fn associated(header: &[u8], place: Place<'_>) -> Vec<u8> {
    let mut bytes = header.to_vec();
    for part in std::iter::once(&place.what.as_bytes()).chain(place.whereabouts) {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = Place {
        what: "test v1",
        whereabouts: &[b"a", b"b"],
    };

    fn key(byte: u8) -> SealKey {
        SealKey::new(vec![byte; 32])
    }

    fn sealer(current: u8, previous: Option<u8>) -> Sealer {
        Sealer::new(&SealKeys {
            current: key(current),
            previous: previous.map(key),
        })
    }

    #[track_caller]
    fn opens(sealer: &Sealer, sealed: &[u8], text: &[u8]) {
        assert_eq!(sealer.open(PLACE, sealed).unwrap().as_slice(), text);
    }

    #[test]
    fn a_changed_text_does_not_open_wherever_it_was_changed() {
        let sealer = sealer(1, Some(2));
        let sealed = sealer.seal(PLACE, b"text");
        for position in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[position] ^= 1 << bit;
                assert!(sealer.open(PLACE, &changed).is_err(), "{position}.{bit}");
            }
        }
    }

    #[test]
    fn a_text_that_was_cut_short_or_made_longer_does_not_open() {
        let sealer = sealer(1, None);
        let sealed = sealer.seal(PLACE, b"text");
        for length in 0..sealed.len() {
            let open = sealer.open(PLACE, &sealed[..length]);
            assert_eq!(open.unwrap_err(), OpenError::Damaged, "{length}");
        }
        let longer = [&sealed[..], &[0]].concat();
        assert_eq!(sealer.open(PLACE, &longer).unwrap_err(), OpenError::Damaged);
    }

    #[test]
    fn a_text_does_not_open_in_the_place_of_another() {
        let sealer = sealer(1, None);
        let sealed = sealer.seal(PLACE, b"text");
        let places: [(_, &[&[u8]]); 6] = [
            ("test v2", &[b"a", b"b"]),
            ("test v1", &[b"b", b"a"]),
            ("test v1", &[b"ab"]),
            ("test v1", &[b"a", b"b", b""]),
            ("test v1", &[b"a"]),
            ("test v1", &[]),
        ];
        for (what, whereabouts) in places {
            let open = sealer.open(Place { what, whereabouts }, &sealed);
            assert_eq!(
                open.unwrap_err(),
                OpenError::Damaged,
                "{what} {whereabouts:?}"
            );
        }
    }

    #[test]
    fn another_key_opens_nothing_and_says_so() {
        let sealed = sealer(1, None).seal(PLACE, b"text");
        let open = sealer(2, Some(3)).open(PLACE, &sealed);
        assert_eq!(open.unwrap_err(), OpenError::UnknownKey);
    }

    #[test]
    fn another_format_is_not_taken_for_damage() {
        let sealer = sealer(1, None);
        let mut sealed = sealer.seal(PLACE, b"text");
        sealed[0] = 2;
        assert_eq!(sealer.open(PLACE, &sealed).unwrap_err(), OpenError::Foreign);
    }

    #[test]
    fn what_was_sealed_opens_in_its_place() {
        let sealer = sealer(1, None);
        for text in [&b""[..], b"text", &vec![7; 100_000]] {
            let sealed = sealer.seal(PLACE, text);
            assert_eq!(sealed.len(), text.len() + OVERHEAD_BYTES);
            opens(&sealer, &sealed, text);
        }
    }

    #[test]
    fn a_new_key_opens_what_the_one_before_has_sealed_and_seals_under_itself() {
        let old = sealer(1, None);
        let both = sealer(2, Some(1));
        opens(&both, &old.seal(PLACE, b"old"), b"old");
        let new = both.seal(PLACE, b"new");
        assert_eq!(old.open(PLACE, &new).unwrap_err(), OpenError::UnknownKey);
        opens(&sealer(2, None), &new, b"new");
    }

    #[test]
    fn two_seals_of_one_text_have_nothing_but_the_header_in_common() {
        let sealer = sealer(1, None);
        let (one, other) = (sealer.seal(PLACE, b"text"), sealer.seal(PLACE, b"text"));
        assert_eq!(one[..HEADER_BYTES], other[..HEADER_BYTES]);
        assert_ne!(one[HEADER_BYTES..][..24], other[HEADER_BYTES..][..24]);
        assert_ne!(one[29..], other[29..]);
    }

    #[test]
    fn the_keys_do_not_print() {
        assert_eq!(format!("{:?}", sealer(1, Some(2))), "Sealer(..)");
    }
}

//! Ids of requests and traces. Not secrets: nothing is guarded by their being hard to guess.

use http::HeaderValue;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::crypto::random;
use crate::domain::clock::Timestamp;
use crate::domain::hex::write_hex;

/// Where one worker's ids come from.
#[derive(Debug)]
pub(in crate::gateway) struct Ids(SmallRng);

impl Ids {
    pub(in crate::gateway) fn seeded() -> Self {
        Self(SmallRng::from_seed(random::bytes()))
    }

    /// A UUID version 7 (RFC 9562 §5.7): sorts by time.
    pub(in crate::gateway) fn request_id(&mut self, now: Timestamp) -> HeaderValue {
        let id = uuid::Builder::from_unix_timestamp_millis(now.as_millis(), &self.0.random());
        let mut text = uuid::Uuid::encode_buffer();
        let text = id.into_uuid().hyphenated().encode_lower(&mut text);
        // Hexadecimal digits and dashes, always.
        HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unknown"))
    }

    /// A trace that begins here (W3C Trace Context, version 00), not sampled.
    pub(in crate::gateway) fn traceparent(&mut self) -> HeaderValue {
        // Neither id may be zero.
        let (trace, parent): (u128, u64) = (self.0.random(), self.0.random());
        let mut text = *b"00-................................-................-00";
        write_hex(&mut text[3..35], &trace.max(1).to_be_bytes());
        write_hex(&mut text[36..52], &parent.max(1).to_be_bytes());
        // Hexadecimal digits and dashes, always.
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
    }
}

/// Whether a text has the form of a traceparent header (W3C Trace Context §3.2).
pub(in crate::gateway) fn is_traceparent(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else {
        return false;
    };
    let hex = |part: &str, length| {
        part.len() == length
            && part
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let some = |part: &str| part.bytes().any(|byte| byte != b'0');
    match text.split('-').collect::<Vec<_>>().as_slice() {
        ["00", trace, parent, flags] => {
            hex(trace, 32) && hex(parent, 16) && hex(flags, 2) && some(trace) && some(parent)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_here_has_the_form_that_is_asked_of_others() {
        let mut ids = Ids::seeded();
        assert!(is_traceparent(ids.traceparent().as_bytes()));
        let id = ids.request_id(Timestamp::from_millis(1_700_000_000_000));
        assert_eq!(id.len(), 36);
        assert_eq!(&id.as_bytes()[14..15], b"7");
        assert_ne!(
            id,
            ids.request_id(Timestamp::from_millis(1_700_000_000_000))
        );
    }

    #[test]
    fn a_malformed_trace_is_none() {
        for text in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert!(!is_traceparent(text.as_bytes()), "{text}");
        }
    }
}

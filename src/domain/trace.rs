//! Ids under which a request is known: its own, in the log and in its answer, and that of the trace
//! which it is part of. Neither is a secret. Made without memory of their own, as every request has
//! both.

use http::HeaderValue;

use crate::domain::hex::write_hex;

/// Length of a UUID as text.
const UUID_BYTES: usize = 36;

/// Length of a `traceparent`, in bytes: version, trace, parent and flags, with dashes.
const TRACEPARENT_BYTES: usize = 55;

/// The id of a request: made here, or told by a trusted proxy.
#[derive(Clone, Debug)]
pub struct RequestId(Source);

#[derive(Clone, Debug)]
enum Source {
    Made([u8; UUID_BYTES]),
    /// Visible ASCII.
    Told(HeaderValue),
}

impl Default for RequestId {
    /// The UUID of nothing.
    fn default() -> Self {
        Self::made(uuid::Uuid::nil())
    }
}

impl RequestId {
    /// A UUID made here.
    pub fn made(uuid: uuid::Uuid) -> Self {
        let mut text = [0; UUID_BYTES];
        uuid.hyphenated().encode_lower(&mut text);
        Self(Source::Made(text))
    }

    /// What a trusted proxy told. Nothing when it is more than visible ASCII.
    pub fn told(value: &HeaderValue) -> Option<Self> {
        let visible = value.as_bytes().iter().all(u8::is_ascii_graphic);
        visible.then(|| Self(Source::Told(value.clone())))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        // Both are ASCII and nothing else.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The same as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Source::Made(text) => text,
            Source::Told(value) => value.as_bytes(),
        }
    }
}

/// The place of a request in a trace: `traceparent` (W3C Trace Context §3.2), version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent([u8; TRACEPARENT_BYTES]);

impl TraceParent {
    /// The begin of a trace, not sampled. Neither id may be zero; one that is becomes another.
    pub fn begin(trace: u128, parent: u64) -> Self {
        let mut text = *b"00-................................-................-00";
        write_hex(&mut text[3..35], &trace.max(1).to_be_bytes());
        write_hex(&mut text[36..52], &parent.max(1).to_be_bytes());
        Self(text)
    }

    /// Takes the value of a header of exact shape.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text: [u8; TRACEPARENT_BYTES] = value.try_into().ok()?;
        let is_hex = |part: &[u8]| part.iter().fold(true, |ok, &byte| ok & is_digit(byte));
        let is_some = |part: &[u8]| part.iter().any(|&byte| byte != b'0');
        let (trace, parent, flags) = (&text[3..35], &text[36..52], &text[53..55]);
        let dashed = text[2] == b'-' && text[35] == b'-' && text[52] == b'-';
        let valid = text.starts_with(b"00")
            && dashed
            && [trace, parent, flags].into_iter().all(is_hex)
            && is_some(trace)
            && is_some(parent);
        valid.then_some(Self(text))
    }

    /// The value of the header.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The id of the trace: hexadecimal digits.
    pub fn trace_id(&self) -> &[u8] {
        &self.0[3..35]
    }
}

const fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_here_has_the_form_that_is_asked_of_others() {
        for (trace, parent) in [(0, 0), (1, u64::MAX), (u128::MAX, 7)] {
            let begun = TraceParent::begin(trace, parent);
            assert_eq!(TraceParent::parse(begun.as_bytes()), Some(begun));
        }
        let begun = TraceParent::begin(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 1);
        assert_eq!(begun.trace_id(), b"0af7651916cd43dd8448eb211c80319c");
    }

    #[test]
    fn a_malformed_trace_is_none() {
        for text in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331_01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-011",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceParent::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn an_id_that_a_proxy_tells_is_taken_as_it_is_when_it_can_be_written_anywhere() {
        let told = |text: &'static str| RequestId::told(&HeaderValue::from_static(text));
        assert_eq!(told("7f-\"<x>").unwrap().as_str(), "7f-\"<x>");
        assert!(told("two words").is_none());
    }
}

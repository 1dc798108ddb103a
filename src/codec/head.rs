//! What the fields of a head say of the body. Stricter than RFC 9112 allows a
//! recipient to be: a message that two readers could understand differently is refused, because one
//! of the two would take a part of it for the next message.

use crate::codec::fault::Fault;
use crate::domain::fields::HeaderFields;
use crate::domain::names;

/// What the fields of a head say of how the body is framed.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
}

/// How the fields of a head frame its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed {
    /// In chunks.
    Chunked,
    /// This many bytes.
    Length(u64),
    /// They say nothing.
    Unsaid,
}

impl Framed {
    /// As these fields say, of a message of HTTP/1.`minor`. RFC 9112 §6.1: chunks and a length are an
    /// attempt at smuggling.
    pub fn of(fields: &HeaderFields, minor: u8) -> Result<Self, Fault> {
        let mut framing = Framing::default();
        for field in fields.all(names::CONTENT_LENGTH) {
            framing.length(field.value())?;
        }
        for field in fields.all(names::TRANSFER_ENCODING) {
            framing.encoding(field.value(), minor)?;
        }
        match (framing.chunked, framing.length) {
            (true, Some(_)) => Err(Fault::Framing),
            (true, None) => Ok(Self::Chunked),
            (false, Some(length)) => Ok(Self::Length(length)),
            (false, None) => Ok(Self::Unsaid),
        }
    }
}

impl Framing {
    /// RFC 9112 §6.3: several lengths are an error. Here also when they agree.
    fn length(&mut self, value: &[u8]) -> Result<(), Fault> {
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let digits = std::str::from_utf8(value).ok().filter(|_| is_number);
        match (self.length, digits.and_then(|text| text.parse().ok())) {
            (None, Some(length)) => self.length = Some(length),
            _ => return Err(Fault::Framing),
        }
        Ok(())
    }

    /// RFC 9112 §6.1: never over HTTP/1.0. Here exactly `chunked`, and once.
    fn encoding(&mut self, value: &[u8], minor: u8) -> Result<(), Fault> {
        let chunked = value.eq_ignore_ascii_case(b"chunked");
        if !chunked || self.chunked || minor == 0 {
            return Err(Fault::Framing);
        }
        self.chunked = true;
        Ok(())
    }
}

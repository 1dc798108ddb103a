//! Heads: where one ends, and what its fields say of the body. Stricter than RFC 9112 allows a
//! recipient to be: a message that two readers could understand differently is refused, because one
//! of the two would take a part of it for the next message.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use httparse::Header;

use crate::codec::fault::Fault;
use crate::domain::fields::HeaderFields;
use crate::domain::names;

/// The length of the head at the front of the buffer, its empty line included, if it is whole.
/// Looks at no byte of the first `searched`, which are known to hold no end. Lines end in CR LF: RFC 9112 §2.2 lets a recipient take a bare LF as well, which is one more way
/// in which two readers may differ.
pub fn end_of_head(buffer: &[u8], searched: usize) -> Result<Option<usize>, Fault> {
    let new = buffer.get(searched..).unwrap_or_default();
    for at in memchr::memchr_iter(b'\n', new) {
        let line = buffer.get(..=searched + at).unwrap_or_default();
        if !line.ends_with(b"\r\n") {
            return Err(Fault::BareLineFeed);
        }
        if line.ends_with(b"\r\n\r\n") {
            return Ok(Some(line.len()));
        }
    }
    Ok(None)
}

/// A field of trailers, which shares their bytes: nothing is copied but unusual names.
pub fn field(field: &Header<'_>, head: &Bytes) -> Result<(HeaderName, HeaderValue), Fault> {
    let name = HeaderName::from_bytes(field.name.as_bytes())
        .map_err(|_odd| Fault::Head(httparse::Error::HeaderName))?;
    let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value))
        .map_err(|_odd| Fault::Head(httparse::Error::HeaderValue))?;
    Ok((name, value))
}

/// The fields that a parser found in a head, as they stand there. All of them are parsed again into
/// nothing else.
pub fn fields(head: Bytes, parsed: &[Header<'_>]) -> Result<HeaderFields, Fault> {
    let mut fields = HeaderFields::of(head, parsed.len());
    for field in parsed {
        let noted = fields.note(field.name.as_bytes(), field.value);
        noted.map_err(|_elsewhere| Fault::Head(httparse::Error::HeaderName))?;
    }
    Ok(fields)
}

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

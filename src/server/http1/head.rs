//! The head of a request: from bytes to method, target and headers, and the way in which the body is
//! framed. Pure. What two servers could read differently is not read at all: the app server behind
//! the gate is the second one.

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, Uri, Version};

use crate::codec::head::Framed;
use crate::codec::lines::{Lines, RequestLine, Stop};
use crate::codec::{Decoder, Fault, Malformed};
use crate::domain::fields::{HeaderFields, Places};
use crate::domain::hop;
use crate::domain::names;
use crate::domain::request::RequestHead;

/// An empty line before a request: some clients send one after a body (RFC 9112 §2.2).
const EMPTY_LINE: &[u8] = b"\r\n";

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// From its first byte to the end of its empty line.
    pub bytes: usize,
    /// Header fields.
    pub fields: usize,
}

/// The head of a request, and what it says of its body and of the connection.
#[derive(Debug)]
pub struct Received {
    /// The head.
    pub head: Box<RequestHead>,
    /// How the body is framed.
    pub body: Decoder,
    /// What is not for the app server.
    pub said: Said,
}

/// What a head says of the connection that it came over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said {
    /// Whether the client means to send another request (RFC 9112 §9.3).
    pub persists: bool,
    /// Whether the client waits for a go-ahead before it sends the body (RFC 9110 §10.1.1).
    pub expects: bool,
    /// Whether the client takes trailers (RFC 9110 §10.1.4).
    pub takes_trailers: bool,
}

impl Received {
    /// Takes a head off the front of `buffer`; `None` while it is not whole. `searched` is how much
    /// of the buffer was looked at before.
    pub fn take(
        buffer: &mut BytesMut,
        searched: &mut usize,
        limits: HeadLimits,
    ) -> Result<Option<Self>, Fault> {
        let before = if buffer.starts_with(EMPTY_LINE) {
            EMPTY_LINE.len()
        } else {
            0
        };
        if buffer.as_ref() == b"\r" {
            return Ok(None);
        }
        // What speaks another protocol may never send a line end.
        if buffer
            .get(before)
            .is_some_and(|first| !first.is_ascii_alphanumeric())
        {
            return Err(Fault::Head(Malformed::Method));
        }
        match Self::whole(buffer, before, *searched, limits)? {
            Some(head) => {
                *searched = 0;
                head.take_off(buffer).map(Some)
            }
            None if buffer.len() < limits.bytes => {
                *searched = buffer.len();
                Ok(None)
            }
            None => Err(Fault::HeadTooLarge),
        }
    }

    /// The parts of the head, if it is whole. A line makes no difference before its end has come, so one
    /// byte after another does not have all of them read again and again.
    fn whole(
        buffer: &[u8],
        before: usize,
        searched: usize,
        limits: HeadLimits,
    ) -> Result<Option<Parts>, Fault> {
        let new = buffer.get(searched..).unwrap_or_default();
        if searched > before && memchr::memchr(b'\n', new).is_none() {
            return Ok(None);
        }
        let mut lines = Lines::of(buffer, before);
        match Parts::read(&mut lines, limits.fields) {
            Ok(parts) if parts.length <= limits.bytes => Ok(Some(parts)),
            Ok(_) => Err(Fault::HeadTooLarge),
            Err(Stop::Short) => Ok(None),
            Err(Stop::Fault(fault)) => Err(fault),
        }
    }
}

/// Where the parts of a head are.
struct Parts {
    line: RequestLine,
    fields: Places,
    length: usize,
}

impl Parts {
    fn read(lines: &mut Lines<'_>, max_fields: usize) -> Result<Self, Stop> {
        Ok(Self {
            line: lines.request_line()?,
            fields: lines.fields(max_fields)?,
            length: lines.at(),
        })
    }

    /// Takes the head off the front of the buffer.
    fn take_off(self, buffer: &mut BytesMut) -> Result<Received, Fault> {
        let head = take_front(buffer, self.length);
        let RequestLine {
            method,
            target,
            minor,
        } = self.line;
        let method = Method::from_bytes(head.get(method).unwrap_or_default());
        let head = Box::new(RequestHead {
            method: method.map_err(|_odd| Fault::Head(Malformed::Method))?,
            uri: target_of(head.slice(target))?,
            version: if minor == 1 {
                Version::HTTP_11
            } else {
                Version::HTTP_10
            },
            fields: self.fields.of(head),
        });
        received(head, minor)
    }
}

/// What the fields of a head say of its body and of the connection.
fn received(head: Box<RequestHead>, minor: u8) -> Result<Received, Fault> {
    let body = match Framed::of(&head.fields, minor)? {
        Framed::Chunked => Decoder::chunked(),
        Framed::Length(length) => Decoder::length(length),
        // RFC 9112 §6.3: a request that says nothing has no body.
        Framed::Unsaid => Decoder::Done,
    };
    let says = |name, token| hop::has_token(&head.fields, name, token);
    let close = says(names::CONNECTION, "close");
    let persists = !close && (minor == 1 || says(names::CONNECTION, "keep-alive"));
    // HTTP/1.0 knows no interim answers.
    let expects = minor == 1 && !body.is_done() && expects_go_ahead(&head.fields);
    let said = Said {
        persists,
        expects,
        takes_trailers: says(names::TE, "trailers"),
    };
    Ok(Received { head, body, said })
}

/// Whether the client waits with its body to be told to go ahead (RFC 9110 §10.1.1).
pub(in crate::server) fn expects_go_ahead(fields: &HeaderFields) -> bool {
    let mut expected = fields.all(names::EXPECT);
    expected.any(|field| field.value().eq_ignore_ascii_case(b"100-continue"))
}

/// A fragment is no part of a target (RFC 9112 §3.2). The parser of targets would drop it, and the
/// app server might not.
fn target_of(target: Bytes) -> Result<Uri, Fault> {
    if memchr::memchr(b'#', &target).is_some() {
        return Err(Fault::Head(Malformed::Target));
    }
    Uri::from_maybe_shared(target).map_err(|_odd| Fault::Head(Malformed::Target))
}

/// As a rule that is all there is, and then the buffer goes along instead of being shared.
fn take_front(buffer: &mut BytesMut, length: usize) -> Bytes {
    if length == buffer.len() {
        std::mem::take(buffer).freeze()
    } else {
        buffer.split_to(length).freeze()
    }
}

/// What is said to a client whose request cannot be read.
pub(in crate::server) fn status_for(fault: &Fault) -> StatusCode {
    match fault {
        Fault::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    }
}

//! The head of a request: from bytes to method, target and headers, and the way in which the body is
//! framed. Pure. What two servers could read differently is not read at all: the app server behind
//! the gate is the second one.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, Uri, Version};
use httparse::{ParserConfig, Status};

use crate::codec::head::{Framed, end_of_head, fields};
use crate::codec::{Decoder, Fault};
use crate::domain::fields::HeaderFields;
use crate::domain::hop;
use crate::domain::names;
use crate::domain::request::RequestHead;

/// Fields that are parsed without memory of their own, one more than twice `max_headers` by default:
/// that there are too many is seen by it.
const USUAL_FIELDS: usize = 201;

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
            return Err(Fault::Head(httparse::Error::Token));
        }
        match end_of_head(buffer, (*searched).max(before))? {
            Some(length) if length <= limits.bytes => {
                *searched = 0;
                let head = take_front(buffer, length);
                Self::parse(&head.slice(before..), limits.fields).map(Some)
            }
            None if buffer.len() < limits.bytes => {
                *searched = buffer.len();
                Ok(None)
            }
            _ => Err(Fault::HeadTooLarge),
        }
    }

    fn parse(head: &Bytes, max_fields: usize) -> Result<Self, Fault> {
        if max_fields < USUAL_FIELDS {
            let mut space = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
            let room = space.get_mut(..=max_fields).unwrap_or_default();
            return Self::parse_into(head, max_fields, room);
        }
        let mut space = vec![MaybeUninit::uninit(); max_fields.saturating_add(1)];
        Self::parse_into(head, max_fields, &mut space)
    }

    fn parse_into<'a>(
        head: &'a Bytes,
        max_fields: usize,
        space: &mut [MaybeUninit<httparse::Header<'a>>],
    ) -> Result<Self, Fault> {
        let mut parsed = httparse::Request::new(&mut []);
        let read =
            ParserConfig::default().parse_request_with_uninit_headers(&mut parsed, head, space);
        match read {
            Ok(Status::Complete(length)) if length == head.len() => {}
            Ok(_) => return Err(Fault::Head(httparse::Error::NewLine)),
            Err(httparse::Error::TooManyHeaders) => return Err(Fault::HeadTooLarge),
            Err(error) => return Err(Fault::Head(error)),
        }
        if parsed.headers.len() > max_fields {
            return Err(Fault::HeadTooLarge);
        }
        let minor = parsed.version.ok_or(Fault::Version)?;
        let method = parsed.method.unwrap_or_default().as_bytes();
        let method =
            Method::from_bytes(method).map_err(|_odd| Fault::Head(httparse::Error::Token))?;
        let target = head.slice_ref(parsed.path.unwrap_or_default().as_bytes());
        let head = Box::new(RequestHead {
            method,
            uri: target_of(target)?,
            version: if minor == 1 {
                Version::HTTP_11
            } else {
                Version::HTTP_10
            },
            fields: fields(head.clone(), parsed.headers)?,
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
        return Err(Fault::Head(httparse::Error::Token));
    }
    Uri::from_maybe_shared(target).map_err(|_odd| Fault::Head(httparse::Error::Token))
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

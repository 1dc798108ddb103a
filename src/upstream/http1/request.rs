//! The head of a request as it goes out over HTTP/1.1: the target as it came but without scheme and
//! authority, what the client may say, and what the gate says itself, in the configured spelling.
//! Pure: writes into memory.

use http::Method;

use crate::codec::outgoing::{write_field, write_line};
use crate::domain::fields::{HeaderField, HeaderFields};
use crate::domain::identity::OwnFields;
use crate::domain::names;
use crate::domain::request::RequestHead;
use crate::upstream::Settings;

/// How the body of a request is framed. Said by the gate itself, from what it will send: what the
/// client's own fields said of it is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// In chunks, the length not being known.
    Chunked,
    /// This many bytes.
    Length(u64),
    /// No body, and nothing said about one.
    Nothing,
}

impl Framing {
    /// For a body of this length, if that is known. A method that is expected to have a body says
    /// so when it has none (RFC 9110 §8.6).
    pub fn of(length: Option<u64>, head: &RequestHead) -> Self {
        let expects_none = matches!(
            head.method,
            Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE | Method::TRACE
        );
        match length {
            Some(0) if expects_none && !head.fields.has(names::CONTENT_LENGTH) => Self::Nothing,
            Some(length) => Self::Length(length),
            None => Self::Chunked,
        }
    }
}

/// What a head says beside what came with the request.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How the body is framed.
    pub framing: Framing,
    /// Whether it asks for a WebSocket.
    pub upgrade: bool,
}

/// Writes the head of a request.
pub fn write_head(
    out: &mut Vec<u8>,
    head: &RequestHead,
    own: &OwnFields,
    terms: Terms,
    settings: &Settings,
) {
    write_request_line(out, &head.method, head.target());
    let fields = &head.fields;
    let host = fields.get(names::HOST).map(|host| host.value());
    write_field(out, b"Host", settings.host_for(host));
    let cookies_apart = fields.has(names::COOKIE) && fields.only(names::COOKIE).is_none();
    fields.write(out, |field| {
        is_written_apart(field) || (cookies_apart && field.is(names::COOKIE))
    });
    if cookies_apart {
        write_cookies(out, fields);
    }
    own.for_each(head, |name, value| {
        write_line(out, name.line_start(), value);
    });
    write_terms(out, terms, settings);
    out.extend_from_slice(b"\r\n");
}

fn write_request_line(out: &mut Vec<u8>, method: &Method, target: &str) {
    for part in [method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// `Host` and the length are said by the gate; and the go-ahead that `Expect`
/// asks for was given by the gate when it began to read the body.
fn is_written_apart(field: HeaderField<'_>) -> bool {
    // Most names are told to be none of these by their first letter.
    match field.name().first().map(u8::to_ascii_lowercase) {
        Some(b'h') => field.is(names::HOST),
        Some(b'c') => field.is(names::CONTENT_LENGTH),
        Some(b'e') => field.is(names::EXPECT),
        _ => false,
    }
}

/// HTTP/2 lets a client send its cookies in several fields; HTTP/1.1 knows one (RFC 9113 §8.2.3).
fn write_cookies(out: &mut Vec<u8>, fields: &HeaderFields) {
    let cookies: Vec<_> = fields
        .all(names::COOKIE)
        .map(|cookie| cookie.value())
        .collect();
    write_field(out, b"Cookie", &cookies.join(&b"; "[..]));
}

fn write_terms(out: &mut Vec<u8>, terms: Terms, settings: &Settings) {
    match terms.framing {
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Framing::Nothing => {}
    }
    if terms.upgrade {
        out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n");
    } else if settings.max_idle == 0 {
        out.extend_from_slice(b"Connection: close\r\n");
    }
}

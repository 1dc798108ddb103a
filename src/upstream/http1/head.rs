//! The head of an answer: from bytes to status, headers, and the way in which the body is framed.
//! Pure. Stricter than RFC 9112 allows a recipient to be: an answer that two readers could
//! understand differently is not passed on, because one of the two is the next client.

use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderName, Method, StatusCode};

use crate::codec::head::Framed;
use crate::codec::lines::{Lines, Stop};
use crate::codec::{Decoder, Fault, Malformed};
use crate::domain::fields::{HeaderField, HeaderFields};
use crate::domain::hop;
use crate::domain::names;

/// Largest head of an answer, in bytes. Browsers stop at 256 KiB; app servers stay far below.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Fields in the head of an answer.
const MAX_FIELDS: usize = 128;

/// The head of an answer, without what belongs to the connection that it came over.
#[derive(Debug)]
pub struct AnswerHead {
    /// The status.
    pub status: StatusCode,
    /// The header fields. Those of a `101` still have what says which protocol it switches to.
    pub fields: HeaderFields,
    /// How the body is framed.
    pub body: Decoder,
    /// Whether the connection may carry another request after this answer.
    pub keep_alive: bool,
    /// Whether it can switch protocols, which HTTP/1.0 cannot (RFC 9110 §7.8).
    pub switches: bool,
    /// How long the app server promises to keep the connection.
    pub promised: Option<Duration>,
}

impl AnswerHead {
    /// Takes a head off the front of `buffer`; `None` while it is not whole. `asked` is the method
    /// of the request.
    pub fn take(buffer: &mut BytesMut, asked: &Method) -> Result<Option<Self>, Fault> {
        let mut lines = Lines::of(buffer, 0);
        let parts = (|| Ok((lines.status_line()?, lines.fields(MAX_FIELDS)?)))();
        let (line, places) = match parts {
            Ok(parts) if lines.at() <= MAX_HEAD_BYTES => parts,
            Err(Stop::Short) if buffer.len() < MAX_HEAD_BYTES => return Ok(None),
            Err(Stop::Fault(fault)) => return Err(fault),
            Ok(_) | Err(Stop::Short) => return Err(Fault::HeadTooLarge),
        };
        let length = lines.at();
        let head = buffer.split_to(length).freeze();
        let status = StatusCode::from_bytes(head.get(line.status).unwrap_or_default())
            .map_err(|_odd| Fault::Head(Malformed::Status))?;
        Self::of(status, places.of(head), line.minor, asked).map(Some)
    }

    fn of(
        status: StatusCode,
        mut all: HeaderFields,
        minor: u8,
        asked: &Method,
    ) -> Result<Self, Fault> {
        let body = decoder(Framed::of(&all, minor)?, status, asked);
        let said = Said::by(&all, minor);
        all.retain(|field| said.is_for_client(field, status));
        Ok(Self {
            status,
            fields: all,
            keep_alive: said.persists && !matches!(body, Decoder::UntilClose),
            body,
            switches: status == StatusCode::SWITCHING_PROTOCOLS && minor == 1,
            promised: said.promised,
        })
    }
}

/// What the fields of a head say of the connection.
struct Said {
    /// What `Connection` lists: other headers that belong to the connection, as a rule none.
    listed: Vec<HeaderName>,
    persists: bool,
    promised: Option<Duration>,
}

impl Said {
    fn by(fields: &HeaderFields, minor: u8) -> Self {
        let says = |token| hop::has_token(fields, names::CONNECTION, token);
        let connections = fields.all(names::CONNECTION);
        let listed = connections.flat_map(|field| hop::listed_in(field.value()));
        let promised = fields.all(names::KEEP_ALIVE).last();
        Self {
            listed: listed.collect(),
            // RFC 9112 §9.3.
            persists: !says("close") && (minor == 1 || says("keep-alive")),
            promised: promised.and_then(|field| hop::keep_alive_timeout(field.value())),
        }
    }

    /// Whether the client is to see it.
    fn is_for_client(&self, field: HeaderField<'_>, status: StatusCode) -> bool {
        if status == StatusCode::SWITCHING_PROTOCOLS {
            // Whoever asked looks at all of it.
            return true;
        }
        if hop::is_hop_by_hop(field) {
            return false;
        }
        // RFC 9110 §8.6: never beside a 204.
        let misplaced = status == StatusCode::NO_CONTENT && field.is(names::CONTENT_LENGTH);
        !misplaced && !hop::is_one_of(field.name(), &self.listed)
    }
}

/// RFC 9112 §6.3, in its order.
fn decoder(framed: Framed, status: StatusCode, asked: &Method) -> Decoder {
    let bodiless = *asked == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    match framed {
        _ if bodiless => Decoder::Done,
        Framed::Chunked => Decoder::chunked(),
        Framed::Length(length) => Decoder::length(length),
        Framed::Unsaid => Decoder::UntilClose,
    }
}

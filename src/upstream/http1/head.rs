//! The head of an answer: from bytes to status, headers, and the way in which the body is framed.
//! Pure. Stricter than RFC 9112 allows a recipient to be: an answer that two readers could
//! understand differently is not passed on, because one of the two is the next client.

use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, UPGRADE};
use http::{HeaderName, Method, StatusCode};
use httparse::{ParserConfig, Status};

use crate::codec::head::{Framed, Framing, end_of_head, fields};
use crate::codec::{Decoder, Fault};
use crate::domain::fields::{HeaderField, HeaderFields};
use crate::domain::hop;

/// Largest head of an answer, in bytes. Browsers stop at 256 KiB; app servers stay far below.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Fields in the head of an answer.
const MAX_FIELDS: usize = 128;

/// The head of an answer, without what belongs to the connection that it came over.
#[derive(Debug)]
pub struct AnswerHead {
    /// The status.
    pub status: StatusCode,
    /// The header fields. Those of a `101` still have `Upgrade`.
    pub fields: HeaderFields,
    /// How the body is framed.
    pub body: Decoder,
    /// Whether the connection may carry another request after this answer.
    pub keep_alive: bool,
    /// How long the app server promises to keep the connection.
    pub promised: Option<Duration>,
}

impl AnswerHead {
    /// Takes a head off the front of `buffer`; `None` while it is not whole. `asked` is the method
    /// of the request.
    pub fn take(buffer: &mut BytesMut, asked: &Method) -> Result<Option<Self>, Fault> {
        match end_of_head(buffer, 0)? {
            Some(length) if length <= MAX_HEAD_BYTES => {
                Self::parse(&buffer.split_to(length).freeze(), asked).map(Some)
            }
            None if buffer.len() < MAX_HEAD_BYTES => Ok(None),
            _ => Err(Fault::HeadTooLarge),
        }
    }

    fn parse(head: &Bytes, asked: &Method) -> Result<Self, Fault> {
        let mut space = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut parsed = httparse::Response::new(&mut []);
        let read = ParserConfig::default().parse_response_with_uninit_headers(
            &mut parsed,
            head,
            &mut space,
        );
        match read {
            Ok(Status::Complete(length)) if length == head.len() => {}
            Ok(_) => return Err(Fault::Head(httparse::Error::NewLine)),
            Err(httparse::Error::TooManyHeaders) => return Err(Fault::HeadTooLarge),
            Err(error) => return Err(Fault::Head(error)),
        }
        let status = StatusCode::from_u16(parsed.code.unwrap_or_default())
            .map_err(|_odd| Fault::Head(httparse::Error::Status))?;
        let minor = parsed.version.ok_or(Fault::Version)?;
        let mut all = fields(head.clone(), parsed.headers)?;
        let said = Gathered::of(&all, minor)?;
        let body = decoder(said.framing.framed()?, status, asked);
        all.retain(|field| said.is_for_client(field, status));
        // RFC 9112 §9.3.
        let persists = !said.close && (minor == 1 || said.keep_alive);
        Ok(Self {
            status,
            fields: all,
            keep_alive: persists && !matches!(body, Decoder::UntilClose),
            body,
            promised: said.promised,
        })
    }
}

/// What the fields of a head say that is not for the client alone.
#[derive(Default)]
struct Gathered {
    /// What `Connection` lists: other headers that belong to the connection, as a rule none.
    listed: Vec<HeaderName>,
    close: bool,
    keep_alive: bool,
    promised: Option<Duration>,
    framing: Framing,
}

impl Gathered {
    fn of(fields: &HeaderFields, minor: u8) -> Result<Self, Fault> {
        let mut gathered = Self::default();
        for field in fields.iter() {
            // Most names are told to be none of these by their first letter.
            if let Some(b'c' | b'k' | b't') = field.name().first().map(u8::to_ascii_lowercase) {
                gathered.add(field, minor)?;
            }
        }
        Ok(gathered)
    }

    fn add(&mut self, field: HeaderField<'_>, minor: u8) -> Result<(), Fault> {
        let value = field.value();
        if field.is(&CONNECTION) {
            self.close |= hop::lists(value, "close");
            self.keep_alive |= hop::lists(value, "keep-alive");
            self.listed.extend(hop::listed_in(value));
        } else if field.is(&hop::KEEP_ALIVE) {
            self.promised = hop::keep_alive_timeout(value);
        }
        self.framing.add(field, minor)
    }

    /// Whether the client is to see it.
    fn is_for_client(&self, field: HeaderField<'_>, status: StatusCode) -> bool {
        let name = field.name();
        if hop::is_hop_by_hop(name) {
            return status == StatusCode::SWITCHING_PROTOCOLS && field.is(&UPGRADE);
        }
        // RFC 9110 §8.6: never beside a 204.
        let misplaced = status == StatusCode::NO_CONTENT && field.is(&CONTENT_LENGTH);
        !misplaced && !hop::is_one_of(name, &self.listed)
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

//! The head of an answer: from bytes to status, headers, and the way in which the body is framed.
//! Pure. Stricter than RFC 9112 allows a recipient to be: an answer that two readers could
//! understand differently is not passed on, because one of the two is the next client.

use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use httparse::{Header, ParserConfig, Status};

use crate::codec::head::{Framed, Framing, end_of_head, field};
use crate::codec::{Decoder, Fault};
use crate::domain::hop;

/// Largest head of an answer, in bytes. Browsers stop at 256 KiB; app servers stay far below.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Fields that the gate adds to an answer.
const ADDED_FIELDS: usize = 2;

/// Fields in the head of an answer.
const MAX_FIELDS: usize = 128;

/// The head of an answer, without what belongs to the connection that it came over.
#[derive(Debug)]
pub struct AnswerHead {
    /// The status.
    pub status: StatusCode,
    /// The headers. Those of a `101` still have `Upgrade`.
    pub headers: HeaderMap,
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
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut parsed = httparse::Response::new(&mut []);
        let read = ParserConfig::default().parse_response_with_uninit_headers(
            &mut parsed,
            head,
            &mut fields,
        );
        match read {
            Ok(Status::Complete(length)) if length == head.len() => {}
            Ok(_) => return Err(Fault::Head(httparse::Error::NewLine)),
            Err(httparse::Error::TooManyHeaders) => return Err(Fault::HeadTooLarge),
            Err(error) => return Err(Fault::Head(error)),
        }
        let status = StatusCode::from_u16(parsed.code.unwrap_or_default())
            .map_err(|_odd| Fault::Head(httparse::Error::Status))?;
        let mut gathered = Gathered::new(parsed.headers.len());
        let minor = parsed.version.ok_or(Fault::Version)?;
        for field in &*parsed.headers {
            gathered.add(field, head, minor)?;
        }
        gathered.finish(status, minor, asked)
    }
}

/// What the fields of a head say, gathered one by one.
struct Gathered {
    headers: HeaderMap,
    /// What `Connection` lists: other headers that belong to the connection, as a rule none.
    listed: Vec<HeaderName>,
    upgrade: Option<HeaderValue>,
    close: bool,
    keep_alive: bool,
    promised: Option<Duration>,
    framing: Framing,
}

impl Gathered {
    fn new(fields: usize) -> Self {
        Self {
            headers: HeaderMap::with_capacity(fields + ADDED_FIELDS),
            listed: Vec::new(),
            upgrade: None,
            close: false,
            keep_alive: false,
            promised: None,
            framing: Framing::default(),
        }
    }

    fn add(&mut self, said: &Header<'_>, head: &Bytes, minor: u8) -> Result<(), Fault> {
        let (name, value) = field(said, head)?;
        self.framing.add(&name, &value, minor)?;
        if hop::is_hop_by_hop(&name) {
            self.of_connection(&name, value);
        } else {
            self.headers.append(name, value);
        }
        Ok(())
    }

    fn of_connection(&mut self, name: &HeaderName, value: HeaderValue) {
        if *name == CONNECTION {
            self.close |= hop::lists(&value, "close");
            self.keep_alive |= hop::lists(&value, "keep-alive");
            self.listed.extend(hop::listed_in(&value));
        } else if *name == UPGRADE {
            self.upgrade = Some(value);
        } else if *name == hop::KEEP_ALIVE {
            self.promised = hop::keep_alive_timeout(&value);
        }
    }

    fn finish(
        mut self,
        status: StatusCode,
        minor: u8,
        asked: &Method,
    ) -> Result<AnswerHead, Fault> {
        let body = decoder(self.framing.framed()?, status, asked);
        if status == StatusCode::NO_CONTENT {
            // RFC 9110 §8.6: never there.
            self.headers.remove(CONTENT_LENGTH);
        }
        for name in &self.listed {
            self.headers.remove(name);
        }
        if status == StatusCode::SWITCHING_PROTOCOLS
            && let Some(protocol) = self.upgrade
        {
            self.headers.insert(UPGRADE, protocol);
        }
        // RFC 9112 §9.3.
        let persists = !self.close && (minor == 1 || self.keep_alive);
        let keep_alive = persists && !matches!(body, Decoder::UntilClose);
        Ok(AnswerHead {
            status,
            headers: self.headers,
            body,
            keep_alive,
            promised: self.promised,
        })
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

//! The head of an answer: from bytes to status, headers, and the way in which the body is framed.
//! Pure. Stricter than RFC 9112 allows a recipient to be: an answer that two readers could
//! understand differently is not passed on, because one of the two is the next client.

use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use httparse::{Header, ParserConfig, Status};

use crate::domain::hop;
use crate::upstream::http1::body::Decoder;
use crate::upstream::http1::fault::Fault;

/// Largest head of an answer, in bytes. Browsers stop at 256 KiB; app servers stay far below.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;

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
        match end_of_head(buffer)? {
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
    /// Those that belong to the connection.
    connection: HeaderMap,
    length: Option<u64>,
    chunked: bool,
}

impl Gathered {
    fn new(fields: usize) -> Self {
        Self {
            headers: HeaderMap::with_capacity(fields),
            connection: HeaderMap::new(),
            length: None,
            chunked: false,
        }
    }

    fn add(&mut self, field: &Header<'_>, head: &Bytes, minor: u8) -> Result<(), Fault> {
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .map_err(|_odd| Fault::Head(httparse::Error::HeaderName))?;
        // Shares the bytes of the head: nothing is copied.
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value))
            .map_err(|_odd| Fault::Head(httparse::Error::HeaderValue))?;
        if name == TRANSFER_ENCODING {
            return self.encoding(&value, minor);
        }
        if name == CONTENT_LENGTH {
            self.length(&value)?;
        } else if hop::is_hop_by_hop(&name) {
            self.connection.append(name, value);
            return Ok(());
        }
        self.headers.append(name, value);
        Ok(())
    }

    /// RFC 9112 §6.3: several lengths are an error. Here also when they agree.
    fn length(&mut self, value: &HeaderValue) -> Result<(), Fault> {
        let digits = value.to_str().ok();
        let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        match (self.length, digits.and_then(|text| text.parse().ok())) {
            (None, Some(length)) => self.length = Some(length),
            _ => return Err(Fault::Framing),
        }
        Ok(())
    }

    /// RFC 9112 §6.1: never over HTTP/1.0. Here exactly `chunked`, and once.
    fn encoding(&mut self, value: &HeaderValue, minor: u8) -> Result<(), Fault> {
        let chunked = value.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !chunked || self.chunked || minor == 0 {
            return Err(Fault::Framing);
        }
        self.chunked = true;
        Ok(())
    }

    fn finish(
        mut self,
        status: StatusCode,
        minor: u8,
        asked: &Method,
    ) -> Result<AnswerHead, Fault> {
        if self.chunked && self.length.is_some() {
            return Err(Fault::Framing);
        }
        let body = self.decoder(status, asked);
        if status == StatusCode::NO_CONTENT {
            // RFC 9110 §8.6: never there.
            self.headers.remove(CONTENT_LENGTH);
        }
        let keep_alive =
            keeps_alive(&self.connection, minor) && !matches!(body, Decoder::UntilClose);
        let promised = hop::keep_alive_timeout(&self.connection);
        for name in hop::listed(&self.connection) {
            self.headers.remove(name);
        }
        if status == StatusCode::SWITCHING_PROTOCOLS
            && let Some(protocol) = self.connection.remove(UPGRADE)
        {
            self.headers.insert(UPGRADE, protocol);
        }
        Ok(AnswerHead {
            status,
            headers: self.headers,
            body,
            keep_alive,
            promised,
        })
    }

    /// RFC 9112 §6.3, in its order.
    fn decoder(&self, status: StatusCode, asked: &Method) -> Decoder {
        let bodiless = *asked == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match self.length {
            _ if bodiless => Decoder::Done,
            _ if self.chunked => Decoder::chunked(),
            Some(length) => Decoder::length(length),
            None => Decoder::UntilClose,
        }
    }
}

/// RFC 9112 §9.3.
fn keeps_alive(connection: &HeaderMap, minor: u8) -> bool {
    if connection.is_empty() {
        return minor == 1;
    }
    let lists = |token| hop::has_token(connection, &CONNECTION, token);
    !lists("close") && (minor == 1 || lists("keep-alive"))
}

/// The length of the head at the front of the buffer, its empty line included, if it is whole.
/// Lines end in CR LF: RFC 9112 §2.2 lets a recipient take a bare LF as well, which is one more way
/// in which two readers may differ.
fn end_of_head(buffer: &[u8]) -> Result<Option<usize>, Fault> {
    for at in memchr::memchr_iter(b'\n', buffer) {
        let line = buffer.get(..=at).unwrap_or_default();
        if !line.ends_with(b"\r\n") {
            return Err(Fault::BareLineFeed);
        }
        if line.ends_with(b"\r\n\r\n") {
            return Ok(Some(line.len()));
        }
    }
    Ok(None)
}

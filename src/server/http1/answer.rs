//! An answer on its way to the client: the head, then the body as it comes, framed by what is known
//! of its length and by what the client understands (RFC 9112 §6).

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderMap, StatusCode, Version};
use http_body::{Body, Frame};
use tokio::io::AsyncWrite as _;

use crate::codec::Outgoing;
use crate::codec::outgoing::write_field;
use crate::domain::names;
use crate::domain::response::Response;
use crate::server::answer::{Left, Length, Wanted, WrongLength};
use crate::server::connection::BoxError;
use crate::server::http1::date;
use crate::server::http1::wire::Wire;
use crate::server::socket::Socket;

/// What an answer depends on beside itself.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Terms {
    /// What of the answer is asked for.
    pub(in crate::server) wanted: Wanted,
    /// What the client speaks: 1.0, which knows no chunks, or 1.1.
    pub(in crate::server) version: Version,
    /// Whether the client takes trailers.
    pub(in crate::server) takes_trailers: bool,
    /// Whether the connection goes on.
    pub(in crate::server) persists: bool,
}

/// How the body of an answer is framed (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Chunked,
    /// By its length, or there is none.
    Length,
    /// Up to the end of the connection.
    UntilClose,
}

impl Framing {
    fn of(length: Length, version: Version) -> Self {
        match length {
            Length::Exactly(_) | Length::Nothing(_) => Self::Length,
            Length::Unknown if version == Version::HTTP_10 => Self::UntilClose,
            Length::Unknown => Self::Chunked,
        }
    }
}

/// An answer on its way to the client.
pub(in crate::server) struct Answering<B> {
    out: Outgoing,
    /// `None` when it has come to its end.
    body: Option<B>,
    framing: Framing,
    takes_trailers: bool,
    left: Left,
    /// Whether the connection ends with the answer.
    is_last: bool,
}

/// Why an answer did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum Unanswered {
    /// The client takes no more.
    #[error("the client takes no more of the answer")]
    Client(#[source] std::io::Error),
    /// The client went away while it was written.
    #[error("the client has gone")]
    Gone,
    /// The body broke off.
    #[error("the answer broke off")]
    Body(#[source] BoxError),
    #[error(transparent)]
    WrongLength(#[from] WrongLength),
}

impl<B> Answering<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    /// Writes the head down.
    pub(in crate::server) fn new(response: Response<B>, terms: Terms, mut space: Vec<u8>) -> Self {
        let length = Length::of(&response, terms.wanted);
        let framing = Framing::of(length, terms.version);
        let persists = terms.persists && framing != Framing::UntilClose;
        write_head(&mut space, &response, length, Terms { persists, ..terms });
        let has_body = !matches!(length, Length::Nothing(_) | Length::Exactly(0));
        Self {
            out: Outgoing::with_head(space),
            body: has_body.then_some(response.body),
            framing,
            takes_trailers: terms.takes_trailers,
            left: length.left(),
            is_last: !persists && response.status != StatusCode::SWITCHING_PROTOCOLS,
        }
    }

    /// Whether the end of the answer is the end of the connection.
    pub(in crate::server) fn ends_connection(&self) -> bool {
        self.framing == Framing::UntilClose
    }

    /// The memory of the head.
    pub(in crate::server) fn into_space(self) -> Vec<u8> {
        self.out.into_head()
    }

    /// Writes on until everything is written, or somebody has to be waited for. Small pieces are
    /// gathered as long as the body has more.
    pub(in crate::server) fn poll<S: Socket>(
        &mut self,
        wire: &RefCell<Wire<S>>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Unanswered>> {
        loop {
            // Without the socket: the body is somebody else's code.
            let more = self.gather(context)?;
            let mut wire = wire.borrow_mut();
            if self.is_last && self.body.is_none() {
                wire.writes_last();
            }
            let socket = wire.socket();
            ready!(self.out.poll_write_out(socket, context)).map_err(Unanswered::Client)?;
            if more.is_ready() && self.body.is_some() {
                continue;
            }
            // What was written may still be in the encrypting layer of the socket.
            ready!(Pin::new(socket).poll_flush(context)).map_err(Unanswered::Client)?;
            if self.body.is_none() {
                return Poll::Ready(Ok(()));
            }
            return Poll::Pending;
        }
    }

    /// Takes pieces of the body while there is room. Pending when the body makes wait.
    fn gather(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, Unanswered> {
        while self.out.has_room()
            && let Some(body) = &mut self.body
        {
            match Pin::new(body).poll_frame(context) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Some(Ok(frame))) => self.frame(frame)?,
                Poll::Ready(Some(Err(error))) => return Err(Unanswered::Body(error.into())),
                Poll::Ready(None) => self.end(None)?,
            }
        }
        Ok(Poll::Ready(()))
    }

    fn frame(&mut self, frame: Frame<Bytes>) -> Result<(), Unanswered> {
        let data = match frame.into_data() {
            Ok(data) if data.is_empty() => return Ok(()),
            Ok(data) => data,
            Err(frame) => return self.end(frame.into_trailers().ok()),
        };
        let mut is_last = self.body.as_ref().is_none_or(Body::is_end_stream);
        self.left.take(data.len())?;
        is_last |= self.left.is_used_up();
        match self.framing {
            Framing::Chunked => self.out.add_chunk(data, is_last),
            Framing::Length | Framing::UntilClose => self.out.add(data),
        }
        if is_last {
            self.over()?;
        }
        Ok(())
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Unanswered> {
        if self.framing == Framing::Chunked {
            let trailers = trailers.filter(|_| self.takes_trailers);
            self.out.end_chunks(&trailers.unwrap_or_default());
        }
        self.over()
    }

    fn over(&mut self) -> Result<(), Unanswered> {
        self.body = None;
        Ok(self.left.end()?)
    }
}

fn write_head<B>(out: &mut Vec<u8>, response: &Response<B>, length: Length, terms: Terms) {
    write_status(out, response.status, terms.version);
    let keeps_length = length.keeps_said();
    let (mut dated, mut connected) = (false, false);
    response.passed.write(out, |field| {
        dated |= field.is(names::DATE);
        field.is(names::CONTENT_LENGTH) && !keeps_length
    });
    for (name, value) in &response.own {
        connected |= *name == CONNECTION;
        write_field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    if let Some(request_id) = &response.request_id {
        write_field(out, names::X_REQUEST_ID.text(), request_id.as_bytes());
    }
    match length {
        Length::Exactly(length) | Length::Nothing(Some(length)) => {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Length::Unknown if Framing::of(length, terms.version) == Framing::Chunked => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        Length::Unknown | Length::Nothing(None) => {}
    }
    if !terms.persists && !connected {
        out.extend_from_slice(b"connection: close\r\n");
    } else if terms.version == Version::HTTP_10 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    if !dated {
        date::write(out);
    }
    out.extend_from_slice(b"\r\n");
}

/// The status line (RFC 9112 §4). A client of HTTP/1.0 is answered in its own version: some take the
/// other one for a promise to keep the connection.
fn write_status(out: &mut Vec<u8>, status: StatusCode, version: Version) {
    let version = match version {
        Version::HTTP_10 => "HTTP/1.0 ",
        _ => "HTTP/1.1 ",
    };
    let reason = status.canonical_reason().unwrap_or_default();
    for part in [version, status.as_str(), " ", reason, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

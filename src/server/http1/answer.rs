//! An answer on its way to the client: the head, then the body as it comes, framed by what is known
//! of its length and by what the client understands (RFC 9112 §6).

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderMap, StatusCode, Version};
use http_body::{Body, Frame};
use tokio::io::AsyncWrite as _;

use crate::codec::Outgoing;
use crate::codec::outgoing::write_field;
use crate::domain::names;
use crate::domain::response::Response;
use crate::server::connection::BoxError;
use crate::server::http1::date;
use crate::server::http1::wire::Wire;
use crate::server::socket::Socket;

/// What an answer depends on beside itself.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Terms {
    /// Whether the request was HEAD.
    pub(in crate::server) head_only: bool,
    /// What the client speaks: 1.0, which knows no chunks, or 1.1.
    pub(in crate::server) version: Version,
    /// Whether the client takes trailers.
    pub(in crate::server) takes_trailers: bool,
    /// Whether the connection goes on.
    pub(in crate::server) persists: bool,
}

/// How the body of an answer is framed. Said by the gate itself, from what it will send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Chunked,
    Length(u64),
    /// No body; its length, where that is known and may be said.
    Nothing(Option<u64>),
    /// Up to the end of the connection.
    UntilClose,
}

impl Framing {
    /// RFC 9110 §6.4.1 and RFC 9112 §6.
    fn of<B: Body>(response: &Response<B>, terms: Terms) -> Self {
        let status = response.status;
        let exact = response.body.size_hint().exact();
        if terms.head_only || status == StatusCode::NOT_MODIFIED {
            // The length of the body that is not sent, as the head says it already; an empty one is
            // as a rule just not there.
            let said = response.says(&CONTENT_LENGTH);
            return Self::Nothing(exact.filter(|&length| !said && length > 0));
        }
        if status.is_informational() || status == StatusCode::NO_CONTENT {
            return Self::Nothing(None);
        }
        match exact {
            Some(length) => Self::Length(length),
            None if terms.version == Version::HTTP_10 => Self::UntilClose,
            None => Self::Chunked,
        }
    }

    /// Whether the head of the answer may say a length that did not come from here.
    fn keeps_length(self) -> bool {
        matches!(self, Self::Nothing(_))
    }
}

/// An answer on its way to the client.
pub(in crate::server) struct Answering<B> {
    out: Outgoing,
    /// `None` when it has come to its end.
    body: Option<B>,
    framing: Framing,
    takes_trailers: bool,
    /// Bytes that are still to come of a body of known length.
    left: u64,
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
    /// The body was longer or shorter than it said.
    #[error("the answer is not as long as announced")]
    WrongLength,
}

impl<B> Answering<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    /// Writes the head down.
    pub(in crate::server) fn new(response: Response<B>, terms: Terms, mut space: Vec<u8>) -> Self {
        let framing = Framing::of(&response, terms);
        let persists = terms.persists && framing != Framing::UntilClose;
        write_head(&mut space, &response, framing, Terms { persists, ..terms });
        let left = match framing {
            Framing::Length(length) => length,
            Framing::Chunked | Framing::Nothing(_) | Framing::UntilClose => 0,
        };
        let has_body = match framing {
            Framing::Length(_) => left > 0,
            Framing::Chunked | Framing::UntilClose => true,
            Framing::Nothing(_) => false,
        };
        Self {
            out: Outgoing::with_head(space),
            body: has_body.then_some(response.body),
            framing,
            takes_trailers: terms.takes_trailers,
            left,
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
        match self.framing {
            Framing::Chunked => self.out.add_chunk(data, is_last),
            Framing::Length(_) | Framing::Nothing(_) => {
                let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                self.left = self
                    .left
                    .checked_sub(length)
                    .ok_or(Unanswered::WrongLength)?;
                is_last |= self.left == 0;
                self.out.add(data);
            }
            Framing::UntilClose => self.out.add(data),
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
        if self.left > 0 {
            return Err(Unanswered::WrongLength);
        }
        Ok(())
    }
}

fn write_head<B>(out: &mut Vec<u8>, response: &Response<B>, framing: Framing, terms: Terms) {
    write_status(out, response.status, terms.version);
    let keeps_length = framing.keeps_length();
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
    match framing {
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Length(length) | Framing::Nothing(Some(length)) => {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Framing::Nothing(None) | Framing::UntilClose => {}
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

//! A request on its way out: the head, then the body as the client sends it, framed anew. Written
//! piece by piece as the app server takes it; nothing is collected.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body as _, Frame};
use tokio::io::AsyncWrite as _;
use tokio::time::Instant;

use crate::codec::Outgoing;
use crate::domain::identity::CleanBody;
use crate::splice::{self, Piped, Pipes};
use crate::upstream::http1::pool::Pool;
use crate::upstream::http1::request::Framing;
use crate::upstream::socket::Socket;
use crate::upstream::{BoxError, Sendable};

/// Who is being waited for.
#[derive(Clone, Copy, Debug)]
pub(in crate::upstream) enum Waiting {
    /// The app server, since then: to take more, or to answer.
    AppServer(Instant),
    /// The client, for more of the request body.
    Client,
}

/// Why a request could not be sent to its end.
#[derive(Debug, thiserror::Error)]
enum Unsent {
    /// The client's doing: its body broke off, or was not as long as announced.
    #[error("the request body did not come to its end")]
    Client(#[source] BoxError),
    /// The app server takes no more. It may have answered all the same.
    #[error("the app server takes no more of the request")]
    Socket(#[from] io::Error),
}

/// A body that is shorter or longer than was announced.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the request body is not as long as announced")]
pub(in crate::upstream) struct WrongLength;

/// What comes next of a body.
enum Next {
    Piped(Piped),
    Frame(Frame<Bytes>),
    End,
}

/// A request on its way out.
#[derive(Debug)]
pub(in crate::upstream) struct Sending<B> {
    out: Outgoing,
    /// What was moved instead of read, and is written after `out`.
    piped: Option<Piped>,
    /// Where the body may be moved: by what.
    pipes: Option<Pipes>,
    /// `None` when it has come to its end.
    body: Option<CleanBody<B>>,
    framing: Framing,
    /// Bytes that are still to come of a body of known length.
    left: u64,
    waiting: Waiting,
    /// Whether a byte has been written.
    begun: bool,
    /// Whether nothing of what was written is held back by an encrypting layer.
    flushed: bool,
    /// Whether the app server has closed its ear.
    refused: bool,
}

impl<B> Sending<B>
where
    B: Sendable,
{
    /// Begins now.
    pub(in crate::upstream) fn new(
        out: Outgoing,
        body: CleanBody<B>,
        framing: Framing,
        pool: &Pool,
        now: Instant,
    ) -> Self {
        let left = match framing {
            Framing::Length(length) => length,
            Framing::Chunked | Framing::Nothing => 0,
        };
        let is_empty = framing != Framing::Chunked && left == 0;
        let pipes = (left >= splice::MIN_BYTES).then(|| pool.pipes().clone());
        Self {
            out,
            piped: None,
            pipes,
            body: (!is_empty).then_some(body),
            framing,
            left,
            waiting: Waiting::AppServer(now),
            begun: false,
            flushed: false,
            refused: false,
        }
    }

    /// Who is being waited for.
    pub(in crate::upstream) fn waiting(&self) -> Waiting {
        self.waiting
    }

    /// Whether no byte has been written.
    pub(in crate::upstream) fn is_untouched(&self) -> bool {
        !self.begun
    }

    /// Whether everything has been written.
    pub(in crate::upstream) fn is_done(&self) -> bool {
        self.body.is_none() && self.unwritten() == 0 && self.flushed
    }

    /// Whether there is something to write and somebody who takes it.
    pub(in crate::upstream) fn goes_on(&self) -> bool {
        !self.is_done() && !self.refused
    }

    /// Whether the app server took no more before the end.
    pub(in crate::upstream) fn is_refused(&self) -> bool {
        self.refused
    }

    /// The memory of the head.
    pub(in crate::upstream) fn into_head(self) -> Vec<u8> {
        self.out.into_head()
    }

    /// Begins anew, on another connection. For a request of which nothing has been written, or one
    /// without a body.
    pub(in crate::upstream) fn rewind(&mut self) {
        self.out.rewind();
        self.flushed = false;
        self.refused = false;
        self.waiting = Waiting::AppServer(Instant::now());
    }

    /// Writes on, as far as that goes. An app server that takes no more may have answered all the
    /// same, so that is no error here.
    pub(in crate::upstream) fn poll_on(
        &mut self,
        socket: &mut Socket,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), BoxError>> {
        if !self.goes_on() {
            return Poll::Ready(Ok(()));
        }
        match ready!(self.poll(socket, context)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(Unsent::Client(error)) => Poll::Ready(Err(error)),
            Err(Unsent::Socket(_error)) => {
                self.refused = true;
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Writes on until everything is written, or somebody has to be waited for. The body is asked
    /// before the head is written, so that the two go out together when both are there.
    fn poll(&mut self, socket: &mut Socket, context: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        loop {
            let more = self.poll_body(socket, context)?;
            let before = self.unwritten();
            let written = self.poll_write_out(socket, context);
            if self.unwritten() < before {
                self.begun = true;
                self.took_some();
            }
            let failed = matches!(written, Poll::Ready(Err(_)));
            self.begun |= failed && socket.may_send_and_fail();
            ready!(written).map_err(Unsent::Socket)?;
            if more.is_ready() && self.body.is_some() {
                continue;
            }
            // What was written may still be in the encrypting layer of the socket.
            ready!(Pin::new(&mut *socket).poll_flush(context)).map_err(Unsent::Socket)?;
            if self.body.is_none() {
                self.flushed = true;
                return Poll::Ready(Ok(()));
            }
            self.waiting = Waiting::Client;
            return Poll::Pending;
        }
    }

    /// Writes what has been taken of the request.
    fn poll_write_out(
        &mut self,
        socket: &mut Socket,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.out.poll_write_out(socket, context))?;
        if let Some(piped) = &mut self.piped {
            let socket = socket.clear().ok_or(io::ErrorKind::Unsupported)?;
            ready!(piped.poll_drain(socket, context))?;
            self.piped = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Bytes that have been taken and not been written.
    fn unwritten(&self) -> usize {
        self.out.remaining() + self.piped.as_ref().map_or(0, Piped::bytes)
    }

    /// Whether more can be taken. What is in a pipe comes last, so nothing is put before it.
    fn has_room(&self) -> bool {
        self.piped.is_none() && self.out.has_room()
    }

    /// Takes pieces of the body while there is room. Pending when the body makes wait.
    fn poll_body(
        &mut self,
        socket: &Socket,
        context: &mut Context<'_>,
    ) -> Result<Poll<()>, Unsent> {
        while self.has_room()
            && let Some(body) = &mut self.body
        {
            let pipes = self.pipes.as_ref().filter(|_| socket.clear().is_some());
            match poll_next(body, pipes, context) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Ok(Next::Piped(piped))) => self.piped(piped)?,
                Poll::Ready(Ok(Next::Frame(frame))) => self.frame(frame)?,
                Poll::Ready(Ok(Next::End)) => self.end(None)?,
                Poll::Ready(Err(error)) => return Err(Unsent::Client(error.into())),
            }
        }
        Ok(Poll::Ready(()))
    }

    /// The app server took something: it has all its time again to answer. A request without a
    /// body is written at once, and its time runs from its beginning.
    fn took_some(&mut self) {
        if !matches!(self.framing, Framing::Nothing | Framing::Length(0)) {
            self.waiting = Waiting::AppServer(Instant::now());
        }
    }

    /// Bytes of the body have been moved.
    fn piped(&mut self, piped: Piped) -> Result<(), Unsent> {
        self.passed(piped.bytes())?;
        self.piped = Some(piped);
        self.waiting = Waiting::AppServer(Instant::now());
        Ok(())
    }

    /// Counts bytes of a body of known length.
    fn passed(&mut self, bytes: usize) -> Result<(), Unsent> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(bytes).ok_or_else(wrong_length)?;
        if self.left == 0 {
            self.body = None;
        }
        Ok(())
    }

    fn frame(&mut self, frame: Frame<Bytes>) -> Result<(), Unsent> {
        let data = match frame.into_data() {
            Ok(data) if data.is_empty() => return Ok(()),
            Ok(data) => data,
            Err(frame) => return self.end(frame.into_trailers().ok()),
        };
        match self.framing {
            Framing::Chunked => self.out.add_chunk(data, false),
            Framing::Length(_) | Framing::Nothing => {
                self.passed(data.len())?;
                self.out.add(data);
            }
        }
        self.waiting = Waiting::AppServer(Instant::now());
        Ok(())
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Unsent> {
        self.body = None;
        if self.left > 0 {
            return Err(wrong_length());
        }
        if self.framing == Framing::Chunked {
            self.out.end_chunks(&trailers.unwrap_or_default());
        }
        self.waiting = Waiting::AppServer(Instant::now());
        Ok(())
    }
}

/// The next of a body: moved, where that is possible, or else read.
fn poll_next<B: Sendable>(
    body: &mut CleanBody<B>,
    pipes: Option<&Pipes>,
    context: &mut Context<'_>,
) -> Poll<Result<Next, B::Error>> {
    if let Some(pipes) = pipes
        && let Some(piped) = ready!(body.inner_mut().poll_splice(pipes, context))?
    {
        return Poll::Ready(Ok(Next::Piped(piped)));
    }
    let frame = ready!(Pin::new(body).poll_frame(context)).transpose()?;
    Poll::Ready(Ok(frame.map_or(Next::End, Next::Frame)))
}

fn wrong_length() -> Unsent {
    Unsent::Client(WrongLength.into())
}

//! HTTP/1.1 towards an app server: one request and its answer over one connection, driven by the
//! task that serves the client. No task, channel or copy stands between the two sides.
//!
//! The peer is an app server that the operator chose, and the request is one that the gate wrote.
//! What comes back is read strictly all the same: over a kept connection, an answer that is misread
//! is the next client's answer.

pub(in crate::upstream) mod exchange;
pub mod head;
pub(in crate::upstream) mod pool;
pub(in crate::upstream) mod relay;
pub mod request;
mod sending;

pub(in crate::upstream) use request::{Framing, Terms, write_head};
pub(in crate::upstream) use sending::{Sending, Waiting, WrongLength};

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep};
use tokio_util::io::poll_read_buf;

use crate::codec::{Decoder, Fault, Piece};
use crate::upstream::socket::Socket;

/// Size of the first read, in bytes: most answers fit.
const SMALL_READ_BYTES: usize = 8 * 1024;

/// Size of the largest read, in bytes. What is read at once is written at once, and every write wakes
/// somebody: larger ones make large answers cheaper, up to where they no longer fit into a cache.
const LARGE_READ_BYTES: usize = 256 * 1024;

/// One connection that speaks HTTP/1.1: the socket, and what has been read from it.
#[derive(Debug)]
pub(in crate::upstream) struct Wire {
    socket: Socket,
    buffer: BytesMut,
    /// Size of the next read, in bytes. Grows with answers that fill it.
    read_bytes: usize,
    /// Bytes of the largest read since the connection was last free.
    largest_read: usize,
    /// Stands at some deadline that has perhaps been put off since, and looks again when it fires.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    pub(in crate::upstream) fn new(socket: Socket) -> Self {
        Self {
            socket,
            buffer: BytesMut::new(),
            read_bytes: SMALL_READ_BYTES,
            largest_read: 0,
            timer: None,
        }
    }

    pub(in crate::upstream) fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    pub(in crate::upstream) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The socket, with the bytes that were read beyond the last head.
    pub(in crate::upstream) fn into_parts(self) -> (Socket, Bytes) {
        (self.socket, self.buffer.freeze())
    }

    /// Whether the connection can carry another request: nothing has come that was not asked for,
    /// and it has not closed. Costs no system call while nothing has happened.
    pub(in crate::upstream) fn is_quiet(&mut self) -> bool {
        if !self.buffer.is_empty() {
            return false;
        }
        // Into no buffer: nothing is to come, and the memory of the last answer may still be in use.
        let mut space = [MaybeUninit::uninit(); 1];
        let mut nothing = ReadBuf::uninit(&mut space);
        let socket = &mut self.socket;
        let look = poll_fn(|context| Pin::new(&mut *socket).poll_read(context, &mut nothing));
        // Looks at the socket also when the task has had its share of turns.
        let mut read = pin!(unconstrained(look));
        let mut context = Context::from_waker(Waker::noop());
        read.as_mut().poll(&mut context).is_pending()
    }

    /// Gives a buffer back that was larger than the last answer needed. One large answer is often
    /// followed by another.
    pub(in crate::upstream) fn rest(&mut self) {
        let largest_read = std::mem::take(&mut self.largest_read);
        if self.read_bytes > SMALL_READ_BYTES && largest_read < SMALL_READ_BYTES {
            self.read_bytes = SMALL_READ_BYTES;
            self.buffer = BytesMut::new();
        }
    }

    /// Reads more; gives how many bytes, zero at the end.
    pub(in crate::upstream) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.buffer.reserve(self.read_bytes);
        let read = ready!(poll_read_buf(
            Pin::new(&mut self.socket),
            context,
            &mut self.buffer
        ))?;
        self.largest_read = self.largest_read.max(read);
        if read >= self.read_bytes {
            self.read_bytes = (self.read_bytes * 2).min(LARGE_READ_BYTES);
        }
        Poll::Ready(Ok(read))
    }

    /// Ready when the deadline has passed.
    pub(in crate::upstream) fn poll_deadline(
        &mut self,
        context: &mut Context<'_>,
        deadline: Instant,
    ) -> Poll<()> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline || timer.is_elapsed() {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(context));
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

/// The body of an answer that comes over a connection.
#[derive(Debug)]
pub(in crate::upstream) struct Reading {
    pub(in crate::upstream) decoder: Decoder,
    /// Longest silence, when that is limited.
    pub(in crate::upstream) idle: Option<Duration>,
    /// When the silence will have been too long.
    deadline: Option<Instant>,
}

/// Why the body of an answer broke off.
#[derive(Debug)]
pub(in crate::upstream) enum Broken {
    Fault(Fault),
    Idle,
}

impl Reading {
    /// Of an answer that has not begun or is over.
    pub(in crate::upstream) fn nothing() -> Self {
        Self::new(Decoder::Done, None)
    }

    pub(in crate::upstream) fn new(decoder: Decoder, idle: Option<Duration>) -> Self {
        Self {
            decoder,
            idle,
            deadline: idle.map(|idle| Instant::now() + idle),
        }
    }

    /// The next piece of the body; `None` at its end.
    pub(in crate::upstream) fn poll(
        &mut self,
        wire: &mut Wire,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            match self.decoder.take(&mut wire.buffer) {
                Ok(Piece::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::Starved) => {}
                Err(fault) => return Poll::Ready(Some(Err(Broken::Fault(fault)))),
            }
            match wire.poll_read(context) {
                Poll::Ready(Ok(0)) => {
                    let ended = self.decoder.closed().err();
                    return Poll::Ready(ended.map(|fault| Err(Broken::Fault(fault))));
                }
                Poll::Ready(Ok(_some)) => {
                    self.deadline = self.idle.map(|idle| Instant::now() + idle);
                }
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Some(Err(Broken::Fault(Fault::Io(error)))));
                }
                Poll::Pending => {
                    let deadline = self.deadline;
                    let silent = deadline.map(|until| wire.poll_deadline(context, until));
                    ready!(silent.unwrap_or(Poll::Pending));
                    return Poll::Ready(Some(Err(Broken::Idle)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

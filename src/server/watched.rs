//! A socket with the deadlines of its connection: the head of a request, the time between two
//! requests, and an answer that the client does not take. One timer serves them all.
//!
//! The deadline of a request body is with the body (`server::body`), because over HTTP/2 many
//! bodies share a socket.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_util::io::poll_read_buf;

use crate::server::Limits;
use crate::server::capacity::Place;
use crate::server::crew::LiveGuard;
use crate::server::socket::Socket;
use crate::server::state::State;
use crate::splice::ClearSocket;

/// What an idle connection gets to say goodbye in.
const GOODBYE: Duration = Duration::from_secs(5);

/// What is read at once of a connection that has no buffer, in bytes: the head of most requests.
const EARLY_BYTES: usize = 2 * 1024;

/// A socket with the deadlines of its connection.
#[derive(Debug)]
pub(in crate::server) struct Watched<S> {
    socket: S,
    state: Rc<State>,
    limits: Deadlines,
    reading: Reading,
    /// What was read before anybody was there to read it.
    early: BytesMut,
    /// Since when the client has taken nothing of what waits for it.
    unread_since: Option<Instant>,
    /// Whether what is written is the last, and waits for the end of the connection.
    last: bool,
    timer: Pin<Box<Sleep>>,
    /// Held as long as the socket is open, also as a tunnel.
    _place: Place,
    _live: LiveGuard,
}

#[derive(Clone, Copy, Debug)]
struct Deadlines {
    header: Duration,
    idle: Duration,
    unread: Duration,
}

/// What the next bytes from the client will be.
#[derive(Clone, Copy, Debug)]
enum Reading {
    /// The rest of a head that has just begun. Most come whole, and then no time is taken.
    Begun,
    /// The rest of a head that began then.
    Head(Instant),
    /// The begin of a head; nothing since then.
    Idle(Instant),
    /// Asked to end, then; what is still on its way to the client was last taken then.
    Ending { asked: Instant, taken: Instant },
    /// A request is under way: its body, or nothing.
    Busy,
}

impl Reading {
    fn ending() -> Self {
        let now = Instant::now();
        Self::Ending {
            asked: now,
            taken: now,
        }
    }
}

impl<S> Watched<S> {
    pub(in crate::server) fn new(
        socket: S,
        state: Rc<State>,
        limits: &Limits,
        (place, live): (Place, LiveGuard),
    ) -> Self {
        let now = Instant::now();
        let limits = Deadlines {
            header: limits.header_timeout,
            idle: limits.idle_timeout,
            unread: limits.body_idle_timeout,
        };
        Self {
            socket,
            state,
            limits,
            reading: Reading::Head(now),
            early: BytesMut::new(),
            unread_since: None,
            last: false,
            timer: Box::pin(tokio::time::sleep_until(now + limits.header)),
            _place: place,
            _live: live,
        }
    }

    /// What has come and not been read.
    pub(in crate::server) fn early(&self) -> &BytesMut {
        &self.early
    }

    /// Takes what has come and not been read.
    pub(in crate::server) fn take_early(&mut self) -> BytesMut {
        std::mem::take(&mut self.early)
    }

    /// Puts back what was read too much.
    pub(in crate::server) fn unread(&mut self, read: BytesMut) {
        self.early = read;
    }

    /// What is written from here on is the last, and the connection is shut down at once when it has
    /// been.
    pub(in crate::server) fn writes_last(&mut self) {
        self.last = true;
    }

    /// Whether something that was written waits for the connection to be shut down.
    pub(in crate::server) fn has_written_last(&self) -> bool {
        self.last
    }

    /// Looks whether a request is under way, and times accordingly.
    pub(in crate::server) fn settle(&mut self) {
        self.reading = match (self.reading, self.state.is_busy()) {
            (_, true) => Reading::Busy,
            (Reading::Busy, false) => {
                let now = Instant::now();
                self.state.fell_idle(now);
                Reading::Idle(now)
            }
            // Asked to end from outside: there is no sense in waiting for the idle time as well.
            (Reading::Idle(_), false) if self.state.is_retired() => Reading::ending(),
            (same, false) => same,
        };
    }

    /// A request was answered, perhaps before anybody looked whether one was under way. What is timed
    /// begins anew.
    pub(in crate::server) fn was_busy(&mut self) {
        if matches!(self.reading, Reading::Head(_) | Reading::Idle(_)) {
            self.reading = Reading::Busy;
        }
    }

    /// A head begins with what has been read already.
    pub(in crate::server) fn head_begins(&mut self) {
        self.settle();
        self.bytes_arrived();
    }

    fn bytes_arrived(&mut self) {
        if let Reading::Idle(_) = self.reading
            && !self.state.is_multiplexed()
        {
            self.reading = Reading::Begun;
        }
    }

    /// Somebody waits for the rest of a head: its time runs from now on.
    fn waits(&mut self) {
        if let Reading::Begun = self.reading {
            self.reading = Reading::Head(Instant::now());
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let read = match self.reading {
            Reading::Head(since) => Some(since + self.limits.header),
            Reading::Idle(since) => Some(since + self.limits.idle),
            // Bounded in all: answers to pings are taken as well.
            Reading::Ending { asked, taken } => {
                Some((taken + GOODBYE).min(asked + self.limits.idle))
            }
            Reading::Begun | Reading::Busy => None,
        };
        let unread = self.unread_since.map(|since| since + self.limits.unread);
        read.into_iter().chain(unread).min()
    }

    /// Fails when a deadline has passed; else makes sure that the task wakes at the next one. The
    /// timer is moved only to an earlier moment: as a rule it stands at a deadline that has been
    /// put off since, and looks again when it fires.
    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let Some(deadline) = self.deadline() else {
            return Poll::Pending;
        };
        if deadline < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(deadline);
        }
        loop {
            ready!(self.timer.as_mut().poll(context));
            let now = Instant::now();
            match self.deadline() {
                Some(deadline) if deadline > now => self.timer.as_mut().reset(deadline),
                Some(_)
                    if matches!(self.reading, Reading::Idle(_)) && self.unread_since.is_none() =>
                {
                    self.reading = Reading::ending();
                    self.state.retire();
                    self.timer.as_mut().reset(now + GOODBYE);
                }
                Some(_) => return Poll::Ready(io::ErrorKind::TimedOut.into()),
                None => return Poll::Pending,
            }
        }
    }

    fn wrote<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.unread_since = None;
            if let Reading::Ending { taken, .. } = &mut self.reading {
                *taken = Instant::now();
            }
            return polled;
        }
        if self.unread_since.is_none() {
            self.unread_since = Some(Instant::now());
        }
        self.poll_deadline(context).map(Err)
    }

    /// Encryption holds back some of what was written. That waits for the client as well.
    fn flushed(
        &mut self,
        polled: Poll<io::Result<()>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if polled.is_pending() {
            return self.wrote(polled, context);
        }
        self.unread_since = None;
        polled
    }
}

impl<S: Socket> Watched<S> {
    /// Has the connection end in a reset instead of a clean end.
    pub(in crate::server) fn break_off(&self) {
        self.socket.break_off();
    }

    /// The socket, where nothing is encrypted: for the body of a request, whose deadline is not the
    /// connection's.
    pub(in crate::server) fn clear(&self) -> Option<ClearSocket<'_>> {
        self.socket.clear()
    }
}

impl<S: AsyncRead + Unpin> Watched<S> {
    /// Waits until something has come, at the cost of no buffer. Gives all that has come and not
    /// been read; nothing when the client has closed.
    pub(in crate::server) fn poll_early(
        &mut self,
        context: &mut Context<'_>,
        wanted: usize,
    ) -> Poll<io::Result<&BytesMut>> {
        if self.early.len() < wanted {
            let mut space = [MaybeUninit::uninit(); EARLY_BYTES];
            let mut buffer = ReadBuf::uninit(&mut space);
            ready!(self.poll_socket(context, &mut buffer))?;
            self.early.extend_from_slice(buffer.filled());
        }
        Poll::Ready(Ok(&self.early))
    }

    /// Reads on in the body of a request. Its deadline is not the connection's.
    pub(in crate::server) fn poll_read_body(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        poll_read_buf(Pin::new(&mut self.socket), context, buffer)
    }

    fn poll_socket(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self;
        this.settle();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.socket).poll_read(context, buffer);
        if polled.is_pending() {
            this.waits();
            return this.poll_deadline(context).map(Err);
        }
        if buffer.filled().len() > before {
            this.bytes_arrived();
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return self.poll_socket(context, buffer);
        }
        let length = self.early.len().min(buffer.remaining());
        buffer.put_slice(&self.early.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl<S: Socket> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = if self.last {
            self.socket
                .poll_write_last(&[io::IoSlice::new(data)], context)
        } else {
            Pin::new(&mut self.socket).poll_write(context, data)
        };
        self.wrote(polled, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = if self.last {
            self.socket.poll_write_last(data, context)
        } else {
            Pin::new(&mut self.socket).poll_write_vectored(context, data)
        };
        self.wrote(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.socket).poll_flush(context);
        ready!(this.flushed(polled, context))?;
        // That may have been the end of the last answer. HTTP/2 has asked for bytes long
        // ago and asks again only when some come; so the wait for them is timed from here.
        this.settle();
        if matches!(this.reading, Reading::Idle(_) | Reading::Ending { .. })
            && let Poll::Ready(error) = this.poll_deadline(context)
        {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_shutdown(context);
        self.flushed(polled, context)
    }
}

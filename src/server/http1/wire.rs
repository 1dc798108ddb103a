//! One HTTP/1 connection: the socket, what has come over it and was not read, and how far the body of
//! the request under way has come. Two share it, on one thread: the task that serves the connection,
//! and whoever reads the body, which may be another task. The one writes, and reads between
//! requests; the other reads until the body has come to its end.
//!
//! A connection that waits for a request has no buffer: what comes then is read into the stack first.

use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use crate::codec::{Decoder, Fault, Piece, SpareBuffers};
use crate::domain::limits;
use crate::server::body::{Broken, Pull};
use crate::server::http1::head::{HeadLimits, Received};
use crate::server::socket::Socket;
use crate::server::watched::Watched;
use crate::splice::{self, Filling, Piped, Pipes};

/// What is read at once between requests, in bytes: the head of most, and a small body with it.
const HEAD_READ_BYTES: usize = 4 * 1024;

/// Size of the first read of a body, in bytes.
const SMALL_READ_BYTES: usize = 8 * 1024;

/// Size of the largest read of a body, in bytes. What is read at once is written at once, and every
/// write wakes somebody.
const LARGE_READ_BYTES: usize = 128 * 1024;

/// From which length on a body is read in pieces of that size from the beginning.
const LARGE_BODY_BYTES: u64 = 64 * 1024;

/// What is read at most of next requests while one is under way, in bytes.
const MAX_AHEAD_BYTES: usize = 64 * 1024;

/// The go-ahead for a body (RFC 9110 §15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// One HTTP/1 connection.
#[derive(Debug)]
pub(in crate::server) struct Wire<S> {
    socket: Watched<S>,
    /// What has come and was not read. Without memory while nothing has.
    buffer: BytesMut,
    /// How much of it holds no end of a head.
    searched: usize,
    /// Size of the next read of a body. Grows with bodies that fill it.
    read_bytes: usize,
    /// Where the body of the request under way is.
    body: Decoder,
    reader: Reader,
    go_ahead: GoAhead,
    /// Who serves the connection.
    server: Option<Waker>,
}

/// Who reads the body of the request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// Whoever was given it.
    Handler,
    /// The connection, to get rid of it. So many bytes may still come.
    Nobody { left: u64 },
    /// It cannot be read on.
    Broken,
}

/// The go-ahead that a client may wait for.
#[derive(Clone, Copy, Debug)]
enum GoAhead {
    /// Not asked for, or given.
    Settled,
    /// Asked for.
    Due,
    /// This much of it is still to be written.
    Begun(&'static [u8]),
    /// It was asked for, and there was an answer instead. Whether the body comes now, nobody knows.
    Withheld,
}

impl<S> Wire<S> {
    pub(in crate::server) fn new(mut socket: Watched<S>) -> Self {
        let early = socket.take_early();
        Self {
            socket,
            buffer: early,
            searched: 0,
            read_bytes: SMALL_READ_BYTES,
            body: Decoder::Done,
            reader: Reader::Handler,
            go_ahead: GoAhead::Settled,
            server: None,
        }
    }

    pub(in crate::server) fn socket(&mut self) -> &mut Watched<S> {
        &mut self.socket
    }

    /// The socket, to which what was read too much belongs again.
    pub(in crate::server) fn into_socket(self) -> Watched<S> {
        let mut socket = self.socket;
        socket.unread(self.buffer);
        socket
    }

    /// Whether nothing of a next request has come.
    pub(in crate::server) fn is_quiet(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Whether the body of the request under way has been read to its end.
    pub(in crate::server) fn is_read(&self) -> bool {
        self.body.is_done()
    }

    /// What is written from here on is the last: it may wait for the end of the connection, unless
    /// the client is still sending and has to be heard out first.
    pub(in crate::server) fn writes_last(&mut self) {
        if self.is_read() && self.is_quiet() {
            self.socket.writes_last();
        }
    }

    /// Begins with the body of a request. Gives whether there is one.
    pub(in crate::server) fn begin_body(
        &mut self,
        body: Decoder,
        expects: bool,
        spare: &SpareBuffers,
    ) -> bool {
        let length = body.remaining().unwrap_or_default();
        if length >= LARGE_BODY_BYTES {
            let mut buffer = spare.take();
            buffer.extend_from_slice(&self.buffer);
            self.buffer = buffer;
            self.read_bytes = LARGE_READ_BYTES;
        }
        // Busy from here on, and no longer within a head.
        self.socket.settle();
        self.body = body;
        self.reader = Reader::Handler;
        self.go_ahead = if expects {
            GoAhead::Due
        } else {
            GoAhead::Settled
        };
        !self.body.is_done()
    }

    /// From here on an answer is written, and no go-ahead any more. Gives what has to be written
    /// first.
    pub(in crate::server) fn begin_answer(&mut self) -> &'static [u8] {
        match std::mem::replace(&mut self.go_ahead, GoAhead::Settled) {
            GoAhead::Begun(rest) => rest,
            GoAhead::Due | GoAhead::Withheld => {
                self.go_ahead = GoAhead::Withheld;
                &[]
            }
            GoAhead::Settled => &[],
        }
    }

    /// The request is over. Memory that a large body took is given back.
    pub(in crate::server) fn end_body(&mut self, spare: &SpareBuffers) {
        self.server = None;
        if self.buffer.is_empty() {
            spare.give_back(std::mem::take(&mut self.buffer));
            self.read_bytes = SMALL_READ_BYTES;
        }
    }

    /// Whether there is a rest of the body that nobody reads, and that comes or may come.
    fn is_to_be_skipped(&self) -> bool {
        matches!(self.reader, Reader::Nobody { .. })
            && matches!(self.go_ahead, GoAhead::Settled)
            && !self.body.is_done()
    }

    /// Skips what is there of a body that nobody reads.
    pub(in crate::server) fn skip_what_is_there(&mut self) {
        while let Reader::Nobody { left } = self.reader
            && self.is_to_be_skipped()
        {
            let before = self.buffer.len();
            let taken = self.body.take(&mut self.buffer);
            // Not the data alone: what chunks say of themselves comes as well.
            let skipped = u64::try_from(before - self.buffer.len()).unwrap_or(u64::MAX);
            self.reader = match left.checked_sub(skipped).filter(|_| taken.is_ok()) {
                Some(left) => Reader::Nobody { left },
                None => Reader::Broken,
            };
            if matches!(taken, Ok(Piece::Starved)) {
                return;
            }
        }
    }
}

impl<S: Socket> Wire<S> {
    /// The head of the next request; `None` when the client has closed instead.
    pub(in crate::server) fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        limits: HeadLimits,
    ) -> Poll<Result<Option<Received>, Fault>> {
        if !self.buffer.is_empty() {
            self.socket.head_begins();
        }
        loop {
            if self.searched < self.buffer.len()
                && let Some(head) = Received::take(&mut self.buffer, &mut self.searched, limits)?
            {
                return Poll::Ready(Ok(Some(head)));
            }
            if ready!(self.poll_read(context)).map_err(Fault::Io)? == 0 {
                return Poll::Ready(self.closed());
            }
        }
    }

    /// The client has closed: between two requests, or within one.
    fn closed(&self) -> Result<Option<Received>, Fault> {
        if self.buffer.is_empty() {
            Ok(None)
        } else {
            Err(Fault::Closed)
        }
    }

    /// Ready when the client has gone. Looks only where nobody else reads, and no further than to
    /// some next requests: one who sends more waits for its answers.
    pub(in crate::server) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.body.is_done() && self.buffer.len() < MAX_AHEAD_BYTES {
            if !matches!(ready!(self.poll_read(context)), Ok(1..)) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// Whether something has come that nobody will read: the rest of a body, or a next request.
    pub(in crate::server) fn has_unread(&mut self, context: &mut Context<'_>) -> bool {
        // Whether the client has gone makes no difference: what it sent before is in the buffer then.
        let _gone = self.poll_gone(context);
        !self.is_read() || !self.buffer.is_empty()
    }

    /// Reads a body on that nobody reads; ready when it has come to its end or no more is to be read
    /// of it. A connection that is closed over unread bytes is reset, and takes the answer with it.
    pub(in crate::server) fn poll_skip(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.reader == Reader::Handler && !self.body.is_done() {
            self.server = Some(context.waker().clone());
            return Poll::Pending;
        }
        loop {
            self.skip_what_is_there();
            if !self.is_to_be_skipped() {
                return Poll::Ready(());
            }
            if !matches!(ready!(self.poll_read_body(context)), Ok(1..)) {
                self.reader = Reader::Broken;
            }
        }
    }

    /// Reads what will be read by nobody; ready when the client has closed, or has sent too much.
    pub(in crate::server) fn poll_discard(
        &mut self,
        context: &mut Context<'_>,
        left: &mut u64,
    ) -> Poll<()> {
        loop {
            self.buffer.clear();
            let read = match ready!(self.poll_read_body(context)) {
                Ok(read @ 1..) => u64::try_from(read).unwrap_or(u64::MAX),
                Ok(_) | Err(_) => return Poll::Ready(()),
            };
            match left.checked_sub(read) {
                Some(rest) => *left = rest,
                None => return Poll::Ready(()),
            }
        }
    }

    /// Reads what comes between requests, without taking memory before it comes.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::uninit(); HEAD_READ_BYTES];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.socket).poll_read(context, &mut read))?;
        self.buffer.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    fn poll_read_body(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.reserve(self.read_bytes);
        let read = ready!(self.socket.poll_read_body(context, &mut self.buffer))?;
        if read >= self.read_bytes {
            self.read_bytes = (self.read_bytes * 2).min(LARGE_READ_BYTES);
        }
        Poll::Ready(Ok(read))
    }

    fn poll_body(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            match self.body.take(&mut self.buffer) {
                Ok(Piece::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::Starved) => {}
                Err(_fault) => return self.broken(),
            }
            if ready!(self.poll_go_ahead(context)).is_err() {
                return self.broken();
            }
            if !matches!(ready!(self.poll_read_body(context)), Ok(1..)) {
                return self.broken();
            }
        }
    }

    /// Moves what has come of the body into a pipe; `None` when it has to be read. That is so as long
    /// as some of it is in the buffer, and where it is small or of unknown length: never is more moved
    /// than belongs to it.
    fn poll_splice(
        &mut self,
        pipes: &Pipes,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Piped>, Broken>> {
        let left = match self.body {
            Decoder::Length(left) if left >= splice::MIN_BYTES && self.buffer.is_empty() => left,
            _ => return Poll::Ready(Ok(None)),
        };
        if ready!(self.poll_go_ahead(context)).is_err() {
            self.reader = Reader::Broken;
            return Poll::Ready(Err(Broken));
        }
        let Some(socket) = self.socket.clear() else {
            return Poll::Ready(Ok(None));
        };
        match ready!(pipes.poll_fill(socket, left, context)) {
            Filling::Moved(piped) => {
                let bytes = u64::try_from(piped.bytes()).unwrap_or(u64::MAX);
                self.body.passed(bytes);
                Poll::Ready(Ok(Some(piped)))
            }
            Filling::Closed => {
                self.reader = Reader::Broken;
                Poll::Ready(Err(Broken))
            }
            Filling::Refused => Poll::Ready(Ok(None)),
        }
    }

    fn broken(&mut self) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.reader = Reader::Broken;
        Poll::Ready(Some(Err(Broken)))
    }

    /// Tells the client to send its body, if it waits for that.
    fn poll_go_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let rest = match self.go_ahead {
                GoAhead::Settled | GoAhead::Withheld => return Poll::Ready(Ok(())),
                GoAhead::Due => CONTINUE,
                GoAhead::Begun(rest) => rest,
            };
            let socket = &mut self.socket;
            if rest.is_empty() {
                ready!(Pin::new(socket).poll_flush(context))?;
                self.go_ahead = GoAhead::Settled;
                continue;
            }
            match ready!(Pin::new(socket).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => {
                    self.go_ahead = GoAhead::Begun(rest.get(written..).unwrap_or_default());
                }
            }
        }
    }
}

impl<S: Socket> Pull for RefCell<Wire<S>> {
    fn poll_frame(&self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.borrow_mut().poll_body(context)
    }

    fn poll_splice(
        &self,
        pipes: &Pipes,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Piped>, Broken>> {
        self.borrow_mut().poll_splice(pipes, context)
    }

    fn is_over(&self) -> bool {
        self.borrow().is_read()
    }

    fn size_hint(&self) -> SizeHint {
        let remaining = self.borrow().body.remaining();
        remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    fn let_go(&self) {
        let server = {
            let mut wire = self.borrow_mut();
            if wire.reader == Reader::Handler && !wire.body.is_done() {
                wire.reader = Reader::Nobody {
                    left: limits::MAX_DRAINED_BYTES,
                };
            }
            wire.server.take()
        };
        if let Some(server) = server {
            server.wake();
        }
    }
}

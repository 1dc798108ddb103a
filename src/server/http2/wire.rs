//! The socket of a connection, and what has come over it and was not read. What comes is read into
//! the stack, and stays there as long as its frames are whole: a connection on which nothing comes
//! has no buffer. Only large bodies get one.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::codec::SpareBuffers;
use crate::server::http2::frame::{ConnectionError, Frame, HEAD_BYTES, Head, Kind, PREFACE};
use crate::server::http2::out::Out;
use crate::server::http2::stream::KEPT_BYTES;
use crate::server::socket::Socket;
use crate::server::watched::Watched;

/// What is read at once into the stack, in bytes: many requests.
const SMALL_READ_BYTES: usize = 8 * 1024;

/// What is read at once of large bodies, in bytes.
const LARGE_READ_BYTES: usize = 64 * 1024;

/// A socket and what has come over it.
#[derive(Debug)]
pub(in crate::server::http2) struct Wire<S> {
    socket: Watched<S>,
    /// What has come and was not read. Without memory while there is nothing.
    buffer: BytesMut,
    /// Whether so much comes that it is read into the buffer.
    is_busy: bool,
    /// Whether the socket may hold something back.
    is_unflushed: bool,
}

/// What one read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server::http2) enum Read {
    Something,
    End,
    /// It was not read.
    Nothing,
}

impl<S> Wire<S> {
    pub(in crate::server::http2) fn new(mut socket: Watched<S>) -> Self {
        let mut buffer = socket.take_early();
        // It was looked at before.
        buffer.advance(PREFACE.len().min(buffer.len()));
        Self {
            socket,
            buffer,
            is_busy: false,
            is_unflushed: false,
        }
    }

    pub(in crate::server::http2) fn socket(&mut self) -> &mut Watched<S> {
        &mut self.socket
    }

    /// Whether the socket may hold something back of what was written.
    pub(in crate::server::http2) fn is_unflushed(&self) -> bool {
        self.is_unflushed
    }

    /// Gives memory up that only large bodies need.
    pub(in crate::server::http2) fn rest(&mut self, spare: &SpareBuffers) {
        if self.buffer.is_empty() && self.buffer.capacity() > 0 {
            spare.give_back(std::mem::take(&mut self.buffer));
        }
    }

    /// Takes the frames that are whole and in the buffer.
    pub(in crate::server::http2) fn take_buffered(
        &mut self,
        mut take: impl FnMut(Frame<'_>, Option<&Bytes>) -> Result<(), ConnectionError>,
    ) -> Result<(), ConnectionError> {
        while let Some(head) = Head::read(&self.buffer)? {
            let length = HEAD_BYTES + head.length;
            if self.buffer.len() < length {
                break;
            }
            if head.kind == Kind::Data && head.length >= KEPT_BYTES {
                let memory = self.buffer.split_to(length).freeze();
                let payload = memory.get(HEAD_BYTES..).unwrap_or_default();
                take(head.frame(payload)?, Some(&memory))?;
                continue;
            }
            let payload = self.buffer.get(HEAD_BYTES..length).unwrap_or_default();
            take(head.frame(payload)?, None)?;
            self.buffer.advance(length);
        }
        Ok(())
    }
}

impl<S: Socket> Wire<S> {
    /// Reads what is there, and takes the frames that are whole.
    pub(in crate::server::http2) fn poll_read(
        &mut self,
        spare: &SpareBuffers,
        context: &mut Context<'_>,
        take: impl FnMut(Frame<'_>, Option<&Bytes>) -> Result<(), ConnectionError>,
    ) -> Poll<Result<Read, super::Failed>> {
        if self.is_busy || !self.buffer.is_empty() {
            return self.poll_read_buffer(spare, context, take);
        }
        let mut take = take;
        let mut space = [MaybeUninit::uninit(); SMALL_READ_BYTES];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.socket).poll_read(context, &mut read))?;
        let mut come = read.filled();
        if come.is_empty() {
            return Poll::Ready(Ok(Read::End));
        }
        self.is_busy = come.len() == SMALL_READ_BYTES;
        while let Some(head) = Head::read(come)? {
            let frame = come.get(HEAD_BYTES..HEAD_BYTES + head.length);
            let Some(payload) = frame else { break };
            take(head.frame(payload)?, None)?;
            come = come.get(HEAD_BYTES + head.length..).unwrap_or_default();
        }
        if !come.is_empty() {
            self.buffer.extend_from_slice(come);
        }
        Poll::Ready(Ok(Read::Something))
    }

    fn poll_read_buffer(
        &mut self,
        spare: &SpareBuffers,
        context: &mut Context<'_>,
        take: impl FnMut(Frame<'_>, Option<&Bytes>) -> Result<(), ConnectionError>,
    ) -> Poll<Result<Read, super::Failed>> {
        let wanted = if self.is_busy {
            LARGE_READ_BYTES
        } else {
            SMALL_READ_BYTES
        };
        if self.is_busy && self.buffer.capacity() == 0 {
            self.buffer = spare.take();
        }
        self.buffer.reserve(wanted);
        let read = ready!(poll_read_buf(
            Pin::new(&mut self.socket),
            context,
            &mut self.buffer
        ))?;
        if read == 0 {
            return Poll::Ready(Ok(Read::End));
        }
        self.is_busy = read >= SMALL_READ_BYTES;
        self.take_buffered(take)?;
        Poll::Ready(Ok(Read::Something))
    }

    /// Writes what waits, and whatever the socket holds back of it.
    pub(in crate::server::http2) fn poll_write(
        &mut self,
        out: &mut Out,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.is_unflushed = true;
        ready!(out.poll_write(&mut self.socket, context))?;
        ready!(Pin::new(&mut self.socket).poll_flush(context))?;
        self.is_unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Reads what nobody will read; ready when the client has closed, or has sent too much.
    pub(in crate::server::http2) fn poll_discard(
        &mut self,
        left: &mut u64,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            let mut space = [MaybeUninit::uninit(); SMALL_READ_BYTES];
            let mut read = ReadBuf::uninit(&mut space);
            let polled = Pin::new(&mut self.socket).poll_read(context, &mut read);
            let read = u64::try_from(read.filled().len()).unwrap_or(u64::MAX);
            match (ready!(polled), left.checked_sub(read)) {
                (Ok(()), Some(rest)) if read > 0 => *left = rest,
                _ => return Poll::Ready(()),
            }
        }
    }
}

//! What waits to be written: bytes of the gate's own, then a piece of a body, then a line end.
//! Small pieces are gathered behind the gate's own bytes, so that one write takes them all; of large
//! ones there is one at a time, and nothing is copied.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use tokio::io::AsyncWrite;

/// Largest piece that is copied, in bytes. A write of one part is cheaper than one of two by more
/// than such a copy costs.
const COPIED_BYTES: usize = 1024;

/// From how many waiting bytes on no more are gathered.
const GATHERED_BYTES: usize = 8 * 1024;

/// The line end after a chunk.
const CHUNK_END: &[u8] = b"\r\n";

/// The same after the last one that has data, and then the end of a body without trailers.
const LAST_CHUNK_END: &[u8] = b"\r\n0\r\n\r\n";

/// What waits to be written.
#[derive(Debug, Default)]
pub struct Outgoing {
    own: Vec<u8>,
    /// How much of `own` has been written.
    written: usize,
    piece: Bytes,
    tail: &'static [u8],
}

impl Outgoing {
    /// Begins with this head.
    pub fn with_head(own: Vec<u8>) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }

    /// Whether a piece can be added behind what is waiting.
    pub fn has_room(&self) -> bool {
        self.piece.is_empty()
            && self.tail.is_empty()
            && self.own.len() - self.written < GATHERED_BYTES
    }

    /// Adds a piece of a body of known length. There must be room.
    pub fn add(&mut self, piece: Bytes) {
        if piece.len() <= COPIED_BYTES {
            self.own().extend_from_slice(&piece);
        } else {
            self.piece = piece;
        }
    }

    /// Adds a piece of a body in chunks, perhaps the last one. There must be room, and the piece
    /// must not be empty: that would be the end.
    pub fn add_chunk(&mut self, piece: Bytes, is_last: bool) {
        // Writing to memory cannot fail.
        let _written = write!(self.own(), "{:x}\r\n", piece.len());
        let end = if is_last { LAST_CHUNK_END } else { CHUNK_END };
        if piece.len() <= COPIED_BYTES {
            self.own.extend_from_slice(&piece);
            self.own.extend_from_slice(end);
        } else {
            self.piece = piece;
            self.tail = end;
        }
    }

    /// Adds the end of a body in chunks, with these trailers. There must be room.
    pub fn end_chunks(&mut self, trailers: &HeaderMap) {
        let own = self.own();
        own.extend_from_slice(b"0\r\n");
        for (name, value) in trailers {
            write_field(own, name.as_str().as_bytes(), value.as_bytes());
        }
        own.extend_from_slice(b"\r\n");
    }

    /// Begins with the same bytes again: for a message that is nothing but its head, or of which nothing
    /// has been written.
    pub fn rewind(&mut self) {
        self.written = 0;
    }

    /// The memory of the gate's own bytes.
    pub fn into_head(self) -> Vec<u8> {
        self.own
    }

    /// Writes as much as the socket takes; ready when all is written.
    pub fn poll_write_out<W: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut W,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.has_remaining() {
            let mut slices = [IoSlice::new(&[]); 3];
            let count = self.chunks_vectored(&mut slices);
            let slices = slices.get(..count).unwrap_or_default();
            let written = ready!(poll_write_some(socket, slices, context))?;
            self.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Room for more bytes of the gate's own. What has been written stays until then: a head
    /// without a body can be written again.
    fn own(&mut self) -> &mut Vec<u8> {
        if self.written == self.own.len() {
            self.own.clear();
            self.written = 0;
        }
        &mut self.own
    }
}

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        (self.own.len() - self.written) + self.piece.len() + self.tail.len()
    }

    fn chunk(&self) -> &[u8] {
        let own = self.own.get(self.written..).unwrap_or_default();
        match (own, &*self.piece) {
            ([], []) => self.tail,
            ([], piece) => piece,
            (own, _) => own,
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let own = self.own.get(self.written..).unwrap_or_default();
        let parts = [own, &self.piece, self.tail];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        let filled = slices.iter_mut().zip(parts).map(|(slice, part)| {
            *slice = IoSlice::new(part);
        });
        filled.count()
    }

    fn advance(&mut self, count: usize) {
        let own = count.min(self.own.len() - self.written);
        self.written += own;
        let piece = (count - own).min(self.piece.len());
        self.piece.advance(piece);
        if self.piece.is_empty() {
            // Lets go of the memory, so that the next piece can be read into it.
            self.piece = Bytes::new();
        }
        self.tail = self.tail.get(count - own - piece..).unwrap_or_default();
    }
}

/// Writes some of these parts, of which none is empty: a socket that takes nothing has failed.
pub fn poll_write_some<W: AsyncWrite + Unpin>(
    socket: &mut W,
    parts: &[IoSlice<'_>],
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let written = match parts {
        [only] => ready!(Pin::new(socket).poll_write(context, only))?,
        several => ready!(Pin::new(socket).poll_write_vectored(context, several))?,
    };
    if written == 0 {
        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
    }
    Poll::Ready(Ok(written))
}

/// Writes a field of a head of which the name and what follows it are one text.
pub fn write_line(out: &mut Vec<u8>, start: &[u8], value: &[u8]) {
    out.reserve(start.len() + value.len() + 2);
    out.extend_from_slice(start);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes a field of a head.
pub fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

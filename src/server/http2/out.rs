//! What waits to be written: frames. Small ones are gathered into one buffer, the data of large ones
//! stays where it is, and one write takes many of both.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite;

use crate::codec::outgoing::poll_write_some;
use crate::server::http2::frame::{
    Code, END_HEADERS, END_STREAM, HEAD_BYTES, Kind, MAX_PAYLOAD_BYTES,
};

/// Largest piece that is copied, in bytes. A write of one part is cheaper than one of two by more
/// than such a copy costs.
const COPIED_BYTES: usize = 1024;

/// From how many waiting bytes on no answer adds any: so much is written at once.
const ROOM_BYTES: usize = 64 * 1024;

/// What may wait beyond that, in bytes, before no more is read: answers to what the client asks of
/// the connection.
const OVERHEAD_BYTES: usize = 16 * 1024;

/// Parts of one write.
const MAX_PARTS: usize = 16;

/// What waits to be written.
#[derive(Debug, Default)]
pub(in crate::server::http2) struct Out {
    /// Everything but large data.
    gathered: Vec<u8>,
    /// How much of that has been written.
    written: usize,
    /// Large data, each with its place in `gathered`.
    pieces: VecDeque<(usize, Bytes)>,
    /// Bytes in `pieces`.
    in_pieces: usize,
}

impl Out {
    pub(in crate::server::http2) fn waiting(&self) -> usize {
        self.gathered.len() - self.written + self.in_pieces
    }

    pub(in crate::server::http2) fn is_empty(&self) -> bool {
        self.waiting() == 0
    }

    /// Whether an answer may add something.
    pub(in crate::server::http2) fn has_room(&self) -> bool {
        self.waiting() < ROOM_BYTES
    }

    /// Whether so much waits that nothing should be read that has to be answered.
    pub(in crate::server::http2) fn is_full(&self) -> bool {
        self.waiting() >= ROOM_BYTES + OVERHEAD_BYTES
    }

    /// Whether it has memory of its own.
    pub(in crate::server::http2) fn has_memory(&self) -> bool {
        self.gathered.capacity() > 0
    }

    /// Gives it memory.
    pub(in crate::server::http2) fn use_memory(&mut self, memory: Vec<u8>) {
        self.gathered = memory;
    }

    /// Takes its memory, while nothing waits.
    pub(in crate::server::http2) fn take_memory(&mut self) -> Vec<u8> {
        self.written = 0;
        self.pieces = VecDeque::new();
        std::mem::take(&mut self.gathered)
    }

    /// Adds a frame.
    pub(in crate::server::http2) fn add(
        &mut self,
        kind: Kind,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) {
        self.add_head(kind, flags, stream, payload.len());
        self.gathered.extend_from_slice(payload);
    }

    pub(in crate::server::http2) fn add_reset(&mut self, stream: u32, code: Code) {
        self.add(Kind::RstStream, 0, stream, &code.number().to_be_bytes());
    }

    pub(in crate::server::http2) fn add_window(&mut self, stream: u32, by: u32) {
        self.add(Kind::WindowUpdate, 0, stream, &by.to_be_bytes());
    }

    pub(in crate::server::http2) fn add_goaway(&mut self, last: u32, code: Code) {
        let payload = [last.to_be_bytes(), code.number().to_be_bytes()].concat();
        self.add(Kind::GoAway, 0, 0, &payload);
    }

    /// Adds data of an answer, no more than fits into a frame.
    pub(in crate::server::http2) fn add_data(&mut self, stream: u32, data: Bytes, ends: bool) {
        let flags = if ends { END_STREAM } else { 0 };
        self.add_head(Kind::Data, flags, stream, data.len());
        if data.len() <= COPIED_BYTES {
            self.gathered.extend_from_slice(&data);
        } else {
            self.in_pieces += data.len();
            self.pieces.push_back((self.gathered.len(), data));
        }
    }

    /// Adds a header block, in as many frames as it needs.
    pub(in crate::server::http2) fn add_block(
        &mut self,
        stream: u32,
        ends: bool,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let flags = if ends { END_STREAM } else { 0 };
        self.make_room();
        let begin = self.gathered.len();
        self.add_head(Kind::Headers, flags | END_HEADERS, stream, 0);
        write(&mut self.gathered);
        let length = self.gathered.len() - begin - HEAD_BYTES;
        if length <= MAX_PAYLOAD_BYTES {
            self.set_length(begin, length);
            return;
        }
        let block = self.gathered.split_off(begin + HEAD_BYTES);
        self.gathered.truncate(begin);
        let (mut kind, mut flags) = (Kind::Headers, flags);
        let mut fragments = block.chunks(MAX_PAYLOAD_BYTES).peekable();
        while let Some(fragment) = fragments.next() {
            if fragments.peek().is_none() {
                flags |= END_HEADERS;
            }
            self.add(kind, flags, stream, fragment);
            (kind, flags) = (Kind::Continuation, 0);
        }
    }

    fn add_head(&mut self, kind: Kind, flags: u8, stream: u32, length: usize) {
        self.make_room();
        let mut head = [0; HEAD_BYTES];
        let [_, length @ ..] = length_of(length);
        head[..3].copy_from_slice(&length);
        head[3..5].copy_from_slice(&[kind.number(), flags]);
        head[5..].copy_from_slice(&stream.to_be_bytes());
        self.gathered.extend_from_slice(&head);
    }

    fn set_length(&mut self, begin: usize, length: usize) {
        let [_, bytes @ ..] = length_of(length);
        if let Some(place) = self.gathered.get_mut(begin..begin + bytes.len()) {
            place.copy_from_slice(&bytes);
        }
    }

    /// Lets go of what has been written, when there is nothing else or much of it.
    fn make_room(&mut self) {
        if self.is_empty() {
            self.gathered.clear();
            self.written = 0;
        } else if self.written >= ROOM_BYTES {
            self.gathered.drain(..self.written);
            for (at, _) in &mut self.pieces {
                *at -= self.written;
            }
            self.written = 0;
        }
    }

    /// Writes as much as the socket takes; ready when all is written.
    pub(in crate::server::http2) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut W,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let mut parts = [IoSlice::new(&[]); MAX_PARTS];
            let count = self.parts(&mut parts);
            let parts = parts.get(..count).unwrap_or_default();
            let written = ready!(poll_write_some(socket, parts, context))?;
            self.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// The first parts that wait.
    fn parts<'a>(&'a self, parts: &mut [IoSlice<'a>; MAX_PARTS]) -> usize {
        let mut from = self.written;
        let mut count = 0;
        let mut add = |part: &'a [u8]| {
            let place = parts.get_mut(count).filter(|_| !part.is_empty());
            if let Some(place) = place {
                *place = IoSlice::new(part);
                count += 1;
            }
        };
        for (at, piece) in self.pieces.iter().take(MAX_PARTS) {
            add(self.gathered.get(from..*at).unwrap_or_default());
            add(piece);
            from = *at;
        }
        if self.pieces.len() <= MAX_PARTS {
            add(self.gathered.get(from..).unwrap_or_default());
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let end = self
                .pieces
                .front()
                .map_or(self.gathered.len(), |(at, _)| *at);
            let own = count.min(end - self.written);
            self.written += own;
            count -= own;
            let Some((_, piece)) = self.pieces.front_mut() else {
                return;
            };
            let taken = count.min(piece.len());
            piece.advance(taken);
            self.in_pieces -= taken;
            count -= taken;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}

/// The length of a frame is said in the last three of these.
fn length_of(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

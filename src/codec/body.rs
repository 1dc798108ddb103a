//! The body of a message: from bytes to pieces, by length, by chunks, or up to the end of the
//! connection. Pure; bytes are split off, never copied.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;

use crate::codec::fault::Fault;
use crate::codec::lines::Lines;
use crate::codec::trailers::clean_trailers;

/// Longest line that says the size of a chunk, in bytes. Extensions are legal and nobody sends them.
const MAX_SIZE_LINE_BYTES: usize = 256;

/// Largest block of trailers, in bytes.
const MAX_TRAILER_BYTES: usize = 8 * 1024;

/// Fields in a block of trailers.
const MAX_TRAILERS: usize = 32;

/// Digits of a chunk size: with more it would not fit into 64 bits.
const MAX_SIZE_DIGITS: usize = 15;

/// How a body in chunks ends, after its last data, when there are no trailers.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// Reads one body. `Done` when it has come to its end.
#[derive(Debug)]
pub enum Decoder {
    /// RFC 9112 §7.1.
    Chunked(Chunk),
    /// Nothing more to come.
    Done,
    /// This many bytes are still to come; never zero.
    Length(u64),
    /// As long as the connection lasts (RFC 9112 §6.3, the last case).
    UntilClose,
}

/// Where the reader of a chunked body is.
#[derive(Clone, Copy, Debug)]
pub enum Chunk {
    /// Within a chunk, this many bytes before its end; never zero.
    Data(u64),
    /// At the line end after a chunk.
    End,
    /// At the line with the size of the next chunk.
    Size,
    /// After the last chunk.
    Trailers,
}

/// What can be read off the front of a buffer.
#[derive(Debug)]
pub enum Piece {
    /// Data or trailers.
    Frame(Frame<Bytes>),
    /// Nothing before more bytes come.
    Starved,
    /// The body is over.
    End,
}

impl Decoder {
    /// A body of this many bytes.
    pub fn length(bytes: u64) -> Self {
        if bytes == 0 {
            Self::Done
        } else {
            Self::Length(bytes)
        }
    }

    /// A body in chunks.
    pub fn chunked() -> Self {
        Self::Chunked(Chunk::Size)
    }

    /// Whether the body has come to its end.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Bytes that are known to be still to come.
    pub fn remaining(&self) -> Option<u64> {
        match self {
            Self::Done => Some(0),
            Self::Length(bytes) => Some(*bytes),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// So many bytes have come otherwise than by [`Self::take`]: no more than are known to be still to
    /// come.
    pub fn passed(&mut self, bytes: u64) {
        if let Self::Length(left) = self {
            *self = Self::length(left.saturating_sub(bytes));
        }
    }

    /// Takes the next piece off the front of `buffer`.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Result<Piece, Fault> {
        match self {
            Self::Done => Ok(Piece::End),
            _ if buffer.is_empty() => Ok(Piece::Starved),
            Self::UntilClose => Ok(data(buffer.split().freeze())),
            Self::Length(left) => {
                let piece = take_up_to(buffer, *left);
                *self = Self::length(*left - length_of(&piece));
                Ok(data(piece))
            }
            Self::Chunked(at) => {
                let at = *at;
                self.take_chunk(at, buffer)
            }
        }
    }

    /// The connection has closed: a clean end, or not.
    pub fn closed(&mut self) -> Result<(), Fault> {
        match self {
            Self::Done => Ok(()),
            Self::UntilClose => {
                *self = Self::Done;
                Ok(())
            }
            Self::Chunked(_) | Self::Length(_) => Err(Fault::Closed),
        }
    }

    fn take_chunk(&mut self, mut at: Chunk, buffer: &mut BytesMut) -> Result<Piece, Fault> {
        loop {
            let next = match at {
                Chunk::Data(left) => return Ok(self.take_data(left, buffer)),
                Chunk::End => take_line_end(buffer)?,
                Chunk::Size => take_size(buffer)?,
                Chunk::Trailers => return self.take_trailers(buffer),
            };
            let Some(next) = next else {
                return Ok(Piece::Starved);
            };
            at = next;
            *self = Self::Chunked(at);
        }
    }

    fn take_data(&mut self, left: u64, buffer: &mut BytesMut) -> Piece {
        if buffer.is_empty() {
            return Piece::Starved;
        }
        let piece = take_up_to(buffer, left);
        *self = match left - length_of(&piece) {
            // The end of the body is read along when it is there already: whoever reads the body
            // then knows that this piece is the last.
            0 if buffer.as_ref() == LAST_CHUNK => {
                buffer.clear();
                Self::Done
            }
            0 => Self::Chunked(Chunk::End),
            left => Self::Chunked(Chunk::Data(left)),
        };
        data(piece)
    }

    fn take_trailers(&mut self, buffer: &mut BytesMut) -> Result<Piece, Fault> {
        let Some(trailers) = take_trailers(buffer)? else {
            return Ok(Piece::Starved);
        };
        *self = Self::Done;
        if trailers.is_empty() {
            return Ok(Piece::End);
        }
        Ok(Piece::Frame(Frame::trailers(trailers)))
    }
}

fn data(bytes: Bytes) -> Piece {
    Piece::Frame(Frame::data(bytes))
}

fn length_of(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn take_up_to(buffer: &mut BytesMut, most: u64) -> Bytes {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    buffer.split_to(buffer.len().min(most)).freeze()
}

/// Takes the CR LF after a chunk, if it is there.
fn take_line_end(buffer: &mut BytesMut) -> Result<Option<Chunk>, Fault> {
    match buffer.as_ref() {
        [b'\r', b'\n', ..] => {
            buffer.advance(2);
            Ok(Some(Chunk::Size))
        }
        [] | [b'\r'] => Ok(None),
        _ => Err(Fault::Chunk),
    }
}

/// Takes the line with the size of a chunk: hexadecimal digits, perhaps an extension, CR LF.
fn take_size(buffer: &mut BytesMut) -> Result<Option<Chunk>, Fault> {
    let Some(at) = memchr::memchr(b'\n', buffer) else {
        if buffer.len() > MAX_SIZE_LINE_BYTES {
            return Err(Fault::Chunk);
        }
        return Ok(None);
    };
    let line = buffer.split_to(at + 1);
    let line = line
        .strip_suffix(b"\r\n")
        .filter(|line| line.len() <= MAX_SIZE_LINE_BYTES && !line.contains(&b'\r'))
        .ok_or(Fault::Chunk)?;
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default();
    let plain = !digits.is_empty()
        && digits.len() <= MAX_SIZE_DIGITS
        && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).unwrap_or_default();
    match u64::from_str_radix(text, 16) {
        Ok(0) if plain => Ok(Some(Chunk::Trailers)),
        Ok(size) if plain => Ok(Some(Chunk::Data(size))),
        _ => Err(Fault::Chunk),
    }
}

/// Takes the fields after the last chunk, with the empty line after them.
fn take_trailers(buffer: &mut BytesMut) -> Result<Option<HeaderMap>, Fault> {
    if buffer.starts_with(b"\r\n") {
        buffer.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let end = memchr::memmem::find(buffer, b"\r\n\r\n");
    let Some(end) = end.filter(|end| *end <= MAX_TRAILER_BYTES) else {
        if buffer.len() > MAX_TRAILER_BYTES {
            return Err(Fault::Trailers);
        }
        return Ok(None);
    };
    let block = buffer.split_to(end + 4).freeze();
    let fields = match Lines::of(&block, 0).fields(MAX_TRAILERS) {
        Ok(places) => places.of(block),
        Err(_odd) => return Err(Fault::Trailers),
    };
    let mut trailers = fields.to_map();
    clean_trailers(&mut trailers);
    Ok(Some(trailers))
}

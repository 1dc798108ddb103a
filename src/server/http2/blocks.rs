//! Header blocks (RFC 9113 §4.3): gathered from the frames that they come in, and decoded in the order
//! in which they came. Knows no streams: what a block is for is known to `receive`.

use std::time::Duration;

use tokio::time::Instant;

use crate::codec::hpack::{Block, BlockLimits, Decoder};
use crate::server::Limits;
use crate::server::http2::frame::{Code, ConnectionError, Fragment, Half, MAX_PAYLOAD_BYTES};

/// Frames of one header block. Each may be as large as a frame is, and nobody sends more of them
/// than needed.
const MAX_FRAGMENTS: usize = 64;

/// Memory for the next head that is kept ready, in bytes.
const MAX_USUAL_HEAD_BYTES: usize = 4 * 1024;

/// Fields for whose places memory is kept.
const MAX_USUAL_FIELDS: usize = 32;

/// A header block that has begun to come. No other frame may come before its end.
#[derive(Debug)]
pub(in crate::server::http2) struct Begun {
    stream: u32,
    pub(in crate::server::http2) half: Half,
    pub(in crate::server::http2) fragments: Vec<u8>,
    count: usize,
    since: Instant,
}

/// The header blocks of a connection.
#[derive(Debug)]
pub(in crate::server::http2) struct Blocks {
    decoder: Decoder,
    /// What was decoded last. Its memory is used again for every block.
    pub(in crate::server::http2) decoded: Block,
    /// How much memory the lines of the last head took.
    usual_bytes: usize,
    begun: Option<Begun>,
    /// Bytes of one block.
    max_bytes: usize,
}

impl Blocks {
    pub(in crate::server::http2) fn new(limits: &Limits) -> Self {
        Self {
            decoder: Decoder::default(),
            decoded: Block::default(),
            usual_bytes: 0,
            begun: None,
            // Twice: a head of up to that is read, to be refused with a problem (`head`).
            max_bytes: (2 * limits.max_header_bytes).max(2 * MAX_PAYLOAD_BYTES),
        }
    }

    /// Whether a block has begun to come and is not whole.
    pub(in crate::server::http2) fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Whether one has been coming for longer than this.
    pub(in crate::server::http2) fn is_late(&self, longest: Duration) -> bool {
        let begun = self.begun.as_ref();
        begun.is_some_and(|begun| begun.since.elapsed() >= longest)
    }

    /// Gives up memory that only unusual blocks need.
    pub(in crate::server::http2) fn rest(&mut self) {
        let has_much = self.decoded.lines.capacity() > MAX_USUAL_HEAD_BYTES;
        if has_much || self.decoded.fields.capacity() > MAX_USUAL_FIELDS {
            self.decoded = Block::default();
        }
    }

    /// A block begins that is not whole.
    pub(in crate::server::http2) fn begin(&mut self, stream: u32, half: Half, fragment: &[u8]) {
        self.begun = Some(Begun {
            stream,
            half,
            fragments: fragment.to_vec(),
            count: 1,
            since: Instant::now(),
        });
    }

    /// A block goes on. Gives it when it is whole.
    pub(in crate::server::http2) fn go_on(
        &mut self,
        stream: u32,
        fragment: Fragment<'_>,
    ) -> Result<Option<Begun>, ConnectionError> {
        let begun = self.begun.as_mut().filter(|begun| begun.stream == stream);
        let Some(begun) = begun else {
            return Err(ConnectionError::protocol(
                "a header block goes on that did not begin",
            ));
        };
        begun.count += 1;
        let bytes = begun.fragments.len() + fragment.bytes.len();
        if begun.count > MAX_FRAGMENTS || bytes > self.max_bytes {
            return Err(ConnectionError::too_much("a header block is far too large"));
        }
        begun.fragments.extend_from_slice(fragment.bytes);
        Ok(if fragment.is_last {
            self.begun.take()
        } else {
            None
        })
    }

    /// Decodes a block that is whole. Each has to be, also one that is for nobody: later ones refer to
    /// it.
    pub(in crate::server::http2) fn decode(
        &mut self,
        block: &[u8],
        limits: BlockLimits,
    ) -> Result<(), ConnectionError> {
        self.decoded.clear();
        self.decoded.lines.reserve(self.usual_bytes);
        let decoded = self.decoder.decode(block, &mut self.decoded, limits);
        decoded.map_err(|_fault| ConnectionError {
            code: Code::Compression,
            what: "a header block cannot be read",
        })
    }

    /// The last block, which is the head of a request. The next one is expected to be as large.
    pub(in crate::server::http2) fn head(&mut self) -> &mut Block {
        self.usual_bytes = self.decoded.lines.len().min(MAX_USUAL_HEAD_BYTES);
        &mut self.decoded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::hpack::write_field;
    use crate::server::http2::head;

    /// A head of so many bytes in few fields, and with one of this name.
    fn block(bytes: usize, name: &[u8]) -> Vec<u8> {
        let mut block = Vec::new();
        for _ in 0..bytes / 4000 {
            write_field(&mut block, b"x-large", &[b'x'; 4000]);
        }
        write_field(&mut block, name, b"1");
        block
    }

    #[test]
    fn a_head_that_comes_to_nothing_leaves_no_memory_behind() {
        let limits = Limits::default();
        let far_too_large = block(3 * limits.max_header_bytes, b"x");
        let malformed = block(limits.max_header_bytes, b"connection");
        for (block, is_too_large) in [(far_too_large, true), (malformed, false)] {
            let mut blocks = Blocks::new(&limits);
            blocks.decode(&block, head::limits(&limits)).unwrap();
            assert_eq!(blocks.decoded.is_too_large, is_too_large);
            assert!(is_too_large || head::read(blocks.head()).is_err());
            assert!(blocks.decoded.lines.capacity() > MAX_USUAL_HEAD_BYTES);
            blocks.rest();
            assert!(blocks.decoded.lines.capacity() <= MAX_USUAL_HEAD_BYTES);
        }
    }
}

//! Memory for heads and large bodies of messages, used again and again by one worker. Memory that
//! comes from the system each time costs more than what is done with it.

use std::cell::RefCell;

use bytes::BytesMut;

/// Room for a head, in bytes: enough for most.
const HEAD_BYTES: usize = 2048;

/// Heads whose memory is kept.
const MAX_SPARE_HEADS: usize = 16;

/// From which size on a buffer is kept, in bytes: smaller ones are cheap.
const MIN_BUFFER_BYTES: usize = 64 * 1024;

/// Buffers that are kept. Large bodies are read by few at a time.
const MAX_SPARE_BUFFERS: usize = 4;

/// Memory of heads that have been written, for those to come.
#[derive(Debug, Default)]
pub struct SpareHeads(RefCell<Vec<Vec<u8>>>);

impl SpareHeads {
    /// Empty memory.
    pub fn take(&self) -> Vec<u8> {
        let spare = self.0.borrow_mut().pop();
        spare.unwrap_or_else(|| Vec::with_capacity(HEAD_BYTES))
    }

    /// Takes memory back.
    pub fn give_back(&self, mut head: Vec<u8>) {
        let mut spare = self.0.borrow_mut();
        if spare.len() < MAX_SPARE_HEADS && head.capacity() <= 2 * HEAD_BYTES {
            head.clear();
            spare.push(head);
        }
    }
}

/// Buffers into which large bodies have been read, for those to come.
#[derive(Debug, Default)]
pub struct SpareBuffers(RefCell<Vec<BytesMut>>);

impl SpareBuffers {
    /// An empty buffer, without memory when none is there.
    pub fn take(&self) -> BytesMut {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a buffer back in which nothing is any more.
    pub fn give_back(&self, mut buffer: BytesMut) {
        let mut spare = self.0.borrow_mut();
        // Asks for all its memory, which pieces that are gone have given up.
        if spare.len() < MAX_SPARE_BUFFERS && buffer.try_reclaim(MIN_BUFFER_BYTES) {
            buffer.clear();
            spare.push(buffer);
        }
    }
}

//! Memory for the heads of messages, used again and again by one worker.

use std::cell::RefCell;

/// Room for a head, in bytes: enough for most.
const HEAD_BYTES: usize = 2048;

/// Heads whose memory is kept.
const MAX_SPARE_HEADS: usize = 16;

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

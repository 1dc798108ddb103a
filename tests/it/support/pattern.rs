//! A body as long as wanted of which every piece tells its place, so that nothing can be lost,
//! doubled or moved unnoticed.

use std::sync::LazyLock;

/// A prime, so that no buffer's size divides it.
const PERIOD: usize = 65_521;

static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let step = |state: &mut u32| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some(state.to_be_bytes()[0])
    };
    std::iter::repeat(())
        .scan(7, |state, ()| step(state))
        .take(PERIOD)
        .collect()
});

/// The piece at this place, of this length or shorter; never empty unless asked for.
pub(crate) fn piece(at: usize, length: usize) -> &'static [u8] {
    let from = at % PERIOD;
    &BLOCK[from..(from + length).min(PERIOD)]
}

/// Whether these are the bytes at this place.
pub(crate) fn is_at(mut at: usize, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let expected = piece(at, bytes.len());
        let (now, later) = bytes.split_at(expected.len());
        if now != expected {
            return false;
        }
        at += now.len();
        bytes = later;
    }
    true
}

//! Randomness for secrets. Ids that are not secrets do not come from here.

/// `N` bytes that nobody can guess.
///
/// # Panics
///
/// When the operating system has no randomness to give.
#[expect(
    clippy::expect_used,
    reason = "without randomness every token could be guessed: to end is the only safe way on"
)]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(bytes::<32>(), bytes::<32>());
    }
}

//! What is remembered of streams that are over, as long as something may still come on them: what
//! was on its way when the gate gave one up is told from what must not come. Pure.

use std::collections::VecDeque;

/// Streams that are remembered of each kind: twice as many as may run at once.
const MAX_REMEMBERED: usize = 256;

/// How a stream came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server::http2) enum End {
    /// It was given up here: something may still be on its way.
    GivenUp,
    /// The client knows that it is over: it has said all, or has given it up.
    Closed,
}

/// The streams that are over.
#[derive(Debug, Default)]
pub(in crate::server::http2) struct Past {
    given_up: VecDeque<u32>,
    closed: VecDeque<u32>,
    /// The highest of those that were given up and are remembered no more.
    forgotten: u32,
}

impl Past {
    /// Notes a stream as over, that may never have been one.
    pub(in crate::server::http2) fn note(&mut self, stream: u32, end: End) {
        match end {
            End::GivenUp => {
                let oldest = remember(&mut self.given_up, stream);
                self.forgotten = self.forgotten.max(oldest.unwrap_or_default());
            }
            End::Closed => drop(remember(&mut self.closed, stream)),
        }
    }

    /// How a stream that is not under way came to its end. Nothing when it never began, or was closed
    /// so long ago that nobody knows. One that may be among those given up long ago counts as one of
    /// them: a client that is late should not lose its connection.
    pub(in crate::server::http2) fn end_of(&self, stream: u32) -> Option<End> {
        if self.given_up.contains(&stream) {
            return Some(End::GivenUp);
        }
        if self.closed.contains(&stream) {
            return Some(End::Closed);
        }
        (stream <= self.forgotten).then_some(End::GivenUp)
    }
}

/// Adds to what is remembered. Gives what is forgotten for it.
fn remember(streams: &mut VecDeque<u32>, stream: u32) -> Option<u32> {
    let is_full = streams.len() >= MAX_REMEMBERED;
    let oldest = if is_full { streams.pop_front() } else { None };
    streams.push_back(stream);
    oldest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams(numbers: std::ops::Range<u32>) -> impl Iterator<Item = u32> {
        numbers.filter(|number| number % 2 == 1)
    }

    #[test]
    fn one_that_was_given_up_stays_so_whatever_ends_since() {
        let mut past = Past::default();
        past.note(1, End::GivenUp);
        for stream in streams(3..10_001) {
            past.note(stream, End::Closed);
        }
        assert_eq!(past.end_of(1), Some(End::GivenUp));
        for stream in streams(10_001..20_001) {
            past.note(stream, End::GivenUp);
        }
        assert_eq!(past.end_of(1), Some(End::GivenUp));
        assert_eq!(past.end_of(10_001), Some(End::GivenUp));
    }

    #[test]
    fn one_that_never_was_is_told_from_one_that_is_over() {
        let mut past = Past::default();
        past.note(5, End::Closed);
        past.note(9, End::GivenUp);
        assert_eq!(past.end_of(5), Some(End::Closed));
        for never in [1, 3, 7, 11] {
            assert_eq!(past.end_of(never), None);
        }
    }

    #[test]
    fn no_more_is_remembered_than_that() {
        let mut past = Past::default();
        for stream in streams(1..100_001) {
            past.note(stream, End::Closed);
            past.note(stream + 100_000, End::GivenUp);
        }
        assert_eq!(past.closed.len(), MAX_REMEMBERED);
        assert_eq!(past.given_up.len(), MAX_REMEMBERED);
    }
}

//! What a client may do again and again that costs it little and the gate something. Every budget
//! fills up with time, and the clock is looked at only when one is used up.

use std::time::Duration;

use tokio::time::Instant;

use crate::server::http2::frame::ConnectionError;

/// Requests that the client takes back, or that are malformed. Half as many may run at once, and a page
/// that is left takes all of its own back.
const RESETS: (u32, u32) = (256, 64);

/// Pings and settings, each of which is answered. gRPC measures its line with one for every burst.
const ANSWERED: (u32, u32) = (1024, 256);

/// Frames that bring nothing on: empty ones, priorities, windows that are opened. A client that takes
/// an answer opens windows for every piece of it, which is paid for by the piece.
const TRIFLES: (u32, u32) = (8192, 4096);

/// How often windows may be opened for one piece of an answer: some clients open both for every few
/// kilobytes.
const WINDOWS_FOR_A_PIECE: u32 = 16;

/// Something that may be done so often at once, and so often a second.
#[derive(Debug)]
struct Budget {
    left: u32,
    most: u32,
    each_second: u32,
    filled: Instant,
}

impl Budget {
    fn new((most, each_second): (u32, u32), now: Instant) -> Self {
        Self {
            left: most,
            most,
            each_second,
            filled: now,
        }
    }

    fn spend(&mut self, what: &'static str) -> Result<(), ConnectionError> {
        if self.left == 0 {
            self.fill(Instant::now());
        }
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| ConnectionError::too_much(what))?;
        Ok(())
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled);
        let whole = passed.min(Duration::from_mins(1)).as_millis();
        let earned = u64::try_from(whole).unwrap_or_default() * u64::from(self.each_second) / 1000;
        self.left = u32::try_from(earned).unwrap_or(u32::MAX).min(self.most);
        if self.left > 0 {
            self.filled = now;
        }
    }
}

/// The budgets of one connection.
#[derive(Debug)]
pub(in crate::server::http2) struct Floods {
    resets: Budget,
    answered: Budget,
    trifles: Budget,
}

impl Floods {
    pub(in crate::server::http2) fn new() -> Self {
        let now = Instant::now();
        Self {
            resets: Budget::new(RESETS, now),
            answered: Budget::new(ANSWERED, now),
            trifles: Budget::new(TRIFLES, now),
        }
    }

    /// A request was taken back, or had to be refused for its form.
    pub(in crate::server::http2) fn spend_reset(&mut self) -> Result<(), ConnectionError> {
        self.resets.spend("too many requests come to nothing")
    }

    /// Something came that has to be answered.
    pub(in crate::server::http2) fn spend_answer(&mut self) -> Result<(), ConnectionError> {
        self.answered.spend("too many pings or settings")
    }

    /// Something came that brings nothing on.
    pub(in crate::server::http2) fn spend_trifle(&mut self) -> Result<(), ConnectionError> {
        self.trifles.spend("too many frames that bring nothing on")
    }

    /// So many pieces of answers were sent, for each of which windows may be opened.
    pub(in crate::server::http2) fn pay_for(&mut self, pieces: u32) {
        let paid = pieces.saturating_mul(WINDOWS_FOR_A_PIECE);
        let left = self.trifles.left.saturating_add(paid);
        self.trifles.left = left.min(self.trifles.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::http2::frame::Code;

    #[tokio::test(start_paused = true)]
    async fn a_budget_ends_fills_up_with_time_and_never_above_its_size() {
        let mut floods = Floods::new();
        for _ in 0..RESETS.0 {
            assert_eq!(floods.spend_reset(), Ok(()));
        }
        let spent = floods.spend_reset().map_err(|fault| fault.code);
        assert_eq!(spent, Err(Code::EnhanceYourCalm));
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..RESETS.1 {
            assert_eq!(floods.spend_reset(), Ok(()));
        }
        assert!(floods.spend_reset().is_err());
        tokio::time::advance(Duration::from_hours(1)).await;
        for _ in 0..RESETS.0 {
            assert_eq!(floods.spend_reset(), Ok(()));
        }
        assert!(floods.spend_reset().is_err());
        // The others are others.
        assert_eq!(floods.spend_answer(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_an_answer_may_open_windows_for_it_without_end() {
        let mut floods = Floods::new();
        let windows = [(); 16].map(|()| Ok(()));
        for _ in 0..2 * TRIFLES.0 {
            floods.pay_for(1);
            assert_eq!([(); 16].map(|()| floods.spend_trifle()), windows);
        }
    }
}

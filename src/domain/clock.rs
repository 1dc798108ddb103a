//! The clock handle and the moments it gives. Everything that asks for the time of day holds a
//! [`Clock`], so that a test can hold time still. Deadlines of sockets are not its business: those
//! use tokio's timers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment of wall-clock time, in milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The far end of time: later than any moment a clock will show.
    pub const NEVER: Self = Self(u64::MAX);
    /// 1970-01-01 UTC: earlier than any moment a clock will show.
    pub const EPOCH: Self = Self(0);

    /// The moment `millis` milliseconds after 1970-01-01 UTC.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970-01-01 UTC.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// The moment `duration` later, or [`Timestamp::NEVER`] when that cannot be told.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// Whole seconds from `now` until this moment, begun ones counted.
    pub const fn seconds_from(self, now: Self) -> u64 {
        self.0.saturating_sub(now.0).div_ceil(1000)
    }

    /// Whether this moment, noted as `longest` from now at the most, is still to come. One that is
    /// further away was noted before the clock was set back, and is over: whatever waits for it would
    /// wait for as long as the clock was set back by.
    pub fn is_to_come(self, now: Self, longest: Duration) -> bool {
        now < self && self.since(now) <= longest
    }

    /// How long after `earlier` this moment is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Where the time of day comes from.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that moves only when told to: for tests.
    Held(HeldClock),
    /// Whatever this says: for simulations, in which time goes with the timers.
    Played(fn() -> Timestamp),
}

/// The hand of a held clock.
#[derive(Clone, Debug)]
pub struct HeldClock(Arc<AtomicU64>);

impl HeldClock {
    /// A clock that stands at `start`.
    pub fn at(start: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(start.0)))
    }

    /// Moves the clock forward.
    pub fn advance(&self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(millis, Ordering::SeqCst);
    }

    /// Moves the clock back, as happens to machines when their time is put right.
    pub fn set_back(&self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_sub(millis, Ordering::SeqCst);
    }
}

impl Clock {
    /// The present moment.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => system_now(),
            Self::Held(held) => Timestamp(held.0.load(Ordering::SeqCst)),
            Self::Played(now) => now(),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the machine's clock is read"
)]
fn system_now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_to_come_is_never_further_away_than_when_it_was_noted(
            noted in 0_u64..4_000_000_000_000,
            longest in 0_u64..100_000_000,
            share in 0.0..=1.0_f64,
            clock in 0_u64..4_000_000_000_000,
        ) {
            let longest = Duration::from_millis(longest);
            let until = Timestamp::from_millis(noted).plus(longest.mul_f64(share));
            // Wherever the clock is put, what it waits for from there is no longer than that.
            let now = Timestamp::from_millis(clock);
            prop_assert!(!until.is_to_come(now, longest) || until.since(now) <= longest);
            // A clock that only goes on sees it to come until it is there, and not after.
            let later = Timestamp::from_millis(noted).plus(longest);
            prop_assert!(!until.is_to_come(later, longest));
            prop_assert_eq!(until.is_to_come(Timestamp::from_millis(noted), longest), noted < until.as_millis());
        }
    }
}

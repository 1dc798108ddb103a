//! How often something may happen, and how much of that is used up. Pure: whose it is and what
//! happens beyond is decided elsewhere.

use std::time::Duration;

use crate::domain::clock::Timestamp;

/// So often within so long: `30/1m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Duration,
}

impl Rate {
    /// None for a count or a time of zero, and for more than once in a microsecond.
    pub fn new(count: u32, per: Duration) -> Option<Self> {
        let rate = Self { count, per };
        (count > 0 && rate.step() > 0).then_some(rate)
    }

    /// How often at once, after a rest.
    pub fn count(self) -> u32 {
        self.count
    }

    /// After how long of a rest.
    pub fn per(self) -> Duration {
        self.per
    }

    /// Microseconds in which one is earned back.
    fn step(self) -> u64 {
        self.per_micros() / u64::from(self.count.max(1))
    }

    fn per_micros(self) -> u64 {
        u64::try_from(self.per.as_micros()).unwrap_or(u64::MAX)
    }
}

/// How much of a [`Rate`] is used up. Earned back evenly, not all at once at the turn of a minute
/// (the generic cell rate algorithm, ITU-T I.371): eight bytes, whatever the rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// When everything is earned back, in microseconds since 1970.
    whole_again: u64,
}

impl Spent {
    /// How many are left.
    pub fn left(&self, rate: Rate, now: Timestamp) -> u32 {
        let owed = self.owed(rate, now);
        let left = rate.per_micros().saturating_sub(owed) / rate.step();
        u32::try_from(left).unwrap_or(u32::MAX).min(rate.count)
    }

    /// Microseconds until everything is earned back. Nothing is owed that spending at this rate cannot
    /// lead to: it was noted before the clock was set back, or at a slower rate, and would refuse
    /// everybody for as long as the clock was set back by.
    fn owed(self, rate: Rate, now: Timestamp) -> u64 {
        let owed = self.whole_again.saturating_sub(micros(now));
        if owed > rate.per_micros().saturating_add(rate.step()) {
            return 0;
        }
        owed
    }

    /// Uses one up if there is one; else says in how many seconds there is, see
    /// [`Self::seconds_to_wait`].
    pub fn try_spend(&mut self, rate: Rate, now: Timestamp) -> Result<(), u64> {
        if self.left(rate, now) == 0 {
            return Err(self.seconds_to_wait(rate, now));
        }
        self.spend(rate, now);
        Ok(())
    }

    /// Uses one up, whether or not there is one.
    pub fn spend(&mut self, rate: Rate, now: Timestamp) {
        let owed = self.owed(rate, now).min(rate.per_micros());
        let from = micros(now).saturating_add(owed);
        self.whole_again = from.saturating_add(rate.step());
    }

    /// Takes back that one was used up.
    pub fn give_back(&mut self, rate: Rate) {
        self.whole_again = self.whole_again.saturating_sub(rate.step());
    }

    /// Seconds until there is one again, a begun one counted, and at least one.
    pub fn seconds_to_wait(&self, rate: Rate, now: Timestamp) -> u64 {
        let owed = self.owed(rate, now);
        let allowed = rate.per_micros().saturating_sub(rate.step());
        owed.saturating_sub(allowed).div_ceil(1_000_000).max(1)
    }
}

fn micros(now: Timestamp) -> u64 {
    now.as_millis().saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(count: u32, seconds: u64) -> Rate {
        Rate::new(count, Duration::from_secs(seconds)).unwrap()
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis)
    }

    #[test]
    fn a_rate_of_nothing_or_of_more_than_can_be_told_apart_is_none() {
        assert_eq!(Rate::new(0, Duration::from_secs(1)), None);
        assert_eq!(Rate::new(1, Duration::ZERO), None);
        assert_eq!(Rate::new(u32::MAX, Duration::from_secs(1)), None);
    }

    #[test]
    fn no_more_than_the_count_at_once_and_then_one_for_each_step() {
        let rate = rate(30, 60);
        let mut spent = Spent::default();
        let at_once = (0..100)
            .filter(|_| spent.try_spend(rate, at(0)).is_ok())
            .count();
        assert_eq!(at_once, 30);
        assert_eq!(spent.seconds_to_wait(rate, at(0)), 2);
        assert!(spent.try_spend(rate, at(1_999)).is_err());
        assert!(spent.try_spend(rate, at(2_000)).is_ok());
        assert!(spent.try_spend(rate, at(2_001)).is_err());
        assert_eq!(spent.left(rate, at(62_000)), 30);
    }

    #[test]
    fn what_is_given_back_can_be_used_again() {
        let rate = rate(2, 60);
        let mut spent = Spent::default();
        spent.spend(rate, at(0));
        spent.spend(rate, at(0));
        assert_eq!(spent.left(rate, at(0)), 0);
        spent.give_back(rate);
        assert_eq!(spent.left(rate, at(0)), 1);
    }

    proptest! {
        #[test]
        fn a_clock_that_is_set_back_keeps_nobody_out_for_longer_than_two_steps(
            count in 1_u32..100,
            seconds in 1_u64..3600,
            spent_before in 0_u32..300,
            back_millis in 0_u64..=1_700_000_000_000,
        ) {
            let rate = rate(count, seconds);
            let mut spent = Spent::default();
            for _ in 0..spent_before {
                spent.spend(rate, at(0));
            }
            let after = |millis: u64| Timestamp::from_millis(1_700_000_000_000 - back_millis + millis);
            let steps = |number: u64| (number * rate.step()).div_ceil(1000) + 1;
            prop_assert!(spent.left(rate, after(steps(2))) > 0);
            prop_assert!(spent.seconds_to_wait(rate, after(0)) <= steps(2).div_ceil(1000));
            // What is spent from now on counts by the new time.
            spent.spend(rate, after(0));
            spent.spend(rate, after(0));
            prop_assert!(spent.left(rate, after(steps(2))) > 0);
            prop_assert_eq!(spent.left(rate, after(seconds * 1000 + steps(1))), count);
        }

        #[test]
        fn whoever_waits_as_long_as_told_is_let_through_and_not_much_earlier(
            count in 1_u32..100,
            seconds in 1_u64..3600,
            gaps in prop::collection::vec(0_u64..5_000, 1..200),
        ) {
            let rate = rate(count, seconds);
            let mut spent = Spent::default();
            let mut now = 0;
            for gap in gaps {
                now += gap;
                if spent.try_spend(rate, at(now)).is_err() {
                    let wait = spent.seconds_to_wait(rate, at(now)) * 1000;
                    prop_assert_eq!(spent.left(rate, at(now + wait.saturating_sub(1001))), 0);
                    prop_assert!(spent.left(rate, at(now + wait)) > 0);
                }
            }
        }

        #[test]
        fn in_no_stretch_of_time_more_than_twice_the_count(
            count in 1_u32..50,
            gaps in prop::collection::vec(0_u64..3_000, 1..400),
        ) {
            let rate = rate(count, 60);
            let mut spent = Spent::default();
            let mut now = 0;
            let mut taken = Vec::new();
            for gap in gaps {
                now += gap;
                if spent.try_spend(rate, at(now)).is_ok() {
                    taken.push(now);
                }
            }
            for (index, start) in taken.iter().enumerate() {
                let within = taken[index..].iter().filter(|at| **at < start + 60_000).count();
                prop_assert!(within <= 2 * usize::try_from(count).unwrap());
            }
        }
    }
}

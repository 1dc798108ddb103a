//! How far this machine's clock is from WeChat's, by the `Date` of WeChat's answers. Watermarks are
//! judged by the clock, so the operator is told when it is wrong. Corrects nothing.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use crate::domain::clock::Timestamp;
use crate::domain::limits;
use crate::telemetry::event;

/// Between two lines of log.
const TELL_EVERY: Duration = Duration::from_hours(1);

/// No answer has been seen yet.
const UNKNOWN: i64 = i64::MIN;

/// The last difference that was seen.
#[derive(Debug)]
pub(super) struct Skew {
    seconds: AtomicI64,
    quiet_until: AtomicU64,
}

impl Default for Skew {
    fn default() -> Self {
        Self {
            seconds: AtomicI64::new(UNKNOWN),
            quiet_until: AtomicU64::new(0),
        }
    }
}

impl Skew {
    /// Takes the `Date` of an answer that has just come. What is no date says nothing.
    pub(super) fn note(&self, date: &str, now: Timestamp) {
        let Some(theirs) = httpdate::parse_http_date(date)
            .ok()
            .and_then(|date| date.duration_since(UNIX_EPOCH).ok())
        else {
            return;
        };
        let (Ok(ours), Ok(theirs)) = (
            i64::try_from(now.as_secs()),
            i64::try_from(theirs.as_secs()),
        ) else {
            return;
        };
        let ahead = ours - theirs;
        self.seconds.store(ahead, Ordering::Relaxed);
        if ahead.unsigned_abs() <= limits::WATERMARK_SKEW.as_secs() {
            return;
        }
        let next = now.plus(TELL_EVERY).as_millis();
        let may_tell = |until: u64| (until <= now.as_millis()).then_some(next);
        // Of several who see it at once, one tells it.
        let tells = self
            .quiet_until
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, may_tell);
        if tells.is_ok() {
            tracing::warn!(message = event::CLOCK_SKEW, ahead_s = ahead);
        }
    }

    /// Seconds by which this machine's clock is ahead of WeChat's; negative when it is behind.
    pub(super) fn seconds(&self) -> Option<i64> {
        Some(self.seconds.load(Ordering::Relaxed)).filter(|seconds| *seconds != UNKNOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1994-11-06 08:49:37 UTC, in seconds.
    const MOMENT: u64 = 784_111_777;
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn the_last_difference_is_kept_with_its_sign() {
        let skew = Skew::default();
        assert_eq!(skew.seconds(), None);
        for nonsense in ["", "yesterday", "Sun, 06 Nov 1994", "784111777"] {
            skew.note(nonsense, at(MOMENT));
            assert_eq!(skew.seconds(), None, "{nonsense}");
        }
        skew.note(DATE, at(MOMENT));
        assert_eq!(skew.seconds(), Some(0));
        skew.note(DATE, at(MOMENT + 90));
        assert_eq!(skew.seconds(), Some(90));
        skew.note(DATE, at(MOMENT - 90));
        assert_eq!(skew.seconds(), Some(-90));
    }

    #[test]
    fn it_is_told_once_an_hour_and_only_when_it_matters() {
        let skew = Skew::default();
        let quiet_until = || skew.quiet_until.load(Ordering::Relaxed) / 1000;
        skew.note(DATE, at(MOMENT + 60));
        assert_eq!(quiet_until(), 0);
        skew.note(DATE, at(MOMENT + 61));
        assert_eq!(quiet_until(), MOMENT + 61 + 3600);
        skew.note(DATE, at(MOMENT + 100));
        assert_eq!(quiet_until(), MOMENT + 61 + 3600);
    }
}

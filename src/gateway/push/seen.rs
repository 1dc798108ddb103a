//! Which pushes came before to this gate: WeChat repeats what it does not see answered, and anybody may
//! repeat what he has seen. Knows nothing of HTTP, or of other gates.

use moka::ops::compute::{CompResult, Op};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::crypto::push::PushDigest;
use crate::domain::clock::Timestamp;
use crate::domain::limits;

/// Pushes that are remembered, per gate. Beyond, the least recently met is forgotten.
const MAX_REMEMBERED: u64 = 65_536;

/// What is known of a push.
#[derive(Clone, Copy, Debug)]
enum Seen {
    /// Somebody has claimed it.
    UnderWay,
    /// WeChat was told that it was taken, which is to be remembered until then.
    Acknowledged { until: Timestamp },
}

/// Which pushes came before. A cheap handle, the same for all workers.
#[derive(Clone, Debug)]
pub(super) struct SeenPushes(Cache<PushDigest, Seen>);

impl Default for SeenPushes {
    fn default() -> Self {
        let passes = limits::MAX_PUSH_AGE + limits::WATERMARK_SKEW;
        let longest = limits::MAX_PUSH_DEDUPE_WINDOW.max(passes);
        let seen = Cache::builder()
            .max_capacity(MAX_REMEMBERED)
            // The newest must have room: they are the ones that WeChat repeats.
            .eviction_policy(EvictionPolicy::lru())
            // Each entry says itself when it ends; this only bounds memory.
            .time_to_live(longest)
            .build();
        Self(seen)
    }
}

/// What is to be done with a push.
#[derive(Debug)]
pub(super) enum Claim {
    /// Deliver it. Nobody else does meanwhile.
    New(ClaimGuard),
    /// Somebody does, and it is not known with what success.
    UnderWay,
    /// Nothing.
    Acknowledged,
}

impl SeenPushes {
    /// Looks whether a push is new, and claims it if so; both at once, whoever else looks.
    pub(super) fn claim(&self, digest: PushDigest, now: Timestamp) -> Claim {
        let found = self.0.entry(digest).and_compute_with(|entry| {
            match entry.map(moka::Entry::into_value) {
                Some(Seen::UnderWay) => Op::Nop,
                Some(Seen::Acknowledged { until }) if now < until => Op::Nop,
                Some(Seen::Acknowledged { .. }) | None => Op::Put(Seen::UnderWay),
            }
        });
        match found {
            CompResult::Inserted(_) | CompResult::ReplacedWith(_) => Claim::New(ClaimGuard {
                seen: self.clone(),
                digest,
                acknowledged: false,
            }),
            CompResult::Unchanged(entry) => match entry.into_value() {
                Seen::UnderWay => Claim::UnderWay,
                Seen::Acknowledged { .. } => Claim::Acknowledged,
            },
            // Nothing is ever removed in this way.
            CompResult::StillNone(_) | CompResult::Removed(_) => Claim::UnderWay,
        }
    }
}

/// The right and the duty to deliver a push. Let go before it was [acknowledged](Self::acknowledge),
/// it gives the push back: then the next repeat of it is new.
#[derive(Debug)]
pub(super) struct ClaimGuard {
    seen: SeenPushes,
    digest: PushDigest,
    acknowledged: bool,
}

impl ClaimGuard {
    /// WeChat is told that the push was taken, which is remembered until then.
    pub(super) fn acknowledge(mut self, until: Timestamp) {
        self.acknowledged = true;
        let seen = Seen::Acknowledged { until };
        self.seen.0.insert(self.digest, seen);
    }
}

impl Drop for ClaimGuard {
    fn drop(&mut self) {
        if !self.acknowledged {
            self.seen.0.invalidate(&self.digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::AppId;

    fn digest(text: &str) -> PushDigest {
        PushDigest::of(&AppId::parse("wx1").unwrap(), text)
    }

    const AT: fn(u64) -> Timestamp = Timestamp::from_millis;

    #[test]
    fn one_at_a_time_delivers_a_push_and_who_fails_gives_it_back() {
        let seen = SeenPushes::default();
        let one = digest("{}");
        let Claim::New(claim) = seen.claim(one, AT(0)) else {
            panic!("not new");
        };
        assert!(matches!(seen.claim(one, AT(0)), Claim::UnderWay));
        drop(claim);
        let Claim::New(claim) = seen.claim(one, AT(0)) else {
            panic!("not given back");
        };
        claim.acknowledge(AT(10));
        assert!(matches!(seen.claim(one, AT(9)), Claim::Acknowledged));
        assert!(matches!(seen.claim(one, AT(10)), Claim::New(_)));
    }
}

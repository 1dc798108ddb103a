//! Which pushes came before: WeChat repeats what it does not see answered, and anybody may repeat what
//! he has seen. Knows nothing of HTTP.

use std::fmt;

use moka::ops::compute::{CompResult, Op};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::domain::clock::Timestamp;
use crate::domain::id::AppId;
use crate::domain::limits;

/// Pushes that are remembered, per gate. Beyond, the least recently met is forgotten.
const MAX_REMEMBERED: u64 = 65_536;

/// What makes two pushes the same, as a hash: a key for maps.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::gateway) struct PushDigest([u8; 32]);

impl PushDigest {
    /// Of a message to this mini program, by all that it says: its id or, for an event, who, when and
    /// what stand in it. A user may do two things in one second, and where nothing signs the text
    /// nobody can have a message taken for a repeat of his own.
    pub(in crate::gateway) fn of(app: &AppId, text: &str) -> Self {
        let app = app.as_str();
        let mut sha256 = Sha256::new();
        // Its length goes first, so that no other app and text are hashed as the same bytes.
        sha256.update(app.len().to_be_bytes());
        sha256.update(app);
        sha256.update(text);
        Self(sha256.finalize().into())
    }
}

impl fmt::Debug for PushDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PushDigest(..)")
    }
}

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
pub struct SeenPushes(Cache<PushDigest, Seen>);

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
pub(in crate::gateway) enum Claim {
    /// Deliver it. Nobody else does meanwhile.
    New(ClaimGuard),
    /// Somebody does, and it is not known with what success.
    UnderWay,
    /// Nothing.
    Acknowledged,
}

impl SeenPushes {
    /// Looks whether a push is new, and claims it if so; both at once, whoever else looks.
    pub(in crate::gateway) fn claim(&self, digest: PushDigest, now: Timestamp) -> Claim {
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
pub(in crate::gateway) struct ClaimGuard {
    seen: SeenPushes,
    digest: PushDigest,
    acknowledged: bool,
}

impl ClaimGuard {
    /// WeChat is told that the push was taken, which is remembered until then.
    pub(in crate::gateway) fn acknowledge(mut self, until: Timestamp) {
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

    fn digest_for(app: &str, text: &str) -> PushDigest {
        PushDigest::of(&AppId::parse(app).unwrap(), text)
    }

    fn digest(text: &str) -> PushDigest {
        digest_for("wx1", text)
    }

    const AT: fn(u64) -> Timestamp = Timestamp::from_millis;

    #[test]
    fn a_push_is_known_by_all_it_says() {
        let message = digest_for("wx1", r#"{"MsgId":1,"Content":"a"}"#);
        for (app, other) in [
            ("wx1", r#"{"MsgId":1,"Content":"b"}"#),
            ("wx1", r#"{"MsgId":2,"Content":"a"}"#),
            ("wx2", r#"{"MsgId":1,"Content":"a"}"#),
            ("wx", r#"1{"MsgId":1,"Content":"a"}"#),
        ] {
            assert_ne!(message, digest_for(app, other), "{app} {other}");
        }
    }

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

//! Which pushes were taken already: WeChat repeats what it does not see answered, and anybody may
//! repeat what he has seen. Also how many pushes wait for the app server. Knows nothing of HTTP.

use std::fmt;
use std::sync::Arc;

use moka::ops::compute::{CompResult, Op};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::clock::Timestamp;
use crate::domain::id::AppId;
use crate::domain::limits;

/// Pushes that are remembered, per gate. Beyond, the least recently met is forgotten.
const MAX_REMEMBERED: u64 = 65_536;

/// Pushes that WeChat was told of as taken and that the app server has not taken, per gate. More are
/// refused, so that WeChat keeps them. With bodies of the largest size they are 256 MiB.
const MAX_WAITING: usize = 1024;

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
enum Known {
    /// Somebody is handing it to the app server.
    UnderWay,
    /// It was taken, which is to be remembered until then.
    Taken { until: Timestamp },
}

/// Which pushes were taken already. A cheap handle, the same for all workers.
#[derive(Clone, Debug)]
pub struct Inbox {
    known: Cache<PushDigest, Known>,
    places: Arc<Semaphore>,
}

impl Default for Inbox {
    fn default() -> Self {
        let passes = limits::MAX_PUSH_AGE + limits::WATERMARK_SKEW;
        let longest = limits::MAX_PUSH_DEDUPE_WINDOW.max(passes);
        Self {
            known: Cache::builder()
                .max_capacity(MAX_REMEMBERED)
                // The newest must have room: they are the ones that WeChat repeats.
                .eviction_policy(EvictionPolicy::lru())
                // Their own end they carry with them; this only bounds memory.
                .time_to_live(longest)
                .build(),
            places: Arc::new(Semaphore::new(MAX_WAITING)),
        }
    }
}

/// What is to be done with a push.
#[derive(Debug)]
pub(in crate::gateway) enum Taking {
    /// Hand it over. Nobody else does meanwhile.
    New(Ticket),
    /// Somebody does, and it is not known with what success.
    UnderWay,
    /// Nothing.
    Taken,
}

impl Inbox {
    /// Looks whether a push is new, and takes it on if so; both at once, whoever else looks.
    pub(in crate::gateway) fn take(&self, digest: PushDigest, now: Timestamp) -> Taking {
        let found = self.known.entry(digest).and_compute_with(|entry| {
            match entry.map(moka::Entry::into_value) {
                Some(Known::UnderWay) => Op::Nop,
                Some(Known::Taken { until }) if now < until => Op::Nop,
                Some(Known::Taken { .. }) | None => Op::Put(Known::UnderWay),
            }
        });
        match found {
            CompResult::Inserted(_) | CompResult::ReplacedWith(_) => Taking::New(Ticket {
                inbox: self.clone(),
                digest,
                taken: false,
            }),
            CompResult::Unchanged(entry) => match entry.into_value() {
                Known::UnderWay => Taking::UnderWay,
                Known::Taken { .. } => Taking::Taken,
            },
            // Nothing is ever removed in this way.
            CompResult::StillNone(_) | CompResult::Removed(_) => Taking::UnderWay,
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        MAX_WAITING.saturating_sub(self.places.available_permits())
    }

    /// A place among those that wait, if there is one.
    pub(in crate::gateway) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }
}

/// The task of handing a push over. Let go before it was [kept](Self::keep), it gives the push back:
/// then the next repeat of it is new.
#[derive(Debug)]
pub(in crate::gateway) struct Ticket {
    inbox: Inbox,
    digest: PushDigest,
    taken: bool,
}

impl Ticket {
    /// The push was taken, which is remembered until then.
    pub(in crate::gateway) fn keep(mut self, until: Timestamp) {
        self.taken = true;
        self.inbox.known.insert(self.digest, Known::Taken { until });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.taken {
            self.inbox.known.invalidate(&self.digest);
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
    fn one_at_a_time_hands_a_push_over_and_who_fails_gives_it_back() {
        let inbox = Inbox::default();
        let one = digest("{}");
        let Taking::New(ticket) = inbox.take(one, AT(0)) else {
            panic!("not new");
        };
        assert!(matches!(inbox.take(one, AT(0)), Taking::UnderWay));
        drop(ticket);
        let Taking::New(ticket) = inbox.take(one, AT(0)) else {
            panic!("not given back");
        };
        ticket.keep(AT(10));
        assert!(matches!(inbox.take(one, AT(9)), Taking::Taken));
        assert!(matches!(inbox.take(one, AT(10)), Taking::New(_)));
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let inbox = Inbox::default();
        let places: Vec<_> = (0..MAX_WAITING).map(|_| inbox.place()).collect();
        assert!(places.iter().all(Option::is_some));
        assert!(inbox.place().is_none());
        assert_eq!(inbox.waiting(), MAX_WAITING);
        drop(places);
        assert_eq!(inbox.waiting(), 0);
        assert!(inbox.place().is_some());
    }
}

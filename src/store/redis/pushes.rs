//! Pushes that gates share: which gate delivers one, and that it was taken. Under the hash of the push
//! stands nothing of what it says.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::AsyncCommands as _;

use crate::crypto::push::PushDigest;
use crate::crypto::random;
use crate::domain::clock::Timestamp;
use crate::domain::hex::hex;
use crate::store::redis::link::Redis;
use crate::store::redis::{CLOCK_SKEW, Inner, RedisStore, millis};
use crate::store::{PushFound, Unusable};
use crate::telemetry::metrics::RedisOperation;

/// How long a claim holds that nobody settles. A delivery that WeChat waits for is over 4.5 s after the
/// push came; and of a gate that ended meanwhile, no later than WeChat's third try must be delivered,
/// ten seconds after the first.
const CLAIMED_FOR: Duration = Duration::from_secs(6);

/// What stands first in a claim, and all that stands there of a push that was taken.
const CLAIM: u8 = b'c';
const TAKEN: u8 = b't';

/// One gate's way to the claim of a push. Nobody else has the same random bytes.
pub struct PushLease {
    inner: Arc<Inner>,
    key: String,
    claim: Vec<u8>,
}

impl fmt::Debug for PushLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PushLease(..)")
    }
}

impl RedisStore {
    pub(in crate::store) fn push_lease(&self, push: &PushDigest) -> PushLease {
        let mut claim = vec![CLAIM];
        claim.extend_from_slice(hex(&random::bytes::<16>()).as_bytes());
        PushLease {
            inner: Arc::clone(&self.0),
            key: self.0.names.push(push),
            claim,
        }
    }
}

/// All of it on the control thread.
impl PushLease {
    /// Claims the push for this gate, unless another has it or had it.
    pub async fn claim(&self) -> Result<PushFound, Unusable> {
        let mut asking = self.inner.scripts.claim.key(&self.key);
        asking.arg(&self.claim).arg(millis(CLAIMED_FOR));
        let run = |mut redis: Redis| async move { asking.invoke_async(&mut redis).await };
        let (found, _): (Option<Vec<u8>>, _) = self.inner.ask(RedisOperation::Push, run).await?;
        Ok(match found.as_deref() {
            None => PushFound::Mine,
            Some([TAKEN, ..]) => PushFound::Taken,
            Some(_) => PushFound::UnderWay,
        })
    }

    /// The push was taken, which all gates remember until then: also when the claim has run out
    /// meanwhile, and whoever has another.
    pub async fn taken(self, until: Timestamp) {
        // Where a clock is slow, its stamp passes for longer.
        let remember = until.since(self.inner.clock.now()) + CLOCK_SKEW;
        let key = &self.key;
        let set = |mut redis: Redis| async move {
            let set = redis.pset_ex::<_, _, ()>(key, &[TAKEN][..], millis(remember));
            set.await
        };
        // Should that fail, a repeat at another gate is delivered.
        let _told = self.inner.ask(RedisOperation::Push, set).await;
    }

    /// The push was not taken. Who has lost the claim meanwhile takes it from nobody.
    pub async fn give_back(self) {
        let mut settling = self.inner.scripts.settle.key(&self.key);
        settling.arg(&self.claim).arg("").arg(0);
        let run = |mut redis: Redis| async move { settling.invoke_async::<u8>(&mut redis).await };
        // Should that fail, the claim ends by itself.
        let _told = self.inner.ask(RedisOperation::Push, run).await;
    }
}

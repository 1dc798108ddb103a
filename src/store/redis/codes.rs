//! Login codes that gates share: which gate asks WeChat about a code, and the answer for a repeat of it
//! at another. The answer is sealed under the code itself: who has Redis, and not the code, has nothing.

use std::time::Duration;

use crate::crypto::code::{CodeDigest, SealedAnswer};
use crate::crypto::random;
use crate::domain::clock::Timestamp;
use crate::domain::hex::hex;
use crate::store::redis::link::Redis;
use crate::store::redis::{Inner, millis};
use crate::store::{Claim, Lease, Unusable};
use crate::telemetry::metrics::RedisOperation;

/// How long a claim holds that nobody settles: longer than WeChat and a login hook may take. A gate that
/// ends meanwhile has used the code up, as a rule.
const CLAIMED_FOR: Duration = Duration::from_secs(75);

/// What stands first in a claim, and in an answer.
const CLAIM: u8 = b'c';
const ANSWER: u8 = b'a';

impl Inner {
    /// Claims a code for this gate.
    pub(super) async fn claim(&self, code: &CodeDigest) -> Result<Claim, Unusable> {
        let mut claim = vec![CLAIM];
        claim.extend_from_slice(hex(&random::bytes::<16>()).as_bytes());
        let mut asking = self.scripts.claim.key(self.names.code(code));
        asking.arg(&claim).arg(millis(CLAIMED_FOR));
        let run = |mut redis: Redis| async move { asking.invoke_async(&mut redis).await };
        let (found, _): (Option<Vec<u8>>, _) = self.ask(RedisOperation::Code, run).await?;
        Ok(match found {
            None => Claim::Mine(Some(Lease { code: *code, claim })),
            Some(found) => self.understand(&found),
        })
    }

    /// An answer is `a`, the moment until which it is kept, and what is sealed.
    fn understand(&self, found: &[u8]) -> Claim {
        let Some((&ANSWER, rest)) = found.split_first() else {
            return Claim::Elsewhere;
        };
        let sealed = rest.split_first_chunk().and_then(|(until, sealed)| {
            let until = Timestamp::from_millis(u64::from_be_bytes(*until));
            (self.clock.now() < until).then(|| SealedAnswer::from_bytes(sealed))?
        });
        // One that is of no use any more is none.
        sealed.map_or(Claim::Mine(None), Claim::Answered)
    }

    /// Keeps an answer for who claims the code next, or keeps nothing.
    pub(super) async fn settle(&self, lease: Lease, answer: Option<(&SealedAnswer, Duration)>) {
        let kept_for = answer.map_or(Duration::ZERO, |(_, kept_for)| kept_for);
        let mut text = vec![ANSWER];
        if let Some((answer, _)) = answer {
            let until = self.clock.now().plus(kept_for);
            text.extend_from_slice(&until.as_millis().to_be_bytes());
            text.extend_from_slice(&answer.to_bytes());
        }
        let mut settling = self.scripts.settle.key(self.names.code(&lease.code));
        settling.arg(lease.claim).arg(text).arg(millis(kept_for));
        let run = |mut redis: Redis| async move { settling.invoke_async::<u8>(&mut redis).await };
        // Should that fail, who repeats the code elsewhere is told that it was used.
        let _settled = self.ask(RedisOperation::Code, run).await;
    }
}

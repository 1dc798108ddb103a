//! Which pushes came before, here or at another gate that shares a Redis with this one. What this gate
//! knows is looked at first, and counts alone while the store cannot be asked: a push that comes twice
//! is better than one that never comes. Knows nothing of HTTP.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::crypto::push::PushDigest;
use crate::domain::clock::Timestamp;
use crate::gateway::control::{Busy, Control};
use crate::gateway::push::seen::{self, SeenPushes};
use crate::store::{PushFound, PushLease, Store, Unusable};

/// Pushes that are claimed in the store at once. A delivery takes 4.5 s at most: who has so many has
/// no app server that takes them.
const MAX_CLAIMS: usize = 1024;

/// How long a push waits for what the store says of it: the app server needs the rest of the five
/// seconds that WeChat waits.
const ASK_WITHIN: Duration = Duration::from_secs(1);

/// How long an answer to WeChat waits until the store has heard what became of a push. It may be given
/// 4.5 s after the push came, and WeChat hangs up after five.
const SETTLE_WITHIN: Duration = Duration::from_millis(200);

/// Which pushes came before. A cheap handle, the same for all workers.
#[derive(Clone, Debug)]
pub struct KnownPushes {
    seen: SeenPushes,
    store: Store,
    control: Control,
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

/// The right and the duty to deliver a push. Let go before it was [acknowledged](Self::acknowledge),
/// it gives the push back, here and at all gates.
#[derive(Debug)]
pub(super) struct ClaimGuard {
    here: seen::ClaimGuard,
    everywhere: Option<Settling>,
}

/// The way to the task that has the claim in the store.
#[derive(Debug)]
struct Settling {
    /// Until when to remember that the push was taken; let go, it was not.
    taken: oneshot::Sender<Timestamp>,
    /// Ends when the store has heard of it.
    settled: oneshot::Receiver<()>,
}

impl KnownPushes {
    /// Nothing is known here yet.
    pub fn new(store: Store, control: &Control) -> Self {
        Self {
            seen: SeenPushes::default(),
            store,
            control: control.apart(MAX_CLAIMS),
        }
    }

    /// Looks whether a push is new, and claims it if so; both at once, whoever else looks. One that
    /// another gate has told WeChat of is remembered here as well.
    pub(super) async fn claim(
        &self,
        digest: PushDigest,
        (now, remember_until): (Timestamp, Timestamp),
    ) -> Result<Claim, Busy> {
        let here = match self.seen.claim(digest, now) {
            seen::Claim::New(here) => here,
            seen::Claim::UnderWay => return Ok(Claim::UnderWay),
            seen::Claim::Acknowledged => return Ok(Claim::Acknowledged),
        };
        let Some(lease) = self.store.push_lease(&digest) else {
            let everywhere = None;
            return Ok(Claim::New(ClaimGuard { here, everywhere }));
        };
        let (settling, asked) = self.ask(lease)?;
        let found = tokio::time::timeout(ASK_WITHIN, asked).await;
        Ok(match found {
            Ok(Ok(Ok(PushFound::UnderWay))) => Claim::UnderWay,
            Ok(Ok(Ok(PushFound::Taken))) => {
                here.acknowledge(remember_until);
                Claim::Acknowledged
            }
            // It is told what becomes of the push in any case: it may be there again by then.
            Ok(Ok(Ok(PushFound::Mine) | Err(_)) | Err(_)) | Err(_) => Claim::New(ClaimGuard {
                here,
                everywhere: Some(settling),
            }),
        })
    }

    /// Has a task claim the push, and settle the claim when that is known. Who no longer waits does not
    /// stop it.
    fn ask(&self, lease: PushLease) -> Result<(Settling, Asked), Busy> {
        let (tell, asked) = oneshot::channel();
        let (taken, outcome) = oneshot::channel();
        let (done, settled) = oneshot::channel::<()>();
        self.control.place()?.start(async move {
            // Nobody may be waiting any more.
            let _unheard = tell.send(lease.claim().await);
            match outcome.await {
                Ok(until) => lease.taken(until).await,
                Err(_let_go) => lease.give_back().await,
            }
            drop(done);
        });
        Ok((Settling { taken, settled }, asked))
    }
}

/// What the store says of a push.
type Asked = oneshot::Receiver<Result<PushFound, Unusable>>;

impl ClaimGuard {
    /// WeChat is told that the push was taken, which is remembered until then. Waits a moment for all
    /// gates to know; that they will holds when this is first polled.
    pub(super) async fn acknowledge(self, until: Timestamp) {
        self.here.acknowledge(until);
        if let Some(Settling { taken, settled }) = self.everywhere
            && taken.send(until).is_ok()
        {
            wait(settled).await;
        }
    }

    /// The next repeat is new, at whichever gate: those know a moment later.
    pub(super) async fn give_back(self) {
        let Self { here, everywhere } = self;
        if let Some(Settling { taken, settled }) = everywhere {
            drop(taken);
            wait(settled).await;
        }
        drop(here);
    }
}

async fn wait(settled: oneshot::Receiver<()>) {
    // However it went: the store has done what it could.
    let _settled = tokio::time::timeout(SETTLE_WITHIN, settled).await;
}

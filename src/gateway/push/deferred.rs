//! Pushes that WeChat was told of as taken before the app server has them (`ack = "immediate"`): it
//! will not repeat them, so the gate tries again itself. Knows nothing of what they say.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::trace::RequestId;
use crate::gateway::Gateway;
use crate::gateway::push::Received;
use crate::gateway::push::delivery::{Delivery, NotTaken, Tally, success};
use crate::gateway::push::message::Fields;
use crate::gateway::push::shared::ClaimGuard;
use crate::gateway::refusal::{Refusal, causes};
use crate::telemetry::event;
use crate::telemetry::metrics::PushResult;
use crate::upstream;

/// Pushes that wait for the app server, per gate. More are refused, so that WeChat keeps them. With
/// bodies of the largest size they are 256 MiB.
const MAX_DEFERRED: usize = 1024;

/// How long the app server has for each try: as long as `wx.request` waits.
const TRY_WITHIN: Duration = Duration::from_mins(1);

/// The pauses between tries: together long enough for an app server to start again.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// Longest kind of message that is named in the log, in bytes. `transfer_customer_service` has 25.
const MAX_KIND_BYTES: usize = 64;

/// How many pushes wait for the app server. A cheap handle, the same for all workers.
#[derive(Clone, Debug)]
pub struct DeferredSlots(Arc<Semaphore>);

impl Default for DeferredSlots {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_DEFERRED)))
    }
}

impl DeferredSlots {
    /// How many wait.
    pub fn taken(&self) -> usize {
        MAX_DEFERRED.saturating_sub(self.0.available_permits())
    }

    fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}

/// A push that WeChat will not repeat. Let go before it was [delivered](Self::delivered), it is lost,
/// and the log says so; also when it is let go because the process ends.
struct Undelivered {
    tally: Tally,
    msg_type: String,
    request_id: RequestId,
    /// Why the last try failed, when there is no other.
    why: Option<NotTaken>,
    _slot: OwnedSemaphorePermit,
}

impl Undelivered {
    fn delivered(mut self) {
        self.tally.delivered();
    }

    fn give_up(mut self, why: NotTaken) {
        self.why = Some(why);
    }
}

impl Drop for Undelivered {
    fn drop(&mut self) {
        if !self.tally.is_delivered() {
            let (appid, msg_type) = (self.tally.app().as_str(), self.msg_type.as_str());
            let request_id = self.request_id.as_str();
            let why = self.why.as_ref().map(ToString::to_string);
            let why = why.as_deref().unwrap_or("the gate stopped");
            let cause = self.why.as_ref().and_then(|why| causes(why));
            tracing::error!(
                message = event::PUSH_LOST,
                why,
                cause,
                appid,
                msg_type,
                request_id
            );
        }
    }
}

/// The kind of a message as the log may say it.
fn kind(fields: &Fields) -> String {
    let plain = |text: &&str| {
        text.len() <= MAX_KIND_BYTES
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let kind = fields.msg_type.as_deref().filter(plain);
    kind.unwrap_or("unknown").to_owned()
}

/// Tries until the app server takes it, or to the end.
async fn deliver_with_retries(delivery: &Delivery) -> Result<(), NotTaken> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let tried = tokio::time::timeout(TRY_WITHIN, delivery.clone().attempt()).await;
        let why = match tried {
            Ok(Ok(_answer)) => return Ok(()),
            Ok(Err(why)) => why,
            Err(_elapsed) => upstream::Error::ResponseTimeout.into(),
        };
        match pauses.next() {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(why),
        }
    }
}

impl Gateway {
    /// Tells WeChat that a push was taken, and delivers it afterwards.
    pub(super) async fn push_later(
        &self,
        received: &Received<'_>,
        delivery: Delivery,
        claim: ClaimGuard,
    ) -> Result<Response<Bytes>, Refusal> {
        let metrics = &self.shared.metrics;
        let Some(slot) = self.shared.deferred_pushes.take() else {
            metrics.pushed(received.app.id, PushResult::Overloaded);
            return Err(Refusal::Overloaded);
        };
        let undelivered = Undelivered {
            tally: Tally::begin(metrics, received.app.id, PushResult::Lost),
            msg_type: kind(&received.message.fields),
            request_id: delivery.request_id().clone(),
            why: None,
            _slot: slot,
        };
        tokio::task::spawn_local(async move {
            match deliver_with_retries(&delivery).await {
                Ok(()) => undelivered.delivered(),
                Err(why) => undelivered.give_up(why),
            }
        });
        // Last: who is gone by now does not stop the delivery.
        claim.acknowledge(received.remember_until).await;
        Ok(success())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_wait_and_no_more() {
        let slots = DeferredSlots::default();
        let taken: Vec<_> = (0..MAX_DEFERRED).map(|_| slots.take()).collect();
        assert!(taken.iter().all(Option::is_some));
        assert!(slots.take().is_none());
        assert_eq!(slots.taken(), MAX_DEFERRED);
        drop(taken);
        assert_eq!(slots.taken(), 0);
        assert!(slots.take().is_some());
    }
}

//! Tickets that gates share: that one was exchanged. Under the hash of the ticket stands nothing of what
//! it was worth.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::crypto::random;
use crate::domain::hex::hex;
use crate::domain::ticket::TicketId;
use crate::store::Unusable;
use crate::store::redis::link::Redis;
use crate::store::redis::{Inner, RedisStore, millis};
use crate::telemetry::metrics::RedisOperation;

impl Inner {
    /// Notes that a ticket is exchanged, for so long. Says whether it was not before.
    async fn spend_ticket(&self, ticket: &TicketId, remember: Duration) -> Result<bool, Unusable> {
        // Nobody else has the same random bytes: should it run twice, the second time is known for it.
        let mut asking = self.scripts.claim.key(self.names.ticket(ticket));
        asking
            .arg(hex(&random::bytes::<16>()))
            .arg(millis(remember));
        let run = |mut redis: Redis| async move { asking.invoke_async(&mut redis).await };
        let (found, _): (Option<Vec<u8>>, _) = self.ask(RedisOperation::Ticket, run).await?;
        Ok(found.is_none())
    }
}

impl RedisStore {
    pub(in crate::store) async fn spend_ticket(
        &self,
        ticket: &TicketId,
        remember: Duration,
    ) -> Result<bool, Unusable> {
        let questions = Arc::clone(&self.0.questions);
        let place = questions.try_acquire_owned();
        let place = place.map_err(|_full| Unusable::Busy)?;
        let (spent, answered) = oneshot::channel();
        let (store, ticket) = (self.clone(), *ticket);
        self.0.runtime.spawn(async move {
            // Nobody may be waiting any more.
            let _unheard = spent.send(store.0.spend_ticket(&ticket, remember).await);
            drop(place);
        });
        answered.await.unwrap_or(Err(Unusable::Failed))
    }
}

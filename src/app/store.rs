//! The store: opened, waited for, and cleared of what has run out.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::config::Config;
use crate::domain::clock::Clock;
use crate::gateway::Shared;
use crate::store::Store;
use crate::store::redis::{RedisStore, Surroundings};
use crate::telemetry::metrics::Metrics;

/// How long a start waits for the first connection to Redis.
const WAIT_FOR_REDIS: Duration = Duration::from_secs(2);

/// How often a part of the store is cleared of what has run out; the whole takes about a minute.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The store, and where it is heard that a connection to it was tried, when it has any.
pub(in crate::app) fn open(
    config: &Config,
    control: &Handle,
    (clock, metrics): (&Clock, &Metrics),
) -> (Store, Option<Receiver<()>>) {
    let (Some(redis), Some(seal_keys)) = (&config.store.redis, &config.store.seal_keys) else {
        return (Store::in_memory(&config.store), None);
    };
    let around = Surroundings {
        runtime: control.clone(),
        clock: clock.clone(),
        counts: metrics.redis(),
    };
    let (attempt, attempted) = sync_channel(1);
    let settings = (redis.clone(), config.store.max_sessions);
    let store = RedisStore::open(settings, seal_keys, around, attempt);
    (Store::Redis(store), Some(attempted))
}

/// Waits for a store to be there, so that nobody is refused for want of one that is. One that is not
/// is no reason not to start.
pub(in crate::app) fn wait(attempted: Option<Receiver<()>>) {
    if let Some(attempted) = attempted {
        let _waited = attempted.recv_timeout(WAIT_FOR_REDIS);
    }
}

/// Clears the store of what has run out, a part at a time.
pub(in crate::app) async fn sweep(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    loop {
        ticks.tick().await;
        let lifetimes = shared.settings.load().session.lifetimes;
        shared.store.sweep(shared.clock.now(), &lifetimes);
    }
}

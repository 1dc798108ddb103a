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
use crate::store::snapshot::OpenError;
use crate::telemetry::metrics::Metrics;

/// How long a start waits for the first connection to Redis.
const WAIT_FOR_REDIS: Duration = Duration::from_secs(2);

/// How often a part of the store is cleared of what has run out; the whole takes about a minute.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A store that may not be connected yet.
pub(in crate::app) enum Opened {
    InMemory(Store),
    /// It needs a runtime to connect.
    InRedis,
}

/// The store, with the sessions that outlived the last process.
pub(in crate::app) fn open(config: &Config, clock: &Clock) -> Result<Opened, OpenError> {
    if config.store.redis.is_some() {
        return Ok(Opened::InRedis);
    }
    let lifetimes = &config.gateway.session.lifetimes;
    Store::open(&config.store, clock.now(), lifetimes).map(Opened::InMemory)
}

impl Opened {
    /// The store, and where it is heard that a connection to it was tried, when it has any.
    pub(in crate::app) fn connected(
        self,
        config: &Config,
        control: &Handle,
        (clock, metrics): (&Clock, &Metrics),
    ) -> (Store, Option<Receiver<()>>) {
        let (Some(redis), Some(seal_keys)) = (&config.store.redis, &config.store.seal_keys) else {
            return (self.in_memory(config), None);
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

    fn in_memory(self, config: &Config) -> Store {
        match self {
            Self::InMemory(store) => store,
            Self::InRedis => Store::in_memory(&config.store),
        }
    }
}

/// Waits for a store to be there, so that nobody is refused for want of one that is. One that is not
/// is no reason not to start.
pub(in crate::app) fn wait(attempted: Option<Receiver<()>>) {
    if let Some(attempted) = attempted {
        let _waited = attempted.recv_timeout(WAIT_FOR_REDIS);
    }
}

/// Does what a store needs to have done from time to time, for as long as the gate runs.
pub(in crate::app) async fn tend(shared: Arc<Shared>) {
    tokio::join!(keep_saved(Arc::clone(&shared)), sweep(shared));
}

/// Clears the store of what has run out, a part at a time.
async fn sweep(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    loop {
        ticks.tick().await;
        let lifetimes = shared.settings.load().session.lifetimes;
        shared.store.sweep(shared.clock.now(), &lifetimes);
    }
}

/// Has sessions outlive the process, where that is wanted.
async fn keep_saved(shared: Arc<Shared>) {
    let (store, clock) = (shared.store.clone(), shared.clock.clone());
    let lifetimes = move || shared.settings.load().session.lifetimes;
    store.keep_saved(clock, lifetimes).await;
}

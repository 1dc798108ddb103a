//! The store in the life of a gate: opened at the start, swept and saved on the control thread. Knows
//! nothing of how sessions are kept.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::domain::clock::Clock;
use crate::gateway::Shared;
use crate::store::Store;
use crate::store::snapshot::OpenError;

/// How often a part of the store is cleared of what has run out; the whole takes about a minute.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The store, with the sessions that outlived the last process.
pub(in crate::app) fn open(config: &Config, clock: &Clock) -> Result<Store, OpenError> {
    let lifetimes = &config.gateway.session.lifetimes;
    Store::open(&config.store, clock.now(), lifetimes)
}

/// Has sessions outlive the process, where that is wanted.
pub(in crate::app) async fn keep_saved(shared: Arc<Shared>) {
    let (store, clock) = (shared.store.clone(), shared.clock.clone());
    let lifetimes = move || shared.settings.load().session.lifetimes;
    store.keep_saved(clock, lifetimes).await;
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

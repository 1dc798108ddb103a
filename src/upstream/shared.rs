//! What the workers share of one app server: how many connections, tunnels and waiting requests
//! there may be. No connection ever crosses from one worker to another.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::upstream::{Error, Protocol, Settings};

/// How often a request that waits for a connection asks the other workers for an idle one's place.
pub(in crate::upstream) const ASK_AGAIN: Duration = Duration::from_millis(50);

/// What the workers share of one app server.
#[derive(Debug)]
pub struct Shared {
    settings: Settings,
    connections: Arc<Semaphore>,
    tunnels: Arc<Semaphore>,
    pending: AtomicUsize,
    pressure: Notify,
    /// Connections that one worker may keep.
    max_idle_each: usize,
}

impl Shared {
    /// For this many workers.
    pub fn new(settings: Settings, workers: usize) -> Arc<Self> {
        let permits = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self {
            connections: permits(places(&settings, workers)),
            tunnels: permits(settings.max_tunnels),
            pending: AtomicUsize::new(0),
            pressure: Notify::new(),
            max_idle_each: settings.max_idle.div_ceil(workers.max(1)),
            settings,
        })
    }

    pub(in crate::upstream) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(in crate::upstream) fn max_idle_each(&self) -> usize {
        self.max_idle_each
    }

    /// A place for a tunnel.
    pub(in crate::upstream) fn tunnel(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.tunnels)
            .try_acquire_owned()
            .map_err(|_none| Error::Overloaded)
    }

    /// A place for a connection, if there is one.
    pub(in crate::upstream) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).try_acquire_owned().ok()
    }

    /// Waits for a place for a connection.
    pub(in crate::upstream) async fn next_place(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.connections)
            .acquire_owned()
            .await
            .map_err(|_closed| Error::Overloaded)
    }

    /// Asks all workers for the place of a connection that is not in use.
    pub(in crate::upstream) fn ask_for_place(&self) {
        self.pressure.notify_waiters();
    }

    /// Waits until some worker lacks a place.
    pub(in crate::upstream) async fn asked_for_place(&self) {
        self.pressure.notified().await;
    }

    /// How many requests wait, on all workers.
    pub(in crate::upstream) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }
}

/// Places for connections that any worker may take. With HTTP/2 each worker has one of its own: it
/// needs one connection to serve at all, and cannot use another worker's. One more is for WebSockets.
fn places(settings: &Settings, workers: usize) -> usize {
    match settings.protocol {
        Protocol::Http1 => settings.max_connections,
        Protocol::Http2 => settings.max_connections.saturating_sub(workers).max(1),
    }
}

/// One request that waits for a connection.
pub(in crate::upstream) struct Pending<'a> {
    /// Where it is counted; nowhere when what it waits for is on its way.
    shared: Option<&'a Shared>,
    /// How many wait on this worker.
    here: &'a Cell<usize>,
}

impl<'a> Pending<'a> {
    /// Waits from now on, if that many may.
    pub(in crate::upstream) fn enter(
        shared: &'a Shared,
        here: &'a Cell<usize>,
    ) -> Result<Self, Error> {
        let before = shared.pending.fetch_add(1, Ordering::Relaxed);
        here.set(here.get() + 1);
        let pending = Self {
            shared: Some(shared),
            here,
        };
        if before >= shared.settings.max_pending {
            Err(Error::Overloaded)
        } else {
            Ok(pending)
        }
    }

    /// Waits from now on for a connection that is being made.
    pub(in crate::upstream) fn expect(here: &'a Cell<usize>) -> Self {
        here.set(here.get() + 1);
        Self { shared: None, here }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared {
            shared.pending.fetch_sub(1, Ordering::Relaxed);
        }
        self.here.set(self.here.get() - 1);
    }
}

//! How many connections the process takes, over all workers. When all places are taken and
//! somebody knocks, a connection that is merely kept open has to go.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// How often somebody who waits for a place asks again that an idle connection be closed.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The places for connections, shared by all workers.
#[derive(Clone, Debug)]
pub struct Capacity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    places: Arc<Semaphore>,
    pressure: Notify,
}

/// A place taken by one connection, free again when dropped.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Capacity {
    /// This many places.
    pub fn new(max_connections: usize) -> Self {
        let places = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Inner {
            places,
            pressure: Notify::new(),
        }))
    }

    /// Waits for a place.
    pub async fn take(&self) -> Place {
        loop {
            if let Ok(permit) = Arc::clone(&self.0.places).try_acquire_owned() {
                return Place(permit);
            }
            self.0.pressure.notify_waiters();
            let waiting = Arc::clone(&self.0.places).acquire_owned();
            // The semaphore is never closed; and asking again is right in any case.
            if let Ok(Ok(permit)) = tokio::time::timeout(ASK_AGAIN, waiting).await {
                return Place(permit);
            }
        }
    }

    /// Waits until somebody lacks a place.
    pub async fn lacking(&self) {
        self.0.pressure.notified().await;
    }
}

//! The way from a worker to the control thread, where everything runs that does I/O for the whole
//! process. Bounded: when too much is under way there already, the answer is no.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::domain::limits;

/// Too much is under way on the control thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much is under way already")]
pub struct Busy;

/// Why there is no outcome of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoOutcome {
    /// It was not started.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// It ended without one: a bug.
    #[error("the task ended without an outcome")]
    Lost,
}

/// Starts work on the control thread. A cheap handle.
#[derive(Clone, Debug)]
pub struct Control {
    runtime: Handle,
    places: Arc<Semaphore>,
}

impl Control {
    /// To the thread that runs this runtime.
    pub fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            places: Arc::new(Semaphore::new(limits::MAX_TASKS_IN_FLIGHT)),
        }
    }

    /// To the same thread, with this many places of their own: for work that must take none from
    /// what clients wait for.
    #[must_use]
    pub fn apart(&self, places: usize) -> Self {
        Self {
            runtime: self.runtime.clone(),
            places: Arc::new(Semaphore::new(places)),
        }
    }

    /// A place there for one task.
    pub fn place(&self) -> Result<Place, Busy> {
        let permit = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_none| Busy)?;
        Ok(Place {
            runtime: self.runtime.clone(),
            permit,
        })
    }

    /// Has a task run there and waits for what becomes of it. Who stops waiting does not stop it.
    pub async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, NoOutcome> {
        let (outcome, landed) = oneshot::channel();
        self.place()?.start(async move {
            // Nobody may be waiting any more.
            drop(outcome.send(task.await));
        });
        landed.await.map_err(|_dropped| NoOutcome::Lost)
    }
}

/// A place on the control thread, free again when its task has ended or there is none.
#[derive(Debug)]
pub struct Place {
    runtime: Handle,
    permit: OwnedSemaphorePermit,
}

impl Place {
    /// Starts the task. It runs to its end, whatever becomes of whoever asked for it; only a control
    /// thread that is at its end drops it, perhaps before this returns.
    pub fn start(self, task: impl Future<Output = ()> + Send + 'static) {
        let Self { runtime, permit } = self;
        runtime.spawn(async move {
            task.await;
            drop(permit);
        });
    }
}

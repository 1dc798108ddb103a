//! The way from a worker to the control thread, where everything runs that does I/O for the whole
//! process. Bounded: when too much is under way there already, the answer is no.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::domain::limits;

/// Too much is under way on the control thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much is under way already")]
pub struct Busy;

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
            places: Arc::new(Semaphore::new(limits::MAX_LOGINS_IN_FLIGHT)),
        }
    }

    /// Starts a task there. It runs to its end, whatever becomes of whoever asked for it.
    pub fn start(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<(), Busy> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_none| Busy)?;
        self.runtime.spawn(async move {
            task.await;
            drop(place);
        });
        Ok(())
    }
}

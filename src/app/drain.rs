//! How a gate stops: it finishes what is under way, in its time, and saves what has to outlive it.
//! Knows nothing of how it was started.

use std::time::Duration;

use tokio::time::Instant;

use crate::app::Running;
use crate::store::snapshot::NotSaved;
use crate::telemetry::event;

/// How often draining looks whether the last connection has gone.
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl Running {
    /// Finishes what is under way and stops. `hurry` ends the wait early. Gives an error when it has
    /// stopped all the same, and lost sessions that the next process should have found.
    pub async fn stop(mut self, hurry: impl Future<Output = ()>) -> Result<(), NotSaved> {
        let connections = self.crew.connections();
        self.readiness.set(false);
        if self.settings.drain_delay.is_zero() {
            self.drain.cancel();
        }
        // Said last: it is not ready any more, and without a delay draining already.
        tracing::info!(message = event::DRAINING, connections);
        tokio::select! {
            () = self.drain() => {}
            () = hurry => {}
        }
        let left = self.crew.connections();
        if left > 0 {
            tracing::warn!(message = event::DRAIN_INCOMPLETE, connections = left);
        }
        let pushes = self.shared.deferred_pushes.taken();
        if pushes > 0 {
            tracing::error!(message = event::PUSHES_LEFT, pushes);
        }
        self.halt.cancel();
        for thread in std::mem::take(&mut self.threads) {
            // A thread that panicked has nothing left to be waited for.
            drop(thread.join());
        }
        // Nobody uses the store any more: this is what the next process finds.
        let lifetimes = self.shared.settings.load().session.lifetimes;
        let saved = self.shared.store.close(self.shared.clock.now(), &lifetimes);
        self.remove_sockets();
        tracing::info!(message = event::STOPPED);
        saved
    }

    /// Leaves no unix socket behind that nobody listens on.
    fn remove_sockets(&self) {
        for path in &self.files {
            // Somebody may have been quicker; then there is nothing to do.
            drop(std::fs::remove_file(path));
        }
    }

    async fn drain(&self) {
        tokio::time::sleep(self.settings.drain_delay).await;
        self.drain.cancel();
        let deadline = Instant::now() + self.settings.drain_timeout;
        // Who was waiting to be accepted counts as a connection only after that.
        let accepted = tokio::time::timeout_at(deadline, self.accepting.wait()).await;
        drop(accepted);
        // WeChat will not repeat a push that it was told was taken. A connection may still bring one,
        // so the connections are looked at first.
        while (self.crew.connections() > 0 || self.shared.deferred_pushes.taken() > 0)
            && Instant::now() < deadline
        {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// A gate that is let go stops at once, whatever is under way.
impl Drop for Running {
    fn drop(&mut self) {
        self.drain.cancel();
        self.halt.cancel();
    }
}

//! What to say, and how often, when the system refuses connections: it refuses each of very many.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::telemetry::event;

/// How often it is said that no connections can be accepted.
const SAY_EVERY: Duration = Duration::from_mins(1);

/// Linux's numbers for want of memory, of descriptors in the system and in the process, and of
/// buffers, for which `ErrorKind` has no names.
const WANT: [i32; 4] = [12, 23, 24, 105];

/// Shared by all workers: when it was said last.
#[derive(Clone, Debug, Default)]
pub struct Starvation(Arc<Mutex<Option<Instant>>>);

impl Starvation {
    /// Writes a line, unless there was one a short time ago.
    pub(in crate::server) fn report(&self, error: &io::Error) {
        if self.is_time() {
            tracing::warn!(message = event::ACCEPT_FAILED, %error);
        }
    }

    fn is_time(&self) -> bool {
        let now = Instant::now();
        let mut said = self.0.lock();
        let is_time = said.is_none_or(|said| now.duration_since(said) >= SAY_EVERY);
        if is_time {
            *said = Some(now);
        }
        is_time
    }
}

/// Whether it would help to close a connection.
pub(in crate::server) fn is_for_want(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .is_some_and(|number| WANT.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_said_once_a_minute_whoever_notices() {
        let starvation = Starvation::default();
        let other = starvation.clone();
        assert!(starvation.is_time());
        assert!(!other.is_time());
        tokio::time::advance(SAY_EVERY / 2).await;
        assert!(!starvation.is_time());
        tokio::time::advance(SAY_EVERY / 2).await;
        assert!(other.is_time());
        assert!(!starvation.is_time());
    }
}

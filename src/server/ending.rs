//! The end of a connection that somebody asked for, put off or not.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Sleep;

use crate::server::state::State;

/// How long an HTTP/1 connection that is about to end may still bring the request that was already
/// on its way. Its answer says `Connection: close`.
const LINGER: Duration = Duration::from_millis(500);

/// The end of a connection. When the process ends, an HTTP/1 client cannot be told which request
/// still counts, so what is on its way is waited for.
#[derive(Debug, Default)]
pub(in crate::server) struct Ending {
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Ending {
    /// Ready when the connection is to end now, once for each time that somebody asks.
    pub(in crate::server) fn poll(&mut self, state: &State, context: &mut Context<'_>) -> Poll<()> {
        while state.poll_end_asked(context).is_ready() {
            if !state.is_draining() {
                return Poll::Ready(());
            }
            self.lingering = Some(Box::pin(tokio::time::sleep(LINGER)));
        }
        let Some(lingering) = &mut self.lingering else {
            return Poll::Pending;
        };
        ready!(lingering.as_mut().poll(context));
        self.lingering = None;
        Poll::Ready(())
    }
}

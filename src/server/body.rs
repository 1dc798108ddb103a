//! The body of a request as the gate reads it: with a deadline, a size limit and a count; and what
//! happens to one that nobody reads to its end.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::domain::limits;

/// Why a request body ended before its end. Always the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// The connection broke or was not HTTP.
    #[error("the client broke its request body off")]
    Broken,
    /// Nothing came for too long.
    #[error("the client stopped sending its request body")]
    Idle,
    /// More came than is allowed.
    #[error("the request body is larger than {0} bytes")]
    TooLarge(u64),
}

/// How far a body has come. Outlives it.
#[derive(Clone, Debug, Default)]
pub struct Progress(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    received: Cell<u64>,
    finished: Cell<bool>,
    fault: Cell<Option<BodyFault>>,
}

impl Progress {
    /// Bytes received.
    pub fn received(&self) -> u64 {
        self.0.received.get()
    }

    /// Whether the body has been read to its end.
    pub fn is_finished(&self) -> bool {
        self.0.finished.get()
    }

    /// Why it ended before its end.
    pub fn fault(&self) -> Option<BodyFault> {
        self.0.fault.get()
    }
}

/// The body of a request.
pub struct RequestBody {
    /// `None` once it has been handed to whoever drains it.
    inner: Option<Incoming>,
    progress: Progress,
    max_bytes: Option<u64>,
    idle_timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    drains: bool,
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

impl RequestBody {
    /// Puts limits to a body. `drains` says whether the rest of an unread one must be read off the
    /// connection, lest the client see a reset instead of its answer.
    pub(in crate::server) fn new(inner: Incoming, idle_timeout: Duration, drains: bool) -> Self {
        let progress = Progress::default();
        progress.0.finished.set(inner.is_end_stream());
        Self {
            inner: Some(inner),
            progress,
            max_bytes: None,
            idle_timeout,
            timer: None,
            drains,
        }
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Allows this many bytes.
    pub fn limit(&mut self, max_bytes: Option<u64>) {
        self.max_bytes = max_bytes;
    }

    /// Reads the body whole; for the small ones that the gate answers itself.
    pub async fn read_all(mut self, max_bytes: usize) -> Result<Bytes, BodyFault> {
        self.limit(Some(u64::try_from(max_bytes).unwrap_or(u64::MAX)));
        Ok(self.collect().await?.to_bytes())
    }

    fn fail(&self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        self.progress.0.fault.set(Some(fault));
        Poll::Ready(Some(Err(fault)))
    }

    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let idle_timeout = self.idle_timeout;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(idle_timeout)));
        timer.as_mut().poll(context)
    }

    /// Counts a frame in. Fails when there have been too many bytes.
    fn count(&mut self, frame: &Frame<Bytes>) -> Result<(), BodyFault> {
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(Instant::now() + self.idle_timeout);
        }
        let Some(data) = frame.data_ref() else {
            return Ok(());
        };
        let bytes = u64::try_from(data.remaining()).unwrap_or(u64::MAX);
        let received = self.progress.received().saturating_add(bytes);
        self.progress.0.received.set(received);
        match self.max_bytes {
            Some(max_bytes) if received > max_bytes => Err(BodyFault::TooLarge(max_bytes)),
            _ => Ok(()),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        match Pin::new(inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Err(fault) = this.count(&frame) {
                    return this.fail(fault);
                }
                this.progress.0.finished.set(this.is_end_stream());
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_broken))) => this.fail(BodyFault::Broken),
            Poll::Ready(None) => {
                this.progress.0.finished.set(true);
                Poll::Ready(None)
            }
            Poll::Pending if this.poll_idle(context).is_ready() => this.fail(BodyFault::Idle),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

/// A body that is let go before its end is read on for a bounded while: a connection closed over
/// unread bytes is reset, and takes the answer with it.
impl Drop for RequestBody {
    fn drop(&mut self) {
        let worth_it = self.drains
            && !self.progress.is_finished()
            && !matches!(
                self.progress.fault(),
                Some(BodyFault::Broken | BodyFault::Idle)
            );
        if let Some(rest) = self.inner.take()
            && worth_it
        {
            tokio::task::spawn_local(drain(rest));
        }
    }
}

async fn drain(mut rest: Incoming) {
    let read = async {
        let mut left = limits::MAX_DRAINED_BYTES;
        while let Some(Ok(frame)) = rest.frame().await {
            let bytes = frame.data_ref().map_or(0, Buf::remaining);
            left = left.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
            if left == 0 {
                return;
            }
        }
    };
    // Whether it came to its end does not matter: the connection is closed either way.
    drop(tokio::time::timeout(limits::DRAIN_REFUSED_FOR, read).await);
}

//! The body of a request as the gate reads it: with a deadline, a size limit and a count, whichever
//! version of HTTP it comes over.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep};

use crate::server::upgrade::ClientUpgrade;
use crate::splice::{Piped, Pipes, SpliceBody};

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
#[derive(Clone, Debug)]
pub struct Progress(Option<Rc<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    received: Cell<u64>,
    fault: Cell<Option<BodyFault>>,
}

impl Progress {
    /// Bytes received.
    pub fn received(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.received.get())
    }

    /// Why it ended before its end.
    pub fn fault(&self) -> Option<BodyFault> {
        self.0.as_ref().and_then(|inner| inner.fault.get())
    }

    fn note(&self, note: impl FnOnce(&Inner)) {
        if let Some(inner) = &self.0 {
            note(inner);
        }
    }
}

/// The body cannot be read on.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Broken;

/// A connection, or one stream of it, from which the body of a request is read.
pub(in crate::server) trait Pull {
    /// The next piece of the body; `None` at its end.
    fn poll_frame(&self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>>;

    /// Moves what has come of it into a pipe; `None` when it has to be read, as it always has where
    /// others share the connection.
    fn poll_splice(
        &self,
        _pipes: &Pipes,
        _context: &mut Context<'_>,
    ) -> Poll<Result<Option<Piped>, Broken>> {
        Poll::Ready(Ok(None))
    }

    /// Whether it has been read to its end.
    fn is_over(&self) -> bool;

    /// How much is still to come, where that is known.
    fn size_hint(&self) -> SizeHint;

    /// Nobody will read on: because it is over, or because nobody wants the rest.
    fn let_go(&self);
}

/// Where a body comes from.
enum Source {
    /// It has come to its end, or there never was one.
    Over,
    /// A connection has more of it.
    Pulled(Rc<dyn Pull>),
}

/// The body of a request.
pub struct RequestBody {
    source: Source,
    progress: Progress,
    max_bytes: Option<u64>,
    idle_timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// The connection, where another protocol is asked for.
    upgrade: Option<ClientUpgrade>,
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

impl RequestBody {
    /// No body.
    pub(in crate::server) fn nothing() -> Self {
        Self::new(Source::Over, Progress(None), Duration::ZERO)
    }

    /// A body that is read off its connection. Nothing may come for `idle_timeout` at most.
    pub(in crate::server) fn pulled(from: Rc<dyn Pull>, idle_timeout: Duration) -> Self {
        let progress = Progress(Some(Rc::default()));
        Self::new(Source::Pulled(from), progress, idle_timeout)
    }

    fn new(source: Source, progress: Progress, idle_timeout: Duration) -> Self {
        Self {
            source,
            progress,
            max_bytes: None,
            idle_timeout,
            timer: None,
            upgrade: None,
        }
    }

    pub(in crate::server) fn set_upgrade(&mut self, upgrade: ClientUpgrade) {
        self.upgrade = Some(upgrade);
    }

    /// The connection, where the request asks for another protocol over it.
    pub fn take_upgrade(&mut self) -> Option<ClientUpgrade> {
        self.upgrade.take()
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
        // Copied: a piece of one byte holds the whole memory that it was read into.
        let mut whole = Vec::new();
        while let Some(frame) = self.frame().await {
            let data = frame?.into_data();
            whole.extend_from_slice(&data.unwrap_or_default());
        }
        Ok(whole.into())
    }

    fn fail(&self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        Poll::Ready(Some(Err(self.failed(fault))))
    }

    fn failed(&self, fault: BodyFault) -> BodyFault {
        self.progress.note(|inner| inner.fault.set(Some(fault)));
        fault
    }

    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let idle_timeout = self.idle_timeout;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(idle_timeout)));
        timer.as_mut().poll(context)
    }

    /// Lets go of the connection at the end of the body: what comes next there is another's.
    fn settle(&mut self) {
        if self.is_end_stream() {
            self.over();
        }
    }

    fn over(&mut self) {
        if let Source::Pulled(from) = &self.source {
            from.let_go();
        }
        self.source = Source::Over;
    }

    /// Counts a frame in. Fails when there have been too many bytes.
    fn count(&mut self, frame: &Frame<Bytes>) -> Result<(), BodyFault> {
        self.count_bytes(frame.data_ref().map_or(0, Bytes::remaining))
    }

    fn count_bytes(&mut self, bytes: usize) -> Result<(), BodyFault> {
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(Instant::now() + self.idle_timeout);
        }
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let received = self.progress.received().saturating_add(bytes);
        self.progress.note(|inner| inner.received.set(received));
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
        let polled = match &mut this.source {
            Source::Over => return Poll::Ready(None),
            Source::Pulled(from) => from.poll_frame(context),
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Err(fault) = this.count(&frame) {
                    return this.fail(fault);
                }
                this.settle();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(Broken))) => this.fail(BodyFault::Broken),
            Poll::Ready(None) => {
                this.over();
                Poll::Ready(None)
            }
            Poll::Pending if this.poll_idle(context).is_ready() => this.fail(BodyFault::Idle),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Over => true,
            Source::Pulled(from) => from.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Over => SizeHint::with_exact(0),
            Source::Pulled(from) => from.size_hint(),
        }
    }
}

impl SpliceBody for RequestBody {
    fn poll_splice(
        &mut self,
        pipes: &Pipes,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Piped>, BodyFault>> {
        let Source::Pulled(from) = &self.source else {
            return Poll::Ready(Ok(None));
        };
        let fault = match from.poll_splice(pipes, context) {
            Poll::Ready(Ok(None)) => return Poll::Ready(Ok(None)),
            Poll::Ready(Ok(Some(piped))) => match self.count_bytes(piped.bytes()) {
                Ok(()) => {
                    self.settle();
                    return Poll::Ready(Ok(Some(piped)));
                }
                Err(fault) => fault,
            },
            Poll::Ready(Err(Broken)) => BodyFault::Broken,
            Poll::Pending if self.poll_idle(context).is_ready() => BodyFault::Idle,
            Poll::Pending => return Poll::Pending,
        };
        Poll::Ready(Err(self.failed(fault)))
    }
}

/// The connection learns that nobody will read the rest.
impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Source::Pulled(from) = &self.source {
            from.let_go();
        }
    }
}

//! The body of an answer to a client: whole when the gate answers itself, streamed when the app
//! server does. A stream breaks off when the session that it hangs on ends.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::domain::session::{Lifetimes, Live};
use crate::gateway::Shared;
use crate::gateway::entry::Entry;
use crate::server::body::Progress;
use crate::telemetry::access::Flag;
use crate::upstream::{self, BrokenAnswer};

/// Why the body of an answer broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The app server's doing.
    #[error(transparent)]
    AppServer(#[from] BrokenAnswer),
    /// The session ended.
    #[error("the session of the stream has ended")]
    SessionEnded,
}

/// What a stream hangs on. In a box, as everything that is seldom: an answer is moved about.
#[derive(Debug)]
pub(in crate::gateway) struct Hang {
    pub(in crate::gateway) shared: Arc<Shared>,
    pub(in crate::gateway) live: Live,
    pub(in crate::gateway) lifetimes: Lifetimes,
}

impl Hang {
    fn has_ended(&self) -> bool {
        self.live.session().ends_at(&self.lifetimes) <= self.shared.clock.now()
    }

    /// Waits until the session has ended. The stream is on the register meanwhile.
    pub(in crate::gateway) async fn ended(self: Box<Self>) {
        let mut stream = self.shared.store.open_stream(&self.live);
        stream.ended(&self.shared.clock, &self.lifetimes).await;
    }
}

enum Source {
    Whole(Option<Bytes>),
    Streamed(upstream::AnswerBody),
}

enum Hanging {
    /// Ends when the app server or the client ends it.
    Free,
    /// Has not had to wait for the app server yet; most never do.
    NotYet(Box<Hang>),
    /// On the register.
    Registered(Pin<Box<dyn Future<Output = ()>>>),
}

/// The body of an answer to a client.
pub struct AnswerBody {
    source: Source,
    hanging: Hanging,
    recording: Option<Recording>,
}

/// The request's record, as far as it has come.
struct Recording {
    entry: Entry,
    progress: Progress,
    sent: u64,
    ended: bool,
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerBody(..)")
    }
}

impl AnswerBody {
    /// A body that is there already.
    pub(in crate::gateway) fn whole(body: Bytes) -> Self {
        let body = (!body.is_empty()).then_some(body);
        Self {
            source: Source::Whole(body),
            hanging: Hanging::Free,
            recording: None,
        }
    }

    /// No body.
    pub(in crate::gateway) fn nothing() -> Self {
        Self::whole(Bytes::new())
    }

    /// A body that is still coming. One whose end is not announced may be an event stream, and
    /// then hangs on its session.
    pub(in crate::gateway) fn streamed(
        body: upstream::AnswerBody,
        hang: impl FnOnce() -> Option<Box<Hang>>,
    ) -> Self {
        let endless = body.size_hint().exact().is_none();
        let hang = endless.then(hang).flatten();
        let hanging = hang.map_or(Hanging::Free, Hanging::NotYet);
        Self {
            source: Source::Streamed(body),
            hanging,
            recording: None,
        }
    }

    /// Has the record of the request written when the body is gone.
    pub(in crate::gateway) fn record(&mut self, entry: Entry, progress: Progress) {
        let ended = self.is_end_stream();
        self.recording = Some(Recording {
            entry,
            progress,
            sent: 0,
            ended,
        });
    }

    /// Whether the session that this hangs on has ended. A stream goes on the register when it
    /// first has to wait; one that never pauses is looked at piece by piece.
    fn session_ended(&mut self, waits: bool, context: &mut Context<'_>) -> bool {
        if let Hanging::NotYet(hang) = &self.hanging
            && !waits
        {
            return hang.has_ended();
        }
        self.hanging = match std::mem::replace(&mut self.hanging, Hanging::Free) {
            Hanging::NotYet(hang) => Hanging::Registered(Box::pin(hang.ended())),
            same => same,
        };
        match &mut self.hanging {
            Hanging::Registered(ended) => ended.as_mut().poll(context).is_ready(),
            Hanging::Free | Hanging::NotYet(_) => false,
        }
    }

    fn note(&mut self, polled: &Poll<Option<Result<Frame<Bytes>, BodyError>>>) {
        let ends = self.is_end_stream();
        let Some(recording) = &mut self.recording else {
            return;
        };
        match polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                recording.sent += u64::try_from(bytes).unwrap_or_default();
                recording.ended = ends;
            }
            Poll::Ready(None) => recording.ended = true,
            Poll::Ready(Some(Err(error))) => {
                recording.ended = true;
                recording.entry.flag(match error {
                    BodyError::AppServer(_) => Flag::UpstreamBroken,
                    BodyError::SessionEnded => Flag::SessionEnded,
                });
            }
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let mut polled = match &mut this.source {
            Source::Whole(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Source::Streamed(body) => Pin::new(body).poll_frame(context).map_err(BodyError::from),
        };
        if this.session_ended(polled.is_pending(), context) {
            polled = Poll::Ready(Some(Err(BodyError::SessionEnded)));
        }
        this.note(&polled);
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(body) => body.is_none(),
            Source::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(body) => {
                SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len).try_into().unwrap_or(0))
            }
            Source::Streamed(body) => body.size_hint(),
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        let Some(Recording {
            mut entry,
            progress,
            sent,
            ended,
        }) = self.recording.take()
        else {
            return;
        };
        if !ended {
            entry.flag(Flag::ClientGone);
        }
        entry.passed(progress.received(), sent);
    }
}

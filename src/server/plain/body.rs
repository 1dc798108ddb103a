//! The bodies of answers. Knows nothing of connections.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::mpsc;

/// Pieces of a streamed answer that may wait for a slow client.
const STREAM_PIECES: usize = 8;

/// The body of an answer: whole, streamed, passed on, or broken off.
#[derive(Debug)]
pub struct PlainBody(Shape);

enum Shape {
    Broken { before: Option<Bytes>, sent: bool },
    Passed(UnsyncBoxBody<Bytes, BrokenOff>),
    Stream(mpsc::Receiver<Bytes>),
    Whole(Option<Bytes>),
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken { .. } => "Broken",
            Self::Passed(_) => "Passed",
            Self::Stream(_) => "Stream",
            Self::Whole(_) => "Whole",
        })
    }
}

/// The body ends here without an end, and so does the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer was broken off")]
pub struct BrokenOff;

impl PlainBody {
    /// No body.
    pub fn empty() -> Self {
        Self(Shape::Whole(None))
    }

    /// These bytes, their number said beforehand.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Shape::Whole(Some(bytes.into()).filter(|b| !b.is_empty())))
    }

    /// These bytes and then a connection broken off, so that the client sees the answer begin and
    /// not end.
    pub fn broken_after(bytes: impl Into<Bytes>) -> Self {
        Self(Shape::Broken {
            before: Some(bytes.into()),
            sent: false,
        })
    }

    /// Somebody else's body, as it comes. Should it break off, so does this one.
    pub fn pass<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
    {
        Self(Shape::Passed(
            body.map_err(|_cause| BrokenOff).boxed_unsync(),
        ))
    }

    /// Whatever is sent, as it is sent; it ends when the sender is dropped.
    pub fn stream() -> (BodySender, Self) {
        let (sender, receiver) = mpsc::channel(STREAM_PIECES);
        (BodySender(sender), Self(Shape::Stream(receiver)))
    }
}

/// The sending end of a streamed body.
#[derive(Debug)]
pub struct BodySender(pub(super) mpsc::Sender<Bytes>);

/// Nobody reads the streamed body any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client has gone")]
pub struct ClientGone;

impl BodySender {
    /// Sends a piece, waiting for a slow client.
    pub async fn send(&self, piece: impl Into<Bytes>) -> Result<(), ClientGone> {
        let sent = self.0.send(piece.into()).await;
        sent.map_err(|_piece| ClientGone)
    }
}

impl Body for PlainBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let piece = match &mut self.0 {
            Shape::Whole(bytes) => bytes.take(),
            Shape::Passed(body) => return Pin::new(body).poll_frame(context),
            Shape::Stream(receiver) => std::task::ready!(receiver.poll_recv(context)),
            Shape::Broken { before, sent } => match before.take() {
                Some(bytes) => Some(bytes),
                // hyper writes out what it has when a body makes it wait, and drops it when a body
                // fails: so wait once, for the beginning to be seen.
                None if !*sent => {
                    *sent = true;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                None => return Poll::Ready(Some(Err(BrokenOff))),
            },
        };
        Poll::Ready(piece.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Shape::Whole(bytes) => bytes.is_none(),
            Shape::Passed(body) => body.is_end_stream(),
            Shape::Broken { .. } | Shape::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Shape::Whole(None) => SizeHint::with_exact(0),
            Shape::Whole(Some(bytes)) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            Shape::Passed(body) => body.size_hint(),
            Shape::Broken { .. } | Shape::Stream(_) => SizeHint::default(),
        }
    }
}

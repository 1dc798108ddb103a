//! The bodies of answers on their way to a client. Over HTTP/1 a client that takes nothing is seen at
//! the socket (`server::watched`); over HTTP/2 each answer has a window of its own, and a client
//! that never opens it would keep the answer, and the app server's connection behind it, for ever.
//! So the answers of such a connection are looked at from time to time, and one that nobody has
//! taken anything of for too long is given up.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::server::connection::BoxError;
use crate::server::state::RequestGuard;

/// What is handed over at a time, in bytes: the size of an HTTP/2 frame.
const BIT_BYTES: usize = 16 * 1024;

/// The number of noted answers from which on those that are over are forgotten: twice as many as may
/// be under way at once.
const FORGET_FROM: usize = 256;

/// The answers of one HTTP/2 connection.
#[derive(Debug)]
pub(in crate::server) struct Streams<B>(RefCell<Vec<Weak<RefCell<Slot<B>>>>>);

impl<B> Default for Streams<B> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

/// One answer, which keeps its connection busy.
#[derive(Debug)]
pub(in crate::server) struct Slot<B> {
    /// `None` once it has been given up.
    body: Option<(B, RequestGuard)>,
    /// What is left of a piece that is handed over bit by bit.
    rest: Bytes,
    /// Since when a piece of it has been waiting for the client.
    untaken_since: Option<Instant>,
}

impl<B: Body<Data = Bytes> + Unpin> Streams<B> {
    /// Adds an answer.
    pub(in crate::server) fn add(&self, body: B, guard: RequestGuard) -> Sent<B> {
        if body.is_end_stream() {
            return Sent::alone(body, guard);
        }
        let slot = Slot {
            body: Some((body, guard)),
            rest: Bytes::new(),
            untaken_since: Some(Instant::now()),
        };
        let slot = Rc::new(RefCell::new(slot));
        let mut slots = self.0.borrow_mut();
        if slots.len() >= FORGET_FROM {
            slots.retain(|slot| slot.strong_count() > 0);
        }
        slots.push(Rc::downgrade(&slot));
        Sent::Watched(slot)
    }

    /// Gives up every answer of which nothing has been taken for this long.
    pub(in crate::server) fn give_up_untaken(&self, longest: Duration) {
        let mut given_up = Vec::new();
        self.0.borrow_mut().retain(|slot| {
            let Some(slot) = slot.upgrade() else {
                return false;
            };
            let mut slot = slot.borrow_mut();
            if slot
                .untaken_since
                .is_some_and(|since| since.elapsed() >= longest)
            {
                given_up.extend(slot.body.take());
                slot.rest = Bytes::new();
            }
            slot.body.is_some()
        });
        // What their end sets off happens outside the borrows.
        drop(given_up);
    }
}

/// The body of an answer on its way.
#[derive(Debug)]
pub(in crate::server) enum Sent<B> {
    /// The only one of its connection.
    Alone(
        B,
        #[expect(dead_code, reason = "held for its drop")] RequestGuard,
    ),
    /// One of many.
    Watched(Rc<RefCell<Slot<B>>>),
}

impl<B> Sent<B> {
    /// The only answer of its connection.
    pub(in crate::server) fn alone(body: B, guard: RequestGuard) -> Self {
        Self::Alone(body, guard)
    }
}

impl<B> Body for Sent<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Alone(body, _) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Watched(slot) => slot.borrow_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Alone(body, _) => body.is_end_stream(),
            Self::Watched(slot) => slot.borrow().is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Alone(body, _) => body.size_hint(),
            Self::Watched(slot) => slot.borrow().size_hint(),
        }
    }
}

impl<B> Slot<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some((body, _)) = &mut self.body else {
            return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::TimedOut).into())));
        };
        let polled = if self.rest.is_empty() {
            Pin::new(body).poll_frame(context).map_err(Into::into)
        } else {
            Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.rest)))))
        };
        // A piece that is handed over waits for the client until the next one is asked for; while
        // there is none, the client has nothing to take.
        self.untaken_since = polled.is_ready().then(Instant::now);
        polled.map_ok(|frame| self.bit_of(frame))
    }

    /// The first bit of a piece. In one piece, a slow client would be heard of too seldom.
    fn bit_of(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_data() {
            Ok(mut data) => {
                self.rest = data.split_off(data.len().min(BIT_BYTES));
                Frame::data(data)
            }
            Err(trailers) => trailers,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
            && self
                .body
                .as_ref()
                .is_some_and(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let Some((body, _)) = &self.body else {
            return SizeHint::default();
        };
        let rest = u64::try_from(self.rest.len()).unwrap_or_default();
        let inner = body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

//! One stream: what has come of its request and was not read, how much of its answer the client
//! takes, and whether it still counts. The connection, the answer and whoever reads the body share it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio::time::Instant;

use crate::server::http2::frame::{Code, Half};
use crate::server::http2::settings::WINDOW_BYTES;
use crate::server::http2::window::{Credit, Window};

/// Data of at least this size stays in the memory that it was read into. Smaller data is copied: a
/// piece of one byte would hold all that memory.
pub(in crate::server::http2) const KEPT_BYTES: usize = 8 * 1024;

/// One stream.
#[derive(Debug)]
pub(in crate::server::http2) struct Stream {
    pub(in crate::server::http2) id: u32,
    /// What the client takes of the answer.
    pub(in crate::server::http2) window: Cell<Window>,
    pub(in crate::server::http2) received: RefCell<Received>,
    /// Whether the client waits with its body to be told to go ahead.
    pub(in crate::server::http2) awaits_go_ahead: Cell<bool>,
    /// Whether it was given up, by whichever side.
    gone: Cell<bool>,
    /// Since when a piece of the answer has been waiting for the client.
    pub(in crate::server::http2) untaken_since: Cell<Option<Instant>>,
    /// Who serves it.
    server: RefCell<Option<Waker>>,
}

/// Who reads the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server::http2) enum Reader {
    /// Whoever was given it.
    Handler,
    /// Nobody. What comes is dropped.
    Nobody,
}

/// What has come of the request.
#[derive(Debug)]
pub(in crate::server::http2) struct Received {
    pieces: VecDeque<Bytes>,
    /// The last data, as long as it is small.
    small: BytesMut,
    pub(in crate::server::http2) trailers: Option<HeaderMap>,
    /// Whether the client has said all.
    pub(in crate::server::http2) is_ended: bool,
    pub(in crate::server::http2) reader: Reader,
    pub(in crate::server::http2) credit: Credit,
    /// Bytes that are still to come, where the head says how many.
    pub(in crate::server::http2) left: Option<u64>,
    waker: Option<Waker>,
}

/// What became of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server::http2) enum Accepted {
    Kept,
    /// Nobody reads it.
    Dropped,
}

impl Received {
    /// Adds data that has come. Gives the code to end the stream with when it may not come.
    pub(in crate::server::http2) fn accept(
        &mut self,
        (data, within): (&[u8], Option<&Bytes>),
        flow: u32,
        half: Half,
    ) -> Result<Accepted, Code> {
        if self.is_ended {
            return Err(Code::StreamClosed);
        }
        let credit = self.credit.come(flow);
        credit.map_err(|_overflow| Code::FlowControl)?;
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        // RFC 9113 §8.1.1: as long as was said.
        if let Some(left) = self.left {
            let left = left.checked_sub(length).ok_or(Code::Protocol)?;
            if half == Half::Closed && left > 0 {
                return Err(Code::Protocol);
            }
            self.left = Some(left);
        }
        self.is_ended = half == Half::Closed;
        if self.reader == Reader::Nobody {
            return Ok(Accepted::Dropped);
        }
        self.add(data, within);
        Ok(Accepted::Kept)
    }

    fn add(&mut self, data: &[u8], within: Option<&Bytes>) {
        match within.filter(|_| data.len() >= KEPT_BYTES) {
            Some(memory) => {
                self.end_small();
                self.pieces.push_back(memory.slice_ref(data));
            }
            None => self.small.extend_from_slice(data),
        }
    }

    fn end_small(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push_back(self.small.split().freeze());
        }
    }

    /// Takes the first data that has come.
    pub(in crate::server::http2) fn take(&mut self) -> Option<Bytes> {
        if self.pieces.is_empty() && !self.small.is_empty() {
            return Some(std::mem::take(&mut self.small).freeze());
        }
        self.pieces.pop_front()
    }

    /// Drops all data that has come. Gives how much that was.
    pub(in crate::server::http2) fn drop_all(&mut self) -> usize {
        let pieces = std::mem::take(&mut self.pieces);
        let small = std::mem::take(&mut self.small);
        pieces.iter().map(Bytes::len).sum::<usize>() + small.len()
    }

    /// How much of the body is still to be read, where the head says how long it is.
    pub(in crate::server::http2) fn unread(&self) -> Option<u64> {
        let here = self.pieces.iter().map(Bytes::len).sum::<usize>() + self.small.len();
        let here = u64::try_from(here).unwrap_or(u64::MAX);
        self.left.map(|left| left.saturating_add(here))
    }

    /// Whether nothing is left to be read.
    pub(in crate::server::http2) fn is_over(&self) -> bool {
        self.is_ended && self.pieces.is_empty() && self.small.is_empty() && self.trailers.is_none()
    }

    /// Has whoever reads woken by what comes next.
    pub(in crate::server::http2) fn wait(&mut self, context: &Context<'_>) {
        wait_in(&mut self.waker, context);
    }

    pub(in crate::server::http2) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

fn wait_in(place: &mut Option<Waker>, context: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(context.waker()),
        None => *place = Some(context.waker().clone()),
    }
}

impl Stream {
    pub(in crate::server::http2) fn new(
        id: u32,
        window: Window,
        half: Half,
        left: Option<u64>,
    ) -> Self {
        Self {
            id,
            window: Cell::new(window),
            received: RefCell::new(Received {
                pieces: VecDeque::new(),
                small: BytesMut::new(),
                trailers: None,
                is_ended: half == Half::Closed,
                reader: Reader::Handler,
                credit: Credit::new(WINDOW_BYTES),
                left,
                waker: None,
            }),
            awaits_go_ahead: Cell::new(false),
            gone: Cell::new(false),
            untaken_since: Cell::new(None),
            server: RefCell::new(None),
        }
    }

    /// Whether it was given up.
    pub(in crate::server::http2) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// Gives it up: whoever serves it and whoever reads its body hears of that.
    pub(in crate::server::http2) fn give_up(&self) {
        self.gone.set(true);
        self.wake();
        self.received.borrow_mut().wake();
    }

    /// Ready when it was given up.
    pub(in crate::server::http2) fn poll_gone(&self, context: &Context<'_>) -> Poll<()> {
        if self.is_gone() {
            return Poll::Ready(());
        }
        wait_in(&mut self.server.borrow_mut(), context);
        Poll::Pending
    }

    /// Wakes whoever serves it.
    pub(in crate::server::http2) fn wake(&self) {
        if let Some(waker) = &*self.server.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Whether this wakes whoever serves it.
    pub(in crate::server::http2) fn is_woken_by(&self, waker: &Waker) -> bool {
        let server = self.server.borrow();
        server.as_ref().is_some_and(|own| own.will_wake(waker))
    }

    /// Ready when nothing is left of the request that anybody reads. Whoever reads says so.
    pub(in crate::server::http2) fn poll_read(&self) -> Poll<()> {
        let received = self.received.borrow();
        if received.is_over() || received.reader == Reader::Nobody {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

//! What the streams of one connection share: what waits to be written, the windows of the
//! connection, and the list of the streams.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;

use crate::codec::hpack::{Encoder, write_status};
use crate::server::http2::frame::{Code, ConnectionError, Half};
use crate::server::http2::out::Out;
use crate::server::http2::past::{End, Past};
use crate::server::http2::settings::WINDOW_BYTES;
use crate::server::http2::stream::{Reader, Stream};
use crate::server::http2::window::{Credit, INITIAL, Window, piece};

/// How many of those who wait to send are woken in one turn: some have nothing to send after all, and the next
/// turn is soon.
const WOKEN_EACH_TURN: usize = 4;

/// What the streams of one connection share.
#[derive(Debug)]
pub(in crate::server::http2) struct Mux {
    pub(in crate::server::http2) out: RefCell<Out>,
    pub(in crate::server::http2) encoder: RefCell<Encoder>,
    /// Those under way, in the order of their numbers.
    streams: RefCell<Vec<Rc<Stream>>>,
    past: RefCell<Past>,
    /// What the client takes of all answers together.
    window: Cell<Window>,
    /// What a new stream begins with.
    initial_window: Cell<u32>,
    credit: Cell<Credit>,
    waiting: RefCell<Waiting>,
    /// Pieces of answers that were sent and not counted yet.
    pieces: Cell<u32>,
    /// Whether the connection is at work, and looks for itself what there is to do.
    at_work: Cell<bool>,
    /// Who serves the connection.
    server: RefCell<Waker>,
}

/// The answers that cannot go on, each in the order in which they came.
#[derive(Debug, Default)]
struct Waiting {
    for_room: VecDeque<Waker>,
    for_window: VecDeque<Waker>,
}

impl Waiting {
    /// A stream is over: it waits for nothing. What wakes it would keep its memory.
    fn forget(&mut self, stream: &Stream) {
        for queue in [&mut self.for_room, &mut self.for_window] {
            queue.retain(|waker| !stream.is_woken_by(waker));
        }
    }
}

impl Mux {
    pub(in crate::server::http2) fn new() -> Self {
        Self {
            out: RefCell::default(),
            encoder: RefCell::default(),
            streams: RefCell::default(),
            past: RefCell::default(),
            window: Cell::new(Window::new(INITIAL)),
            initial_window: Cell::new(INITIAL),
            credit: Cell::new(Credit::new(WINDOW_BYTES)),
            waiting: RefCell::default(),
            pieces: Cell::new(0),
            at_work: Cell::new(false),
            server: RefCell::new(Waker::noop().clone()),
        }
    }

    /// The connection begins to work.
    pub(in crate::server::http2) fn begin_work(&self, context: &Context<'_>) {
        self.at_work.set(true);
        self.server.borrow_mut().clone_from(context.waker());
    }

    /// The connection waits.
    pub(in crate::server::http2) fn end_work(&self) {
        self.at_work.set(false);
    }

    /// There is something to write: whoever serves the connection has to know, unless it looks.
    fn wake_server(&self) {
        if !self.at_work.get() {
            self.server.borrow().wake_by_ref();
        }
    }

    /// How many streams are under way.
    pub(in crate::server::http2) fn len(&self) -> usize {
        self.streams.borrow().len()
    }

    fn position(&self, id: u32) -> Result<usize, usize> {
        let streams = self.streams.borrow();
        streams.binary_search_by_key(&id, |stream| stream.id)
    }

    /// A stream that is under way.
    pub(in crate::server::http2) fn find(&self, id: u32) -> Option<Rc<Stream>> {
        let at = self.position(id).ok()?;
        self.streams.borrow().get(at).cloned()
    }

    /// How a stream that is not under way came to its end, if it is known to have been one.
    pub(in crate::server::http2) fn end_of(&self, id: u32) -> Option<End> {
        self.past.borrow().end_of(id)
    }

    /// Begins with a stream, of a higher number than any before.
    pub(in crate::server::http2) fn open(
        &self,
        id: u32,
        half: Half,
        left: Option<u64>,
    ) -> Rc<Stream> {
        let window = Window::new(self.initial_window.get());
        let stream = Rc::new(Stream::new(id, window, half, left));
        self.streams.borrow_mut().push(Rc::clone(&stream));
        stream
    }

    /// Refuses a stream that never began, or gives one up that did.
    pub(in crate::server::http2) fn reset(&self, id: u32, code: Code) {
        self.out.borrow_mut().add_reset(id, code);
        self.wake_server();
        self.close(id, End::GivenUp);
    }

    /// A stream is over.
    pub(in crate::server::http2) fn close(&self, id: u32, end: End) {
        self.past.borrow_mut().note(id, end);
        let Ok(at) = self.position(id) else {
            return;
        };
        let stream = self.streams.borrow_mut().remove(at);
        self.waiting.borrow_mut().forget(&stream);
        let unread = stream.received.borrow_mut().drop_all();
        self.give_credit(None, unread);
        stream.give_up();
    }

    /// The answer of a stream has come to its end. A client that still sends is asked to stop.
    pub(in crate::server::http2) fn answered(&self, stream: &Stream) {
        if stream.is_gone() {
            return;
        }
        if stream.received.borrow().is_ended {
            self.close(stream.id, End::Closed);
        } else {
            self.reset(stream.id, Code::NoError);
        }
    }

    /// Gives everything up.
    pub(in crate::server::http2) fn give_up(&self) {
        let streams = std::mem::take(&mut *self.streams.borrow_mut());
        for stream in streams {
            stream.give_up();
        }
    }

    /// So many bytes have come.
    pub(in crate::server::http2) fn come(&self, bytes: u32) -> Result<(), ConnectionError> {
        let mut credit = self.credit.get();
        let come = credit.come(bytes);
        self.credit.set(credit);
        come.map_err(|_overflow| ConnectionError::flow_control("more came than its window takes"))
    }

    /// So many bytes were read, of a stream that goes on or of another one: the client may send as many more.
    pub(in crate::server::http2) fn give_credit(&self, stream: Option<&Stream>, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let mut credit = self.credit.get();
        let of_all = credit.read(bytes);
        self.credit.set(credit);
        let of_stream = stream.and_then(|stream| {
            let mut received = stream.received.borrow_mut();
            let given = received.credit.read(bytes);
            given
                .filter(|_| !received.is_ended)
                .map(|by| (stream.id, by))
        });
        let given = of_all.map(|by| (0, by)).into_iter().chain(of_stream);
        for (id, by) in given {
            self.out.borrow_mut().add_window(id, by);
            self.wake_server();
        }
    }

    /// Somebody wants the body of a request. A client that waits for that is told to go ahead.
    pub(in crate::server::http2) fn want(&self, stream: &Stream) {
        if stream.awaits_go_ahead.take() {
            self.out.borrow_mut().add_block(stream.id, false, |block| {
                self.encoder.borrow_mut().begin(block);
                write_status(block, StatusCode::CONTINUE);
            });
            self.wake_server();
        }
    }

    /// Nobody reads the rest of a body.
    pub(in crate::server::http2) fn let_go(&self, stream: &Stream) {
        let unread = {
            let mut received = stream.received.borrow_mut();
            received.reader = Reader::Nobody;
            received.trailers = None;
            received.drop_all()
        };
        self.give_credit(None, unread);
        // Its answer may have come to its end already.
        if !self.at_work.get() {
            stream.wake();
        }
    }

    /// The client opens the window of all.
    pub(in crate::server::http2) fn open_window(&self, by: u32) -> Result<(), ConnectionError> {
        let moved = self.window.get().moved(by.into());
        let overflow = |_| ConnectionError::window_too_large();
        self.window.set(moved.map_err(overflow)?);
        Ok(())
    }

    /// The client sets with what windows streams begin; those under way move along
    /// (RFC 9113 §6.9.2).
    pub(in crate::server::http2) fn set_initial_window(
        &self,
        bytes: u32,
    ) -> Result<(), ConnectionError> {
        let by = i64::from(bytes) - i64::from(self.initial_window.replace(bytes));
        for stream in self.streams.borrow().iter() {
            let moved = stream.window.get().moved(by);
            let overflow = |_| ConnectionError::window_too_large();
            stream.window.set(moved.map_err(overflow)?);
            if by > 0 {
                stream.wake();
            }
        }
        Ok(())
    }

    /// Waits for room for a part of an answer.
    pub(in crate::server::http2) fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        if self.out.borrow().has_room() {
            return Poll::Ready(());
        }
        join(&mut self.waiting.borrow_mut().for_room, context);
        Poll::Pending
    }

    /// Waits until some of this data can be sent. Gives how much.
    pub(in crate::server::http2) fn poll_window(
        &self,
        stream: &Stream,
        bytes: usize,
        context: &Context<'_>,
    ) -> Poll<usize> {
        // Who can send nothing for itself stands in nobody's way.
        let bytes = stream.window.get().admits(piece(bytes));
        if bytes == 0 {
            return Poll::Pending;
        }
        let bytes = self.window.get().admits(bytes);
        if bytes == 0 {
            join(&mut self.waiting.borrow_mut().for_window, context);
            return Poll::Pending;
        }
        self.poll_room(context).map(|()| bytes)
    }

    /// Sends data that may be sent.
    pub(in crate::server::http2) fn send(&self, stream: &Stream, data: Bytes, ends: bool) {
        self.window.set(self.window.get().taken(data.len()));
        stream.window.set(stream.window.get().taken(data.len()));
        self.pieces.set(self.pieces.get().saturating_add(1));
        self.out.borrow_mut().add_data(stream.id, data, ends);
    }

    /// Lets another answer go first, if one waits. Gives whether one does.
    pub(in crate::server::http2) fn give_way(&self, context: &Context<'_>) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let waits = !waiting.for_room.is_empty() || !waiting.for_window.is_empty();
        if waits {
            join(&mut waiting.for_room, context);
        }
        waits
    }

    /// Wakes as many as can go on. Gives whether there was one.
    pub(in crate::server::http2) fn wake_waiting(&self) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let mut woken = false;
        let mut places = if self.out.borrow().has_room() {
            WOKEN_EACH_TURN
        } else {
            0
        };
        // First those who waited for the client: nobody joins them while its window is open, so the
        // others have their turn.
        let mut admitted = places.min(self.window.get().admits(WOKEN_EACH_TURN));
        while admitted > 0
            && let Some(waker) = waiting.for_window.pop_front()
        {
            waker.wake();
            (admitted, places) = (admitted - 1, places - 1);
            woken = true;
        }
        while places > 0
            && let Some(waker) = waiting.for_room.pop_front()
        {
            waker.wake();
            places -= 1;
            woken = true;
        }
        woken
    }

    /// How many pieces were sent since this was asked last.
    pub(in crate::server::http2) fn take_pieces(&self) -> u32 {
        self.pieces.take()
    }

    /// Gives up every answer of which nothing has been taken for this long.
    pub(in crate::server::http2) fn give_up_untaken(&self, longest: Duration) {
        let is_stuck = |stream: &Rc<Stream>| {
            let since = stream.untaken_since.get();
            since.is_some_and(|since: Instant| since.elapsed() >= longest)
        };
        let streams = self.streams.borrow();
        let stuck: Vec<_> = streams
            .iter()
            .filter(|stream| is_stuck(stream))
            .cloned()
            .collect();
        drop(streams);
        for stream in stuck {
            self.reset(stream.id, Code::Internal);
        }
    }
}

/// Stands in a queue, once.
fn join(queue: &mut VecDeque<Waker>, context: &Context<'_>) {
    let waker = context.waker();
    if !queue.iter().any(|other| other.will_wake(waker)) {
        queue.push_back(waker.clone());
    }
}

//! What the parts of one connection know of each other: how many requests are under way, and what
//! is asked of it from outside. Shared between the socket, the requests that came over it, and the
//! register of all connections. All of them are on one thread.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use slab::Slab;
use tokio::time::Instant;

/// The state of one connection.
#[derive(Debug)]
pub(in crate::server) struct State {
    in_flight: Cell<usize>,
    multiplexed: Cell<bool>,
    tunnelled: Cell<bool>,
    draining: Cell<bool>,
    retired: Cell<bool>,
    /// When the last request was over.
    idle_since: Cell<Instant>,
    /// Whether somebody has asked for its end and was not heard yet.
    end_asked: Cell<bool>,
    /// Who is to hear of it.
    asked: RefCell<Waker>,
}

impl State {
    pub(in crate::server) fn new() -> Rc<Self> {
        Rc::new(Self {
            in_flight: Cell::new(0),
            multiplexed: Cell::new(false),
            tunnelled: Cell::new(false),
            draining: Cell::new(false),
            retired: Cell::new(false),
            idle_since: Cell::new(Instant::now()),
            end_asked: Cell::new(false),
            asked: RefCell::new(Waker::noop().clone()),
        })
    }

    /// Notes the begin of a request; it is over when the guard is dropped.
    pub(in crate::server) fn begin_request(self: &Rc<Self>) -> RequestGuard {
        self.in_flight.set(self.in_flight.get() + 1);
        RequestGuard(Rc::clone(self))
    }

    pub(in crate::server) fn is_busy(&self) -> bool {
        self.in_flight.get() > 0 || self.tunnelled.get()
    }

    /// Notes that the last request was over at this moment.
    pub(in crate::server) fn fell_idle(&self, now: Instant) {
        self.idle_since.set(now);
    }

    /// Many requests share it: a byte that arrives is not the begin of a request head.
    pub(in crate::server) fn is_multiplexed(&self) -> bool {
        self.multiplexed.get()
    }

    pub(in crate::server) fn set_multiplexed(&self) {
        self.multiplexed.set(true);
    }

    /// It became a tunnel, which has no requests and no idle time of its own.
    pub(in crate::server) fn set_tunnelled(&self) {
        self.tunnelled.set(true);
    }

    /// Asks the connection to end when what is under way is over.
    pub(in crate::server) fn retire(&self) {
        if !self.retired.replace(true) {
            self.end_asked.set(true);
            self.asked.borrow().wake_by_ref();
        }
    }

    /// Whether somebody has asked for the end.
    pub(in crate::server) fn is_retired(&self) -> bool {
        self.retired.get()
    }

    /// Asks the connection to end because the process does: who is just sending a request gets it
    /// answered first.
    pub(in crate::server) fn drain(&self) {
        self.draining.set(true);
        self.retire();
    }

    /// Whether the process is about to end.
    pub(in crate::server) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Has the end heard once more, by somebody who speaks HTTP.
    pub(in crate::server) fn ask_again(&self) {
        if self.is_retired() {
            self.end_asked.set(true);
        }
    }

    /// Waits until somebody asks for the end.
    pub(in crate::server) async fn retired(&self) {
        poll_fn(|context| {
            self.asked.borrow_mut().clone_from(context.waker());
            if self.is_retired() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Ready when somebody has asked for the end; once each time.
    pub(in crate::server) fn poll_end_asked(&self, context: &Context<'_>) -> Poll<()> {
        self.asked.borrow_mut().clone_from(context.waker());
        if self.end_asked.replace(false) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// One request under way.
#[derive(Debug)]
pub(in crate::server) struct RequestGuard(Rc<State>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

/// The connections of one worker.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct Register(Rc<RefCell<Slab<Rc<State>>>>);

impl Register {
    /// Adds a connection, until the guard is dropped.
    pub(in crate::server) fn add(&self, state: Rc<State>) -> Registration {
        Registration {
            register: self.clone(),
            index: self.0.borrow_mut().insert(state),
        }
    }

    /// Asks every connection to end because the process does.
    pub(in crate::server) fn drain_all(&self) {
        for (_, state) in self.0.borrow().iter() {
            state.drain();
        }
    }

    /// Asks the connection that has been idle for longest to end, if one is idle that was not asked
    /// before: one that does not react is cut in a while and frees nothing until then.
    pub(in crate::server) fn retire_most_idle(&self) {
        let registered = self.0.borrow();
        let states = registered.iter().map(|(_, state)| state);
        let idle = states.filter(|state| !state.is_busy() && !state.is_retired());
        if let Some(state) = idle.min_by_key(|state| state.idle_since.get()) {
            state.retire();
        }
    }
}

/// The place of one connection in the register.
#[derive(Debug)]
pub(in crate::server) struct Registration {
    register: Register,
    index: usize,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.register.0.borrow_mut().try_remove(self.index);
    }
}

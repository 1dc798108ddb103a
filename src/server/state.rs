//! What the parts of one connection know of each other: how many requests are under way, and what
//! is asked of it from outside. Shared between the socket, the requests that came over it, and the
//! register of all connections.
//!
//! Atomics, though one thread sees them: hyper wants a socket that can become a tunnel to be `Send`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

/// The state of one connection.
#[derive(Debug)]
pub(in crate::server) struct State {
    opened: Instant,
    in_flight: AtomicUsize,
    multiplexed: AtomicBool,
    tunnelled: AtomicBool,
    draining: AtomicBool,
    retired: AtomicBool,
    /// Microseconds after `opened` at which the last request was over.
    idle_since: AtomicU64,
    /// Whether somebody has asked for its end and was not heard yet.
    end_asked: AtomicBool,
    asked: AtomicWaker,
}

impl State {
    pub(in crate::server) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            in_flight: AtomicUsize::new(0),
            multiplexed: AtomicBool::new(false),
            tunnelled: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
            end_asked: AtomicBool::new(false),
            asked: AtomicWaker::new(),
        })
    }

    /// Notes the begin of a request; it is over when the guard is dropped.
    pub(in crate::server) fn begin_request(self: &Arc<Self>) -> RequestGuard {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        RequestGuard(Arc::clone(self))
    }

    pub(in crate::server) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0 || self.tunnelled.load(Ordering::Relaxed)
    }

    /// Notes that the last request was over at this moment.
    pub(in crate::server) fn fell_idle(&self, now: Instant) {
        let since_open = now.saturating_duration_since(self.opened).as_micros();
        let since_open = u64::try_from(since_open).unwrap_or(u64::MAX);
        self.idle_since.store(since_open, Ordering::Relaxed);
    }

    fn idle_from(&self) -> Instant {
        self.opened + Duration::from_micros(self.idle_since.load(Ordering::Relaxed))
    }

    /// Many requests share it: a byte that arrives is not the begin of a request head.
    pub(in crate::server) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Relaxed)
    }

    pub(in crate::server) fn set_multiplexed(&self) {
        self.multiplexed.store(true, Ordering::Relaxed);
    }

    /// It became a tunnel, which has no requests and no idle time of its own.
    pub(in crate::server) fn set_tunnelled(&self) {
        self.tunnelled.store(true, Ordering::Relaxed);
    }

    /// Asks the connection to end when what is under way is over.
    pub(in crate::server) fn retire(&self) {
        if !self.retired.swap(true, Ordering::Relaxed) {
            self.end_asked.store(true, Ordering::Relaxed);
            self.asked.wake();
        }
    }

    /// Whether somebody has asked for the end.
    pub(in crate::server) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Asks the connection to end because the process does: who is just sending a request gets it
    /// answered first.
    pub(in crate::server) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.retire();
    }

    /// Whether the process is about to end.
    pub(in crate::server) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Has the end heard once more, by somebody who speaks HTTP.
    pub(in crate::server) fn ask_again(&self) {
        if self.is_retired() {
            self.end_asked.store(true, Ordering::Relaxed);
        }
    }

    /// Waits until somebody asks for the end.
    pub(in crate::server) async fn retired(&self) {
        poll_fn(|context| {
            self.asked.register(context.waker());
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
        self.asked.register(context.waker());
        if self.end_asked.swap(false, Ordering::Relaxed) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// One request under way.
#[derive(Debug)]
pub(in crate::server) struct RequestGuard(Arc<State>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connections of one worker.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct Register(Rc<RefCell<Registered>>);

#[derive(Debug, Default)]
struct Registered {
    next: u64,
    states: HashMap<u64, Arc<State>>,
}

impl Register {
    /// Adds a connection, until the guard is dropped.
    pub(in crate::server) fn add(&self, state: Arc<State>) -> Registration {
        let mut registered = self.0.borrow_mut();
        let id = registered.next;
        registered.next += 1;
        registered.states.insert(id, state);
        Registration {
            register: self.clone(),
            id,
        }
    }

    /// Asks every connection to end because the process does.
    pub(in crate::server) fn drain_all(&self) {
        for state in self.0.borrow().states.values() {
            state.drain();
        }
    }

    /// Asks the connection that has been idle for longest to end, if one is idle that was not asked
    /// before: one that does not react is cut in a while and frees nothing until then.
    pub(in crate::server) fn retire_most_idle(&self) {
        let registered = self.0.borrow();
        let idle = registered
            .states
            .values()
            .filter(|state| !state.is_busy() && !state.is_retired());
        if let Some(state) = idle.min_by_key(|state| state.idle_from()) {
            state.retire();
        }
    }
}

/// The place of one connection in the register.
#[derive(Debug)]
pub(in crate::server) struct Registration {
    register: Register,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.register.0.borrow_mut().states.remove(&self.id);
    }
}

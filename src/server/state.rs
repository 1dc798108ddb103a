//! What the parts of one connection know of each other: how many requests are under way, and
//! whether it should come to an end. Shared between the socket and the requests that came over it.
//!
//! Atomics, though one thread sees them: hyper wants a socket that can become a tunnel to be `Send`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;
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
    /// Milliseconds after `opened` at which the last request was over.
    idle_since: AtomicU64,
    retire: Notify,
    turned_multiplexed: Notify,
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
            retire: Notify::new(),
            turned_multiplexed: Notify::new(),
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

    /// Many requests share it: a byte that arrives is not the begin of a request head.
    pub(in crate::server) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Relaxed)
    }

    pub(in crate::server) fn set_multiplexed(&self) {
        if !self.multiplexed.swap(true, Ordering::Relaxed) {
            self.turned_multiplexed.notify_one();
        }
    }

    /// Waits until it is known that many requests share it.
    pub(in crate::server) async fn turned_multiplexed(&self) {
        self.turned_multiplexed.notified().await;
    }

    /// It became a tunnel, which has no requests and no idle time of its own.
    pub(in crate::server) fn set_tunnelled(&self) {
        self.tunnelled.store(true, Ordering::Relaxed);
    }

    /// Asks the connection to end when what is under way is over.
    pub(in crate::server) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.retire.notify_one();
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

    /// Waits until somebody asks for the end.
    pub(in crate::server) async fn retired(&self) {
        self.retire.notified().await;
    }
}

/// One request under way.
#[derive(Debug)]
pub(in crate::server) struct RequestGuard(Arc<State>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let since_open = self.0.opened.elapsed().as_millis();
        self.0.idle_since.store(
            u64::try_from(since_open).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
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
        let idle_from = |state: &&Arc<State>| {
            let since_open = state.idle_since.load(Ordering::Relaxed);
            state.opened + std::time::Duration::from_millis(since_open)
        };
        if let Some(state) = idle.min_by_key(idle_from) {
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

//! The HTTP/1.1 connections of one worker to one app server. They stay on the thread that made them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use crate::codec::SpareHeads;
use crate::splice::Pipes;
use crate::upstream::connect::connect;
use crate::upstream::http1::{Broken, Reading, Wire};
use crate::upstream::shared::{ASK_AGAIN, Pending, Shared};
use crate::upstream::{Error, Protocol};

/// While other workers wait, every so many-th returned connection is given up for them.
const GIVE_UP_EVERY: usize = 4;

/// One connection, while somebody has it. In a box: it is handed from one to the next with every
/// request.
#[derive(Debug)]
pub(in crate::upstream) struct Connection {
    pub(in crate::upstream) wire: Wire,
    /// The answer that comes over it.
    pub(in crate::upstream) answer: Reading,
    /// Whether it has carried a request before.
    pub(in crate::upstream) reused: bool,
    /// How long it may be kept.
    pub(in crate::upstream) keep: Duration,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// The next piece of the answer's body; `None` at its end.
    pub(in crate::upstream) fn poll_answer(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.answer.poll(&mut self.wire, context)
    }
}

#[derive(Debug)]
struct Idle {
    connection: Box<Connection>,
    until: Instant,
}

/// The connections of one worker to one app server.
#[derive(Debug)]
pub(in crate::upstream) struct Pool {
    shared: Arc<Shared>,
    idle: RefCell<VecDeque<Idle>>,
    waiters: RefCell<VecDeque<oneshot::Sender<Box<Connection>>>>,
    /// Requests that wait for a connection here.
    waiting: Cell<usize>,
    /// Connections that have come back.
    returned: Cell<usize>,
    heads: SpareHeads,
    pipes: Pipes,
    /// Whether the task that closes kept connections is running.
    reaping: Cell<bool>,
}

impl Pool {
    /// An empty pool. Must be made on the thread that uses it, inside a local task set.
    pub(in crate::upstream) fn new(shared: Arc<Shared>, pipes: Pipes) -> Rc<Self> {
        let pool = Rc::new(Self {
            shared,
            idle: RefCell::default(),
            waiters: RefCell::default(),
            waiting: Cell::default(),
            returned: Cell::default(),
            heads: SpareHeads::default(),
            pipes,
            reaping: Cell::default(),
        });
        tokio::task::spawn_local(give_way(Rc::downgrade(&pool)));
        pool
    }

    pub(in crate::upstream) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Memory for the heads of requests.
    pub(in crate::upstream) fn heads(&self) -> &SpareHeads {
        &self.heads
    }

    /// Pipes for the bodies of requests.
    pub(in crate::upstream) fn pipes(&self) -> &Pipes {
        &self.pipes
    }

    /// A kept connection, or a new one.
    pub(in crate::upstream) async fn take(&self, now: Instant) -> Result<Box<Connection>, Error> {
        if let Some(kept) = self.take_idle(now) {
            return Ok(kept);
        }
        // On the heap, as everything that is seldom: it would make the future of every request larger,
        // which is moved about.
        Box::pin(self.take_new_or_returned()).await
    }

    /// A new connection: nothing that an app server may have closed already.
    pub(in crate::upstream) async fn take_new(&self) -> Result<Box<Connection>, Error> {
        let place = match self.shared.place() {
            Some(place) => place,
            None => self.wait_for_place().await?,
        };
        self.open(place).await
    }

    async fn wait_for_place(&self) -> Result<OwnedSemaphorePermit, Error> {
        let pending = Pending::enter(&self.shared, &self.waiting)?;
        let (_nobody, returned) = oneshot::channel();
        match self.wait(returned, pending).await? {
            Granted::Place(place) => Ok(place),
            Granted::Returned(_never) => Err(Error::Overloaded),
        }
    }

    /// The connection that was used last: the likeliest to be open still.
    fn take_idle(&self, now: Instant) -> Option<Box<Connection>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(mut last) = idle.pop_back() {
            if last.until > now && last.connection.wire.is_quiet() {
                return Some(last.connection);
            }
        }
        None
    }

    async fn take_new_or_returned(&self) -> Result<Box<Connection>, Error> {
        if let Some(place) = self.shared.place() {
            return self.open(place).await;
        }
        let pending = Pending::enter(&self.shared, &self.waiting)?;
        let (sender, returned) = oneshot::channel();
        self.queue(sender);
        match self.wait(returned, pending).await? {
            Granted::Place(place) => self.open(place).await,
            Granted::Returned(connection) => Ok(connection),
        }
    }

    /// Puts a waiter at the end. Who gave up has left an entry behind; those go now, so that there
    /// are never more than may wait at a time.
    fn queue(&self, waiter: oneshot::Sender<Box<Connection>>) {
        let mut waiters = self.waiters.borrow_mut();
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push_back(waiter);
    }

    async fn open(&self, place: OwnedSemaphorePermit) -> Result<Box<Connection>, Error> {
        let socket = connect(self.shared.settings(), Protocol::Http1).await?;
        Ok(Box::new(Connection {
            wire: Wire::new(socket),
            answer: Reading::nothing(),
            reused: false,
            keep: self.shared.settings().idle_timeout,
            _place: place,
        }))
    }

    /// Waits for a place for a connection, or until one is returned. No longer than connecting may
    /// take, and only so many at a time.
    async fn wait(
        &self,
        mut returned: oneshot::Receiver<Box<Connection>>,
        _pending: Pending<'_>,
    ) -> Result<Granted, Error> {
        let mut place = std::pin::pin!(self.shared.next_place());
        let mut too_long =
            std::pin::pin!(tokio::time::sleep(self.shared.settings().connect_timeout));
        let mut returns = true;
        loop {
            self.shared.ask_for_place();
            tokio::select! {
                biased;
                connection = &mut returned, if returns => match connection {
                    Ok(connection) => return Ok(Granted::Returned(connection)),
                    Err(_nobody_will) => returns = false,
                },
                place = &mut place => return place.map(Granted::Place),
                () = &mut too_long => return Err(Error::Overloaded),
                () = tokio::time::sleep(ASK_AGAIN) => {}
            }
        }
    }

    /// Takes a connection back that has carried a request and its whole answer.
    pub(in crate::upstream) fn put_back(self: &Rc<Self>, mut connection: Box<Connection>) {
        // Nothing may have come that nobody asked for: it would be taken for the next answer. One that
        // is kept is looked at when it is taken.
        let is_wanted = !self.waiters.borrow().is_empty();
        if !connection.wire.buffer().is_empty() || (is_wanted && !connection.wire.is_quiet()) {
            return;
        }
        connection.wire.rest();
        connection.reused = true;
        if self.is_turn_of_others() {
            // Its place goes to whoever has waited longest, on any worker.
            return;
        }
        loop {
            let Some(waiter) = self.waiters.borrow_mut().pop_front() else {
                break;
            };
            match waiter.send(connection) {
                Ok(()) => return,
                Err(back) => connection = back,
            }
        }
        let mut idle = self.idle.borrow_mut();
        if self.shared.pending() > 0 || idle.len() >= self.shared.max_idle_each() {
            return;
        }
        if !self.reaping.replace(true) {
            tokio::task::spawn_local(reap(Rc::downgrade(self)));
        }
        let until = Instant::now() + connection.keep;
        idle.push_back(Idle { connection, until });
    }

    /// Whether a returned connection should be given up for another worker. Handing all of them to
    /// the waiters of this one would leave the others none for as long as the rush lasts.
    fn is_turn_of_others(&self) -> bool {
        let waiting = self.shared.pending();
        let returned = self.returned.get().wrapping_add(1);
        self.returned.set(returned);
        waiting > self.waiting.get() && returned.is_multiple_of(GIVE_UP_EVERY)
    }

    /// Drops what has been kept long enough. Gives how long the first of the others may stay.
    fn drop_stale(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut idle = self.idle.borrow_mut();
        idle.retain_mut(|kept| kept.until > now && kept.connection.wire.is_quiet());
        idle.iter().map(|kept| kept.until).min()
    }
}

/// What a request got that waited.
enum Granted {
    Place(OwnedSemaphorePermit),
    Returned(Box<Connection>),
}

/// Closes kept connections when their time is over, until none is left.
async fn reap(pool: Weak<Pool>) {
    // The task is started just before the first connection is kept.
    tokio::task::yield_now().await;
    loop {
        let Some(here) = pool.upgrade() else { return };
        let Some(next) = here.drop_stale() else {
            here.reaping.set(false);
            return;
        };
        drop(here);
        tokio::time::sleep_until(next).await;
    }
}

/// Gives up a kept connection whenever another worker lacks a place.
async fn give_way(pool: Weak<Pool>) {
    loop {
        let Some(shared) = pool.upgrade().map(|pool| Arc::clone(&pool.shared)) else {
            return;
        };
        shared.asked_for_place().await;
        if let Some(pool) = pool.upgrade() {
            pool.idle.borrow_mut().pop_front();
        }
    }
}

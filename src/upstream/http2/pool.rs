//! The HTTP/2 connections of one worker to one app server, and who may send a request on which.
//! They stay on the thread that made them.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::upstream::http2::connection::{self, Connection, Link, MAX_STREAMS};
use crate::upstream::shared::{ASK_AGAIN, Pending, Shared};
use crate::upstream::{Error, Settings};

/// The connections of one worker to one app server.
#[derive(Debug)]
pub(in crate::upstream) struct Pool {
    shared: Arc<Shared>,
    /// The place for the one connection that this worker may always have.
    own: Arc<Semaphore>,
    /// Those that take requests, in the order in which they were made.
    connections: RefCell<Vec<Rc<Connection>>>,
    /// Connections made so far.
    made: Cell<u64>,
    /// Whether one is being made. One at a time: it has room for many of those who wait.
    opening: Cell<bool>,
    /// Requests that wait here.
    waiting: Cell<usize>,
    /// Told when there may be room again.
    changed: Notify,
    /// Whether the task that closes unused connections is running.
    reaping: Cell<bool>,
}

/// The place of one request on a connection, until its answer is over.
#[derive(Debug)]
pub(in crate::upstream::http2) struct Place {
    pool: Rc<Pool>,
    pub(in crate::upstream::http2) connection: Rc<Connection>,
    /// Whether the connection has carried a request before.
    pub(in crate::upstream::http2) reused: bool,
}

impl Pool {
    /// An empty pool. Must be made on the thread that uses it, inside a local task set.
    pub(in crate::upstream) fn new(shared: Arc<Shared>) -> Rc<Self> {
        let pool = Rc::new(Self {
            shared,
            own: Arc::new(Semaphore::new(1)),
            connections: RefCell::default(),
            made: Cell::default(),
            opening: Cell::default(),
            waiting: Cell::default(),
            changed: Notify::new(),
            reaping: Cell::default(),
        });
        tokio::task::spawn_local(give_way(Rc::downgrade(&pool)));
        pool
    }

    pub(in crate::upstream::http2) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The number of the latest connection.
    pub(in crate::upstream::http2) fn latest(&self) -> u64 {
        self.made.get()
    }

    /// A place on a connection, which is made if none has room. It has a greater number than
    /// `newer_than`: whoever has met one that was closed unseen has no use for others as old.
    pub(in crate::upstream::http2) async fn take(
        self: &Rc<Self>,
        newer_than: u64,
    ) -> Result<Place, Error> {
        loop {
            if let Some(place) = self.room(newer_than) {
                return Ok(place);
            }
            match self.permit() {
                Some(permit) => self.open(permit).await?,
                None => return self.wait(newer_than).await,
            }
        }
    }

    /// Waits for a place. No longer than connecting may take, and only so many at a time.
    async fn wait(self: &Rc<Self>, newer_than: u64) -> Result<Place, Error> {
        let _pending = self.queue()?;
        let mut too_long =
            std::pin::pin!(tokio::time::sleep(self.shared.settings().connect_timeout));
        loop {
            // Begins before the look: what changes after it is not missed.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(place) = self.room(newer_than) {
                return Ok(place);
            }
            if let Some(permit) = self.permit() {
                self.open(permit).await?;
                continue;
            }
            self.shared.ask_for_place();
            let permit = tokio::select! {
                biased;
                () = &mut changed => continue,
                permit = self.shared.next_place(), if !self.opening.get() => permit?,
                () = &mut too_long => return Err(self.late()),
                () = tokio::time::sleep(ASK_AGAIN) => continue,
            };
            if !self.opening.get() {
                self.open(permit).await?;
            }
        }
    }

    /// Those who find room on a connection that is being made do not count as waiting: it is what
    /// they would have made themselves.
    fn queue(&self) -> Result<Pending<'_>, Error> {
        if self.opening.get() && self.waiting.get() < MAX_STREAMS {
            return Ok(Pending::expect(&self.waiting));
        }
        Pending::enter(&self.shared, &self.waiting)
    }

    /// Why it took too long.
    fn late(&self) -> Error {
        if self.opening.get() {
            Error::ConnectTimeout
        } else {
            Error::Overloaded
        }
    }

    /// A place on the first connection that has one, so that the last are the first to be unused.
    fn room(self: &Rc<Self>, newer_than: u64) -> Option<Place> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| connection.is_open());
        let fits =
            |connection: &&Rc<Connection>| connection.number > newer_than && connection.has_room();
        let connection = Rc::clone(connections.iter().find(fits)?);
        Some(Place {
            pool: Rc::clone(self),
            reused: connection.enter(),
            connection,
        })
    }

    /// A permit for a connection, if there may be another one and none is being made.
    fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if self.opening.get() {
            return None;
        }
        let own = Arc::clone(&self.own).try_acquire_owned();
        own.ok().or_else(|| self.shared.place())
    }

    async fn open(self: &Rc<Self>, permit: OwnedSemaphorePermit) -> Result<(), Error> {
        let _opening = Opening::begin(self);
        let settings = self.shared.settings();
        let (sender, driver) = connection::open(settings).await?;
        self.made.set(self.made.get() + 1);
        let is_shared = !Arc::ptr_eq(permit.semaphore(), &self.own);
        let link = Rc::<Link>::default();
        let (pool, patience) = (Rc::downgrade(self), settings.connect_timeout);
        let driving = connection::drive(driver, Rc::clone(&link), patience);
        tokio::task::spawn_local(async move {
            driving.await;
            drop(permit);
            if let Some(pool) = pool.upgrade() {
                pool.forget_closed();
            }
        });
        let until = Instant::now() + settings.idle_timeout;
        let connection = Connection::new(sender, link, (self.made.get(), is_shared), until);
        self.connections.borrow_mut().push(Rc::new(connection));
        self.reap();
        Ok(())
    }

    fn forget_closed(&self) {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| connection.is_open());
        self.changed.notify_waiters();
    }

    /// Decides what becomes of a connection whose last request is over.
    fn rest(self: &Rc<Self>, idle: &Rc<Connection>) {
        idle.until
            .set(Instant::now() + self.shared.settings().idle_timeout);
        let mut connections = self.connections.borrow_mut();
        let others_wait = self.shared.pending() > self.waiting.get();
        let kept = connections.iter().filter(|connection| connection.is_idle());
        let too_many = kept.count() > self.shared.max_idle_each();
        if too_many || (others_wait && idle.is_shared) {
            connections.retain(|connection| !Rc::ptr_eq(connection, idle));
        } else {
            drop(connections);
            self.reap();
        }
    }

    /// Sees to it that unused connections are closed when their time is over.
    fn reap(self: &Rc<Self>) {
        if !self.reaping.replace(true) {
            tokio::task::spawn_local(reap(Rc::downgrade(self)));
        }
    }

    /// Drops what has been unused for long enough. Gives how long the first of the others may stay.
    fn drop_stale(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| !connection.is_idle() || connection.until.get() > now);
        let idle = connections.iter().filter(|connection| connection.is_idle());
        idle.map(|connection| connection.until.get()).min()
    }

    /// Gives up an unused connection whose place another worker could have.
    fn give_up_one(&self) {
        let mut connections = self.connections.borrow_mut();
        let unused = |connection: &Rc<Connection>| connection.is_shared && connection.is_idle();
        if let Some(at) = connections.iter().position(unused) {
            connections.remove(at);
        }
    }
}

impl Place {
    pub(in crate::upstream::http2) fn settings(&self) -> &Settings {
        self.pool.shared.settings()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connection.leave();
        if self.connection.is_idle() {
            self.pool.rest(&self.connection);
        }
        if self.pool.waiting.get() > 0 {
            self.pool.changed.notify_one();
        }
    }
}

/// A connection being made. Whoever makes it may leave; then somebody else goes on.
struct Opening<'a>(&'a Pool);

impl<'a> Opening<'a> {
    fn begin(pool: &'a Pool) -> Self {
        pool.opening.set(true);
        Self(pool)
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.opening.set(false);
        self.0.changed.notify_waiters();
    }
}

/// Closes unused connections when their time is over, until none is left.
async fn reap(pool: Weak<Pool>) {
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

/// Gives up an unused connection whenever another worker lacks a place.
async fn give_way(pool: Weak<Pool>) {
    loop {
        let Some(shared) = pool.upgrade().map(|pool| Arc::clone(&pool.shared)) else {
            return;
        };
        shared.asked_for_place().await;
        if let Some(pool) = pool.upgrade() {
            pool.give_up_one();
        }
    }
}

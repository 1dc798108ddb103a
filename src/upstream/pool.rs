//! The connections of one worker to one app server. They stay on the thread that made them; what
//! the workers share is only how many there may be.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use crate::upstream::connect::connect;
use crate::upstream::http1::Wire;
use crate::upstream::{Error, Settings};

/// How often a request that waits for a connection asks the other workers for an idle one's place.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// While other workers wait, every so many-th returned connection is given up for them.
const GIVE_UP_EVERY: usize = 4;

/// What the workers share of one app server.
#[derive(Debug)]
pub struct Shared {
    settings: Settings,
    connections: Arc<Semaphore>,
    tunnels: Arc<Semaphore>,
    pending: AtomicUsize,
    pressure: Notify,
    /// Connections that one worker may keep.
    max_idle_each: usize,
}

impl Shared {
    /// For this many workers.
    pub fn new(settings: Settings, workers: usize) -> Arc<Self> {
        let permits = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self {
            connections: permits(settings.max_connections),
            tunnels: permits(settings.max_tunnels),
            pending: AtomicUsize::new(0),
            pressure: Notify::new(),
            max_idle_each: settings.max_idle.div_ceil(workers.max(1)),
            settings,
        })
    }

    pub(in crate::upstream) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A place for a tunnel.
    pub(in crate::upstream) fn tunnel(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.tunnels)
            .try_acquire_owned()
            .map_err(|_none| Error::Overloaded)
    }

    fn somebody_waits(&self) -> bool {
        self.pending.load(Ordering::Relaxed) > 0
    }
}

/// One connection, while somebody has it.
#[derive(Debug)]
pub(in crate::upstream) struct Connection {
    pub(in crate::upstream) wire: Wire,
    /// Whether it has carried a request before.
    pub(in crate::upstream) reused: bool,
    /// How long it may be kept.
    pub(in crate::upstream) keep: Duration,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    until: Instant,
}

/// The connections of one worker to one app server.
#[derive(Debug)]
pub(in crate::upstream) struct Pool {
    shared: Arc<Shared>,
    idle: RefCell<VecDeque<Idle>>,
    waiters: RefCell<VecDeque<oneshot::Sender<Connection>>>,
    /// Requests that wait for a connection here.
    waiting: Cell<usize>,
    /// Connections that have come back.
    returned: Cell<usize>,
    /// Whether the task that closes kept connections is running.
    reaping: Cell<bool>,
}

impl Pool {
    /// An empty pool. Must be made on the thread that uses it, inside a local task set.
    pub(in crate::upstream) fn new(shared: Arc<Shared>) -> Rc<Self> {
        let pool = Rc::new(Self {
            shared,
            idle: RefCell::default(),
            waiters: RefCell::default(),
            waiting: Cell::default(),
            returned: Cell::default(),
            reaping: Cell::default(),
        });
        tokio::task::spawn_local(give_way(Rc::downgrade(&pool)));
        pool
    }

    pub(in crate::upstream) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// A kept connection, or a new one.
    pub(in crate::upstream) async fn take(&self, now: Instant) -> Result<Connection, Error> {
        if let Some(kept) = self.take_idle(now) {
            return Ok(kept);
        }
        self.take_new_or_returned().await
    }

    /// A new connection: nothing that an app server may have closed already.
    pub(in crate::upstream) async fn take_new(&self) -> Result<Connection, Error> {
        let place = match Arc::clone(&self.shared.connections).try_acquire_owned() {
            Ok(place) => place,
            Err(_none) => self.wait_for_place().await?,
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
    fn take_idle(&self, now: Instant) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(mut last) = idle.pop_back() {
            if last.until > now && last.connection.wire.is_quiet() {
                return Some(last.connection);
            }
        }
        None
    }

    async fn take_new_or_returned(&self) -> Result<Connection, Error> {
        if let Ok(place) = Arc::clone(&self.shared.connections).try_acquire_owned() {
            return self.open(place).await;
        }
        let pending = Pending::enter(&self.shared, &self.waiting)?;
        let (sender, returned) = oneshot::channel();
        self.queue(sender);
        match self.wait(returned, pending).await? {
            Granted::Place(place) => self.open(place).await,
            Granted::Returned(connection) => Ok(*connection),
        }
    }

    /// Puts a waiter at the end. Who gave up has left an entry behind; those go now, so that there
    /// are never more than may wait at a time.
    fn queue(&self, waiter: oneshot::Sender<Connection>) {
        let mut waiters = self.waiters.borrow_mut();
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push_back(waiter);
    }

    async fn open(&self, place: OwnedSemaphorePermit) -> Result<Connection, Error> {
        let socket = connect(&self.shared.settings).await?;
        Ok(Connection {
            wire: Wire::new(socket),
            reused: false,
            keep: self.shared.settings.idle_timeout,
            _place: place,
        })
    }

    /// Waits for a place for a connection, or until one is returned. No longer than connecting may
    /// take, and only so many at a time.
    async fn wait(
        &self,
        mut returned: oneshot::Receiver<Connection>,
        _pending: Pending<'_>,
    ) -> Result<Granted, Error> {
        let mut place = std::pin::pin!(Arc::clone(&self.shared.connections).acquire_owned());
        let mut too_long = std::pin::pin!(tokio::time::sleep(self.shared.settings.connect_timeout));
        let mut returns = true;
        loop {
            self.shared.pressure.notify_waiters();
            tokio::select! {
                biased;
                connection = &mut returned, if returns => match connection {
                    Ok(connection) => return Ok(Granted::Returned(Box::new(connection))),
                    Err(_nobody_will) => returns = false,
                },
                place = &mut place => {
                    return place.map(Granted::Place).map_err(|_closed| Error::Overloaded);
                }
                () = &mut too_long => return Err(Error::Overloaded),
                () = tokio::time::sleep(ASK_AGAIN) => {}
            }
        }
    }

    /// Takes a connection back that has carried a request and its whole answer.
    pub(in crate::upstream) fn put_back(self: &Rc<Self>, mut connection: Connection) {
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
        if self.shared.somebody_waits() || idle.len() >= self.shared.max_idle_each {
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
        let waiting = self.shared.pending.load(Ordering::Relaxed);
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
        shared.pressure.notified().await;
        if let Some(pool) = pool.upgrade() {
            pool.idle.borrow_mut().pop_front();
        }
    }
}

/// One request that waits for a connection.
struct Pending<'a> {
    shared: &'a Shared,
    /// How many wait on this worker.
    here: &'a Cell<usize>,
}

impl<'a> Pending<'a> {
    fn enter(shared: &'a Shared, here: &'a Cell<usize>) -> Result<Self, Error> {
        let before = shared.pending.fetch_add(1, Ordering::Relaxed);
        here.set(here.get() + 1);
        let pending = Self { shared, here };
        if before >= shared.settings.max_pending {
            Err(Error::Overloaded)
        } else {
            Ok(pending)
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.shared.pending.fetch_sub(1, Ordering::Relaxed);
        self.here.set(self.here.get() - 1);
    }
}

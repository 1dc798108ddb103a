//! Keeps the gate connected to Redis: connects, listens to what is told, looks every second whether
//! Redis is still there, and connects anew when it is not. One task, on the control thread.

use std::sync::mpsc::SyncSender;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::{PubSub, PubSubSink};
use redis::{AsyncCommands as _, ExistenceCheck, RedisError, SetExpiry, SetOptions};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::crypto::random;
use crate::domain::hex::hex;
use crate::store::redis::link::{self, Link, Meaning, Redis};
use crate::store::redis::{Inner, RedisStore};
use crate::telemetry::event;
use crate::telemetry::metrics::{RedisOperation, RedisResult};

/// How often Redis is looked at. A gate at rest would not notice otherwise that it is away.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The first pause after a failed attempt; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest. Logins wait for it, so it is short; and a Redis that starts has to bear one connection
/// of each gate in that time.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long what was told before Redis went away may take to be read: it lies in this machine already.
const HEAR_OUT: Duration = Duration::from_millis(100);

/// For how long what a probe writes is kept.
const PROBE_KEPT_FOR_SECONDS: u64 = 60;

/// Keeps one gate connected.
pub(super) struct Keeper {
    store: RedisStore,
    connections: u64,
    pause: Duration,
    /// Why there is no connection, as the log was told.
    told: Option<String>,
    streams_closed: bool,
}

impl Keeper {
    pub(super) fn new(store: RedisStore) -> Self {
        Self {
            store,
            connections: 0,
            pause: FIRST_PAUSE,
            told: None,
            streams_closed: false,
        }
    }

    /// Goes on for as long as the runtime does.
    pub(super) async fn run(mut self, attempted: SyncSender<()>) {
        loop {
            let opened = self.open().await;
            let why = match opened {
                Ok((link, heard)) => {
                    self.begin(&link);
                    // There is room for the first time; nobody waits for any other.
                    let _first = attempted.try_send(());
                    self.serve(link, heard).await
                }
                Err(error) => link::told(&error),
            };
            let _first = attempted.try_send(());
            self.tell_away(why);
            let inner = &self.store.0;
            if !self.streams_closed && !inner.copies.is_usable(inner.clock.now()) {
                inner.copies.close_streams();
                self.streams_closed = true;
            }
            sleep(self.next_pause()).await;
        }
    }

    /// Connects, and makes Redis know of every ending before anything is asked of it.
    async fn open(&mut self) -> Result<(Link, PubSub), RedisError> {
        let inner = &self.store.0;
        let (server, timeout) = (&inner.settings.server, inner.settings.timeout);
        let (redis, heard) = link::open(server, &inner.names.endings(), timeout).await?;
        link::in_time(timeout, inner.know_again(redis.clone())).await?;
        link::in_time(timeout, inner.probe(redis.clone())).await?;
        // Nothing, to find out whether an ending could be told.
        let mut teller = redis.clone();
        let tell = teller.publish(inner.names.endings(), "");
        link::in_time::<()>(timeout, tell).await?;
        for ending in inner.unsent.recent(inner.clock.now()) {
            link::in_time(timeout, inner.tell_by(redis.clone(), &ending)).await?;
        }
        for ending in inner.unsent.unconfirmed() {
            link::in_time(timeout, inner.tell_by(redis.clone(), &ending)).await?;
            inner.unsent.confirmed(&ending, inner.clock.now());
        }
        self.connections += 1;
        let number = self.connections;
        Ok((Link { redis, number }, heard))
    }

    /// From now on Redis is asked.
    fn begin(&mut self, link: &Link) {
        let inner = &self.store.0;
        *inner.link.lock() = Some(link.clone());
        inner.copies.came_back();
        tracing::info!(message = event::REDIS_CONNECTED, address = %inner.settings.server.address);
        self.pause = FIRST_PAUSE;
        self.told = None;
        self.streams_closed = false;
        self.store.ask_about_streams(None);
    }

    /// Listens until the connection is gone, and says why it is.
    async fn serve(&self, link: Link, heard: PubSub) -> String {
        let inner = &self.store.0;
        let (sink, mut told) = heard.split();
        let number = link.number;
        let looking = self.look(link, sink);
        tokio::pin!(looking);
        let mut listen = async || {
            while let Some(message) = told.next().await {
                inner.heard(message.get_payload_bytes());
            }
        };
        tokio::select! {
            error = &mut looking => inner.break_off(number, link::told(&error)),
            () = listen() => inner.break_off(number, "the channel of endings was closed".to_owned()),
            () = inner.broken(number) => {}
        }
        // The other connection may have been the first to end, with endings still unread on this one:
        // copies are believed now for as if everything had been heard.
        let _elapsed = timeout(HEAR_OUT, listen()).await;
        std::mem::take(&mut *inner.lost.lock())
    }

    /// Looks at Redis again and again, until something is wrong with it.
    async fn look(&self, link: Link, mut sink: PubSubSink) -> RedisError {
        let inner = &self.store.0;
        let timeout = inner.settings.timeout;
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let looked = async {
                inner.know_again(link.redis.clone()).await?;
                inner.probe(link.redis.clone()).await?;
                sink.ping::<()>().await
            };
            if let Err(error) = link::in_time(timeout, looked).await {
                inner.counts.asked(RedisOperation::Probe, RedisResult::Away);
                return error;
            }
            inner.counts.asked(RedisOperation::Probe, RedisResult::Ok);
            inner.tell_unsent().await;
        }
    }

    /// Tells the log, once for each reason.
    fn tell_away(&mut self, why: String) {
        let inner = &self.store.0;
        inner.copies.went_away(inner.clock.now());
        if self.told.as_ref() != Some(&why) {
            let address = &inner.settings.server.address;
            tracing::error!(message = event::REDIS_AWAY, %address, error = why);
            self.told = Some(why);
        }
    }

    /// Half of it is for sure: gates that lost Redis together do not all come back together.
    fn next_pause(&mut self) -> Duration {
        let [random] = random::bytes::<1>();
        let pause = self.pause / 2 + self.pause * u32::from(random) / 512;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

impl Inner {
    /// Waits until this connection is gone.
    async fn broken(&self, number: u64) {
        let is_gone = || {
            let link = self.link.lock();
            link.as_ref().is_none_or(|link| link.number != number)
        };
        // A notice may be about the one before.
        while !is_gone() {
            self.broke.notified().await;
        }
    }

    /// Notices when Redis is another than before, or has lost what it had. No session is left then that
    /// began before.
    async fn know_again(&self, redis: Redis) -> Result<(), RedisError> {
        let mark = self.marker(redis).await?;
        let known = std::mem::replace(&mut *self.marker.lock(), mark.clone());
        if mark.is_some() && known.is_some() && mark != known {
            self.counts.emptied();
            tracing::error!(message = event::REDIS_EMPTIED);
            self.copies.came_back();
        }
        Ok(())
    }

    /// The mark by which this Redis is known; a new one where there is none. None where none can be made.
    async fn marker(&self, mut redis: Redis) -> Result<Option<Vec<u8>>, RedisError> {
        let key = self.names.marker();
        let known: Option<Vec<u8>> = redis.get(&key).await?;
        if known.is_some() {
            return Ok(known);
        }
        let mark = hex(&random::bytes::<16>());
        let only_first = SetOptions::default().conditional_set(ExistenceCheck::NX);
        let set: Result<Option<String>, _> = redis.set_options(&key, &mark, only_first).await;
        match set {
            // Another gate may have been quicker.
            Ok(_) => redis.get(&key).await,
            Err(error) if link::meaning(&error) == Meaning::NoWrites => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Finds out whether Redis writes. That it does not for want of room is no error: it can be read, and
    /// sessions can be ended.
    async fn probe(&self, mut redis: Redis) -> Result<(), RedisError> {
        let expiry = SetOptions::default().with_expiration(SetExpiry::EX(PROBE_KEPT_FOR_SECONDS));
        let set = redis.set_options(self.names.probe(), 1, expiry).await;
        match set {
            Ok(()) => self.writes(None),
            Err(error) if link::meaning(&error) == Meaning::NoWrites => {
                self.writes(Some(&link::told(&error)));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

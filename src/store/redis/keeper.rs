//! Keeps the gate connected to Redis: connects, listens to what is told, looks every second whether
//! Redis is still there, and connects anew when it is not. One task, on the control thread.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::PubSub;
use redis::{AsyncCommands as _, ExistenceCheck, InfoDict, Msg, RedisError, SetOptions};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::crypto::random;
use crate::domain::hex::hex;
use crate::store::redis::link::{self, Link, Meaning, Redis};
use crate::store::redis::{Inner, RedisStore};
use crate::telemetry::event;
use crate::telemetry::metrics::{RedisOperation, RedisResult};

/// How often Redis is looked at. A gate at rest would not notice otherwise that it is away.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often it is told what it has not confirmed.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// The first pause after a failed attempt; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest. Logins wait for it, so it is short; and a Redis that starts has to bear one connection
/// of each gate in that time.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long what was told before Redis went away may take to be read: it lies in this machine already.
const HEAR_OUT: Duration = Duration::from_millis(100);

/// Keeps one gate connected.
pub(super) struct Keeper {
    store: RedisStore,
    connections: u64,
    /// In vain since the last connection.
    attempts: usize,
    pause: Duration,
    /// Why there is no connection, as the log was told.
    told: Option<String>,
    streams_closed: bool,
    /// Where this gate's messages to itself are told: no other has to hear them.
    own_channel: String,
}

impl Keeper {
    pub(super) fn new(store: RedisStore) -> Self {
        let own_channel = store.0.names.own_channel(&hex(&random::bytes::<16>()));
        Self {
            store,
            connections: 0,
            attempts: 0,
            pause: FIRST_PAUSE,
            told: None,
            streams_closed: false,
            own_channel,
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

    /// Connects, and finds out what this Redis is.
    async fn open(&mut self) -> Result<(Link, PubSub), RedisError> {
        let inner = &self.store.0;
        let (server, timeout) = (&inner.settings.server, inner.settings.timeout);
        let channels = [&*inner.names.endings(), &self.own_channel];
        self.attempts += 1;
        let (redis, heard) = link::open(server, channels, (timeout, self.attempts)).await?;
        // Whether it is the one that it was matters when it is asked, and then everything is asked anew.
        let _another = link::in_time(timeout, inner.know_again(redis.clone())).await?;
        link::in_time(timeout, inner.probe(redis.clone())).await?;
        let looking = inner.look_for_eviction(redis.clone());
        // Who may not ask is not told.
        let _looked = link::in_time(timeout, looking).await;
        // It may be one that has forgotten. Told of them it is by `tell`: that it refuses one must not
        // keep this gate away, which heeds them all meanwhile.
        inner.unsent.doubt_all();
        self.attempts = 0;
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
        inner.ask_streams.notify_one();
    }

    /// Listens until the connection is gone, and says why it is.
    async fn serve(&self, link: Link, heard: PubSub) -> String {
        let inner = &self.store.0;
        let mut told = heard.into_on_message();
        let number = link.number;
        let beats = watch::Sender::new(0);
        let looking = self.look(link, beats.subscribe());
        let mut listen = async || {
            while let Some(message) = told.next().await {
                match self.beat(&message) {
                    Some(beat) => drop(beats.send_replace(beat)),
                    None => inner.heard(message.get_payload_bytes()),
                }
            }
        };
        tokio::select! {
            error = looking => inner.break_off(number, link::told(&error)),
            () = listen() => inner.break_off(number, "the channel of endings was closed".to_owned()),
            () = inner.broken(number) => {}
            () = self.tell() => {}
        }
        // The other connection may have been the first to end, with endings still unread on this one:
        // copies are believed now for as if everything had been heard.
        let _elapsed = timeout(HEAR_OUT, listen()).await;
        std::mem::take(&mut *inner.lost.lock())
    }

    /// Tells Redis what it has not confirmed, or may have forgotten, again and again.
    async fn tell(&self) {
        let inner = &self.store.0;
        let mut ticks = interval(TELL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            inner.unsent.doubt_due(inner.clock.now());
            inner.tell_unsent().await;
        }
    }

    /// The number of one of this gate's messages to itself.
    fn beat(&self, told: &Msg) -> Option<u64> {
        let is_own = told.get_channel_name() == self.own_channel;
        let number = is_own.then(|| std::str::from_utf8(told.get_payload_bytes()).ok())??;
        number.parse().ok()
    }

    /// Looks at Redis again and again, until something is wrong with it.
    async fn look(&self, mut link: Link, mut beats: watch::Receiver<u64>) -> RedisError {
        let inner = &self.store.0;
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut number = 0_u64;
        loop {
            ticks.tick().await;
            number = number.wrapping_add(1);
            let looked = self.look_once(&mut link, (number, &mut beats));
            if let Err(error) = link::in_time(inner.settings.timeout, looked).await {
                inner.counts.asked(RedisOperation::Probe, RedisResult::Away);
                return error;
            }
            inner.counts.asked(RedisOperation::Probe, RedisResult::Ok);
        }
    }

    /// Also what is told has to come back by the channel: a node of a Cluster that has lost the others
    /// answers, and tells nothing of them.
    async fn look_once(
        &self,
        link: &mut Link,
        (number, beats): (u64, &mut watch::Receiver<u64>),
    ) -> Result<(), RedisError> {
        let inner = &self.store.0;
        if inner.know_again(link.redis.clone()).await? {
            inner.copies.came_back();
        }
        inner.probe(link.redis.clone()).await?;
        let channel = &self.own_channel;
        link.redis.publish::<_, _, ()>(channel, number).await?;
        // Whoever listens is there for as long as this is.
        let _heard = beats.wait_for(|heard| *heard == number).await;
        Ok(())
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

    /// Whether Redis is another than before, or has lost what it had. No session is left then that began
    /// before.
    async fn know_again(&self, redis: Redis) -> Result<bool, RedisError> {
        let mark = self.marker(redis).await?;
        let known = std::mem::replace(&mut *self.marker.lock(), mark.clone());
        let is_another = mark.is_some() && known.is_some() && mark != known;
        if is_another {
            self.counted.store(0, Ordering::Relaxed);
            self.counts.emptied();
            tracing::error!(message = event::REDIS_EMPTIED);
        }
        Ok(is_another)
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

    /// Finds out whether Redis writes, and whether it still has what it wrote. That it does not write for
    /// want of room is no error: it can be read, and sessions can be ended.
    async fn probe(&self, mut redis: Redis) -> Result<(), RedisError> {
        let counted: Result<u64, _> = redis.incr(self.names.probe(), 1).await;
        match counted {
            Ok(number) => {
                self.writes(None);
                let before = self.counted.swap(number, Ordering::Relaxed);
                if number <= before {
                    // The other gates count too, so this is the least.
                    let missing = before - number + 1;
                    tracing::error!(message = event::REDIS_SET_BACK, missing);
                }
            }
            Err(error) if link::meaning(&error) == Meaning::NoWrites => {
                self.writes(Some(&link::told(&error)));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Warns of a Redis that lets go of keys when memory is short.
    async fn look_for_eviction(&self, mut redis: Redis) -> Result<(), RedisError> {
        let info = redis::cmd("INFO").arg("memory").to_owned();
        let told: Vec<InfoDict> = match redis {
            Redis::One(_) => vec![info.query_async(&mut redis).await?],
            Redis::Cluster(_) => {
                let told: HashMap<String, InfoDict> = info.query_async(&mut redis).await?;
                told.into_values().collect()
            }
        };
        let mut policies = told.iter().filter_map(|it| it.get("maxmemory_policy"));
        let evicts = policies.find(|policy: &String| policy != "noeviction");
        if let Some(policy) = evicts {
            tracing::warn!(message = event::REDIS_EVICTS, policy);
        }
        Ok(())
    }
}

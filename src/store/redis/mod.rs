//! Sessions in Redis, for several gates that share them. Redis has the truth; each gate has copies of
//! what it was asked about, which it believes for `local_cache_ttl` and no longer.
//!
//! # What stands where
//!
//! - `{tag}s:<digest of the token>`: a session, sealed under `store.seal_key`. Looking a token up is one
//!   `GET`, and needs nothing else.
//! - `{tag}u:<hash of the user>`: the digests of the user's sessions, in order of login.
//! - `{tag}k:<hash of the user>`: the user's session keys, sealed.
//!
//! A session exists while its own key does. Whatever changes several of these keys is one script, so it
//! happens as a whole or not at all; and all keys of a user are in one slot of a Cluster, so that holds
//! there too. For that the keys of a user and of their sessions have one hash tag, though a token alone
//! must be enough to find its session: the tag is the first byte of the hash of the user, and tokens
//! are drawn until theirs has it as the first byte of its digest. That takes some 256 draws, a tenth
//! of a millisecond of a login, and leaves 248 random bits.
//!
//! - `c:<hash of a login code>`: which gate asks WeChat about the code, then the answer for a repeat of it.
//! - `p:<hash of a push>`: which gate delivers it, then that it was taken. Nothing of what it says.
//! - `t:<hash of a ticket>`: that it was exchanged for the session cookie. Tickets themselves are kept
//!   nowhere.
//!
//! # Endings
//!
//! A script that ends sessions tells so on a channel that every gate listens to. What was told while a
//! gate was not connected it has not heard: so when it is connected again, no copy is believed before
//! Redis has been asked about it. An answer that was on its way when its session ended is not taken
//! (`flights`). An ending that Redis has not confirmed is kept, heeded by this gate, and told before
//! anything else once Redis is there again (`unsent`).
//!
//! # When Redis is away
//!
//! Copies are believed for `outage_grace`; of other tokens nothing is said, which is not the same as
//! that they are unknown. Nothing begins, and logins learn that before WeChat is asked.
//!
//! Redis that fails over to a replica may forget what it confirmed a moment ago: it replicates without
//! waiting. So the endings of the last minute are told again to whatever Redis a gate is connected to
//! next, and after a while in any case: a Cluster fails over behind a connection that stays. One of a
//! gate that has gone meanwhile is lost, and its session is back. That Redis is as it was before is
//! noticed by a number that every gate counts up there every second, and the log says so.

mod codes;
mod copies;
mod flights;
mod keeper;
mod link;
mod names;
mod operations;
mod pushes;
mod record;
mod scripts;
mod settings;
mod tickets;
mod unsent;

pub use pushes::PushLease;
pub use settings::{Address, Password, Server, ServerFault, Settings};

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use crate::crypto::code::{CodeDigest, SealedAnswer};
use crate::crypto::seal::Sealer;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::id::{AppId, UserKey};
use crate::domain::secret::{SealKeys, SessionKey};
use crate::domain::session::{Lifetimes, Live, Session};
use crate::domain::token::TokenDigest;
use crate::store::redis::copies::{Copies, Glance};
use crate::store::redis::flights::{Awaited, Flights, Joined, Sight};
use crate::store::redis::keeper::Keeper;
use crate::store::redis::link::Link;
use crate::store::redis::names::{Names, Tag};
use crate::store::redis::record::Records;
use crate::store::redis::scripts::Scripts;
use crate::store::redis::unsent::{Ending, Unsent};
use crate::store::streams::Stream;
use crate::store::{Claim, Found, Lease, Login, Unusable};
use crate::telemetry::metrics::{RedisCounts, RedisOperation, RedisResult};

/// Questions about tokens and keys that may be under way at once. At a thousand, whoever asks waits in
/// vain anyway; and a flood of made-up tokens gets no further.
const MAX_QUESTIONS: usize = 1024;

/// Endings that may be under way at once: places of their own, which no flood of tokens takes. One
/// that finds none is kept, and told within a second.
const MAX_ENDINGS: usize = 256;

/// How far apart the clocks of two gates may be, when an ending of all of a user's sessions is told late
/// and when a push comes again.
const CLOCK_SKEW: Duration = Duration::from_mins(1);

/// How often the sessions of open streams are asked about, which also tells of their use. Endings are
/// heard of at once; this is for one that was missed all the same.
const ASK_STREAMS_EVERY: Duration = Duration::from_mins(1);

/// Sessions in Redis. A cheap handle.
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

struct Inner {
    settings: Settings,
    names: Names,
    records: Records,
    scripts: Scripts,
    copies: Copies,
    flights: Flights,
    unsent: Unsent,
    link: Mutex<Option<Link>>,
    /// Why there is no link, for the log; told when the last one went.
    lost: Mutex<String>,
    broke: Notify,
    /// By what Redis is known again.
    marker: Mutex<Option<Vec<u8>>>,
    /// What was counted up to there, the last time.
    counted: AtomicU64,
    /// Whether Redis writes what it is told to.
    writes: AtomicBool,
    questions: Arc<Semaphore>,
    endings: Arc<Semaphore>,
    /// When open streams were asked about, in milliseconds, and the idle time of their sessions.
    streams_asked: AtomicU64,
    streams_idle: Mutex<Option<Duration>>,
    ask_streams: Notify,
    runtime: Handle,
    clock: Clock,
    counts: RedisCounts,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisStore(..)")
    }
}

/// What a store in Redis needs beside its settings.
#[derive(Debug)]
pub struct Surroundings {
    /// The runtime of the control thread, where everything that is asked is asked.
    pub runtime: Handle,
    /// The time of day.
    pub clock: Clock,
    /// Where what is asked is counted.
    pub counts: RedisCounts,
}

impl RedisStore {
    /// Begins to connect. `attempted` hears when that has been tried once, however it went.
    pub fn open(
        (settings, max_sessions): (Settings, u64),
        seal_keys: &SealKeys,
        around: Surroundings,
        attempted: SyncSender<()>,
    ) -> Self {
        let runtime = around.runtime.clone();
        let store = Self(Arc::new(Inner {
            names: Names::new(&settings.key_prefix),
            records: Records::new(Sealer::new(seal_keys)),
            scripts: Scripts::new(),
            copies: Copies::new(max_sessions, &settings),
            flights: Flights::default(),
            unsent: Unsent::default(),
            link: Mutex::default(),
            lost: Mutex::default(),
            broke: Notify::new(),
            marker: Mutex::default(),
            counted: AtomicU64::new(0),
            writes: AtomicBool::new(false),
            questions: Arc::new(Semaphore::new(MAX_QUESTIONS)),
            endings: Arc::new(Semaphore::new(MAX_ENDINGS)),
            streams_asked: AtomicU64::new(0),
            streams_idle: Mutex::default(),
            ask_streams: Notify::new(),
            runtime: around.runtime,
            clock: around.clock,
            counts: around.counts,
            settings,
        }));
        runtime.spawn(Keeper::new(store.clone()).run(attempted));
        runtime.spawn(store.clone().ask_about_streams());
        store
    }

    pub(in crate::store) fn find(
        &self,
        digest: &TokenDigest,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Found {
        match self.0.copies.glance(digest, now, lifetimes) {
            Glance::Live(live) => Found::Live(live),
            Glance::Over => Found::Unknown,
            Glance::Unseen => Found::Unseen,
            Glance::Away => Found::Unusable(Unusable::Away),
        }
    }

    pub(in crate::store) async fn first_sight(
        &self,
        digest: &TokenDigest,
        lifetimes: &Lifetimes,
    ) -> Result<Option<Live>, Unusable> {
        let mut awaited = self.ask_about(digest, lifetimes.idle_ttl)?;
        let landed = awaited.wait_for(Option::is_some).await;
        let landed = landed.map_or(None, |landed| landed.clone());
        let now = self.0.clock.now();
        match landed.unwrap_or(Sight::Unusable(Unusable::Failed)) {
            Sight::Found(session) => Ok(Live::of(session, now, lifetimes).ok()),
            Sight::Unknown => Ok(None),
            // Redis may have gone away over this, and the session may be known.
            Sight::Unusable(why) => match self.0.copies.glance(digest, now, lifetimes) {
                Glance::Live(live) => Ok(Some(live)),
                Glance::Over => Ok(None),
                Glance::Unseen | Glance::Away => Err(why),
            },
        }
    }

    /// Joins whoever asks about this token already.
    fn ask_about(&self, digest: &TokenDigest, idle: Option<Duration>) -> Result<Awaited, Unusable> {
        let questions = Arc::clone(&self.0.questions);
        let place = questions.try_acquire_owned().map_err(|_full| {
            let (operation, result) = (RedisOperation::Look, RedisResult::Overloaded);
            self.0.counts.asked(operation, result);
            Unusable::Busy
        })?;
        Ok(self.ask_from(Some(place), digest, idle))
    }

    /// The same from a place among the questions, or from one's own.
    fn ask_from(
        &self,
        place: Option<OwnedSemaphorePermit>,
        digest: &TokenDigest,
        idle: Option<Duration>,
    ) -> Awaited {
        match self.0.flights.join(digest) {
            Joined::Flight(awaited) => awaited,
            Joined::Own(landing, awaited) => {
                let store = self.clone();
                self.0.runtime.spawn(async move {
                    store.0.look(landing, idle).await;
                    drop(place);
                });
                awaited
            }
        }
    }

    /// Says whether a session of this user may have a digest as that of its token.
    pub(in crate::store) fn fitting(user: &UserKey) -> impl Fn(&TokenDigest) -> bool + use<> {
        let tag = Tag::of_user(user);
        move |digest| Tag::of_session(digest) == tag
    }

    /// Must be called on the control thread.
    pub(in crate::store) async fn claim(&self, code: &CodeDigest) -> Result<Claim, Unusable> {
        self.0.claim(code).await
    }

    /// Must be called on the control thread.
    pub(in crate::store) async fn settle(
        &self,
        lease: Lease,
        answer: Option<(&SealedAnswer, Duration)>,
    ) {
        self.0.settle(lease, answer).await;
    }

    pub(in crate::store) async fn begin(
        &self,
        login: Login,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Result<(), Unusable> {
        self.0.begin(login, now, lifetimes).await
    }

    pub(in crate::store) async fn end(&self, session: &Arc<Session>) -> Result<(), Unusable> {
        let digest = *session.digest();
        session.end();
        self.0.ended(&digest);
        let holder = session.holder();
        let user = UserKey::new(&holder.app, &holder.openid);
        self.finish(Ending::Session(digest, user)).await.map(drop)
    }

    pub(in crate::store) async fn end_all(&self, user: &UserKey) -> Result<usize, Unusable> {
        let begun_by = self.0.clock.now().plus(CLOCK_SKEW);
        self.finish(Ending::User(user.clone(), begun_by)).await
    }

    /// Ends sessions here, and tells Redis. Who does not wait for it does not stop it.
    async fn finish(&self, ending: Ending) -> Result<usize, Unusable> {
        let kept = self.0.unsent.keep(ending.clone());
        let permit = Arc::clone(&self.0.endings).try_acquire_owned();
        let (told, confirmed) = oneshot::channel();
        let store = self.clone();
        self.0.runtime.spawn(async move {
            // Without a place it is left to the keeper, who comes round every second.
            let done = match &permit {
                Ok(_place) => store.0.tell_now(&ending).await,
                Err(_full) => Err(Unusable::Busy),
            };
            if done.is_err() {
                store.0.end_copies(&ending, kept);
            }
            // Nobody may be waiting any more.
            let _unheard = told.send(done);
        });
        confirmed.await.unwrap_or(Err(Unusable::Failed))
    }

    pub(in crate::store) async fn keys(
        &self,
        user: &UserKey,
        now: Timestamp,
        key_grace: Duration,
    ) -> Result<Vec<SessionKey>, Unusable> {
        let questions = Arc::clone(&self.0.questions);
        let permit = questions.try_acquire_owned();
        let permit = permit.map_err(|_full| Unusable::Busy)?;
        let (found, answered) = oneshot::channel();
        let (store, user) = (self.clone(), user.clone());
        self.0.runtime.spawn(async move {
            drop(found.send(store.0.keys(&user, now, key_grace).await));
            drop(permit);
        });
        answered.await.unwrap_or(Err(Unusable::Failed))
    }

    pub(in crate::store) fn open_stream(&self, live: &Live) -> Stream {
        let stream = self.0.copies.open_stream(live);
        // It may have ended since it was found, while this gate did not listen: those that were open
        // when it listened again have been asked about.
        let is_missing = !self.0.copies.has_heard_of(live.session());
        if is_missing && self.ask_about(live.session().digest(), None).is_err() {
            self.0.ask_streams.notify_one();
        }
        stream
    }

    pub(in crate::store) fn census(&self) -> Vec<(AppId, u64)> {
        self.0.copies.census()
    }

    /// Must be called on the control thread.
    pub(in crate::store) fn sweep(&self, now: Timestamp, lifetimes: &Lifetimes) {
        self.0.copies.sweep(now, lifetimes);
        let idle = lifetimes.idle_ttl;
        let every = idle.map_or(ASK_STREAMS_EVERY, |idle| ASK_STREAMS_EVERY.min(idle / 4));
        let asked = Timestamp::from_millis(self.0.streams_asked.load(Ordering::Relaxed));
        *self.0.streams_idle.lock() = idle;
        if !asked.plus(every).is_to_come(now, every) {
            let now = now.as_millis();
            self.0.streams_asked.store(now, Ordering::Relaxed);
            self.0.ask_streams.notify_one();
        }
    }

    /// Asks about every session that has open streams, whenever that is wanted: one that has ended ends
    /// them, and one that has not is in use. One after the other, from a place that nobody else takes.
    async fn ask_about_streams(self) {
        loop {
            self.0.ask_streams.notified().await;
            let idle = *self.0.streams_idle.lock();
            for session in self.0.copies.with_streams() {
                let mut awaited = self.ask_from(None, session.digest(), idle);
                drop(awaited.wait_for(Option::is_some).await);
            }
        }
    }

    /// Whether a session could begin now, as far as is known.
    pub(in crate::store) fn takes_logins(&self) -> Result<(), Unusable> {
        match (
            self.0.link.lock().is_some(),
            self.0.writes.load(Ordering::Relaxed),
        ) {
            (true, true) => Ok(()),
            (true, false) => Err(Unusable::NoWrites),
            (false, _) => Err(Unusable::Away),
        }
    }

    pub(in crate::store) fn is_usable(&self) -> bool {
        self.0.copies.is_usable(self.0.clock.now())
    }

    pub(in crate::store) fn is_connected(&self) -> bool {
        self.0.copies.away_since().is_none()
    }

    pub(in crate::store) fn unsent(&self) -> usize {
        self.0.unsent.count()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

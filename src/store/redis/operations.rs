//! What Redis is asked, and what its answers mean for the copies of this gate. On the control thread.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use redis::{AsyncCommands as _, RedisError};

use crate::domain::clock::Timestamp;
use crate::domain::id::UserKey;
use crate::domain::limits;
use crate::domain::secret::SessionKey;
use crate::domain::session::{Lifetimes, Session};
use crate::domain::token::TokenDigest;
use crate::store::redis::flights::{Joined, Landing, Sight};
use crate::store::redis::link::{self, Meaning, Redis};
use crate::store::redis::names::{self, DIGEST_CHARS};
use crate::store::redis::unsent::Ending;
use crate::store::redis::{Inner, RedisStore, millis};
use crate::store::{Login, Unusable};
use crate::telemetry::event;
use crate::telemetry::metrics::{RedisOperation, RedisResult};

/// Endings that are told late and are under way at once: so many after an outage do not wait for one
/// another, and Redis still answers others within its time.
const MAX_TOLD_AT_ONCE: usize = 64;

/// What stands under a key, and by which connection that was found out.
type Kept = (Option<Vec<u8>>, u64);

impl Inner {
    /// Asks Redis, within its time. Also gives the number of the connection.
    pub(super) async fn ask<T, F>(
        &self,
        operation: RedisOperation,
        question: impl FnOnce(Redis) -> F,
    ) -> Result<(T, u64), Unusable>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        let link = self.link.lock().clone();
        let Some(link) = link else {
            self.counts.asked(operation, RedisResult::Away);
            return Err(Unusable::Away);
        };
        let number = link.number;
        match link::in_time(self.settings.timeout, question(link.redis)).await {
            Ok(answer) => {
                self.counts.asked(operation, RedisResult::Ok);
                Ok((answer, number))
            }
            Err(error) => Err(self.failed(operation, number, &error)),
        }
    }

    /// Finds out what an error means, and draws the consequences.
    fn failed(&self, operation: RedisOperation, number: u64, error: &RedisError) -> Unusable {
        let (result, why) = match link::meaning(error) {
            Meaning::Away => {
                self.break_off(number, link::told(error));
                (RedisResult::Away, Unusable::Away)
            }
            Meaning::NoWrites => {
                self.writes(Some(&link::told(error)));
                (RedisResult::NoWrites, Unusable::NoWrites)
            }
            Meaning::Failed => {
                let error = link::told(error);
                tracing::warn!(message = event::REDIS_FAILED, operation = ?operation, error);
                (RedisResult::Failed, Unusable::Failed)
            }
        };
        self.counts.asked(operation, result);
        why
    }

    /// Lets go of a connection, if it is not gone already.
    pub(super) fn break_off(&self, number: u64, why: String) {
        let mut link = self.link.lock();
        if link.as_ref().is_some_and(|link| link.number == number) {
            *link = None;
            *self.lost.lock() = why;
            self.copies.went_away(self.clock.now());
            self.broke.notify_one();
        }
    }

    /// Redis writes, or does not, and why not.
    pub(super) fn writes(&self, not: Option<&str>) {
        let did = self.writes.swap(not.is_none(), Ordering::Relaxed);
        match not {
            Some(error) if did => tracing::error!(message = event::REDIS_WRITES_NOTHING, error),
            None if !did => tracing::info!(message = event::REDIS_WRITES),
            _ => {}
        }
    }

    /// Looks at a session, and notes the use where its life depends on that.
    pub(super) async fn look(&self, landing: Landing, idle: Option<Duration>) {
        let digest = *landing.digest();
        let key = self.names.session(&digest);
        let asked = self.clock.now();
        let (kept, number) = match self.read(&key, idle, asked).await {
            Ok(found) => found,
            Err(why) => return landing.land(|| Sight::Unusable(why)),
        };
        let session = kept.and_then(|kept| {
            let read = self.records.read((&key, &digest), &kept);
            let unreadable = |error: &_| tracing::warn!(message = event::REDIS_RECORD, %error);
            read.inspect_err(unreadable).ok()
        });
        landing.land(|| self.see(&digest, session, (asked, number)));
    }

    async fn read(
        &self,
        key: &str,
        idle: Option<Duration>,
        now: Timestamp,
    ) -> Result<Kept, Unusable> {
        let operation = RedisOperation::Look;
        let Some(idle) = idle else {
            let get = |mut redis: Redis| async move { redis.get(key).await };
            return self.ask(operation, get).await;
        };
        let mut look = self.scripts.look.key(key);
        look.arg(now.as_millis())
            .arg(millis(idle))
            .arg(millis(keep_idle(idle)));
        let run = |mut redis: Redis| async move { look.invoke_async(&mut redis).await };
        self.ask(operation, run).await
    }

    /// Makes a copy of what was found by this connection, asked at this moment.
    fn see(
        &self,
        digest: &TokenDigest,
        session: Option<Session>,
        (asked, number): (Timestamp, u64),
    ) -> Sight {
        let link = self.link.lock();
        if link.as_ref().is_none_or(|link| link.number != number) {
            // What was told since then has not been heard.
            return Sight::Unusable(Unusable::Away);
        }
        let user = |session: &Session| {
            let holder = session.holder();
            UserKey::new(&holder.app, &holder.openid)
        };
        let session = session.filter(|it| !self.unsent.has_ended(it, || user(it)));
        let Some(session) = session else {
            self.copies.ended(digest);
            return Sight::Unknown;
        };
        Sight::Found(self.copies.take(session, asked))
    }

    /// Begins a session.
    pub(super) async fn begin(
        &self,
        login: Login,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Result<(), Unusable> {
        let session = login.session;
        let holder = session.holder();
        let user = UserKey::new(&holder.app, &holder.openid);
        if !RedisStore::fitting(&user)(session.digest()) {
            return Err(Unusable::Failed);
        }
        // An ending that is told before the answer is here must not be overlooked for it.
        let Joined::Own(landing, _) = self.flights.join(session.digest()) else {
            return Err(Unusable::Failed);
        };
        let names = self.names.user(&user);
        let key = self.names.session(session.digest());
        let written = self.records.write_key(&names.keys, &user, &login.key);
        let idle = lifetimes.idle_ttl.map_or(Duration::MAX, keep_idle);
        let mut begin = self.scripts.begin.key(&key);
        begin.key(&names.sessions).key(&names.keys);
        begin
            .arg(&names.session_prefix)
            .arg(self.names.endings())
            .arg(now.as_millis())
            .arg(millis(lifetimes.ttl))
            .arg(millis(lifetimes.ttl.min(idle)))
            .arg(names::written(session.digest()))
            .arg(self.records.write(&key, &session))
            .arg(session.created().as_millis())
            .arg(login.max_per_user.unwrap_or(0))
            .arg(
                login
                    .replaces
                    .as_ref()
                    .map(names::written)
                    .unwrap_or_default(),
            )
            .arg(now.plus(limits::REPLACED_SESSION_GRACE).as_millis())
            .arg(written.fingerprint)
            .arg(login.redeemed.as_millis())
            .arg(written.sealed)
            .arg(limits::MAX_SESSION_KEYS);
        let run = |mut redis: Redis| async move { begin.invoke_async(&mut redis).await };
        let asked = self.ask(RedisOperation::Begin, run).await?;
        let ((over, cut), number): ((Vec<u8>, Vec<u8>), u64) = asked;
        landing.land(|| {
            let link = self.link.lock();
            if link.as_ref().is_some_and(|link| link.number == number) {
                self.copies.add(&session, now);
            }
            Sight::Found(session)
        });
        self.end_each(&over);
        self.cut(&cut);
        Ok(())
    }

    /// Tells Redis of an ending that is wanted at this moment. Gives how many sessions were ended.
    pub(super) async fn tell_now(&self, ending: &Ending) -> Result<usize, Unusable> {
        let ended = match ending {
            Ending::Session(..) => self.tell(ending).await?,
            Ending::User(user, _) => {
                // Whatever a clock says of when a session began: it has begun.
                let all = Ending::User(user.clone(), Timestamp::NEVER);
                self.tell(&all).await?
            }
        };
        self.unsent.confirmed(ending, &ended, self.clock.now());
        Ok(ended.len())
    }

    /// Tells Redis of all endings that it has to be told. One that it refuses keeps no other back, and
    /// is told the next time.
    pub(super) async fn tell_unsent(&self) {
        let endings = stream::iter(self.unsent.to_tell());
        let telling = endings.for_each_concurrent(MAX_TOLD_AT_ONCE, async |ending| {
            if self.link.lock().is_none() || !self.unsent.is_to_tell(&ending) {
                return;
            }
            if let Ok(ended) = self.tell(&ending).await {
                self.unsent.confirmed(&ending, &ended, self.clock.now());
            }
        });
        telling.await;
    }

    async fn tell(&self, ending: &Ending) -> Result<Vec<TokenDigest>, Unusable> {
        let operation = match ending {
            Ending::Session(..) => RedisOperation::End,
            Ending::User(..) => RedisOperation::EndAll,
        };
        let asked = self.ask(operation, |redis| self.tell_by(redis, ending));
        let (over, _) = asked.await?;
        Ok(self.end_each(&over))
    }

    /// The same by this connection. Gives the digests that have ended.
    async fn tell_by(&self, mut redis: Redis, ending: &Ending) -> Result<Vec<u8>, RedisError> {
        let channel = self.names.endings();
        match ending {
            Ending::Session(digest, user) => {
                let names = self.names.user(user);
                let mut end = self.scripts.end.key(self.names.session(digest));
                end.key(names.sessions).key(names.keys);
                end.arg(channel)
                    .arg(names::written(digest))
                    .arg(names.session_prefix);
                end.invoke_async(&mut redis).await
            }
            Ending::User(user, begun_by) => {
                let names = self.names.user(user);
                let mut end = self.scripts.end_all.key(names.sessions);
                end.key(names.keys);
                end.arg(names.session_prefix).arg(channel);
                end.arg(begun_by.as_millis());
                end.invoke_async(&mut redis).await
            }
        }
    }

    /// Ends the copies of an ending that Redis has not confirmed. `kept` is whether it will be told.
    pub(super) fn end_copies(&self, ending: &Ending, kept: bool) {
        if !kept {
            tracing::error!(message = event::REDIS_ENDING_LOST);
        }
        match ending {
            Ending::Session(digest, _) => self.ended(digest),
            Ending::User(user, begun_by) => {
                for digest in self.copies.of_user(user, *begun_by) {
                    self.ended(&digest);
                }
            }
        }
    }

    /// A session has ended, whatever an answer about it says that is under way.
    pub(super) fn ended(&self, digest: &TokenDigest) {
        self.flights.ended(digest);
        self.copies.ended(digest);
    }

    /// What was told on the channel: `e` and digests that have ended, or `c`, one digest, and the moment
    /// at which it ends. What else is said there means nothing to this version.
    pub(super) fn heard(&self, told: &[u8]) {
        match told.split_first() {
            Some((b'e', digests)) => drop(self.end_each(digests)),
            Some((b'c', cut)) => self.cut(cut),
            _ => {}
        }
    }

    fn end_each(&self, digests: &[u8]) -> Vec<TokenDigest> {
        let digests = digests.chunks(DIGEST_CHARS).filter_map(names::read);
        let ended: Vec<_> = digests.collect();
        for digest in &ended {
            self.ended(digest);
        }
        ended
    }

    fn cut(&self, told: &[u8]) {
        let Some((digest, moment)) = told.split_at_checked(DIGEST_CHARS) else {
            return;
        };
        let moment = std::str::from_utf8(moment).ok();
        let moment = moment.and_then(|digits| digits.parse().ok());
        if let (Some(digest), Some(moment)) = (names::read(digest), moment) {
            self.copies.cut(&digest, Timestamp::from_millis(moment));
        }
    }

    /// The user's session keys that may be tried, newest first.
    pub(super) async fn keys(
        &self,
        user: &UserKey,
        now: Timestamp,
        key_grace: Duration,
    ) -> Result<Vec<SessionKey>, Unusable> {
        let name = &self.names.user(user).keys;
        let get = |mut redis: Redis| async move { redis.hgetall(name).await };
        let (kept, _): (Vec<(Vec<u8>, Vec<u8>)>, _) = self.ask(RedisOperation::Keys, get).await?;
        let may_be_tried = |replaced| now.since(replaced) <= key_grace;
        let (keys, broken) = self.records.read_keys(name, &kept, may_be_tried);
        if broken > 0 {
            let error = "a session key does not open";
            tracing::warn!(message = event::REDIS_RECORD, error);
        }
        Ok(keys)
    }
}

/// How long a session is kept that is not used. Its idle time counts from the last use that Redis was
/// told of, and gates tell it late.
fn keep_idle(idle: Duration) -> Duration {
    idle.saturating_add(idle / 2)
}

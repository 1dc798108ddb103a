//! What must be true of sessions, kept beside the gate and without its code. Where the order of two
//! things is between them, the model says that it does not know.

use std::collections::HashMap;
use std::time::Duration;

use wxgate::domain::clock::Timestamp;

/// How long the token of a replaced session works (docs/http.md).
const REPLACED: Duration = Duration::from_secs(60);

/// How long what was sent and given up may still be on its way to the gate.
const ON_ITS_WAY: Duration = Duration::from_mins(5);

/// What the configuration says of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) ttl: Duration,
    pub(super) idle: Option<Duration>,
    pub(super) max_per_user: Option<usize>,
}

/// Whether another session took its place, and it is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replaced {
    No,
    Perhaps,
    Yes,
}

#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) user: usize,
    pub(super) code: String,
    created: Timestamp,
    /// From then on it is dead.
    dead: Timestamp,
    /// From then on it may be dead.
    doubtful: Timestamp,
    /// It was used then, or later.
    used: Timestamp,
    /// It was not used after that.
    used_last: Timestamp,
    /// Requests with its token that are under way.
    under_way: usize,
    replaced: Replaced,
}

/// All sessions that there ever were, in the order in which they began.
#[derive(Debug)]
pub(super) struct Sessions {
    terms: Terms,
    all: Vec<Session>,
    tokens: HashMap<String, usize>,
    /// The sessions of which a client has the token, and the tokens.
    known: Vec<usize>,
    shown: HashMap<usize, String>,
    /// Orders to end all sessions of a user that are under way, and until when others may be.
    ending_all: HashMap<usize, usize>,
    unsure_until: HashMap<usize, Timestamp>,
    pub(super) evicted: usize,
    pub(super) ran_out: usize,
}

impl Sessions {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            terms,
            all: Vec::new(),
            tokens: HashMap::new(),
            known: Vec::new(),
            shown: HashMap::new(),
            ending_all: HashMap::new(),
            unsure_until: HashMap::new(),
            evicted: 0,
            ran_out: 0,
        }
    }

    pub(super) fn get(&self, session: usize) -> &Session {
        &self.all[session]
    }

    pub(super) fn with_token(&self, token: &str) -> Option<usize> {
        self.tokens.get(token).copied()
    }

    /// The sessions of which some client has the token, in the order in which they came to be known.
    pub(super) fn known(&self) -> &[usize] {
        &self.known
    }

    /// The token of a session, if a client has it.
    pub(super) fn token(&self, session: usize) -> Option<&str> {
        self.shown.get(&session).map(String::as_str)
    }

    /// The session that a code led to.
    pub(super) fn of_code(&self, code: &str) -> Option<usize> {
        self.all.iter().position(|session| session.code == code)
    }

    /// A client learned this token, by this code. Fails when it is another's.
    pub(super) fn learn(&mut self, token: &str, code: &str) -> Result<usize, String> {
        let session = self.of_code(code).ok_or("a token without a login")?;
        let known = *self.tokens.entry(token.to_owned()).or_insert(session);
        let shown = self
            .shown
            .entry(session)
            .or_insert_with(|| token.to_owned());
        if known != session || shown != token {
            return Err(format!("two sessions for {code}, or one for two codes"));
        }
        if !self.known.contains(&session) {
            self.known.push(session);
        }
        Ok(session)
    }

    /// WeChat has said who a code is, and so a session begins. `presented`: the sessions whose tokens
    /// came with the code, for each login that brought it.
    pub(super) fn begin(
        &mut self,
        user: usize,
        code: &str,
        presented: &[Option<usize>],
        now: Timestamp,
    ) {
        let ends = now.plus(self.terms.ttl);
        let unsure = self
            .unsure_until
            .get(&user)
            .is_some_and(|until| now < *until)
            || self.ending_all.get(&user).is_some_and(|orders| *orders > 0);
        for session in presented.iter().flatten().copied() {
            if self.all[session].user == user {
                self.replace(session, presented.len() == 1, now);
            }
        }
        self.all.push(Session {
            user,
            code: code.to_owned(),
            created: now,
            dead: ends,
            doubtful: if unsure { now } else { ends },
            used: now,
            used_last: now,
            under_way: 0,
            replaced: Replaced::No,
        });
        if let Some(cap) = self.terms.max_per_user {
            self.cap(user, cap, now);
        }
    }

    fn replace(&mut self, session: usize, surely: bool, now: Timestamp) {
        let session = &mut self.all[session];
        let ends = now.plus(REPLACED);
        session.doubtful = session.doubtful.min(ends);
        if surely {
            session.dead = session.dead.min(ends);
            session.replaced = Replaced::Yes;
        } else if session.replaced == Replaced::No {
            session.replaced = Replaced::Perhaps;
        }
    }

    fn cap(&mut self, user: usize, cap: usize, now: Timestamp) {
        let (mut surely, mut perhaps) = (0, 0);
        for index in (0..self.all.len()).rev() {
            if self.all[index].user != user {
                continue;
            }
            let (lives, may_live) = (self.lives(index, now), !self.is_dead(index, now));
            let session = &mut self.all[index];
            if perhaps >= cap && session.replaced != Replaced::Yes {
                session.doubtful = session.doubtful.min(now);
            }
            if surely >= cap && session.replaced == Replaced::No {
                self.evicted += usize::from(lives);
                session.dead = session.dead.min(now);
            }
            surely += usize::from(lives && session.replaced == Replaced::No);
            perhaps += usize::from(may_live && session.replaced != Replaced::Yes);
        }
    }

    /// Whether it is live for certain.
    pub(super) fn lives(&self, session: usize, now: Timestamp) -> bool {
        let session = &self.all[session];
        // The last use is known to the gate to within a quarter.
        let idle = self.terms.idle.map(|idle| session.used.plus(idle * 3 / 4));
        now < session.doubtful && idle.is_none_or(|until| now < until)
    }

    /// Whether it is dead for certain.
    pub(super) fn is_dead(&self, session: usize, now: Timestamp) -> bool {
        let session = &self.all[session];
        let idle = self.terms.idle.map(|idle| session.used_last.plus(idle));
        let idle = idle.is_some_and(|until| session.under_way == 0 && now >= until);
        now >= session.dead || idle
    }

    /// A request with its token is sent.
    pub(super) fn send(&mut self, session: usize, now: Timestamp) {
        if now >= self.all[session].created.plus(self.terms.ttl) || self.is_dead(session, now) {
            self.ran_out += 1;
        }
        self.all[session].under_way += 1;
    }

    /// That request, sent then, was answered: with the session, or not.
    pub(super) fn answered(&mut self, session: usize, sent: Timestamp, used: bool, now: Timestamp) {
        let session = &mut self.all[session];
        session.under_way -= 1;
        session.used_last = session.used_last.max(now);
        if used {
            session.used = session.used.max(sent);
        }
    }

    /// That request was given up, and may still arrive.
    pub(super) fn abandoned(&mut self, session: usize, now: Timestamp) {
        let session = &mut self.all[session];
        session.under_way -= 1;
        session.used_last = session.used_last.max(now.plus(ON_ITS_WAY));
    }

    /// Somebody asks for the end of this session, or of all of its user.
    pub(super) fn ending(&mut self, session: usize, all: bool, now: Timestamp) {
        self.all[session].doubtful = self.all[session].doubtful.min(now);
        if all {
            let user = self.all[session].user;
            *self.ending_all.entry(user).or_default() += 1;
            for other in self.all.iter_mut().filter(|other| other.user == user) {
                other.doubtful = other.doubtful.min(now);
            }
        }
    }

    /// Nobody waits any more for the end of all sessions of this one's user: there was an answer, or it
    /// was given up, and the order may still be on its way.
    pub(super) fn no_longer_ending_all(&mut self, session: usize, given_up: bool, now: Timestamp) {
        let user = self.all[session].user;
        *self.ending_all.entry(user).or_default() -= 1;
        if given_up {
            self.unsure_until.insert(user, now.plus(ON_ITS_WAY));
        }
    }

    /// That was confirmed, having been sent then.
    pub(super) fn ended(&mut self, session: usize, all: bool, sent: Timestamp, now: Timestamp) {
        let user = self.all[session].user;
        self.all[session].dead = self.all[session].dead.min(now);
        for other in self
            .all
            .iter_mut()
            .filter(|other| all && other.user == user)
        {
            other.doubtful = other.doubtful.min(now);
            if other.created <= sent {
                other.dead = other.dead.min(now);
            }
        }
    }
}

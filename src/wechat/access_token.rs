//! One access token per mini program, kept fresh. Reading it takes no lock and waits for nothing;
//! whoever finds none shares one refresh with everybody else. Knows nothing of the calls that the
//! tokens are for, and decides nothing about repeating them.
//!
//! Tokens come from `cgi-bin/stable_token` in its normal mode: it gives the same token again until
//! the last five minutes of its life, and then a new one while the old still works, so that gates
//! need not talk to each other. `force_refresh` is never sent: it ends the token that others hold.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::crypto::random;
use crate::domain::clock::Timestamp;
use crate::domain::id::AppId;
use crate::domain::secret::AccessToken;
use crate::telemetry::event;
use crate::wechat::Credential;
use crate::wechat::client::Client;
use crate::wechat::error::CallError;
use crate::wechat::report;
use crate::wechat::stable_token::{Granted, MAX_LIFE};
use crate::wechat::token_error::TokenError;

/// How long before its end a token is asked for anew. WeChat makes a new one in the last 300 s only;
/// the rest of that is for attempts that fail.
const REFRESH_MARGIN: Duration = Duration::from_mins(4);

/// By how much the margin is varied to either side, so that gates do not ask all at once.
const JITTER_SECS: u64 = 30;

/// Between two refreshes that succeed, however short the life that WeChat tells.
const MIN_REFRESH: Duration = Duration::from_mins(1);

/// A token that is refused with more life left than this was ended by somebody: WeChat lets an old
/// token work for five minutes beside the new one.
const EARLY: Duration = Duration::from_mins(5);

/// For how long a token that was refused, and that WeChat gave again, is not asked about once more.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// Between two lines of log about tokens refused early.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// Shortest sleep of the task that refreshes ahead, should a clock jump.
const MIN_SLEEP: Duration = Duration::from_secs(1);

/// The access token of one mini program. A cheap handle.
#[derive(Clone)]
pub struct Keeper(Arc<Inner>);

/// The keepers of all mini programs. A cheap handle.
#[derive(Clone, Debug, Default)]
pub struct Keepers(Arc<HashMap<AppId, Keeper>>);

struct Inner {
    client: Client,
    credential: Credential,
    kept: ArcSwapOption<Kept>,
    state: Mutex<State>,
}

/// A token and its times.
struct Kept {
    token: Arc<AccessToken>,
    /// When it was asked for.
    since: Timestamp,
    /// When it ends.
    until: Timestamp,
    /// When a new one is asked for.
    due: Timestamp,
}

type Outcome = Result<Arc<AccessToken>, TokenError>;

#[derive(Default)]
struct State {
    /// The refresh under way, if there is one.
    flight: Option<watch::Receiver<Option<Outcome>>>,
    /// Refreshes that failed since the last good one.
    failures: u32,
    /// Nothing is asked for a while.
    hold: Option<Hold>,
    /// The token whose refusal led to the last refresh, and until when it leads to no other.
    refused: Option<(AccessToken, Timestamp)>,
    /// Refusals before that moment are not told again.
    quiet_until: Option<Timestamp>,
    /// Refreshes ahead of time, once a token has been asked for.
    ahead: Option<JoinHandle<()>>,
}

/// A while in which nothing is asked.
struct Hold {
    until: Timestamp,
    /// How long it is from its beginning.
    pause: Duration,
    why: TokenError,
}

/// What is wanted of a refresh.
#[derive(Clone, Copy)]
enum Need<'a> {
    /// Any token that has not ended.
    Any,
    /// Nothing but that the next one comes in time.
    Ahead,
    /// Any but this one, which WeChat refused.
    Instead(&'a AccessToken),
}

enum Joined {
    Known(Arc<AccessToken>),
    Flight(watch::Receiver<Option<Outcome>>),
}

impl Keepers {
    /// A keeper for each of these mini programs. Asks for nothing yet.
    pub fn new(client: &Client, apps: impl Iterator<Item = Credential>) -> Self {
        let keeper = |credential: Credential| {
            let app = credential.app.clone();
            (app, Keeper::new(client.clone(), credential))
        };
        Self(Arc::new(apps.map(keeper).collect()))
    }

    /// The keeper of this mini program, when it is configured.
    pub fn of(&self, app: &AppId) -> Option<&Keeper> {
        self.0.get(app)
    }

    /// How long ago each of the tokens that are kept was asked for.
    pub fn ages(&self) -> Vec<(AppId, Duration)> {
        let age = |(app, keeper): (&AppId, &Keeper)| Some((app.clone(), keeper.age()?));
        self.0.iter().filter_map(age).collect()
    }
}

impl Keeper {
    /// A keeper that has no token yet, and asks for none before somebody needs it.
    pub fn new(client: Client, credential: Credential) -> Self {
        Self(Arc::new(Inner {
            client,
            credential,
            kept: ArcSwapOption::empty(),
            state: Mutex::default(),
        }))
    }

    /// Whose token it keeps.
    pub fn app(&self) -> &AppId {
        &self.0.credential.app
    }

    /// How long ago the token was asked for, if there is one.
    fn age(&self) -> Option<Duration> {
        let kept = self.0.kept.load();
        let now = self.0.client.clock.now();
        kept.as_ref().map(|kept| now.since(kept.since))
    }

    /// The token. Waits, as long as a call to WeChat may take, only when there is none that is good.
    pub async fn token(&self) -> Result<Arc<AccessToken>, TokenError> {
        if let Some(kept) = &*self.0.kept.load()
            && kept.will_do(Need::Any, self.0.client.clock.now())
        {
            return Ok(Arc::clone(&kept.token));
        }
        self.obtain(Need::Any).await
    }

    /// Another token than this one, which WeChat refused with 40001, 40014 or 42001. Whoever is not
    /// the first to be refused gets the one that is there by now.
    pub async fn after_refusal(
        &self,
        refused: &AccessToken,
    ) -> Result<Arc<AccessToken>, TokenError> {
        let token = self.obtain(Need::Instead(refused)).await?;
        if token.is(refused) {
            Err(TokenError::SameAgain)
        } else {
            Ok(token)
        }
    }

    async fn obtain(&self, need: Need<'_>) -> Outcome {
        let mut flight = match self.join(need)? {
            Joined::Known(token) => return Ok(token),
            Joined::Flight(flight) => flight,
        };
        let landed = flight.wait_for(Option::is_some);
        match tokio::time::timeout(self.0.client.timeout, landed).await {
            // Without a sender the runtime of the refresh has ended: no answer comes.
            Err(_) | Ok(Err(_)) => Err(CallError::TimedOut.into()),
            Ok(Ok(outcome)) => outcome
                .clone()
                .unwrap_or_else(|| Err(CallError::TimedOut.into())),
        }
    }

    /// Finds a token that will do, or the refresh under way, or starts one: under one lock, so that
    /// there are never two.
    fn join(&self, need: Need<'_>) -> Result<Joined, TokenError> {
        let now = self.0.client.clock.now();
        let mut state = self.0.state.lock();
        if let Some(kept) = &*self.0.kept.load() {
            if kept.will_do(need, now) {
                return Ok(Joined::Known(Arc::clone(&kept.token)));
            }
            if matches!(need, Need::Instead(_)) && now.plus(EARLY) < kept.until {
                state.tell_early(self.app(), now);
            }
        }
        // A flight whose runtime has ended has no sender any more.
        if let Some(flight) = &state.flight
            && flight.has_changed().is_ok()
        {
            return Ok(Joined::Flight(flight.clone()));
        }
        if let Some(hold) = state.hold.as_ref().filter(|hold| hold.is_on(now)) {
            return Err(hold.why.clone());
        }
        if let Need::Instead(refused) = need {
            if let Some((before, until)) = &state.refused
                && until.is_to_come(now, REFUSED_PAUSE)
                && before.is(refused)
            {
                return Err(TokenError::SameAgain);
            }
            state.refused = Some((refused.clone(), now.plus(REFUSED_PAUSE)));
        }
        if state.ahead.as_ref().is_none_or(JoinHandle::is_finished) {
            state.ahead = Some(tokio::spawn(refresh_ahead(Arc::downgrade(&self.0))));
        }
        let flight = self.depart(now);
        state.flight = Some(flight.clone());
        Ok(Joined::Flight(flight))
    }

    /// Starts a refresh. It runs to its end, whatever becomes of whoever asked for it.
    fn depart(&self, now: Timestamp) -> watch::Receiver<Option<Outcome>> {
        let (landing, flight) = watch::channel(None);
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move {
            let granted = inner.client.stable_token(&inner.credential).await;
            let outcome = inner.land(granted, now);
            landing.send_replace(Some(outcome));
        });
        flight
    }
}

impl Kept {
    fn will_do(&self, need: Need<'_>, now: Timestamp) -> bool {
        let lives = self.until.is_to_come(now, MAX_LIFE);
        match need {
            Need::Any => lives,
            Need::Ahead => self.due.is_to_come(now, MAX_LIFE),
            Need::Instead(refused) => lives && !self.token.is(refused),
        }
    }
}

impl Hold {
    fn is_on(&self, now: Timestamp) -> bool {
        self.until.is_to_come(now, self.pause)
    }
}

impl State {
    /// Somebody else ended the token. `/cgi-bin/token` does not: its tokens are a world of their
    /// own.
    fn tell_early(&mut self, app: &AppId, now: Timestamp) {
        let quiet = self.quiet_until;
        if !quiet.is_some_and(|until| until.is_to_come(now, TELL_EVERY)) {
            self.quiet_until = Some(now.plus(TELL_EVERY));
            tracing::warn!(message = event::ACCESS_TOKEN_REFUSED_EARLY, appid = %app);
        }
    }
}

impl Inner {
    /// Takes the outcome of a refresh that was begun at `asked`.
    fn land(&self, granted: Result<Granted, TokenError>, asked: Timestamp) -> Outcome {
        let mut state = self.state.lock();
        state.flight = None;
        match granted {
            Ok(Granted { token, life }) => {
                state.failures = 0;
                state.hold = None;
                let token = Arc::new(token);
                self.kept.store(Some(Arc::new(Kept {
                    token: Arc::clone(&token),
                    since: asked,
                    until: asked.plus(life),
                    due: asked.plus(refresh_after(life)),
                })));
                Ok(token)
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                let pause = error.pause(state.failures);
                state.hold = Some(Hold {
                    until: self.client.clock.now().plus(pause),
                    pause,
                    why: error.clone(),
                });
                drop(state);
                self.tell(&error, pause);
                Err(error)
            }
        }
    }

    /// Refreshes are rare, and the rarer the more of them fail: each is told.
    fn tell(&self, error: &TokenError, pause: Duration) {
        let (app, pause) = (&self.credential.app, pause.as_secs());
        if let TokenError::Misconfigured(refused) = error {
            report::misconfigured(app, refused);
        }
        let errcode = error.refused().map(|refused| refused.errcode.number());
        tracing::warn!(message = event::ACCESS_TOKEN_FAILED, %error, errcode, appid = %app, retry_in_s = pause);
    }

    /// How long until a refresh makes sense.
    fn due_in(&self) -> Duration {
        let now = self.client.clock.now();
        let state = self.state.lock();
        let hold = state.hold.as_ref().filter(|hold| hold.is_on(now));
        let hold = hold.map(|hold| hold.until);
        drop(state);
        let due = self.kept.load().as_ref().map(|kept| kept.due);
        let due = due.filter(|due| due.is_to_come(now, MAX_LIFE));
        let next = hold.max(due).unwrap_or(Timestamp::EPOCH);
        next.since(now)
    }
}

/// Refreshes before the token ends, for as long as there is somebody to do it for.
async fn refresh_ahead(keeper: Weak<Inner>) {
    loop {
        let Some(pause) = keeper.upgrade().map(|inner| inner.due_in()) else {
            return;
        };
        tokio::time::sleep(pause.max(MIN_SLEEP)).await;
        let Some(inner) = keeper.upgrade() else {
            return;
        };
        if inner.due_in().is_zero() {
            // What comes of it is kept, and told, where it lands.
            drop(Keeper(inner).obtain(Need::Ahead).await);
        }
    }
}

/// How long after a token of this life was given the next one is asked for.
pub(super) fn refresh_after(life: Duration) -> Duration {
    let [random] = random::bytes::<1>();
    let jitter = Duration::from_secs(u64::from(random) % (2 * JITTER_SECS + 1));
    let earliest = life.saturating_sub(REFRESH_MARGIN + Duration::from_secs(JITTER_SECS));
    (earliest + jitter).max(MIN_REFRESH)
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("app", self.app())
            .finish_non_exhaustive()
    }
}

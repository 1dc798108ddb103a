//! Where login codes are redeemed. A code is asked of WeChat once, whoever else brings it
//! meanwhile; its answer is kept for a while, for a client that lost it; and a code that WeChat
//! refused is not asked about again. Who makes it ask pays for that; what is known is for nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::crypto::code::{CodeDigest, SealedAnswer};
use crate::crypto::token;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::id::{AppId, OpenId, UnionId};
use crate::domain::identity::JustRedeemed;
use crate::domain::limits;
use crate::domain::secret::LoginCode;
use crate::domain::session::{Holder, Lifetimes, Session};
use crate::domain::token::{SessionToken, TokenDigest};
use crate::gateway::budgets::{Attempt, Budget, Toll, Unpaid, UsedUp};
use crate::gateway::control::{Busy, Control, NoOutcome};
use crate::gateway::hook::{Hook, HookData};
use crate::gateway::{App, Settings};
use crate::store::{Login, Store};
use crate::wechat::client::Client;
use crate::wechat::error::RedeemError;
use crate::wechat::reply::Redeemed;

/// How long a login waits for others from its address, whose codes decide whether WeChat is asked
/// about its own: a call to WeChat takes no longer, as a rule.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(6);

/// A login that succeeded.
#[derive(Debug)]
pub struct LoggedIn {
    /// The new session's token.
    pub token: SessionToken,
    /// Whose session it is.
    pub holder: Holder,
    /// When it began.
    pub since: Timestamp,
    /// What the app server said of it, where it is asked.
    pub data: Option<HookData>,
}

/// Why a login failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoginError {
    /// WeChat did not redeem the code.
    #[error(transparent)]
    Redeem(Arc<RedeemError>),
    /// The app server refused, or could not be asked.
    #[error("the app server did not agree to the login")]
    Refused,
}

/// What became of a code.
pub type Outcome = Result<Arc<LoggedIn>, LoginError>;

/// Why there is no outcome of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLogin {
    /// WeChat would have to be asked, and that is not paid for.
    #[error("too many logins")]
    Limited(UsedUp),
    /// It has not come to its end.
    #[error(transparent)]
    NoOutcome(#[from] NoOutcome),
}

impl From<Busy> for NoLogin {
    fn from(busy: Busy) -> Self {
        Self::NoOutcome(busy.into())
    }
}

/// Where login codes are redeemed. A cheap handle, the same for all workers.
#[derive(Clone, Debug)]
pub struct Desk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    control: Control,
    wechat: Client,
    store: Store,
    clock: Clock,
    /// Codes that WeChat is being asked about.
    flights: Mutex<HashMap<CodeDigest, watch::Receiver<Option<Outcome>>>>,
    /// Answers for a repeat of the code, sealed under the code.
    kept: Cache<CodeDigest, Kept>,
    /// Codes of which nothing can become any more.
    refused: Cache<CodeDigest, Refused>,
}

#[derive(Clone, Debug)]
struct Kept {
    answer: Arc<SealedAnswer>,
    until: Timestamp,
}

#[derive(Clone, Debug)]
struct Refused {
    error: LoginError,
    until: Timestamp,
}

/// A code as somebody brings it.
#[derive(Debug)]
pub struct Brought {
    /// The code.
    pub code: LoginCode,
    /// The session whose token came with it.
    pub replaces: Option<TokenDigest>,
    /// Asked once WeChat has accepted, if nobody brought the code before.
    pub hook: Option<Hook>,
    /// What the call to WeChat is paid from, if there has to be one.
    pub toll: Toll,
}

/// One code to redeem, with what the configuration says about it at that moment.
struct Redemption {
    app: App,
    code: LoginCode,
    replaces: Option<TokenDigest>,
    lifetimes: Lifetimes,
    max_per_user: Option<usize>,
    retry_window: Duration,
    hook: Option<Hook>,
}

impl Desk {
    /// A desk on the control thread.
    pub fn new(control: Control, wechat: Client, store: Store, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            control,
            wechat,
            store,
            clock,
            flights: Mutex::default(),
            kept: kept_logins(),
            refused: refused_codes(),
        }))
    }

    /// Finds out what becomes of a code.
    pub async fn redeem(
        &self,
        app: &App,
        brought: Brought,
        settings: &Settings,
    ) -> Result<Outcome, NoLogin> {
        let Brought {
            code,
            replaces,
            hook,
            toll,
        } = brought;
        let digest = CodeDigest::of(&app.id, &code);
        let redemption = Redemption {
            app: app.clone(),
            code,
            replaces,
            lifetimes: settings.session.lifetimes,
            max_per_user: settings.session.max_per_user,
            retry_window: settings.login.retry_window,
            hook,
        };
        let mut flight = match self.join_in_turn(digest, redemption, &toll).await? {
            Joined::Known(outcome) => return Ok(outcome),
            Joined::Flight(flight) => flight,
        };
        let landed = flight
            .wait_for(Option::is_some)
            .await
            .map_err(|_lost| NoOutcome::Lost)?;
        landed.clone().ok_or_else(|| NoOutcome::Lost.into())
    }

    /// Joins as soon as it is known whether the address may have WeChat asked.
    async fn join_in_turn(
        &self,
        digest: CodeDigest,
        mut redemption: Redemption,
        toll: &Toll,
    ) -> Result<Joined, NoLogin> {
        let deadline = Instant::now() + WAIT_FOR_OTHERS;
        loop {
            let refused = match self.join(digest, redemption, toll) {
                Ok(joined) => return Ok(joined),
                Err(refused) => refused,
            };
            let (others, back) = match refused {
                NotJoined::Busy(busy) => return Err(busy.into()),
                NotJoined::Unpaid(Unpaid::UsedUp(used_up), _) => {
                    return Err(NoLogin::Limited(used_up));
                }
                NotJoined::Unpaid(Unpaid::NotYet(others), back) => (others, back),
            };
            redemption = *back;
            if tokio::time::timeout_at(deadline, others).await.is_err() {
                return Err(NoLogin::Limited(UsedUp {
                    budget: Budget::RefusedLogins,
                    retry_after: 1,
                }));
            }
        }
    }

    /// Finds the outcome, or the flight of somebody who brought the code before, or starts one, which
    /// has to be paid for. All under one lock, under which a flight also ends: no moment lies in
    /// between at which a code could be asked about twice.
    fn join(
        &self,
        digest: CodeDigest,
        redemption: Redemption,
        toll: &Toll,
    ) -> Result<Joined, NotJoined> {
        let mut flights = self.0.flights.lock();
        if let Some(outcome) = self.0.known(&digest, &redemption) {
            return Ok(Joined::Known(outcome));
        }
        if let Some(flight) = flights.get(&digest) {
            return Ok(Joined::Flight(flight.clone()));
        }
        let place = self.0.control.place().map_err(NotJoined::Busy)?;
        let attempt = match toll.pay(self.0.clock.now()) {
            Ok(attempt) => attempt,
            Err(unpaid) => return Err(NotJoined::Unpaid(unpaid, Box::new(redemption))),
        };
        let (outcome, flight) = watch::channel(None);
        flights.insert(digest, flight.clone());
        // A landing takes the lock when it is dropped, and a task that cannot run is dropped at once.
        drop(flights);
        let landing = Landing {
            desk: Arc::clone(&self.0),
            digest,
        };
        place.start(async move {
            let found = landing.desk.redeem(digest, redemption, attempt).await;
            // Off the list first: who has an answer and comes again does not meet this flight.
            drop(landing);
            outcome.send_replace(Some(found));
        });
        Ok(Joined::Flight(flight))
    }
}

/// Entries of both caches say themselves when they end; what is said here only bounds memory.
fn refused_codes() -> Cache<CodeDigest, Refused> {
    Cache::builder()
        .max_capacity(limits::MAX_REFUSED_CODES)
        .time_to_live(limits::LOGIN_CODE_LIFE)
        .build()
}

fn kept_logins() -> Cache<CodeDigest, Kept> {
    let weight = |_: &CodeDigest, kept: &Kept| {
        let least = u32::try_from(limits::KEPT_LOGIN_BYTES).unwrap_or(u32::MAX);
        u32::try_from(kept.answer.size())
            .unwrap_or(u32::MAX)
            .max(least)
    };
    Cache::builder()
        .weigher(weight)
        .max_capacity(limits::MAX_KEPT_LOGIN_BYTES)
        .time_to_live(limits::LOGIN_CODE_LIFE)
        .build()
}

enum Joined {
    Known(Outcome),
    Flight(watch::Receiver<Option<Outcome>>),
}

/// Why there is nothing to join. Who may have to try again has the redemption back.
enum NotJoined {
    Busy(Busy),
    Unpaid(Unpaid, Box<Redemption>),
}

/// Takes the flight off the list when its task ends, also by a bug.
struct Landing {
    desk: Arc<Inner>,
    digest: CodeDigest,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.desk.flights.lock().remove(&self.digest);
    }
}

/// What is sealed under a code.
#[derive(Serialize, Deserialize)]
struct KeptAnswer<'a> {
    token: &'a str,
    openid: &'a str,
    unionid: Option<&'a str>,
    since: u64,
    /// In a list, for it may be `null`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    data: Option<[&'a RawValue; 1]>,
}

impl Inner {
    /// What is known of a code already.
    fn known(&self, digest: &CodeDigest, redemption: &Redemption) -> Option<Outcome> {
        let now = self.clock.now();
        if let Some(kept) = self.kept.get(digest).filter(|kept| now < kept.until)
            && let Some(answer) = open_kept(&kept.answer, redemption)
        {
            return Some(Ok(Arc::new(answer)));
        }
        let refused = self
            .refused
            .get(digest)
            .filter(|refused| now < refused.until)?;
        Some(Err(refused.error))
    }

    async fn redeem(
        &self,
        digest: CodeDigest,
        mut redemption: Redemption,
        attempt: Attempt,
    ) -> Outcome {
        let hook = redemption.hook.take();
        let Redemption { app, code, .. } = &redemption;
        let asked = self.clock.now();
        let verdict = self.wechat.redeem(&app.credential(), code).await;
        // Others from the address wait for what WeChat says, and for nothing that comes after.
        if verdict.as_ref().is_err_and(RedeemError::blames_code) {
            attempt.charge_refused(self.clock.now());
        } else {
            drop(attempt);
        }
        let logged_in = match verdict {
            Ok(redeemed) => self.log_in(&redemption, hook, redeemed, asked).await,
            Err(error) => Err(LoginError::Redeem(Arc::new(error))),
        };
        match logged_in {
            Ok(logged_in) => {
                self.keep(digest, &redemption, &logged_in);
                Ok(Arc::new(logged_in))
            }
            Err(error) => {
                self.remember_refusal(digest, &error);
                Err(error)
            }
        }
    }

    /// Makes a session of what WeChat said, unless the app server does not agree.
    async fn log_in(
        &self,
        redemption: &Redemption,
        hook: Option<Hook>,
        redeemed: Redeemed,
        asked: Timestamp,
    ) -> Result<LoggedIn, LoginError> {
        let holder = Holder {
            app: redemption.app.id.clone(),
            openid: redeemed.openid,
            unionid: redeemed.unionid,
        };
        let data = match hook {
            Some(hook) => {
                let said = hook.ask(JustRedeemed::of(holder.clone())).await;
                Some(said.ok_or(LoginError::Refused)?)
            }
            None => None,
        };
        let token = token::issue();
        let now = self.clock.now();
        let session = Session::begin(token::digest(&token), holder.clone(), now);
        let login = Login {
            session: Arc::new(session),
            key: redeemed.session_key,
            redeemed: asked,
            replaces: redemption.replaces,
            max_per_user: redemption.max_per_user,
        };
        let displaced = self.store.begin(login, now, &redemption.lifetimes);
        // Nobody asked for these endings, so nobody is told when one is not safe: the store is.
        let _ended = displaced.landed_at_login().await;
        Ok(LoggedIn {
            token,
            holder,
            since: now,
            data,
        })
    }

    /// Keeps the answer for a repeat of the code. Who has the code can have the answer; who has
    /// this memory cannot.
    fn keep(&self, digest: CodeDigest, redemption: &Redemption, logged_in: &LoggedIn) {
        if redemption.retry_window.is_zero() {
            return;
        }
        let kept = KeptAnswer {
            // Exposed to be sealed at once.
            token: logged_in.token.expose(),
            openid: logged_in.holder.openid.as_str(),
            unionid: logged_in.holder.unionid.as_ref().map(UnionId::as_str),
            since: logged_in.since.as_millis(),
            data: logged_in.data.as_ref().map(|data| [data.as_raw()]),
        };
        let Ok(plain) = serde_json::to_vec(&kept).map(zeroize::Zeroizing::new) else {
            return;
        };
        let answer = SealedAnswer::seal(&redemption.app.id, &redemption.code, &plain);
        let until = self.clock.now().plus(redemption.retry_window);
        self.kept.insert(
            digest,
            Kept {
                answer: Arc::new(answer),
                until,
            },
        );
    }

    /// Remembers a code that is used up. Whether WeChat or the app server refused: asking again
    /// cannot lead to anything else.
    fn remember_refusal(&self, digest: CodeDigest, error: &LoginError) {
        let final_word = match error {
            LoginError::Redeem(error) => error.blames_code(),
            LoginError::Refused => true,
        };
        if final_word {
            let until = self.clock.now().plus(limits::LOGIN_CODE_LIFE);
            let error = error.clone();
            self.refused.insert(digest, Refused { error, until });
        }
    }
}

fn open_kept(answer: &SealedAnswer, redemption: &Redemption) -> Option<LoggedIn> {
    let app: &AppId = &redemption.app.id;
    let plain = answer.open(app, &redemption.code)?;
    let kept: KeptAnswer<'_> = serde_json::from_slice(&plain).ok()?;
    let unionid = kept.unionid.map(UnionId::parse).transpose().ok()?;
    let openid = OpenId::parse(kept.openid).ok()?;
    Some(LoggedIn {
        token: SessionToken::parse(kept.token)?,
        holder: Holder {
            app: app.clone(),
            openid,
            unionid,
        },
        since: Timestamp::from_millis(kept.since),
        data: kept.data.map(|[data]| HookData::from_raw(data)),
    })
}

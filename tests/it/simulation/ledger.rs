//! What everybody in a story knows to be true: what was asked, by whom, and what must come of it. Every
//! step is held against it; the first that does not fit is kept.

use wxgate::domain::clock::Timestamp;

use crate::simulation::net::Tap;
use crate::simulation::sessions::{Sessions, Terms};
use crate::simulation::wechat::Codes;
use crate::simulation::wire::Head;
use crate::simulation::world::wall;
use crate::support::APPID;

/// The token that a request shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    None,
    /// A session's.
    Of(usize),
    /// Nobody's.
    Strange,
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// The app server, on a path that asks for nothing, for no wrong token, or for a session.
    Public,
    Optional,
    Private,
    /// The gate's own routes.
    Login {
        code: String,
    },
    Logout {
        all: bool,
    },
    Session,
}

/// Something that a client asks, known by its number, its tag.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) about: About,
    pub(super) claim: Claim,
    pub(super) method: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) sent: Timestamp,
    /// Whether its session was dead for certain when it was sent.
    dead: bool,
    /// Whether an app server has begun to answer it, and so may have broken off.
    pub(super) begun: bool,
    open: bool,
}

/// How often what happened, over all stories: so that it is known that it did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) served: usize,
    pub(super) identified: usize,
    pub(super) refused: usize,
    pub(super) logins: usize,
    pub(super) same_again: usize,
    pub(super) failed: usize,
    pub(super) broken: usize,
    pub(super) gone: usize,
    pub(super) repeated: usize,
    pub(super) evicted: usize,
    pub(super) ran_out: usize,
    pub(super) logouts: usize,
    pub(super) over_http2: usize,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.served += other.served;
        self.identified += other.identified;
        self.refused += other.refused;
        self.logins += other.logins;
        self.same_again += other.same_again;
        self.failed += other.failed;
        self.broken += other.broken;
        self.gone += other.gone;
        self.repeated += other.repeated;
        self.evicted += other.evicted;
        self.ran_out += other.ran_out;
        self.logouts += other.logouts;
        self.over_http2 += other.over_http2;
    }
}

#[derive(Debug)]
pub(super) struct Ledger {
    /// When somebody reads along.
    pub(super) trace: Option<Vec<String>>,
    pub(super) violation: Option<String>,
    pub(super) asks: Vec<Ask>,
    pub(super) sessions: Sessions,
    pub(super) codes: Codes,
    pub(super) counts: Counts,
    /// Connections to the app server.
    pub(super) taps: Vec<Tap>,
}

impl Ledger {
    pub(super) fn new(terms: Terms, traced: bool) -> Self {
        Self {
            trace: traced.then(Vec::new),
            violation: None,
            asks: Vec::new(),
            sessions: Sessions::new(terms),
            codes: Codes::default(),
            counts: Counts::default(),
            taps: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!(
                "{:>8} {}",
                wall().as_millis() % 100_000_000,
                text()
            ));
        }
    }

    pub(super) fn fail(&mut self, text: String) {
        self.note(|| format!("VIOLATION: {text}"));
        self.violation.get_or_insert(text);
    }

    /// Fails unless this went well.
    pub(super) fn hold(&mut self, held: Result<(), String>) {
        if let Err(text) = held {
            self.fail(text);
        }
    }

    #[expect(clippy::unused_self, reason = "it is the ledger's word")]
    pub(super) fn openid(&self, user: usize) -> String {
        format!("oUser-{user}")
    }

    /// WeChat has just accepted this code.
    pub(super) fn begin(&mut self, user: usize, code: &str) {
        let presented = self.codes.presented(code);
        self.sessions.begin(user, code, &presented, wall());
    }

    /// Notes something before it is sent; gives its tag.
    pub(super) fn ask(
        &mut self,
        about: About,
        claim: Claim,
        (method, body): (&'static str, Vec<u8>),
    ) -> usize {
        let now = wall();
        let mut dead = false;
        if let Claim::Of(session) = claim {
            dead = self.sessions.is_dead(session, now);
            match &about {
                About::Logout { all } => self.sessions.ending(session, *all, now),
                About::Public | About::Optional | About::Private => {}
                About::Login { .. } | About::Session => {}
            }
            self.sessions.send(session, now);
        }
        if let About::Login { code } = &about {
            let session = match claim {
                Claim::Of(session) => Some(session),
                Claim::None | Claim::Strange => None,
            };
            self.codes.present(code, session);
        }
        let tag = self.asks.len();
        self.note(|| {
            format!(
                "{tag}: {method} {about:?} {claim:?} {} bytes, dead: {dead}",
                body.len()
            )
        });
        self.asks.push(Ask {
            about,
            claim,
            method,
            body,
            sent: now,
            dead,
            begun: false,
            open: true,
        });
        tag
    }

    /// Nobody waits for an answer any more, or none will come.
    pub(super) fn give_up(&mut self, tag: usize, why: &str) {
        self.note(|| format!("{tag}: given up: {why}"));
        let ask = &mut self.asks[tag];
        if !std::mem::replace(&mut ask.open, false) {
            return;
        }
        self.counts.gone += 1;
        if let Claim::Of(session) = ask.claim {
            if ask.about == (About::Logout { all: true }) {
                self.sessions.no_longer_ending_all(session, true, wall());
            }
            self.sessions.abandoned(session, wall());
        }
    }

    /// The identity that the app server must be told, if any; an error when it must not be asked at all.
    fn identity(&self, ask: &Ask) -> Result<Option<String>, String> {
        match (&ask.about, &ask.claim) {
            (About::Public, _) | (About::Optional, Claim::None) => Ok(None),
            (About::Optional | About::Private, Claim::Of(session)) if !ask.dead => {
                Ok(Some(self.openid(self.sessions.get(*session).user)))
            }
            _ => Err(format!(
                "an app server was asked: {:?} {:?}",
                ask.about, ask.claim
            )),
        }
    }

    /// Looks at the head of a request to an app server: whose it is, and what it says of identity.
    pub(super) fn check_head(&self, head: &Head) -> Result<usize, String> {
        let tag = tag_of(head.word(1)).ok_or_else(|| format!("an unknown target: {head:?}"))?;
        let ask = self.asks.get(tag).ok_or("a request that nobody made")?;
        if head.word(0) != ask.method {
            return Err(format!("{tag}: another method: {head:?}"));
        }
        let mut told = identity_fields(&head.fields);
        told.sort();
        let expected = match self.identity(ask)? {
            None => Vec::new(),
            Some(openid) => vec![
                ("X-WX-APPID".to_owned(), APPID.to_owned()),
                ("X-WX-OPENID".to_owned(), openid),
                ("X-WX-SOURCE".to_owned(), "wx_client".to_owned()),
            ],
        };
        if told != expected {
            return Err(format!("{tag}: told {told:?} instead of {expected:?}"));
        }
        let known = self.sessions.known().iter();
        let mut tokens = known.filter_map(|session| self.sessions.token(*session));
        if tokens.any(|token| head.fields.iter().any(|(_, value)| value.contains(token))) {
            return Err(format!("{tag}: a token reached the app server"));
        }
        Ok(tag)
    }

    /// Whether a request may be sent again, where it can be told from what it is.
    pub(super) fn is_harmless(&self, tag: usize) -> bool {
        let ask = &self.asks[tag];
        matches!(ask.method, "GET" | "HEAD" | "OPTIONS") && ask.body.is_empty()
    }

    /// A client has an answer of the app server's to what it asked, told to be to this tag and user.
    pub(super) fn served(&mut self, tag: usize, told: &str, openid: &str) {
        let ask = self.asks[tag].clone();
        if told != tag.to_string() {
            self.fail(format!("{tag}: has the answer to {told}"));
        }
        match self.identity(&ask) {
            Err(text) => self.fail(format!("{tag}: {text}")),
            Ok(expected) => {
                if expected.as_deref().unwrap_or("-") != openid {
                    self.fail(format!("{tag}: served as {openid}, not {expected:?}"));
                }
                self.counts.identified += usize::from(expected.is_some());
            }
        }
        self.counts.served += 1;
        self.close(tag, true);
    }

    /// A client has an answer of the gate's own.
    pub(super) fn answered(&mut self, tag: usize, status: u16, code: &str, text: &str) {
        let ask = self.asks[tag].clone();
        self.note(|| format!("{tag}: {status} {code}"));
        let now = wall();
        let (needs, looks) = match ask.about {
            About::Public | About::Login { .. } => (false, false),
            About::Optional => (false, true),
            About::Private | About::Logout { .. } | About::Session => (true, true),
        };
        // An answer to HEAD says no more than its status.
        let says = |expected: &str| status == 401 && (code == expected || ask.method == "HEAD");
        let (required, expired) = (says("session_required"), says("session_expired"));
        let may_be = match (&ask.claim, looks) {
            (_, false) => status != 401,
            (Claim::None, true) if needs => required,
            (Claim::None, true) => status != 401,
            (Claim::Strange, true) => expired,
            (Claim::Of(_), true) if ask.dead => expired,
            (Claim::Of(session), true) => {
                status != 401 || (expired && !self.sessions.lives(*session, now))
            }
        };
        if !may_be {
            self.fail(format!(
                "{tag}: {:?} {:?} answered {status} {code}",
                ask.about, ask.claim
            ));
        }
        match status {
            200 | 204 => self.own_route(tag, &ask, text),
            401 => self.counts.refused += 1,
            _ => self.counts.failed += 1,
        }
        self.close(tag, (200..300).contains(&status));
    }

    /// One of the gate's own routes did what it is there for.
    fn own_route(&mut self, tag: usize, ask: &Ask, text: &str) {
        let now = wall();
        match (&ask.about, &ask.claim) {
            (About::Login { code }, _) => {
                let answer: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
                let token = answer["token"].as_str().unwrap_or_default();
                let openid = answer["openid"].as_str().unwrap_or_default();
                let user = self.codes.user(code).map(|user| self.openid(user));
                if user.as_deref() != Some(openid) {
                    self.fail(format!("{tag}: {code} of {user:?} logged {openid} in"));
                }
                let again = self.sessions.with_token(token).is_some();
                self.counts.same_again += usize::from(again);
                self.counts.logins += usize::from(!again);
                let learned = self.sessions.learn(token, code);
                self.hold(learned.map(|_session| ()));
            }
            (About::Logout { all }, Claim::Of(session)) => {
                self.counts.logouts += 1;
                self.sessions.ended(*session, *all, ask.sent, now);
            }
            (About::Session, Claim::Of(_)) => {}
            _ => self.fail(format!("{tag}: an answer for nothing: {ask:?}")),
        }
    }

    fn close(&mut self, tag: usize, used: bool) {
        let ask = &mut self.asks[tag];
        if !std::mem::replace(&mut ask.open, false) {
            self.fail(format!("{tag}: answered twice"));
            return;
        }
        // A login does not look whether the session of its token lives, and a public path neither.
        let uses = used && !matches!(ask.about, About::Login { .. } | About::Public);
        let sent = ask.sent;
        if let Claim::Of(session) = ask.claim {
            if ask.about == (About::Logout { all: true }) {
                self.sessions.no_longer_ending_all(session, false, wall());
            }
            self.sessions.answered(session, sent, uses, wall());
        }
    }
}

/// The tag in a target: `/private/12`.
pub(super) fn tag_of(target: &str) -> Option<usize> {
    target.split('/').nth(2)?.parse().ok()
}

/// What is said of identity, under any name that some server takes for it.
pub(super) fn identity_fields(fields: &[(String, String)]) -> Vec<(String, String)> {
    let folded = |name: &str| name.to_ascii_lowercase().replace(['_', '.'], "-");
    let of_identity = fields
        .iter()
        .filter(|(name, _)| folded(name).starts_with("x-wx-"));
    of_identity.cloned().collect()
}

//! Access tokens: how `cgi-bin/token` and `cgi-bin/stable_token` make them, each in a line of its
//! own, and how long they are good for. Knows nothing of requests and secrets.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::crypto::random;
use crate::domain::clock::Timestamp;
use crate::domain::id::AppId;
use crate::sim::recent::Recent;

/// Mini programs whose tokens are remembered.
const MAX_APPS: usize = 10_000;

/// Tokens that are remembered, good or not.
const MAX_TOKENS: usize = 100_000;

/// How long a token is good for, by the documentation of `cgi-bin/token`.
const TOKEN_TTL: Duration = Duration::from_hours(2);

/// How long a token is good for after the next was made. Also how long before its end a stable
/// token is replaced, which comes to the same.
const OVERLAP: Duration = Duration::from_mins(5);

/// Forced refreshes that are taken on one day, by the documentation of `cgi-bin/stable_token`.
const MAX_FORCED_A_DAY: u32 = 20;

/// A forced refresh that comes sooner after the last does nothing.
const FORCED_APART: Duration = Duration::from_secs(30);

/// WeChat's days begin at midnight in China.
const CHINA: Duration = Duration::from_hours(8);

/// What stands before the random part: real tokens begin with a number, too.
const PREFIX: &str = "57_";

/// Random bytes of a token, which makes its text as long as real ones.
const RANDOM_BYTES: usize = 100;

/// Characters of the random part.
const RANDOM_CHARS: usize = (RANDOM_BYTES * 4).div_ceil(3);

/// The two kinds of tokens, which leave each other alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// From `cgi-bin/token`.
    Plain,
    /// From `cgi-bin/stable_token`.
    Stable,
}

/// A token as it is given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) token: Box<str>,
    pub(super) expires_in_secs: u64,
}

/// What a token that somebody presents is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// For the APIs of this mini program.
    Good(AppId),
    /// For nothing any more: its time is over.
    Expired,
    /// For nothing: replaced, invalidated, or never given out.
    Invalid,
    /// For nothing: no token looks like this.
    Malformed,
}

/// All forced refreshes of the day are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QuotaUsed;

#[derive(Debug)]
struct Issued {
    app: AppId,
    kind: Kind,
    serial: u64,
    expires: Timestamp,
    /// When the next one takes over for good.
    retired: Timestamp,
}

/// The tokens of one mini program and kind.
#[derive(Debug, Default)]
struct Line {
    current: Option<Box<str>>,
    /// Tokens up to this serial number are no good, whatever their time.
    invalidated: u64,
    forced_at: Option<Timestamp>,
    /// A day since 1970, and how often a refresh was forced on it.
    forced: (u64, u32),
}

/// All tokens of all mini programs.
#[derive(Debug)]
pub(super) struct Tokens {
    serial: u64,
    lines: Recent<(Box<str>, Kind), Line>,
    issued: Recent<Box<str>, Issued>,
}

impl Tokens {
    pub(super) fn new() -> Self {
        Self {
            serial: 0,
            lines: Recent::new(MAX_APPS),
            issued: Recent::new(MAX_TOKENS),
        }
    }

    /// A new token of `cgi-bin/token`; the one before is good for five minutes more.
    pub(super) fn plain(&mut self, app: &AppId, now: Timestamp) -> Given {
        let current = self.line(app, Kind::Plain).current.take();
        if let Some(before) = current.and_then(|token| self.issued.get(&token)) {
            before.retired = before.retired.min(now.plus(OVERLAP));
        }
        self.make(app, Kind::Plain, now)
    }

    /// The token of `cgi-bin/stable_token`: a new one only in the last five minutes of the old.
    pub(super) fn stable(&mut self, app: &AppId, now: Timestamp) -> Given {
        self.lasting(app, now)
            .unwrap_or_else(|| self.make(app, Kind::Stable, now))
    }

    /// A new token of `cgi-bin/stable_token`, and the end of the old one at once. Within thirty
    /// seconds of the last time it is as if nothing had been forced.
    pub(super) fn forced(&mut self, app: &AppId, now: Timestamp) -> Result<Given, QuotaUsed> {
        let serial = self.serial;
        let today = day(now);
        let line = self.line(app, Kind::Stable);
        if line
            .forced_at
            .is_some_and(|at| now.since(at) < FORCED_APART)
        {
            return Ok(self.stable(app, now));
        }
        if line.forced.0 != today {
            line.forced = (today, 0);
        }
        if line.forced.1 >= MAX_FORCED_A_DAY {
            return Err(QuotaUsed);
        }
        line.forced.1 += 1;
        line.forced_at = Some(now);
        line.invalidated = serial;
        Ok(self.make(app, Kind::Stable, now))
    }

    /// Makes all tokens of a mini program invalid. The next call of either API makes a new one.
    pub(super) fn invalidate(&mut self, app: &AppId) {
        let serial = self.serial;
        for kind in [Kind::Plain, Kind::Stable] {
            let line = self.line(app, kind);
            line.invalidated = serial;
            line.current = None;
        }
    }

    /// What this token is good for now.
    pub(super) fn look_up(&mut self, token: &str, now: Timestamp) -> Standing {
        if !well_formed(token) {
            return Standing::Malformed;
        }
        let Some(issued) = self.issued.get(token) else {
            return Standing::Invalid;
        };
        let (app, kind, serial) = (issued.app.clone(), issued.kind, issued.serial);
        let (expires, retired) = (issued.expires, issued.retired);
        if serial <= self.line(&app, kind).invalidated || now >= retired {
            Standing::Invalid
        } else if now >= expires {
            Standing::Expired
        } else {
            Standing::Good(app)
        }
    }

    /// The current stable token, unless it is in its last five minutes.
    fn lasting(&mut self, app: &AppId, now: Timestamp) -> Option<Given> {
        let token = self.line(app, Kind::Stable).current.clone()?;
        let left = self.issued.get(&token)?.expires.since(now);
        (left > OVERLAP).then_some(Given {
            token,
            expires_in_secs: left.as_secs(),
        })
    }

    fn make(&mut self, app: &AppId, kind: Kind, now: Timestamp) -> Given {
        self.serial += 1;
        let token: Box<str> = format!(
            "{PREFIX}{}",
            URL_SAFE_NO_PAD.encode(random::bytes::<RANDOM_BYTES>())
        )
        .into();
        let issued = Issued {
            app: app.clone(),
            kind,
            serial: self.serial,
            expires: now.plus(TOKEN_TTL),
            retired: Timestamp::NEVER,
        };
        self.issued.get_or_insert_with(token.clone(), || issued);
        self.line(app, kind).current = Some(token.clone());
        Given {
            token,
            expires_in_secs: TOKEN_TTL.as_secs(),
        }
    }

    fn line(&mut self, app: &AppId, kind: Kind) -> &mut Line {
        let key = (app.as_str().into(), kind);
        self.lines.get_or_insert_with(key, Line::default)
    }
}

fn well_formed(token: &str) -> bool {
    token.strip_prefix(PREFIX).is_some_and(|random| {
        let base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        random.len() == RANDOM_CHARS && random.bytes().all(base64url)
    })
}

fn day(now: Timestamp) -> u64 {
    now.plus(CHINA).as_secs() / Duration::from_hours(24).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn after(secs: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(secs))
    }

    fn app() -> AppId {
        AppId::parse("wx1").unwrap()
    }

    #[test]
    fn what_was_never_given_out_is_good_for_nothing() {
        let mut tokens = Tokens::new();
        let token = tokens.stable(&app(), NOW).token;
        assert_eq!(tokens.look_up(&token, NOW), Standing::Good(app()));
        let swapped: String = format!("{PREFIX}{}", "A".repeat(RANDOM_CHARS));
        assert_eq!(tokens.look_up(&swapped, NOW), Standing::Invalid);
        for malformed in ["", "x", PREFIX, &format!("{token}A"), &format!("58{token}")] {
            assert_eq!(tokens.look_up(malformed, NOW), Standing::Malformed);
        }
    }

    #[test]
    fn a_plain_token_is_good_for_five_minutes_after_the_next_was_made() {
        let mut tokens = Tokens::new();
        let first = tokens.plain(&app(), NOW).token;
        let second = tokens.plain(&app(), after(100)).token;
        assert_ne!(first, second);
        assert_eq!(tokens.look_up(&first, after(399)), Standing::Good(app()));
        assert_eq!(tokens.look_up(&first, after(400)), Standing::Invalid);
        assert_eq!(tokens.look_up(&second, after(7299)), Standing::Good(app()));
        assert_eq!(tokens.look_up(&second, after(7300)), Standing::Expired);
    }

    #[test]
    fn a_stable_token_stays_the_same_until_its_last_five_minutes() {
        let mut tokens = Tokens::new();
        let first = tokens.stable(&app(), NOW);
        assert_eq!(first.expires_in_secs, 7200);
        let still = tokens.stable(&app(), after(6899));
        assert_eq!((&still.token, still.expires_in_secs), (&first.token, 301));
        let next = tokens.stable(&app(), after(6900));
        assert_ne!(next.token, first.token);
        assert_eq!(next.expires_in_secs, 7200);
        for token in [&first.token, &next.token] {
            assert_eq!(tokens.look_up(token, after(7199)), Standing::Good(app()));
        }
        let over = tokens.look_up(&first.token, after(7200));
        assert_eq!(over, Standing::Expired);
    }

    #[test]
    fn the_two_kinds_and_two_mini_programs_leave_each_other_alone() {
        let other = AppId::parse("wx2").unwrap();
        let mut tokens = Tokens::new();
        let stable = tokens.stable(&app(), NOW).token;
        let others = tokens.stable(&other, NOW).token;
        tokens.plain(&app(), NOW);
        tokens.plain(&app(), NOW);
        tokens.forced(&other, after(1)).unwrap();
        let much_later = after(1000);
        assert_eq!(tokens.stable(&app(), much_later).token, stable);
        assert_eq!(tokens.look_up(&stable, much_later), Standing::Good(app()));
        assert_eq!(tokens.look_up(&others, much_later), Standing::Invalid);
    }

    #[test]
    fn a_forced_refresh_ends_the_old_token_at_once_and_is_rationed() {
        let mut tokens = Tokens::new();
        let first = tokens.stable(&app(), NOW).token;
        let second = tokens.forced(&app(), NOW).unwrap().token;
        assert_eq!(tokens.look_up(&first, NOW), Standing::Invalid);
        assert_eq!(tokens.forced(&app(), after(29)).unwrap().token, second);
        for count in 1..20 {
            tokens.forced(&app(), after(30 * count)).unwrap();
        }
        assert_eq!(tokens.forced(&app(), after(600)), Err(QuotaUsed));
        // NOW is 22:13 UTC, which is 6:13 in China.
        let tomorrow = after(18 * 3600);
        assert!(tokens.forced(&app(), tomorrow).is_ok());
    }

    #[test]
    fn invalidated_tokens_are_invalid_and_the_next_call_makes_a_new_one() {
        let mut tokens = Tokens::new();
        let before = [
            tokens.plain(&app(), NOW).token,
            tokens.plain(&app(), NOW).token,
            tokens.stable(&app(), NOW).token,
        ];
        tokens.invalidate(&app());
        for token in &before {
            assert_eq!(tokens.look_up(token, NOW), Standing::Invalid);
        }
        let next = tokens.stable(&app(), NOW).token;
        assert_eq!(tokens.look_up(&next, NOW), Standing::Good(app()));
    }
}

//! Codes of logins and phone buttons: they work once, for one mini program, for five minutes. Knows nothing of requests.

use std::time::Duration;

use crate::crypto::random;
use crate::domain::clock::Timestamp;
use crate::domain::id::AppId;
use crate::sim::recent::Recent;
use crate::sim::wechat::users::UserName;

/// Codes that are remembered, used or not.
const MAX_CODES: usize = 100_000;

/// How long a code works, by the documentation of `wx.login` and of the phone button.
const CODE_TTL: Duration = Duration::from_mins(5);

/// What a code turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Redeemed {
    /// Good, and spent by having been looked at.
    By(UserName),
    /// Never issued, or forgotten.
    Unknown,
    /// Good once.
    Used,
    /// Made by another mini program.
    Elsewhere,
    /// Good for too long.
    Expired,
}

#[derive(Debug)]
struct Issued {
    app: AppId,
    user: UserName,
    at: Timestamp,
    used: bool,
}

/// The codes that were issued.
#[derive(Debug)]
pub(super) struct IssuedCodes(Recent<Box<str>, Issued>);

impl IssuedCodes {
    pub(super) fn new() -> Self {
        Self(Recent::new(MAX_CODES))
    }

    /// A new code, of the length that real ones have.
    pub(super) fn issue(&mut self, app: &AppId, user: &UserName, now: Timestamp) -> String {
        let code = format!("{:032x}", u128::from_be_bytes(random::bytes()));
        self.0.get_or_insert_with(code.as_str().into(), || Issued {
            app: app.clone(),
            user: user.clone(),
            at: now,
            used: false,
        });
        code
    }

    /// Looks a code up and spends it.
    pub(super) fn redeem(&mut self, code: &str, app: &AppId, now: Timestamp) -> Redeemed {
        let Some(issued) = self.0.get(code) else {
            return Redeemed::Unknown;
        };
        if issued.app != *app {
            return Redeemed::Elsewhere;
        }
        if now.since(issued.at) >= CODE_TTL {
            return Redeemed::Expired;
        }
        if std::mem::replace(&mut issued.used, true) {
            return Redeemed::Used;
        }
        Redeemed::By(issued.user.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[test]
    fn a_code_works_once_for_its_app_and_for_five_minutes() {
        let (app, other) = (AppId::parse("wx1").unwrap(), AppId::parse("wx2").unwrap());
        let alice = UserName::parse("alice").unwrap();
        let mut codes = IssuedCodes::new();
        let code = codes.issue(&app, &alice, NOW);
        let late = codes.issue(&app, &alice, NOW);
        let last = NOW.plus(Duration::from_millis(299_999));
        assert_eq!(code.len(), 32);
        assert_eq!(codes.redeem("other", &app, NOW), Redeemed::Unknown);
        assert_eq!(codes.redeem(&code, &other, NOW), Redeemed::Elsewhere);
        assert_eq!(codes.redeem(&code, &app, last), Redeemed::By(alice));
        assert_eq!(codes.redeem(&code, &app, last), Redeemed::Used);
        let over = NOW.plus(CODE_TTL);
        assert_eq!(codes.redeem(&late, &app, over), Redeemed::Expired);
    }
}

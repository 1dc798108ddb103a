//! `[limits]`: what a client may use up of the operator's quota at WeChat.

use std::time::Duration;

use crate::config::key::Key;
use crate::domain::rate::Rate;
use crate::gateway::RateLimits;

const REFUSED_LOGINS: (u32, Duration) = (30, Duration::from_mins(1));
const DECRYPT_FAILURES: (u32, Duration) = (10, Duration::from_mins(1));

/// Reads `[limits]`.
pub(super) fn read(table: &Key<'_>) -> RateLimits {
    let default = |(count, per)| Rate::new(count, per);
    RateLimits {
        refused_logins_per_ip: table
            .key("refused_logins_per_ip")
            .rate_or_off(default(REFUSED_LOGINS)),
        logins_per_app: table.key("logins_per_app").rate_or_off(None),
        decrypt_failures_per_session: table
            .key("decrypt_failures_per_session")
            .rate_or_off(default(DECRYPT_FAILURES)),
    }
}

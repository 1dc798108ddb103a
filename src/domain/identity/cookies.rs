//! Session tokens in a cookie: read from the one of this name, and taken out in every spelling that some
//! server takes for it. Every other byte of the cookies stays as it came.

use crate::domain::cookie::{self, CookieName};
use crate::domain::fields::HeaderFields;
use crate::domain::identity::tokens::{AmbiguousToken, TokenClaim};
use crate::domain::names;
use crate::domain::token::SessionToken;

/// Reads the cookie of this name and takes it out, whatever it holds. Twice is too often: which of two
/// counts depends on who reads them.
pub(in crate::domain::identity) fn take(
    fields: &mut HeaderFields,
    name: &CookieName,
) -> Result<TokenClaim, AmbiguousToken> {
    let (mut claims, mut is_there) = (Vec::new(), false);
    let lines = fields.all(names::COOKIE);
    for cookie in lines.flat_map(|line| cookie::cookies(line.value())) {
        is_there |= name.is_alike(cookie.name());
        if name.is(cookie.name()) {
            let token = SessionToken::from_bytes(cookie.value());
            claims.push(token.map_or(TokenClaim::Malformed, TokenClaim::Token));
        }
    }
    if is_there {
        let is_ours = |cookie: cookie::Cookie<'_>| name.is_alike(cookie.name());
        fields.rewrite(names::COOKIE, |line| cookie::without(line, is_ours));
    }
    match claims.pop() {
        Some(_) if !claims.is_empty() => Err(AmbiguousToken),
        claim => Ok(claim.unwrap_or(TokenClaim::None)),
    }
}

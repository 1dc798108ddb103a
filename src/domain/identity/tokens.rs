//! Session tokens in a request: read in their places, and taken out wherever they stand. Knows
//! nothing of the sessions behind them.

use http::HeaderName;

use crate::domain::cookie::CookieName;
use crate::domain::fields::HeaderFields;
use crate::domain::identity::rules::TokenPlace;
use crate::domain::identity::{Unclean, cookies, query, subprotocol};
use crate::domain::names;
use crate::domain::request::RequestHead;
use crate::domain::token::SessionToken;
use crate::domain::websocket::WebSocketRequest;

/// How `Authorization` says that a token follows (RFC 6750 §2.1), in any case.
const SCHEME: &[u8] = b"bearer ";

/// Two different tokens, or two in one place: which of them counts is not for the gate to guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request carries more than one session token")]
pub struct AmbiguousToken;

/// What a request shows to be taken for a user.
#[derive(Clone, Debug)]
pub enum TokenClaim {
    /// No token.
    None,
    /// Something in a place that only the gate uses, not of a token's shape.
    Malformed,
    /// A text of a token's shape.
    Token(SessionToken),
}

/// A token, and what it came in when that was a cookie alone.
type Taken = (TokenClaim, Option<CookieName>);

/// Reads tokens in their places, in order, and takes out every one of them.
pub(in crate::domain::identity) fn take(
    head: &mut RequestHead,
    mut websocket: Option<&mut WebSocketRequest>,
    places: &[TokenPlace],
) -> Result<Taken, Unclean> {
    let mut claim = TokenClaim::None;
    let mut carrier = Carrier::Nothing;
    for place in places {
        let found = match (place, websocket.as_deref_mut()) {
            (TokenPlace::Authorization, _) => take_bearer(&mut head.fields)?,
            (TokenPlace::Header(name), _) => take_header(&mut head.fields, name)?,
            (TokenPlace::Query(name), Some(_)) => query::take(&mut head.uri, name)?,
            (TokenPlace::WebSocketProtocol, Some(websocket)) => {
                subprotocol::take(&mut head.fields, websocket)?
            }
            (TokenPlace::Query(name), None) => {
                query::hide(&mut head.uri, name)?;
                TokenClaim::None
            }
            (TokenPlace::WebSocketProtocol, None) => TokenClaim::None,
            (TokenPlace::Cookie(name), _) => cookies::take(&mut head.fields, name)?,
        };
        if !matches!(found, TokenClaim::None) {
            carrier = carrier.and(place);
        }
        claim = claim.join(found)?;
    }
    // Not looked for there, so it counts for nothing; but a token is a secret of the client's and
    // the gate's, and goes no further wherever it stands.
    if !places.contains(&TokenPlace::Authorization) {
        take_bearer(&mut head.fields)?;
    }
    subprotocol::hide(&mut head.fields);
    match carrier {
        Carrier::Cookie(name) => Ok((claim, Some(name.clone()))),
        Carrier::Nothing | Carrier::Client => Ok((claim, None)),
    }
}

/// By what a token came.
#[derive(Clone, Copy)]
enum Carrier<'a> {
    Nothing,
    /// By a cookie alone: the browser sends it along, whichever page asks it to.
    Cookie(&'a CookieName),
    /// By something that a page must put there on purpose, and no page of another site can.
    Client,
}

impl<'a> Carrier<'a> {
    fn and(self, place: &'a TokenPlace) -> Self {
        match (self, place) {
            (Self::Nothing | Self::Cookie(_), TokenPlace::Cookie(name)) => Self::Cookie(name),
            _ => Self::Client,
        }
    }
}

impl TokenClaim {
    /// Puts together what two places say. The same token twice is one token.
    fn join(self, other: Self) -> Result<Self, AmbiguousToken> {
        match (self, other) {
            (claim, Self::None) | (Self::None, claim) => Ok(claim),
            (Self::Token(first), Self::Token(second)) if first.is(&second) => {
                Ok(Self::Token(first))
            }
            _ => Err(AmbiguousToken),
        }
    }
}

/// A gate token in `Authorization`. Anything else there is left for the app server.
fn take_bearer(fields: &mut HeaderFields) -> Result<TokenClaim, AmbiguousToken> {
    let mut count = 0;
    let mut token = None;
    for field in fields.all(names::AUTHORIZATION) {
        count += 1;
        token = token.or_else(|| bearer_token(field.value()));
    }
    match token {
        None => Ok(TokenClaim::None),
        Some(_) if count > 1 => Err(AmbiguousToken),
        Some(token) => {
            fields.remove(names::AUTHORIZATION);
            Ok(TokenClaim::Token(token))
        }
    }
}

fn bearer_token(value: &[u8]) -> Option<SessionToken> {
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme
        .eq_ignore_ascii_case(SCHEME)
        .then(|| SessionToken::from_bytes(token.trim_ascii_start()))
        .flatten()
}

fn take_header(fields: &mut HeaderFields, name: &HeaderName) -> Result<TokenClaim, AmbiguousToken> {
    let token = match (fields.get(name), fields.only(name)) {
        (None, _) => return Ok(TokenClaim::None),
        (Some(_), None) => return Err(AmbiguousToken),
        (Some(_), Some(field)) => SessionToken::from_bytes(field.value()),
    };
    fields.remove(name);
    Ok(token.map_or(TokenClaim::Malformed, TokenClaim::Token))
}

//! `[identity.jwt]` and `[identity.hmac]`: who a request is from, and what it asks for, signed for app
//! servers that can be reached around the gate. Says which claims and which lines; the arithmetic is
//! `crypto`'s, and in which headers they go out is `domain::identity`'s.
//!
//! Who is who: `domain::identity` makes a [`Statement`] of a request as it goes out, and has it signed by
//! its `Signers`, of which each is something that can [`Sign`]. Here are the two: [`Assertions`] makes
//! JWTs (an `Assertion` is one that the cache has), [`Proofs`] makes HMACs. `config::signing` reads both
//! tables into a `Signing`, that is the signers and the [`KeySet`] that is published, and
//! `IdentityRules::signed_by` takes the signers in.
//!
//! Keys are part of the settings, and what was signed by a key is part of the key: who swaps the
//! settings has nothing of the old ones left.

mod cache;
mod key_set;

pub use crate::crypto::assertion::{KeyFault, SigningKey};
pub use key_set::KeySet;

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::Serialize;

use crate::crypto::proof::ProofKey;
use crate::crypto::token;
use crate::domain::id::{OpenId, UnionId};
use crate::domain::identity::{Sign, Statement};
use crate::domain::token::TokenDigest;
use crate::gateway::signing::cache::{Assertion, AssertionCache};
use crate::telemetry::event;

/// `[identity.jwt]`: says who a request is from.
#[derive(Debug)]
pub struct Assertions {
    key: SigningKey,
    issuer: String,
    audience: Option<String>,
    ttl: Duration,
    cache: AssertionCache,
}

/// What an assertion says (RFC 7519 §4.1, and the gate's own).
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    /// The openid. A push may be from nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    appid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unionid: Option<&'a str>,
    /// The session, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    iat: u64,
    exp: u64,
}

impl Assertions {
    /// Signed by this key, good for `ttl`.
    pub fn new(key: SigningKey, issuer: String, audience: Option<String>, ttl: Duration) -> Self {
        Self {
            key,
            issuer,
            audience,
            ttl,
            cache: AssertionCache::default(),
        }
    }

    fn make(&self, statement: &Statement<'_>) -> Option<Bytes> {
        let user = &statement.user;
        let claims = Claims {
            iss: &self.issuer,
            aud: self.audience.as_deref(),
            sub: user.openid.map(OpenId::as_str),
            appid: user.app.as_str(),
            unionid: user.unionid.map(UnionId::as_str),
            sid: user.session.map(session_id),
            iat: statement.now.as_secs(),
            exp: statement.now.plus(self.ttl).as_secs(),
        };
        let signed = self.key.sign(&claims).map(Bytes::from);
        if signed.is_none() {
            // The app server refuses what is not signed, and nothing else would tell why.
            let request_id = statement.request_id.as_str();
            tracing::error!(message = event::NOT_SIGNED, request_id);
        }
        signed
    }
}

impl Sign for Assertions {
    /// One for each session, signed anew when less than half of its time is left, so that who gets one
    /// has at least that.
    fn sign(&self, statement: &Statement<'_>) -> Option<Bytes> {
        let Some(session) = statement.user.session else {
            return self.make(statement);
        };
        let now = statement.now;
        if let Some(text) = self.cache.get(session, now, self.ttl / 2) {
            return Some(text);
        }
        let text = self.make(statement)?;
        self.cache.insert(Assertion {
            session: *session,
            since: now,
            text: text.clone(),
        });
        Some(text)
    }
}

/// Under which name an app server knows a session: nothing that leads to its token, or to what it is
/// stored under.
fn session_id(session: &TokenDigest) -> String {
    URL_SAFE_NO_PAD.encode(token::session_id(session))
}

/// `[identity.hmac]`: says who a request is from and what it asks for.
pub struct Proofs(ProofKey);

impl Proofs {
    /// The version of what is signed, and how it is written.
    const VERSION: &'static str = "v1";

    /// Signed by this key, which the app server shares.
    pub fn new(key: &[u8]) -> Self {
        Self(ProofKey::new(key))
    }
}

impl fmt::Debug for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proofs(..)")
    }
}

impl Sign for Proofs {
    fn sign(&self, statement: &Statement<'_>) -> Option<Bytes> {
        let user = &statement.user;
        let mut seconds = itoa::Buffer::new();
        let seconds = seconds.format(statement.now.as_secs());
        // None of these can hold a line feed: a target has no control characters, and the others are
        // tokens of HTTP or printable ASCII.
        let signature = self.0.sign(&[
            Self::VERSION.as_bytes(),
            seconds.as_bytes(),
            statement.request_id.as_bytes(),
            statement.method.as_str().as_bytes(),
            statement.target.as_bytes(),
            user.app.as_str().as_bytes(),
            user.openid.map_or("", OpenId::as_str).as_bytes(),
            user.unionid.map_or("", UnionId::as_str).as_bytes(),
        ]);
        let parts = [Self::VERSION, ";t=", seconds, ";s="].map(str::as_bytes);
        Some(Bytes::from([&parts.concat()[..], &signature].concat()))
    }
}

#[cfg(test)]
mod tests;

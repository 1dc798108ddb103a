//! The only code that takes identity headers out of a request or puts them in.
//!
//! A request that arrives becomes a [`Clean`] one, without anything that says who sent it; a clean
//! one becomes an [`Outbound`] one by saying who did. Only an `Outbound` can be sent to the app
//! server, and neither lets its headers be changed from outside: so a request whose identity the
//! gate did not decide cannot be forwarded, because it cannot be written down.
//!
//! Knows nothing of routes or of where sessions are kept.

use std::sync::{Arc, LazyLock};

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, request};

use crate::domain::fold::NameSet;
use crate::domain::forwarded::{self, Origin, X_REQUEST_ID};
use crate::domain::hop;
use crate::domain::peer::{Peer, TrustedProxies};
use crate::domain::session::{Holder, Live};
use crate::domain::token::SessionToken;
use crate::domain::trailers::CleanBody;
use crate::domain::websocket::{BadHandshake, WebSocketRequest};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Headers by which a request asks to be taken for another method, in any spelling that a server
/// folds onto them.
static METHOD_OVERRIDES: LazyLock<NameSet> = LazyLock::new(|| {
    let names = [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ];
    NameSet::new(names, [], [])
});

/// The value of the source header: a mini program.
const SOURCE: HeaderValue = HeaderValue::from_static("wx_client");

/// The names under which the app server learns who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityNames {
    /// The user's openid.
    pub openid: HeaderName,
    /// The user's unionid, where known.
    pub unionid: HeaderName,
    /// The mini program.
    pub appid: HeaderName,
    /// That the request came from a mini program at all.
    pub source: HeaderName,
    /// The cloud environment, a fixed text.
    pub env: HeaderName,
}

impl IdentityNames {
    /// All of them.
    pub fn all(&self) -> [&HeaderName; 5] {
        [
            &self.openid,
            &self.unionid,
            &self.appid,
            &self.source,
            &self.env,
        ]
    }
}

/// A place in a request where a session token may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    /// `Authorization: Bearer wxg_…`. Anything else there is the app server's own.
    Authorization,
    /// A header that only the gate uses.
    Header(HeaderName),
}

/// Everything that decides what is taken out of a request and what is put in.
#[derive(Clone, Debug)]
pub struct IdentityRules {
    names: IdentityNames,
    env: Option<HeaderValue>,
    token_places: Vec<TokenPlace>,
    protected: NameSet,
    trusted: TrustedProxies,
}

impl IdentityRules {
    /// Rules with these names. `strip_prefixes` are taken out whole, but for what `keep` names.
    pub fn new(
        names: IdentityNames,
        env: Option<HeaderValue>,
        token_places: Vec<TokenPlace>,
        trusted: TrustedProxies,
        (strip_prefixes, keep): (&[String], &[String]),
    ) -> Self {
        let protected = NameSet::new(
            names.all().map(HeaderName::as_str),
            strip_prefixes.iter().map(String::as_str),
            keep.iter().map(String::as_str),
        );
        Self {
            names,
            env,
            token_places,
            protected,
            trusted,
        }
    }

    /// The names under which the app server learns who sent a request.
    pub fn names(&self) -> &IdentityNames {
        &self.names
    }

    /// Whether identified requests carry the cloud environment.
    pub fn has_env(&self) -> bool {
        self.env.is_some()
    }

    /// Where tokens are looked for, in this order.
    pub fn token_places(&self) -> &[TokenPlace] {
        &self.token_places
    }

    /// Whether the name may not stand in trailers: what headers are cleaned of, and what changes
    /// how a message is read (RFC 9110 §6.5.1).
    pub(in crate::domain) fn forbids_in_trailers(&self, name: &HeaderName) -> bool {
        const NEVER: [HeaderName; 6] = [
            AUTHORIZATION,
            CONTENT_LENGTH,
            CONTENT_TYPE,
            COOKIE,
            HOST,
            TRANSFER_ENCODING,
        ];
        NEVER.contains(name)
            || self.protected.has(name)
            || forwarded::is_forwarding(name)
            || self
                .token_places
                .contains(&TokenPlace::Header(name.clone()))
    }

    fn strip(&self, headers: &mut HeaderMap) -> usize {
        let found: Vec<_> = headers
            .keys()
            .filter(|name| self.protected.has(name))
            .cloned()
            .collect();
        for name in &found {
            headers.remove(name);
        }
        found.len()
    }
}

/// Why a request cannot be cleaned. Always the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unclean {
    /// Two different tokens, or two in one place.
    #[error("the request carries more than one session token")]
    AmbiguousToken,
    /// A WebSocket handshake that is not one.
    #[error(transparent)]
    Handshake(#[from] BadHandshake),
    /// None, two, or one that differs from the target's.
    #[error("the request needs exactly one Host that names its target")]
    Host,
    /// `CONNECT`, `*`, or a target without a path.
    #[error("the target of the request is not a path")]
    Target,
}

/// What the gate read in a request for itself and took out of it.
#[derive(Debug)]
pub struct Presented {
    token: TokenClaim,
    origin: Origin,
    stripped: usize,
}

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

impl Presented {
    /// What the request shows to be taken for a user.
    pub fn token(&self) -> &TokenClaim {
        &self.token
    }

    /// Where the request came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Where the request came from, to be passed on.
    pub fn into_origin(self) -> Origin {
        self.origin
    }

    /// How many protected headers the request carried that nobody but the gate may write.
    pub fn stripped(&self) -> usize {
        self.stripped
    }
}

/// Who a request is from. Nothing but the gate's own knowledge makes one.
#[derive(Clone, Debug)]
pub enum Identity {
    /// The holder of a live session.
    Session(Live),
    /// Nobody known: the app server sees no identity header at all.
    Anonymous,
}

/// A request that says nothing about who sent it.
#[derive(Debug)]
pub struct Clean<B> {
    parts: request::Parts,
    body: CleanBody<B>,
    websocket: Option<WebSocketRequest>,
    rules: Arc<IdentityRules>,
}

impl<B> Clean<B> {
    /// Takes a request apart: tokens, and what proxies say, go into [`Presented`]; headers of the
    /// connection and every identity header go.
    pub fn strip(
        request: Request<B>,
        rules: &Arc<IdentityRules>,
        peer: &Peer,
    ) -> Result<(Self, Presented), Unclean> {
        let (mut parts, body) = request.into_parts();
        settle_host(&mut parts)?;
        let websocket = WebSocketRequest::find(&parts)?;
        let token = take_token(&mut parts.headers, &rules.token_places)?;
        hop::remove(&mut parts.headers);
        let stripped = rules.strip(&mut parts.headers);
        let origin = Origin::take(&mut parts.headers, peer, &rules.trusted);
        let body = CleanBody::new(body, Arc::clone(rules));
        let clean = Self {
            parts,
            body,
            websocket,
            rules: Arc::clone(rules),
        };
        Ok((
            clean,
            Presented {
                token,
                origin,
                stripped,
            },
        ))
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.parts.method
    }

    /// The target, as it came.
    pub fn uri(&self) -> &Uri {
        &self.parts.uri
    }

    /// The headers that are left.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The methods that override headers ask for. Each counts: which of several a server takes is
    /// not known here. An error when one names no method.
    pub fn method_overrides(&self) -> Result<Vec<Method>, http::method::InvalidMethod> {
        let headers = self.parts.headers.iter();
        headers
            .filter(|(name, _)| METHOD_OVERRIDES.has(name))
            .map(|(_, value)| Method::from_bytes(&value.as_bytes().to_ascii_uppercase()))
            .collect()
    }

    /// The WebSocket that the request asks for.
    pub fn websocket(&self) -> Option<&WebSocketRequest> {
        self.websocket.as_ref()
    }

    /// What the server attached to the request; never sent on.
    pub fn extensions_mut(&mut self) -> &mut http::Extensions {
        &mut self.parts.extensions
    }

    /// Lets go of everything but the body.
    pub fn into_body(self) -> B {
        self.body.into_inner()
    }

    /// Says who the request is from, which makes it fit to be forwarded.
    pub fn identify(self, identity: &Identity) -> Outbound<B> {
        let Self {
            mut parts,
            body,
            websocket,
            rules,
        } = self;
        match identity {
            Identity::Session(live) => write(&mut parts.headers, live.holder(), &rules),
            Identity::Anonymous => {}
        }
        Outbound {
            parts,
            body,
            websocket,
        }
    }
}

/// Writes exactly one of each name.
fn write(headers: &mut HeaderMap, holder: &Holder, rules: &IdentityRules) {
    let names = &rules.names;
    headers.insert(&names.openid, holder.openid.header().clone());
    headers.insert(&names.appid, holder.app.header().clone());
    headers.insert(&names.source, SOURCE);
    if let Some(unionid) = &holder.unionid {
        headers.insert(&names.unionid, unionid.header().clone());
    }
    if let Some(env) = &rules.env {
        headers.insert(&names.env, env.clone());
    }
}

/// A request that says who it is from: the only kind that can be sent to the app server.
#[derive(Debug)]
pub struct Outbound<B> {
    parts: request::Parts,
    body: CleanBody<B>,
    websocket: Option<WebSocketRequest>,
}

impl<B> Outbound<B> {
    /// Says where the request came from.
    pub fn set_origin(&mut self, origin: Origin, peer: &Peer) {
        origin.write(&mut self.parts.headers, peer);
    }

    /// Gives the request its id.
    pub fn set_request_id(&mut self, id: HeaderValue) {
        self.parts.headers.insert(X_REQUEST_ID, id);
    }

    /// Starts a trace (W3C Trace Context), in place of whatever trace the request claimed.
    pub fn start_trace(&mut self, traceparent: HeaderValue) {
        self.parts.headers.insert(TRACEPARENT, traceparent);
        self.parts.headers.remove(TRACESTATE);
    }

    /// The trace that the request came with.
    pub fn traceparent(&self) -> Option<&HeaderValue> {
        self.parts.headers.get(TRACEPARENT)
    }

    /// Takes the request apart for sending. There is no way back.
    pub fn into_parts(self) -> (request::Parts, CleanBody<B>, Option<WebSocketRequest>) {
        (self.parts, self.body, self.websocket)
    }
}

/// Makes sure that the request names its host once, and leaves the name in `Host` alone: RFC 9112
/// §3.2.2 has the target's authority win; here the two may not differ.
fn settle_host(parts: &mut request::Parts) -> Result<(), Unclean> {
    if parts.uri.path_and_query().is_none() || !parts.uri.path().starts_with('/') {
        return Err(Unclean::Target);
    }
    let authority = parts.uri.authority().cloned();
    let mut hosts = parts.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next(), authority) {
        (Some(host), None, None) if is_authority(host) => {}
        (Some(host), None, Some(authority)) if same_host(host, &authority) => {}
        (None, None, Some(authority)) if !authority.as_str().contains('@') => {
            let host =
                HeaderValue::try_from(authority.as_str()).map_err(|_invalid| Unclean::Host)?;
            parts.headers.insert(HOST, host);
        }
        // HTTP/1.0 has no need of a host (RFC 9112 §3.2).
        (None, None, None) if parts.version < Version::HTTP_11 => {}
        _ => return Err(Unclean::Host),
    }
    Ok(())
}

fn is_authority(host: &HeaderValue) -> bool {
    !host.as_bytes().contains(&b'@') && Authority::try_from(host.as_bytes()).is_ok()
}

fn same_host(host: &HeaderValue, authority: &Authority) -> bool {
    is_authority(host)
        && host
            .as_bytes()
            .eq_ignore_ascii_case(authority.as_str().as_bytes())
}

/// Reads tokens in their places, in order, and takes out every one of them.
fn take_token(headers: &mut HeaderMap, places: &[TokenPlace]) -> Result<TokenClaim, Unclean> {
    let mut claim = TokenClaim::None;
    for place in places {
        let found = match place {
            TokenPlace::Authorization => take_bearer(headers)?,
            TokenPlace::Header(name) => take_header(headers, name)?,
        };
        claim = claim.join(found)?;
    }
    if !places.contains(&TokenPlace::Authorization) {
        // Not looked for there, so it counts for nothing; but a token is a secret of the client's
        // and the gate's, and goes no further wherever it stands.
        take_bearer(headers)?;
    }
    Ok(claim)
}

impl TokenClaim {
    /// Puts together what two places say. The same token twice is one token.
    fn join(self, other: Self) -> Result<Self, Unclean> {
        match (self, other) {
            (claim, Self::None) | (Self::None, claim) => Ok(claim),
            (Self::Token(first), Self::Token(second)) if first.expose() == second.expose() => {
                // Both came from the client in one request: the comparison tells it nothing.
                Ok(Self::Token(first))
            }
            _ => Err(Unclean::AmbiguousToken),
        }
    }
}

/// A gate token in `Authorization`. Anything else there is left for the app server.
fn take_bearer(headers: &mut HeaderMap) -> Result<TokenClaim, Unclean> {
    let values = headers.get_all(AUTHORIZATION);
    let mut tokens = values.iter().filter_map(bearer_token);
    match (tokens.next(), values.iter().nth(1)) {
        (None, _) => Ok(TokenClaim::None),
        (Some(_), Some(_)) => Err(Unclean::AmbiguousToken),
        (Some(token), None) => {
            headers.remove(AUTHORIZATION);
            Ok(TokenClaim::Token(token))
        }
    }
}

fn bearer_token(value: &HeaderValue) -> Option<SessionToken> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| SessionToken::parse(token))
        .flatten()
}

fn take_header(headers: &mut HeaderMap, name: &HeaderName) -> Result<TokenClaim, Unclean> {
    if headers.get_all(name).iter().nth(1).is_some() {
        return Err(Unclean::AmbiguousToken);
    }
    let Some(value) = headers.remove(name) else {
        return Ok(TokenClaim::None);
    };
    let token = value.to_str().ok().and_then(SessionToken::parse);
    Ok(token.map_or(TokenClaim::Malformed, TokenClaim::Token))
}

#[cfg(test)]
mod tests;

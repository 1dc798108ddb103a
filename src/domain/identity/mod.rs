//! The only code that takes identity headers out of a request or puts them in.
//!
//! A request that arrives becomes a [`Clean`] one, without anything that says who sent it; a clean
//! one becomes an [`Outbound`] one by saying who did. Only an `Outbound` can be sent to the app
//! server, and neither lets its headers be changed from outside: so a request whose identity the
//! gate did not decide cannot be forwarded, because it cannot be written down.
//!
//! Knows nothing of routes or of where sessions are kept.

mod overrides;
mod query;
mod rules;
mod subprotocol;
mod tokens;
mod trailers;

pub use overrides::is_method_override;
pub use rules::{IdentityNames, IdentityRules, Stripping, TokenPlace};
pub use tokens::{AmbiguousToken, TokenClaim};
pub use trailers::CleanBody;

use std::sync::Arc;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, request};
use http_body::Body;

use crate::domain::forwarded::{Origin, X_REQUEST_ID};
use crate::domain::hop;
use crate::domain::peer::Peer;
use crate::domain::session::{Holder, Live};
use crate::domain::websocket::{BadHandshake, WebSocketRequest};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The value of the source header: a mini program.
const SOURCE: HeaderValue = HeaderValue::from_static("wx_client");

/// Why a request cannot be cleaned. Always the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unclean {
    /// More than one token.
    #[error(transparent)]
    AmbiguousToken(#[from] AmbiguousToken),
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
        let mut websocket = WebSocketRequest::find(&parts)?;
        let token = tokens::take(&mut parts, websocket.as_mut(), rules.token_places())?;
        // Before the headers of the connection go: a client whose `Connection` line a proxy passes on
        // cannot have the proxy's word removed.
        let origin = Origin::take(&mut parts.headers, peer, &rules.trusted);
        hop::remove(&mut parts.headers);
        let stripped = rules.strip(&mut parts.headers);
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
            .filter(|(name, _)| is_method_override(name))
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

    /// Whether no body comes with the request.
    pub fn is_without_body(&self) -> bool
    where
        B: Body,
    {
        self.body.is_end_stream()
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

#[cfg(test)]
mod tests;

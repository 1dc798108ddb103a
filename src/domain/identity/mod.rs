//! The only code that takes identity headers out of a request or puts them in.
//!
//! A request that arrives becomes a [`Clean`] one, without anything that says who sent it; a clean
//! one becomes an [`Outbound`] one by saying who did. Only an `Outbound` can be sent to the app
//! server, and neither lets its headers be changed from outside: so a request whose identity the
//! gate did not decide cannot be forwarded, because it cannot be written down.
//!
//! Knows nothing of routes or of where sessions are kept.

mod cookies;
mod host;
mod originate;
mod overrides;
mod query;
mod rules;
mod signing;
mod subprotocol;
mod tickets;
mod tokens;
mod trailers;

pub use originate::{Cause, JustRedeemed, Message, VerifiedSender};
pub use overrides::is_method_override;
pub use rules::{IdentityNames, IdentityRules, Stripping, TokenPlace};
pub use signing::{Sign, Signers, Statement, User};
pub use tickets::TicketClaim;
pub use tokens::{AmbiguousToken, TokenClaim};
pub use trailers::CleanBody;

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, Uri};
use http_body::Body;

use crate::domain::clock::Timestamp;
use crate::domain::cookie::CookieName;
use crate::domain::field::FieldName;
use crate::domain::fields::{HeaderField, HeaderFields};
use crate::domain::forwarded::{Origin, X_REQUEST_ID};
use crate::domain::hop;
use crate::domain::names::{self, Name};
use crate::domain::peer::Peer;
use crate::domain::request::{Request, RequestHead};
use crate::domain::session::Live;
use crate::domain::trace::{RequestId, TraceParent};
use crate::domain::websocket::{BadHandshake, WebSocketRequest};

/// The trace that a request is part of (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

static REQUEST_ID_FIELD: FieldName = FieldName::fixed(X_REQUEST_ID, "X-Request-Id: ");
static TRACEPARENT_FIELD: FieldName = FieldName::fixed(TRACEPARENT, "traceparent: ");

/// Names that `Connection` may list. Each is looked for among all header fields.
const MAX_CONNECTION_OPTIONS: usize = 32;

/// What says where a body ends. In another spelling, as `Content_Length`, nobody here listens to it; an
/// app server may.
const FRAMING: [Name<'static>; 2] = [names::CONTENT_LENGTH, names::TRANSFER_ENCODING];

/// The value of the source header: a mini program.
const SOURCE: &[u8] = b"wx_client";

/// Why a request cannot be cleaned. Always the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unclean {
    /// More than one token.
    #[error(transparent)]
    AmbiguousToken(#[from] AmbiguousToken),
    /// A WebSocket handshake that is not one.
    #[error(transparent)]
    Handshake(#[from] BadHandshake),
    /// More connection options than any client has.
    #[error("the Connection header lists more than {MAX_CONNECTION_OPTIONS} names")]
    Connection,
    /// A field that some servers take for one of those that say where the body ends.
    #[error(
        "a header is spelled so that some servers take it for Content-Length or Transfer-Encoding"
    )]
    Framing,
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
    of_browsers: Option<Box<OfBrowsers>>,
    origin: Origin,
    stripped: usize,
}

/// What few requests show. In a box: a request is moved about.
#[derive(Debug)]
struct OfBrowsers {
    cookie: Option<CookieName>,
    ticket: TicketClaim,
}

impl OfBrowsers {
    /// Nothing where neither is shown.
    fn of(cookie: Option<CookieName>, ticket: TicketClaim) -> Option<Box<Self>> {
        let shows = cookie.is_some() || !matches!(ticket, TicketClaim::None);
        shows.then(|| Box::new(Self { cookie, ticket }))
    }
}

impl Presented {
    /// What the request shows to be taken for a user.
    pub fn token(&self) -> &TokenClaim {
        &self.token
    }

    /// The cookie that the token came in, where it came in no other place: then a page of another site
    /// may have made the request, without knowing it.
    pub fn cookie(&self) -> Option<&CookieName> {
        self.of_browsers.as_ref()?.cookie.as_ref()
    }

    /// The ticket that the request shows. Beside a token it counts for nothing.
    pub fn ticket(&self) -> &TicketClaim {
        static NONE: TicketClaim = TicketClaim::None;
        let shown = self.of_browsers.as_ref();
        shown.map_or(&NONE, |shown| &shown.ticket)
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

/// Who a request is from. Nothing but the gate's own knowledge makes one. A request that a client
/// sent is from the holder of a session or from nobody: see [`Clean::identify`].
#[derive(Clone, Debug)]
pub enum Identity {
    /// The holder of a live session.
    Session(Live),
    /// A user whom WeChat has just let log in.
    LoggedIn(JustRedeemed),
    /// Whoever a push is from.
    Sender(VerifiedSender),
    /// Nobody known: the app server sees no identity header at all.
    Anonymous,
}

/// A request that says nothing about who sent it.
#[derive(Debug)]
pub struct Clean<B> {
    head: Box<RequestHead>,
    body: CleanBody<B>,
    /// In a box, as everything here that is seldom: a request is moved about.
    websocket: Option<Box<WebSocketRequest>>,
    takes_trailers: bool,
    rules: Arc<IdentityRules>,
}

impl<B> Clean<B> {
    /// Takes a request apart: tokens, and what proxies say, go into [`Presented`]; headers of the
    /// connection and every identity header go.
    pub fn strip(
        request: Request<B>,
        rules: &Arc<IdentityRules>,
        peer: &Arc<Peer>,
    ) -> Result<(Self, Presented), Unclean> {
        let Request { mut head, body } = request;
        host::settle(&mut head)?;
        if FRAMING.iter().any(|name| head.fields.mimics(*name)) {
            return Err(Unclean::Framing);
        }
        let mut websocket = WebSocketRequest::find(&head)?.map(Box::new);
        let places = rules.token_places();
        let (token, cookie) = tokens::take(&mut head, websocket.as_deref_mut(), places)?;
        let ticket = if rules.tickets {
            tickets::take(&mut head)?
        } else {
            TicketClaim::None
        };
        // Before the headers of the connection go: a client whose `Connection` line a proxy passes on
        // cannot have the proxy's word removed.
        let origin = Origin::take(&mut head.fields, peer, &rules.trusted);
        let takes_trailers = hop::has_token(&head.fields, names::TE, "trailers");
        let stripped = strip(&mut head.fields, rules, &origin)?;
        let body = CleanBody::new(body, Arc::clone(rules));
        let clean = Self {
            head,
            body,
            websocket,
            takes_trailers,
            rules: Arc::clone(rules),
        };
        Ok((
            clean,
            Presented {
                token,
                of_browsers: OfBrowsers::of(cookie, ticket),
                origin,
                stripped,
            },
        ))
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The target, as it came.
    pub fn uri(&self) -> &Uri {
        &self.head.uri
    }

    /// The headers that are left.
    pub fn fields(&self) -> &HeaderFields {
        &self.head.fields
    }

    /// The trace that the request came with; none when it claims several.
    pub fn traceparent(&self) -> Option<TraceParent> {
        TraceParent::parse(self.head.fields.only(names::TRACEPARENT)?.value())
    }

    /// The methods that override headers ask for. Each counts: which of several a server takes is
    /// not known here. An error when one names no method.
    pub fn method_overrides(&self) -> Result<Vec<Method>, http::method::InvalidMethod> {
        let overrides = overrides::all();
        let is_one = |field: &HeaderField<'_>| overrides.has(field.name());
        let fields = &self.head.fields;
        if !fields.iter().any(|field| is_one(&field)) {
            return Ok(Vec::new());
        }
        fields
            .iter()
            .filter(is_one)
            .map(|field| Method::from_bytes(&field.value().to_ascii_uppercase()))
            .collect()
    }

    /// The WebSocket that the request asks for.
    pub fn websocket(&self) -> Option<&WebSocketRequest> {
        self.websocket.as_deref()
    }

    /// The body as it comes from the client.
    pub fn body_mut(&mut self) -> &mut B {
        self.body.inner_mut()
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

    /// Takes out what a client says of the bytes of its body, when they are others now.
    #[must_use]
    pub fn without_digests(mut self) -> Self {
        const DIGESTS: [HeaderName; 4] = [
            HeaderName::from_static("content-digest"),
            HeaderName::from_static("content-md5"),
            HeaderName::from_static("digest"),
            HeaderName::from_static("repr-digest"),
        ];
        let fields = &mut self.head.fields;
        fields.retain(|field| !hop::is_one_of(field.name(), &DIGESTS));
        self
    }

    /// Takes the body out, to be read and given back by [`Clean::with_body`].
    pub fn take_body(self) -> (Clean<()>, B) {
        let Self {
            head,
            body,
            websocket,
            takes_trailers,
            rules,
        } = self;
        let clean = Clean {
            head,
            body: CleanBody::new((), Arc::clone(&rules)),
            websocket,
            takes_trailers,
            rules,
        };
        (clean, body.into_inner())
    }

    /// Says who the request is from and where it came from, which makes it fit to be forwarded. A
    /// client has a session or is nobody.
    pub fn identify(
        self,
        session: Option<Live>,
        origin: Origin,
        request_id: RequestId,
        now: Timestamp,
    ) -> Outbound<B> {
        Outbound(OutboundParts {
            head: self.head,
            body: self.body,
            websocket: self.websocket,
            takes_trailers: self.takes_trailers,
            own: OwnFields {
                rules: self.rules,
                identity: session.map_or(Identity::Anonymous, Identity::Session),
                origin,
                asked_host: None,
                request_id,
                traceparent: None,
                now,
            },
        })
    }
}

impl Clean<()> {
    /// The request with a body that has been read.
    pub fn with_body<B>(self, body: B) -> Clean<B> {
        Clean {
            head: self.head,
            body: CleanBody::new(body, Arc::clone(&self.rules)),
            websocket: self.websocket,
            takes_trailers: self.takes_trailers,
            rules: self.rules,
        }
    }
}

/// A request that says who it is from: the only kind that can be sent to the app server.
#[derive(Debug)]
pub struct Outbound<B>(OutboundParts<B>);

/// An [`Outbound`] taken apart for sending. There is no way back.
#[derive(Debug)]
pub struct OutboundParts<B> {
    /// What is left of the head that the client sent.
    pub head: Box<RequestHead>,
    /// The body.
    pub body: CleanBody<B>,
    /// The WebSocket that it asks for.
    pub websocket: Option<Box<WebSocketRequest>>,
    /// Whether the client takes trailers (`TE: trailers`, RFC 9110 §10.1.4).
    pub takes_trailers: bool,
    /// What the gate says itself. None of these fields is in `head`.
    pub own: OwnFields,
}

/// The fields that the gate writes into a request itself: who it is from, signed where that is wanted,
/// where it came from, its id, and its trace when that begins here.
#[derive(Debug)]
pub struct OwnFields {
    rules: Arc<IdentityRules>,
    identity: Identity,
    origin: Origin,
    /// The host that a client asked for, where the request itself names none.
    asked_host: Option<Box<HeaderValue>>,
    request_id: RequestId,
    traceparent: Option<TraceParent>,
    /// When it was said who it is from.
    now: Timestamp,
}

impl<B> Outbound<B> {
    /// Starts a trace (W3C Trace Context), in place of whatever trace the request claimed.
    pub fn start_trace(&mut self, traceparent: TraceParent) {
        let fields = &mut self.0.head.fields;
        fields.remove(names::TRACEPARENT);
        fields.remove(names::TRACESTATE);
        self.0.own.traceparent = Some(traceparent);
    }

    /// Takes the request apart for sending.
    pub fn into_parts(self) -> OutboundParts<B> {
        self.0
    }
}

impl OwnFields {
    /// Shows every field, each name once. `head` is that of the request as it goes out.
    pub fn for_each(&self, head: &RequestHead, mut write: impl FnMut(&FieldName, &[u8])) {
        if let Some(user) = User::of(&self.identity) {
            self.user(&user, &mut write);
            self.signatures(user, head, &mut write);
        }
        let host = head.fields.get(names::HOST).map(|host| host.value());
        let asked_host = self.asked_host.as_ref().map(|host| host.as_bytes());
        self.origin.fields(host.or(asked_host), &mut write);
        write(&REQUEST_ID_FIELD, self.request_id.as_bytes());
        if let Some(traceparent) = &self.traceparent {
            write(&TRACEPARENT_FIELD, traceparent.as_bytes());
        }
    }

    fn user(&self, user: &User<'_>, write: &mut impl FnMut(&FieldName, &[u8])) {
        let names = &self.rules.names;
        if let Some(openid) = user.openid {
            write(&names.openid, openid.header().as_bytes());
        }
        write(&names.appid, user.app.header().as_bytes());
        write(&names.source, SOURCE);
        if let Some(unionid) = user.unionid {
            write(&names.unionid, unionid.header().as_bytes());
        }
        if let Some(env) = &self.rules.env {
            write(&names.env, env.as_bytes());
        }
    }

    fn signatures(
        &self,
        user: User<'_>,
        head: &RequestHead,
        write: &mut impl FnMut(&FieldName, &[u8]),
    ) {
        let statement = Statement {
            user,
            method: &head.method,
            target: head.target(),
            request_id: &self.request_id,
            now: self.now,
        };
        let IdentityRules { names, signers, .. } = &*self.rules;
        let mut sign = |name: &FieldName, signer: &Option<Arc<dyn Sign>>| {
            let signed = signer.as_ref().and_then(|signer| signer.sign(&statement));
            if let Some(signed) = signed {
                write(name, &signed);
            }
        };
        sign(&names.assertion, &signers.assertion);
        sign(&names.proof, &signers.proof);
    }
}

/// Takes out, in one pass, every identity header, what belongs to the connection, and what nobody
/// vouches for. Gives how many identity headers there were.
fn strip(
    fields: &mut HeaderFields,
    rules: &IdentityRules,
    origin: &Origin,
) -> Result<usize, Unclean> {
    let listed = listed(fields)?;
    let mut stripped = 0;
    fields.retain(|field| {
        let name = field.name();
        if listed.is_empty() && !rules.suspects(name) && !hop::is_hop_by_hop(field) {
            return true;
        }
        let protected = rules.protects(name);
        stripped += usize::from(protected);
        !protected
            && !hop::is_hop_by_hop(field)
            && !origin.disbelieves(name)
            && !hop::is_one_of(name, &listed)
    });
    Ok(stripped)
}

/// The names that the request's `Connection` lists beside the usual ones; hardly any does.
fn listed(fields: &HeaderFields) -> Result<Vec<HeaderName>, Unclean> {
    if !fields.has(names::CONNECTION) {
        return Ok(Vec::new());
    }
    let values = fields.all(names::CONNECTION).map(|field| field.value());
    let listed = values.flat_map(hop::listed_in);
    let listed: Vec<_> = listed.take(MAX_CONNECTION_OPTIONS + 1).collect();
    if listed.len() > MAX_CONNECTION_OPTIONS {
        return Err(Unclean::Connection);
    }
    Ok(listed)
}

#[cfg(test)]
mod originate_tests;
#[cfg(test)]
mod tests;

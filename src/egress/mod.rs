//! Calls of the app server to WeChat's open APIs, without access tokens: the listener takes them,
//! decides which may pass, and answers with what WeChat says. Clients of the gate never come here.
//!
//! It refuses to know tokens: [`wechat`](crate::wechat) puts them in, and takes care that none gets
//! out.

pub mod policy;
mod refusal;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use ipnet::IpNet;
use serde_json::json;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::egress::policy::{Rules, Verdict};
use crate::egress::refusal::Refusal;
use crate::server::plain::{self, Handler, PeerAddress, PlainBody};
use crate::server::tls::{self, Tls};
use crate::telemetry::event;
use crate::wechat::access_token::{Keeper, Keepers};
use crate::wechat::client::Client;
use crate::wechat::error::CallError;
use crate::wechat::relay::{AnswerBody, Call, RelayError};

/// What an SDK gets that asks for a token first. It opens nothing, and is taken out of every call.
const PLACEHOLDER: &str = "wxgate-placeholder-the-gate-adds-the-real-token";

/// For how long an SDK keeps it, in seconds: as WeChat says of real ones.
const PLACEHOLDER_LIFE_SECS: u32 = 7200;

/// By this apps see that a call went through a gate, as in WeChat's own cloud.
static SEQUENCE_ID: HeaderName = HeaderName::from_static("x-openapi-seqid");

/// `[egress]`: the listener for the app server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What is relayed.
    pub rules: Rules,
    /// What a caller shows, if anything.
    pub token: Option<Token>,
    /// Where callers are; empty: anywhere.
    pub allow_from: Vec<IpNet>,
    /// `None` is clear text.
    pub tls: Option<tls::Settings>,
}

/// What the app server proves itself with. Does not print.
#[derive(Clone)]
pub struct Token(Zeroizing<Vec<u8>>);

impl Token {
    /// Takes a token over: at least 16 characters of printable ASCII without spaces.
    pub fn parse(bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        let plausible = bytes.len() >= 16 && bytes.iter().all(u8::is_ascii_graphic);
        plausible.then_some(Self(bytes))
    }

    /// Whether `Authorization` shows it as a bearer token, once.
    fn is_shown(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return false;
        };
        let Some((scheme, shown)) = value.as_bytes().split_at_checked(7) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(self.0.ct_eq(shown))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What the listener needs beside its settings.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The way to WeChat.
    pub client: Client,
    /// The tokens of the configured mini programs.
    pub keepers: Keepers,
    /// TLS, when the settings have it.
    pub tls: Option<Tls>,
}

/// Serves the app server until told to stop. Must run inside a runtime.
pub async fn serve(
    listener: std::net::TcpListener,
    settings: Settings,
    parts: Parts,
    stop: CancellationToken,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(message = event::ACCEPT_FAILED, %error);
            return;
        }
    };
    if let Ok(address) = listener.local_addr() {
        let tls = parts.tls.is_some();
        tracing::info!(message = event::EGRESS_LISTENING, %address, tls);
    }
    let tls = parts.tls.clone();
    let egress = Egress(Arc::new(Inner {
        settings,
        parts,
        calls: AtomicU64::new(0),
    }));
    plain::serve_with(listener, tls, egress, stop).await;
}

#[derive(Clone)]
struct Egress(Arc<Inner>);

struct Inner {
    settings: Settings,
    parts: Parts,
    calls: AtomicU64,
}

impl Handler for Egress {
    async fn handle(&self, request: Request<Incoming>) -> Response<PlainBody> {
        let (refusal, body) = match self.0.decide(&request) {
            Ok(Decision::Relay {
                keeper,
                path,
                query,
            }) => {
                let answer = self.0.relay(keeper, path, query, request).await;
                return answer.unwrap_or_else(Refusal::into_response);
            }
            Ok(Decision::Placeholder) => (None, request.into_body()),
            Err(refusal) => (Some(refusal), request.into_body()),
        };
        // The answer would be lost with bytes unread.
        plain::drain(body).await;
        match refusal {
            Some(refusal) => {
                tracing::info!(message = event::EGRESS_REFUSED, why = %refusal);
                refusal.into_response()
            }
            None => placeholder(),
        }
    }
}

/// What is done with a call that may be made.
enum Decision<'a> {
    /// Pass it on, with the token that is kept for its mini program.
    Relay {
        keeper: &'a Keeper,
        path: String,
        query: String,
    },
    /// Give something that looks like a token.
    Placeholder,
}

impl Inner {
    fn decide(&self, request: &Request<Incoming>) -> Result<Decision<'_>, Refusal> {
        let peer = request.extensions().get::<PeerAddress>();
        self.authenticate(peer.map(|peer| peer.0.ip()), request.headers())?;
        let (method, uri) = (request.method(), request.uri());
        let verdict = self.settings.rules.decide(method, uri, request.headers())?;
        match verdict {
            Verdict::Relay { app, path, query } => Ok(Decision::Relay {
                keeper: self.parts.keepers.of(&app).ok_or(Refusal::App)?,
                path,
                query,
            }),
            Verdict::Placeholder => Ok(Decision::Placeholder),
        }
    }

    /// Everything that is configured must hold.
    fn authenticate(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Result<(), Refusal> {
        let Settings {
            token, allow_from, ..
        } = &self.settings;
        let from = peer.is_some_and(|peer| {
            let peer = peer.to_canonical();
            allow_from.iter().any(|network| network.contains(&peer))
        });
        let is_near = allow_from.is_empty() || from;
        let is_shown = token.as_ref().is_none_or(|token| token.is_shown(headers));
        if is_near && is_shown {
            Ok(())
        } else {
            Err(Refusal::Auth)
        }
    }

    async fn relay(
        &self,
        keeper: &Keeper,
        path: String,
        query: String,
        request: Request<Incoming>,
    ) -> Result<Response<PlainBody>, Refusal> {
        let (parts, body) = request.into_parts();
        // On the list of the operator, so no secret.
        let shown = path.clone();
        let call = Call {
            method: parts.method,
            path,
            query,
            headers: parts.headers,
            body,
        };
        match self.parts.client.relay(keeper, call).await {
            Ok(answer) => Ok(self.finish(answer)),
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                let appid = keeper.app().as_str();
                tracing::warn!(message = event::EGRESS_FAILED, %error, source, path = shown, appid);
                Err(refusal_of(&error))
            }
        }
    }

    fn finish(&self, answer: Response<AnswerBody>) -> Response<PlainBody> {
        let mut answer = answer.map(PlainBody::pass);
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let headers = answer.headers_mut();
        headers.insert(SEQUENCE_ID.clone(), HeaderValue::from(number));
        answer
    }
}

fn refusal_of(error: &RelayError) -> Refusal {
    match error {
        RelayError::Body => Refusal::Body,
        RelayError::NoAnswer(CallError::TimedOut) => Refusal::TimedOut,
        RelayError::Leak | RelayError::NoAnswer(_) => Refusal::NoAnswer,
        RelayError::NoToken(_) => Refusal::NoToken,
    }
}

fn placeholder() -> Response<PlainBody> {
    let body = json!({"access_token": PLACEHOLDER, "expires_in": PLACEHOLDER_LIFE_SECS});
    plain::json(StatusCode::OK, &body)
}

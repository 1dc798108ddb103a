//! The listener for operators: is the process alive, is it ready, what has it counted, which version is
//! it, and by which keys are identities verified. Never serves a client of the gate.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::server::plain::{self, Handler, PlainBody};
use crate::telemetry::event;
use crate::telemetry::metrics::{CONTENT_TYPE as CONTENT_TYPE_OF_METRICS, Scrape};

/// The port of the default address.
pub const DEFAULT_PORT: u16 = 4189;

/// `[admin]`: the listener for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens; `None` switches it off.
    pub listen: Option<SocketAddr>,
}

/// Whether the gate takes requests and means to go on doing so.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Ready from now on, or no longer.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether sessions can be looked up.
pub type StoreIsUsable = Arc<dyn Fn() -> bool + Send + Sync>;

/// What operators are told of.
#[derive(Clone)]
pub struct Parts {
    readiness: Readiness,
    store_is_usable: StoreIsUsable,
    scrape: Scrape,
    key_set: AskKeySet,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parts(..)")
    }
}

impl Parts {
    /// Whether requests are taken and sessions can be looked up, what is counted, and by which keys
    /// identities are verified.
    pub fn new(
        readiness: &Readiness,
        store_is_usable: StoreIsUsable,
        scrape: Scrape,
        key_set: AskKeySet,
    ) -> Self {
        Self {
            readiness: readiness.clone(),
            store_is_usable,
            scrape,
            key_set,
        }
    }
}

/// The keys by which identities are verified, asked for anew each time: they change with the settings.
#[derive(Clone)]
pub struct AskKeySet(Arc<dyn Fn() -> Option<Bytes> + Send + Sync>);

impl AskKeySet {
    /// What this gives: a JSON Web Key Set, or nothing where identities are not signed.
    pub fn from_fn(ask: impl Fn() -> Option<Bytes> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }
}

impl fmt::Debug for AskKeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AskKeySet(..)")
    }
}

/// Serves operators until told to stop. Must run inside a runtime.
pub async fn serve(listener: std::net::TcpListener, parts: Parts, stop: CancellationToken) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(message = event::ACCEPT_FAILED, %error);
            return;
        }
    };
    let address = listener.local_addr().ok();
    if let Some(address) = address {
        tracing::info!(message = event::ADMIN_LISTENING, %address);
    }
    let on_loopback = address.is_some_and(|address| address.ip().is_loopback());
    plain::serve(listener, Admin { parts, on_loopback }, stop).await;
}

#[derive(Clone)]
struct Admin {
    parts: Parts,
    on_loopback: bool,
}

impl Handler for Admin {
    async fn handle(&self, request: Request<Incoming>) -> Response<PlainBody> {
        if self.on_loopback && !names_loopback(&request) {
            // A web page can have its own name resolve to 127.0.0.1, and then it is of the same
            // origin as what listens there.
            return plain::text(StatusCode::FORBIDDEN, "the Host is not a loopback name\n");
        }
        if *request.method() != Method::GET && *request.method() != Method::HEAD {
            return plain::text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
        }
        match request.uri().path() {
            "/healthz" => plain::text(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready(),
            "/metrics" => metrics(&self.parts.scrape),
            "/version" => plain::json(StatusCode::OK, &version()),
            "/.well-known/jwks.json" => jwks(&self.parts.key_set),
            _ => plain::text(
                StatusCode::NOT_FOUND,
                "/healthz /readyz /metrics /version /.well-known/jwks.json\n",
            ),
        }
    }
}

impl Admin {
    fn ready(&self) -> Response<PlainBody> {
        if !self.parts.readiness.is_ready() {
            return plain::text(StatusCode::SERVICE_UNAVAILABLE, "not accepting\n");
        }
        if !(self.parts.store_is_usable)() {
            return plain::text(
                StatusCode::SERVICE_UNAVAILABLE,
                "sessions cannot be looked up\n",
            );
        }
        plain::text(StatusCode::OK, "ready\n")
    }
}

fn metrics(scrape: &Scrape) -> Response<PlainBody> {
    let mut answer = plain::text(StatusCode::OK, scrape.text());
    let content_type = HeaderValue::from_static(CONTENT_TYPE_OF_METRICS);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

fn jwks(key_set: &AskKeySet) -> Response<PlainBody> {
    match (key_set.0)() {
        Some(json) => {
            let body = PlainBody::full(json);
            plain::answer(StatusCode::OK, "application/jwk-set+json", body)
        }
        None => plain::text(
            StatusCode::NOT_FOUND,
            "identities are not signed: there is no [identity.jwt]\n",
        ),
    }
}

fn version() -> serde_json::Value {
    json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
    })
}

fn names_loopback<B>(request: &Request<B>) -> bool {
    let Some(host) = request.headers().get(HOST) else {
        return false;
    };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else {
        return false;
    };
    let host = authority.host();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

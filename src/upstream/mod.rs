//! The app server behind the gate: connections to it, requests sent, answers streamed back. Takes
//! only requests whose identity has been decided, and knows neither sessions nor WeChat.

mod answer;
mod connect;
mod exchange;
pub mod fault;
mod handshake;
pub mod http1;
pub mod http2;
mod shared;
mod socket;
pub mod tls;
mod tunnel;

pub use answer::{AnswerBody, BrokenAnswer};
pub use exchange::{Answered, Exchange, Written};
pub use shared::Shared;
pub use tunnel::Tunnel;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;

use crate::played::Dialer;
use crate::splice::SpliceBody;
use crate::upstream::fault::Fault;
use crate::upstream::tls::Tls;

/// Whatever went wrong with a request body while it was being sent.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request that can be sent to an app server.
pub trait Sendable: SpliceBody<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static {}

impl<B> Sendable for B where B: SpliceBody<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static {}

/// Which app server: its place in the configuration, `[upstream]` first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Index(usize);

impl Index {
    /// `[upstream]`.
    pub const FIRST: Self = Self(0);

    /// The app server at this place, from 0.
    pub const fn new(place: usize) -> Self {
        Self(place)
    }

    /// The place, from 0.
    pub const fn get(self) -> usize {
        self.0
    }
}

/// `[upstream]` or `[upstreams.NAME]`: one app server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of its table in the configuration: `upstream`, `upstreams.NAME`.
    pub name: String,
    /// Where it listens.
    pub target: Target,
    /// What it speaks.
    pub protocol: Protocol,
    /// To a connection.
    pub connect_timeout: Duration,
    /// From the last byte of a request to the head of its answer.
    pub response_timeout: Duration,
    /// Between two pieces of a started answer or tunnel, when that is limited.
    pub stream_idle_timeout: Option<Duration>,
    /// How long a connection is kept for the next request.
    pub idle_timeout: Duration,
    /// Connections at once, over all workers; tunnels apart. With HTTP/2 never fewer than one for
    /// each worker, and one more.
    pub max_connections: usize,
    /// Tunnels at once, over all workers.
    pub max_tunnels: usize,
    /// Connections kept for the next request, over all workers; 0 keeps none.
    pub max_idle: usize,
    /// Requests waiting for a connection, over all workers.
    pub max_pending: usize,
    /// Whether the app server sees the client's `Host`, or its own address as the `Host`.
    pub preserve_host: bool,
}

/// The version of HTTP that an app server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, and what answers to it.
    Http1,
    /// HTTP/2, known beforehand or chosen by ALPN.
    Http2,
}

/// Where an app server listens.
#[derive(Clone, Debug)]
pub enum Target {
    /// `http://host:port`, `https://host:port`; the name is looked up for every new connection.
    Http {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// Host and port as a `Host` header says them.
        authority: HeaderValue,
        /// How TLS is spoken to it; clear text otherwise.
        tls: Option<Tls>,
    },
    /// `unix:/path`.
    Unix(PathBuf),
    /// Somebody who is played: for simulations.
    Played(Dialer),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http {
                host, port, tls, ..
            } => {
                let scheme = if tls.is_some() { "https" } else { "http" };
                write!(f, "{scheme}://{host}:{port}")
            }
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Played(_) => f.write_str("played"),
        }
    }
}

impl Settings {
    /// The `Host` that the app server sees of a request to this one.
    fn host_for<'a>(&'a self, host: Option<&'a [u8]>) -> &'a [u8] {
        let own: &[u8] = match &self.target {
            Target::Http { authority, .. } => authority.as_bytes(),
            Target::Unix(_) | Target::Played(_) => b"localhost",
        };
        host.filter(|_| self.preserve_host).unwrap_or(own)
    }

    /// The defaults of the first app server, at this target.
    pub fn at(target: Target) -> Self {
        Self {
            name: "upstream".to_owned(),
            target,
            protocol: Protocol::Http1,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(55),
            stream_idle_timeout: None,
            idle_timeout: Duration::from_secs(4),
            max_connections: 256,
            max_tunnels: 10_000,
            max_idle: 32,
            max_pending: 1024,
            preserve_host: true,
        }
    }
}

/// Why the app server gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It did not keep to HTTP, or broke off before the head of its answer was whole.
    #[error("the app server broke the protocol or the connection")]
    Broken(#[from] Fault),
    /// It cannot be connected to.
    #[error("the app server cannot be connected to")]
    Connect(#[source] std::io::Error),
    /// It did not take the connection in time.
    #[error("the app server did not take the connection in time")]
    ConnectTimeout,
    /// The request has no form in HTTP/2, which is stricter. The client's fault.
    #[error("the request cannot be written as HTTP/2")]
    Http2(#[source] http::Error),
    /// Too many requests or tunnels at once. Nobody's fault but the load's.
    #[error("too many requests to the app server at once")]
    Overloaded,
    /// The request did not come to its end. The client's fault.
    #[error("the request body broke off")]
    Request(#[source] BoxError),
    /// It did not answer in time.
    #[error("the app server did not answer in time")]
    ResponseTimeout,
    /// It switched protocols in a way that was not asked for.
    #[error("the app server switched protocols unasked, or to another one")]
    UnaskedUpgrade,
}

impl From<crate::codec::Fault> for Error {
    fn from(fault: crate::codec::Fault) -> Self {
        Self::Broken(fault.into())
    }
}

impl From<http2::fault::Fault> for Error {
    fn from(fault: http2::fault::Fault) -> Self {
        Self::Broken(fault.into())
    }
}

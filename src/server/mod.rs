//! Takes connections and speaks HTTP with whoever is at the other end: accepting, counting,
//! deadlines, draining. Hands every request to a handler and knows nothing of what it means.

mod answer;
pub mod body;
pub mod capacity;
pub mod connection;
pub mod crew;
mod ending;
mod entrance;
pub mod http1;
pub mod http2;
pub mod inherited;
pub mod listener;
pub mod plain;
pub mod problem;
pub mod proxy_protocol;
mod socket;
pub mod stage;
pub mod starvation;
mod state;
pub mod tls;
pub mod upgrade;
mod watched;
pub mod worker;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::domain::peer::TrustedProxies;

/// The port of the default address.
pub const DEFAULT_PORT: u16 = 4180;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `host:port`.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `[server]`: where the gate listens and how it takes connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The addresses; the default one falls back to IPv4 on a machine without IPv6.
    pub listen: Vec<Listen>,
    /// Whether a machine without IPv6 may be listened on by IPv4 instead: for the default address.
    pub listen_fallback: bool,
    /// Worker threads; 0 stands for one per available processor.
    pub workers: usize,
    /// How long requests under way may take after the order to stop.
    pub drain_timeout: Duration,
    /// How long everything is still served after the order to stop, with `/readyz` already red.
    pub drain_delay: Duration,
    /// Whose `X-Forwarded-*` is believed.
    pub trusted_proxies: TrustedProxies,
    /// Whether every connection begins with a header of the PROXY protocol, from a trusted proxy.
    pub proxy_protocol: bool,
    /// `[server.tls]`; `None` is clear text.
    pub tls: Option<tls::Settings>,
    /// `[server.limits]`.
    pub limits: Limits,
}

/// `[server.limits]`: what one client may take of the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, over all workers.
    pub max_connections: usize,
    /// Size of a request head, in bytes.
    pub max_header_bytes: usize,
    /// Number of header fields of a request.
    pub max_headers: usize,
    /// Length of a request target, in bytes.
    pub max_uri_bytes: usize,
    /// From a connection to the end of its TLS handshake.
    pub tls_handshake_timeout: Duration,
    /// From the first byte of a request head to its last.
    pub header_timeout: Duration,
    /// Between two requests of one connection.
    pub idle_timeout: Duration,
    /// Between two pieces of a request body, and for a client that does not take its answer.
    pub body_idle_timeout: Duration,
    /// Size of a request body that is forwarded, in bytes.
    pub max_body_bytes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_header_bytes: 32 * 1024,
            max_headers: 100,
            max_uri_bytes: 8 * 1024,
            tls_handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_idle_timeout: Duration::from_mins(1),
            max_body_bytes: None,
        }
    }
}

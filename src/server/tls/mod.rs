//! TLS towards clients: the handshake within its time, and another certificate while connections go
//! on. Knows files and sockets, and nothing of HTTP but the names of its versions.

pub mod credentials;
mod watch;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, WantsVerifier};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::domain::clock::{Clock, Timestamp};
use crate::domain::peer::Address;
use crate::server::tls::credentials::{Credentials, FileErrors};
use crate::server::tls::watch::Watch;
use crate::telemetry::event;

/// Sessions of TLS 1.2 clients without tickets that are remembered. Nearly every client has tickets.
const MAX_REMEMBERED: usize = 1024;

/// The HTTP versions that are offered, by their ALPN names (RFC 7301), the preferred one first.
const ALPN: [&[u8]; 3] = [b"h2", b"http/1.1", b"http/1.0"];

/// The same for a listener that speaks no HTTP/2.
const ALPN_HTTP1: [&[u8]; 2] = [b"http/1.1", b"http/1.0"];

/// What the first byte of every TLS connection is: a record of the handshake (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// As much of what is no TLS is looked at as tells what it is.
const TELLING_BYTES: usize = 12;

/// As much of what is no TLS is read off before the connection is closed: closing with something
/// unread would be a reset.
const READ_OFF_BYTES: usize = 4096;

/// `[server.tls]`: the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The server's own certificate, then the intermediate ones (PEM).
    pub cert_file: PathBuf,
    /// The private key of the former (PEM).
    pub key_file: PathBuf,
    /// Certificates (PEM); a client must have one that one of them vouches for.
    pub client_ca_file: Option<PathBuf>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The files.
    #[error(transparent)]
    Files(#[from] FileErrors),
    /// The TLS library does not offer what is needed.
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
}

/// TLS for all workers: clones share the certificate in use.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    settings: Settings,
    clock: Clock,
    /// The names of the HTTP versions that are offered.
    alpn: &'static [&'static [u8]],
    /// What new handshakes use: certificate, key and client authorities, always of one reading.
    config: ArcSwap<ServerConfig>,
    /// When the certificate in use ends.
    end: ArcSwapOption<Timestamp>,
    resumption: Resumption,
    watch: Watch,
}

/// Shows the files, and nothing of what is in them.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.0.settings).finish()
    }
}

impl Tls {
    /// Reads the files.
    pub fn open(settings: &Settings, clock: Clock) -> Result<Self, OpenError> {
        Self::open_offering(&ALPN, settings, clock)
    }

    /// The same for a listener that speaks no HTTP/2.
    pub fn open_http1(settings: &Settings, clock: Clock) -> Result<Self, OpenError> {
        Self::open_offering(&ALPN_HTTP1, settings, clock)
    }

    fn open_offering(
        alpn: &'static [&'static [u8]],
        settings: &Settings,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        // Before the files are read: what changes meanwhile is noticed at the first look.
        let watch = Watch::begin(settings);
        let credentials = Credentials::read(settings)?;
        let resumption = Resumption::new(settings)?;
        let config = server_config(&credentials, &resumption, alpn)?;
        watch.took(&credentials);
        Ok(Self(Arc::new(Inner {
            settings: settings.clone(),
            clock,
            alpn,
            config: ArcSwap::from_pointee(config),
            end: ArcSwapOption::from_pointee(credentials.end()),
            resumption,
            watch,
        })))
    }

    /// When the certificate in use ends, if that can be told.
    pub fn certificate_end(&self) -> Option<Timestamp> {
        self.0.end.load().as_deref().copied()
    }

    /// Makes an accepted connection an encrypted one, within this time.
    pub(in crate::server) async fn accept(
        &self,
        socket: TcpStream,
        within: Duration,
    ) -> Result<TlsStream<TcpStream>, AcceptError> {
        let accept = async {
            tell_tls(&socket).await?;
            let acceptor = TlsAcceptor::from(self.0.config.load_full());
            acceptor.accept(socket).await.map_err(AcceptError::from_io)
        };
        tokio::time::timeout(within, accept)
            .await
            .unwrap_or(Err(AcceptError::TimedOut))
    }
}

/// How clients go on with an earlier session without a whole handshake. Made once: it survives a new
/// certificate.
struct Resumption {
    tickets: Option<Arc<dyn ProducesTickets>>,
    remembered: Arc<dyn StoresServerSessions>,
}

impl Resumption {
    fn new(settings: &Settings) -> Result<Self, rustls::Error> {
        if settings.client_ca_file.is_some() {
            // A resumed session proves nothing anew: it would outlive the client's certificate, and
            // the authority that vouched for it.
            return Ok(Self {
                tickets: None,
                remembered: Arc::new(NoServerSessionStorage {}),
            });
        }
        Ok(Self {
            tickets: Some(Ticketer::new()?),
            remembered: ServerSessionMemoryCache::new(MAX_REMEMBERED),
        })
    }
}

fn server_config(
    credentials: &Credentials,
    resumption: &Resumption,
    alpn: &[&[u8]],
) -> Result<ServerConfig, rustls::Error> {
    let builder: rustls::ConfigBuilder<ServerConfig, WantsVerifier> =
        ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13, &TLS12])?;
    let builder = match credentials.clients() {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    let resolver = SingleCertAndKey::from(credentials.certified());
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.session_storage = Arc::clone(&resumption.remembered);
    match &resumption.tickets {
        Some(tickets) => config.ticketer = Arc::clone(tickets),
        None => config.send_tls13_tickets = 0,
    }
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Why there is no encrypted connection; the client's doing, as a rule.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum AcceptError {
    /// The client went away.
    #[error("the client went away")]
    Gone(#[source] io::Error),
    /// It does not speak TLS.
    #[error("the client does not speak TLS")]
    NotTls(Looks),
    /// It does not know how, or has not what is asked for.
    #[error("the handshake failed")]
    Refused(#[source] io::Error),
    /// It took too long.
    #[error("the handshake took too long")]
    TimedOut,
}

/// What something that is no TLS looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Looks {
    Http,
    ProxyHeader,
    Unknown,
}

impl AcceptError {
    fn from_io(error: io::Error) -> Self {
        match error
            .get_ref()
            .map(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
        {
            Some(true) => Self::Refused(error),
            _ => Self::Gone(error),
        }
    }

    /// Writes a line: at a level that shows wrong settings, but not every client that went away.
    pub(in crate::server) fn report(&self, peer: Address) {
        match self {
            Self::NotTls(looks) => {
                let looks_like = looks.name();
                tracing::info!(message = event::NOT_TLS, looks_like, %peer);
            }
            Self::Refused(error) => {
                tracing::info!(message = event::TLS_HANDSHAKE_FAILED, %error, %peer);
            }
            Self::TimedOut => {
                tracing::debug!(message = event::TLS_HANDSHAKE_FAILED, error = %self, %peer);
            }
            Self::Gone(error) => {
                tracing::debug!(message = event::TLS_HANDSHAKE_FAILED, %error, %peer);
            }
        }
    }
}

impl Looks {
    fn of(first: &[u8]) -> Self {
        let method = first.iter().take_while(|byte| byte.is_ascii_uppercase());
        match (method.count(), first) {
            (_, [b'P', b'R', b'O', b'X', b'Y', b' ', ..] | [b'\r', b'\n', b'\r', b'\n', 0, ..]) => {
                Self::ProxyHeader
            }
            // A method, and the blank after it unless that is further on.
            (length @ 3.., _) if first.get(length).is_none_or(|byte| *byte == b' ') => Self::Http,
            _ => Self::Unknown,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP in clear text",
            Self::ProxyHeader => "a PROXY protocol header",
            Self::Unknown => "nothing known",
        }
    }
}

/// Fails unless what comes begins as TLS does. Answering something else with an alert would tell
/// its sender nothing.
async fn tell_tls(socket: &TcpStream) -> Result<(), AcceptError> {
    let mut first = [0; TELLING_BYTES];
    let length = socket.peek(&mut first).await.map_err(AcceptError::Gone)?;
    match first.get(..length).unwrap_or_default() {
        [] => Err(AcceptError::Gone(io::ErrorKind::UnexpectedEof.into())),
        [HANDSHAKE_RECORD, ..] => Ok(()),
        other => {
            // Whether it could be read makes no difference any more.
            drop(socket.try_read(&mut [0; READ_OFF_BYTES]));
            Err(AcceptError::NotTls(Looks::of(other)))
        }
    }
}

#[cfg(test)]
mod tests;

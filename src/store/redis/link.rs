//! Connections to Redis: how one comes about, and what an error means for whoever asked. Knows nothing
//! of sessions.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, ErrorKind, RedisConnectionInfo, RedisError};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::store::redis::settings::{Address, Server};

/// What bytes go over, encrypted or not.
trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

type Wire = Box<dyn Duplex + 'static>;

/// A connection for commands, one of those that there were one after the other.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) redis: MultiplexedConnection,
    pub(super) number: u64,
}

/// What an error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// This Redis is of no use, or not now: another connection has to be made.
    Away,
    /// Redis writes nothing at this moment.
    NoWrites,
    /// Only this was not done.
    Failed,
}

/// Opens a connection for commands.
pub(super) async fn connect(
    server: &Server,
    timeout: Duration,
) -> Result<MultiplexedConnection, RedisError> {
    let connecting = async {
        let wire = dial(&server.address).await?;
        // Whoever asks has a limit of their own.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let who = who(server);
        let connected = MultiplexedConnection::new_with_config(&who, wire, config);
        let (redis, driver) = connected.await?;
        // Ends with the last handle.
        tokio::spawn(driver);
        Ok(redis)
    };
    in_time(timeout, connecting).await
}

/// Opens a connection on which is heard what is told on this channel.
pub(super) async fn subscribe(
    server: &Server,
    channel: &str,
    timeout: Duration,
) -> Result<PubSub, RedisError> {
    let subscribing = async {
        let wire = dial(&server.address).await?;
        let mut heard = PubSub::new(&who(server), wire).await?;
        heard.subscribe(channel).await?;
        Ok(heard)
    };
    in_time(timeout, subscribing).await
}

/// Waits no longer than this.
pub(super) async fn in_time<T>(
    timeout: Duration,
    asked: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    match tokio::time::timeout(timeout, asked).await {
        Ok(answered) => answered,
        Err(_elapsed) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

async fn dial(address: &Address) -> io::Result<Wire> {
    match address {
        Address::Tcp(host, port) => Ok(Box::new(tcp(host, *port).await?)),
        Address::Tls(host, port, config) => tls(host, *port, config).await,
        #[cfg(unix)]
        Address::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
        #[cfg(not(unix))]
        Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let socket = TcpStream::connect((host, port)).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

async fn tls(host: &str, port: u16, config: &Arc<ClientConfig>) -> io::Result<Wire> {
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|odd| io::Error::new(io::ErrorKind::InvalidInput, odd))?;
    let connector = TlsConnector::from(Arc::clone(config));
    let socket = tcp(host, port).await?;
    Ok(Box::new(connector.connect(name, socket).await?))
}

fn who(server: &Server) -> RedisConnectionInfo {
    let mut who = RedisConnectionInfo::default()
        .set_db(i64::from(server.database))
        // It is nobody's business, and would need a permission.
        .set_skip_set_lib_name();
    if let Some(user) = &server.user {
        who = who.set_username(user);
    }
    if let Some(password) = &server.password {
        // Exposed to be sent.
        who = who.set_password(password.expose());
    }
    who
}

/// What this error means. One that a script met has its code in its text, before Redis 7.
pub(super) fn meaning(error: &RedisError) -> Meaning {
    match error.kind() {
        ErrorKind::Io
        | ErrorKind::Parse
        | ErrorKind::AuthenticationFailed
        | ErrorKind::InvalidClientConfig => return Meaning::Away,
        _ => {}
    }
    let code = error.code().unwrap_or_default();
    let detail = error.detail().unwrap_or_default();
    let says = |words: &[&str]| {
        let in_script = code == "ERR" && words.iter().any(|word| detail.contains(word));
        words.contains(&code) || in_script
    };
    if says(&["OOM", "MISCONF", "NOREPLICAS"]) {
        Meaning::NoWrites
    } else if says(&[
        "READONLY",
        "LOADING",
        "MASTERDOWN",
        "NOAUTH",
        "WRONGPASS",
        "CLUSTERDOWN",
    ]) {
        Meaning::Away
    } else {
        Meaning::Failed
    }
}

/// What the log says of an error.
pub(super) fn told(error: &RedisError) -> String {
    if error.is_timeout() {
        return "no answer within store.redis.timeout".to_owned();
    }
    error.to_string()
}

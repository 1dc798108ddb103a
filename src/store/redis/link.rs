//! Connections to Redis: how one comes about, and what an error means for whoever asked. Knows nothing
//! of sessions.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncCommands as _, AsyncConnectionConfig, Cmd, ConnectionAddr, ErrorKind,
    IntoConnectionInfo as _, Pipeline, RedisConnectionInfo, RedisError, RedisFuture, Value,
};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::crypto::random;
use crate::domain::hex::hex;
use crate::store::redis::settings::{Address, Server};

/// What bytes go over, encrypted or not.
trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

type Wire = Box<dyn Duplex + 'static>;

/// A connection for commands. A cheap handle.
#[derive(Clone)]
pub(super) enum Redis {
    /// To one server.
    One(MultiplexedConnection),
    /// To all of a Cluster.
    Cluster(ClusterConnection),
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redis(..)")
    }
}

impl ConnectionLike for Redis {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(redis) => redis.req_packed_command(command),
            Self::Cluster(redis) => redis.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(redis) => redis.req_packed_commands(pipeline, offset, count),
            Self::Cluster(redis) => redis.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(redis) => redis.get_db(),
            Self::Cluster(redis) => redis.get_db(),
        }
    }
}

/// One of the connections that there were one after the other.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) redis: Redis,
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

/// Opens a connection for commands, and one on which is heard what is told on these channels; the
/// second is nobody else's. Each of several hosts has its time; how often that was tried in vain
/// decides which is the first.
pub(super) async fn open(
    server: &Server,
    channels: [&str; 2],
    (timeout, attempts): (Duration, usize),
) -> Result<(Redis, PubSub), RedisError> {
    match &server.address {
        Address::Sentinels(hosts, name) => {
            let master = master(server, (hosts, name), timeout).await?;
            one(server, &master, (channels, timeout)).await
        }
        Address::Cluster(hosts) => {
            let first = attempts.saturating_sub(1) % hosts.len().max(1);
            let (later, sooner) = hosts.split_at_checked(first).unwrap_or_default();
            let mut last = io::Error::from(io::ErrorKind::NotFound).into();
            for host in sooner.iter().chain(later) {
                match any(server, host, (channels, timeout)).await {
                    Ok(opened) => return Ok(opened),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
        address => one(server, address, (channels, timeout)).await,
    }
}

/// By one server.
async fn one(
    server: &Server,
    address: &Address,
    (channels, timeout): ([&str; 2], Duration),
) -> Result<(Redis, PubSub), RedisError> {
    let redis = Redis::One(in_time(timeout, connect(server, address)).await?);
    let listening = listen(server, address, (redis.clone(), channels));
    let heard = in_time(timeout, listening).await?;
    Ok((redis, heard))
}

/// By one of a Cluster, which knows the others: what is told to one is told to all.
async fn any(
    server: &Server,
    (host, port): &(String, u16),
    (channels, timeout): ([&str; 2], Duration),
) -> Result<(Redis, PubSub), RedisError> {
    let joined = join(server, (host, *port), timeout);
    let redis = Redis::Cluster(in_time(timeout, joined).await?);
    let address = Address::Tcp(host.clone(), *port);
    let listening = listen(server, &address, (redis.clone(), channels));
    let heard = in_time(timeout, listening).await?;
    Ok((redis, heard))
}

async fn connect(server: &Server, address: &Address) -> Result<MultiplexedConnection, RedisError> {
    converse(&who(server), dial(address).await?).await
}

async fn converse(
    who: &RedisConnectionInfo,
    wire: Wire,
) -> Result<MultiplexedConnection, RedisError> {
    // Whoever asks has a limit of their own.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let connected = MultiplexedConnection::new_with_config(who, wire, config);
    let (redis, driver) = connected.await?;
    // Ends with the last handle.
    tokio::spawn(driver);
    Ok(redis)
}

/// Listens, and finds out whether what is told is heard.
async fn listen(
    server: &Server,
    address: &Address,
    (mut redis, channels): (Redis, [&str; 2]),
) -> Result<PubSub, RedisError> {
    let mut heard = PubSub::new(&who(server), dial(address).await?).await?;
    heard.subscribe(&channels).await?;
    let [_, own] = channels;
    let mark = hex(&random::bytes::<16>());
    redis.publish::<_, _, ()>(own, &mark).await?;
    let mut messages = heard.on_message();
    while let Some(message) = messages.next().await {
        if message.get_payload_bytes() == mark.as_bytes() {
            drop(messages);
            return Ok(heard);
        }
    }
    Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
}

/// Asks one Sentinel after the other where the master is.
async fn master(
    server: &Server,
    (hosts, name): (&[(String, u16)], &str),
    timeout: Duration,
) -> Result<Address, RedisError> {
    let mut last = None;
    for (host, port) in hosts {
        let asked = in_time(timeout, ask_sentinel(server, (host, *port), name)).await;
        match asked {
            Ok(Some((host, port))) => return Ok(Address::Tcp(host, port)),
            // It knows no master of that name.
            Ok(None) => {}
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| {
        let what = "no sentinel knows a master of this name";
        (ErrorKind::MasterNameNotFoundBySentinel, what).into()
    }))
}

/// Sentinels want no password, or that of Redis.
async fn ask_sentinel(
    server: &Server,
    (host, port): (&str, u16),
    name: &str,
) -> Result<Option<(String, u16)>, RedisError> {
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    let nobody = RedisConnectionInfo::default().set_skip_set_lib_name();
    let mut sentinel = converse(&nobody, Box::new(tcp(host, port).await?)).await?;
    let asked = command.query_async(&mut sentinel).await;
    if !matches!(&asked, Err(error) if error.code() == Some("NOAUTH")) {
        return asked;
    }
    let who = who(server).set_db(0);
    let mut sentinel = converse(&who, Box::new(tcp(host, port).await?)).await?;
    command.query_async(&mut sentinel).await
}

/// Finds a Cluster by this host. By one alone: of several, one that hangs takes up all the time.
async fn join(
    server: &Server,
    (host, port): (&str, u16),
    timeout: Duration,
) -> Result<ClusterConnection, RedisError> {
    let address = ConnectionAddr::Tcp(host.to_owned(), port).into_connection_info()?;
    let node = address.set_redis_settings(who(server));
    let client = ClusterClient::builder([node])
        .connection_timeout(timeout)
        .response_timeout(timeout)
        .build()?;
    client.get_async_connection().await
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
        // Of these, one has been chosen before.
        Address::Cluster(_) | Address::Sentinels(..) => Err(io::ErrorKind::Unsupported.into()),
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
        | ErrorKind::ClusterConnectionNotFound
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

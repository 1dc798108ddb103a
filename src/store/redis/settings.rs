//! `[store.redis]`: which Redis, and how long anything may take. Knows how its url is written; looks
//! nothing up and connects to nothing.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

/// The port of a Redis whose url names none.
const PORT: u16 = 6379;

/// The port of a Sentinel whose url names none.
const SENTINEL_PORT: u16 = 26379;

/// Hosts that a url may name: more than anybody has Sentinels, and enough to find a Cluster by.
const MAX_HOSTS: usize = 16;

/// Longest path of a unix socket on Linux: `sun_path` has 108 bytes and ends with a zero.
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// `[store.redis]`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is, and who the gate is there.
    pub server: Server,
    /// What every key begins with.
    pub key_prefix: String,
    /// How long anything that is asked of it may take.
    pub timeout: Duration,
    /// For how long what was found is taken for true without asking again.
    pub local_cache_ttl: Duration,
    /// For how long sessions that are known go on while it is away.
    pub outage_grace: Duration,
}

/// A Redis, and who the gate is there.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where.
    pub address: Address,
    /// The user of an ACL; without one, the default user.
    pub user: Option<String>,
    /// What proves it.
    pub password: Option<Password>,
    /// The number of the database.
    pub database: u32,
}

/// Where a Redis is.
#[derive(Clone)]
pub enum Address {
    /// In clear text.
    Tcp(String, u16),
    /// Encrypted, the name or address proven.
    Tls(String, u16, Arc<ClientConfig>),
    /// On this machine.
    Unix(PathBuf),
    /// Where these Sentinels say that the master of this name is, in clear text.
    Sentinels(Vec<(String, u16)>, String),
    /// The Cluster that these are of, in clear text.
    Cluster(Vec<(String, u16)>),
}

/// Shown in the log.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) | Self::Tls(host, port, _) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Sentinels(hosts, name) => write!(f, "{name} of {}", listed(hosts)),
            Self::Cluster(hosts) => write!(f, "the cluster of {}", listed(hosts)),
        }
    }
}

fn listed(hosts: &[(String, u16)]) -> String {
    let hosts = hosts.iter().map(|(host, port)| format!("{host}:{port}"));
    hosts.collect::<Vec<_>>().join(",")
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// The password for Redis.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// The password as text.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// What is wrong with a url, or with the certificates beside it. Never repeats either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerFault {
    /// A certificate that vouches for Redis.
    #[error("has a certificate that cannot be used")]
    Authority,
    /// Of which there would be no use.
    #[error("is for rediss:// only, and the url is another")]
    AuthorityUnused,
    /// Not a number.
    #[error("has a database that is no number from 0 to 65535")]
    Database,
    /// None, or one that cannot be.
    #[error("has no host")]
    Host,
    /// After the host and the database.
    #[error("has a query or a fragment, which mean nothing here")]
    More,
    /// Of the master that Sentinels look after.
    #[error("has no name of a master after its Sentinels")]
    MasterName,
    /// More than anybody has.
    #[error("has more than 16 hosts")]
    TooManyHosts,
    /// Percent signs that stand for no text.
    #[error("has a user or password that is not percent-encoded text")]
    Percent,
    /// Not a number.
    #[error("has a port that is no number from 1 to 65535")]
    Port,
    /// None that is known.
    #[error("has no scheme of a Redis")]
    Scheme,
    /// Not an absolute path.
    #[error("has no absolute path of at most 107 bytes after redis+unix://")]
    Socket,
    /// The TLS library does not offer what is needed.
    #[error("cannot be reached over TLS: {0}")]
    Tls(String),
}

impl Server {
    /// Reads a url. `authorities` is PEM; without it the public ones are believed, and else those alone.
    pub fn parse(url: &str, authorities: Option<&[u8]>) -> Result<Self, ServerFault> {
        let (scheme, rest) = url.split_once("://").ok_or(ServerFault::Scheme)?;
        if rest.contains(['?', '#']) {
            return Err(ServerFault::More);
        }
        let scheme = scheme.to_ascii_lowercase();
        if authorities.is_some() && scheme != "rediss" {
            return Err(ServerFault::AuthorityUnused);
        }
        // A password may have anything in it; what comes after has no @.
        let (who, place) = match rest.rsplit_once('@') {
            Some((who, place)) => (Some(who), place),
            None => (None, rest),
        };
        let (user, password) = credentials(who)?;
        let (address, database) = match scheme.as_str() {
            "redis" => {
                let (host, port, database) = host_and_more(place)?;
                (Address::Tcp(host, port), database)
            }
            "rediss" => {
                let (host, port, database) = host_and_more(place)?;
                (Address::Tls(host, port, tls(authorities)?), database)
            }
            "redis+unix" => (unix(place)?, 0),
            "redis+sentinel" => sentinels(place)?,
            "redis-cluster" => (Address::Cluster(cluster(place)?), 0),
            _ => return Err(ServerFault::Scheme),
        };
        Ok(Self {
            address,
            user,
            password,
            database,
        })
    }
}

fn credentials(who: Option<&str>) -> Result<(Option<String>, Option<Password>), ServerFault> {
    let Some(who) = who else {
        return Ok((None, None));
    };
    let (user, password) = who.split_once(':').unwrap_or((who, ""));
    let text = |part: &str| match percent_decode_str(part).decode_utf8() {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_not_utf8) => Err(ServerFault::Percent),
    };
    let (user, password) = (text(user)?, Zeroizing::new(text(password)?));
    let user = (!user.is_empty()).then_some(user);
    let password = (!password.is_empty()).then_some(Password(password));
    Ok((user, password))
}

/// `host[:port][/database]`.
fn host_and_more(text: &str) -> Result<(String, u16, u32), ServerFault> {
    let (authority, number) = text.split_once('/').unwrap_or((text, ""));
    let (host, port) = host(authority, PORT)?;
    Ok((host, port, database(number)?))
}

/// `host[:port],…/master-name[/database]`.
fn sentinels(text: &str) -> Result<(Address, u32), ServerFault> {
    let (listed, rest) = text.split_once('/').unwrap_or((text, ""));
    let (name, number) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(ServerFault::MasterName);
    }
    let address = Address::Sentinels(hosts(listed, SENTINEL_PORT)?, name.to_owned());
    Ok((address, database(number)?))
}

/// `host[:port],…`. A Cluster has one database.
fn cluster(text: &str) -> Result<Vec<(String, u16)>, ServerFault> {
    let (listed, number) = text.split_once('/').unwrap_or((text, ""));
    if !number.is_empty() {
        return Err(ServerFault::Database);
    }
    hosts(listed, PORT)
}

fn hosts(listed: &str, default_port: u16) -> Result<Vec<(String, u16)>, ServerFault> {
    let hosts = listed.split(',').map(|one| host(one, default_port));
    let hosts: Vec<_> = hosts.collect::<Result<_, _>>()?;
    if hosts.len() > MAX_HOSTS {
        return Err(ServerFault::TooManyHosts);
    }
    Ok(hosts)
}

fn database(number: &str) -> Result<u32, ServerFault> {
    match number {
        "" => Ok(0),
        digits => match digits.parse::<u16>() {
            Ok(number) => Ok(number.into()),
            Err(_odd) => Err(ServerFault::Database),
        },
    }
}

/// `host[:port]`.
fn host(authority: &str, default_port: u16) -> Result<(String, u16), ServerFault> {
    let (host, port) = match authority.rsplit_once(':') {
        // A colon inside the brackets of an address.
        Some((_, after)) if after.ends_with(']') => (authority, None),
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let port = match port {
        None => default_port,
        Some(digits) => digits.parse().map_err(|_odd| ServerFault::Port)?,
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host = bare.unwrap_or(host);
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    if port == 0 {
        return Err(ServerFault::Port);
    }
    if host.is_empty() || !host.bytes().all(plain) {
        return Err(ServerFault::Host);
    }
    Ok((host.to_owned(), port))
}

fn unix(path: &str) -> Result<Address, ServerFault> {
    let fits = path.starts_with('/') && path.len() <= MAX_SOCKET_PATH_BYTES;
    fits.then(|| Address::Unix(PathBuf::from(path)))
        .ok_or(ServerFault::Socket)
}

/// TLS 1.2 and 1.3, by one named provider: the process may hold several, and must not be asked.
fn tls(authorities: Option<&[u8]>) -> Result<Arc<ClientConfig>, ServerFault> {
    let roots = match authorities {
        None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
        Some(pem) => believe(pem)?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ServerFault::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn believe(pem: &[u8]) -> Result<RootCertStore, ServerFault> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_broken| ServerFault::Authority)?;
        let added = roots.add(certificate);
        added.map_err(|_odd| ServerFault::Authority)?;
    }
    if roots.is_empty() {
        return Err(ServerFault::Authority);
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Server {
        Server::parse(url, None).unwrap()
    }

    #[test]
    fn anything_odd_in_a_url_is_named() {
        for (url, fault) in [
            ("127.0.0.1:6379", ServerFault::Scheme),
            ("http://127.0.0.1", ServerFault::Scheme),
            ("redis://", ServerFault::Host),
            ("redis://:6379", ServerFault::Host),
            ("redis://a b", ServerFault::Host),
            ("redis://a:0", ServerFault::Port),
            ("redis://a:x", ServerFault::Port),
            ("redis://a/x", ServerFault::Database),
            ("redis://a/-1", ServerFault::Database),
            ("redis://a?db=1", ServerFault::More),
            ("redis://%ff@a", ServerFault::Percent),
            ("redis+unix://run/redis.sock", ServerFault::Socket),
            ("redis+sentinel://a:26379", ServerFault::MasterName),
            ("redis+sentinel://a:26379/", ServerFault::MasterName),
            ("redis+sentinel://a:26379/a b", ServerFault::MasterName),
            ("redis+sentinel://a,/main", ServerFault::Host),
            ("redis+sentinel://a/main/x", ServerFault::Database),
            ("redis-cluster://a,", ServerFault::Host),
            ("redis-cluster://a/1", ServerFault::Database),
            (
                &format!("redis-cluster://{}a", "a,".repeat(16)),
                ServerFault::TooManyHosts,
            ),
        ] {
            assert_eq!(Server::parse(url, None).unwrap_err(), fault, "{url}");
        }
        let unused = Server::parse("redis://a", Some(b"")).unwrap_err();
        assert_eq!(unused, ServerFault::AuthorityUnused);
        let none = Server::parse("rediss://a", Some(b"")).unwrap_err();
        assert_eq!(none, ServerFault::Authority);
    }

    #[test]
    fn a_url_says_where_who_and_which_database() {
        let server = parse("redis://gate:p%40ss:w@redis.example:7000/3");
        assert_eq!(server.address.to_string(), "redis.example:7000");
        assert_eq!(server.user.as_deref(), Some("gate"));
        assert_eq!(server.password.unwrap().expose(), "p@ss:w");
        assert_eq!(server.database, 3);
        let server = parse("redis://:secret@[::1]");
        assert_eq!(server.address.to_string(), "::1:6379");
        assert_eq!(server.user, None);
        let server = parse("redis+unix:///run/redis.sock");
        assert!(matches!(server.address, Address::Unix(path) if path.ends_with("redis.sock")));
        assert!(matches!(parse("rediss://a").address, Address::Tls(..)));
    }

    #[test]
    fn several_hosts_stand_between_commas() {
        let shown = |url| parse(url).address.to_string();
        let cluster = shown("redis-cluster://u:p@a,[::1]:7000");
        assert_eq!(cluster, "the cluster of a:6379,::1:7000");
        let sentinels = parse("redis+sentinel://:p@a,b:1/main/2");
        assert_eq!(sentinels.address.to_string(), "main of a:26379,b:1");
        assert_eq!(sentinels.database, 2);
    }

    #[test]
    fn passwords_do_not_print() {
        let printed = format!("{:?}", parse("redis://gate:planted@a"));
        assert!(!printed.contains("planted"), "{printed}");
    }
}

//! `[upstream]` and `[upstreams.NAME]`: the app servers.

use http::HeaderValue;

use crate::config::address::{self, Origin};
use crate::config::key::Key;
use crate::config::upstream_tls;
use crate::server::Listen;
use crate::upstream::{Index, Protocol, Settings, Target};

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;
const PHP_FPM_PORT: u16 = 9000;
const MAX_CONNECTIONS: usize = 1_000_000;
const MAX_NAME_CHARS: usize = 64;
const EXPECTED: &str = "expected \"http://host:port\", \"https://host:port\" or \"unix:/path\", \
                        without a path on the app server";

/// What was read of all app servers.
pub(super) struct Upstreams<'a> {
    /// `[upstream]` first, then `[upstreams.NAME]` in the order of the file. `None` where there is
    /// a fault.
    settings: Vec<Option<Settings>>,
    /// The tables of the named ones: the first is number 1 in `settings`.
    named: Vec<(&'a str, Key<'a>)>,
}

impl<'a> Upstreams<'a> {
    /// Reads all of them. `listen` is where the gate listens itself.
    pub(super) fn read(root: &Key<'a>, listen: &[Listen]) -> Self {
        let named = root.table("upstreams").tables();
        let mut settings = vec![read_one(&root.table("upstream"), listen)];
        for (name, table) in &named {
            check_name(name, table);
            let read = read_one(table, listen);
            settings.push(read.map(|settings| Settings {
                name: format!("upstreams.{name}"),
                ..settings
            }));
        }
        Self { settings, named }
    }

    /// The place of a named one.
    pub(super) fn find(&self, name: &str) -> Option<Index> {
        let position = self.named.iter().position(|&(known, _)| known == name)?;
        Some(Index::new(position + 1))
    }

    /// The names, as a message lists them.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self
            .named
            .iter()
            .map(|&(name, _)| format!("{name:?}"))
            .collect();
        if names.is_empty() {
            "there is no table [upstreams.NAME]".to_owned()
        } else {
            format!("expected one of {}", names.join(", "))
        }
    }

    /// Warns of named ones that are not among these.
    pub(super) fn warn_unused(&self, used: &[Index]) {
        for (index, (name, table)) in self.named.iter().enumerate() {
            if !used.contains(&Index::new(index + 1)) {
                table.warn(format!(
                    "is never used: no rule under [[access.rules]] says upstream = {name:?}"
                ));
            }
        }
    }

    /// The settings, when none has a fault.
    pub(super) fn into_settings(self) -> Option<Vec<Settings>> {
        self.settings.into_iter().collect()
    }
}

/// A name is a level in the name of an environment variable.
fn check_name(name: &str, table: &Key<'_>) {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    let fits = name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(plain)
        && name.len() <= MAX_NAME_CHARS
        && !name.contains("__");
    if !fits {
        table.fault("is not a name, expected lower-case letters, digits, - and single _");
    }
}

fn read_one(table: &Key<'_>, listen: &[Listen]) -> Option<Settings> {
    let target = read_target(table, listen);
    // Its defaults are the same at every target.
    let unknown = || Target::Unix(std::path::PathBuf::new());
    let default = Settings::at(target.clone().unwrap_or_else(unknown));
    let number = |name: &str, default: usize, least: usize| {
        table.key(name).number(default, least..=MAX_CONNECTIONS)
    };
    let protocols = [("http1", Protocol::Http1), ("http2", Protocol::Http2)];
    let settings = Settings {
        name: default.name,
        protocol: table.key("protocol").choice(default.protocol, &protocols),
        connect_timeout: table
            .key("connect_timeout")
            .duration(default.connect_timeout),
        response_timeout: table
            .key("response_timeout")
            .duration(default.response_timeout),
        stream_idle_timeout: table
            .key("stream_idle_timeout")
            .duration_or_off(default.stream_idle_timeout),
        idle_timeout: table.key("idle_timeout").duration(default.idle_timeout),
        max_connections: number("max_connections", default.max_connections, 1),
        max_tunnels: number("max_tunnels", default.max_tunnels, 0),
        max_idle: number("max_idle", default.max_idle, 0),
        max_pending: number("max_pending", default.max_pending, 0),
        preserve_host: table.key("preserve_host").flag(default.preserve_host),
        target: default.target,
    };
    target.map(|_known| settings)
}

/// Where an app server is, and how it is met there.
fn read_target(table: &Key<'_>, listen: &[Listen]) -> Option<Target> {
    let key = table.key("url");
    let Some(Url { mut target, https }) = read_url(&key) else {
        upstream_tls::check(table);
        return None;
    };
    match &mut target {
        Target::Http { host, tls, .. } if https => {
            *tls = Some(upstream_tls::read(table, host)?);
        }
        _ => upstream_tls::refuse(table),
    }
    warn_of_fastcgi(&key, &target);
    if listen.iter().any(|address| is_gate(&target, address)) {
        key.fault("is the gate's own address (server.listen), expected that of the app server");
        return None;
    }
    Some(target)
}

/// PHP-FPM speaks FastCGI, and would answer nothing to HTTP.
fn warn_of_fastcgi(key: &Key<'_>, target: &Target) {
    let is_customary = match target {
        Target::Http { port, tls, .. } => *port == PHP_FPM_PORT && tls.is_none(),
        Target::Unix(path) => path.to_string_lossy().contains("fpm"),
        Target::Played(_) => false,
    };
    if is_customary {
        key.warn(
            "is where PHP-FPM listens by custom, which speaks FastCGI and no HTTP: put nginx \
             between the gate and PHP-FPM (docs/hosting.md)",
        );
    }
}

/// A url, before its files have been looked at.
struct Url {
    /// Without TLS.
    target: Target,
    https: bool,
}

fn read_url(key: &Key<'_>) -> Option<Url> {
    let url =
        key.required_text("the address of the app server such as \"http://127.0.0.1:3000\"")?;
    match parse_url(url) {
        Ok(url) => Some(url),
        Err(wrong) => {
            key.fault(format!("{wrong}, {EXPECTED}"));
            None
        }
    }
}

fn parse_url(url: &str) -> Result<Url, &'static str> {
    if let Some(socket) = address::unix_socket(url) {
        return socket.map(|path| Url {
            target: Target::Unix(path),
            https: false,
        });
    }
    let origin = Origin::parse(url)?;
    let (https, default_port) = match origin.scheme.as_str() {
        "http" => (false, HTTP_PORT),
        "https" => (true, HTTPS_PORT),
        _ => return Err("has an unknown scheme"),
    };
    let authority =
        HeaderValue::try_from(origin.authority(default_port)).map_err(|_odd| "has an odd host")?;
    let target = Target::Http {
        port: origin.port.unwrap_or(default_port),
        host: origin.host,
        authority,
        tls: None,
    };
    Ok(Url { target, https })
}

/// Whether a request to the target would come back to the gate.
fn is_gate(target: &Target, listen: &Listen) -> bool {
    match (target, listen) {
        (Target::Unix(target), Listen::Unix(path)) => target == path,
        (Target::Http { host, port, .. }, Listen::Tcp(address)) => {
            let name = host.eq_ignore_ascii_case("localhost");
            let ip: Option<std::net::IpAddr> = host.parse().ok();
            let is_loopback = name || ip.is_some_and(|ip| ip.to_canonical().is_loopback());
            *port == address.port()
                && (ip == Some(address.ip()) || (is_loopback && takes_loopback(address)))
        }
        _ => false,
    }
}

fn takes_loopback(address: &std::net::SocketAddr) -> bool {
    address.ip().is_unspecified() || address.ip().is_loopback()
}

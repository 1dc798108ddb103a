//! `[server]`: where the gate listens and what one client may take of it.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::config::key::Key;
use crate::config::{address, tls, value};
use crate::domain::peer::{Address, TrustedProxies};
use crate::server::{DEFAULT_PORT, Limits, Listen, Settings};

const MAX_WORKERS: usize = 1024;
/// The HTTP library cannot do with less than 8 KiB.
const HEADER_BYTES: (usize, usize) = (8 * 1024, 1024 * 1024);
/// The library that holds targets cannot hold more than 64 KiB.
const URI_BYTES: (usize, usize) = (256, 32 * 1024);
/// Nobody means more.
const MAX_BODY_BYTES: u64 = 1024 * 1024 * 1024 * 1024;

/// The address of the file that says nothing about it.
fn default_listen() -> Listen {
    Listen::Tcp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT)))
}

/// Reads `[server]`.
pub(super) fn read(table: &Key<'_>) -> Settings {
    let listen = read_listen(&table.key("listen"));
    let grace = Duration::from_secs(25);
    let trusted_proxies = read_trusted(&table.key("trusted_proxies"));
    let proxy_protocol = read_proxy_protocol(&table.key("proxy_protocol"), &trusted_proxies);
    if proxy_protocol && !trusted_proxies.trusts(&Address::Unix) {
        warn_of_closed_sockets(&table.key("listen"), &listen);
    }
    Settings {
        listen_fallback: listen == [default_listen()],
        listen,
        workers: table.key("workers").number(0, 0..=MAX_WORKERS),
        drain_timeout: table.key("drain_timeout").duration(grace),
        drain_delay: table
            .key("drain_delay")
            .duration_or_off(None)
            .unwrap_or_default(),
        trusted_proxies,
        proxy_protocol,
        tls: tls::read(&table.table("tls")),
        limits: read_limits(&table.table("limits")),
    }
}

fn read_listen(key: &Key<'_>) -> Vec<Listen> {
    let Some(items) = key.text_or_texts() else {
        return vec![default_listen()];
    };
    if items.is_empty() {
        key.fault("is empty, expected an address to listen on such as \"[::]:4180\"");
    }
    let mut listen = Vec::new();
    for item in items {
        match parse_listen(&item.text) {
            Err(wrong) => item.key.fault(wrong),
            Ok(address) if listen.contains(&address) && !is_any_port(&address) => {
                item.key
                    .fault("is there twice, expected every address once");
            }
            Ok(address) => listen.push(address),
        }
    }
    listen
}

/// Port 0 stands for any free one.
fn is_any_port(listen: &Listen) -> bool {
    matches!(listen, Listen::Tcp(address) if address.port() == 0)
}

fn parse_listen(text: &str) -> Result<Listen, String> {
    const EXPECTED: &str = "expected an IP address and a port such as \"0.0.0.0:4180\" or \
                            \"[::]:4180\", or \"unix:/path\"";
    match address::unix_socket(text) {
        Some(Ok(path)) => Ok(Listen::Unix(path)),
        Some(Err(wrong)) => Err(format!("{wrong}, {EXPECTED}")),
        None => address::socket(text)
            .map(Listen::Tcp)
            .ok_or_else(|| format!("is {}, {EXPECTED}", value::quoted(text))),
    }
}

fn read_trusted(key: &Key<'_>) -> TrustedProxies {
    let mut networks = Vec::new();
    let mut unix = false;
    for item in key.texts().unwrap_or_default() {
        if item.text == "unix" {
            unix = true;
        } else {
            networks.extend(address::network(
                &item,
                "an address, or \"unix\"",
                "trusts everybody: any client can claim any address in X-Forwarded-For; name the \
                 proxies only",
            ));
        }
    }
    TrustedProxies::new(networks, unix)
}

fn read_proxy_protocol(key: &Key<'_>, trusted: &TrustedProxies) -> bool {
    let on = key.flag(false);
    if on && *trusted == TrustedProxies::default() {
        key.fault(
            "is true, and nobody may connect: server.trusted_proxies is empty, expected the proxies \
             there that say whose connections they pass on",
        );
    }
    on
}

/// Only trusted proxies may connect.
fn warn_of_closed_sockets(key: &Key<'_>, listen: &[Listen]) {
    let sockets = listen
        .iter()
        .filter(|listen| matches!(listen, Listen::Unix(_)));
    for socket in sockets {
        key.warn(format!(
            "has {socket}, and nobody may connect to it: server.proxy_protocol is true, and \"unix\" \
             is not in server.trusted_proxies"
        ));
    }
}

fn read_limits(table: &Key<'_>) -> Limits {
    let default = Limits::default();
    let (head, uri) = (table.key("max_header_bytes"), table.key("max_uri_bytes"));
    let max_body = table.key("max_body_bytes").size(0, 0..=MAX_BODY_BYTES);
    let limits = Limits {
        max_connections: table
            .key("max_connections")
            .number(default.max_connections, 1..=1_000_000),
        max_header_bytes: head.size(default.max_header_bytes, HEADER_BYTES.0..=HEADER_BYTES.1),
        max_headers: table
            .key("max_headers")
            .number(default.max_headers, 8..=1000),
        max_uri_bytes: uri.size(default.max_uri_bytes, URI_BYTES.0..=URI_BYTES.1),
        tls_handshake_timeout: table
            .key("tls_handshake_timeout")
            .duration(default.tls_handshake_timeout),
        header_timeout: table.key("header_timeout").duration(default.header_timeout),
        idle_timeout: table.key("idle_timeout").duration(default.idle_timeout),
        body_idle_timeout: table
            .key("body_idle_timeout")
            .duration(default.body_idle_timeout),
        max_body_bytes: (max_body != 0).then_some(max_body),
    };
    if limits.max_uri_bytes > limits.max_header_bytes {
        let at = if uri.is_present() { uri } else { head };
        at.fault(
            "leaves no room for the target, expected max_uri_bytes not above max_header_bytes",
        );
    }
    limits
}

//! Addresses, networks and URLs as operators write them. Does not look names up and knows no key by name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use crate::config::reader::Item;
use crate::config::value;

/// Longest path of a unix socket on Linux: `sun_path` has 108 bytes and ends with a zero.
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// A URL of which only scheme, host and port are said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// Lower-case.
    pub(super) scheme: String,
    /// A name or address, an IPv6 one without its brackets.
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

impl Origin {
    /// Reads `scheme://host[:port]`, with or without a slash after it. Says what is wrong; never
    /// repeats the URL, which may hold a password.
    pub(super) fn parse(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once("://").ok_or("has no scheme")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            return Err("has a user or password");
        }
        if rest.contains(['?', '#']) {
            return Err("has a query or fragment");
        }
        if rest.contains('/') {
            return Err("has a path");
        }
        let (host, port) = split_port(rest)?;
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            host: check_host(host)?,
            port,
        })
    }

    /// Whether the host is this machine, whatever its resolver says.
    pub(super) fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self
                .host
                .parse()
                .is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
    }

    /// Host and port as a URL and a `Host` header say them.
    pub(super) fn authority(&self, default_port: u16) -> String {
        let host = match self.host.parse::<Ipv6Addr>() {
            Ok(ip) => format!("[{ip}]"),
            Err(_name) => self.host.clone(),
        };
        match self.port {
            Some(port) if port != default_port => format!("{host}:{port}"),
            _ => host,
        }
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = match authority.rsplit_once(':') {
        // A colon inside the brackets of an address.
        Some((_, after)) if after.ends_with(']') => (authority, None),
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    match port {
        None => Ok((host, None)),
        Some(text) => match Some(text).filter(digits).and_then(|text| text.parse().ok()) {
            None | Some(0) => Err("has a port that is no number from 1 to 65535"),
            port => Ok((host, port)),
        },
    }
}

fn check_host(host: &str) -> Result<String, &'static str> {
    if let Some(inner) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let ip: Result<Ipv6Addr, _> = inner.parse();
        return ip
            .map(|ip| ip.to_string())
            .map_err(|_wrong| "has no IPv6 address between its brackets");
    }
    if host.is_empty() {
        return Err("has no host");
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !host.bytes().all(plain) {
        return Err("has a host with other characters than letters, digits, - and .");
    }
    let last_label = host
        .trim_end_matches('.')
        .rsplit('.')
        .next()
        .unwrap_or(host);
    let numeric = last_label.bytes().all(|byte| byte.is_ascii_digit());
    if numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err("has a host that is neither a name nor an IPv4 address");
    }
    Ok(host.to_owned())
}

/// `address:port`, `localhost:port`.
pub(super) fn socket(text: &str) -> Option<SocketAddr> {
    if let Some(port) = text.strip_prefix("localhost:") {
        return Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?)));
    }
    text.parse().ok()
}

/// The path in `unix:/path`; `None` for anything else.
pub(super) fn unix_socket(text: &str) -> Option<Result<PathBuf, &'static str>> {
    let path = text.strip_prefix("unix:")?;
    Some(if !path.starts_with('/') || path.starts_with("//") {
        Err("has no absolute path after unix:")
    } else if path.len() > MAX_SOCKET_PATH_BYTES {
        Err("has a longer path than a socket can have (107 bytes)")
    } else {
        Ok(PathBuf::from(path))
    })
}

/// Reads a network or an address. `others` ends the sentence on what may stand there; what
/// `everybody` says is warned of when everybody is in it.
pub(super) fn network(item: &Item<'_>, others: &str, everybody: &str) -> Option<IpNet> {
    let text = item.text.as_str();
    let network = text
        .parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network: IpNet = match network {
        Ok(network) => network,
        Err(_wrong) => {
            let shown = value::quoted(text);
            item.key.fault(format!(
                "is {shown}, expected a network such as \"10.0.0.0/8\", {others}"
            ));
            return None;
        }
    };
    if matches!(network, IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some()) {
        item.key
            .fault("is IPv4 in IPv6 form and would never match, expected the IPv4 network");
    }
    if network.prefix_len() == 0 {
        item.key.warn(everybody);
    }
    Some(network.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let parse = |url| Origin::parse(url).unwrap();
        assert_eq!(parse("http://app").authority(80), "app");
        assert_eq!(parse("http://app:80/").authority(80), "app");
        assert_eq!(parse("http://app:3000").authority(80), "app:3000");
        assert_eq!(parse("HTTP://[::1]:3000").authority(80), "[::1]:3000");
        assert_eq!(parse("http://[::1]").host, "::1");
        assert!(parse("http://127.9.9.9:1").is_loopback());
        assert!(parse("http://[::ffff:127.0.0.1]:1").is_loopback());
        assert!(parse("http://LocalHost").is_loopback());
        assert!(!parse("http://localhost.example.com").is_loopback());
    }

    #[test]
    fn anything_else_in_a_url_is_named() {
        for (url, wrong) in [
            ("127.0.0.1:3000", "has no scheme"),
            ("http://u:p@app", "has a user or password"),
            ("http://app/?x", "has a query or fragment"),
            ("http://app/api", "has a path"),
            ("http://", "has no host"),
            ("http://:3000", "has no host"),
            (
                "http://app:",
                "has a port that is no number from 1 to 65535",
            ),
            (
                "http://app:0",
                "has a port that is no number from 1 to 65535",
            ),
            (
                "http://app:+80",
                "has a port that is no number from 1 to 65535",
            ),
            (
                "http://app:99999",
                "has a port that is no number from 1 to 65535",
            ),
            (
                "http://[::1",
                "has a host with other characters than letters, digits, - and .",
            ),
            ("http://[::x]", "has no IPv6 address between its brackets"),
            (
                "http://::1",
                "has a host with other characters than letters, digits, - and .",
            ),
            (
                "http://a b",
                "has a host with other characters than letters, digits, - and .",
            ),
            (
                "http://127.1",
                "has a host that is neither a name nor an IPv4 address",
            ),
        ] {
            assert_eq!(Origin::parse(url).unwrap_err(), wrong, "{url}");
        }
    }

    #[test]
    fn a_unix_socket_has_an_absolute_path_that_fits() {
        assert_eq!(unix_socket("/run/x"), None);
        assert_eq!(
            unix_socket("unix:/run/x"),
            Some(Ok(PathBuf::from("/run/x")))
        );
        assert!(unix_socket("unix:run/x").unwrap().is_err());
        assert!(unix_socket("unix:///run/x").unwrap().is_err());
        assert!(
            unix_socket(&format!("unix:/{}", "x".repeat(107)))
                .unwrap()
                .is_err()
        );
    }
}

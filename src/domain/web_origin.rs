//! The origin of a page (RFC 6454): scheme, host and port, as browsers say it in `Origin`. Knows nothing
//! of which origins may do what.

use std::fmt;

/// The text is not an origin. `null` is none either: many pages say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not an origin")]
pub struct NotAnOrigin;

/// An origin, in the form in which browsers write it: lower case, without the port that its scheme has
/// anyway.
#[derive(Clone, PartialEq, Eq)]
pub struct WebOrigin(Box<str>);

impl WebOrigin {
    /// Reads `https://host` or `http://host:port`.
    pub fn parse(text: &str) -> Result<Self, NotAnOrigin> {
        let (scheme, authority) = text.split_once("://").ok_or(NotAnOrigin)?;
        Self::of(scheme, authority)
    }

    /// Of a scheme, and of a host with or without its port.
    pub fn of(scheme: &str, authority: &str) -> Result<Self, NotAnOrigin> {
        let scheme = scheme.to_ascii_lowercase();
        let usual = match scheme.as_str() {
            "https" => "443",
            "http" => "80",
            _ => return Err(NotAnOrigin),
        };
        let (host, port) = split(authority).ok_or(NotAnOrigin)?;
        let host = host.to_ascii_lowercase();
        let text = match port {
            None => format!("{scheme}://{host}"),
            Some(port) if port == usual => format!("{scheme}://{host}"),
            Some(port) => format!("{scheme}://{host}:{port}"),
        };
        Ok(Self(text.into()))
    }

    /// As browsers write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Host and port: a name, an IPv4 address, or an IPv6 address in brackets.
fn split(authority: &str) -> Option<(&str, Option<&str>)> {
    let end = match authority.strip_prefix('[') {
        Some(inside) => inside.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at_checked(end)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let legal = address.map_or_else(
        || !host.is_empty() && host.bytes().all(plain),
        |address| address.parse::<std::net::Ipv6Addr>().is_ok(),
    );
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        // As a number, it could be written in two ways.
        Some(port) if is_port(port) => Some(port),
        _ => return None,
    };
    legal.then_some((host, port))
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit())
        && !port.starts_with('0')
        && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_origin_of_a_page_on_the_web_is_none() {
        for wrong in [
            "",
            "null",
            "*",
            "https://",
            "https://*",
            "https://*.example.com",
            "gate.example",
            "//gate.example",
            "ftp://gate.example",
            "file://",
            "https://gate.example/",
            "https://gate.example/x",
            "https://gate.example?x",
            "https://user@gate.example",
            "https://gate.example:",
            "https://gate.example:0443",
            "https://gate.example:65536",
            "https://gate.example:+1",
            "https://gate example",
            "https://gate.example https://evil.example",
            "https://[::1",
            "https://[::1]x",
            "https://[gate.example]",
        ] {
            assert_eq!(WebOrigin::parse(wrong), Err(NotAnOrigin), "{wrong}");
        }
    }

    #[test]
    fn an_origin_has_one_form() {
        for (text, form) in [
            ("https://gate.example", "https://gate.example"),
            ("HTTPS://Gate.Example:443", "https://gate.example"),
            ("http://gate.example:80", "http://gate.example"),
            ("http://gate.example:443", "http://gate.example:443"),
            ("https://gate.example:8443", "https://gate.example:8443"),
            ("http://127.0.0.1:4180", "http://127.0.0.1:4180"),
            ("http://[::1]:4180", "http://[::1]:4180"),
        ] {
            assert_eq!(WebOrigin::parse(text).unwrap().as_str(), form, "{text}");
        }
    }
}

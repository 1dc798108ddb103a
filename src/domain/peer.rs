//! Who is at the other end of a connection, and whether what they say about others is believed.

use std::fmt;
use std::io::Write as _;
use std::net::IpAddr;

use http::HeaderValue;
use ipnet::IpNet;

/// The longest text of an address: of an IPv6 address with an IPv4 address in it.
const MAX_ADDRESS_BYTES: usize = 45;

/// Whether a connection to the gate is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Clear text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// As `X-Forwarded-Proto` says it.
    pub fn as_header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// The proxies whose word about clients is believed. Empty: nobody's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    unix: bool,
}

impl TrustedProxies {
    /// These networks, and peers on unix sockets when `unix` is among what was configured.
    pub fn new(networks: Vec<IpNet>, unix: bool) -> Self {
        Self { networks, unix }
    }

    /// Whether this address belongs to a trusted proxy.
    pub fn trusts(&self, address: &Address) -> bool {
        match address {
            Address::Ip(ip) => self.networks.iter().any(|network| network.contains(ip)),
            Address::Unix => self.unix,
        }
    }
}

/// An address of a peer or client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// Over IP; an IPv4 address is never in its IPv6 form.
    Ip(IpAddr),
    /// Over a unix socket: somebody on this machine.
    Unix,
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip.to_canonical())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            // As nginx writes it: no parser takes it for the address of somebody else.
            Self::Unix => f.write_str("unix:"),
        }
    }
}

/// Who connected. Made once per connection, with everything that its requests need ready to write.
#[derive(Clone, Debug)]
pub struct Peer {
    address: Address,
    trusted: bool,
    scheme: HeaderValue,
    address_header: HeaderValue,
    local_port: Option<HeaderValue>,
}

impl Peer {
    /// A peer at this address, judged by these trusted proxies. `local_port` is the port it
    /// connected to.
    pub fn new(
        address: Address,
        scheme: Scheme,
        local_port: Option<u16>,
        trusted: &TrustedProxies,
    ) -> Self {
        Self {
            address,
            trusted: trusted.trusts(&address),
            scheme: scheme.as_header(),
            address_header: as_header(&address),
            local_port: local_port.map(HeaderValue::from),
        }
    }

    /// Where it connected from.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Its address as a header value.
    pub fn address_header(&self) -> &HeaderValue {
        &self.address_header
    }

    /// Whether it is a trusted proxy.
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Whether its connection is encrypted, as `X-Forwarded-Proto` says it.
    pub fn scheme_header(&self) -> &HeaderValue {
        &self.scheme
    }

    /// The port it connected to, as a header value; none on a unix socket.
    pub fn local_port(&self) -> Option<&HeaderValue> {
        self.local_port.as_ref()
    }
}

/// An address as a header value.
pub fn as_header(address: &Address) -> HeaderValue {
    let mut text = [0; MAX_ADDRESS_BYTES];
    let mut rest = text.as_mut_slice();
    let written = write!(rest, "{address}").map(|()| MAX_ADDRESS_BYTES - rest.len());
    // An address prints as printable ASCII, always, and is no longer.
    let text = written.ok().and_then(|length| text.get(..length));
    text.and_then(|text| HeaderValue::from_bytes(text).ok())
        .unwrap_or(HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_header_value_whole_however_long_it_is() {
        for text in ["192.168.100.200", "ffff:eeee:dddd:cccc:bbbb:aaaa:9999:8888"] {
            let address = Address::from(text.parse::<IpAddr>().unwrap());
            assert_eq!(as_header(&address), text);
        }
        assert_eq!(as_header(&Address::Unix), "unix:");
    }
}

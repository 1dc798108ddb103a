//! The PROXY protocol, versions 1 and 2: what a proxy in front says about a connection, before the
//! first byte of it (haproxy.org, proxy-protocol.txt of 2020/03/05). Reads the header and not a byte
//! more; knows nothing of who is believed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::domain::peer::Address;
use crate::telemetry::event;

/// What a header of version 2 begins with. No text protocol does.
const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// What a header of version 1 begins with.
const V1_SIGNATURE: &[u8; 6] = b"PROXY ";

/// The longest header of version 1, its line break included (section 2.1).
const MAX_V1_BYTES: usize = 107;

/// The longest header of version 2 after its first 16 bytes. Two addresses of unix sockets take 216;
/// what else a proxy may say (about its TLS, names, checksums) is read and not looked at.
const MAX_V2_BYTES: usize = 4096;

/// What a proxy says about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Who its client is, and which port that connected to.
    Client {
        /// The client's address.
        from: IpAddr,
        /// The port it connected to.
        local_port: u16,
    },
    /// Nothing: it speaks for itself, or for a client of which it knows no address over IP.
    Nothing,
}

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The connection ended.
    #[error("the connection ended")]
    Gone(#[from] io::Error),
    /// It begins like one and is none.
    #[error("the header is malformed")]
    Malformed,
    /// Something else came.
    #[error("the connection does not begin with a header")]
    Missing,
    /// It took too long.
    #[error("the header took too long")]
    TimedOut,
    /// It is longer than any header is.
    #[error("the header is too long")]
    TooLong,
}

impl HeaderError {
    /// Writes a line: at a level that shows wrong settings, but not every connection that ended.
    pub(in crate::server) fn report(&self, peer: Address) {
        if let Self::Gone(_) = self {
            tracing::debug!(message = event::NO_PROXY_HEADER, error = %self, %peer);
        } else {
            tracing::info!(message = event::NO_PROXY_HEADER, error = %self, %peer);
        }
    }
}

/// Reads the header, within this time.
pub async fn read<S: AsyncRead + Unpin>(
    socket: &mut S,
    within: Duration,
) -> Result<Told, HeaderError> {
    let header = async {
        // No header of either version is shorter.
        let mut begin = [0; V2_SIGNATURE.len()];
        socket.read_exact(&mut begin).await?;
        if begin == V2_SIGNATURE {
            read_v2(socket).await
        } else if begin.starts_with(V1_SIGNATURE) {
            read_v1(socket, &begin).await
        } else {
            Err(HeaderError::Missing)
        }
    };
    tokio::time::timeout(within, header)
        .await
        .unwrap_or(Err(HeaderError::TimedOut))
}

/// Reads on byte by byte: nobody knows how long the line is, and what follows it is not ours.
async fn read_v1<S: AsyncRead + Unpin>(socket: &mut S, begin: &[u8]) -> Result<Told, HeaderError> {
    let mut line = Vec::with_capacity(MAX_V1_BYTES);
    line.extend_from_slice(begin);
    while !line.ends_with(b"\r\n") {
        if line.len() == MAX_V1_BYTES {
            return Err(HeaderError::TooLong);
        }
        line.push(socket.read_u8().await?);
    }
    parse_v1(&line).ok_or(HeaderError::Malformed)
}

/// A whole line, as section 2.1 has it.
fn parse_v1(line: &[u8]) -> Option<Told> {
    let line = str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut words = line.split(' ');
    if words.next() != Some("PROXY") {
        return None;
    }
    let family = words.next()?;
    if family == "UNKNOWN" {
        // Whatever else stands there is to be ignored.
        return Some(Told::Nothing);
    }
    let (from, to) = (words.next()?, words.next()?);
    let (_from_port, to_port) = (port(words.next()?)?, port(words.next()?)?);
    let from: IpAddr = match family {
        "TCP4" => {
            let _to: Ipv4Addr = to.parse().ok()?;
            from.parse::<Ipv4Addr>().ok()?.into()
        }
        "TCP6" => {
            let _to: Ipv6Addr = to.parse().ok()?;
            from.parse::<Ipv6Addr>().ok()?.into()
        }
        _ => return None,
    };
    words.next().is_none().then_some(Told::Client {
        from,
        local_port: to_port,
    })
}

/// Decimal digits; nothing else that a number may be written with.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

async fn read_v2<S: AsyncRead + Unpin>(socket: &mut S) -> Result<Told, HeaderError> {
    let mut prefix = [0; 4];
    socket.read_exact(&mut prefix).await?;
    let [version_and_command, family, length @ ..] = prefix;
    let length = usize::from(u16::from_be_bytes(length));
    if length > MAX_V2_BYTES {
        return Err(HeaderError::TooLong);
    }
    let mut rest = vec![0; length];
    socket.read_exact(&mut rest).await?;
    parse_v2(version_and_command, family, &rest).ok_or(HeaderError::Malformed)
}

/// What follows the signature, as section 2.2 has it.
fn parse_v2(version_and_command: u8, family: u8, rest: &[u8]) -> Option<Told> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    match (version_and_command, family) {
        (LOCAL, _) | (PROXY, 0x00) => Some(Told::Nothing),
        // TCP and UDP: a proxy may speak HTTP/3 with its client.
        (PROXY, 0x11 | 0x12) => ip_ends::<4>(rest),
        (PROXY, 0x21 | 0x22) => ip_ends::<16>(rest),
        // Two paths of unix sockets: somebody on the proxy's machine.
        (PROXY, 0x31 | 0x32) => (rest.len() >= 216).then_some(Told::Nothing),
        _ => None,
    }
}

/// Source and destination, then their ports.
fn ip_ends<const LENGTH: usize>(rest: &[u8]) -> Option<Told>
where
    IpAddr: From<[u8; LENGTH]>,
{
    let (from, rest) = rest.split_first_chunk::<LENGTH>()?;
    let (_to, rest) = rest.split_first_chunk::<LENGTH>()?;
    let (_from_port, rest) = rest.split_first_chunk::<2>()?;
    let (to_port, _additional) = rest.split_first_chunk::<2>()?;
    Some(Told::Client {
        from: IpAddr::from(*from),
        local_port: u16::from_be_bytes(*to_port),
    })
}

#[cfg(test)]
mod tests;

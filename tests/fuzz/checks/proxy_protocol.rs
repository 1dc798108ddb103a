//! Whatever a connection begins with, a header of the PROXY protocol is read as its specification has it,
//! and not a byte of what follows.
//!
//! Input: the bytes of a connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use wxgate::server::proxy_protocol::{self, Told};

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

pub(crate) fn check(input: &[u8]) {
    // Time stands still: nothing here waits.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let mut rest = input;
    let read = runtime.block_on(proxy_protocol::read(&mut rest, Duration::from_secs(1)));
    let taken = input.len() - rest.len();
    match (read.ok(), told(input)) {
        (None, None) => {}
        (Some(read), Some((told, length))) => assert_eq!((read, taken), (told, length)),
        (read, told) => panic!("{read:?} where the specification has {told:?}"),
    }
}

/// What a header says, and how long it is.
fn told(bytes: &[u8]) -> Option<(Told, usize)> {
    match bytes.strip_prefix(V2) {
        Some(rest) => version_2(rest).map(|(told, length)| (told, V2.len() + length)),
        None => version_1(bytes),
    }
}

fn version_1(bytes: &[u8]) -> Option<(Told, usize)> {
    let end = bytes.windows(2).take(106).position(|two| two == b"\r\n")?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?;
    let told = match line.split(' ').collect::<Vec<_>>()[..] {
        ["PROXY", "UNKNOWN", ..] => Told::Nothing,
        ["PROXY", "TCP4", from, to, from_port, to_port] => {
            let (from, _to): (Ipv4Addr, Ipv4Addr) = (from.parse().ok()?, to.parse().ok()?);
            client(from.into(), from_port, to_port)?
        }
        ["PROXY", "TCP6", from, to, from_port, to_port] => {
            let (from, _to): (Ipv6Addr, Ipv6Addr) = (from.parse().ok()?, to.parse().ok()?);
            client(from.into(), from_port, to_port)?
        }
        _ => return None,
    };
    Some((told, end + 2))
}

fn client(from: IpAddr, from_port: &str, to_port: &str) -> Option<Told> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|_| !text.starts_with('+'));
    port(from_port)?;
    let local_port = port(to_port)?;
    Some(Told::Client { from, local_port })
}

fn version_2(rest: &[u8]) -> Option<(Told, usize)> {
    let (head, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let body = rest.get(..length).filter(|_| length <= 4096)?;
    let port = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
    let told = match head[..2] {
        [0x20, _] | [0x21, 0x00] => Told::Nothing,
        [0x21, 0x11 | 0x12] => Told::Client {
            from: Ipv4Addr::from(*body.first_chunk::<4>()?).into(),
            local_port: port(10)?,
        },
        [0x21, 0x21 | 0x22] => Told::Client {
            from: Ipv6Addr::from(*body.first_chunk::<16>()?).into(),
            local_port: port(34)?,
        },
        [0x21, 0x31 | 0x32] if length >= 216 => Told::Nothing,
        _ => return None,
    };
    Some((told, 4 + length))
}

//! Listening sockets that the process was started with: systemd, or whoever else, holds them open
//! while one gate goes and the next one comes (sd_listen_fds(3)).

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use listenfd::ListenFd;
use socket2::SockRef;

use crate::server::Listen;
use crate::server::listener::Listener;

/// A listening socket that the process was started with.
#[derive(Debug)]
pub struct Inherited {
    pub(in crate::server) socket: Listener,
    pub(in crate::server) address: Listen,
}

/// Why a socket that the process was started with is of no use.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// Neither TCP nor unix stream, or no socket at all.
    #[error(
        "the process was started with a socket (number {0}) that is neither TCP nor unix stream"
    )]
    Kind(usize, #[source] io::Error),
    /// A connection, most likely: `Accept=yes` in a systemd unit.
    #[error(
        "the process was started with a socket (number {0}) that does not listen; systemd needs Accept=no"
    )]
    NotListening(usize),
    /// Its address cannot be told.
    #[error("the process was started with a socket (number {0}) without an address")]
    Unnamed(usize, #[source] io::Error),
}

/// Takes what was passed, all of it.
pub fn take(mut passed: ListenFd) -> Result<Vec<Inherited>, InheritError> {
    (0..passed.len())
        .filter_map(|number| take_one(&mut passed, number).transpose())
        .collect()
}

fn take_one(passed: &mut ListenFd, number: usize) -> Result<Option<Inherited>, InheritError> {
    // One that is of another kind stays where it is.
    if let Ok(Some(socket)) = passed.take_tcp_listener(number) {
        must_listen(number, &SockRef::from(&socket))?;
        let address = socket.local_addr();
        let address = address.map_err(|source| InheritError::Unnamed(number, source))?;
        return Ok(Some(Inherited {
            socket: Listener::Tcp(socket),
            address: Listen::Tcp(address),
        }));
    }
    let socket = passed.take_unix_listener(number);
    let Some(socket) = socket.map_err(|source| InheritError::Kind(number, source))? else {
        return Ok(None);
    };
    must_listen(number, &SockRef::from(&socket))?;
    let address = socket.local_addr();
    let address = address.map_err(|source| InheritError::Unnamed(number, source))?;
    // One without a path is in Linux's abstract namespace; @ is how that is written.
    let path = address
        .as_pathname()
        .map_or_else(|| PathBuf::from("@"), PathBuf::from);
    Ok(Some(Inherited {
        socket: Listener::Unix(socket),
        address: Listen::Unix(path),
    }))
}

fn must_listen(number: usize, socket: &SockRef<'_>) -> Result<(), InheritError> {
    match socket.is_listener() {
        Ok(true) => Ok(()),
        _ => Err(InheritError::NotListening(number)),
    }
}

/// Takes the one at this address out of them, when there is one.
pub fn take_at(
    inherited: &mut Vec<Inherited>,
    address: SocketAddr,
) -> Option<std::net::TcpListener> {
    let at = |one: &Inherited| one.address == Listen::Tcp(address);
    let index = inherited.iter().position(at)?;
    match inherited.swap_remove(index).socket {
        Listener::Tcp(socket) => Some(socket),
        Listener::Unix(_) => None,
    }
}

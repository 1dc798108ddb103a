//! Listening sockets: bound once for each worker, so that the kernel spreads connections over them;
//! or those that the process was started with. Knows addresses and nothing of what is said over them.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};

use crate::server::Listen;
use crate::server::inherited::Inherited;

/// Connections that the kernel keeps waiting for the gate to accept them.
const BACKLOG: i32 = 4096;

/// Linux's "address family not supported", for which `ErrorKind` has no name.
const EAFNOSUPPORT: i32 = 97;

/// One listening socket, not yet part of a runtime.
#[derive(Debug)]
pub struct Bound {
    pub(in crate::server) socket: Listener,
    pub(in crate::server) owner: Owner,
}

/// A listening socket by its kind.
#[derive(Debug)]
pub enum Listener {
    /// Over IP.
    Tcp(std::net::TcpListener),
    /// On a unix socket.
    Unix(std::os::unix::net::UnixListener),
}

/// Whose a listening socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The gate's: who waits at it when the gate stops is still taken, since closing it would send
    /// them away.
    Gate,
    /// Whoever started the gate: who waits when the gate stops waits for the next gate.
    Starter,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address, as configured.
    pub address: String,
    /// What the system says.
    pub source: io::Error,
}

/// The sockets of all addresses, for every worker.
#[derive(Debug)]
pub struct Listeners {
    /// For each worker one socket per address.
    pub per_worker: Vec<Vec<Bound>>,
    /// The addresses, with the ports that the system chose.
    pub addresses: Vec<Listen>,
}

/// Binds every address once for each worker. An address in use is an error, also when it is in use
/// by another gate, which could share it.
pub fn bind(listen: &[Listen], workers: usize) -> Result<Listeners, BindError> {
    let mut bound = Listeners {
        per_worker: Vec::new(),
        addresses: Vec::new(),
    };
    bound.per_worker.resize_with(workers, Vec::new);
    for listen in listen {
        let failed = |source| BindError {
            address: listen.to_string(),
            source,
        };
        let address = match listen {
            Listen::Tcp(address) => bind_tcp(*address, &mut bound.per_worker).map_err(failed)?,
            Listen::Unix(path) => bind_unix(path, &mut bound.per_worker).map_err(failed)?,
        };
        bound.addresses.push(address);
    }
    Ok(bound)
}

/// Gives every worker its share of the sockets that the process was started with.
pub fn share(inherited: Vec<Inherited>, workers: usize) -> Result<Listeners, BindError> {
    let mut bound = Listeners {
        per_worker: Vec::new(),
        addresses: Vec::new(),
    };
    bound.per_worker.resize_with(workers, Vec::new);
    for Inherited { socket, address } in inherited {
        socket
            .share(&mut bound.per_worker, Owner::Starter)
            .map_err(|source| BindError {
                address: address.to_string(),
                source,
            })?;
        bound.addresses.push(address);
    }
    Ok(bound)
}

impl Listener {
    /// The same socket for every worker.
    fn share(&self, workers: &mut [Vec<Bound>], owner: Owner) -> io::Result<()> {
        for worker in workers {
            let socket = match self {
                Self::Tcp(socket) => {
                    socket.set_nonblocking(true)?;
                    Self::Tcp(socket.try_clone()?)
                }
                Self::Unix(socket) => {
                    socket.set_nonblocking(true)?;
                    Self::Unix(socket.try_clone()?)
                }
            };
            worker.push(Bound { socket, owner });
        }
        Ok(())
    }
}

impl BindError {
    /// Whether it is for want of IPv6 that the address cannot be listened on.
    pub fn is_about_ipv6(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrNotAvailable
            || self.source.raw_os_error() == Some(EAFNOSUPPORT)
    }
}

fn bind_tcp(mut address: SocketAddr, workers: &mut [Vec<Bound>]) -> io::Result<Listen> {
    if address.port() != 0 {
        // Without sharing: tells whether anybody has the address already.
        tcp_socket(address, Sharing::Refused)?;
    }
    for worker in workers {
        let socket = tcp_socket(address, Sharing::Allowed)?;
        socket.listen(BACKLOG)?;
        address = socket.local_addr()?.as_socket().unwrap_or(address);
        worker.push(Bound {
            socket: Listener::Tcp(socket.into()),
            owner: Owner::Gate,
        });
    }
    Ok(Listen::Tcp(address))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Allowed,
    Refused,
}

fn tcp_socket(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if sharing == Sharing::Allowed {
        socket.set_reuse_port(true)?;
    }
    if let SocketAddr::V6(v6) = address {
        // `[::]` takes IPv4 as well, whatever the system's default says.
        socket.set_only_v6(!v6.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bind_unix(path: &Path, workers: &mut [Vec<Bound>]) -> io::Result<Listen> {
    remove_stale(path)?;
    let socket = Listener::Unix(std::os::unix::net::UnixListener::bind(path)?);
    socket.share(workers, Owner::Gate)?;
    Ok(Listen::Unix(PathBuf::from(path)))
}

/// Removes the socket that a process which is gone left behind; never anything else.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_somebody) => Err(io::ErrorKind::AddrInUse.into()),
        Err(_nobody) => std::fs::remove_file(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> Listen {
        Listen::Tcp("127.0.0.1:0".parse().unwrap())
    }

    #[test]
    fn every_worker_has_a_socket_on_the_same_address() {
        let bound = bind(&[any()], 3).unwrap();
        assert_eq!(
            bound.per_worker.iter().map(Vec::len).collect::<Vec<_>>(),
            [1, 1, 1]
        );
    }

    #[test]
    fn an_address_in_use_is_an_error_although_it_could_be_shared() {
        let first = bind(&[any()], 2).unwrap();
        let error = bind(&first.addresses, 2).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_a_live_one_or_a_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let listen = [Listen::Unix(folder.path().join("gate.sock"))];
        drop(bind(&listen, 2).unwrap());
        let live = bind(&listen, 2).unwrap();
        assert_eq!(
            bind(&listen, 2).unwrap_err().source.kind(),
            io::ErrorKind::AddrInUse
        );
        drop(live);
        let file = folder.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        bind(&[Listen::Unix(file.clone())], 1).unwrap_err();
        assert_eq!(std::fs::read_to_string(file).unwrap(), "precious");
    }
}

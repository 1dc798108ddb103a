//! New connections to an app server.

use std::io;

use tokio::net::{TcpStream, UnixStream};

use crate::upstream::socket::Socket;
use crate::upstream::{Error, Protocol, Settings, Target};

/// Connects, to speak this protocol, within the time allowed. A TLS handshake is part of it.
pub(in crate::upstream) async fn connect(
    settings: &Settings,
    protocol: Protocol,
) -> Result<Socket, Error> {
    let connected = open(&settings.target, protocol);
    let connected = tokio::time::timeout(settings.connect_timeout, connected).await;
    let connected = connected.map_err(|_elapsed| Error::ConnectTimeout)?;
    connected.map_err(Error::Connect)
}

/// The same, in whatever time it takes.
pub(in crate::upstream) async fn open(target: &Target, protocol: Protocol) -> io::Result<Socket> {
    match target {
        Target::Http {
            host, port, tls, ..
        } => {
            let socket = TcpStream::connect((host.as_str(), *port)).await?;
            // Requests are written whole; waiting for more to send would only delay them.
            drop(socket.set_nodelay(true));
            Ok(match tls {
                None => Socket::Tcp(socket),
                Some(tls) => Socket::Tls(Box::new(tls.connect(socket, protocol).await?)),
            })
        }
        Target::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
        Target::Played(dialer) => dialer.dial().await.map(Socket::Played),
    }
}

//! The sockets over which clients come, as far as HTTP wants more of one than reading and writing.

use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use crate::splice::ClearSocket;

/// A socket of a client.
pub(in crate::server) trait Socket:
    AsyncRead + AsyncWrite + Unpin + 'static
{
    /// Whether closing it tells the client that nothing more comes, as clearly as saying so first.
    const CLOSE_IS_GOODBYE: bool;

    /// Has the connection end in a reset instead of a clean end, for an answer that broke off and
    /// whose end would be taken for a good one.
    fn break_off(&self);

    /// The socket, where nothing is encrypted.
    fn clear(&self) -> Option<ClearSocket<'_>> {
        None
    }
}

impl Socket for TcpStream {
    const CLOSE_IS_GOODBYE: bool = true;

    fn break_off(&self) {
        // One that is gone cannot be told, and need not be.
        drop(SockRef::from(self).set_linger(Some(Duration::ZERO)));
    }

    fn clear(&self) -> Option<ClearSocket<'_>> {
        Some(ClearSocket::Tcp(self))
    }
}

impl Socket for UnixStream {
    const CLOSE_IS_GOODBYE: bool = true;

    /// A unix socket knows no reset. Who listens on one puts a proxy before it that speaks HTTP/1.1.
    fn break_off(&self) {}

    fn clear(&self) -> Option<ClearSocket<'_>> {
        Some(ClearSocket::Unix(self))
    }
}

impl Socket for TlsStream<TcpStream> {
    /// Encryption has an end of its own, which is to be sent.
    const CLOSE_IS_GOODBYE: bool = false;

    /// Without an end of its own an encrypted connection is seen to be broken off.
    fn break_off(&self) {}
}

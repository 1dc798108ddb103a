//! The sockets over which clients come, as far as HTTP wants more of one than reading and writing.

use std::io::{self, IoSlice};
use std::pin::Pin;
#[cfg(target_os = "linux")]
use std::task::ready;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
#[cfg(target_os = "linux")]
use tokio::io::Interest;
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

    /// Writes what the end of the connection follows at once. Where the system can it sends both
    /// together: half of what a client with a connection for each request is sent are such ends.
    fn poll_write_last(
        &mut self,
        parts: &[IoSlice<'_>],
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        Pin::new(self).poll_write_vectored(context, parts)
    }

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

    #[cfg(target_os = "linux")]
    fn poll_write_last(
        &mut self,
        parts: &[IoSlice<'_>],
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        loop {
            ready!(self.poll_write_ready(context))?;
            let written = self.try_io(Interest::WRITABLE, || {
                Ok(sendmsg(
                    &*self,
                    parts,
                    &mut SendAncillaryBuffer::default(),
                    flags,
                )?)
            });
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
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

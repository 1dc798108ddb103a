//! The wire to an app server, whatever it is made of.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use crate::played::Connection;
use crate::splice::ClearSocket;

/// One open connection to an app server.
#[derive(Debug)]
pub(in crate::upstream) enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
    Played(Box<dyn Connection>),
}

impl Socket {
    /// Whether a write that fails may have sent something all the same: the encrypting layer tells of the
    /// whole of it only.
    pub(in crate::upstream) fn may_send_and_fail(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The socket, where nothing is encrypted.
    pub(in crate::upstream) fn clear(&self) -> Option<ClearSocket<'_>> {
        match self {
            Self::Tcp(socket) => Some(ClearSocket::Tcp(socket)),
            Self::Unix(socket) => Some(ClearSocket::Unix(socket)),
            Self::Tls(_) | Self::Played(_) => None,
        }
    }

    /// Whether HTTP/2 was chosen when TLS began; in clear text it is known beforehand.
    pub(in crate::upstream) fn may_speak_http2(&self) -> bool {
        match self {
            Self::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
            Self::Tcp(_) | Self::Unix(_) | Self::Played(_) => true,
        }
    }
}

/// Does the same with whichever socket it is.
macro_rules! whichever {
    ($socket:expr, $it:ident => $act:expr) => {
        match $socket {
            Socket::Tcp($it) => $act,
            Socket::Tls($it) => $act,
            Socket::Unix($it) => $act,
            Socket::Played($it) => $act,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        whichever!(&mut *self, it => Pin::new(it).poll_read(context, buffer))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        whichever!(&mut *self, it => Pin::new(it).poll_write(context, data))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        whichever!(&mut *self, it => Pin::new(it).poll_write_vectored(context, data))
    }

    fn is_write_vectored(&self) -> bool {
        whichever!(self, it => it.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        whichever!(&mut *self, it => Pin::new(it).poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        whichever!(&mut *self, it => Pin::new(it).poll_shutdown(context))
    }
}

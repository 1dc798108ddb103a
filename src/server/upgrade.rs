//! The client's side of a connection that is about to become a tunnel.

use std::fmt;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

/// A socket of whatever kind.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

/// A connection that becomes a tunnel once the answer `101` has been sent on it.
pub struct ClientUpgrade(oneshot::Receiver<Box<dyn Duplex>>);

/// The other end of it, with whoever serves the connection.
pub(in crate::server) struct Upgrading(oneshot::Sender<Box<dyn Duplex>>);

impl ClientUpgrade {
    pub(in crate::server) fn pair() -> (Upgrading, Self) {
        let (sender, receiver) = oneshot::channel();
        (Upgrading(sender), Self(receiver))
    }

    /// The socket, once `101` has been sent.
    pub async fn socket(self) -> io::Result<Box<dyn Duplex>> {
        self.0.await.map_err(io::Error::other)
    }
}

impl Upgrading {
    /// Hands the socket over, to be read on by whoever runs the tunnel.
    pub(in crate::server) fn hand_over(self, socket: impl Duplex + 'static) {
        // Without anybody who takes it, it is closed.
        drop(self.0.send(Box::new(socket)));
    }
}

impl fmt::Debug for ClientUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientUpgrade(..)")
    }
}

impl fmt::Debug for Upgrading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upgrading(..)")
    }
}

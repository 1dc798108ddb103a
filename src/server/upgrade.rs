//! The client's side of a connection that is about to become a tunnel.

use std::io;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;

/// A connection that becomes a tunnel once the answer `101` has been sent on it.
#[derive(Debug)]
pub struct ClientUpgrade(OnUpgrade);

impl ClientUpgrade {
    /// Finds it in what the server attached to a request.
    pub fn take(extensions: &mut http::Extensions) -> Option<Self> {
        extensions.remove::<OnUpgrade>().map(Self)
    }

    /// The socket, once `101` has been sent.
    pub async fn socket(self) -> io::Result<TokioIo<Upgraded>> {
        Ok(TokioIo::new(self.0.await.map_err(io::Error::other)?))
    }
}

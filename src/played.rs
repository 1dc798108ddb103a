//! Connections that somebody plays: what a simulation has in the place of sockets. Knows nothing of
//! what is said over them, and nobody has one in a gate that runs.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

/// One end of a connection that is played.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug + 'static {
    /// Has it end in a reset instead of a clean end.
    fn break_off(&self);
}

/// A connection that comes about, or does not.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Connection>>> + Send>>;

/// Connects to somebody who is played.
#[derive(Clone)]
pub struct Dialer(Arc<dyn Fn() -> Connecting + Send + Sync>);

impl Dialer {
    /// Connects like this.
    pub fn new(dial: impl Fn() -> Connecting + Send + Sync + 'static) -> Self {
        Self(Arc::new(dial))
    }

    /// A new connection.
    pub fn dial(&self) -> Connecting {
        (self.0)()
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialer(..)")
    }
}

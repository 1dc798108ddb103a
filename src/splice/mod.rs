//! Bytes that go from one socket to another without coming by: the system moves them (`splice(2)`),
//! through a pipe that holds them in between. Only between sockets in clear text, and only on Linux;
//! where it cannot be, somebody reads and writes. Knows nothing of what the bytes are.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "elsewhere.rs")]
mod pipes;

pub use pipes::{Piped, Pipes};

use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Body;
use http_body_util::Full;
use tokio::net::{TcpStream, UnixStream};

/// From how many bytes on, still to come, moving them is cheaper than copying them.
pub const MIN_BYTES: u64 = 64 * 1024;

/// A socket over which nothing is encrypted.
#[derive(Clone, Copy, Debug)]
pub enum ClearSocket<'a> {
    /// TCP.
    Tcp(&'a TcpStream),
    /// A unix socket.
    Unix(&'a UnixStream),
}

/// What came of an attempt to move bytes from a socket into a pipe.
#[derive(Debug)]
pub enum Filling {
    /// These were moved.
    Moved(Piped),
    /// The other side has closed: there will be no more.
    Closed,
    /// They cannot be moved, for want of a pipe or because the system refuses. Nothing is lost: they
    /// can be read.
    Refused,
}

/// A body of which bytes may be moved on by whoever has no need to see them.
pub trait SpliceBody: Body {
    /// Moves what has come of it into a pipe, and counts as if it had been read. `None` when what
    /// comes next has to be read.
    fn poll_splice(
        &mut self,
        _pipes: &Pipes,
        _context: &mut Context<'_>,
    ) -> Poll<Result<Option<Piped>, Self::Error>> {
        Poll::Ready(Ok(None))
    }
}

/// It is here already.
impl SpliceBody for Full<Bytes> {}

//! What can be wrong with an answer, in either version of HTTP.

use crate::upstream::http2;

/// Why an answer cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Over HTTP/1.1.
    #[error(transparent)]
    Http1(#[from] crate::codec::Fault),
    /// Over HTTP/2.
    #[error(transparent)]
    Http2(#[from] http2::fault::Fault),
}

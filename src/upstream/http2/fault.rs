//! What can be wrong with an answer over HTTP/2. Always the app server's fault, except that a
//! connection may also break on its own.

/// Why an answer cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Several lengths, or a length that is no number.
    #[error("the answer does not say clearly how long it is")]
    Framing,
    /// The TLS handshake ended without `h2` being chosen.
    #[error("the app server does not choose HTTP/2 when TLS begins (ALPN h2)")]
    NotChosen,
    /// What answers is something else, such as HTTP/1.1.
    #[error("what the app server speaks is not HTTP/2")]
    NotSpoken(#[source] Option<h2::Error>),
    /// The stream was reset, or the connection failed.
    #[error("the stream or the connection failed")]
    Stream(#[from] h2::Error),
    /// One interim answer after another.
    #[error("the app server sends interim answers without end")]
    TooManyInterim,
}

//! What can be wrong with an HTTP/1.1 answer. Always the app server's fault, except that a
//! connection may also break on its own.

use std::io;

/// Why an answer cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A line that does not end in CR LF.
    #[error("a line of the answer ends in a bare line feed")]
    BareLineFeed,
    /// A chunk size that is no hexadecimal number, is too long, or is not followed by a line end.
    #[error("a chunk of the answer is malformed")]
    Chunk,
    /// The connection closed before the answer was whole.
    #[error("the connection closed before the answer was whole")]
    Closed,
    /// Several lengths, a length that is no number, or a length beside chunks.
    #[error("the answer does not say clearly how long it is")]
    Framing,
    /// No HTTP head.
    #[error("the head of the answer is not HTTP")]
    Head(#[source] httparse::Error),
    /// A head that is larger than allowed.
    #[error("the head of the answer is too large")]
    HeadTooLarge,
    /// Reading or writing failed.
    #[error("the connection failed")]
    Io(#[source] io::Error),
    /// One interim answer after another.
    #[error("the app server sends interim answers without end")]
    TooManyInterim,
    /// Trailers that are no fields, or too many.
    #[error("the trailers of the answer are malformed or too large")]
    Trailers,
    /// Not HTTP/1.0 or 1.1.
    #[error("the answer has another version of HTTP")]
    Version,
}

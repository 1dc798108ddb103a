//! What can be wrong with an HTTP/1.1 message. Always the fault of who sent it, except that a
//! connection may also break on its own.

use std::io;

/// Why a message cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A line that does not end in CR LF.
    #[error("a line ends in a bare line feed")]
    BareLineFeed,
    /// A chunk size that is no hexadecimal number, is too long, or is not followed by a line end.
    #[error("a chunk is malformed")]
    Chunk,
    /// The connection closed before the message was whole.
    #[error("the connection closed before the message was whole")]
    Closed,
    /// Several lengths, a length that is no number, or a length beside chunks.
    #[error("the message does not say clearly how long it is")]
    Framing,
    /// No HTTP head.
    #[error("the head is not HTTP")]
    Head(#[source] httparse::Error),
    /// A head that is larger than allowed.
    #[error("the head is too large")]
    HeadTooLarge,
    /// Reading or writing failed.
    #[error("the connection failed")]
    Io(#[source] io::Error),
    /// One interim answer after another.
    #[error("one interim answer follows another without end")]
    TooManyInterim,
    /// Trailers that are no fields, or too many.
    #[error("the trailers are malformed or too large")]
    Trailers,
    /// Not HTTP/1.0 or 1.1.
    #[error("the message has another version of HTTP")]
    Version,
}

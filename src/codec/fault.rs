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
    Head(#[source] Malformed),
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
}

/// What in a head is not HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A CR without its LF.
    #[error("a line ends in a bare carriage return")]
    LineEnd,
    /// The method of a request.
    #[error("the method is malformed")]
    Method,
    /// The name of a field, or what stands around it.
    #[error("the name of a field is malformed")]
    Name,
    /// The status of an answer, or its reason.
    #[error("the status is malformed")]
    Status,
    /// The target of a request.
    #[error("the target is malformed")]
    Target,
    /// The value of a field.
    #[error("the value of a field is malformed")]
    Value,
    /// Not HTTP/1.0 or 1.1.
    #[error("the version is neither HTTP/1.0 nor HTTP/1.1")]
    Version,
}

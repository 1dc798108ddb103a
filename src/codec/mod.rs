//! HTTP/1.1 as bytes, as far as both sides of the gate need the same of it: where a head ends, how
//! a body is framed, what waits to be written. Pure: whoever has a socket reads and writes. Knows
//! nothing of requests and answers.

pub mod body;
pub mod fault;
pub mod head;
pub mod hpack;
pub mod lines;
pub mod outgoing;
mod spare;
pub mod trailers;

pub use body::{Decoder, Piece};
pub use fault::{Fault, Malformed};
pub use outgoing::Outgoing;
pub use spare::{SpareBuffers, SpareHeads};
pub use trailers::{clean_grpc_trailers, clean_trailers};

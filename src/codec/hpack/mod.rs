//! HPACK, the compression of header fields in HTTP/2 (RFC 7541). Pure. Knows no field by its
//! meaning, but which of them somebody else has to look at.

mod decode;
mod encode;
mod huffman;
mod integer;
mod kind;
mod table;

pub use decode::{Block, BlockLimits, Decoder, Field};
pub use encode::{Encoder, write_field, write_status};
pub use kind::Kind;

/// Largest size of the table of a connection: what both sides begin with (RFC 9113 §6.5.2).
pub const TABLE_BYTES: usize = 4096;

/// What stands between name and value, and after the value, of a field that was read.
const SEPARATOR: &[u8] = b": ";
const LINE_END: &[u8] = b"\r\n";

/// Bytes of a line beside name and value.
const LINE_BYTES: usize = SEPARATOR.len() + LINE_END.len();

/// Why a header block cannot be read. Nothing after it can be, either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HpackFault {
    /// A code that is none, the end mark, or wrong padding.
    #[error("a Huffman code is malformed")]
    Huffman,
    /// An index that points nowhere.
    #[error("an index points nowhere")]
    Index,
    /// A number beyond all sizes.
    #[error("a number is too large")]
    Number,
    /// A table larger than allowed, or one that is resized amid a block.
    #[error("the table is resized where that may not be")]
    Resize,
    /// Far more than is kept, said in a few bytes.
    #[error("a header block stands for too much")]
    TooMuch,
    /// The block ends within a field.
    #[error("the header block ends within a field")]
    Truncated,
}

#[cfg(test)]
mod tests;

//! What WeChat encrypts and signs, and what the gate encrypts and hashes for itself.
//!
//! Pure: no I/O beyond the operating system's randomness, no async, no clock of its own. It knows
//! nothing of requests, sessions or configuration, and decides nothing: it says what fits and what
//! does not. What a caller may tell a client about it is the caller's business.

pub mod assertion;
pub mod code;
mod json;
pub mod proof;
pub mod push;
pub mod random;
pub mod seal;
pub mod session_key;
pub mod signature;
pub mod ticket;
pub mod token;
pub mod user_data;
mod xaes;

#[cfg(test)]
mod tests;

//! The words of the gate and their rules: identifiers, secrets, sessions, paths, and what may be
//! said about who a request comes from.
//!
//! Pure: no I/O, no async, no configuration file; time and randomness come in as arguments. It may
//! name the types of `http` and `http_body`, and knows no other module of this crate.

pub mod aliases;
pub mod bytes;
pub mod clock;
pub mod cookie;
pub mod field;
pub mod fields;
pub mod fold;
pub mod forwarded;
pub mod hex;
pub mod hop;
pub mod id;
pub mod identity;
pub mod limits;
pub mod names;
pub mod path;
pub mod peer;
pub mod rate;
pub mod readings;
pub mod referer;
pub mod request;
pub mod response;
mod rfc7239;
pub mod secret;
pub mod session;
pub mod ticket;
pub mod token;
pub mod trace;
pub mod web_origin;
pub mod websocket;

//! Promises of the gate, each a test over real sockets. One binary: it links once.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that meets the unexpected should end there"
)]

mod connections;
mod drain;
mod http2;
mod process;
mod secrets;
mod smoke;
mod streaming;
mod support;
mod tidy;
mod websocket;

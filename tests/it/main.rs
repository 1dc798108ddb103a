//! Promises of the gate, each a test over real sockets. One binary: it links once.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that meets the unexpected should end there"
)]

mod apps;
mod broken_app;
mod connections;
mod decrypt;
mod drain;
mod forwarding;
mod http2;
mod login;
mod login_races;
mod login_wechat;
mod paths;
mod pool;
mod process;
mod proxies;
mod refusals;
mod rules;
mod secrets;
mod sessions;
mod spoofing;
mod streaming;
mod support;
mod tidy;
mod tokens;
mod tutorial;
mod upstream_http2;
mod upstream_tls;
mod websocket;

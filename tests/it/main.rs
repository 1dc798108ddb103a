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
mod decrypt;
mod forwarding;
mod login;
mod login_races;
mod login_wechat;
mod paths;
mod proxies;
mod refusals;
mod rules;
mod sessions;
mod spoofing;
mod support;
mod tidy;
mod tokens;
mod tutorial;

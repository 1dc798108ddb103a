//! Promises of the gate, each a test over real sockets. One binary: it links once.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that meets the unexpected should end there"
)]

mod activation;
mod advisories;
mod apps;
mod broken_app;
mod chinese;
mod connections;
mod cookies;
mod cors;
mod curl;
mod decrypt;
mod deliver;
mod dependencies;
mod descriptors;
mod drain;
mod drain_in_flight;
mod egress;
mod envelope;
mod field_names;
mod forwarding;
mod fuzz;
mod gone;
mod grpc;
mod h2_conformance;
mod hook;
mod hostile;
mod hosts;
mod http2;
mod kept;
mod language;
mod limits;
mod listening;
mod login;
mod login_races;
mod login_wechat;
mod manager;
mod memory;
mod metrics;
mod operations;
mod pages;
mod path_policy;
mod paths;
mod phone;
mod pool;
mod process;
mod proxies;
mod proxy_protocol;
mod push;
mod refusals;
mod repeats;
mod reserved;
mod rules;
mod scale;
mod secrets;
mod sessions;
mod signed;
mod simulation;
mod sizes;
mod slow_apps;
mod slow_clients;
mod snapshots;
mod socket_tokens;
mod spoofing;
mod stores;
mod streaming;
mod support;
mod tickets;
mod tidy;
mod tls;
mod tokens;
mod trailers;
mod truncated;
mod tutorial;
mod upgrades;
mod uploads;
mod upstream_http2;
mod upstream_tls;
mod websocket;
mod wechat_guard;

//! The gate as a library.

pub mod admin;
pub mod app;
pub mod config;
pub mod crypto;
pub mod domain;
pub mod gateway;
pub mod server;
pub mod sim;
pub mod store;
pub mod telemetry;
pub mod upstream;
pub mod wechat;

//! The gate as a library.

pub mod admin;
pub mod domain;
pub mod gateway;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod upstream;

//! HTTP/2 towards an app server: a few connections, each of which carries many requests at once.
//!
//! A connection has a task that moves its bytes. Everything of a request and its answer is driven by
//! the task that serves the client, as over HTTP/1.1.

pub(in crate::upstream) mod connection;
pub(in crate::upstream) mod exchange;
pub mod fault;
pub(in crate::upstream) mod pool;
pub(in crate::upstream) mod receiving;
mod request;
mod sending;

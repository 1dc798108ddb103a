//! The listener for operators: is the process alive, is it ready, which version is it. Never serves
//! a client of the gate.

use std::net::SocketAddr;

/// `[admin]`: the listener for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens; `None` switches it off.
    pub listen: Option<SocketAddr>,
}

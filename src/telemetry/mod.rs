//! What the gate says about itself: names of log events, the access record, what is counted, and how
//! all of it is written. Knows nothing of what it reports on.

pub mod access;
pub mod event;
pub mod log;
pub mod metrics;
pub mod style;
mod user;

use std::sync::Arc;

use zeroize::Zeroizing;

/// `[log]`: what is logged and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The least important level that is written.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
    /// Whether each request gets a line.
    pub access: bool,
    /// How a user is named in a line.
    pub user: UserField,
}

/// Importance of a log event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something is broken.
    Error,
    /// Something should be looked at.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// `key=value` for people.
    Text,
}

/// How a user is named in the access log.
#[derive(Clone, Debug)]
pub enum UserField {
    /// By a keyed hash of the openid: the same user has the same hash, and nobody without the key
    /// can tell who it is.
    Hash(LogKey),
    /// By openid.
    OpenId,
    /// Not at all.
    Off,
}

/// The key of user hashes. Never printed.
#[derive(Clone)]
pub struct LogKey(Arc<Zeroizing<Vec<u8>>>);

impl LogKey {
    /// Takes key material over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// The key material.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for LogKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogKey(..)")
    }
}

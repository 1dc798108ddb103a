//! Where sessions are kept: looked up by the hash of their token, ended by user. Decides nothing
//! about how long a session lives; `domain::session` does.

/// `[store]`: where sessions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Sessions at once; beyond, the least recently used goes.
    pub max_sessions: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_sessions: 1_000_000,
        }
    }
}

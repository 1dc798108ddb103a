//! `[store]`: where sessions are kept.

use crate::config::key::Key;
use crate::store::Settings;

/// Reads `[store]`.
pub(super) fn read(table: &Key<'_>) -> Settings {
    table.key("kind").choice((), &[("memory", ())]);
    let default = Settings::default().max_sessions;
    Settings {
        max_sessions: table.key("max_sessions").number(default, 1..=1_000_000_000),
    }
}

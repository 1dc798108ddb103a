//! `[store]`: where sessions are kept, and the key under which they leave the process.

use crate::config::key::{Given, Key, Noted};
use crate::config::secret;
use crate::domain::secret::{SealKey, SealKeys};
use crate::store::Settings;

const SEAL_KEY: &str = "seal_key";
const PREVIOUS_SEAL_KEY: &str = "previous_seal_key";

/// Reads `[store]`. `None` when a key cannot be used.
pub(super) fn read(table: &Key<'_>) -> Option<Settings> {
    table.key("kind").choice((), &[("memory", ())]);
    let default = Settings::default().max_sessions;
    let max_sessions = table.key("max_sessions").number(default, 1..=1_000_000_000);
    let seal_keys = read_seal_keys(table);
    Some(Settings {
        max_sessions,
        seal_keys: seal_keys.ok()?,
    })
}

/// The keys that the gate seals under. Nothing has to use them.
fn read_seal_keys(table: &Key<'_>) -> Given<SealKeys> {
    let current = read_seal_key(table, SEAL_KEY);
    let previous = read_seal_key(table, PREVIOUS_SEAL_KEY)?;
    let current = current?;
    if current.is_none() && previous.is_some() {
        table.key(SEAL_KEY).fault(format!(
            "missing beside {PREVIOUS_SEAL_KEY}, expected exactly one of {}: the key that takes its \
             place",
            secret::forms_of(SEAL_KEY)
        ));
        return Err(Noted);
    }
    Ok(current.map(|current| SealKeys { current, previous }))
}

fn read_seal_key(table: &Key<'_>, name: &str) -> Given<SealKey> {
    let Some(bytes) = secret::read(table, name)? else {
        return Ok(None);
    };
    let key = std::str::from_utf8(&bytes).ok().and_then(SealKey::parse);
    if key.is_none() {
        table.fault(format!(
            "has a {name} that could be guessed or is no base64, expected at least 32 random bytes in \
             base64, as `openssl rand -base64 32` makes them"
        ));
    }
    key.map(Some).ok_or(Noted)
}

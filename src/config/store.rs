//! `[store]`: where sessions are kept, and the key under which they leave the process.

use std::path::Path;

use crate::config::key::{Given, Key, Noted};
use crate::config::{redis, secret};
use crate::domain::secret::{SealKey, SealKeys};
use crate::store::snapshot::SnapshotFile;
use crate::store::{Settings, redis as store_redis};

const SEAL_KEY: &str = "seal_key";
const PREVIOUS_SEAL_KEY: &str = "previous_seal_key";

/// Where sessions are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Memory,
    Redis,
}

/// Reads `[store]`. `None` when something in it cannot be used.
pub(super) fn read(table: &Key<'_>) -> Option<Settings> {
    let kinds = [("memory", Kind::Memory), ("redis", Kind::Redis)];
    let kind = table.key("kind").choice(Kind::Memory, &kinds);
    let default = Settings::default().max_sessions;
    let max_sessions = table.key("max_sessions").number(default, 1..=1_000_000_000);
    let seal_keys = read_seal_keys(table);
    let snapshot = read_snapshot_file(table, &seal_keys);
    if kind == Kind::Redis && !matches!(snapshot, Ok(None)) {
        table
            .key("snapshot_file")
            .fault("is for kind = \"memory\": in Redis sessions outlive the process anyway");
    }
    let redis = redis::read(&table.table("redis"));
    let (seal_keys, redis) = match kind {
        Kind::Memory => (seal_keys.ok()?, redis.ok().map(|_unused| None)?),
        Kind::Redis => require(table, seal_keys, redis)?,
    };
    Some(Settings {
        max_sessions,
        snapshot: snapshot.ok()?,
        seal_keys,
        redis,
    })
}

/// Both must be there, and both are looked at before either is missed.
fn require(
    table: &Key<'_>,
    seal_keys: Given<SealKeys>,
    redis: Given<store_redis::Settings>,
) -> Option<(Option<SealKeys>, Option<store_redis::Settings>)> {
    if matches!(seal_keys, Ok(None)) {
        table.key(SEAL_KEY).fault(format!(
            "missing beside kind = \"redis\", expected exactly one of {}: what stands in Redis is \
             sealed under it",
            secret::forms_of(SEAL_KEY)
        ));
    }
    if matches!(redis, Ok(None)) {
        table.table("redis").key("url").fault(
            "missing beside kind = \"redis\", expected where Redis is, such as \
             \"redis://127.0.0.1:6379\"",
        );
    }
    Some((Some(seal_keys.ok()??), Some(redis.ok()??)))
}

/// Where sessions outlive the process; `""` is nowhere.
fn read_snapshot_file(table: &Key<'_>, keys: &Given<SealKeys>) -> Given<SnapshotFile> {
    let key = table.key("snapshot_file");
    let Some(text) = key.text().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let path = key.context().directory.join(text);
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let fault = if path.is_dir() {
        Some("is a directory, expected the path of a file")
    } else if std::fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
        Some("is a link, a pipe or a device, expected the path of a regular file, or of none yet")
    } else if !directory.is_dir() {
        Some(
            "is in a directory that does not exist, expected a directory that the gate may write to",
        )
    } else {
        None
    };
    match (fault, std::fs::metadata(directory)) {
        (Some(fault), _) => key.fault(fault),
        (None, Ok(metadata)) if secret::others_may_write(&metadata) => key.warn(
            "is in a directory that others may write to, who could take the file's place or keep the \
             gate from starting; expected one of the gate's own",
        ),
        (None, _) => {}
    }
    if matches!(keys, Ok(None)) {
        table.key(SEAL_KEY).fault(format!(
            "missing beside snapshot_file, which is encrypted under it, expected exactly one of {}; \
             `openssl rand -base64 32` makes one",
            secret::forms_of(SEAL_KEY)
        ));
    }
    match keys {
        Ok(Some(keys)) if fault.is_none() => Ok(Some(SnapshotFile {
            path,
            keys: keys.clone(),
        })),
        _ => Err(Noted),
    }
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

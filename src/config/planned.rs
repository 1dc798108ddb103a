//! Keys that are planned and not read yet. A file that uses one is told so, instead of being sent to a key that means something else. Once a key is read,
//! it leaves this list.

/// Tables and keys, the latter below any table of that name.
const PLANNED: &[&str] = &[
    "admin.token",
    "admin.token_env",
    "admin.token_file",
    "cors",
    "paths.auth",
    "paths.ticket",
    "session.cookie",
    "store.redis",
    "tracing",
];

/// Keys of every app, app server and store, by their last part.
const PLANNED_ANYWHERE: &[&str] = &["previous_seal_key", "seal_key", "snapshot_file"];

/// Whether a later version has this key.
pub(super) fn is_planned(path: &str) -> bool {
    let below = |table: &str| {
        path.strip_prefix(table)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let name = path.rsplit('.').next().unwrap_or(path);
    let many = ["apps[", "upstream.", "upstreams.", "store."];
    PLANNED.iter().any(|table| below(table))
        || (many.iter().any(|start| path.starts_with(start)) && PLANNED_ANYWHERE.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_a_later_version_is_told_from_a_misspelt_one() {
        for planned in [
            "cors.allowed_origins",
            "store.seal_key",
            "store.snapshot_file",
        ] {
            assert!(is_planned(planned), "{planned}");
        }
        for misspelt in [
            "server.tlss",
            "session.tls",
            "apps[0].app_id",
            "server.lisen",
        ] {
            assert!(!is_planned(misspelt), "{misspelt}");
        }
    }
}

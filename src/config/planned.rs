//! Keys that are planned and not read yet. A file that uses one is told so, instead of being sent to a key that means something else. Once a key is read,
//! it leaves this list.

/// Tables and keys.
const PLANNED: &[&str] = &[
    "admin.token",
    "admin.token_env",
    "admin.token_file",
    "paths.auth",
    "tracing",
];

/// Whether a later version has this key.
pub(super) fn is_planned(path: &str) -> bool {
    let below = |table: &str| {
        path.strip_prefix(table)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    PLANNED.iter().any(|table| below(table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_a_later_version_is_told_from_a_misspelt_one() {
        for planned in ["paths.auth", "tracing.otlp_endpoint"] {
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

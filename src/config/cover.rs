//! Whether one path pattern covers another: for warnings about rules that never match, or that
//! surround others. Knows no rule.

use crate::domain::path::PathPattern;

/// Whether every path under `inner` is also under `outer`.
pub(super) fn covers(outer: &PathPattern, inner: &PathPattern) -> bool {
    let (outer, outer_is_subtree) = split(outer.as_str());
    let (inner, inner_is_subtree) = split(inner.as_str());
    let long_enough = if outer_is_subtree {
        inner.len() >= outer.len()
    } else {
        inner.len() == outer.len() && !inner_is_subtree
    };
    long_enough
        && outer
            .iter()
            .zip(&inner)
            .all(|(outer, inner)| covers_segment(outer, inner))
}

/// The segments of a pattern, and whether a subtree follows them.
fn split(pattern: &str) -> (Vec<&str>, bool) {
    let (path, is_subtree) = match pattern.strip_suffix("/**") {
        Some(path) => (path, true),
        None => (pattern, false),
    };
    (path.split('/').skip(1).collect(), is_subtree)
}

fn covers_segment(outer: &str, inner: &str) -> bool {
    match outer {
        // A star stands for a segment that is not empty.
        "*" => !inner.is_empty(),
        _ => outer == inner,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_matches_it_in_every_case() {
        let covers = |outer, inner| {
            covers(
                &PathPattern::parse(outer).unwrap(),
                &PathPattern::parse(inner).unwrap(),
            )
        };
        for (outer, inner) in [
            ("/**", "/a"),
            ("/**", "/**"),
            ("/**", "/"),
            ("/a/**", "/a"),
            ("/a/**", "/a/"),
            ("/a/**", "/a/*/b"),
            ("/a/**", "/a/b/**"),
            ("/a/*", "/a/b"),
            ("/a/*/**", "/a/b/c"),
            ("/a", "/a"),
        ] {
            assert!(covers(outer, inner), "{outer} {inner}");
        }
        for (outer, inner) in [
            ("/a", "/a/**"),
            ("/a", "/a/"),
            ("/a/*", "/a/"),
            ("/a/*", "/a/b/c"),
            ("/a/b", "/a/*"),
            ("/a/*/**", "/a/**"),
            ("/a/b/**", "/a/**"),
            ("/a/**", "/**"),
            ("/a/**", "/ab"),
        ] {
            assert!(!covers(outer, inner), "{outer} {inner}");
        }
    }
}

//! Paths of the app server that belong to the gate: where it calls in when something happened. A
//! client that asks for one is told that there is nothing. Knows no key by name.

use http::uri::PathAndQuery;

use crate::config::key::Key;
use crate::config::paths::Paths;
use crate::config::value;
use crate::domain::path::{Matching, PathPattern};

/// Every path that belongs to the gate, with where each was written.
#[derive(Default)]
pub(super) struct AppPaths<'a> {
    found: Vec<(PathPattern, Key<'a>)>,
}

impl<'a> AppPaths<'a> {
    /// Reads a path and takes it for the gate. Nothing when the key is missing, empty or wrong.
    pub(super) fn read(&mut self, key: &Key<'a>) -> Option<PathAndQuery> {
        const EXPECTED: &str =
            "expected a path on the app server such as \"/hooks/login\", or \"\" for off";
        let text = key.text().filter(|text| !text.is_empty())?;
        let wrong = match PathPattern::parse(text) {
            Err(wrong) => wrong.to_string(),
            Ok(pattern) if !pattern.is_exact() => "stands for more than one path".to_owned(),
            Ok(pattern) => match PathAndQuery::try_from(text) {
                Err(wrong) => wrong.to_string(),
                Ok(path) => {
                    self.found.push((pattern, key.clone()));
                    return Some(path);
                }
            },
        };
        key.fault(format!("is {}: {wrong}, {EXPECTED}", value::quoted(text)));
        None
    }

    /// The paths that no client may ask for. One that is a route of the gate's own as well is not
    /// among them: it is answered here, and never forwarded.
    pub(super) fn reserved(self, paths: &Paths<'_>) -> Vec<PathPattern> {
        let endpoints = paths.endpoints();
        let mut reserved: Vec<PathPattern> = Vec::new();
        for (pattern, key) in self.found {
            let similar = endpoints
                .iter()
                .map(|(own, _)| own)
                .find(|own| own.matches(pattern.as_str().as_bytes(), Matching::Loose));
            match similar {
                Some(own) if *own == pattern => {}
                Some(own) => key.fault(format!(
                    "differs from the gate's own route {} in letter case or a slash at the end \
                     alone, expected the same path or another one",
                    own.as_str()
                )),
                None if reserved.contains(&pattern) => {}
                None => reserved.push(pattern),
            }
        }
        reserved
    }
}

//! Paths of the app server that belong to the gate: where it calls in when something happened. A
//! client that asks for one is told that there is nothing.

use http::uri::PathAndQuery;

use crate::config::key::Key;
use crate::config::paths::Paths;
use crate::config::value;
use crate::domain::path::{Matching, PathPattern};
use crate::gateway::route::Endpoint;

/// The name of the keys by which something decrypted goes to the app server. Without one it goes to the
/// path that the client asked for.
const DELIVERY: &str = "deliver_to";

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
        self.check_purposes();
        let endpoints = paths.endpoints();
        let mut reserved: Vec<PathPattern> = Vec::new();
        for (pattern, key) in self.found {
            let similar = endpoints
                .iter()
                .find(|(own, _)| own.matches(pattern.as_str().as_bytes(), Matching::Loose));
            match similar {
                Some((own, Endpoint::Decrypt | Endpoint::Phone))
                    if *own == pattern && purpose(&key) != DELIVERY =>
                {
                    key.fault(format!(
                        "is {}: where the app server may get what the gate obtained, expected \
                         another path",
                        value::quoted(own.as_str())
                    ));
                }
                Some((own, _)) if *own == pattern => {}
                Some((own, _)) => key.fault(format!(
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

    /// A path is called for one purpose only, or the app server would take one message for another.
    fn check_purposes(&self) {
        for (number, (pattern, key)) in self.found.iter().enumerate() {
            let before = self.found.iter().take(number);
            let mut others = before.filter(|(_, other)| purpose(other) != purpose(key));
            let path = pattern.as_str();
            let same = others.find(|(other, _)| other.matches(path.as_bytes(), Matching::Loose));
            if let Some((_, other)) = same {
                key.fault(format!(
                    "is {}: the same path as {}, expected another one (letter case and a slash at \
                     the end make no difference): the app server could not tell the two apart",
                    value::quoted(path),
                    other.path()
                ));
            }
        }
    }
}

/// What a path is for: keys of one name have one purpose.
fn purpose<'k>(key: &'k Key<'_>) -> &'k str {
    key.path().rsplit('.').next().unwrap_or_default()
}

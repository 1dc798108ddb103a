//! `[paths]`: where the gate's own routes are.

use crate::config::key::Key;
use crate::config::reader::Item;
use crate::config::value;
use crate::domain::path::{Matching, PathPattern, PatternError};
use crate::gateway::route::Endpoint;

/// Where WeChat pushes to, unless that is said.
const PUSH: &str = "/wx/push/{appid}";

/// What stands for the appid in such a path.
const APPID: &str = "{appid}";

/// What there is a route for only where something is configured.
#[derive(Clone, Copy)]
pub(super) struct Live {
    /// Some app has pushes.
    pub(super) pushes: bool,
    /// Identities are signed, so there are keys to verify by.
    pub(super) assertions: bool,
}

/// The gate's own routes, with where each was written.
pub(super) struct Paths<'a> {
    found: Vec<(PathPattern, Endpoint, Key<'a>)>,
}

impl<'a> Paths<'a> {
    /// Reads `[paths]`.
    pub(super) fn read(table: &Key<'a>, live: Live) -> Self {
        let mut paths = Self { found: Vec::new() };
        for (name, endpoint, default) in [
            ("login", Endpoint::Login, "/wx/login"),
            ("decrypt", Endpoint::Decrypt, "/wx/decrypt"),
            ("phone", Endpoint::Phone, "/wx/phone"),
            ("session", Endpoint::Session, "/wx/session"),
            ("logout", Endpoint::Logout, "/wx/logout"),
        ] {
            let key = table.key(name);
            let items = key.text_or_texts().unwrap_or_else(|| {
                let text = default.to_owned();
                let key = key.clone();
                vec![Item { text, key }]
            });
            if items.is_empty() && endpoint == Endpoint::Login {
                key.warn("is off: nobody can log in, so no request can have a session");
            }
            for item in items {
                paths.add(&item, endpoint);
            }
        }
        paths.read_push(&table.key("push"), live.pushes);
        paths.read_jwks(&table.key("jwks"), live.assertions);
        paths.read_ticket(&table.key("ticket"));
        paths
    }

    /// Whether there are tickets.
    pub(super) fn have_tickets(&self) -> bool {
        let mut endpoints = self.found.iter().map(|(_, endpoint, _)| *endpoint);
        endpoints.any(|endpoint| endpoint == Endpoint::Ticket)
    }

    /// Where tickets are lent, if anywhere; one segment below, they are exchanged.
    fn read_ticket(&mut self, key: &Key<'a>) {
        for item in key.text_or_texts().unwrap_or_default() {
            if item.text.ends_with('/') {
                item.key.fault(format!(
                    "is {}, and below it tickets are exchanged, expected a path without a slash at its \
                     end",
                    value::quoted(&item.text)
                ));
                continue;
            }
            let below = PathPattern::parse(&format!("{}/*", item.text));
            self.add(&item, Endpoint::Ticket);
            // What is wrong with it is said already.
            match below.ok().map(|below| self.refuse_second(below)) {
                Some(Ok(below)) => self
                    .found
                    .push((below, Endpoint::HandOver, item.key.clone())),
                Some(Err(wrong)) => item.key.fault(format!("has below it {wrong}")),
                None => {}
            }
        }
    }

    /// Where the keys to verify by are, if anywhere.
    fn read_jwks(&mut self, key: &Key<'a>, live: bool) {
        for item in key.text_or_texts().unwrap_or_default() {
            if live {
                self.add(&item, Endpoint::Jwks);
            } else {
                item.key.fault(
                    "is on, but there is no key to be published, expected a table [identity.jwt]",
                );
            }
        }
    }

    /// Where WeChat pushes to: a path in which one segment is the appid.
    fn read_push(&mut self, key: &Key<'a>, live: bool) {
        const EXPECTED: &str = "expected a path with one segment {appid} such as \
                                \"/wx/push/{appid}\"";
        let text = key.text().unwrap_or(PUSH);
        if text.is_empty() {
            if live {
                key.warn("is off: WeChat can push nothing");
            }
            return;
        }
        let star = text.replacen(APPID, "*", 1);
        let pattern = match PathPattern::parse(&star) {
            Err(wrong) if wrong != PatternError::Star => Err(format!("{wrong}, {EXPECTED}")),
            Err(_) => Err(EXPECTED.to_owned()),
            Ok(_) if text.matches(['*', '{']).count() != 1 || star == text => {
                Err(EXPECTED.to_owned())
            }
            Ok(pattern) if live => self.refuse_second(pattern),
            Ok(_) => return,
        };
        match pattern {
            Ok(pattern) => self.found.push((pattern, Endpoint::Push, key.clone())),
            Err(wrong) => key.fault(format!("is {}: {wrong}", value::quoted(text))),
        }
    }

    /// The routes in the form of the table that decides.
    pub(super) fn endpoints(&self) -> Vec<(PathPattern, Endpoint)> {
        let routes = self.found.iter();
        routes
            .map(|(path, endpoint, _)| (path.clone(), *endpoint))
            .collect()
    }

    fn add(&mut self, item: &Item<'a>, endpoint: Endpoint) {
        const EXPECTED: &str = "expected a path such as \"/wx/login\", or \"\" for off";
        let pattern = match PathPattern::parse(&item.text) {
            Err(wrong) => Err(format!("{wrong}, {EXPECTED}")),
            Ok(pattern) if !pattern.is_exact() => {
                Err(format!("stands for more than one path, {EXPECTED}"))
            }
            Ok(pattern) => self.refuse_second(pattern),
        };
        match pattern {
            Ok(pattern) => self.found.push((pattern, endpoint, item.key.clone())),
            Err(wrong) => {
                item.key
                    .fault(format!("is {}: {wrong}", value::quoted(&item.text)));
            }
        }
    }

    /// Servers that ignore letter case or a slash at the end take similar paths for one.
    fn refuse_second(&self, pattern: PathPattern) -> Result<PathPattern, String> {
        let same = |path: &PathPattern| {
            path.matches(pattern.as_str().as_bytes(), Matching::Loose)
                || pattern.matches(path.as_str().as_bytes(), Matching::Loose)
        };
        match self.found.iter().find(|(path, ..)| same(path)) {
            None => Ok(pattern),
            Some((_, _, first)) => Err(format!(
                "the same path as {}, expected different ones (letter case and a slash at the end \
                 make no difference)",
                first.path()
            )),
        }
    }
}

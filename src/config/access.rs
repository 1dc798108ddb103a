//! `[access]`: what each path asks of a request, and which app server it leads to.

use http::Method;

use crate::config::cover::covers;
use crate::config::key::Key;
use crate::config::paths::Paths;
use crate::config::reader::Item;
use crate::config::upstream::Upstreams;
use crate::config::value;
use crate::domain::path::PathPattern;
use crate::gateway::route::{Endpoint, Require, Routes, Rule};
use crate::upstream::Index;

const REQUIRE: [(&str, Require); 3] = [
    ("session", Require::Session),
    ("optional", Require::Optional),
    ("public", Require::Public),
];
/// As many paths as a warning lists.
const SHOWN_PATHS: usize = 3;

/// Reads `[access]`, and puts the gate's own routes before its rules.
pub(super) fn read(table: &Key<'_>, paths: &Paths<'_>, upstreams: &Upstreams<'_>) -> Routes {
    let default = table.key("default");
    let routes = Routes {
        default: default.choice(Require::Session, &REQUIRE),
        forward_preflight: table
            .key("preflight")
            .choice(false, &[("session", false), ("forward", true)]),
        endpoints: paths.endpoints(),
        // Said by other tables.
        reserved: Vec::new(),
        open_data: Vec::new(),
        rules: Vec::new(),
    };
    let (_, rules) = table.table_list("rules");
    let rules: Vec<_> = rules
        .unwrap_or_default()
        .into_iter()
        .filter_map(|table| Some((read_rule(&table, upstreams)?, table)))
        .collect();
    warn_dead(&rules, &routes.endpoints);
    warn_surrounded(&rules, &default, routes.default);
    let used: Vec<_> = rules.iter().map(|(rule, _)| rule.upstream).collect();
    upstreams.warn_unused(&used);
    Routes {
        rules: rules.into_iter().map(|(rule, _)| rule).collect(),
        ..routes
    }
}

fn read_rule(table: &Key<'_>, upstreams: &Upstreams<'_>) -> Option<Rule> {
    let path = read_path(&table.key("path"));
    let methods = read_methods(&table.key("methods"));
    let require = table.key("require").choice(Require::Session, &REQUIRE);
    let upstream = read_upstream(&table.key("upstream"), upstreams);
    Some(Rule {
        path: path?,
        methods,
        require,
        upstream: upstream?,
    })
}

fn read_path(key: &Key<'_>) -> Option<PathPattern> {
    const EXPECTED: &str = "a path such as \"/a\", \"/a/**\" or \"/a/*/b\"";
    let text = key.required_text(EXPECTED)?;
    match PathPattern::parse(text) {
        Ok(path) => Some(path),
        Err(wrong) => {
            key.fault(format!(
                "is {}: {wrong}, expected {EXPECTED}",
                value::quoted(text)
            ));
            None
        }
    }
}

fn read_upstream(key: &Key<'_>, upstreams: &Upstreams<'_>) -> Option<Index> {
    if !key.is_present() {
        return Some(Index::FIRST);
    }
    let name = key.text()?;
    let found = upstreams.find(name);
    if found.is_none() {
        key.fault(format!(
            "is {}, but {}",
            value::quoted(name),
            upstreams.names()
        ));
    }
    found
}

fn read_methods(key: &Key<'_>) -> Vec<Method> {
    let Some(items) = key.texts() else {
        return Vec::new();
    };
    if items.is_empty() {
        key.fault(
            "is empty, expected methods such as [\"GET\", \"HEAD\"]; leave the key out for all",
        );
    }
    items.iter().filter_map(read_method).collect()
}

fn read_method(item: &Item<'_>) -> Option<Method> {
    let shown = value::quoted(&item.text);
    let Ok(method) = Method::from_bytes(item.text.as_bytes()) else {
        item.key
            .fault(format!("is {shown}, expected a method such as \"GET\""));
        return None;
    };
    let upper = item.text.to_ascii_uppercase();
    if upper != item.text && is_standard(&upper) {
        item.key.fault(format!(
            "is {shown}, expected \"{upper}\": the case of methods matters"
        ));
        return None;
    }
    if method == Method::CONNECT {
        item.key
            .fault("is \"CONNECT\", which the gate refuses on every path, expected another method");
        return None;
    }
    Some(method)
}

fn is_standard(method: &str) -> bool {
    [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ]
    .contains(&method)
}

/// Warns of rules that never match.
fn warn_dead(rules: &[(Rule, Key<'_>)], endpoints: &[(PathPattern, Endpoint)]) {
    for (index, (rule, table)) in rules.iter().enumerate() {
        let earlier = rules.iter().take(index).find(|(earlier, _)| {
            covers(&earlier.path, &rule.path) && covers_methods(&earlier.methods, &rule.methods)
        });
        if let Some((earlier, at)) = earlier {
            table.warn(format!(
                "never matches: the earlier rule for {} ({}) takes everything; the first match \
                 wins, so put the narrower rule first",
                earlier.path.as_str(),
                at.place()
            ));
        }
        if let Some((_, endpoint)) = endpoints.iter().find(|(own, _)| covers(own, &rule.path)) {
            table.warn(format!(
                "never matches: the gate answers this path itself (paths.{})",
                endpoint.name()
            ));
        }
    }
}

fn covers_methods(outer: &[Method], inner: &[Method]) -> bool {
    outer.is_empty() || (!inner.is_empty() && inner.iter().all(|method| outer.contains(method)))
}

/// Warns of open rules around closed ones: what the app server reads in a way that the gate does
/// not know of falls on the open side.
fn warn_surrounded(rules: &[(Rule, Key<'_>)], default_key: &Key<'_>, default: Require) {
    let closed = |rule: &&(Rule, Key<'_>)| rule.0.require == Require::Session;
    if default != Require::Session {
        let inside: Vec<_> = rules.iter().filter(closed).map(|(rule, _)| rule).collect();
        warn_open(default_key, default, &inside);
    }
    for (outer, table) in rules.iter().filter(|rule| !closed(rule)) {
        let inside: Vec<_> = rules
            .iter()
            .filter(closed)
            .map(|(rule, _)| rule)
            .filter(|rule| covers(&outer.path, &rule.path) && !covers(&rule.path, &outer.path))
            .collect();
        warn_open(table, outer.require, &inside);
    }
}

fn warn_open(at: &Key<'_>, require: Require, inside: &[&Rule]) {
    if inside.is_empty() {
        return;
    }
    let paths: Vec<_> = inside
        .iter()
        .map(|rule| rule.path.as_str())
        .take(SHOWN_PATHS)
        .collect();
    let more = if inside.len() > SHOWN_PATHS {
        ", …"
    } else {
        ""
    };
    at.warn(format!(
        "{} surrounds what needs a session ({}{more}): a spelling that only the app server \
         understands would pass; safer is to require a session all around and to list what is open",
        require.name(),
        paths.join(", "),
    ));
}

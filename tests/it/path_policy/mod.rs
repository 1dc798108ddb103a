//! No target that the gate forwards without a session is read by a server as a path that needs one.
//! Thousands of odd targets are decided on under several sets of rules; what real servers, and models
//! of those that do not run here, make of the ones that pass is compared with what the rules guard.
//! What is guarded is said here once more, by other code than the gate's.

mod models;
mod ordinary;
mod programs;
mod servers;
mod table;
mod targets;

use std::path::Path;
use std::sync::LazyLock;

use http::{Method, Uri};
use wxgate::gateway::route::{Ambiguous, Decision, Require, Routes};

use crate::support::raw::Connection;
use crate::support::{APPID, SECRET, Setup, World};

/// What a server makes of a target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct View {
    path: Vec<u8>,
    /// Whether the path was not read that way, but leads there: to a file, by its extension.
    is_alias: bool,
}

impl View {
    fn read(path: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            is_alias: false,
        }
    }

    fn alias(path: impl Into<Vec<u8>>) -> Self {
        Self {
            is_alias: true,
            ..Self::read(path)
        }
    }

    /// Whether the path is one of these, letter by letter or with letter case and a slash at the end
    /// aside. `*` is a segment, `**` a subtree.
    fn is(&self, pattern: &str, loosely: bool) -> bool {
        let path = String::from_utf8_lossy(&self.path).into_owned();
        let path = if loosely {
            let path = path.to_ascii_lowercase();
            format!("/{}", path.trim_start_matches('/').trim_end_matches('/'))
        } else {
            path
        };
        let (head, subtree) = match pattern.strip_suffix("/**") {
            Some(head) => (head, true),
            None => (pattern, false),
        };
        let wanted: Vec<_> = head.split('/').collect();
        let found: Vec<_> = path.split('/').collect();
        let fits = |(wanted, found): (&&str, &&str)| {
            wanted == found || (*wanted == "*" && !found.is_empty())
        };
        let long_enough = found.len() == wanted.len() || (subtree && found.len() > wanted.len());
        long_enough && wanted.iter().zip(&found).all(fits)
    }
}

/// A set of rules, and what they guard against a request that passed without a session.
struct Rules {
    name: &'static str,
    toml: &'static str,
    /// Whether a request that was decided on so must not be read so.
    guards: fn(&View, bool, &Passed) -> bool,
}

/// A request that the gate forwards without a session.
#[derive(Clone, Copy, Debug)]
struct Passed {
    second_upstream: bool,
    opened: bool,
}

const RULES: &[Rules] = &[
    Rules {
        name: "open, and narrower rules",
        toml: r#"
[access]
default = "public"
[[access.rules]]
path = "/admin/**"
require = "session"
[[access.rules]]
path = "/exact"
require = "session"
[[access.rules]]
path = "/team/*/keys"
require = "session"
[[access.rules]]
path = "/report.php"
require = "session"
"#,
        guards: |view, loosely, _| {
            ["/admin/**", "/exact", "/team/*/keys", "/report.php"]
                .iter()
                .any(|pattern| view.is(pattern, loosely))
        },
    },
    Rules {
        name: "closed, with an open subtree around a narrower rule",
        toml: r#"
[[access.rules]]
path = "/open/secret/**"
require = "session"
[[access.rules]]
path = "/open/**"
require = "public"
"#,
        guards: |view, loosely, _| {
            !view.is("/open/**", loosely) || view.is("/open/secret/**", loosely)
        },
    },
    Rules {
        name: "optional, with a guarded root",
        toml: r#"
[access]
default = "optional"
[[access.rules]]
path = "/"
require = "session"
"#,
        guards: |view, loosely, _| view.is("/", loosely),
    },
    Rules {
        name: "two app servers",
        toml: r#"
[upstreams.api]
url = "http://127.0.0.1:9"
[access]
default = "public"
[[access.rules]]
path = "/api/**"
require = "public"
upstream = "api"
"#,
        guards: |view, loosely, passed| {
            !view.is_alias && view.is("/api/**", loosely) != passed.second_upstream
        },
    },
    Rules {
        name: "paths of the gate's own",
        toml: r#"
[access]
default = "public"
[login]
hook = "/hooks/login"
[decrypt]
in_flight = ["/profile"]
"#,
        guards: |view, loosely, passed| {
            view.is("/hooks/login", loosely)
                || view.is("/wx/login", loosely)
                || (view.is("/profile", loosely) && !passed.opened)
        },
    },
];

impl Rules {
    fn routes(&self) -> Routes {
        let text = format!(
            "[upstream]\nurl = \"http://127.0.0.1:9\"\n[[apps]]\nappid = \"{APPID}\"\nsecret = \"{SECRET}\"\n{}",
            self.toml
        );
        let loaded = wxgate::config::parse(&text, Path::new("test.toml"), []);
        let loaded = loaded.unwrap_or_else(|faults| panic!("{faults}\n{text}"));
        loaded.config.gateway.routes
    }
}

/// What the gate decides on a target, as it does on the path of a request. `None` when it is none.
fn decided(routes: &Routes, target: &str) -> Option<Result<Decision, Ambiguous>> {
    let uri = Uri::try_from(target).ok()?;
    Some(routes.decide(&Method::GET, &[], uri.path().as_bytes()))
}

/// How a target passes without a session, if it does.
fn passes(routes: &Routes, target: &str) -> Option<Passed> {
    let decision = decided(routes, target)?.ok()?;
    let (Decision::Forward(line) | Decision::OpenData(line)) = decision else {
        return None;
    };
    let access = routes.access(line);
    (access.require != Require::Session).then(|| Passed {
        second_upstream: access.upstream.get() > 0,
        opened: matches!(decision, Decision::OpenData(_)),
    })
}

/// Targets that pass under some rules, with how.
struct Passing {
    target: String,
    under: Vec<(&'static Rules, Passed)>,
}

/// Those of [`targets::some`].
static SOME: LazyLock<Vec<Passing>> = LazyLock::new(|| passing(targets::some()));

fn passing(targets: Vec<String>) -> Vec<Passing> {
    let tables: Vec<_> = RULES.iter().map(|rules| (rules, rules.routes())).collect();
    let under = |target: &str| {
        let passes =
            |(rules, routes): &(&'static Rules, Routes)| Some((*rules, passes(routes, target)?));
        tables.iter().filter_map(passes).collect::<Vec<_>>()
    };
    let passing = targets.into_iter().map(|target| Passing {
        under: under(&target),
        target,
    });
    passing
        .filter(|passing| !passing.under.is_empty())
        .collect()
}

/// What is wrong with letting a target pass, given what a server makes of it.
fn breaches(server: &str, passing: &Passing, views: &[View]) -> Vec<String> {
    let mut found = Vec::new();
    for view in views {
        for (rules, passed) in &passing.under {
            let guarded = [false, true].map(|loosely| (rules.guards)(view, loosely, passed));
            if guarded.contains(&true) {
                let path = String::from_utf8_lossy(&view.path);
                let (target, rules) = (&passing.target, rules.name);
                found.push(format!(
                    "{target} passes under {rules:?}, and is {path} to {server}"
                ));
            }
        }
    }
    found
}

/// Fails with the first breaches of many.
#[track_caller]
fn there_are_none(mut breaches: Vec<String>) {
    let all = breaches.len();
    breaches.sort_by_key(String::len);
    breaches.dedup();
    breaches.truncate(40);
    assert!(breaches.is_empty(), "{all}:\n{}", breaches.join("\n"));
}

#[test]
fn no_model_of_a_server_reads_what_passes_as_a_path_that_is_guarded() {
    let targets = targets::many();
    assert!(targets.len() > 8_000, "{}", targets.len());
    let passing = passing(targets);
    assert!(passing.len() > 1_500, "{}", passing.len());
    let mut found = Vec::new();
    for (server, read) in models::ALL {
        for passing in &passing {
            let path = passing.target.split('?').next().unwrap();
            found.extend(breaches(server, passing, &read(path.as_bytes())));
        }
    }
    there_are_none(found);
}

#[test]
fn every_model_finds_what_a_gate_would_miss_that_took_paths_as_they_stand() {
    let routes: Vec<_> = RULES.iter().map(|rules| (rules, rules.routes())).collect();
    // As a gate would that compares bytes.
    let naive = |target: &str| Passing {
        under: routes
            .iter()
            .filter_map(|(rules, routes)| {
                let matching = wxgate::domain::path::Matching::Strict;
                let path = target.split('?').next()?;
                let decision = routes.first_match(&Method::GET, path.as_bytes(), matching);
                let (Decision::Forward(line) | Decision::OpenData(line)) = decision else {
                    return None;
                };
                let access = routes.access(line);
                let passed = Passed {
                    second_upstream: access.upstream.get() > 0,
                    opened: matches!(decision, Decision::OpenData(_)),
                };
                (access.require != Require::Session).then_some((*rules, passed))
            })
            .collect(),
        target: target.to_owned(),
    };
    let targets = targets::picked();
    for (server, read) in models::ALL {
        let is_missed = |target: &&str| {
            let path = target.split('?').next().unwrap();
            !breaches(server, &naive(target), &read(path.as_bytes())).is_empty()
        };
        assert!(
            targets.iter().any(|target| is_missed(&target.as_str())),
            "{server}"
        );
    }
}

#[tokio::test]
async fn what_the_table_decides_is_what_happens_on_the_wire() {
    let targets: Vec<_> = targets::some().into_iter().step_by(3).collect();
    for rules in RULES
        .iter()
        .filter(|rules| !rules.toml.contains("upstreams"))
    {
        let world: World = Setup::with(rules.toml).start().await;
        let routes = rules.routes();
        let mut connection = Connection::open(world.address()).await;
        for target in targets.iter().filter(|target| !target.contains('#')) {
            let Some(decided) = decided(&routes, target) else {
                continue;
            };
            let expected = match decided {
                Err(_) => 400,
                Ok(Decision::Reserved) => 404,
                Ok(Decision::Endpoint(_)) => 405,
                Ok(Decision::Forward(line) | Decision::OpenData(line)) => {
                    if routes.access(line).require == Require::Session {
                        401
                    } else {
                        200
                    }
                }
            };
            let seen = world.app.count();
            connection.write(&world.get(target).bytes()).await;
            let answer = connection.answer().await;
            assert_eq!(answer.status, expected, "{target} under {:?}", rules.name);
            assert_eq!(
                world.app.count() - seen,
                usize::from(expected == 200),
                "{target}"
            );
            if expected == 200 {
                let whole = target.strip_prefix("http://gate.example");
                let forwarded =
                    whole.map_or(
                        target.as_str(),
                        |path| if path.is_empty() { "/" } else { path },
                    );
                assert_eq!(world.app.last().target, forwarded);
            }
            if answer.header("connection") == Some("close") {
                connection = Connection::open(world.address()).await;
            }
        }
    }
}

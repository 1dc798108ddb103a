//! The house rules, as far as a machine can hold them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Who may use whom. This table is the architecture; ARCHITECTURE.md explains it.
const MAY_USE: &[(&str, &[&str])] = &[
    // ground: pure
    ("domain", &[]),
    ("crypto", &["domain"]),
    ("telemetry", &["domain"]),
    ("codec", &["domain"]),
    ("played", &[]),
    ("splice", &[]),
    // second floor: one outside thing each
    ("store", &["crypto", "domain", "telemetry"]),
    ("wechat", &["crypto", "domain", "telemetry"]),
    ("upstream", &["codec", "domain", "played", "splice"]),
    (
        "server",
        &["codec", "domain", "played", "splice", "telemetry"],
    ),
    // third floor: answers HTTP
    (
        "gateway",
        &[
            "crypto",
            "domain",
            "server",
            "store",
            "telemetry",
            "upstream",
            "wechat",
        ],
    ),
    ("admin", &["server", "telemetry"]),
    ("egress", &["domain", "server", "telemetry", "wechat"]),
    ("sim", &["crypto", "domain", "server"]),
    // top: knows how it is written down, and puts it together
    (
        "config",
        &[
            "admin",
            "domain",
            "egress",
            "gateway",
            "server",
            "store",
            "telemetry",
            "upstream",
            "wechat",
        ],
    ),
    (
        "app",
        &[
            "admin",
            "config",
            "domain",
            "egress",
            "gateway",
            "played",
            "server",
            "sim",
            "store",
            "telemetry",
            "upstream",
            "wechat",
        ],
    ),
];

/// Lines of code that a file may have, comments, blank lines and tests aside.
const MAX_CODE_LINES: usize = 400;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files under a folder, with their text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    assert!(found.len() > 5, "no sources under {folder}");
    found
}

/// The module at the top of the crate that a file belongs to.
fn module(path: &Path) -> String {
    let part = path
        .components()
        .nth(1)
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap();
    part.trim_end_matches(".rs").to_owned()
}

/// The modules at the top of the crate that a text names, by `crate::name`. Braces after `crate::`
/// are not understood here, and so not allowed.
fn named(text: &str) -> Vec<String> {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let paths = code.flat_map(|line| line.split("crate::").skip(1));
    paths
        .map(|rest| {
            let name: String = rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            assert!(
                !name.is_empty(),
                "one `use` per module, please: crate::{rest}"
            );
            name
        })
        .collect()
}

#[test]
fn a_module_uses_only_what_lies_below_it() {
    let table: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let here = module(&path);
        if here == "lib" || here == "main" {
            continue;
        }
        let allowed = table
            .get(here.as_str())
            .unwrap_or_else(|| panic!("{here} is in no table"));
        for name in named(&text) {
            if name != here && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{}: uses {name}", path.display()));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn no_module_may_use_what_it_does_not() {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources("src") {
        used.entry(module(&path)).or_default().extend(named(&text));
    }
    let mut idle = Vec::new();
    for (here, allowed) in MAY_USE {
        let unused = allowed.iter().filter(|name| !used[*here].contains(**name));
        idle.extend(unused.map(|name| format!("{here} does not use {name}")));
    }
    assert_eq!(idle, [""; 0]);
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let files = sources("src").into_iter().chain(sources("tests"));
    let silent: Vec<_> = files
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(silent, [""; 0].map(PathBuf::from));
}

#[test]
fn no_file_is_too_long_to_be_read_at_once() {
    let code_lines = |text: &str| {
        let code = text.split("#[cfg(test)]").next().unwrap();
        let counts = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
        code.lines().filter(counts).count()
    };
    let long: Vec<_> = sources("src")
        .into_iter()
        .filter(|(path, _)| !path.ends_with("tests.rs"))
        .map(|(path, text)| (path, code_lines(&text)))
        .filter(|(_, lines)| *lines > MAX_CODE_LINES)
        .collect();
    assert_eq!(long, []);
}

#[test]
fn nothing_outside_upstream_names_a_client_type_of_hyper_or_h2() {
    let wrong: Vec<_> = sources("src")
        .into_iter()
        .filter(|(path, _)| module(path) != "upstream")
        .filter(|(_, text)| text.contains("hyper::client") || text.contains("h2::client"))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(wrong, [""; 0].map(PathBuf::from));
}

/// What proves an identity, and the only files that may make it: those that saw the proof.
const PROVERS: &[(&str, &[&str])] = &[
    ("JustRedeemed::of(", &["src/gateway/desk.rs"]),
    ("VerifiedSender::of(", &["src/gateway/push/delivery.rs"]),
];

#[test]
fn an_identity_without_a_session_is_made_only_where_it_was_proved() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let code = text.split("#[cfg(test)]").next().unwrap();
        let made = PROVERS.iter().filter(|(maker, _)| code.contains(maker));
        let strange = made.filter(|(_, files)| !files.iter().any(|file| path.ends_with(file)));
        let strange = strange.filter(|_| !path.ends_with("originate_tests.rs"));
        wrong.extend(strange.map(|(maker, _)| format!("{}: {maker}", path.display())));
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn the_documented_problems_are_those_of_the_code() {
    let docs = fs::read_to_string(root().join("docs/http.md")).unwrap();
    let documented: BTreeSet<_> = docs
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| {
            row.split('|')
                .map(|cell| cell.trim().trim_matches('`'))
                .collect::<Vec<_>>()
        })
        .filter(|cells| {
            cells
                .get(1)
                .is_some_and(|status| status.parse::<u16>().is_ok())
        })
        .map(|cells| format!("{} {} {}", cells[0], cells[1], cells[2]))
        .collect();
    let known: BTreeSet<_> = wxgate::gateway::problems::ALL
        .iter()
        .map(|kind| format!("{} {} {}", kind.code, kind.status, kind.action.name()))
        .collect();
    assert_eq!(documented, known);
}

#[test]
fn nothing_is_left_half_done() {
    let marks = [
        "TODO",
        "FIXME",
        "XXX",
        "#[ignore",
        "should_panic",
        "todo!(",
        "unimplemented!(",
    ];
    let mut left = Vec::new();
    for (path, text) in sources("src").into_iter().chain(sources("tests")) {
        if path.ends_with("tidy.rs") {
            continue;
        }
        let found = marks.iter().filter(|mark| text.contains(**mark));
        left.extend(found.map(|mark| format!("{}: {mark}", path.display())));
    }
    assert_eq!(left, [""; 0]);
}

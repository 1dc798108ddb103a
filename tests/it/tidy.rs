//! The house rules, as far as a machine can hold them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Who may use whom. This table is the architecture; ARCHITECTURE.md explains it.
const MAY_USE: &[(&str, &[&str])] = &[
    // ground: pure
    ("domain", &[]),
    ("crypto", &["domain"]),
    ("telemetry", &["domain"]),
    // second floor: one outside thing each
    ("store", &["crypto", "domain"]),
    ("wechat", &["crypto", "domain", "telemetry"]),
    ("upstream", &["domain", "telemetry"]),
    ("server", &["domain", "telemetry"]),
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
    (
        "admin",
        &["domain", "server", "store", "telemetry", "wechat"],
    ),
    ("sim", &["crypto", "domain", "server"]),
    // top: knows how it is written down, and puts it together
    (
        "config",
        &[
            "admin",
            "crypto",
            "domain",
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
            "crypto",
            "domain",
            "gateway",
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

/// The modules at the top of the crate that a text names, by `crate::name` or `wxgate::name`.
fn named(text: &str) -> Vec<String> {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let paths = code.flat_map(|line| line.split("crate::").skip(1).map(str::to_owned));
    paths
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .filter(|name: &String| !name.is_empty())
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
fn nothing_outside_upstream_names_a_client_type_of_hyper() {
    let wrong: Vec<_> = sources("src")
        .into_iter()
        .filter(|(path, _)| module(path) != "upstream")
        .filter(|(_, text)| text.contains("hyper::client"))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(wrong, [""; 0].map(PathBuf::from));
}

#[test]
fn only_identity_writes_identity_headers_and_only_gateway_speaks_of_refusals() {
    // An `Outbound` is what can be sent; whoever could name its fields could forge one.
    let wrong: Vec<_> = sources("src")
        .into_iter()
        .filter(|(path, _)| !path.starts_with("src/domain/identity"))
        .filter(|(_, text)| text.contains("Outbound {") || text.contains("Clean {"))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(wrong, [""; 0].map(PathBuf::from));
}

#[test]
fn every_problem_code_is_documented() {
    let docs = fs::read_to_string(root().join("docs/http.md")).unwrap();
    let source = fs::read_to_string(root().join("src/gateway/refusal.rs")).unwrap();
    let codes = source
        .split("told(\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap());
    let missing: Vec<_> = codes
        .filter(|code| !docs.contains(&format!("`{code}`")))
        .collect();
    assert_eq!(missing, [""; 0]);
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

//! What the gate is built of: under which licences, from where, and that the bill of materials says so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What a command writes, which must end well.
fn said(program: &Path, arguments: &[&str]) -> String {
    let done = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output();
    let done = done.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let complaint = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{}: {complaint}", program.display());
    String::from_utf8(done.stdout).unwrap()
}

/// Of cargo, without a network: what a test is built of is here already.
fn cargo(arguments: &[&str]) -> String {
    let offline = [arguments, &["--locked", "--offline"]].concat();
    said(Path::new(env!("CARGO")), &offline)
}

/// The packages of a build on this machine, tests included.
fn packages() -> Vec<Value> {
    let rustc = said(Path::new("rustc"), &["-vV"]);
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: "));
    let arguments = ["metadata", "--format-version", "1", "--filter-platform"];
    let metadata = cargo(&[&arguments[..], &[host.unwrap()]].concat());
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// What stands under a name.
fn entry<'a, 'i>(table: &'a DeTable<'i>, name: &str) -> &'a DeValue<'i> {
    let found = table.iter().find(|(key, _)| key.get_ref() == name);
    found.unwrap_or_else(|| panic!("no {name}")).1.get_ref()
}

/// A list of texts in deny.toml; of its tables, what they call `crate`.
fn denied(table: &str, list: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("deny.toml")).unwrap();
    let parsed = DeTable::parse(&text).unwrap();
    let table = entry(parsed.get_ref(), table).as_table().unwrap();
    let entries = entry(table, list).as_array().unwrap();
    let text = |value: &DeValue<'_>| {
        let named = value
            .as_table()
            .map_or(value, |table| entry(table, "crate"));
        named.as_str().unwrap().to_owned()
    };
    entries.iter().map(|entry| text(entry.get_ref())).collect()
}

/// Whether an expression of licences can be met with these.
fn can_be_met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    // Before there were expressions, a slash was "or".
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = any_of(&mut rest, allowed);
    assert!(rest.is_empty(), "{expression}");
    met
}

fn any_of(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = all_of(rest, allowed);
    while let ["OR", after @ ..] = *rest {
        *rest = after;
        met |= all_of(rest, allowed);
    }
    met
}

fn all_of(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = one(rest, allowed);
    while let ["AND", after @ ..] = *rest {
        *rest = after;
        met &= one(rest, allowed);
    }
    met
}

fn one(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    match *rest {
        ["(", after @ ..] => {
            *rest = after;
            let met = any_of(rest, allowed);
            *rest = rest
                .strip_prefix(&[")"])
                .expect("a parenthesis that closes");
            met
        }
        [license, "WITH", exception, after @ ..] => {
            *rest = after;
            allowed.contains(&format!("{license} WITH {exception}"))
        }
        [license, after @ ..] => {
            *rest = after;
            allowed.contains(*license)
        }
        [] => panic!("an expression without an end"),
    }
}

#[test]
fn an_expression_of_licences_is_met_by_those_that_meet_it() {
    let allowed = ["MIT", "ISC", "Apache-2.0"]
        .map(str::to_owned)
        .into_iter()
        .collect();
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("ISC AND (GPL-3.0 OR MIT)", true),
        ("(GPL-3.0 OR BSD-2-Clause) AND MIT", false),
        ("Apache-2.0 WITH LLVM-exception", false),
        ("Apache-2.0 WITH LLVM-exception OR MIT", true),
    ] {
        assert_eq!(can_be_met(expression, &allowed), met, "{expression}");
    }
}

#[test]
fn every_licence_is_one_that_is_allowed_and_none_is_allowed_for_nothing() {
    let allowed = denied("licenses", "allow");
    let mut idle = allowed.clone();
    let mut wrong = Vec::new();
    for package in packages() {
        let license = package["license"].as_str().unwrap_or_default();
        if !can_be_met(license, &allowed) {
            wrong.push(format!("{}: {license}", package["name"]));
        }
        idle.retain(|one| !license.contains(one.as_str()));
    }
    assert_eq!(wrong, [""; 0]);
    assert!(idle.is_empty(), "{idle:?}");
}

/// The packages of a lock file: name, version, and source when it has one.
fn locked(file: &str) -> Vec<(String, String, Option<String>)> {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let blocks = text.split("[[package]]").skip(1);
    let field = |block: &str, name: &str| {
        let lines = block.lines();
        let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        values
            .next()
            .map(|value| value.trim_matches('"').to_owned())
    };
    let package = |block: &str| {
        let (name, version) = (field(block, "name"), field(block, "version"));
        (name.unwrap(), version.unwrap(), field(block, "source"))
    };
    blocks.map(package).collect()
}

#[test]
fn everything_comes_from_crates_io_and_nothing_that_is_banned_does() {
    let banned = denied("bans", "deny");
    assert!(banned.contains("openssl-sys"));
    let crates_io = denied("sources", "allow-registry");
    let crates_io = crates_io.first().unwrap();
    for file in [
        "Cargo.lock",
        "tests/fuzz/Cargo.lock",
        "tests/bench/Cargo.lock",
    ] {
        for (name, _, source) in locked(file) {
            let is_ours = name.starts_with("wxgate") && source.is_none();
            let from = source.unwrap_or_default();
            assert!(
                is_ours || from == format!("registry+{crates_io}"),
                "{file}: {name} {from}"
            );
            assert!(!banned.contains(&name), "{file}: {name}");
        }
    }
}

#[test]
fn the_bill_of_materials_names_what_is_in_the_lock_file_and_built_in() {
    let sbom = root().join(".ci/sbom");
    let text = said(&sbom, &[]);
    assert_eq!(said(&sbom, &[]), text, "two bills of one build");
    let bill: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    assert_eq!(bill["specVersion"], "1.5");
    let serial = bill["serialNumber"].as_str().unwrap();
    assert!(
        serial.starts_with("urn:uuid:") && serial.len() == 45,
        "{serial}"
    );
    let gate = &bill["metadata"]["component"];
    assert_eq!(gate["version"], env!("CARGO_PKG_VERSION"));
    let locked: BTreeSet<_> = locked("Cargo.lock")
        .into_iter()
        .map(|(name, version, _)| format!("pkg:cargo/{name}@{version}"))
        .collect();
    let mut scopes = BTreeMap::new();
    for component in bill["components"].as_array().unwrap() {
        let text = |name: &str| component[name].as_str().unwrap().to_owned();
        let purl = format!("pkg:cargo/{}@{}", text("name"), text("version"));
        assert_eq!(
            (text("purl"), text("bom-ref")),
            (purl.clone(), purl.clone())
        );
        assert!(locked.contains(&purl), "{purl}");
        assert_eq!(
            component["hashes"][0]["content"].as_str().unwrap().len(),
            64
        );
        assert!(component["licenses"][0]["expression"].is_string(), "{purl}");
        scopes.insert(text("name"), text("scope"));
    }
    for (name, scope) in [
        ("tokio", Some("required")),
        ("aws-lc-sys", Some("required")),
        ("serde_derive", Some("excluded")),
        ("proptest", None),
        ("wxgate", None),
    ] {
        assert_eq!(scopes.get(name).map(String::as_str), scope, "{name}");
    }
    let known: BTreeSet<_> = scopes.keys().map(String::as_str).collect();
    let graph = bill["dependencies"].as_array().unwrap();
    assert_eq!(
        graph.len(),
        bill["components"].as_array().unwrap().len() + 1
    );
    let own = graph
        .iter()
        .find(|one| one["ref"] == gate["bom-ref"])
        .unwrap();
    assert!(own["dependsOn"].as_array().unwrap().len() > 20);
    assert!(known.contains("rustls") && !known.contains("ring"));
}

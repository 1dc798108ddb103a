//! The Chinese pages have what the English ones and the code have. What they say about it, no machine can hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::pages::{fenced, pages, root};

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Level and text of each heading.
fn headings(text: &str) -> Vec<(usize, &str)> {
    let code = fenced(text);
    let lines = text.lines().zip(code).filter(|(_, code)| !code);
    lines
        .filter_map(|(line, _)| {
            let level = line.len() - line.trim_start_matches('#').len();
            line[level..]
                .strip_prefix(' ')
                .filter(|_| level > 0)
                .map(|text| (level, text.trim()))
        })
        .collect()
}

/// The rows of a page's tables, cells without white space around them.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    rows.map(|row| row.split('|').map(str::trim).collect())
}

/// What stands in backticks.
fn code(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Every key of config.example.toml with the value that stands there, and whether it is the default.
fn known_keys() -> BTreeMap<String, (String, bool)> {
    let (text, mut found, mut table) =
        (read("config.example.toml"), BTreeMap::new(), String::new());
    for line in text.lines() {
        let bare = line.trim_start_matches("# ");
        if let Some(name) = bare.strip_prefix('[').filter(|_| bare.ends_with(']')) {
            name.trim_matches(['[', ']']).clone_into(&mut table);
        } else if let Some((key, value)) = bare.split_once(" = ") {
            let word = |c: char| c.is_ascii_alphabetic() || c == '_' || c == '.';
            if key.chars().all(word) && !table.starts_with("upstreams.") {
                let value = (value.to_owned(), bare == line && !value.ends_with('['));
                found.entry(format!("{table}.{key}")).or_insert(value);
            }
        }
    }
    assert!(found.len() > 100, "{found:?}");
    found
}

/// The keys of the Chinese page, with the cell that has the default.
fn chinese_keys() -> BTreeMap<String, String> {
    let text = read("docs/zh/configuration.md");
    let keys = rows(&text).filter(|row| row.len() == 3).flat_map(|row| {
        let keys = code(row[0]).filter(|key| key.contains('.'));
        keys.map(|key| (key.to_owned(), row[1].to_owned()))
            .collect::<Vec<_>>()
    });
    keys.collect()
}

#[test]
fn the_chinese_readme_has_the_sections_of_the_english_one() {
    let (english, chinese) = (read("README.md"), read("README.zh-CN.md"));
    let (ours, theirs) = (headings(&english), headings(&chinese));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(
            ours.0, theirs.0,
            "levels of {:?} and {:?}",
            ours.1, theirs.1
        );
    }
    assert_eq!(ours.len(), theirs.len(), "README.zh-CN.md has {theirs:?}");
    for (page, other) in [(&english, "(README.zh-CN.md)"), (&chinese, "(README.md)")] {
        assert!(
            page.lines().take(5).any(|line| line.contains(other)),
            "no link {other} on top"
        );
    }
}

#[test]
fn the_chinese_configuration_page_has_every_key_with_its_default_and_no_other() {
    let (known, chinese) = (known_keys(), chinese_keys());
    let mut wrong = Vec::new();
    for (key, (value, is_default)) in &known {
        let Some(cell) = chinese.get(key) else {
            wrong.push(format!("{key} is missing"));
            continue;
        };
        let said: Vec<_> = code(cell).collect();
        let required = cell.starts_with("必填");
        if *is_default && !required && said != [value] {
            wrong.push(format!("{key} is {value}, the page has {cell}"));
        }
    }
    let unknown = chinese.keys().filter(|key| !known.contains_key(*key));
    wrong.extend(unknown.map(|key| format!("{key} is no key of config.example.toml")));
    assert!(
        wrong.is_empty(),
        "docs/zh/configuration.md:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_keys_in_tables_of_the_english_page_are_in_the_chinese_one() {
    let english = read("docs/configuration.md");
    let mut in_keys = false;
    let mut wanted = BTreeSet::new();
    for row in rows(&english) {
        if !row[0].starts_with('`') {
            // A head, or the line below it.
            in_keys = row[0] == "key" || (in_keys && row[0].starts_with("--"));
        } else if in_keys {
            wanted.extend(code(row[0]));
        }
    }
    assert!(wanted.len() > 8, "{wanted:?}");
    let page = read("docs/zh/configuration.md");
    let chinese: BTreeSet<_> = code(&page)
        .filter_map(|key| key.rsplit('.').next())
        .collect();
    let missing: Vec<_> = wanted.difference(&chinese).collect();
    assert!(
        missing.is_empty(),
        "docs/zh/configuration.md lacks {missing:?}"
    );
}

#[test]
fn the_chinese_page_of_errors_has_every_problem_with_status_and_action() {
    let page = read("docs/zh/errors.md");
    let told: BTreeSet<_> = rows(&page)
        .filter(|row| {
            row.get(1)
                .is_some_and(|status| status.parse::<u16>().is_ok())
        })
        .map(|row| format!("{} {} {}", row[0].trim_matches('`'), row[1], row[2]))
        .collect();
    let known: BTreeSet<_> = wxgate::gateway::problems::ALL
        .iter()
        .map(|kind| format!("{} {} {}", kind.code, kind.status, kind.action.name()))
        .collect();
    let missing: Vec<_> = known.difference(&told).collect();
    let unknown: Vec<_> = told.difference(&known).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "docs/zh/errors.md lacks {missing:?}, and has {unknown:?}, which the gate has not"
    );
}

/// The name by which GitHub lets a heading be linked to.
fn anchor(heading: &str) -> String {
    let lower = heading.to_lowercase();
    let kept = lower
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Where the links of a page lead, those of other hosts aside.
fn links(text: &str) -> Vec<String> {
    let lines = text.lines().zip(fenced(text)).filter(|(_, code)| !code);
    let after = lines.flat_map(|(line, _)| line.split("](").skip(1));
    let targets = after.filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains("://"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn links_of_these_pages_lead_somewhere() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for page in pages() {
        let folder = Path::new(&page)
            .parent()
            .map(Path::to_owned)
            .unwrap_or_default();
        for link in links(&read(&page)) {
            seen += 1;
            let (file, fragment) = link.split_once('#').unwrap_or((&link, ""));
            let target: PathBuf = match file {
                "" => root().join(&page),
                file => root().join(&folder).join(file),
            };
            let there = target.exists()
                && (fragment.is_empty() || {
                    let text = fs::read_to_string(&target).unwrap();
                    headings(&text)
                        .iter()
                        .any(|(_, heading)| anchor(heading) == fragment)
                });
            if !there {
                broken.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(seen > 50, "{seen}");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

//! The tables of docs/scale.md: how one is written, and whether the page has the same.

use std::fs;
use std::path::PathBuf;

/// With this in the environment, tables are written into the page: `tests/scale` sets it.
const WRITE: &str = "WXGATE_TESTS_WRITE";

/// A table of Markdown.
pub(super) struct Table(String);

impl Table {
    pub(super) fn new(head: &[&str]) -> Self {
        let mut table = Self(String::new());
        table.row(&head.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>());
        table.row(&vec!["---".to_owned(); head.len()]);
        table
    }

    pub(super) fn row(&mut self, cells: &[String]) {
        self.0.extend(["| ", &cells.join(" | "), " |\n"]);
    }
}

/// Whether tables are written, and not only compared.
pub(super) fn is_writing() -> bool {
    std::env::var_os(WRITE).is_some()
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/scale.md")
}

/// Checks that the page has this table, numbers within so much of each other; or writes it there.
pub(super) fn check(name: &str, table: &Table, tolerance: f64) {
    let page = fs::read_to_string(file()).unwrap();
    let begin = format!("<!-- figures: {name} -->\n");
    let (before, rest) = page
        .split_once(&begin)
        .unwrap_or_else(|| panic!("no {begin}"));
    let (there, after) = rest.split_once("<!-- end -->").unwrap();
    if is_writing() {
        let page = format!("{before}{begin}{}<!-- end -->{after}", table.0);
        fs::write(file(), page).unwrap();
        return;
    }
    assert!(
        agree(there, &table.0, tolerance),
        "docs/scale.md has other figures; tests/scale writes them\n{there}\n{}",
        table.0
    );
}

/// Whether two tables have the same words, and numbers that are near each other.
fn agree(one: &str, other: &str, tolerance: f64) -> bool {
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (one, other) = (words(one), words(other));
    one.len() == other.len()
        && one.iter().zip(&other).all(|(one, other)| {
            match (one.parse::<f64>(), other.parse::<f64>()) {
                (Ok(one), Ok(other)) => {
                    (one - other).abs() <= tolerance * one.abs().max(other.abs())
                }
                _ => one == other,
            }
        })
}

/// How many.
pub(super) fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// A number with two digits that count, as people say it.
pub(super) fn rounded(number: f64) -> String {
    if number < 10.0 {
        return format!("{number:.1}");
    }
    let unit = 10_f64.powf(number.log10().floor() - 1.0);
    format!("{}", (number / unit).round() * unit)
}

#[test]
fn tables_agree_when_words_are_the_same_and_numbers_near() {
    assert!(agree("| a | 100 |", "| a | 104 |", 0.05));
    assert!(!agree("| a | 100 |", "| a | 106 |", 0.05));
    assert!(!agree("| a | 100 |", "| b | 100 |", 0.05));
    assert!(!agree("| a | 100 |", "| a | 101 |", 0.0));
    assert!(!agree("| a |", "| a | 1 |", 0.05));
}

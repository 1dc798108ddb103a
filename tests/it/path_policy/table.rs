//! The examples of docs/paths.md, sent to a gate with the rules that stand there.

use std::fs;

use crate::support::Setup;
use crate::support::raw::Connection;

fn page() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/paths.md")).unwrap()
}

/// The rules on the page.
fn rules(page: &str) -> String {
    let (_, behind) = page.split_once("```toml\n").unwrap();
    behind.split_once("```").unwrap().0.to_owned()
}

/// Target and code of every row of a table whose second column is a target and whose last is what the gate
/// answers.
fn rows(page: &str) -> Vec<(String, String)> {
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<_> = line
            .strip_prefix("| ")?
            .trim_end_matches(" |")
            .split(" | ")
            .collect();
        let target = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
        let answer = cells.last()?.strip_prefix('`')?.strip_suffix('`')?;
        target
            .starts_with('/')
            .then(|| (target.to_owned(), answer.to_owned()))
    });
    rows.collect()
}

#[tokio::test]
async fn every_example_of_the_page_is_answered_as_it_says() {
    let page = page();
    let world = Setup::with(&rules(&page)).start().await;
    let rows = rows(&page);
    assert!(rows.len() > 35, "{}", rows.len());
    let mut connection = Connection::open(world.address()).await;
    let mut wrong = Vec::new();
    for (target, expected) in rows {
        connection.write(&world.get(&target).bytes()).await;
        let answer = connection.answer().await;
        let got = match answer.status {
            200 => "forwarded".to_owned(),
            _ if answer.body.is_empty() => answer.status.to_string(),
            _ => answer.problem(),
        };
        if got != expected {
            wrong.push(format!("{target}: {got} instead of {expected}"));
        }
        if answer.header("connection") == Some("close") {
            connection = Connection::open(world.address()).await;
        }
    }
    assert_eq!(wrong, [""; 0]);
}

//! The tables of `docs/operations.md`: what somebody looks for at night is in them.

use std::collections::BTreeSet;

use wxgate::gateway::problems;
use wxgate::wechat::errcode::Errcode;

/// What stands in the first column of the table after a mark.
fn documented(mark: &str) -> BTreeSet<String> {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, table) = page.split_once(&format!("<!-- {mark} -->\n")).unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let first = rows.filter_map(|row| row.split('|').nth(1));
    let quoted = first.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    quoted.map(str::to_owned).collect()
}

#[test]
fn every_problem_that_a_client_can_meet_has_its_row() {
    let known = problems::ALL.iter().map(|kind| kind.code.to_owned());
    assert_eq!(documented("problems"), known.collect());
}

#[test]
fn every_errcode_that_means_something_has_its_row() {
    let all = std::iter::once(-1).chain(40_000..100_000);
    let known = all.filter(|number| Errcode::from_number(*number).is_known());
    let known: BTreeSet<_> = known.map(|number| number.to_string()).collect();
    assert_eq!(documented("errcodes"), known);
}

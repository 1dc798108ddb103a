//! The hostile corpus: requests that nobody should send, as data (`tests/hostile`), and what becomes of
//! each: the verdict, exactly what the app server gets, and whether the connection is in step after it.

mod cases;
mod check;
mod gates;
mod http1;
mod http2;
mod recorder;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use crate::hostile::cases::{Case, Wire, all};
use crate::hostile::gates::Gate;
use crate::hostile::http1::Pieces;

/// As many cases there are at least.
const LEAST: usize = 400;

/// Something is wrong with a case: all that is needed to see why.
fn report(case: &Case, sent: &[u8], heard: &[recorder::Heard], wrong: &str) -> String {
    let mut text = format!(
        "\n{} ({}): {}\n  wrong: {wrong}\n  sent: {}\n  the app server got:\n",
        case.name,
        case.class,
        case.why,
        sent.escape_ascii()
    );
    for heard in heard {
        writeln!(text, "{}", check::show(heard)).unwrap();
    }
    text
}

/// Sends one case in front of its gate, and looks at everything that comes of it.
async fn fault(case: &Case, gate: &Gate, pieces: Pieces, number: usize) -> Option<String> {
    let then = if case.gate == "guarded" {
        format!("/public/next/{number}")
    } else {
        format!("/next/{number}")
    };
    gate.recorder.say(http1::app_says(case, gate));
    let (sent, comes) = match case.wire {
        Wire::Http1 => http1::run(case, gate, pieces, &then).await,
        Wire::Http2 => http2::run(case, gate, &then).await,
    };
    gate.recorder.say(None);
    let heard = gate.recorder.take();
    let words = &gate.words;
    let right = comes.and_then(|()| check::reached(case, words, &heard, &[then]));
    right.err().map(|wrong| report(case, &sent, &heard, &wrong))
}

/// Sends all cases of one gate, one after another, so that each could only spoil the next.
async fn faults(gate: &str, cases: &[Case]) -> Vec<String> {
    let started = Gate::start(gate).await;
    let mut wrong = Vec::new();
    let mut number = 0;
    for case in cases.iter().filter(|case| case.gate == gate) {
        let ways: &[Pieces] = match case.wire {
            Wire::Http1 => &[Pieces::Whole, Pieces::Bytes],
            Wire::Http2 => &[Pieces::Whole],
        };
        for pieces in ways {
            number += 1;
            let fault = fault(case, &started, *pieces, number).await;
            wrong.extend(fault.map(|fault| format!("{fault}  in {pieces:?}")));
        }
    }
    assert!(number > 0, "no case stands in front of {gate}");
    // Nothing comes late.
    let late = started.recorder.take();
    let late = late.iter().filter(|heard| heard.is_whole);
    wrong.extend(late.map(|heard| format!("late: {}", check::show(heard))));
    wrong
}

/// Sends all cases of one protocol.
async fn check(wire: Wire) {
    let cases = all(wire);
    let gates: BTreeSet<_> = cases.iter().map(|case| case.gate.clone()).collect();
    let mut wrong = Vec::new();
    for gate in &gates {
        wrong.extend(faults(gate, &cases).await);
    }
    let count = wrong.len();
    assert_eq!(count, 0, "{}\n{count} cases are wrong", wrong.concat());
}

#[tokio::test]
async fn every_hostile_request_over_http1_comes_to_what_its_case_says() {
    check(Wire::Http1).await;
}

#[tokio::test]
async fn every_hostile_request_over_http2_comes_to_what_its_case_says() {
    check(Wire::Http2).await;
}

/// The names of all cases.
pub(crate) fn names() -> BTreeSet<String> {
    everything().into_iter().map(|case| case.name).collect()
}

fn everything() -> Vec<Case> {
    [all(Wire::Http1), all(Wire::Http2)].concat()
}

#[test]
fn every_case_has_a_name_of_its_own_and_a_reason() {
    let cases = everything();
    let mut names = BTreeSet::new();
    for case in &cases {
        assert!(names.insert(&case.name), "{} is there twice", case.name);
        assert!(case.why.len() > 3, "{} has no reason", case.name);
        // Both are read to their ends.
        drop((case.outcomes(), case.reached()));
    }
    assert!(cases.len() >= LEAST, "{} cases", cases.len());
}

#[test]
fn no_two_cases_send_the_same() {
    let cases = everything();
    let mut sent = BTreeMap::new();
    for case in &cases {
        let what = (case.wire, &case.gate, &case.sent, &case.app_says, case.ends);
        let other = sent.insert(format!("{what:?}"), &case.name);
        assert_eq!(other, None, "the same as {}", case.name);
    }
}

#[test]
fn the_table_of_classes_in_the_security_policy_is_that_of_the_cases() {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for case in everything() {
        let count = counts.entry(case.class).or_default();
        match case.wire {
            Wire::Http1 => count.0 += 1,
            Wire::Http2 => count.1 += 1,
        }
    }
    let mut rows: Vec<_> = counts
        .iter()
        .map(|(class, (one, two))| format!("| {class} | {one} | {two} |"))
        .collect();
    let (one, two) = counts
        .values()
        .fold((0, 0), |all, count| (all.0 + count.0, all.1 + count.1));
    rows.push(format!("| all | {one} | {two} |"));
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/SECURITY.md")).unwrap();
    let (_, table) = text
        .split_once("| class | HTTP/1 | HTTP/2 |")
        .expect("no table");
    let table = table.split("\n\n").next().unwrap();
    let documented: Vec<_> = table
        .lines()
        .skip(2)
        .map(|row| row.split('|').take(4).collect::<Vec<_>>().join("|") + "|")
        .collect();
    assert_eq!(documented, rows);
}

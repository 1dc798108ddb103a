//! What many sessions and many gates cost: every table of docs/scale.md is worked out here, by a real
//! Redis or by a simulation, and the page must have the same.

mod limits;
mod measured;
mod page;
mod simulation;

use crate::scale::limits::{MESSAGE_BYTES, SESSION_BYTES};
use crate::scale::measured::{Done, Measured};
use crate::scale::page::{Table, check, is_writing, rounded};
use crate::scale::simulation::{Activity, Routing, Scenario};

/// How far apart two measurements may be: other versions of Redis lay things out in another way.
const TOLERANCE: f64 = 0.15;

/// The same where what gates at rest do each second is counted with it, the more the slower it goes.
const BUSY_TOLERANCE: f64 = 0.3;

/// Users whose keys are measured, and users whose sessions are.
const FEW: u32 = 50;
const MANY: u32 = 10_000;

/// Bytes of a session in the memory of a gate, without and with a unionid: `tests/bench/sessions`.
const COPY_BYTES: [f64; 2] = [280.0, 380.0];

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// The keys of a user, by the letter in their names.
const KEYS: [(&str, &str); 3] = [
    ("the session", "s"),
    ("the user's index of sessions", "u"),
    ("the user's session_key", "k"),
];

#[tokio::test]
async fn keys_take_the_memory_that_the_page_says() {
    let usage = async |unionid| {
        let mut measured = Measured::start(1).await;
        measured.log_in(FEW, unionid).await;
        KEYS.map(|(_, kind)| measured.usage(kind))
    };
    let [without, with] = [usage(false).await, usage(true).await];
    let mut table = Table::new(&["key", "without unionid", "with unionid"]);
    for (((title, _), without), with) in KEYS.iter().zip(without).zip(with) {
        let cells = [without, with].map(|bytes| format!("{bytes:.0} B"));
        table.row(&[&[(*title).to_owned()][..], &cells].concat());
    }
    check("keys", &table, TOLERANCE);
    // What the tables of Redis take for three keys comes on top.
    let all: f64 = with.iter().sum();
    assert!((all..all * 1.4).contains(&SESSION_BYTES), "{all}");
    if is_writing() {
        write_memory().await;
    }
}

/// Bytes in Redis of a user with one session, and of a second one.
async fn in_redis(unionid: bool) -> [f64; 2] {
    let mut measured = Measured::start(1).await;
    let empty = measured.memory();
    let all = measured.log_in(MANY, unionid).await;
    let once = (measured.memory() - empty) / f64::from(MANY);
    measured.log_in_again(&all).await;
    let twice = (measured.memory() - empty) / f64::from(MANY);
    [once, twice - once]
}

/// Takes minutes, so it is written and not compared.
async fn write_memory() {
    let [without, second_without] = in_redis(false).await;
    let [with, second_with] = in_redis(true).await;
    let [copy_without, copy_with] = COPY_BYTES;
    let mut table = Table::new(&["", "without unionid", "with unionid", "in a GiB"]);
    for (title, without, with) in [
        ("Redis: a user with one session", without, with),
        (
            "Redis: each further session of that user",
            second_without,
            second_with,
        ),
        (
            "a gate: a session, or a copy of one",
            copy_without,
            copy_with,
        ),
    ] {
        let bytes = |bytes: f64| format!("{:.0} B", (bytes / 10.0).round() * 10.0);
        let fit = format!("{:.1} million", GIB / with / 1e6);
        table.row(&[title.to_owned(), bytes(without), bytes(with), fit]);
    }
    check("memory", &table, TOLERANCE);
}

/// What each of the things that a gate asks for costs Redis.
async fn operations(gates: usize, users: u32) -> Vec<(&'static str, Done)> {
    let mut measured = Measured::start(gates).await;
    measured.log_in(1, true).await;
    let mut all = Vec::new();
    let each_of = usize::try_from(users).unwrap();
    let before = measured.done();
    let people = measured.log_in(users, true).await;
    all.push(("login, the session", measured.since(&before, each_of)));
    let before = measured.done();
    measured.redeem(each_of).await;
    all.push(("login, the code", measured.since(&before, each_of)));
    let again = measured.log_in_again(&people).await;
    let further = measured.log_in_again(&people).await;
    for title in [
        "request, fresh copy",
        "request, first sight",
        "decrypt",
        "logout",
        "logout everywhere",
    ] {
        let before = measured.done();
        match title {
            "request, fresh copy" => measured.find(&people),
            "request, first sight" => measured.see(&people).await,
            "decrypt" => measured.keys(&people).await,
            "logout" => measured.end(&again).await,
            _ => measured.end_all(&further).await,
        }
        all.push((title, measured.since(&before, each_of)));
    }
    all
}

#[tokio::test]
async fn redis_does_what_the_page_says_and_no_more() {
    const GATES: usize = 2;
    let all = operations(GATES, 200).await;
    let mut table = Table::new(&["", "Redis runs", "bytes to it", "from it"]);
    // What is asked to measure is there too.
    let bytes = |bytes: f64| {
        let counts = (bytes >= 60.0).then(|| rounded(bytes));
        counts.unwrap_or_else(|| "few".to_owned())
    };
    for (title, done) in &all {
        let (title, commands) = ((*title).to_owned(), done.commands());
        table.row(&[title, commands, bytes(done.received), bytes(done.sent)]);
    }
    check("operations", &table, BUSY_TOLERANCE);
    if is_writing() {
        write_time().await;
    }
}

#[tokio::test]
async fn an_ending_costs_one_message_to_each_gate() {
    let logout = |all: Vec<(&str, Done)>| {
        let (_, done) = all
            .into_iter()
            .find(|(title, _)| *title == "logout")
            .unwrap();
        done.sent
    };
    let [few, many] = [operations(1, 100).await, operations(5, 100).await].map(logout);
    let message = (many - few) / 4.0;
    // The gates are looked at each second meanwhile, which comes on top.
    assert!(
        (MESSAGE_BYTES * 0.95..MESSAGE_BYTES * 1.15).contains(&message),
        "{message}"
    );
}

/// `local_cache_ttl` of the columns, in seconds.
const TTLS: [(&str, f64); 4] = [
    ("1 s", 1.0),
    ("10 s", 10.0),
    ("1 min", 60.0),
    ("5 min", 300.0),
];

const ROUTINGS: [(&str, Routing, &[u32]); 3] = [
    (
        "any gate for each request",
        Routing::Request,
        &[3, 10, 100, 1000],
    ),
    ("one gate for each visit", Routing::Visit, &[10, 1000]),
    ("one gate for each user", Routing::User, &[1000]),
];

#[test]
fn redis_is_asked_as_often_as_the_page_says() {
    let heads = TTLS.map(|(name, _)| name);
    let mut table = Table::new(&[&["routing", "gates"][..], &heads].concat());
    for (title, routing, gates) in ROUTINGS {
        for &gates in gates {
            let asked = TTLS.map(|(_, ttl)| {
                let outcome = Scenario::usual(gates, routing, Activity::Zipf, ttl).run();
                format!("{:.0}%", outcome.looks() * 100.0)
            });
            let row = [title.to_owned(), gates.to_string()];
            table.row(&[&row[..], &asked].concat());
        }
    }
    check("looks", &table, 0.0);
}

#[test]
fn gates_know_what_the_page_says() {
    let mut table = Table::new(&[
        "routing",
        "gates",
        "users come",
        "GETs a second",
        "copies in a gate",
        "known without Redis",
        "others with a fresh copy of an ended session",
        "believe it, if nobody tells, for",
    ]);
    let scenarios = ROUTINGS.iter().flat_map(|(title, routing, gates)| {
        let rows = gates
            .iter()
            .map(move |gates| (*title, *routing, *gates, Activity::Zipf));
        rows.filter(|(_, _, gates, _)| *gates != 3)
    });
    let uniform = ROUTINGS.map(|(title, routing, _)| (title, routing, 100, Activity::Uniform));
    for (title, routing, gates, activity) in scenarios.chain(uniform) {
        let outcome = Scenario::usual(gates, routing, activity, 10.0).run();
        let copies = outcome.copies_of_a_million(gates);
        let mib = copies * COPY_BYTES[1] / 1024.0 / 1024.0;
        table.row(&[
            title.to_owned(),
            gates.to_string(),
            match activity {
                Activity::Zipf => "unevenly".to_owned(),
                Activity::Uniform => "evenly".to_owned(),
            },
            rounded(outcome.requests_of_a_million() * outcome.looks()),
            format!("{} ({mib:.0} MiB)", rounded(copies)),
            format!("{:.0}%", outcome.known() * 100.0),
            format!("{:.2}", outcome.believers()),
            format!("{:.1} s", outcome.window()),
        ]);
    }
    check("gates", &table, 0.0);
}

#[test]
fn many_gates_and_sessions_come_to_what_the_page_says() {
    check("limits", &limits::limits(), 0.0);
}

#[test]
fn keys_spread_over_a_cluster_as_the_page_says() {
    check("spread", &limits::spread(), 0.0);
}

/// Depends on the machine, so it is written and not compared.
async fn write_time() {
    let mut measured = Measured::start(2).await;
    let people = measured.log_in(2000, true).await;
    let before = measured.done();
    measured.see_at_once(&people).await;
    let look = measured.since(&before, people.len()).busy;
    let all = operations(1, 1000).await;
    let busy = |title: &str| {
        let (_, done) = all.iter().find(|(known, _)| *known == title).unwrap();
        done.busy
    };
    let mut table = Table::new(&["", "µs of Redis's processor"]);
    for (title, busy) in [
        ("first sights, many at once", look),
        ("first sight, one at a time", busy("request, first sight")),
        (
            "login",
            busy("login, the code") + busy("login, the session"),
        ),
        ("logout", busy("logout")),
    ] {
        table.row(&[title.to_owned(), format!("{busy:.0}")]);
    }
    check("time", &table, 0.0);
}

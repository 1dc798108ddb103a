//! What the gate tells Prometheus, and that no client can choose any of it.

mod requests;
mod wechat;

use std::collections::BTreeSet;
use std::fs;

use rcgen::date_time_ymd;

use crate::support::certificates::{Authority, Files};
use crate::support::process::Gate;
use crate::support::scrape::Scrape;
use crate::support::{APPID, APPID2, Setup, World};

/// The series that `docs/metrics.md` has a row for, with their kinds.
fn documented() -> BTreeSet<(String, String)> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_to_string(root.join("docs/metrics.md")).unwrap();
    let (table, _) = docs.split_once("## Values").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (name, rest) = row.split_once("` | ").unwrap();
        let kind = rest.split([';', ' ']).next().unwrap();
        (name.to_owned(), kind.to_owned())
    })
    .collect()
}

#[tokio::test]
async fn a_scrape_of_a_gate_at_rest_names_every_documented_series_and_no_other() {
    let world = World::start().await;
    let answer = world.ask_admin("GET", "/metrics").await;
    assert_eq!(answer.status, 200);
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(content_type));
    let families: BTreeSet<_> = Scrape::read(&answer.text()).families.into_iter().collect();
    assert_eq!(families, documented());
}

#[tokio::test]
async fn metrics_are_for_operators_and_for_reading() {
    let world = World::start().await;
    let head = world.ask_admin("HEAD", "/metrics").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let length: usize = head.header("content-length").unwrap().parse().unwrap();
    assert!(length > 1000);
    for method in ["POST", "DELETE"] {
        assert_eq!(world.ask_admin(method, "/metrics").await.status, 405);
    }
    // To a client it is a path like any other.
    let answer = world.get("/metrics").send().await;
    answer.is_refused(401, "session_required", "relogin");
}

#[tokio::test]
async fn a_first_login_of_each_kind_is_seen_since_its_series_was_there_before() {
    let setup = Setup {
        two_apps: true,
        ..Setup::default()
    };
    let scrape = setup.start().await.scrape().await;
    for (name, result) in [
        ("wxgate_logins_total", "ok"),
        ("wxgate_logins_total", "wechat_misconfigured"),
        ("wxgate_push_messages_total", "lost"),
    ] {
        for app in [APPID, APPID2] {
            let labels = [("appid", app), ("result", result)];
            assert_eq!(scrape.sum(name, &labels), Some(0.0), "{name}");
        }
    }
    assert_eq!(scrape.sum("wxgate_sessions", &[]), Some(0.0));
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(scrape.sum("wxgate_build_info", &version), Some(1.0));
    // What is not known is not made up.
    let unknown = [
        "wxgate_access_token_age_seconds",
        "wxgate_wechat_clock_skew_seconds",
        "wxgate_tls_certificate_expiry_timestamp_seconds",
    ];
    assert_eq!(unknown.map(|name| scrape.sum(name, &[])), [None; 3]);
}

#[tokio::test]
async fn no_secret_is_in_a_scrape() {
    let gate = Gate::start(Setup::default()).await;
    let token = gate.login("alice").await;
    let asked = gate.get("/me?secret=query").bearer(&token).send().await;
    assert_eq!(asked.status, 200);
    let text = gate.ask_admin("/metrics").await.text();
    Scrape::read(&text);
    for secret in [&token[4..], "secret", "alice", "/me", "127.0.0.1"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn the_end_of_the_certificate_in_use_is_told() {
    let files = Files::new();
    let world = Setup::with(&files.table()).start().await;
    let expiry = async || {
        let name = "wxgate_tls_certificate_expiry_timestamp_seconds";
        let scrape = world.scrape().await;
        scrape.sum(name, &[("listener", "server")])
    };
    // What rcgen makes unless it is told otherwise ends with the year 4095.
    assert!(expiry().await > Some(4e9));
    let ends = Authority::new().vouch_for(|params| {
        params.not_after = date_time_ymd(2040, 1, 1);
    });
    ends.write(files.path("").as_path());
    world.gate.look_at_certificates();
    assert_eq!(expiry().await, Some(2_208_988_800.0));
}

//! What is counted of logins, and of what WeChat is asked and says.

use std::time::Duration;

use serde_json::json;
use wxgate::sim::wechat::{Api, Misbehaviour};

use crate::support::app::until;
use crate::support::raw::Request;
use crate::support::{APPID, SECRET2, Setup, World};

const LOGINS: &str = "wxgate_logins_total";
const REQUESTS: &str = "wxgate_wechat_requests_total";
const SEND: &str = "/cgi-bin/message/subscribe/send";

async fn logins(world: &World, result: &str, count: f64) {
    let labels = [("appid", APPID), ("result", result)];
    world.counts(LOGINS, &labels, count).await;
}

/// What WeChat said, and how often.
async fn said(world: &World, api: &str, errcode: &str, count: f64) {
    let labels = [("api", api), ("errcode", errcode)];
    world.counts(REQUESTS, &labels, count).await;
}

#[tokio::test]
async fn a_login_counts_by_the_problem_that_the_client_is_told_of() {
    let world = World::start().await;
    world.login("alice").await;
    logins(&world, "ok", 1.0).await;
    for (errcode, counted) in [
        (40_029, "40029"),
        (40_163, "40163"),
        (45_011, "45011"),
        (40_226, "40226"),
        (12_345, "other"),
        (40_125, "40125"),
    ] {
        world.wechat.misbehave(1, Misbehaviour::Errcode(errcode));
        let answer = world.redeem(&world.code("alice")).await;
        logins(&world, &answer.problem(), 1.0).await;
        said(&world, "/sns/jscode2session", counted, 1.0).await;
    }
    world.counts(LOGINS, &[], 7.0).await;
    world.counts(REQUESTS, &[], 7.0).await;
    let code = world.redeem("").await;
    code.is_refused(400, "bad_request", "fix");
    world.counts(LOGINS, &[], 7.0).await;
}

#[tokio::test]
async fn a_login_whose_client_does_not_wait_is_counted_as_well() {
    let world = World::start().await;
    let slow = Misbehaviour::Delay(Duration::from_hours(1));
    world.wechat.misbehave(1, slow);
    let body = json!({ "code": world.code("alice") });
    let request = world.post("/wx/login").json(&body);
    let connection = request.begin().await;
    until("WeChat is asked", || world.wechat.calls() > 0).await;
    drop(connection);
    logins(&world, "cancelled", 1.0).await;
}

#[tokio::test]
async fn logins_beyond_a_limit_count_without_a_call_to_wechat() {
    let world = Setup::with("[limits]\nlogins_per_app = \"1/1m\"\n")
        .start()
        .await;
    world.login("alice").await;
    let answer = world.redeem(&world.code("bob")).await;
    answer.is_refused(429, "rate_limited", "retry");
    logins(&world, "rate_limited", 1.0).await;
    world.counts(REQUESTS, &[], 1.0).await;
}

#[tokio::test]
async fn a_login_that_the_app_server_refuses_counts_so_and_asking_it_counts_too() {
    let world = Setup::with("[login]\nhook = \"/hook/refuses\"\n")
        .start()
        .await;
    let answer = world.redeem(&world.code("alice")).await;
    answer.is_refused(403, "login_refused", "none");
    logins(&world, "login_refused", 1.0).await;
    let asked = [
        ("server_address", "upstream"),
        ("http_request_method", "POST"),
        ("http_response_status_code", "403"),
    ];
    let name = "http_client_request_duration_seconds_count";
    world.counts(name, &asked, 1.0).await;
}

#[tokio::test]
async fn every_attempt_that_wechat_does_not_answer_well_counts_by_what_is_wrong() {
    let setup = Setup {
        wechat: "timeout = \"300ms\"\nconnect_timeout = \"300ms\"".to_owned(),
        ..Setup::default()
    };
    let world = setup.start().await;
    let api = "/sns/jscode2session";
    for (how, named, count) in [
        (Misbehaviour::Garbage, "malformed", 1.0),
        (
            Misbehaviour::Status(http::StatusCode::NOT_FOUND),
            "http_status",
            1.0,
        ),
        // In both of its attempts.
        (
            Misbehaviour::Status(http::StatusCode::BAD_GATEWAY),
            "http_status",
            3.0,
        ),
        (Misbehaviour::Reset, "interrupted", 1.0),
        (Misbehaviour::Delay(Duration::from_mins(1)), "timeout", 1.0),
    ] {
        world.wechat.behave();
        world.wechat.misbehave(u32::MAX, how);
        world.redeem(&world.code("alice")).await;
        said(&world, api, named, count).await;
    }
    let took = |status, error| {
        [
            ("server_address", "wechat"),
            ("http_request_method", "GET"),
            ("http_response_status_code", status),
            ("error_type", error),
        ]
    };
    let name = "http_client_request_duration_seconds_count";
    world.counts(name, &took("502", ""), 2.0).await;
    world.counts(name, &took("", "timeout"), 1.0).await;
    let setup = Setup {
        wechat_url: Some("http://127.0.0.1:1".to_owned()),
        ..Setup::default()
    };
    let world = setup.start().await;
    world.redeem(&world.code("alice")).await;
    said(&world, api, "unreachable", 2.0).await;
}

#[tokio::test]
async fn calls_of_the_app_server_count_by_api_and_errcode_and_the_token_grows_old() {
    let world = Setup::with("[egress]\nlisten = \"127.0.0.1:0\"\n")
        .start()
        .await;
    let call = async |path: &str| {
        let request = Request::new(world.gate.egress.unwrap(), "POST", path);
        let request = request.header("Host", "127.0.0.1:4181");
        request.json(&json!({"touser": "x"})).send().await.status
    };
    assert_eq!(call(SEND).await, 200);
    said(&world, "/cgi-bin/stable_token", "0", 1.0).await;
    let first = world.scrape().await;
    let first = first.sum(REQUESTS, &[("api", SEND)]).unwrap();
    assert!(first > 0.0);
    for (errcode, counted) in [(45_009, "45009"), (43_101, "other")] {
        let api = Api::ALL.into_iter().find(|api| api.path() == SEND).unwrap();
        world
            .wechat
            .misbehave_at(api, 1, Misbehaviour::Errcode(errcode));
        assert_eq!(call(SEND).await, 200);
        said(&world, SEND, counted, 1.0).await;
    }
    // What may not pass is no call, and its path no label.
    assert_eq!(call("/cgi-bin/made/up").await, 403);
    let apis = world.scrape().await.values("api");
    let known = ["/cgi-bin/stable_token", SEND].map(str::to_owned);
    assert_eq!(apis, known.into());
    world.clock.advance(Duration::from_secs(100));
    let name = "wxgate_access_token_age_seconds";
    world.counts(name, &[("appid", APPID)], 100.0).await;
    let scrape = world.scrape().await;
    assert!(
        scrape
            .sum("wxgate_wechat_clock_skew_seconds", &[])
            .is_some()
    );
}

#[tokio::test]
async fn a_wrong_secret_shows_in_every_count_and_is_in_none_of_them() {
    let setup = Setup {
        secret: format!("secret = \"{SECRET2}\""),
        ..Setup::default()
    };
    let world = setup.start().await;
    world.redeem(&world.code("alice")).await;
    logins(&world, "wechat_misconfigured", 1.0).await;
    said(&world, "/sns/jscode2session", "40125", 1.0).await;
    let text = world.ask_admin("GET", "/metrics").await.text();
    assert!(!text.contains(SECRET2));
}

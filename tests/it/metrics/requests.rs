//! What is counted of clients' requests, and of what the gate does about them.

use std::time::Duration;

use serde_json::{Value, json};
use wxgate::sim::wechat::Wanted;

use crate::support::app::until;
use crate::support::raw::{Connection, Request};
use crate::support::{APPID, Setup, World, appid, person};

const SERVED: &str = "http_server_request_duration_seconds_count";
const ASKED: &str = "http_client_request_duration_seconds_count";

const RULES: &str = "[[access.rules]]\npath = \"/items/**\"\nmethods = [\"GET\"]\nrequire = \"public\"\n\
    [[access.rules]]\npath = \"/items/**\"\nrequire = \"public\"\n\
    [[access.rules]]\npath = \"/**\"\nmethods = [\"PUT\"]\nrequire = \"public\"\n";

fn served<'a>(method: &'a str, status: &'a str, route: &'a str) -> [(&'static str, &'a str); 3] {
    [
        ("http_request_method", method),
        ("http_response_status_code", status),
        ("http_route", route),
    ]
}

/// A request to the app server.
fn asked<'a>(method: &'a str, status: &'a str, error: &'a str) -> [(&'static str, &'a str); 4] {
    [
        ("http_request_method", method),
        ("http_response_status_code", status),
        ("error_type", error),
        ("server_address", "upstream"),
    ]
}

#[tokio::test]
async fn a_request_counts_under_its_rule_its_method_and_its_status() {
    let world = Setup::with(RULES).start().await;
    let token = world.login("alice").await;
    for (method, target) in [
        ("GET", "/items/1"),
        ("GET", "/items/2?x=1"),
        ("POST", "/items/1"),
        ("GET", "/hook/refuses"),
        ("GET", "/wx/session"),
        ("GET", "/x/%2e%2e/items"),
    ] {
        let request = world.request(method, target).bearer(&token);
        request.send().await;
    }
    world.get("/elsewhere").send().await;
    for (method, status, route, count) in [
        ("GET", "200", "/items/**", 2.0),
        ("POST", "200", "/items/**", 1.0),
        ("GET", "403", "default", 1.0),
        ("GET", "401", "default", 1.0),
        ("GET", "200", "session", 1.0),
        ("POST", "200", "login", 1.0),
        ("GET", "400", "none", 1.0),
    ] {
        world
            .counts(SERVED, &served(method, status, route), count)
            .await;
    }
    world.counts(SERVED, &[], 8.0).await;
    for (method, status, count) in [
        ("GET", "200", 2.0),
        ("POST", "200", 1.0),
        ("GET", "403", 1.0),
    ] {
        world.counts(ASKED, &asked(method, status, ""), count).await;
    }
    world
        .counts(ASKED, &[("server_address", "upstream")], 4.0)
        .await;
}

#[tokio::test]
async fn no_path_method_or_header_of_a_client_becomes_a_series() {
    let world = Setup::with(RULES).start().await;
    let send = async |number: usize| {
        let method = format!("BREW{number}");
        let target = format!("/items/p{number}?q{number}");
        let request = world.request(&method, &target);
        let token = format!("wxg_{number:0>43}");
        let referer = "https://servicewechat.com/wx9999999999999999/1/page-frame.html";
        let request = request.bearer(&token).header("Referer", referer);
        assert_eq!(request.send().await.status, 200);
        let target = format!("/p{number}/");
        world.get(&target).bearer(&token).send().await;
        let login = world.post("/wx/login").header("Referer", referer);
        login.json(&json!({"code": target})).send().await;
        let push = world.post(&format!("/wx/push/wx{number:0>16}"));
        push.body("<xml/>").send().await;
    };
    send(0).await;
    world.counts(SERVED, &[], 4.0).await;
    let before = world.scrape().await;
    for number in 1..30 {
        send(number).await;
    }
    world.counts(SERVED, &[], 120.0).await;
    let after = world.scrape().await;
    assert_eq!(after.len(), before.len());
    let brewed = served("_OTHER", "200", "/items/**");
    assert_eq!(after.sum(SERVED, &brewed), Some(30.0));
    assert_eq!(after.values("appid"), [APPID.to_owned()].into());
    let methods = ["GET", "POST", "_OTHER"].map(str::to_owned);
    assert_eq!(after.values("http_request_method"), methods.into());
    let routes = ["/items/**", "default", "login"].map(str::to_owned);
    assert_eq!(after.values("http_route"), routes.into());
}

#[tokio::test]
async fn what_is_no_http_is_counted_as_well() {
    let world = Setup::default().start().await;
    for head in ["hello\r\n\r\n", "GET /a#b HTTP/1.1\r\nHost: g\r\n\r\n"] {
        let mut connection = Connection::open(world.address()).await;
        connection.write(head.as_bytes()).await;
        assert_eq!(connection.answer().await.status, 400);
    }
    world.counts("wxgate_not_http_total", &[], 2.0).await;
}

#[tokio::test]
async fn an_app_server_that_does_not_answer_counts_by_what_is_wrong_with_it() {
    let setup = Setup {
        upstream: "response_timeout = \"100ms\"".to_owned(),
        ..Setup::with("[access]\ndefault = \"public\"\n")
    };
    let world = setup.start().await;
    for (target, status, error) in [
        ("/garbage", "502", "interrupted"),
        ("/slow", "504", "timeout"),
    ] {
        world.get(target).send().await;
        world
            .counts(SERVED, &served("GET", status, "default"), 1.0)
            .await;
        world.counts(ASKED, &asked("GET", "", error), 1.0).await;
    }
    let setup = Setup {
        upstream_url: Some("http://127.0.0.1:1".to_owned()),
        ..Setup::with("[access]\ndefault = \"public\"\n")
    };
    let world = setup.start().await;
    world.get("/").send().await;
    world
        .counts(ASKED, &asked("GET", "", "unreachable"), 1.0)
        .await;
}

#[tokio::test]
async fn an_app_server_is_called_as_its_table_is() {
    let other = "[upstreams.other]\nurl = \"http://127.0.0.1:1\"\n\
        [[access.rules]]\npath = \"/o\"\nrequire = \"public\"\nupstream = \"other\"\n";
    let world = Setup::with(other).start().await;
    world.get("/o").send().await;
    let labels = [
        ("server_address", "upstreams.other"),
        ("error_type", "unreachable"),
    ];
    world.counts(ASKED, &labels, 1.0).await;
    world.counts(ASKED, &[], 1.0).await;
}

#[tokio::test]
async fn a_client_that_goes_before_there_is_an_answer_counts_without_a_status() {
    let world = Setup::with("[access]\ndefault = \"public\"\n")
        .start()
        .await;
    let connection = world.get("/slow").begin().await;
    until("the app server has it", || world.app.count() == 1).await;
    drop(connection);
    world
        .counts(SERVED, &served("GET", "0", "default"), 1.0)
        .await;
    world
        .counts(ASKED, &asked("GET", "", "cancelled"), 1.0)
        .await;
}

#[tokio::test]
async fn a_websocket_counts_once_and_when_it_is_over() {
    let world = Setup::with("[access]\ndefault = \"public\"\n")
        .start()
        .await;
    let upgrade = |request: Request| {
        request
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    let mut connection = upgrade(world.get("/socket")).begin().await;
    let (status, _) = connection.head().await.unwrap();
    assert_eq!(status, 101);
    world.counts(ASKED, &asked("GET", "101", ""), 1.0).await;
    assert_eq!(world.scrape().await.sum(SERVED, &[]), None);
    drop(connection);
    world
        .counts(SERVED, &served("GET", "101", "default"), 1.0)
        .await;
    world.counts(SERVED, &[], 1.0).await;
}

#[tokio::test]
async fn forged_identity_counts_by_the_header_in_every_spelling() {
    let world = Setup::with(RULES).start().await;
    let name = "wxgate_headers_stripped_total";
    world.get("/items/1").header("X-Other", "1").send().await;
    world.counts(SERVED, &[], 1.0).await;
    assert_eq!(world.scrape().await.sum(name, &[]), Some(0.0));
    let forged = world.get("/items/1").header("X-WX-OPENID", "o-forged");
    forged.header("x_wx_openid", "o-forged").send().await;
    world.counts(name, &[], 2.0).await;
}

#[tokio::test]
async fn tokens_that_no_session_is_kept_for_are_counted_and_malformed_ones_are_not() {
    let world = World::start().await;
    let name = "wxgate_sessions_unknown_total";
    let token = world.login("alice").await;
    assert_eq!(world.get("/").bearer(&token).send().await.status, 200);
    for none in ["wxg_short", "theirs"] {
        world.get("/").bearer(none).send().await;
    }
    assert_eq!(world.scrape().await.sum(name, &[]), Some(0.0));
    let unknown = format!("wxg_{}", "A".repeat(43));
    world.get("/").bearer(&unknown).send().await;
    world.counts(name, &[], 1.0).await;
    world.post("/wx/logout").bearer(&token).send().await;
    world.get("/").bearer(&token).send().await;
    world.counts(name, &[], 2.0).await;
}

#[tokio::test]
async fn sessions_are_counted_as_they_come_and_go_and_those_without_room_apart() {
    let world = Setup::with("[store]\nmax_sessions = 2\n").start().await;
    let check = async |sessions, evicted| {
        world
            .counts("wxgate_sessions", &[("appid", APPID)], sessions)
            .await;
        world
            .counts("wxgate_sessions_evicted_total", &[], evicted)
            .await;
    };
    world.login("alice").await;
    let token = world.login("bob").await;
    check(2.0, 0.0).await;
    world.login("carol").await;
    check(2.0, 1.0).await;
    let ended = world.post("/wx/logout").bearer(&token).send().await;
    // Whichever of the two went, one session is left, or two.
    let left = if ended.status == 204 { 1.0 } else { 2.0 };
    check(left, 1.0).await;
}

#[tokio::test]
async fn what_is_decrypted_counts_by_the_key_that_opened_it() {
    let world = Setup::with("[limits]\ndecrypt_failures_per_session = \"2/1m\"\n")
        .start()
        .await;
    let token = world.login("alice").await;
    let app = appid(APPID);
    let sealed = || {
        world
            .wechat
            .user_data(&app, &person("alice"), Wanted::default())
            .to_json()
    };
    let decrypt = async |token: &str, body: &Value| {
        world
            .post("/wx/decrypt")
            .bearer(token)
            .json(body)
            .send()
            .await
            .status
    };
    let old = sealed();
    assert_eq!(decrypt(&token, &old).await, 200);
    world.wechat.rotate(&app, &person("alice"));
    world.clock.advance(Duration::from_secs(1));
    let token = world.login("alice").await;
    assert_eq!(decrypt(&token, &sealed()).await, 200);
    assert_eq!(decrypt(&token, &old).await, 200);
    for status in [422, 422, 429] {
        let bad = json!({"encryptedData": "AAAA", "iv": "AAAA"});
        assert_eq!(decrypt(&token, &bad).await, status);
    }
    for (result, key_age, count) in [
        ("ok", "current", 2.0),
        ("ok", "replaced", 1.0),
        ("failed", "none", 2.0),
        ("rate_limited", "none", 1.0),
    ] {
        let labels = [("result", result), ("key_age", key_age)];
        world.counts("wxgate_decrypts_total", &labels, count).await;
    }
}

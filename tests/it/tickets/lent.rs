//! Who gets a ticket, and for what.

use serde_json::json;

use crate::support::{Setup, World};
use crate::tickets::world;

#[tokio::test]
async fn nobody_gets_a_ticket_without_a_token() {
    let world = world().await;
    let token = world.login("alice").await;
    let ticket = world.ticket(&token, "/**").await;
    let body = json!({ "path": "/files/**" });
    let answer = world.post("/wx/ticket").json(&body).send().await;
    answer.is_refused(401, "session_required", "relogin");
    // Not by another ticket either: it would go on for ever.
    let by_ticket = world.post(&format!("/wx/ticket?wx_ticket={ticket}"));
    let answer = by_ticket.json(&body).send().await;
    answer.is_refused(401, "session_required", "relogin");
    let ended = world.request("DELETE", "/wx/session").bearer(&token);
    assert_eq!(ended.send().await.status, 204);
    let answer = world.lend(&token, "/files/**").await;
    answer.is_refused(401, "session_expired", "relogin");
}

#[tokio::test]
async fn a_page_of_another_site_gets_no_ticket_by_a_cookie() {
    let world = world().await;
    let token = world.login("alice").await;
    let ask = || {
        let request = world.post("/wx/ticket").json(&json!({ "path": "/**" }));
        request.header("Cookie", &format!("sid={token}"))
    };
    for request in [
        ask(),
        ask().header("Sec-Fetch-Site", "cross-site"),
        ask().header("Origin", "https://evil.example"),
    ] {
        let answer = request.send().await;
        answer.is_refused(403, "cross_site", "fix");
    }
    let own = ask().header("Sec-Fetch-Site", "same-origin");
    assert_eq!(own.send().await.status, 200);
}

#[tokio::test]
async fn a_ticket_is_for_a_pattern_that_has_one_reading() {
    let world = world().await;
    let token = world.login("alice").await;
    let too_long = format!("/{}", "a".repeat(256));
    for path in [
        "",
        "files",
        "*",
        "/a*",
        "/a/**/b",
        "/a/../b",
        "/a//b",
        "/%61",
        "/a;b",
        "/a?b",
        "/a#b",
        "/a b",
        "/文件",
        "https://gate.example/a",
        &too_long,
    ] {
        let answer = world.lend(&token, path).await;
        answer.is_refused(400, "bad_request", "fix");
    }
    for body in [
        "{}",
        "{\"path\":1}",
        "{\"path\":[\"/a\"]}",
        "[]",
        "null",
        "/a",
        "",
    ] {
        let request = world.post("/wx/ticket").bearer(&token).body(body);
        let answer = request.send().await;
        answer.is_refused(400, "bad_request", "fix");
    }
    let large = world
        .post("/wx/ticket")
        .bearer(&token)
        .body("x".repeat(4097));
    large.send().await.is_refused(413, "body_too_large", "fix");
    let answer = world.get("/wx/ticket").bearer(&token).send().await;
    answer.is_refused(405, "method_not_allowed", "fix");
}

#[tokio::test]
async fn a_ticket_is_told_with_its_minute_and_kept_by_nobody() {
    let world = world().await;
    let token = world.login("alice").await;
    let answer = world.lend(&token, "/files/**").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["expires_in"], 60);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let ticket = answer.json()["ticket"].as_str().unwrap().to_owned();
    assert!(
        ticket.starts_with("wxg_t-") && ticket.len() < 256,
        "{ticket}"
    );
    let form = world.post("/wx/ticket").bearer(&token);
    let form = form.header("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(form.body("path=%2Ffiles%2F**").send().await.status, 200);
}

#[tokio::test]
async fn where_there_are_no_tickets_nothing_is_one() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let answer = world.lend(&token, "/files/**").await;
    assert_eq!(
        answer.text(),
        "POST /wx/ticket 20 bytes",
        "the app server's own"
    );
    let target = "/me?wx_ticket=wxg_t-AAAA&a=1";
    assert_eq!(world.get(target).bearer(&token).send().await.status, 200);
    assert_eq!(world.app.last().target, target);
}

#[tokio::test]
async fn a_ticket_is_put_into_the_envelope_of_all_answers() {
    let envelope = "[errors]\nenvelope = \"code-msg-data\"\n[paths]\nticket = \"/wx/ticket\"\n";
    let world = Setup::with(envelope).start().await;
    let answer = world.redeem(&world.code("alice")).await;
    let token = answer.json()["data"]["token"].as_str().unwrap().to_owned();
    let answer = world.lend(&token, "/files/**").await;
    assert_eq!(answer.json()["code"], 0);
    assert_eq!(answer.json()["data"]["expires_in"], 60);
}

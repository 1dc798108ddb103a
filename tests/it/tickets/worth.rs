//! What a ticket is worth: one pattern of paths, for a minute, by GET, for as long as its session lives.

use std::time::Duration;

use crate::support::World;
use crate::support::app::until;
use crate::tickets::{TICKETS, handshake, world};

fn shown(target: &str, ticket: &str) -> String {
    let sign = if target.contains('?') { '&' } else { '?' };
    format!("{target}{sign}wx_ticket={ticket}")
}

async fn refused(world: &World, target: &str, ticket: &str) {
    let answer = world.get(&shown(target, ticket)).send().await;
    assert_eq!(answer.status, 401, "{target} {answer:?}");
    answer.is_refused(401, "session_expired", "relogin");
}

#[tokio::test]
async fn a_ticket_opens_no_path_outside_of_its_pattern_however_it_is_written() {
    let world = world().await;
    let token = world.login("alice").await;
    let ticket = world.ticket(&token, "/files/**").await;
    for target in [
        "/",
        "/me",
        "/filesx",
        "/FILES/a",
        "/files/../me",
        "/files/%2e%2e/me",
        "/files/%252e%252e/me",
        "/files/..%2fme",
        "/files/..;/me",
        "/files/..%5cme",
        "//files/a",
        "/x/../files/a",
        "/%66iles/a",
        "/me?x=/files/a",
    ] {
        refused(&world, target, &ticket).await;
    }
    // Nor one of the gate's own routes, whatever it is for.
    let everything = world.ticket(&token, "/**").await;
    for ticket in [&ticket, &everything] {
        let answer = world.get(&shown("/wx/session", ticket)).send().await;
        answer.is_refused(401, "session_required", "relogin");
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn a_ticket_does_nothing_but_read() {
    let world = world().await;
    let token = world.login("alice").await;
    let ticket = world.ticket(&token, "/files/**").await;
    let target = shown("/files/a", &ticket);
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get"] {
        let answer = world.request(method, &target).send().await;
        assert_eq!(answer.status, 401, "{method}");
        answer.is_refused(401, "session_required", "relogin");
    }
    for name in [
        "X-HTTP-Method-Override",
        "X_HTTP_Method",
        "x-method-override",
    ] {
        let answer = world.get(&target).header(name, "DELETE").send().await;
        answer.is_refused(401, "session_required", "relogin");
    }
    assert_eq!(world.app.count(), 0);
    // Where no session is needed it is nobody's request; and the ticket goes no further.
    let target = shown("/files/optional/a", &ticket);
    assert_eq!(world.post(&target).body("x").send().await.status, 200);
    let seen = world.app.last();
    assert_eq!(seen.target, "/files/optional/a");
    assert_eq!(seen.header("x-wx-openid"), [""; 0]);
}

#[tokio::test]
async fn a_ticket_that_is_changed_or_made_up_is_refused_where_nobody_needs_one_too() {
    let world = world().await;
    let token = world.login("alice").await;
    let ticket = world.ticket(&token, "/files/**").await;
    let (head, last) = ticket.split_at(ticket.len() - 1);
    let changed = format!("{head}{}", if last == "A" { "B" } else { "A" });
    for wrong in [
        "",
        "x",
        "wxg_t-",
        "wxg_t-AAAA",
        head,
        &changed,
        &token,
        &format!("{ticket}A"),
    ] {
        for target in ["/files/a", "/files/optional/a"] {
            refused(&world, target, wrong).await;
        }
    }
    let twice = shown(&shown("/files/a", &ticket), &ticket);
    let answer = world.get(&twice).send().await;
    answer.is_refused(400, "bad_request", "fix");
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn a_ticket_ends_with_its_minute_and_with_its_session() {
    let world = world().await;
    let token = world.login("alice").await;
    let ticket = world.ticket(&token, "/files/**").await;
    let target = shown("/files/a", &ticket);
    world.clock.advance(Duration::from_secs(59));
    assert_eq!(world.get(&target).send().await.status, 200);
    world.clock.advance(Duration::from_secs(1));
    refused(&world, "/files/a", &ticket).await;

    let ticket = world.ticket(&token, "/files/**").await;
    let target = shown("/files/a", &ticket);
    assert_eq!(world.get(&target).send().await.status, 200);
    let end = world.request("DELETE", "/wx/session").bearer(&token);
    assert_eq!(end.send().await.status, 204);
    refused(&world, "/files/a", &ticket).await;
}

#[tokio::test]
async fn a_ticket_of_another_gate_is_none() {
    let (one, other) = (world().await, world().await);
    let token = one.login("alice").await;
    let ticket = one.ticket(&token, "/files/**").await;
    refused(&other, "/files/a", &ticket).await;
    let target = shown("/files/a", &ticket);
    assert_eq!(one.get(&target).send().await.status, 200);
}

#[tokio::test]
async fn a_request_with_a_ticket_is_the_users_and_the_app_sees_nothing_of_the_ticket() {
    let world = world().await;
    let token = world.login("alice").await;
    let ticket = world.ticket(&token, "/files/**").await;
    for (target, left) in [
        (format!("/files/a?wx_ticket={ticket}"), "/files/a"),
        (
            format!("/files/a?x=%20+&wx_ticket={ticket}&&y"),
            "/files/a?x=%20+&&y",
        ),
        (format!("/files/a?%77x_ticket={ticket}"), "/files/a"),
        (
            format!("/files/public/a?wx_ticket={ticket}"),
            "/files/public/a",
        ),
        (format!("/files?wx_ticket={ticket}"), "/files"),
    ] {
        let request = world.get(&target);
        let request = request.header(
            "Referer",
            &format!("http://gate.example/files/p?q=1&wx_ticket={ticket}"),
        );
        let request = request
            .header("X-Original-URL", &target)
            .header("X-Forwarded-Uri", &target);
        assert_eq!(request.send().await.status, 200, "{target}");
        let seen = world.app.last();
        assert_eq!(seen.target, left);
        assert_eq!(seen.header("referer"), ["http://gate.example/files/p?q=1"]);
        assert!(!format!("{seen:?}").contains("wxg_"), "{seen:?}");
        let is_known = !seen.header("x-wx-openid").is_empty();
        assert_eq!(is_known, !left.contains("public"), "{target}");
    }
    let head = world.request("HEAD", &shown("/files/a", &ticket));
    assert_eq!(head.send().await.status, 200);
    // A socket, which lives on when the ticket does not.
    let socket = world.ticket(&token, "/socket").await;
    let mut connection = handshake(&world, &shown("/socket", &socket)).begin().await;
    assert_eq!(connection.head().await.unwrap().0, 101);
    until("the socket", || world.app.sockets() == 1).await;
    let end = world.request("DELETE", "/wx/session").bearer(&token);
    assert_eq!(end.send().await.status, 204);
    connection.closed().await;
}

#[tokio::test]
async fn what_a_trusted_proxy_tells_of_the_target_has_no_ticket_in_it() {
    let setup = crate::support::Setup {
        server: "trusted_proxies = [\"127.0.0.1\"]".to_owned(),
        ..crate::support::Setup::with(TICKETS)
    };
    let world = setup.start().await;
    let token = world.login("alice").await;
    let ticket = world.ticket(&token, "/files/**").await;
    let target = shown("/files/a?x=1", &ticket);
    let mut request = world.get(&target).header("X-Forwarded-Uri", &target);
    for name in [
        "X-Original-URL",
        "X-Original-URI",
        "X-Rewrite-URL",
        "X_Forwarded_Uri",
    ] {
        request = request.header(name, &target);
    }
    assert_eq!(request.send().await.status, 200);
    let seen = world.app.last();
    assert_eq!(seen.header("x-forwarded-uri"), ["/files/a?x=1"]);
    assert!(!format!("{seen:?}").contains("wxg_"), "{seen:?}");
}

#[tokio::test]
async fn beside_a_token_a_ticket_counts_for_nothing() {
    let world = world().await;
    let (alice, bob) = (world.login("alice").await, world.login("bob").await);
    let ticket = world.ticket(&bob, "/files/**").await;
    let unknown = format!("wxg_{}", "A".repeat(43));
    for target in [
        shown("/files/a", &ticket),
        shown("/me", &ticket),
        shown("/me", "nonsense"),
    ] {
        for request in [
            world.get(&target).bearer(&alice),
            world.get(&target).header("Cookie", &format!("sid={alice}")),
        ] {
            assert_eq!(request.send().await.status, 200);
            let seen = world.app.last();
            assert_eq!(seen.header("x-wx-openid"), [world.openid("alice")]);
            assert!(!seen.target.contains("wx_ticket"));
        }
        let answer = world.get(&target).bearer(&unknown).send().await;
        answer.is_refused(401, "session_expired", "relogin");
    }
}

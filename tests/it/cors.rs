//! `[cors]`: which pages of other origins may use the gate's own routes, and read what it refuses.

use crate::support::raw::{Answer, Request};
use crate::support::{Setup, World};

const H5: &str = "https://h5.example";

const ALLOWED: &str = "[cors]\nallowed_origins = [\"https://h5.example\", \"http://127.0.0.1:5173\"]\nmax_age = \"90s\"\n";

const COOKIE: &str = "[session]\ntoken_from = [\"authorization\", \"header:X-Session\", \"cookie:sid\"]\n[session.cookie]\nname = \"sid\"\n";

async fn world(toml: &str) -> World {
    Setup::with(&format!("{ALLOWED}{toml}")).start().await
}

fn preflight(world: &World, target: &str, origin: &str) -> Request {
    let request = world.request("OPTIONS", target).header("Origin", origin);
    request.header("Access-Control-Request-Method", "POST")
}

/// What an answer says to browsers about other origins.
fn said(answer: &Answer) -> Vec<&str> {
    let headers = answer.headers.iter();
    let of_cors = headers.filter(|(name, _)| name.starts_with("access-control-"));
    of_cors.map(|(_, value)| value.as_str()).collect()
}

fn varies_by_origin(answer: &Answer) -> bool {
    let mut varies = answer.headers.iter().filter(|(name, _)| name == "vary");
    varies.any(|(_, value)| value.contains("Origin"))
}

#[tokio::test]
async fn a_page_of_another_origin_is_allowed_nothing() {
    let world = world("").await;
    for origin in [
        "null",
        "*",
        "https://evil.example",
        "https://h5.example.evil.example",
        "https://evil-h5.example",
        "http://h5.example",
        "https://h5.example:8443",
        "https://h5.example/",
        "https://h5.example, https://evil.example",
        "http://127.0.0.1",
    ] {
        for target in ["/wx/login", "/wx/session", "/wx/logout"] {
            let answer = preflight(&world, target, origin).send().await;
            answer.is_refused(405, "method_not_allowed", "fix");
            assert_eq!(said(&answer), [""; 0], "{origin}");
            assert!(varies_by_origin(&answer));
        }
        let answer = world.get("/me").header("Origin", origin).send().await;
        answer.is_refused(401, "session_required", "relogin");
        assert_eq!(said(&answer), [""; 0], "{origin}");
    }
    let twice = preflight(&world, "/wx/login", H5).header("Origin", "https://evil.example");
    assert_eq!(said(&twice.send().await), [""; 0]);
}

#[tokio::test]
async fn without_allowed_origins_nothing_is_said_of_them() {
    let world = World::start().await;
    let answer = preflight(&world, "/wx/login", H5).send().await;
    answer.is_refused(405, "method_not_allowed", "fix");
    assert_eq!(said(&answer), [""; 0]);
    assert!(!varies_by_origin(&answer));
}

#[tokio::test]
async fn an_allowed_page_may_call_the_gates_own_routes() {
    let world = world("[paths]\nticket = \"/wx/ticket\"\n").await;
    for (target, methods) in [
        ("/wx/login", "POST"),
        ("/wx/decrypt", "POST"),
        ("/wx/phone", "POST"),
        ("/wx/logout", "POST"),
        ("/wx/ticket", "POST"),
        ("/wx/session", "GET, DELETE"),
    ] {
        let answer = preflight(&world, target, H5).send().await;
        assert_eq!(answer.status, 204, "{target}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(H5));
        assert_eq!(answer.header("access-control-allow-methods"), Some(methods));
        let headers = answer.header("access-control-allow-headers");
        assert_eq!(headers, Some("content-type, authorization"));
        assert_eq!(answer.header("access-control-max-age"), Some("90"));
        // Without cookies there is nothing that would come by itself.
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert!(varies_by_origin(&answer));
    }
    // What is not for scripts has no answer for them.
    let answer = preflight(&world, "/wx/ticket/x", H5).send().await;
    answer.is_refused(404, "not_found", "fix");
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn what_only_looks_like_a_preflight_is_none() {
    let world = world("").await;
    for request in [
        world.request("OPTIONS", "/wx/login").header("Origin", H5),
        preflight(&world, "/wx/login", H5).header("X-HTTP-Method-Override", "POST"),
        preflight(&world, "/wx/login", H5).body("x"),
    ] {
        let answer = request.send().await;
        answer.is_refused(405, "method_not_allowed", "fix");
    }
}

#[tokio::test]
async fn where_tokens_are_in_cookies_credentials_may_go_along_to_allowed_origins_only() {
    let world = world(COOKIE).await;
    let answer = preflight(&world, "/wx/login", H5).send().await;
    assert_eq!(
        answer.header("access-control-allow-credentials"),
        Some("true")
    );
    let headers = answer.header("access-control-allow-headers");
    assert_eq!(headers, Some("content-type, authorization, x-session"));
    let token = world.login("alice").await;
    let answer = world.get("/wx/session").header("Origin", H5);
    let answer = answer
        .header("Cookie", &format!("sid={token}"))
        .send()
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(H5));
    assert_eq!(
        answer.header("access-control-allow-credentials"),
        Some("true")
    );
    let answer = world
        .get("/wx/session")
        .header("Origin", "https://evil.example");
    let answer = answer
        .header("Cookie", &format!("sid={token}"))
        .send()
        .await;
    assert_eq!(said(&answer), [""; 0]);
}

#[tokio::test]
async fn an_allowed_page_can_read_why_it_was_refused() {
    let world = world("").await;
    for (request, status) in [
        (world.get("/me"), 401),
        (world.post("/wx/login").body("{}"), 400),
        (world.get("/wx/login"), 405),
        (world.get("/x/../wx/login"), 400),
        (world.get("/slow").header("Host", "a b"), 400),
    ] {
        let answer = request.header("Origin", H5).send().await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(H5));
        let exposed = answer.header("access-control-expose-headers");
        assert_eq!(exposed, Some("Retry-After, WWW-Authenticate, X-Request-Id"));
        assert!(varies_by_origin(&answer));
    }
}

#[tokio::test]
async fn an_answer_of_the_app_server_is_its_own_business() {
    let world = world(COOKIE).await;
    let token = world.login("alice").await;
    let answer = world
        .get("/me")
        .bearer(&token)
        .header("Origin", H5)
        .send()
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(said(&answer), [""; 0]);
    assert!(!varies_by_origin(&answer));
    assert_eq!(world.app.last().header("origin"), [H5]);
}

#[tokio::test]
async fn a_preflight_that_is_forwarded_brings_no_token_along() {
    let world = world(&format!("{COOKIE}[access]\npreflight = \"forward\"\n")).await;
    let token = world.login("alice").await;
    let request = preflight(&world, "/a", "https://evil.example").bearer(&token);
    let request = request.header("X-Session", &token);
    let request = request.header("Cookie", &format!("a=1; sid={token}"));
    let answer = request.send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(said(&answer), [""; 0]);
    let seen = world.app.last();
    assert_eq!(seen.header("cookie"), ["a=1"]);
    let seen = format!("{seen:?}");
    assert!(
        !seen.contains("wxg_") && !seen.to_lowercase().contains("x-wx-"),
        "{seen}"
    );
}

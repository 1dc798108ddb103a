//! Paths of the app server that belong to the gate: no client reaches one, however it writes it.

use crate::support::frames::{self, Frames};
use crate::support::raw::Connection;
use crate::support::{Setup, World};

const RESERVED: &str = r#"
[apps.push]
token = "AAAAA"
encoding_aes_key = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
[push]
forward_to = "/hooks/letters"
[login]
hook = "/hooks/login"
[decrypt]
deliver = "upstream"
deliver_to = "/internal/profile"
[access]
default = "public"
[[access.rules]]
path = "/admin/**"
require = "session"
"#;

/// Spellings that some server reads as a reserved path. In place of the hook's path it can be that of
/// pushes.
const SPELLINGS: &[&str] = &[
    "/hooks/login",
    "/internal/profile",
    // Letter case and slashes.
    "/Hooks/Login",
    "/HOOKS/LOGIN/",
    "/hooks/login/",
    "/hooks/login//",
    "//hooks/login",
    "/hooks//login",
    "/hooks\\login",
    // Encoded, once and twice.
    "/hooks/%6cogin",
    "/%68ooks/login",
    "/hooks/%256cogin",
    "/hooks%2flogin",
    "/hooks%2Flogin",
    "/hooks%252flogin",
    "/hooks%5clogin",
    // Dot segments.
    "/./hooks/login",
    "/hooks/./login",
    "/x/../hooks/login",
    "/hooks/x/../login",
    "/hooks/login/.",
    "/x/%2e%2e/hooks/login",
    "/x/..%2fhooks/login",
    "/x/..;/hooks/login",
    "/admin/../hooks/login",
    "/wx/login/../../hooks/login",
    // Parameters, and what ends a path for some.
    "/hooks/login;v=1",
    "/hooks;x/login",
    "/hooks/login%3bx",
    "/hooks/login%3fx",
    "/hooks/login%23x",
    "/hooks/login?event=login",
];

async fn world() -> World {
    Setup::with(RESERVED).start().await
}

/// Sends the target as it stands, which a client library might mend.
async fn raw(world: &World, method: &str, target: &str, headers: &str) -> u16 {
    let mut connection = Connection::open(world.address()).await;
    let body = r#"{"event":"login","appid":"wx0123456789abcdef","client":{}}"#;
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: gate.example\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    connection.write(request.as_bytes()).await;
    let answer = connection.answer().await;
    answer.is_refused(404, "not_found", "fix");
    answer.status
}

#[tokio::test]
async fn no_spelling_of_a_reserved_path_reaches_the_app_server() {
    let world = world().await;
    for target in SPELLINGS {
        let pushed = target.replace("ogin", "etters").replace("OGIN", "ETTERS");
        for target in [target, pushed.as_str()] {
            assert_eq!(raw(&world, "POST", target, "").await, 404, "{target}");
        }
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn no_method_token_or_header_opens_a_reserved_path() {
    let delivering = "[decrypt]\ndeliver = \"upstream\"\ndeliver_to = \"/internal/profile\"";
    let world = Setup::with(delivering).start().await;
    let token = world.login("alice").await;
    let bearer = format!("Authorization: Bearer {token}\r\n");
    for (method, headers) in [
        ("GET", ""),
        ("PUT", ""),
        ("post", ""),
        ("GET", "X-HTTP-Method-Override: POST\r\n"),
        (
            "OPTIONS",
            "Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n",
        ),
        ("POST", bearer.as_str()),
        ("POST", "X-WX-OPENID: oForged\r\nX-WX-SOURCE: wx_client\r\n"),
        (
            "POST",
            "X-Forwarded-For: 127.0.0.1\r\nX-Original-URL: /ok\r\n",
        ),
    ] {
        raw(&world, method, "/internal/profile", headers).await;
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn over_http2_it_is_the_same() {
    let world = world().await;
    for path in [
        "/hooks/login",
        "/HOOKS/%6cogin/",
        "/hooks/letters",
        "/HOOKS/%6cetters/",
        "/x/..%2finternal/profile;v",
    ] {
        let mut frames = Frames::open(world.address()).await;
        frames.write(&frames::get(1, path)).await;
        let (_, body) = frames.answer(1).await;
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["code"], "not_found", "{path}");
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn what_only_resembles_a_reserved_path_is_forwarded() {
    let world = world().await;
    for path in [
        "/hooks",
        "/hooks/login2",
        "/hooks/letter",
        "/x/hooks/login",
        "/ok?to=/hooks/login",
    ] {
        assert_eq!(world.get(path).send().await.status, 200, "{path}");
        assert_eq!(world.app.last().target, path);
    }
}

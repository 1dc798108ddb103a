//! Rules are judged on every reading of a path; the bytes are forwarded as they came.

use tokio_util::sync::CancellationToken;

use crate::support::app::AppServer;
use crate::support::raw::Connection;
use crate::support::{Setup, World};

const GUARDED: &str = r#"
[access]
default = "public"
[[access.rules]]
path = "/admin/**"
require = "session"
[[access.rules]]
path = "/exact"
require = "session"
[[access.rules]]
path = "/team/*/keys"
require = "session"
"#;

/// Paths that some server reads as one under another rule, on another app server, or of the gate.
const AMBIGUOUS: &[&str] = &[
    // Encoded letters, once and twice.
    "/%61dmin",
    "/%61%64%6D%69%6E/x",
    "/admi%6e/",
    "/%2561dmin",
    "/%25%36%31dmin",
    // Letter case and trailing slash.
    "/ADMIN/x",
    "/Admin",
    "/exact/",
    "/Exact",
    "/exact//",
    "/EXACT/",
    // Slashes.
    "//admin",
    "///admin/x",
    "/%2fadmin",
    "/%2Fadmin",
    "/%252fadmin",
    "/\\admin",
    "\\admin",
    "/%5cadmin",
    "/%255cadmin",
    "/x/..//admin",
    "/team/a//keys",
    "/team/a%2fkeys",
    // Dot segments.
    "/./admin",
    "/x/../admin/y",
    "/x/%2e%2e/admin",
    "/x/.%2e/admin",
    "/x/..%2fadmin",
    "/x/%252e%252e/admin",
    "/x/..%5cadmin",
    "/x\\..\\admin",
    "/../admin",
    "/public/../../admin",
    "/admin/..",
    "/admin/../x",
    "/admin/%2e%2e/x",
    "/admin/..%2f",
    "/admin/..;/x",
    "/x/.;/../admin",
    "/team/a/b/../keys",
    // Parameters, and what ends a path for some.
    "/admin;x",
    "/admin;x/y",
    "/;x/admin",
    "/x/..;/admin",
    "/x/..;a=b/admin",
    "/x/..%3b/admin",
    "/exact;v=1",
    "/exact%3bv=1",
    "/exact%3fx",
    "/exact%23x",
    "/exact%253fx",
    "/admin%3f/x",
    // Letters outside ASCII that become ASCII ones.
    "/team/a/%e2%84%aaeys",
    // What the gate answers itself.
    "/wx/login/",
    "/wx/Login",
    "/WX/LOGIN",
    "/wx//login",
    "//wx/login",
    "/wx/login;x",
    "/wx/%6cogin",
    "/wx%2flogin",
    "/x/../wx/login",
    "/wx/./login",
    "/wx\\login",
    "/wx/session/",
    "/wx/%73ession",
    "/wx/decrypt%3f",
    "/wx/logout;",
    // Another app server.
    "/%61pi/x",
    "/API/x",
    "//api/x",
    "/x/../api",
    "/api/../x",
    "/api/..%2f..%2fx",
    "/api;x",
    "/api%2fx",
    "/Api",
];

/// The guarded app server, and another one for `/api/**`.
async fn with_two_servers() -> (World, AppServer) {
    let other = AppServer::start(CancellationToken::new()).await;
    let config = format!(
        "[upstreams.api]\nurl = \"http://{}\"\n{GUARDED}\n\
         [[access.rules]]\npath = \"/api/**\"\nrequire = \"public\"\nupstream = \"api\"\n",
        other.address
    );
    (Setup::with(&config).start().await, other)
}

#[tokio::test]
async fn a_path_that_another_reading_puts_under_another_rule_goes_nowhere() {
    let (world, other) = with_two_servers().await;
    let mut connection = Connection::open(world.address()).await;
    for &target in AMBIGUOUS {
        connection.write(&world.get(target).bytes()).await;
        let answer = connection.answer().await;
        assert_eq!(answer.status, 400, "{target} {answer:?}");
        let absolute = target.starts_with('/');
        if absolute || !answer.body.is_empty() {
            assert_eq!(answer.problem(), "ambiguous_path", "{target}");
        }
        if answer.header("connection") == Some("close") {
            connection = Connection::open(world.address()).await;
        }
    }
    assert_eq!((world.app.count(), other.count()), (0, 0));
}

#[tokio::test]
async fn a_session_does_not_make_an_ambiguous_path_clear() {
    let (world, _other) = with_two_servers().await;
    let token = world.login("alice").await;
    for target in ["/%61dmin", "/exact/", "/x/../admin"] {
        let answer = world.get(target).bearer(&token).send().await;
        assert_eq!(answer.problem(), "ambiguous_path", "{target}");
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn a_harmless_path_reaches_the_app_byte_for_byte() {
    let (world, other) = with_two_servers().await;
    let mut connection = Connection::open(world.address()).await;
    for target in [
        "/",
        "/a",
        "/a/",
        "/a//b///c",
        "/a/./b/../c",
        "/a%2Fb%2fc",
        "/a%20b",
        "/caf%C3%A9/%e5%bc%a0",
        "/a;v=1/b;w",
        "/a\\b",
        "/%41%6A",
        "/a%25b",
        "/~x/!$&'()*+,=:@-._",
        "/a{b}\"^",
        "/administrator",
        "/adminx/y",
        "/wx/loginx",
        "/wx",
        "/apis",
        "/exactly/",
        "/saveUserInfo",
    ] {
        for query in [
            "",
            "?",
            "?a=1&b=%2F..%2fadmin&&=;%00",
            "?/../admin?//wx/login",
        ] {
            let target = format!("{target}{query}");
            connection.write(&world.get(&target).bytes()).await;
            let answer = connection.answer().await;
            assert_eq!(answer.status, 200, "{target} {answer:?}");
            assert_eq!(world.app.last().target, target);
        }
    }
    assert_eq!(other.count(), 0);
}

#[tokio::test]
async fn a_strange_path_under_one_rule_stays_under_it() {
    let (world, other) = with_two_servers().await;
    let token = world.login("alice").await;
    for target in [
        "/admin/",
        "/admin//x",
        "/admin/a%2fb;c",
        "/admin/a/../b",
        "/team/%41/keys",
    ] {
        let answer = world.get(target).send().await;
        assert_eq!(answer.problem(), "session_required", "{target}");
        assert_eq!(world.get(target).bearer(&token).send().await.status, 200);
        assert_eq!(world.app.last().target, target);
    }
    for target in ["/api", "/api/", "/api/a%2fb?c", "/api//x"] {
        assert_eq!(world.get(target).send().await.status, 200);
        assert_eq!(other.last().target, target);
    }
    assert_eq!(world.app.count(), 5);
}

#[tokio::test]
async fn control_characters_are_refused_on_every_route() {
    let (world, other) = with_two_servers().await;
    for target in [
        "/a%00",
        "/a%2500",
        "/a%0d%0ab",
        "/a%09",
        "/a%7f",
        "/a/%1b/b",
        "/api/%00",
        "/admin/%0A",
    ] {
        let answer = world.get(target).send().await;
        assert_eq!(answer.status, 400, "{target}");
        assert_eq!(answer.problem(), "ambiguous_path", "{target}");
    }
    for target in ["/a\0", "/a\u{1}", "/a\u{7f}", "/a\tb"] {
        let answer = world.get(target).send().await;
        assert_eq!(answer.status, 400, "{target:?}");
    }
    assert_eq!((world.app.count(), other.count()), (0, 0));
}

#[tokio::test]
async fn a_target_with_a_fragment_is_no_request() {
    let (world, other) = with_two_servers().await;
    let targets = [
        "/exact#",
        "/exact#/a",
        "/admin#x",
        "/admin?a#/../x",
        "/a#b",
        "/a?b#c",
    ];
    for target in targets {
        let answer = world.get(target).send().await;
        assert_eq!(
            (answer.status, answer.text()),
            (400, String::new()),
            "{target}"
        );
    }
    assert_eq!((world.app.count(), other.count()), (0, 0));
}

#[tokio::test]
async fn a_target_that_is_no_path_is_refused() {
    let (world, _other) = with_two_servers().await;
    for (method, target) in [
        ("OPTIONS", "*"),
        ("CONNECT", "gate.example:443"),
        ("GET", "http://elsewhere.example/a"),
        ("GET", "http://user@gate.example/a"),
    ] {
        let answer = world.request(method, target).send().await;
        assert_eq!(answer.status, 400, "{method} {target}");
    }
    assert_eq!(world.app.count(), 0);
    // Scheme and host of an absolute target are judged, then left out.
    assert_eq!(
        world.get("http://gate.example/a?b").send().await.status,
        200
    );
    assert_eq!(world.app.last().target, "/a?b");
    let answer = world.get("http://gate.example/admin").send().await;
    assert_eq!(answer.problem(), "session_required");
}

#[tokio::test]
async fn a_reading_that_decodes_letters_but_no_slashes_counts() {
    let config = r#"
[access]
default = "public"
[[access.rules]]
path = "/u/*/secret"
require = "session"
"#;
    let world = Setup::with(config).start().await;
    for target in [
        "/u/x%2fy/secr%65t",
        "/u/x%2Fy/%73ecret",
        "/u/x%5cy/secr%65t",
        "/u/x%252fy/secr%65t",
    ] {
        let answer = world.get(target).send().await;
        assert_eq!(answer.status, 400, "{target}");
        assert_eq!(answer.problem(), "ambiguous_path", "{target}");
    }
    assert_eq!(world.app.count(), 0);
    assert_eq!(world.get("/u/x/secret").send().await.status, 401);
    assert_eq!(world.get("/u/x/other").send().await.status, 200);
}

#[tokio::test]
async fn a_path_made_to_be_expensive_is_refused_and_a_long_one_is_not() {
    let world = Setup::with(GUARDED).start().await;
    let long = "a".repeat(7800);
    let answer = world
        .get(&format!("/{long}%253b//\\;x/./b%23"))
        .send()
        .await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.problem(), "ambiguous_path");
    assert_eq!(world.app.count(), 0);
    assert_eq!(world.get(&format!("/{long}")).send().await.status, 200);
}

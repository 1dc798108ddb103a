//! Which rule a request falls under: by method, by order, by what a preflight is.

use crate::support::raw::Request;
use crate::support::{Setup, World};

const ITEMS: &str = r#"
[access]
default = "public"
[[access.rules]]
path = "/items/**"
methods = ["DELETE"]
require = "session"
[[access.rules]]
path = "/items/**"
require = "optional"
"#;

#[tokio::test]
async fn a_method_override_cannot_slip_under_another_rule() {
    let world = Setup::with(ITEMS).start().await;
    let post = || world.post("/items/1").header("Content-Length", "0");
    let ambiguous: [&[(&str, &str)]; 7] = [
        &[("X-HTTP-Method-Override", "DELETE")],
        &[("X-HTTP-Method", "delete")],
        &[("X-Method-Override", "Delete")],
        &[("X_HTTP_Method_Override", "DELETE")],
        &[
            ("X-HTTP-Method-Override", "PUT"),
            ("X-HTTP-Method-Override", "DELETE"),
        ],
        &[
            ("X-HTTP-Method-Override", "PUT"),
            ("X-Method-Override", "DELETE"),
        ],
        &[("X-HTTP-Method", "PUT"), ("x.http.method", "DELETE")],
    ];
    let with = |headers: &[(&str, &str)]| {
        let add = |request: Request, &(name, value): &(&str, &str)| request.header(name, value);
        headers.iter().fold(post(), add)
    };
    for headers in ambiguous {
        let answer = with(headers).send().await;
        assert_eq!(answer.status, 400, "{headers:?}");
        assert_eq!(answer.problem(), "ambiguous_path", "{headers:?}");
    }
    let answer = with(&[("X-HTTP-Method", "no method")]).send().await;
    assert_eq!(answer.problem(), "bad_request");
    assert_eq!(world.app.count(), 0);
    assert_eq!(
        with(&[("X-HTTP-Method-Override", "PUT")])
            .send()
            .await
            .status,
        200
    );
    assert_eq!(world.app.last().header("x-http-method-override"), ["PUT"]);
    // Where no rule looks at methods, none can be slipped under.
    let elsewhere = world
        .post("/other")
        .header("X-HTTP-Method-Override", "DELETE");
    assert_eq!(elsewhere.send().await.status, 200);
}

#[tokio::test]
async fn a_rule_for_methods_is_for_these_methods_only() {
    let world = Setup::with(ITEMS).start().await;
    let status = async |method| world.request(method, "/items/1").send().await.status;
    assert_eq!(status("DELETE").await, 401);
    assert_eq!(world.app.count(), 0);
    for method in ["GET", "PUT", "OPTIONS", "PURGE"] {
        assert_eq!(status(method).await, 200, "{method}");
        assert_eq!(world.app.last().method, method);
    }
}

#[tokio::test]
async fn the_first_rule_that_matches_wins() {
    let rules = r#"
[[access.rules]]
path = "/a/open"
require = "public"
[[access.rules]]
path = "/a/**"
require = "session"
[[access.rules]]
path = "/a/never"
require = "public"
[[access.rules]]
path = "/**"
require = "optional"
"#;
    let world = Setup::with(rules).start().await;
    for (target, status) in [
        ("/a", 401),
        ("/a/x", 401),
        ("/a/never", 401),
        ("/a/open", 200),
        ("/", 200),
    ] {
        assert_eq!(world.get(target).send().await.status, status, "{target}");
    }
    // The query takes no part.
    assert_eq!(world.get("/a/x?/a/open").send().await.status, 401);
    assert_eq!(world.get("/a/open?/../x").send().await.status, 200);
}

#[tokio::test]
async fn a_preflight_passes_only_where_that_was_asked_for() {
    let preflight = |world: &World, target| {
        let request = world
            .request("OPTIONS", target)
            .header("Origin", "https://x.example");
        request.header("Access-Control-Request-Method", "PUT")
    };
    let usual = World::start().await;
    let answer = preflight(&usual, "/a").send().await;
    assert_eq!(answer.problem(), "session_required");

    let world = Setup::with("[access]\npreflight = \"forward\"")
        .start()
        .await;
    let token = world.login("alice").await;
    for request in [
        world.request("OPTIONS", "/a"),
        world
            .request("OPTIONS", "/a")
            .header("Origin", "https://x.example"),
        world
            .request("OPTIONS", "/a")
            .header("Access-Control-Request-Method", "PUT"),
        world
            .get("/a")
            .header("Origin", "x")
            .header("Access-Control-Request-Method", "PUT"),
    ] {
        assert_eq!(request.send().await.problem(), "session_required");
    }
    let answer = preflight(&world, "/wx/login").send().await;
    assert_eq!(answer.problem(), "method_not_allowed");
    assert_eq!(
        preflight(&world, "/wx//login").send().await.problem(),
        "ambiguous_path"
    );
    assert_eq!(world.app.count(), 0);

    assert_eq!(preflight(&world, "/a").send().await.status, 200);
    assert_eq!(
        preflight(&world, "/a").bearer(&token).send().await.status,
        200
    );
    let seen = format!("{:?}", world.app.last());
    assert!(!seen.to_lowercase().contains("x-wx-"), "{seen}");
}

#[tokio::test]
async fn a_rule_for_get_holds_for_head_and_for_other_spellings() {
    let config = r#"
[access]
default = "public"
[[access.rules]]
path = "/items/**"
methods = ["GET"]
require = "session"
"#;
    let world = Setup::with(config).start().await;
    // Servers answer HEAD as they would GET.
    let answer = world.request("HEAD", "/items/1").send().await;
    assert_eq!(answer.status, 401);
    for method in ["get", "Get", "head"] {
        let answer = world.request(method, "/items/1").send().await;
        assert!([400, 401].contains(&answer.status), "{method}: {answer:?}");
    }
    assert_eq!(world.app.count(), 0);
    assert_eq!(world.post("/items/1").body("x").send().await.status, 200);
    let token = world.login("alice").await;
    let head = world.request("HEAD", "/items/1").bearer(&token);
    assert_eq!(head.send().await.status, 200);
    assert_eq!(world.app.last().method, "HEAD");
}

#[tokio::test]
async fn what_only_looks_like_a_preflight_needs_a_session() {
    let config = "[access]\npreflight = \"forward\"";
    let world = Setup::with(config).start().await;
    let preflight = || {
        let request = world.request("OPTIONS", "/a").header("Origin", "https://x");
        request.header("Access-Control-Request-Method", "GET")
    };
    for request in [
        preflight().header("X-HTTP-Method-Override", "GET"),
        preflight().header("X_HTTP_Method_Override", "DELETE"),
        preflight().header("X-Method-Override", "GET"),
        preflight().body("hi"),
        preflight()
            .header("Transfer-Encoding", "chunked")
            .body("2\r\nhi\r\n0\r\n\r\n"),
    ] {
        let answer = request.clone().send().await;
        assert_eq!(answer.status, 401, "{request:?}");
        assert_eq!(answer.problem(), "session_required", "{request:?}");
    }
    assert_eq!(world.app.count(), 0);
    assert_eq!(preflight().send().await.status, 200);
}

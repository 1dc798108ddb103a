//! Holes that proxies and authentication sidecars had, by their kind, and that this gate must not have.
//! Each test names one advisory. Kinds that other tests show already are in the table of SECURITY.md,
//! whose tests are looked for here.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::hostile;
use crate::support::frames::{Frames, HEADERS, Reaction, WHOLE, frame, request};
use crate::support::played::Played;
use crate::support::raw::Connection;
use crate::support::reader::Reader;
use crate::support::redis;
use crate::support::{Setup, World};

const GUARDED: &str = r#"
[access]
default = "session"
[[access.rules]]
path = "/public/**"
require = "public"
[[access.rules]]
path = "/optional/**"
require = "optional"
"#;

async fn guarded() -> World {
    Setup::with(GUARDED).start().await
}

/// Sends bytes as they are, and gives the first status.
async fn raw(world: &World, bytes: &str) -> u16 {
    let mut connection = Connection::open(world.address()).await;
    connection.write(bytes.as_bytes()).await;
    connection.answer().await.status
}

/// Rules that are matched on more than the path: oauth2-proxy's `skip_auth_routes` saw the query, too
/// (CVE-2025-54576).
#[tokio::test]
async fn a_query_that_looks_like_an_open_path_opens_nothing() {
    let world = guarded().await;
    for target in [
        "/me?/public/x",
        "/me?x=/public/",
        "/me?%2fpublic%2fx",
        "/me?/../public/x",
        "/me?x=1&y=/public/x#",
        "/me%3f/public/x",
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: gate.example\r\n\r\n");
        let status = raw(&world, &head).await;
        assert!(matches!(status, 400 | 401), "{target}: {status}");
    }
    assert_eq!(world.app.count(), 0);
}

/// A header in place of the path: Symfony and Zend took `X-Original-URL` (CVE-2018-14773), and Envoy
/// believed `x-envoy-original-path` of a client (CVE-2023-27487). Here neither a stranger's nor that of
/// a client behind a trusted proxy counts.
#[tokio::test]
async fn no_header_replaces_the_path_that_rules_are_judged_on() {
    let trusting = "trusted_proxies = [\"127.0.0.1/32\"]";
    for server in ["", trusting] {
        let setup = Setup {
            server: server.to_owned(),
            ..Setup::with(GUARDED)
        };
        let world = setup.start().await;
        for name in ["X-Original-URL", "X-Rewrite-URL", "X-Original-URI"] {
            let open = world.get("/me").header(name, "/public/x");
            open.send()
                .await
                .is_refused(401, "session_required", "relogin");
            let closed = world.get("/public/x").header(name, "/me");
            assert_eq!(closed.send().await.status, 200);
            let seen = world.app.last();
            assert_eq!((&*seen.target, seen.header(name)), ("/public/x", vec![]));
        }
        assert_eq!(world.app.count(), 3);
    }
}

/// Spellings that fold onto a name, behind a proxy that knows the plain one only: oauth2-proxy let
/// underscores through (CVE-2025-64484).
#[tokio::test]
async fn a_trusted_proxy_vouches_for_no_other_spelling_of_what_it_says() {
    let setup = Setup {
        server: "trusted_proxies = [\"127.0.0.1/32\"]".to_owned(),
        ..Setup::with(GUARDED)
    };
    let world = setup.start().await;
    let request = world
        .get("/public/x")
        .header("X-Forwarded-For", "203.0.113.7")
        .header("X_Forwarded_For", "198.51.100.1")
        .header("X-Forwarded_Proto", "https")
        .header("X.Forwarded.Host", "evil.example")
        .header("X_Real_IP", "198.51.100.1")
        .header("X_WX_OPENID", "oForged")
        .header("X-WX-OPENID", "oForged");
    assert_eq!(request.send().await.status, 200);
    let seen = world.app.last();
    assert_eq!(seen.header("x-real-ip"), ["203.0.113.7"]);
    let text = format!("{seen:?}");
    for lie in ["198.51.100.1", "https", "evil.example", "oForged"] {
        assert!(!text.contains(lie), "{lie}: {text}");
    }
}

/// A store of sessions that is away, and a proxy that then takes everybody for nobody, or for whom they
/// say they are (the kind that fails open).
#[tokio::test]
async fn a_store_that_is_away_makes_nobody_anonymous_and_nobody_known() {
    let away = redis::table("redis://127.0.0.1:1/", "");
    let world = Setup::with(&format!("{away}{GUARDED}")).start().await;
    let token = format!("wxg_{}", "A".repeat(43));
    for target in ["/me", "/optional/x"] {
        let answer = world.get(target).bearer(&token).send().await;
        answer.is_refused(503, "overloaded", "retry");
        let forged = world.get(target).bearer(&token);
        let forged = forged.header("X-WX-OPENID", "oForged").send().await;
        forged.is_refused(503, "overloaded", "retry");
    }
    assert_eq!(world.app.count(), 0);
    // Who shows nothing is nobody with a store as without.
    assert_eq!(world.get("/optional/x").send().await.status, 200);
    assert_eq!(world.app.last().header("x-wx-openid"), [""; 0]);
}

/// HTTP/2 in clear text past the rules: proxies that passed an upgrade to h2c on were tunnels (h2c
/// smuggling, 2020). Whoever speaks it to the gate without asking is read, and judged, as ever.
#[tokio::test]
async fn http2_in_clear_text_is_no_way_past_the_rules() {
    let world = guarded().await;
    let token = world.login("alice").await;
    let mut frames = Frames::open(world.address()).await;
    let forged = request("GET", "/me", &[("x-wx-openid", "oForged")]);
    frames.write(&frame(HEADERS, WHOLE, 1, &forged)).await;
    let (_, body) = frames.answer(1).await;
    assert!(String::from_utf8_lossy(&body).contains("session_required"));
    assert_eq!(world.app.count(), 0);
    let upgrade = world
        .get("/me")
        .bearer(&token)
        .header("Connection", "Upgrade, HTTP2-Settings")
        .header("Upgrade", "h2c")
        .header("HTTP2-Settings", "AAMAAABkAAQAAP__");
    assert_eq!(upgrade.send().await.status, 200);
    let seen = world.app.last();
    for name in ["upgrade", "http2-settings", "connection"] {
        assert_eq!(seen.header(name), [""; 0], "{name}");
    }
}

/// An empty name that ends the head for one of two servers: HAProxy lost every field behind it
/// (CVE-2023-25725).
#[tokio::test]
async fn an_empty_name_hides_no_field_behind_it() {
    let world = guarded().await;
    let hidden = "GET /public/x HTTP/1.1\r\nHost: gate.example\r\n: x\r\nContent-Length: 35\r\n\r\n\
                  GET /public/smuggled HTTP/1.1\r\nA: b\r\n\r\n";
    assert_eq!(raw(&world, hidden).await, 400);
    let mut frames = Frames::open(world.address()).await;
    let empty = request("GET", "/public/x", &[("", "x"), ("x-behind", "1")]);
    frames.write(&frame(HEADERS, WHOLE, 1, &empty)).await;
    assert!(matches!(frames.reaction(1).await, Reaction::Reset(_)));
    assert_eq!(world.app.count(), 0);
}

/// Trailers that are too large, and then read as the next request: Tomcat (CVE-2023-46589).
#[tokio::test]
async fn trailers_that_are_too_large_begin_no_request() {
    let world = guarded().await;
    let filler = format!("Content-Digest: {}\r\n", "x".repeat(10_000));
    let upload = format!(
        "POST /public/x HTTP/1.1\r\nHost: gate.example\r\nTransfer-Encoding: chunked\r\n\r\n\
         1\r\na\r\n0\r\n{filler}\r\nGET /public/smuggled HTTP/1.1\r\nHost: gate.example\r\n\r\n"
    );
    let mut connection = Connection::open(world.address()).await;
    connection.write(upload.as_bytes()).await;
    assert_eq!(connection.answer().await.status, 400);
    connection.closed().await;
    let seen = world.app.seen();
    assert!(
        seen.iter().all(|seen| seen.target == "/public/x"),
        "{seen:?}"
    );
}

/// An answer too many on a connection that is kept, which the next client gets: response queue
/// poisoning (the kind that request smuggling ends in; Burp's research of 2021 and 2022).
#[tokio::test]
async fn an_answer_that_nobody_asked_for_reaches_no_other_client() {
    let play = |_, mut reader: Reader| async move {
        while let Some(seen) = reader.head().await {
            let mine = format!("for {}", seen.target);
            let length = mine.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{mine}");
            let forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nSet-Cookie: a=b\r\n\r\nforged";
            reader.say(&format!("{answer}{forged}")).await;
        }
    };
    let app = Played::start(play).await;
    let world = app.setup("workers = 1", "").start().await;
    for round in 0..5 {
        for client in ["alice", "bob"] {
            let target = format!("/{client}/{round}");
            let answer = world.get(&target).send().await;
            assert_eq!(answer.text(), format!("for {target}"));
            assert_eq!(answer.header("set-cookie"), None);
        }
    }
}

/// What a client sends, put into an error page: the kind of cross-site scripting that login pages of
/// proxies had.
#[tokio::test]
async fn no_refusal_shows_what_the_client_sent() {
    let world = guarded().await;
    let mark = "zq9";
    for request in [
        world.get(&format!("/{mark}?{mark}={mark}")),
        world.get("/me").header("X-WX-OPENID", mark),
        world.get("/me").header("Authorization", mark),
        world.get("/me").header("Host", &format!("{mark}/x")),
        world.request(mark, "/wx/login"),
        world.post("/wx/login").body(format!("{{\"code\":{mark}")),
        world.get(&format!("/x/..%2fwx%2flogin;{mark}")),
    ] {
        let answer = request.send().await;
        assert!(answer.status >= 400, "{answer:?}");
        answer.problem();
        assert!(!format!("{answer:?}").contains(mark), "{answer:?}");
    }
    assert_eq!(world.app.count(), 0);
}

/// A route of the proxy's own that forwards whoever asks, wherever they ask for (open redirects of
/// oauth2-proxy: CVE-2020-5233, CVE-2021-21291). The gate sends nobody anywhere.
#[tokio::test]
async fn no_route_of_the_gate_sends_anybody_anywhere() {
    let world = World::start().await;
    let token = world.login("alice").await;
    for (method, path) in [
        ("GET", "/wx/session"),
        ("POST", "/wx/login"),
        ("POST", "/wx/logout"),
        ("GET", "/me"),
    ] {
        let target = format!("{path}?rd=//evil.example&redirect_uri=https://evil.example/&to=/\\e");
        let request = world.request(method, &target);
        let request = if path == "/me" {
            request
        } else {
            request.bearer(&token)
        };
        let answer = request.send().await;
        assert!(!(300..400).contains(&answer.status), "{answer:?}");
        assert_eq!(answer.header("location"), None);
    }
}

/// Every name of a test in this binary, with the file that it is in.
fn tests() -> BTreeSet<(PathBuf, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let mut found = BTreeSet::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let file = path.strip_prefix(&root).unwrap().to_owned();
            let names = text.split("#[tokio::test").chain(text.split("#[test]"));
            let names = names.skip(1).filter_map(|behind| {
                let name = behind.split("fn ").nth(1)?;
                Some(name.split('(').next()?.to_owned())
            });
            found.extend(names.map(|name| (file.clone(), name)));
        }
    }
    found
}

/// The files that a path of modules may be in.
fn files(modules: &str) -> [PathBuf; 2] {
    let path = modules.replace("::", "/");
    [format!("{path}.rs"), format!("{path}/mod.rs")].map(PathBuf::from)
}

#[test]
fn every_test_and_case_that_the_security_policy_names_is_there() {
    let policy = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md");
    let policy = fs::read_to_string(policy).unwrap();
    let (_, policy) = policy.split_once("## What is promised").unwrap();
    let (policy, _) = policy.split_once("\n## ").unwrap();
    let tests = tests();
    let cases = hostile::names();
    let mut named = 0;
    for name in policy.split('`').skip(1).step_by(2) {
        if let Some(case) = name.strip_prefix("case ") {
            assert!(cases.contains(case), "no such case: {case}");
        } else if let Some((modules, test)) = name.rsplit_once("::") {
            let is_there = files(modules)
                .into_iter()
                .any(|file| tests.contains(&(file, test.to_owned())));
            let is_module = files(&name.replace("tests::it::", ""))
                .iter()
                .any(|file| tests.iter().any(|(other, _)| other == file));
            assert!(is_there || is_module, "no such test: {name}");
        } else {
            continue;
        }
        named += 1;
    }
    assert!(named > 30, "only {named} tests are named");
}

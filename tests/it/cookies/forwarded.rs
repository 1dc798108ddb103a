//! The session cookie goes no further than the gate, whatever else of the cookies does.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::cookies::{COOKIE, FORGOTTEN, UNKNOWN, set_by, with_cookie, world};
use crate::support::{Setup, World};

/// The head of the answer over HTTP/2 to a request with these headers, each in a field of its own.
async fn over_http2(
    world: &World,
    (method, target): (&str, &str),
    headers: &[(&str, &str)],
) -> hyper::Response<()> {
    let socket = TcpStream::connect(world.address()).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(socket))
        .await
        .unwrap();
    tokio::spawn(connection);
    let uri = format!("http://{}{target}", world.address());
    let mut request = hyper::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    drop(body.collect().await);
    hyper::Response::from_parts(head, ())
}

/// The status of a GET over HTTP/2 with these cookies.
async fn get_over_http2(world: &World, target: &str, cookies: &[&str]) -> u16 {
    let cookies: Vec<_> = cookies.iter().map(|&cookie| ("cookie", cookie)).collect();
    let answer = over_http2(world, ("GET", target), &cookies).await;
    answer.status().as_u16()
}

#[tokio::test]
async fn a_token_in_a_cookie_never_reaches_the_app() {
    let world = world().await;
    let token = world.login("alice").await;
    for target in ["/public/x", "/optional/x", "/me"] {
        for (cookies, left) in [
            (format!("sid={token}"), vec![]),
            (format!("sid=\"{token}\";"), vec![]),
            (format!("a=1; sid={token}"), vec!["a=1"]),
            (
                format!("sid={token}; a=%20;;b = \"2"),
                vec!["a=%20;;b = \"2"],
            ),
            (format!("a=1;\tsid =  {token} ;b=2"), vec!["a=1;b=2"]),
            (format!("a=\"1; sid={token}; b=2\""), vec!["a=\"1; b=2\""]),
            (
                format!("SID={UNKNOWN}; sid={token}; %73id={UNKNOWN}"),
                vec![],
            ),
        ] {
            let request = world.get(target).header("Cookie", &cookies);
            let answer = request.send().await;
            assert_eq!(answer.status, 200, "{target} {cookies}");
            let seen = world.app.last();
            assert_eq!(seen.header("cookie"), left, "{cookies}");
            assert!(!format!("{seen:?}").contains("wxg_"), "{cookies}");
            let is_known = !seen.header("x-wx-openid").is_empty();
            assert_eq!(is_known, target != "/public/x", "{target} {cookies}");
        }
    }
}

#[tokio::test]
async fn cookies_in_several_fields_are_looked_through_all_of_them() {
    let world = world().await;
    let token = world.login("alice").await;
    let request = world.get("/me").header("Cookie", "a=1");
    let request = request.header("COOKIE", &format!("sid={token}"));
    let answer = request.header("cookie", "b=2; c=3").send().await;
    assert_eq!(answer.status, 200);
    // HTTP/1.1 knows one.
    assert_eq!(world.app.last().header("cookie"), ["a=1; b=2; c=3"]);

    let cookie = format!("sid={token}");
    let crumbs = ["a=1", &cookie, "b=2"];
    assert_eq!(get_over_http2(&world, "/me", &crumbs).await, 200);
    let seen = world.app.last();
    assert_eq!(seen.header("cookie"), ["a=1; b=2"]);
    assert_eq!(seen.header("x-wx-openid"), [world.openid("alice")]);
}

#[tokio::test]
async fn two_tokens_are_a_bad_request_and_so_is_one_twice() {
    let world = world().await;
    let (alice, bob) = (world.login("alice").await, world.login("bob").await);
    for target in ["/public/x", "/optional/x", "/me", "/wx/session"] {
        for [one, two] in [[&alice, &alice], [&alice, &bob], [&alice, &String::new()]] {
            let together = world
                .get(target)
                .header("Cookie", &format!("sid={one}; sid={two}"));
            together.send().await.is_refused(400, "bad_request", "fix");
            let apart = world.get(target).header("Cookie", &format!("sid={one}"));
            let apart = apart.header("Cookie", &format!("sid={two}"));
            apart.send().await.is_refused(400, "bad_request", "fix");
            let cookies = [format!("sid={one}"), format!("sid={two}")];
            let crumbs: Vec<_> = cookies.iter().map(String::as_str).collect();
            assert_eq!(get_over_http2(&world, target, &crumbs).await, 400);
        }
        let other = with_cookie(world.get(target), &alice).bearer(&bob);
        other.send().await.is_refused(400, "bad_request", "fix");
    }
    assert_eq!(world.app.count(), 0);
    // The same token in two places is one token.
    let answer = with_cookie(world.get("/me"), &alice)
        .bearer(&alice)
        .send()
        .await;
    assert_eq!(answer.status, 200);
    let seen = format!("{:?}", world.app.last());
    assert!(!seen.contains("wxg_"), "{seen}");
}

#[tokio::test]
async fn an_app_server_sets_no_cookie_of_the_gates() {
    let world = world().await;
    let token = world.login("alice").await;
    let answer = with_cookie(world.get("/set-cookie"), &token).send().await;
    assert_eq!(set_by(&answer), ["a=1; Path=/", "b=sid=1"]);
    // Where the gate has none, all of them are the app server's.
    let without = World::start().await;
    let token = without.login("alice").await;
    let answer = without.get("/set-cookie").bearer(&token).send().await;
    assert_eq!(set_by(&answer).len(), 6);
}

#[tokio::test]
async fn where_no_cookie_is_looked_for_cookies_pass_as_they_came() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let cookies = "sid=x;; a = \"b; c\"";
    let request = world.get("/me").bearer(&token).header("Cookie", cookies);
    assert_eq!(request.send().await.status, 200);
    assert_eq!(world.app.last().header("cookie"), [cookies]);
}

#[tokio::test]
async fn a_cookie_that_pages_set_is_read_and_neither_set_nor_forgotten() {
    let read_only = COOKIE.replace("[session.cookie]\nname = \"sid\"\n", "");
    let world = Setup::with(&read_only).start().await;
    let login = world.redeem(&world.code("alice")).await;
    assert_eq!(set_by(&login), [""; 0]);
    let token = login.token();
    assert_eq!(
        with_cookie(world.get("/me"), &token).send().await.status,
        200
    );
    let answer = with_cookie(world.get("/me"), UNKNOWN).send().await;
    answer.is_refused(401, "session_expired", "relogin");
    assert_eq!(set_by(&answer), [""; 0]);
}

#[tokio::test]
async fn over_http2_a_cookie_is_judged_and_cleared_as_over_http1() {
    let world = world().await;
    let token = world.login("alice").await;
    let cookie = format!("sid={token}");
    let own = format!("http://{}", world.address());
    for (origin, status) in [("https://evil.example", 403), ("null", 403), (&*own, 200)] {
        let headers = [("cookie", "a=1"), ("cookie", &*cookie), ("origin", origin)];
        let answer = over_http2(&world, ("POST", "/me"), &headers).await;
        assert_eq!(answer.status(), status, "{origin}");
    }
    assert_eq!(world.app.count(), 1);
    let answer = over_http2(&world, ("GET", "/me"), &[("cookie", "sid=x")]).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["set-cookie"], FORGOTTEN);
}

//! What comes by a cookie and does something is done for pages of the gate's own origin, and of allowed
//! ones, only.

use crate::cookies::{COOKIE, handshake, world};
use crate::support::raw::Request;
use crate::support::{Setup, World};

/// What a browser says when a page of another site makes a request, or when it is none that says it.
const FOREIGN: [&[(&str, &str)]; 14] = [
    &[],
    &[("Sec-Fetch-Site", "cross-site")],
    &[("Sec-Fetch-Site", "same-site")],
    &[("Sec-Fetch-Site", "Same-Origin")],
    &[("Sec-Fetch-Site", "")],
    &[
        ("Sec-Fetch-Site", "same-origin"),
        ("Sec-Fetch-Site", "cross-site"),
    ],
    &[("Origin", "null")],
    &[("Origin", "https://evil.example")],
    &[("Origin", "http://gate.example.evil.example")],
    &[("Origin", "https://gate.example")],
    &[("Origin", "http://gate.example:8080")],
    &[
        ("Origin", "http://gate.example"),
        ("Origin", "https://evil.example"),
    ],
    &[("Referer", "http://gate.example/")],
    &[
        ("X-Forwarded-Host", "evil.example"),
        ("Origin", "http://evil.example"),
    ],
];

/// The same of a page that may.
const OWN: [&[(&str, &str)]; 5] = [
    &[("Sec-Fetch-Site", "same-origin")],
    &[("Sec-Fetch-Site", "none")],
    &[("Origin", "http://gate.example")],
    &[("Origin", "HTTP://Gate.example:80")],
    &[
        ("Origin", "https://h5.example"),
        ("Sec-Fetch-Site", "cross-site"),
    ],
];

async fn with_allowed_origin() -> World {
    let toml = format!("{COOKIE}[cors]\nallowed_origins = [\"https://h5.example\"]\n");
    Setup::with(&toml).start().await
}

fn from_page(mut request: Request, token: &str, headers: &[(&str, &str)]) -> Request {
    request = request.header("Cookie", &format!("sid={token}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request
}

#[tokio::test]
async fn a_page_of_another_site_does_nothing_by_a_cookie() {
    let world = with_allowed_origin().await;
    let token = world.login("alice").await;
    for headers in FOREIGN {
        for request in [
            world.post("/me"),
            world.request("PUT", "/optional/x"),
            world.request("DELETE", "/me"),
            world.request("PATCH", "/me"),
            world.request("get", "/optional/x"),
            world.request("TRACE", "/me"),
            handshake(&world, "/socket"),
            handshake(&world, "/optional/socket"),
            // However the method is written.
            world.get("/me").header("X-HTTP-Method-Override", "DELETE"),
            world.get("/me").header("X_HTTP_Method", "POST"),
            world.get("/me").header("X-Method-Override", "patch"),
            // And of the gate's own routes.
            world.post("/wx/logout"),
            world.post("/wx/logout?all=true"),
            world.request("DELETE", "/wx/session"),
            world.post("/wx/decrypt"),
            world.post("/wx/phone"),
        ] {
            let shown = format!("{request:?} {headers:?}");
            let answer = from_page(request, &token, headers).send().await;
            assert_eq!(answer.status, 403, "{shown}");
            answer.is_refused(403, "cross_site", "fix");
        }
    }
    assert_eq!(world.app.count(), 0);
    let answer = from_page(world.get("/me"), &token, FOREIGN[1]).send().await;
    assert_eq!(answer.status, 200, "what only reads is read by nobody else");
}

#[tokio::test]
async fn a_page_of_the_gate_or_of_an_allowed_origin_does_what_it_likes() {
    let world = with_allowed_origin().await;
    for headers in OWN {
        let token = world.login("alice").await;
        for request in [
            world.post("/me"),
            world.request("PUT", "/optional/x"),
            world.get("/me").header("X-HTTP-Method-Override", "DELETE"),
        ] {
            let answer = from_page(request, &token, headers).send().await;
            assert_eq!(answer.status, 200, "{headers:?} {answer:?}");
            assert_eq!(
                world.app.last().header("x-wx-openid"),
                [world.openid("alice")]
            );
        }
        let socket = from_page(handshake(&world, "/socket"), &token, headers);
        let mut connection = socket.begin().await;
        let (status, _) = connection.head().await.unwrap();
        assert_eq!(status, 101, "{headers:?}");
        let answer = from_page(world.post("/wx/logout"), &token, headers)
            .send()
            .await;
        assert_eq!(answer.status, 204, "{headers:?}");
    }
}

#[tokio::test]
async fn who_shows_a_token_in_a_header_is_asked_nothing() {
    let world = world().await;
    let token = world.login("alice").await;
    for headers in FOREIGN {
        let mut request = world.post("/me").bearer(&token);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        assert_eq!(request.send().await.status, 200, "{headers:?}");
        // The cookie beside it makes no difference.
        let both = from_page(world.post("/me").bearer(&token), &token, headers);
        assert_eq!(both.send().await.status, 200, "{headers:?}");
    }
}

#[tokio::test]
async fn where_nobody_is_identified_nobody_is_asked() {
    let world = world().await;
    let token = world.login("alice").await;
    for headers in FOREIGN {
        let answer = from_page(world.post("/public/x"), &token, headers)
            .send()
            .await;
        assert_eq!(answer.status, 200);
        let seen = format!("{:?}", world.app.last());
        assert!(!seen.contains("wxg_") && !seen.to_lowercase().contains("x-wx-openid"));
    }
}

#[tokio::test]
async fn the_origin_of_the_gate_is_the_one_that_a_trusted_proxy_tells() {
    let setup = Setup {
        server: "trusted_proxies = [\"127.0.0.1\"]".to_owned(),
        ..Setup::with(COOKIE)
    };
    let world = setup.start().await;
    let token = world.login("alice").await;
    let status = async |headers: &[(&str, &str)]| {
        let answer = from_page(world.post("/me"), &token, headers).send().await;
        answer.status
    };
    let https = ("X-Forwarded-Proto", "https");
    let host = ("X-Forwarded-Host", "h5.example");
    let port = ("X-Forwarded-Port", "8443");
    for (headers, expected) in [
        (&[https, ("Origin", "https://gate.example")][..], 200),
        (&[https, ("Origin", "http://gate.example")], 403),
        (&[https, host, ("Origin", "https://h5.example")], 200),
        (&[https, host, ("Origin", "https://gate.example")], 403),
        (
            &[https, host, port, ("Origin", "https://h5.example:8443")],
            200,
        ),
        (&[https, host, port, ("Origin", "https://h5.example")], 403),
        // What stands twice is not believed.
        (&[https, https, ("Origin", "https://gate.example")], 403),
    ] {
        assert_eq!(status(headers).await, expected, "{headers:?}");
    }
}

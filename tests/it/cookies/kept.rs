//! When a browser is told to keep the session cookie, and when to forget it.

use std::time::Duration;

use serde_json::json;

use crate::cookies::{COOKIE, FORGOTTEN, UNKNOWN, set_by, with_cookie, world};
use crate::support::{Setup, World};

#[tokio::test]
async fn a_cookie_that_opens_nothing_is_forgotten_and_is_nobody() {
    let world = world().await;
    let ended = world.login("alice").await;
    let end = world.request("DELETE", "/wx/session").bearer(&ended);
    assert_eq!(end.send().await.status, 204);
    for wrong in [&ended, UNKNOWN, "nonsense", ""] {
        for target in ["/me", "/wx/session"] {
            let answer = with_cookie(world.get(target), wrong).send().await;
            answer.is_refused(401, "session_expired", "relogin");
            assert_eq!(set_by(&answer), [FORGOTTEN], "{target} {wrong}");
        }
        let answer = with_cookie(world.get("/optional/x"), wrong).send().await;
        assert_eq!(answer.status, 200);
        assert_eq!(set_by(&answer), [FORGOTTEN], "{wrong}");
        let seen = world.app.last();
        assert_eq!(seen.header("x-wx-openid"), [""; 0]);
        assert_eq!(seen.header("cookie"), ["a=1; b=2"]);
        // Where nobody looks at it, nothing is said of it.
        let answer = with_cookie(world.get("/public/x"), wrong).send().await;
        assert_eq!((answer.status, set_by(&answer)), (200, Vec::new()));
    }
    // An invalid token in a header is an error, as ever.
    let answer = world.get("/optional/x").bearer(UNKNOWN).send().await;
    answer.is_refused(401, "session_expired", "relogin");
    assert_eq!(set_by(&answer), [""; 0]);
}

#[tokio::test]
async fn a_login_sets_the_cookie_for_as_long_as_the_session_lives() {
    let lines = COOKIE.replace("token_from", "ttl = \"2h\"\ntoken_from");
    let world = Setup::with(&lines).start().await;
    let code = world.code("alice");
    let login = world.redeem(&code).await;
    let token = login.token();
    let expected = format!("sid={token}; Max-Age=7200; Path=/; HttpOnly; Secure; SameSite=Lax");
    assert_eq!(set_by(&login), [expected]);
    assert_eq!(login.header("cache-control"), Some("no-store"));
    // A repeat has the same, and less of its time.
    world.clock.advance(Duration::from_secs(5));
    let again = world.redeem(&code).await;
    let expected = format!("sid={token}; Max-Age=7195; Path=/; HttpOnly; Secure; SameSite=Lax");
    assert_eq!(set_by(&again), [expected]);
    assert_eq!(
        with_cookie(world.get("/me"), &token).send().await.status,
        200
    );
    assert_eq!(
        world.app.last().header("x-wx-openid"),
        [world.openid("alice")]
    );
    // One that is refused sets nothing.
    let refused = world.redeem("nonsense").await;
    assert_eq!((refused.status, set_by(&refused)), (400, Vec::new()));
}

/// The cookies that a login sets which a browser sends with these headers.
async fn set_at_login(world: &World, headers: &[(&str, &str)]) -> usize {
    let code = json!({ "code": world.code("mallory") });
    let mut request = world.post("/wx/login").json(&code);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = request.send().await;
    assert_eq!(answer.status, 200, "{headers:?}");
    set_by(&answer).len()
}

#[tokio::test]
async fn nobody_is_logged_in_by_a_page_of_another_site() {
    let world = world().await;
    for headers in [
        &[("Sec-Fetch-Site", "cross-site")][..],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Origin", "https://evil.example")],
        &[("Origin", "null")],
        &[
            ("Origin", "https://servicewechat.com"),
            ("Sec-Fetch-Site", "cross-site"),
        ],
        &[
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-origin"),
        ],
    ] {
        assert_eq!(set_at_login(&world, headers).await, 0, "{headers:?}");
    }
    for headers in [
        &[][..],
        &[("Sec-Fetch-Site", "same-origin")],
        &[("Origin", "http://gate.example")],
    ] {
        assert_eq!(set_at_login(&world, headers).await, 1, "{headers:?}");
    }
}

#[tokio::test]
async fn a_page_of_another_site_replaces_no_session_by_its_cookie() {
    let world = world().await;
    let old = world.login("alice").await;
    let login = |site: &str| {
        let code = json!({ "code": world.code("alice") });
        let request = world.post("/wx/login").json(&code);
        let request = request.header("Cookie", &format!("sid={old}"));
        request.header("Sec-Fetch-Site", site)
    };
    assert_eq!(login("cross-site").send().await.status, 200);
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(world.get("/me").bearer(&old).send().await.status, 200);
    assert_eq!(login("same-origin").send().await.status, 200);
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(world.get("/me").bearer(&old).send().await.status, 401);
}

#[tokio::test]
async fn a_logout_has_the_cookie_forgotten_however_it_was_asked_for() {
    let world = world().await;
    for (method, target, by_cookie) in [
        ("POST", "/wx/logout", true),
        ("DELETE", "/wx/session", true),
        ("POST", "/wx/logout?all=true", false),
    ] {
        let token = world.login("alice").await;
        let request = world.request(method, target);
        let request = if by_cookie {
            with_cookie(request, &token)
        } else {
            request.bearer(&token)
        };
        let answer = request.send().await;
        assert_eq!(answer.status, 204, "{answer:?}");
        assert_eq!(set_by(&answer), [FORGOTTEN]);
        assert_eq!(
            with_cookie(world.get("/me"), &token).send().await.status,
            401
        );
    }
}

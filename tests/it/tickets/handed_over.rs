//! A web-view takes a session over: a ticket becomes the session cookie, once.

use std::time::Duration;

use crate::support::raw::Answer;
use crate::support::{Setup, World};
use crate::tickets::{TICKETS, world};

fn set_by(answer: &Answer) -> Option<&str> {
    answer.header("set-cookie")
}

async fn everything(world: &World, user: &str) -> (String, String) {
    let token = world.login(user).await;
    let ticket = world.ticket(&token, "/**").await;
    (token, ticket)
}

#[tokio::test]
async fn nobody_is_logged_in_by_an_address_that_another_site_opens() {
    let world = world().await;
    let (_, ticket) = everything(&world, "mallory").await;
    for headers in [
        &[("Sec-Fetch-Site", "cross-site")][..],
        &[("Sec-Fetch-Site", "same-site")],
        &[
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "document"),
        ],
        &[("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", "cross-site")],
        // Not as an image, a frame or a script of the gate's own pages either.
        &[
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Mode", "no-cors"),
            ("Sec-Fetch-Dest", "image"),
        ],
        &[
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Mode", "cors"),
            ("Sec-Fetch-Dest", "empty"),
        ],
        &[
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "iframe"),
        ],
    ] {
        let mut request = world.open(&ticket, "/h5");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.send().await;
        answer.is_refused(403, "cross_site", "fix");
        assert_eq!(set_by(&answer), None, "{headers:?}");
    }
    // None of that has used the ticket up.
    let opened = world.open(&ticket, "/h5").header("Sec-Fetch-Site", "none");
    let opened = opened
        .header("Sec-Fetch-Mode", "navigate")
        .header("Sec-Fetch-Dest", "document");
    assert_eq!(opened.send().await.status, 303);
}

#[tokio::test]
async fn nobody_is_sent_to_another_host() {
    let world = world().await;
    let (_, ticket) = everything(&world, "alice").await;
    for to in [
        "",
        "h5",
        "//evil.example",
        "%2F%2Fevil.example",
        "/%5Cevil.example",
        "/\\evil.example",
        "%5C%5Cevil.example",
        "/%09/evil.example",
        "/%0d%0aSet-Cookie:%20x=1",
        "https://evil.example",
        "javascript:alert(1)",
        "/h5&to=//evil.example",
    ] {
        let answer = world.open(&ticket, to).send().await;
        assert_eq!(answer.status, 400, "{to}");
        answer.is_refused(400, "bad_request", "fix");
        assert_eq!(
            (set_by(&answer), answer.header("location")),
            (None, None),
            "{to}"
        );
    }
    let answer = world.get(&format!("/wx/ticket/{ticket}")).send().await;
    answer.is_refused(400, "bad_request", "fix");
}

#[tokio::test]
async fn a_ticket_for_less_than_everything_is_no_session() {
    let world = world().await;
    let token = world.login("alice").await;
    for path in ["/h5/**", "/h5", "/*", "/*/**"] {
        let ticket = world.ticket(&token, path).await;
        let answer = world.open(&ticket, "/h5").send().await;
        answer.is_refused(400, "bad_request", "fix");
        assert_eq!(set_by(&answer), None, "{path}");
    }
    for wrong in ["wxg_t-AAAA", "x", &token] {
        let answer = world.open(wrong, "/h5").send().await;
        answer.is_refused(401, "session_expired", "relogin");
        assert_eq!(set_by(&answer), None);
    }
}

#[tokio::test]
async fn a_ticket_becomes_the_cookie_once() {
    let lines = TICKETS.replace("token_from", "ttl = \"2h\"\ntoken_from");
    let world = Setup::with(&lines).start().await;
    let (token, ticket) = everything(&world, "alice").await;
    world.clock.advance(Duration::from_secs(20));
    let answer = world.open(&ticket, "%2Fh5%2Fhome%3Fa%3D1").send().await;
    assert_eq!(answer.status, 303, "{answer:?}");
    assert_eq!(answer.header("location"), Some("/h5/home?a=1"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    let expected = format!("sid={token}; Max-Age=7180; Path=/; HttpOnly; Secure; SameSite=Lax");
    assert_eq!(set_by(&answer), Some(&*expected));
    assert_eq!(world.app.count(), 0);
    let page = world
        .get("/h5/home?a=1")
        .header("Cookie", &format!("sid={token}"));
    assert_eq!(page.send().await.status, 200);
    assert_eq!(
        world.app.last().header("x-wx-openid"),
        [world.openid("alice")]
    );

    for _ in 0..2 {
        let again = world.open(&ticket, "/h5/home").send().await;
        again.is_refused(401, "session_expired", "relogin");
        assert_eq!(set_by(&again), None);
    }
}

#[tokio::test]
async fn of_two_who_open_one_ticket_at_once_one_is_let_in() {
    let world = world().await;
    let (_, ticket) = everything(&world, "alice").await;
    let mut waiting = Vec::new();
    for _ in 0..8 {
        waiting.push(world.open(&ticket, "/h5").begin().await);
    }
    let mut let_in = 0;
    for mut connection in waiting {
        let_in += usize::from(connection.answer().await.status == 303);
    }
    assert_eq!(let_in, 1);
}

#[tokio::test]
async fn a_ticket_that_has_run_out_or_whose_session_has_is_nothing() {
    let world = world().await;
    let (_, ticket) = everything(&world, "alice").await;
    world.clock.advance(Duration::from_mins(1));
    let answer = world.open(&ticket, "/h5").send().await;
    answer.is_refused(401, "session_expired", "relogin");
    let (token, ticket) = everything(&world, "alice").await;
    let end = world.request("DELETE", "/wx/session").bearer(&token);
    assert_eq!(end.send().await.status, 204);
    let answer = world.open(&ticket, "/h5").send().await;
    answer.is_refused(401, "session_expired", "relogin");
    assert_eq!(set_by(&answer), None);
}

#[tokio::test]
async fn one_session_exchanges_so_many_tickets_and_keeps_nobody_else_from_it() {
    let world = world().await;
    let token = world.login("alice").await;
    for _ in 0..32 {
        let ticket = world.ticket(&token, "/**").await;
        assert_eq!(world.open(&ticket, "/").send().await.status, 303);
    }
    let ticket = world.ticket(&token, "/**").await;
    let answer = world.open(&ticket, "/").send().await;
    answer.is_refused(503, "overloaded", "retry");
    let (_, bobs) = everything(&world, "bob").await;
    assert_eq!(world.open(&bobs, "/").send().await.status, 303);
    world.clock.advance(Duration::from_mins(2));
    let ticket = world.ticket(&token, "/**").await;
    assert_eq!(world.open(&ticket, "/").send().await.status, 303);
}

#[tokio::test]
async fn only_a_get_takes_a_session_over() {
    let world = world().await;
    let (_, ticket) = everything(&world, "alice").await;
    let target = format!("/wx/ticket/{ticket}?to=/");
    for method in ["HEAD", "POST", "OPTIONS"] {
        let answer = world.request(method, &target).send().await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("GET"));
    }
    let overridden = world.get(&target).header("X-HTTP-Method-Override", "GET");
    assert_eq!(overridden.send().await.status, 405);
    assert_eq!(world.open(&ticket, "/").send().await.status, 303);
}

#[tokio::test]
async fn without_a_cookie_nothing_is_handed_over_and_the_ticket_goes_no_further() {
    let world = Setup::with("[paths]\nticket = \"/wx/ticket\"\n[access]\ndefault = \"public\"")
        .start()
        .await;
    let (_, ticket) = everything(&world, "alice").await;
    let answer = world.open(&ticket, "/h5").send().await;
    answer.is_refused(404, "not_found", "fix");
    assert_eq!(world.app.count(), 0);
}

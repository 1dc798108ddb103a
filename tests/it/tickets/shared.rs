//! Gates that share a Redis take each other's tickets, and each ticket is exchanged once among them.

use crate::support::redis::RedisServer;
use crate::support::{Setup, World};
use crate::tickets::TICKETS;

async fn two_gates() -> (RedisServer, World, World) {
    let redis = RedisServer::start().await;
    let toml = format!("{}{TICKETS}", redis.table());
    let first = Setup::with(&toml).start().await;
    let setup = Setup {
        wechat_url: Some(first.wechat_url()),
        ..Setup::with(&toml)
    };
    let second = setup.start().await;
    (redis, first, second)
}

#[tokio::test]
async fn a_ticket_of_one_gate_opens_at_another_what_it_opens_and_no_more() {
    let (_redis, first, second) = two_gates().await;
    let token = first.login("alice").await;
    let ticket = first.ticket(&token, "/files/**").await;
    let answer = second.get(&format!("/me?wx_ticket={ticket}")).send().await;
    answer.is_refused(401, "session_expired", "relogin");
    let target = format!("/files/a?wx_ticket={ticket}");
    assert_eq!(second.get(&target).send().await.status, 200);
    let seen = second.app.last();
    assert_eq!(seen.header("x-wx-openid"), [first.openid("alice")]);
    assert_eq!(seen.target, "/files/a");
    // It ends with its session, wherever that ends.
    let end = second.request("DELETE", "/wx/session").bearer(&token);
    assert_eq!(end.send().await.status, 204);
    let answer = second.get(&target).send().await;
    answer.is_refused(401, "session_expired", "relogin");
}

#[tokio::test]
async fn a_ticket_is_exchanged_once_among_all_gates() {
    let (_redis, first, second) = two_gates().await;
    let token = first.login("alice").await;
    let ticket = first.ticket(&token, "/**").await;
    let answer = second.open(&ticket, "/h5").send().await;
    assert_eq!(answer.status, 303, "{answer:?}");
    assert!(answer.header("set-cookie").unwrap().contains(&token));
    for gate in [&first, &second] {
        let again = gate.open(&ticket, "/h5").send().await;
        again.is_refused(401, "session_expired", "relogin");
    }
}

#[tokio::test]
async fn of_two_gates_that_are_shown_one_ticket_at_once_one_takes_it() {
    let (_redis, first, second) = two_gates().await;
    let token = first.login("alice").await;
    for _ in 0..8 {
        let ticket = first.ticket(&token, "/**").await;
        let (one, other) = tokio::join!(
            first.open(&ticket, "/h5").send(),
            second.open(&ticket, "/h5").send()
        );
        let mut both = [one.status, other.status];
        both.sort_unstable();
        assert_eq!(both, [303, 401]);
    }
}

#[tokio::test]
async fn while_redis_is_away_no_ticket_is_exchanged() {
    let (redis, first, _second) = two_gates().await;
    let token = first.login("alice").await;
    let ticket = first.ticket(&token, "/**").await;
    let target = format!("/files/a?wx_ticket={ticket}");
    assert_eq!(first.get(&target).send().await.status, 200);
    redis.kill();
    first.counts("wxgate_redis_connected", &[], 0.0).await;
    let answer = first.open(&ticket, "/h5").send().await;
    answer.is_refused(503, "overloaded", "retry");
    assert_eq!(answer.header("set-cookie"), None);
    // What needs no question goes on.
    assert_eq!(first.get(&target).send().await.status, 200);
}

#[tokio::test]
async fn an_invalid_cookie_that_redis_has_to_be_asked_about_is_nobody_and_is_forgotten() {
    let (_redis, first, second) = two_gates().await;
    let token = first.login("alice").await;
    let cookie = format!("sid={token}");
    let page = second.get("/files/optional/a").header("Cookie", &cookie);
    assert_eq!(page.send().await.status, 200);
    assert_eq!(
        second.app.last().header("x-wx-openid"),
        [first.openid("alice")]
    );
    let unknown = format!("sid=wxg_{}", "A".repeat(43));
    let page = second.get("/files/optional/a").header("Cookie", &unknown);
    let answer = page.send().await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(second.app.last().header("x-wx-openid"), [""; 0]);
    let answer = second.get("/me").header("Cookie", &unknown).send().await;
    answer.is_refused(401, "session_expired", "relogin");
    assert!(answer.header("set-cookie").unwrap().contains("Max-Age=0"));
}

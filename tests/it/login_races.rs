//! Codes that come more than once, logins that nobody waits for, and logins that replace another.

use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;
use wxgate::domain::clock::Clock;
use wxgate::domain::limits;
use wxgate::domain::secret::LoginCode;
use wxgate::gateway::Toll;
use wxgate::gateway::control::{Control, NoOutcome};
use wxgate::gateway::desk::{Brought, Desk, NoLogin};
use wxgate::sim::wechat::Misbehaviour;
use wxgate::store::Store;
use wxgate::wechat::client::Client;

use crate::support::app::until;
use crate::support::raw::Answer;
use crate::support::{APPID, SECRET, STUCK, Setup, World};

/// Late enough that other requests come meanwhile.
const LATE: Duration = Duration::from_millis(150);

impl World {
    /// Logs a user in with a request that carries a token.
    async fn renew(&self, user: &str, token: &str) -> String {
        let body = json!({ "code": self.code(user) });
        let request = self.post("/wx/login").bearer(token).json(&body);
        request.send().await.token()
    }

    /// Whether a token is taken.
    async fn takes(&self, token: &str) -> bool {
        let answer = self.get("/me").bearer(token).send().await;
        if answer.status == 200 {
            return true;
        }
        answer.is_refused(401, "session_expired", "relogin");
        false
    }
}

async fn redeem_all(world: &World, codes: &[&str]) -> Vec<Answer> {
    futures_util::future::join_all(codes.iter().map(|code| world.redeem(code))).await
}

#[tokio::test]
async fn a_code_is_redeemed_once_even_when_eight_requests_race() {
    let world = World::start().await;
    world.wechat.misbehave(1, Misbehaviour::Delay(LATE));
    let code = world.code("alice");
    let answers = redeem_all(&world, &[code.as_str(); 8]).await;
    let token = answers[0].token();
    for answer in &answers {
        assert_eq!(answer.token(), token);
    }
    assert_eq!(world.wechat.calls(), 1);
    assert!(world.takes(&token).await);
}

#[tokio::test]
async fn racing_requests_with_a_bad_code_ask_once_and_are_all_refused() {
    let world = World::start().await;
    let answers = redeem_all(&world, &["never-issued"; 8]).await;
    for answer in answers {
        answer.is_refused(400, "login_code_invalid", "relogin");
    }
    assert_eq!(world.wechat.calls(), 1);
}

#[tokio::test]
async fn a_failure_that_is_no_verdict_is_shared_by_who_waits_and_not_remembered() {
    let world = World::start().await;
    let code = world.code("alice");
    world.wechat.misbehave(1, Misbehaviour::Garbage);
    let refused = world.redeem(&code).await;
    refused.is_refused(502, "wechat_error", "retry");
    world.redeem(&code).await.token();
    assert_eq!(world.wechat.calls(), 2);
}

#[tokio::test]
async fn racing_requests_with_codes_of_their_own_do_not_share_an_answer() {
    let world = World::start().await;
    let codes = ["alice", "bob", "alice"].map(|user| world.code(user));
    world.wechat.misbehave(3, Misbehaviour::Delay(LATE));
    let answers = redeem_all(&world, &codes.each_ref().map(String::as_str)).await;
    assert_eq!(world.wechat.calls(), 3);
    for (answer, user) in answers.iter().zip(["alice", "bob", "alice"]) {
        assert!(world.takes(&answer.token()).await);
        let seen = world.app.last();
        assert_eq!(seen.header("x-wx-openid"), [world.openid(user)]);
    }
    assert_ne!(answers[0].token(), answers[2].token());
}

#[tokio::test]
async fn a_repeat_gets_the_same_answer_within_the_retry_window_and_not_after() {
    let world = World::start().await;
    let code = world.code("alice");
    let first = world.redeem(&code).await;
    world.clock.advance(Duration::from_millis(9_999));
    let repeated = world.redeem(&code).await;
    assert_eq!(repeated.token(), first.token());
    assert_eq!(repeated.json()["expires_in"], 7 * 24 * 3600 - 9);
    assert_eq!(world.wechat.calls(), 1);
    world.clock.advance(Duration::from_millis(1));
    let late = world.redeem(&code).await;
    late.is_refused(400, "login_code_used", "relogin");
    assert_eq!(world.wechat.calls(), 2);
    let again = world.redeem(&code).await;
    again.is_refused(400, "login_code_used", "relogin");
    assert_eq!(world.wechat.calls(), 2, "a used code is remembered");
    assert!(world.takes(&first.token()).await);
}

#[tokio::test]
async fn without_a_retry_window_a_code_works_once() {
    let world = Setup::with("[login]\nretry_window = \"0\"").start().await;
    let code = world.code("alice");
    world.redeem(&code).await.token();
    let repeated = world.redeem(&code).await;
    repeated.is_refused(400, "login_code_used", "relogin");
}

#[tokio::test]
async fn a_client_that_hangs_up_gets_its_token_when_it_asks_again() {
    let world = World::start().await;
    let code = world.code("alice");
    world.wechat.misbehave(1, Misbehaviour::Delay(LATE));
    let request = world.post("/wx/login").json(&json!({ "code": code }));
    let connection = request.begin().await;
    until("WeChat is asked", || world.wechat.calls() == 1).await;
    drop(connection);
    let token = world.redeem(&code).await.token();
    assert_eq!(world.wechat.calls(), 1);
    assert!(world.takes(&token).await);
}

#[tokio::test]
async fn a_login_replaces_the_session_whose_token_it_carries_after_a_minute() {
    let world = World::start().await;
    let old = world.login("alice").await;
    let new = world.renew("alice", &old).await;
    assert_ne!(old, new);
    world.clock.advance(Duration::from_secs(59));
    assert!(world.takes(&old).await);
    assert!(world.takes(&new).await);
    world.clock.advance(Duration::from_secs(2));
    assert!(!world.takes(&old).await);
    assert!(world.takes(&new).await);
}

#[tokio::test]
async fn a_login_without_a_token_replaces_nothing() {
    let world = World::start().await;
    let old = world.login("alice").await;
    world.login("alice").await;
    world.clock.advance(Duration::from_secs(61));
    assert!(world.takes(&old).await);
}

#[tokio::test]
async fn a_login_does_not_replace_the_session_of_another_user() {
    let world = World::start().await;
    let bob = world.login("bob").await;
    let alice = world.renew("alice", &bob).await;
    world.clock.advance(Duration::from_secs(61));
    assert!(world.takes(&bob).await);
    assert!(world.takes(&alice).await);
}

#[tokio::test]
async fn a_login_that_is_refused_replaces_nothing() {
    let world = World::start().await;
    let old = world.login("alice").await;
    let request = world.post("/wx/login").bearer(&old);
    let answer = request
        .json(&json!({ "code": "never-issued" }))
        .send()
        .await;
    answer.is_refused(400, "login_code_invalid", "relogin");
    world.clock.advance(Duration::from_secs(61));
    assert!(world.takes(&old).await);
}

/// Asks a desk whose control thread has as much to do as it may. On a thread of its own: a desk
/// that waits for itself would stop the test as well.
fn redeem_at_a_full_desk(answer: &mpsc::Sender<Option<NoLogin>>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let text = format!(
        "[upstream]\nurl = \"http://127.0.0.1:1\"\n[[apps]]\nappid = \"{APPID}\"\n\
         secret = \"{SECRET}\"\n"
    );
    let config = wxgate::config::parse(&text, std::path::Path::new("test.toml"), []);
    let config = config.unwrap().config;
    let control = Control::new(runtime.handle().clone());
    for _ in 0..limits::MAX_TASKS_IN_FLIGHT {
        control.place().unwrap().start(std::future::pending());
    }
    let client = Client::new(&config.wechat).unwrap();
    let store = Store::in_memory(&config.store);
    let desk = Desk::new(control, client, store, Clock::System);
    let settings = &config.gateway;
    for _ in 0..2 {
        let code = LoginCode::parse("code").unwrap();
        let brought = Brought {
            code,
            replaces: None,
            hook: None,
            toll: Toll::default(),
        };
        let redeemed = desk.redeem(&settings.apps[0], brought, settings);
        let refused = runtime.block_on(redeemed).err();
        answer.send(refused).unwrap();
    }
}

#[test]
fn a_login_beyond_all_that_may_be_under_way_is_refused_and_stops_nobody() {
    let (sender, answers) = mpsc::channel();
    std::thread::spawn(move || redeem_at_a_full_desk(&sender));
    for _ in 0..2 {
        let refused = answers.recv_timeout(STUCK).expect("the desk is stuck");
        assert!(
            matches!(refused, Some(NoLogin::NoOutcome(NoOutcome::Busy(_)))),
            "{refused:?}"
        );
    }
}

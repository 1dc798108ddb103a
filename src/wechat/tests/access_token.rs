//! The keeper of access tokens: how often it asks, and what its callers get meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::domain::id::AppId;
use crate::wechat::access_token::{Keeper, Keepers, refresh_after};
use crate::wechat::errcode::Errcode;
use crate::wechat::error::CallError;
use crate::wechat::tests::played::{APPID, PREVIOUS, Played, SECRET, credential, with_previous};
use crate::wechat::token_error::TokenError;

const FIRST: &str = r#"{"access_token":"planted-1","expires_in":7200}"#;
const SECOND: &str = r#"{"access_token":"planted-2","expires_in":7200}"#;
const BUSY: &str = r#"{"errcode":-1,"errmsg":"system error, rid: 1-2-3"}"#;
const BAD_SECRET: &str = r#"{"errcode":40125,"errmsg":"invalid appsecret, rid: 4-5-6"}"#;

fn keeper(played: &Played) -> Keeper {
    Keeper::new(played.client(), credential())
}

async fn text(keeper: &Keeper) -> String {
    keeper.token().await.unwrap().expose().to_owned()
}

/// Fails with a message that has no secret in it.
async fn failure(keeper: &Keeper) -> TokenError {
    let error = keeper.token().await.unwrap_err();
    let told = format!("{error} {error:?} {keeper:?}");
    assert!(!told.contains("planted"), "{told}");
    error
}

#[tokio::test]
async fn nothing_is_asked_before_somebody_needs_a_token_and_then_never_by_force() {
    let played = Played::start(&[FIRST]).await;
    let keeper = keeper(&played);
    assert_eq!(played.count(), 0);
    for _ in 0..3 {
        assert_eq!(text(&keeper).await, "planted-1");
    }
    assert_eq!(played.count(), 1);
    let request = played.request(0);
    assert!(request.starts_with("POST /cgi-bin/stable_token HTTP/1.1\r\n"));
    let (_head, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        body,
        format!(r#"{{"grant_type":"client_credential","appid":"{APPID}","secret":"{SECRET}"}}"#)
    );
}

#[tokio::test]
async fn everybody_who_waits_shares_one_refresh() {
    let played = Played::start(&[FIRST]).await;
    let keeper = keeper(&played);
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let keeper = keeper.clone();
        callers.spawn(async move { text(&keeper).await });
    }
    assert_eq!(callers.join_all().await, vec!["planted-1"; 50]);
    assert_eq!(played.count(), 1);
}

#[tokio::test]
async fn a_refresh_outlives_whoever_asked_for_it() {
    let played = Played::start(&[FIRST]).await;
    let keeper = keeper(&played);
    tokio::select! {
        biased;
        token = keeper.token() => panic!("{token:?}"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(text(&keeper).await, "planted-1");
    assert_eq!(played.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_answer_that_does_not_come_is_told_so_in_time() {
    let played = Played::start(&["hang"]).await;
    let error = failure(&keeper(&played)).await;
    assert!(
        matches!(error, TokenError::NoAnswer(CallError::TimedOut)),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_token_that_has_ended_is_given_to_nobody() {
    let played = Played::start(&[FIRST, SECOND]).await;
    let keeper = keeper(&played);
    assert_eq!(text(&keeper).await, "planted-1");
    played.held.advance(Duration::from_secs(7199));
    assert_eq!(text(&keeper).await, "planted-1");
    played.held.advance(Duration::from_secs(1));
    assert_eq!(text(&keeper).await, "planted-2");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_replaced_before_it_ends_and_the_old_one_is_used_until_then() {
    let played = Played::start(&[FIRST, BUSY, SECOND]).await;
    let keeper = keeper(&played);
    assert_eq!(text(&keeper).await, "planted-1");
    let wait = |duration| {
        played.held.advance(duration);
        tokio::time::sleep(duration)
    };
    wait(Duration::from_secs(6920)).await;
    assert_eq!(played.count(), 1);
    // Within the jitter, and then past the pause after the failure.
    wait(Duration::from_secs(80)).await;
    while played.count() < 2 {
        wait(Duration::from_secs(1)).await;
    }
    assert_eq!(text(&keeper).await, "planted-1");
    while played.count() < 3 {
        wait(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(text(&keeper).await, "planted-2");
    assert_eq!(played.count(), 3);
}

#[test]
fn a_refresh_comes_within_the_five_minutes_in_which_there_is_a_new_token() {
    for _ in 0..1000 {
        let after = refresh_after(Duration::from_hours(2)).as_secs();
        assert!((6930..=6990).contains(&after), "{after}");
        for short in [0, 1, 240, 299] {
            let after = refresh_after(Duration::from_secs(short)).as_secs();
            assert!((60..=90).contains(&after), "{after}");
        }
    }
}

#[tokio::test]
async fn a_storm_of_refusals_makes_one_refresh() {
    let played = Played::start(&[FIRST, SECOND]).await;
    let keeper = keeper(&played);
    let refused = keeper.token().await.unwrap();
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let (keeper, refused) = (keeper.clone(), Arc::clone(&refused));
        callers.spawn(async move { keeper.after_refusal(&refused).await.unwrap() });
    }
    for token in callers.join_all().await {
        assert_eq!(token.expose(), "planted-2");
    }
    assert_eq!(played.count(), 2);
    // One that comes late with the old token gets the new one.
    let late = keeper.after_refusal(&refused).await.unwrap();
    assert_eq!(late.expose(), "planted-2");
    assert_eq!(played.count(), 2);
}

#[tokio::test]
async fn a_refused_token_that_comes_again_is_no_reason_to_go_on_asking() {
    let played = Played::start(&[FIRST, FIRST, FIRST]).await;
    let keeper = keeper(&played);
    let refused = keeper.token().await.unwrap();
    for _ in 0..10 {
        let error = keeper.after_refusal(&refused).await.unwrap_err();
        assert!(matches!(error, TokenError::SameAgain), "{error:?}");
    }
    assert_eq!(played.count(), 2);
    played.held.advance(Duration::from_secs(5));
    keeper.after_refusal(&refused).await.unwrap_err();
    assert_eq!(played.count(), 3);
}

#[tokio::test]
async fn a_busy_wechat_is_asked_at_growing_intervals() {
    let played = Played::start(&[BUSY, "502", BUSY, FIRST]).await;
    let keeper = keeper(&played);
    for (calls, pause) in [(1, 1), (2, 2), (3, 4)] {
        for _ in 0..3 {
            let error = failure(&keeper).await;
            assert!(!matches!(error, TokenError::Misconfigured(_)), "{error:?}");
            assert_eq!(played.count(), calls);
        }
        played.held.advance(Duration::from_millis(pause * 1000 - 1));
        failure(&keeper).await;
        assert_eq!(played.count(), calls);
        played.held.advance(Duration::from_millis(1));
    }
    assert_eq!(text(&keeper).await, "planted-1");
}

#[tokio::test]
async fn a_wrong_configuration_is_told_at_once_and_not_asked_about_for_its_time() {
    for (errcode, seconds) in [
        (40001, 60),
        (40013, 60),
        (40125, 60),
        (40164, 60),
        (40243, 60),
        (50007, 60),
        (89503, 5 * 60),
        (89506, 24 * 3600),
        (89507, 3600),
    ] {
        let answer = format!(r#"{{"errcode":{errcode},"errmsg":"planted, rid: 1-2-3"}}"#);
        let played = Played::start(&[&answer, FIRST]).await;
        let keeper = keeper(&played);
        for _ in 0..3 {
            let error = failure(&keeper).await;
            assert!(matches!(error, TokenError::Misconfigured(_)), "{error:?}");
            let refused = error.refused().unwrap();
            assert_eq!(refused.errcode.number(), errcode);
            assert_eq!(refused.rid.as_deref(), Some("1-2-3"));
            assert!(refused.errcode.fix().is_some());
        }
        played
            .held
            .advance(Duration::from_millis(seconds * 1000 - 1));
        failure(&keeper).await;
        assert_eq!(played.count(), 1, "{errcode}");
        played.held.advance(Duration::from_millis(1));
        assert_eq!(text(&keeper).await, "planted-1", "{errcode}");
    }
}

#[tokio::test]
async fn the_address_that_is_refused_is_told() {
    let answer = r#"{"errcode":40164,"errmsg":"invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 1-2"}"#;
    let played = Played::start(&[answer]).await;
    let error = failure(&keeper(&played)).await;
    let refused = error.refused().unwrap();
    assert_eq!(refused.errcode, Errcode::IpNotListed);
    assert_eq!(refused.seen_ip, Some("203.0.113.7".parse().unwrap()));
}

#[tokio::test]
async fn the_previous_secret_is_tried_once_when_the_new_one_is_wrong() {
    let played = Played::start(&[BAD_SECRET, FIRST]).await;
    let keeper = Keeper::new(played.client(), with_previous());
    assert_eq!(text(&keeper).await, "planted-1");
    assert!(played.request(0).contains(SECRET));
    assert!(played.request(1).contains(PREVIOUS));

    let played = Played::start(&[BAD_SECRET, BAD_SECRET]).await;
    let keeper = Keeper::new(played.client(), with_previous());
    let error = failure(&keeper).await;
    assert!(matches!(error, TokenError::Misconfigured(_)), "{error:?}");
    assert_eq!(played.count(), 2);
}

#[tokio::test]
async fn an_answer_that_is_no_token_is_none() {
    for answer in [
        "{}",
        "[]",
        "<html>",
        r#"{"access_token":"planted"}"#,
        r#"{"access_token":"","expires_in":7200}"#,
        r#"{"access_token":"planted\r\nx: y","expires_in":7200}"#,
        r#"{"access_token":"planted","expires_in":-1}"#,
        r#"{"access_token":"planted","expires_in":7200,"errcode":-1}"#,
        "302",
    ] {
        let played = Played::start(&[answer]).await;
        failure(&keeper(&played)).await;
    }
}

#[tokio::test]
async fn a_life_that_is_told_too_long_is_not_believed() {
    let played = Played::start(&[r#"{"access_token":"planted-1","expires_in":99999999}"#]).await;
    let keeper = keeper(&played);
    text(&keeper).await;
    played.held.advance(Duration::from_hours(2));
    failure(&keeper).await;
    assert_eq!(played.count(), 2);
}

#[tokio::test]
async fn every_mini_program_has_a_keeper_of_its_own_and_nobody_else_has_one() {
    let played = Played::start(&[]).await;
    let apps = std::iter::once(credential());
    let keepers = Keepers::new(&played.client(), apps);
    assert_eq!(keepers.of(&credential().app).unwrap().app().as_str(), APPID);
    let other = AppId::parse("wxfedcba9876543210").unwrap();
    assert!(keepers.of(&other).is_none());
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_keep_the_gate_from_asking() {
    for back in [Duration::from_hours(3), Duration::from_hours(24 * 365 * 20)] {
        let played = Played::start(&[BAD_SECRET, FIRST, SECOND]).await;
        let keeper = keeper(&played);
        failure(&keeper).await;
        failure(&keeper).await;
        assert_eq!(played.count(), 1, "it is held");
        played.held.set_back(back);
        assert_eq!(text(&keeper).await, "planted-1");
        // By the new time it would live for longer than any token does.
        played.held.set_back(back);
        assert_eq!(text(&keeper).await, "planted-2");
        assert_eq!(played.count(), 3);
    }
}

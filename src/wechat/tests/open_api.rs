//! The calls with an access token: what goes out, what an answer means, and how often WeChat is
//! asked.

use std::error::Error;
use std::time::Duration;

use crate::crypto::session_key;
use crate::domain::clock::Timestamp;
use crate::domain::id::OpenId;
use crate::domain::secret::{PhoneCode, SessionKey};
use crate::wechat::access_token::Keeper;
use crate::wechat::error::{CallError, Malformed};
use crate::wechat::open_api::OpenApiError;
use crate::wechat::phone::{Phone, PhoneError};
use crate::wechat::session_key::{Authenticity, KeyState};
use crate::wechat::tests::played::{Played, credential};
use crate::wechat::token_error::TokenError;

const TOKEN: &str = r#"{"access_token":"planted+1","expires_in":7200}"#;
const TOKEN_2: &str = r#"{"access_token":"planted+2","expires_in":7200}"#;
const OK: &str = r#"{"errcode":0,"errmsg":"ok"}"#;
const NOT_LATEST: &str =
    r#"{"errcode":40001,"errmsg":"invalid credential, access_token is invalid, rid: 1"}"#;
/// The key of WeChat's published example of such a signature.
const KEY: &str = "o0q0otL8aEzpcZL/FT9WsQ==";
/// HMAC-SHA256 of nothing under the text of that key; computed with OpenSSL.
const SIGNATURE: &str = "46e043c5525c2d817c44be603d30837a808a1d930d038f6fdc3e62a201fed128";

fn keeper(played: &Played) -> Keeper {
    Keeper::new(played.client(), credential())
}

fn openid() -> OpenId {
    OpenId::parse("o+User").unwrap()
}

fn key() -> SessionKey {
    session_key::parse(KEY).unwrap()
}

async fn check_session(played: &Played) -> Result<KeyState, OpenApiError> {
    let outcome = played
        .client()
        .check_session(&keeper(played), &openid(), &key())
        .await;
    tells_nothing(&outcome);
    outcome
}

async fn check_encrypted(played: &Played) -> Result<Authenticity, OpenApiError> {
    let outcome = played
        .client()
        .check_encrypted(&keeper(played), "abc")
        .await;
    tells_nothing(&outcome);
    outcome
}

async fn phone(played: &Played) -> Result<Phone, PhoneError> {
    let code = PhoneCode::parse("planted-code").unwrap();
    let outcome = played
        .client()
        .phone_number(&keeper(played), &openid(), &code)
        .await;
    tells_nothing(&outcome);
    outcome
}

fn tells_nothing<T: std::fmt::Debug, E: Error + 'static>(outcome: &Result<T, E>) {
    let mut told = format!("{outcome:?}");
    let mut next: Option<&(dyn Error + 'static)> = match outcome {
        Ok(_value) => None,
        Err(error) => Some(error),
    };
    while let Some(error) = next {
        told.push_str(&error.to_string());
        next = error.source();
    }
    for hidden in ["planted", "13800138000", KEY, "o+User"] {
        assert!(!told.contains(hidden), "{told}");
    }
}

#[tokio::test]
async fn a_key_is_checked_by_a_signature_keyed_with_its_text() {
    let played = Played::start(&[TOKEN, OK]).await;
    assert_eq!(check_session(&played).await.unwrap(), KeyState::Current);
    let request = played.request(1);
    let line = request.lines().next().unwrap();
    assert_eq!(
        line,
        format!(
            "GET /wxa/checksession?access_token=planted%2B1&openid=o%2BUser\
             &signature={SIGNATURE}&sig_method=hmac_sha256 HTTP/1.1"
        )
    );
}

#[tokio::test]
async fn a_key_that_wechat_does_not_take_is_stale_and_other_refusals_say_nothing_about_it() {
    for errcode in [87007, 87009] {
        let answer = format!(r#"{{"errcode":{errcode},"errmsg":"invalid signature"}}"#);
        let played = Played::start(&[TOKEN, &answer]).await;
        assert_eq!(check_session(&played).await.unwrap(), KeyState::Stale);
    }
    for answer in [
        r#"{"errcode":-1}"#,
        r#"{"errcode":40003}"#,
        r#"{"errcode":"x"}"#,
        "502",
        "[]",
    ] {
        let played = Played::start(&[TOKEN, answer]).await;
        check_session(&played).await.unwrap_err();
        assert_eq!(played.count(), 2, "{answer}");
    }
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_the_call_made_again() {
    for errcode in [40001, 40014, 42001] {
        let refusal = format!(r#"{{"errcode":{errcode},"errmsg":"planted"}}"#);
        let played = Played::start(&[TOKEN, &refusal, TOKEN_2, OK]).await;
        assert_eq!(check_session(&played).await.unwrap(), KeyState::Current);
        assert!(played.request(3).contains("access_token=planted%2B2"));
        // And no more than once.
        let played = Played::start(&[TOKEN, &refusal, TOKEN_2, &refusal, OK]).await;
        let error = check_session(&played).await.unwrap_err();
        assert!(!error.is_misconfigured(), "{error:?}");
        assert_eq!(played.count(), 4);
    }
}

#[tokio::test]
async fn without_another_token_the_call_is_not_made_again() {
    let played = Played::start(&[TOKEN, NOT_LATEST, TOKEN, OK]).await;
    let error = check_session(&played).await.unwrap_err();
    assert!(
        matches!(error, OpenApiError::Token(TokenError::SameAgain)),
        "{error:?}"
    );
    assert_eq!(played.count(), 3);
}

#[tokio::test]
async fn without_any_token_no_call_is_made() {
    let played = Played::start(&[r#"{"errcode":40164,"errmsg":"invalid ip 203.0.113.7"}"#]).await;
    let error = check_session(&played).await.unwrap_err();
    assert!(error.is_misconfigured(), "{error:?}");
    assert!(error.refused().unwrap().seen_ip.is_some());
    assert_eq!(played.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline() {
    for answers in [&["hang"][..], &[TOKEN, "hang"]] {
        let played = Played::start(answers).await;
        let error = check_session(&played).await.unwrap_err();
        let call = match &error {
            OpenApiError::Call(call) | OpenApiError::Token(TokenError::NoAnswer(call)) => call,
            other => panic!("{other:?}"),
        };
        assert!(matches!(call, CallError::TimedOut), "{error:?}");
    }
}

#[tokio::test]
async fn data_is_authentic_only_when_wechat_says_so() {
    let created = Timestamp::EPOCH.plus(Duration::from_secs(1_629_121_902));
    let created = Some(created);
    let unknown = Authenticity::Unknown;
    for (answer, expect) in [
        (
            r#"{"vaild":true,"create_time":1629121902,"errcode":0}"#,
            Authenticity::Authentic { created },
        ),
        (
            r#"{"valid":true}"#,
            Authenticity::Authentic { created: None },
        ),
        (r#"{"vaild":false,"create_time":0,"errcode":0}"#, unknown),
        (r#"{"errcode":1,"errmsg":"no data"}"#, unknown),
    ] {
        let played = Played::start(&[TOKEN, answer]).await;
        assert_eq!(check_encrypted(&played).await.unwrap(), expect, "{answer}");
        let request = played.request(1);
        let line = "POST /wxa/business/checkencryptedmsg?access_token=planted%2B1 HTTP/1.1";
        assert_eq!(request.lines().next().unwrap(), line);
        // SHA-256 of "abc" (FIPS 180-4, appendix).
        assert!(request.ends_with(
            r#"{"encrypted_msg_hash":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}"#
        ));
    }
    for answer in [OK, r#"{"vaild":"true"}"#, r#"{"errcode":-1}"#, "<html>"] {
        let played = Played::start(&[TOKEN, answer]).await;
        check_encrypted(&played).await.unwrap_err();
    }
}

fn phone_answer(watermark: &str) -> String {
    format!(
        r#"{{"errcode":0,"errmsg":"ok","phone_info":{{"phoneNumber":"13800138000",
        "purePhoneNumber":"13800138000","countryCode":86{watermark}}}}}"#
    )
}

#[tokio::test]
async fn a_phone_number_comes_with_the_user_it_is_asked_for() {
    let watermark = r#","watermark":{"timestamp":1637744274,"appid":"wx0123456789abcdef"}"#;
    let played = Played::start(&[TOKEN, &phone_answer(watermark)]).await;
    let phone = phone(&played).await.unwrap();
    assert_eq!(phone.info["purePhoneNumber"], "13800138000");
    assert_eq!(phone.info["countryCode"], 86);
    assert_eq!(phone.given.as_secs(), 1_637_744_274);
    let request = played.request(1);
    let line = "POST /wxa/business/getuserphonenumber?access_token=planted%2B1 HTTP/1.1";
    assert_eq!(request.lines().next().unwrap(), line);
    assert!(request.ends_with(r#"{"code":"planted-code","openid":"o+User"}"#));
}

#[tokio::test]
async fn a_phone_number_of_another_mini_program_is_none() {
    for watermark in [
        "",
        r#","watermark":null"#,
        r#","watermark":{"appid":"wx0123456789abcdef"}"#,
        r#","watermark":{"timestamp":1637744274}"#,
        r#","watermark":{"timestamp":1637744274,"appid":"wxfedcba9876543210"}"#,
        r#","watermark":{"timestamp":1637744274,"appid":""}"#,
        r#","watermark":{"timestamp":1637744274,"appid":["wx0123456789abcdef"]}"#,
    ] {
        let played = Played::start(&[TOKEN, &phone_answer(watermark)]).await;
        let error = phone(&played).await.unwrap_err();
        let PhoneError::Call(OpenApiError::Call(CallError::Malformed(malformed))) = error else {
            panic!("{error:?}");
        };
        assert_eq!(malformed, Malformed::Watermark, "{watermark}");
    }
}

#[tokio::test]
async fn a_bad_phone_code_is_the_clients_and_is_not_sent_again() {
    for errcode in [40029, 40003, 40013] {
        let answer = format!(r#"{{"errcode":{errcode},"errmsg":"invalid code"}}"#);
        let played = Played::start(&[TOKEN, &answer]).await;
        let error = phone(&played).await.unwrap_err();
        assert!(matches!(error, PhoneError::CodeInvalid(_)), "{error:?}");
        assert_eq!(played.count(), 2);
    }
    let not_granted = r#"{"errcode":48001,"errmsg":"api unauthorized"}"#;
    let played = Played::start(&[TOKEN, not_granted]).await;
    let PhoneError::Call(error) = phone(&played).await.unwrap_err() else {
        panic!("the operator's");
    };
    assert!(error.is_misconfigured(), "{error:?}");
    assert!(error.refused().unwrap().errcode.fix().is_some());
}

#[tokio::test]
async fn an_api_that_goes_on_failing_is_left_alone_and_the_others_are_not() {
    let played = Played::start(&[TOKEN, "502", "502", "502", "502", "502"]).await;
    let (client, keeper) = (played.client(), keeper(&played));
    let openid = openid();
    for _ in 0..5 {
        let failed = client.check_session(&keeper, &openid, &key()).await;
        failed.unwrap_err();
    }
    let error = client.check_session(&keeper, &openid, &key()).await;
    let error = error.unwrap_err();
    let OpenApiError::Call(CallError::Paused { retry_after }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(retry_after, Duration::from_secs(5));
    assert_eq!(played.count(), 6);
    played.then(&[r#"{"vaild":false}"#, OK]);
    client.check_encrypted(&keeper, "abc").await.unwrap();
    played.held.advance(Duration::from_secs(5));
    let state = client.check_session(&keeper, &openid, &key()).await;
    assert_eq!(state.unwrap(), KeyState::Current);
}

#[tokio::test]
async fn an_api_that_is_not_granted_is_not_asked_again_and_again() {
    let not_granted = r#"{"errcode":48001,"errmsg":"api unauthorized"}"#;
    let played = Played::start(&[TOKEN, not_granted, OK]).await;
    let (client, keeper) = (played.client(), keeper(&played));
    let openid = openid();
    for _ in 0..3 {
        let error = client.check_session(&keeper, &openid, &key()).await;
        assert!(error.unwrap_err().is_misconfigured());
    }
    assert_eq!(played.count(), 2);
    played.held.advance(Duration::from_secs(10));
    let state = client.check_session(&keeper, &openid, &key()).await;
    assert_eq!(state.unwrap(), KeyState::Current);
}

#[tokio::test]
async fn no_code_of_a_client_can_shut_the_api_for_others() {
    let foreign = r#"{"errcode":40013,"errmsg":"invalid appid"}"#;
    let watermark = r#","watermark":{"timestamp":1,"appid":"wx0123456789abcdef"}"#;
    let good = phone_answer(watermark);
    let played = Played::start(&[TOKEN, foreign, &good]).await;
    let (client, keeper) = (played.client(), keeper(&played));
    let code = PhoneCode::parse("planted-code").unwrap();
    let refused = client.phone_number(&keeper, &openid(), &code).await;
    refused.unwrap_err();
    let good = client.phone_number(&keeper, &openid(), &code).await;
    good.unwrap();
}

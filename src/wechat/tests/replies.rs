//! What an answer of WeChat means.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use crate::crypto::session_key;
use crate::domain::id::UnionId;
use crate::domain::limits;
use crate::wechat::error::{CallError, Malformed, RedeemError};
use crate::wechat::reply::{self, Redeemed};

const VECTORS: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/vectors/wechat-vectors.json"
));

fn classify(status: u16, body: &[u8]) -> Result<Redeemed, RedeemError> {
    Ok(reply::redeemed(status, body)?)
}

/// The name of the vectors for it.
fn kind(error: &RedeemError) -> &'static str {
    match error {
        RedeemError::Busy(_) => "upstream_busy",
        RedeemError::Call(CallError::Malformed(_)) => "upstream_malformed",
        RedeemError::Call(_) | RedeemError::Unknown(_) => "upstream_error",
        RedeemError::CodeInvalid(_) => "code_invalid",
        RedeemError::CodeUsed(_) => "code_used",
        RedeemError::Misconfigured(_) => "config_error",
        RedeemError::RateLimited(_) => "rate_limited",
        RedeemError::UserBlocked(_) => "user_blocked",
    }
}

fn rid(error: &RedeemError) -> Option<&str> {
    error.refused()?.rid.as_deref()
}

#[test]
fn every_vector_of_jscode2session_holds() {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let mut ran = 0;
    for vector in file["vectors"].as_array().unwrap() {
        if vector["op"] != "jscode2session.classify" {
            continue;
        }
        ran += 1;
        let (input, expect) = (&vector["input"], &vector["expect"]);
        let status = u16::try_from(input["http_status"].as_u64().unwrap()).unwrap();
        match classify(status, input["body"].as_str().unwrap().as_bytes()) {
            Ok(redeemed) => check_redeemed(&redeemed, expect),
            Err(error) => {
                assert_eq!(expect["kind"], kind(&error), "{vector}");
                let is_busy = matches!(error, RedeemError::Busy(_));
                assert_eq!(expect["retry_same_code"], is_busy, "{vector}");
            }
        }
    }
    assert_eq!(ran, 24);
}

fn check_redeemed(redeemed: &Redeemed, expect: &Value) {
    assert_eq!(expect["ok"], true, "{expect}");
    assert_eq!(expect["openid"], redeemed.openid.as_str(), "{expect}");
    let unionid = redeemed.unionid.as_ref().map(UnionId::as_str);
    assert_eq!(expect["unionid"].as_str(), unionid, "{expect}");
    if let Some(text) = expect["session_key"].as_str() {
        assert_eq!(text, session_key::text(&redeemed.session_key).as_str());
    }
}

#[test]
fn an_answer_that_is_none_is_named_by_what_is_wrong_with_it() {
    let key = "D1ZWEygStjuLCnZ9IN2l4Q==";
    for (body, wrong) in [
        ("<html>".to_owned(), Malformed::Json),
        ("[]".to_owned(), Malformed::Json),
        (format!(r#"[0,"ok","a","{key}",null]"#), Malformed::Json),
        ("null".to_owned(), Malformed::Json),
        (r#"{"errcode":"x"}"#.to_owned(), Malformed::Errcode),
        (r#"{"errcode":1.5}"#.to_owned(), Malformed::Errcode),
        (r#"{"errcode":true}"#.to_owned(), Malformed::Errcode),
        (
            format!(r#"{{"openid":1,"session_key":"{key}"}}"#),
            Malformed::Json,
        ),
        (
            format!(r#"{{"openid":"a","openid":"b","session_key":"{key}"}}"#),
            Malformed::Json,
        ),
        (
            format!(r#"{{"openid":"a\r\nb","session_key":"{key}"}}"#),
            Malformed::OpenId,
        ),
        (
            r#"{"openid":"a","session_key":"AAAA"}"#.to_owned(),
            Malformed::SessionKey,
        ),
        (
            format!(r#"{{"openid":"a","session_key":"{key}","unionid":"a b"}}"#),
            Malformed::UnionId,
        ),
    ] {
        match classify(200, body.as_bytes()) {
            Err(RedeemError::Call(CallError::Malformed(malformed))) => {
                assert_eq!(malformed, wrong, "{body}");
            }
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn an_empty_unionid_counts_as_absent_and_a_string_zero_as_success() {
    let body =
        r#"{"errcode":"0","openid":"a","session_key":"D1ZWEygStjuLCnZ9IN2l4Q==","unionid":""}"#;
    assert!(classify(200, body.as_bytes()).unwrap().unionid.is_none());
    let body =
        r#"{"errcode":null,"openid":"a","session_key":"D1ZWEygStjuLCnZ9IN2l4Q==","unionid":null}"#;
    assert!(classify(200, body.as_bytes()).unwrap().unionid.is_none());
}

#[test]
fn the_request_id_is_taken_by_its_shape() {
    for (errmsg, rid) in [
        (
            "invalid code, rid: 67403233-1109bf03-213acb4d",
            Some("67403233-1109bf03-213acb4d"),
        ),
        ("invalid code rid:abc, more", Some("abc")),
        ("code been used, hints: [ req_id: AijFoqaLRa-pTFm4 ]", None),
        ("rid: ", None),
        ("rid: 张三", None),
    ] {
        let body = serde_json::json!({"errcode": 40029, "errmsg": errmsg}).to_string();
        let error = classify(200, body.as_bytes()).unwrap_err();
        assert_eq!(self::rid(&error), rid, "{errmsg}");
    }
    let body = format!(
        r#"{{"errcode":40029,"errmsg":"rid: {}"}}"#,
        "a".repeat(1000)
    );
    let error = classify(200, body.as_bytes()).unwrap_err();
    assert_eq!(rid(&error).unwrap().len(), limits::MAX_RID_BYTES);
}

#[test]
fn the_address_that_wechat_saw_is_told() {
    let errmsg = "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist rid: x";
    let body = serde_json::json!({"errcode": 40164, "errmsg": errmsg}).to_string();
    match classify(200, body.as_bytes()) {
        Err(RedeemError::Misconfigured(refused)) => {
            let seen = IpAddr::V4(Ipv4Addr::new(1, 2, 3, 4));
            assert_eq!(refused.seen_ip, Some(seen));
            assert_eq!(refused.rid.as_deref(), Some("x"));
            assert!(refused.errcode.fix().is_some());
        }
        other => panic!("{other:?}"),
    }
}

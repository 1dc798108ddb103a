//! The published and the derived vectors, and the properties behind them.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::crypto::session_key::{self, SessionKeyError};
use crate::crypto::user_data::{self, Expected, UserDataError};
use crate::crypto::{random, signature};
use crate::domain::clock::Timestamp;
use crate::domain::id::{AppId, OpenId};
use crate::domain::secret::SessionKey;

const VECTORS: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/vectors/wechat-vectors.json"
));

/// Runs every vector of one operation, and makes sure that there are as many as there should be.
pub(in crate::crypto) fn each_vector(op: &str, count: usize, check: impl Fn(&Value)) {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    let of_op: Vec<_> = vectors.iter().filter(|vector| vector["op"] == op).collect();
    assert_eq!(of_op.len(), count, "vectors of {op}");
    for vector in of_op {
        check(vector);
    }
}

/// Opens the data of one vector, or gives the name of what is wrong with it.
fn open_vector(input: &Value) -> Result<String, &'static str> {
    let text = |field: &str| input[field].as_str().unwrap();
    let key = session_key::parse(text("session_key")).map_err(|error| match error {
        SessionKeyError::BadBase64 => "bad_base64",
        SessionKeyError::BadLength => "bad_key_length",
    })?;
    let Ok(app) = AppId::parse(text("appid")) else {
        // The type holds no empty appid, so no data can be compared with one.
        assert_eq!(text("appid"), "");
        return Err("watermark_appid_mismatch");
    };
    let openid = input["openid"]
        .as_str()
        .map(|openid| OpenId::parse(openid).unwrap());
    let expected = Expected {
        app: &app,
        openid: openid.as_ref(),
        now: Timestamp::from_millis(input["now"].as_u64().unwrap_or_default() * 1000),
        max_age: input["max_age"].as_u64().map(Duration::from_secs),
    };
    user_data::open(&key, text("iv"), text("encrypted_data"), &expected)
        .map_err(UserDataError::name)
}

#[test]
fn every_vector_of_encrypted_data_holds() {
    each_vector("open_data.decrypt", 70, |vector| {
        let expect = &vector["expect"];
        match open_vector(&vector["input"]) {
            Ok(plaintext) => assert_eq!(expect["plaintext"], plaintext, "{vector}"),
            Err(name) => assert_eq!(expect["error"], name, "{vector}"),
        }
    });
}

#[test]
fn what_the_gate_seals_is_what_wechat_would() {
    each_vector("open_data.decrypt", 70, |vector| {
        let Ok(plaintext) = open_vector(&vector["input"]) else {
            return;
        };
        let key = session_key::parse(vector["input"]["session_key"].as_str().unwrap()).unwrap();
        let iv = decode_16(vector["input"]["iv"].as_str().unwrap());
        let sealed = user_data::seal(&key, &iv, &plaintext);
        assert_eq!(vector["input"]["encrypted_data"], sealed, "{vector}");
    });
}

#[test]
fn every_vector_of_raw_data_holds() {
    each_vector("raw_data.verify", 6, |vector| {
        let text = |field: &str| vector["input"][field].as_str().unwrap();
        let key = session_key::parse(text("session_key")).unwrap();
        let right = signature::verify_raw_data(text("raw_data"), &key, text("signature"));
        assert_eq!(vector["expect"]["ok"], right, "{vector}");
    });
}

/// Vectors that nothing runs, on purpose: this version neither signs nor encrypts calls to WeChat's
/// servers (服务端API签名). Counted, so that no other kind is left out unnoticed.
#[test]
fn the_vectors_of_signed_server_calls_are_counted_out() {
    for (op, count) in [
        ("api_security.gcm_open", 2),
        ("api_security.pss_verify", 2),
        ("api_security.string_to_sign", 1),
    ] {
        each_vector(op, count, |_vector| {});
    }
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    // Those of logins and referers run beside the code that reads them.
    let run = [70, 6, 3, 24, 10, 25, 9, 7, 5];
    let counted_out = 2 + 2 + 1;
    let all = file["vectors"].as_array().unwrap().len();
    assert_eq!(all, run.iter().sum::<usize>() + counted_out);
}

#[test]
fn an_upper_case_signature_is_refused() {
    let key = SessionKey::new([7; 16]);
    let signature = signature::raw_data("{}", &key);
    assert!(signature::verify_raw_data("{}", &key, &signature));
    let upper = signature.to_uppercase();
    assert!(!signature::verify_raw_data("{}", &key, &upper));
}

#[test]
fn every_vector_of_the_session_signature_holds() {
    each_vector("session_signature.compute", 3, |vector| {
        let text = |field: &str| vector["input"][field].as_str().unwrap();
        let key = session_key::parse(text("session_key")).unwrap();
        let signature = signature::session(&key, text("message").as_bytes());
        assert_eq!(vector["expect"]["signature"], signature, "{vector}");
    });
}

#[test]
fn an_openid_that_is_no_text_is_somebody_else() {
    for openid in [json!(null), json!(1), json!(["oUser"]), json!("")] {
        let data = json!({"openId": openid, "watermark": {"appid": "wx1"}});
        let error = open_plain(&data.to_string()).unwrap_err();
        assert_eq!(error, UserDataError::OpenidMismatch, "{data}");
    }
}

#[test]
fn a_timestamp_that_is_no_number_of_seconds_counts_as_missing() {
    let stamps = [
        json!(null),
        json!(-1),
        json!(1.5),
        json!("+1"),
        json!(""),
        json!("1e9"),
    ];
    for timestamp in stamps {
        let data = json!({"watermark": {"appid": "wx1", "timestamp": timestamp}});
        let error = open_fresh(&data.to_string()).unwrap_err();
        assert_eq!(error, UserDataError::WatermarkMissing, "{data}");
    }
    let error = open_fresh(r#"{"watermark":{"appid":"wx1"}}"#).unwrap_err();
    assert_eq!(error, UserDataError::WatermarkMissing);
}

#[test]
fn a_timestamp_at_the_far_end_of_time_is_in_the_future() {
    let data = json!({"watermark": {"appid": "wx1", "timestamp": u64::MAX}});
    let error = open_fresh(&data.to_string()).unwrap_err();
    assert_eq!(error, UserDataError::WatermarkFuture);
}

proptest! {
    #[test]
    fn what_was_sealed_opens_to_the_same_text(
        name in any::<String>(),
        key in any::<[u8; 16]>(),
        iv in any::<[u8; 16]>(),
    ) {
        let data = json!({
            "openId": "oUser",
            "nickName": name,
            "watermark": {"appid": "wx1", "timestamp": 1_700_000_000},
        })
        .to_string();
        let key = SessionKey::new(key);
        let sealed = user_data::seal(&key, &iv, &data);
        prop_assert_eq!(open_sealed(&key, &iv, &sealed, Some("oUser")).unwrap(), data);
    }

    #[test]
    fn any_object_of_any_mini_program_opens_as_it_was_sealed(
        fields in prop::collection::hash_map("[a-z]{1,8}", ".{0,20}", 0..6),
        app in "[!-~]{1,128}",
        key in any::<[u8; 16]>(),
        iv in any::<[u8; 16]>(),
    ) {
        let mut data = json!(fields);
        data["watermark"] = json!({"appid": app, "timestamp": 1_700_000_000});
        // White space after an object makes every length, so that all of 1 to 16 bytes are padded.
        for spaces in 0..16 {
            let text = format!("{data}{}", " ".repeat(spaces));
            let key = SessionKey::new(key);
            let expected = Expected {
                app: &AppId::parse(&app).unwrap(),
                openid: None,
                now: Timestamp::from_millis(1_700_000_000_000),
                max_age: Some(Duration::from_hours(1)),
            };
            let sealed = user_data::seal(&key, &iv, &text);
            prop_assert_eq!(user_data::open(&key, &encode(&iv), &sealed, &expected).unwrap(), text);
        }
    }

    #[test]
    fn a_changed_iv_or_ciphertext_never_makes_another_user(
        position in 0_usize..128,
        flip in 1_u8..,
    ) {
        let data = json!({"openId": "oUser", "watermark": {"appid": "wx1"}}).to_string();
        let key = SessionKey::new(random::bytes());
        let mut bytes = random::bytes::<16>().to_vec();
        let iv: [u8; 16] = bytes.as_slice().try_into().unwrap();
        bytes.extend(decode(&user_data::seal(&key, &iv, &data)));
        let position = position % bytes.len();
        bytes[position] ^= flip;
        let (iv, ciphertext) = bytes.split_first_chunk().unwrap();
        if let Ok(text) = open_sealed(&key, iv, &encode(ciphertext), Some("oUser")) {
            let object: Value = serde_json::from_str(&text).unwrap();
            let openid = object.get("openId");
            prop_assert!(openid.is_none_or(|openid| openid == "oUser"), "{}", text);
        }
    }

    #[test]
    fn no_input_makes_opening_panic(iv in ".{0,30}", data in ".{0,100}", bytes in any::<Vec<u8>>()) {
        let (key, expected) = (SessionKey::new([1; 16]), AppId::parse("wx1").unwrap());
        let expected = Expected {
            app: &expected,
            openid: None,
            now: Timestamp::NEVER,
            max_age: Some(Duration::MAX),
        };
        prop_assert!(user_data::open(&key, &iv, &data, &expected).is_err());
        let iv = encode(&[0; 16]);
        prop_assert!(user_data::open(&key, &iv, &encode(&bytes), &expected).is_err());
    }
}

fn open_sealed(
    key: &SessionKey,
    iv: &[u8; 16],
    sealed: &str,
    openid: Option<&str>,
) -> Result<String, UserDataError> {
    let openid = openid.map(|openid| OpenId::parse(openid).unwrap());
    let expected = Expected {
        app: &AppId::parse("wx1").unwrap(),
        openid: openid.as_ref(),
        now: Timestamp::EPOCH,
        max_age: None,
    };
    user_data::open(key, &encode(iv), sealed, &expected)
}

fn open_plain(plaintext: &str) -> Result<String, UserDataError> {
    let key = SessionKey::new([7; 16]);
    let sealed = user_data::seal(&key, &[9; 16], plaintext);
    open_sealed(&key, &[9; 16], &sealed, Some("oUser"))
}

fn open_fresh(plaintext: &str) -> Result<String, UserDataError> {
    let key = SessionKey::new([7; 16]);
    let expected = Expected {
        app: &AppId::parse("wx1").unwrap(),
        openid: None,
        now: Timestamp::from_millis(1_700_000_000_000),
        max_age: Some(Duration::from_hours(1)),
    };
    let sealed = user_data::seal(&key, &[9; 16], plaintext);
    user_data::open(&key, &encode(&[9; 16]), &sealed, &expected)
}

fn encode(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap()
}

fn decode_16(text: &str) -> [u8; 16] {
    decode(text).try_into().unwrap()
}

//! Pushes: the published and the derived vectors, and the properties behind them.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::crypto::tests::each_vector;

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector["input"][field].as_str().unwrap()
}

fn stamp(vector: &Value) -> Stamp<'_> {
    Stamp {
        timestamp: text(vector, "timestamp"),
        nonce: text(vector, "nonce"),
    }
}

fn token(vector: &Value) -> PushToken {
    PushToken::parse(text(vector, "token")).unwrap()
}

fn key(vector: &Value) -> Option<EncodingAesKey> {
    EncodingAesKey::parse(text(vector, "encoding_aes_key"))
}

#[test]
fn every_vector_of_the_key_holds() {
    each_vector("push.aes_key", 9, |vector| match key(vector) {
        Some(key) => assert_eq!(vector["expect"]["key_hex"], hex(key.expose()), "{vector}"),
        None => assert_eq!(vector["expect"]["error"], "bad_aes_key", "{vector}"),
    });
}

#[test]
fn every_vector_of_the_url_signature_holds() {
    each_vector("push.verify_url", 7, |vector| {
        let right = verify_stamp(&token(vector), stamp(vector), text(vector, "signature"));
        assert_eq!(vector["expect"]["ok"], right, "{vector}");
    });
}

/// The name of the vectors for it.
fn name(error: PushError) -> &'static str {
    match error {
        PushError::BadBase64 => "bad_base64",
        PushError::BadCiphertextLength => "bad_ciphertext_length",
        PushError::BadMsgLen => "bad_msg_len",
        PushError::BadPadding => "bad_padding",
        PushError::BadUtf8 => "bad_utf8",
        PushError::ReceiveIdMismatch => "receiveid_mismatch",
        PushError::SignatureMismatch => "signature_mismatch",
    }
}

fn open_vector(vector: &Value) -> Result<String, &'static str> {
    let Ok(app) = AppId::parse(text(vector, "receive_id")) else {
        // The type holds no appid with a space, so no message can be for one.
        assert_eq!(text(vector, "receive_id"), "invalid appid");
        return Err("receiveid_mismatch");
    };
    let keys = AppKeys {
        app: &app,
        token: &token(vector),
        current: &key(vector).unwrap(),
        previous: None,
    };
    let (encrypt, signature) = (text(vector, "encrypt"), text(vector, "msg_signature"));
    let opened = open(keys, stamp(vector), encrypt, signature);
    opened.map(|opened| opened.message).map_err(name)
}

#[test]
fn every_vector_of_an_encrypted_push_holds() {
    each_vector("push.decrypt", 25, |vector| {
        let expect = &vector["expect"];
        match open_vector(vector) {
            Ok(message) => {
                assert_eq!(expect["message"], message, "{vector}");
                assert_eq!(expect["message_len"], message.len(), "{vector}");
            }
            Err(name) => assert_eq!(expect["error"], name, "{vector}"),
        }
    });
}

#[test]
fn every_vector_of_an_encrypted_answer_holds() {
    each_vector("push.encrypt", 5, |vector| {
        let app = AppId::parse(text(vector, "receive_id")).unwrap();
        let random = text(vector, "random").as_bytes().try_into().unwrap();
        let sealed = seal(&key(vector).unwrap(), &app, random, text(vector, "message")).unwrap();
        assert_eq!(vector["expect"]["encrypt"], sealed, "{vector}");
        if let Some(signature) = vector["expect"]["msg_signature"].as_str() {
            let right = msg_signature(&token(vector), stamp(vector), &sealed);
            assert_eq!(signature, right, "{vector}");
        }
    });
}

#[test]
fn an_answer_says_its_four_fields_in_either_format() {
    let reply = Reply::sign(
        &PushToken::parse("AAAAA").unwrap(),
        1_713_424_427,
        "415670741",
        "ELGduP2YcVatjqIS+eZbp80MNLoAUWvzzyJxgGzxZO/5sAvd070Bs6qrLARC9nVHm48Y4hyRbtzve1L32tmxSQ=="
            .to_owned(),
    );
    let json: Value = serde_json::from_str(&reply.to_json()).unwrap();
    let expected = json!({
        "Encrypt": reply.encrypt,
        "MsgSignature": "1b9339964ed2e271e7c7b6ff2b0ef902fc94dea1",
        "TimeStamp": 1_713_424_427,
        "Nonce": "415670741",
    });
    assert_eq!(json, expected);
    assert_eq!(
        reply.to_xml(),
        "<xml><Encrypt><![CDATA[ELGduP2YcVatjqIS+eZbp80MNLoAUWvzzyJxgGzxZO/5sAvd070Bs6qrLARC9nVHm4\
         8Y4hyRbtzve1L32tmxSQ==]]></Encrypt><MsgSignature>\
         <![CDATA[1b9339964ed2e271e7c7b6ff2b0ef902fc94dea1]]></MsgSignature>\
         <TimeStamp>1713424427</TimeStamp><Nonce><![CDATA[415670741]]></Nonce></xml>"
    );
}

const NOW: Stamp<'static> = Stamp {
    timestamp: "1714112445",
    nonce: "415670741",
};

/// What WeChat would send, opened with a key and the one before it.
fn sealed_and_opened(
    sealed_with: [u8; 32],
    (current, previous): ([u8; 32], Option<[u8; 32]>),
    app: &AppId,
    message: &str,
) -> Result<(String, EncodingAesKey), PushError> {
    let token = PushToken::parse("AAAAA").unwrap();
    let (current, previous) = (key_of(current), previous.map(key_of));
    let encrypt = seal(&key_of(sealed_with), app, b"0123456789abcdef", message).unwrap();
    let signature = msg_signature(&token, NOW, &encrypt);
    let keys = AppKeys {
        app,
        token: &token,
        current: &current,
        previous: previous.as_ref(),
    };
    open(keys, NOW, &encrypt, &signature).map(|it| (it.message, it.key.clone()))
}

fn key_of(bytes: [u8; 32]) -> EncodingAesKey {
    let text = STANDARD.encode(bytes);
    EncodingAesKey::parse(text.trim_end_matches('=')).unwrap()
}

#[test]
fn a_message_under_the_key_of_yesterday_opens_and_names_that_key() {
    let app = AppId::parse("wx1").unwrap();
    let (message, key) = sealed_and_opened([2; 32], ([1; 32], Some([2; 32])), &app, "{}").unwrap();
    assert_eq!(message, "{}");
    assert_eq!(key.expose(), &[2; 32]);
    assert!(sealed_and_opened([2; 32], ([1; 32], None), &app, "{}").is_err());
    assert!(sealed_and_opened([2; 32], ([1; 32], Some([3; 32])), &app, "{}").is_err());
}

#[test]
fn a_message_of_every_length_is_padded_to_blocks_of_32_and_opens() {
    let app = AppId::parse("wx1").unwrap();
    let mut paddings = BTreeSet::new();
    for length in 0..64 {
        let message = "x".repeat(length);
        let opened = sealed_and_opened([7; 32], ([7; 32], None), &app, &message);
        assert_eq!(opened.unwrap().0, message);
        let sealed = seal(&key_of([7; 32]), &app, &[0; 16], &message).unwrap();
        let sealed_bytes = STANDARD.decode(sealed).unwrap().len();
        assert_eq!(sealed_bytes % 32, 0);
        paddings.insert(sealed_bytes - (RANDOM_BYTES + 4 + length + app.as_str().len()));
    }
    assert_eq!(paddings, (1..=32).collect());
}

#[test]
fn text_that_is_not_utf_8_is_no_message() {
    assert_eq!(
        unframe(
            b"0123456789abcdef\0\0\0\x01\xffwx1",
            &AppId::parse("wx1").unwrap()
        ),
        Err(PushError::BadUtf8)
    );
}

proptest! {
    #[test]
    fn any_message_to_any_mini_program_opens_as_it_was_sealed(
        message in any::<String>(),
        app in "[!-~]{1,128}",
        key in any::<[u8; 32]>(),
        other in any::<[u8; 32]>(),
    ) {
        let app = AppId::parse(&app).unwrap();
        // Every length in a row of 32, so that every padding is met.
        for spaces in 0..32 {
            let message = format!("{message}{}", " ".repeat(spaces));
            let opened = sealed_and_opened(key, (key, None), &app, &message).unwrap().0;
            prop_assert_eq!(&opened, &message);
        }
        prop_assume!(key != other);
        prop_assert!(sealed_and_opened(key, (other, None), &app, &message).is_err());
    }

    #[test]
    fn a_changed_ciphertext_stamp_or_signature_never_opens(
        position in 0_usize..64,
        flip in 1_u8..,
        part in 0_usize..4,
    ) {
        let (app, token) = (AppId::parse("wx1").unwrap(), PushToken::parse("AAAAA").unwrap());
        let key = key_of([7; 32]);
        let encrypt = seal(&key, &app, b"0123456789abcdef", "{}").unwrap();
        let signature = msg_signature(&token, NOW, &encrypt);
        let mut parts = [encrypt, signature, NOW.timestamp.to_owned(), NOW.nonce.to_owned()];
        let mut bytes = parts[part].clone().into_bytes();
        let position = position % bytes.len();
        bytes[position] = (bytes[position] ^ flip) & 0x7f;
        prop_assume!(bytes != parts[part].as_bytes());
        parts[part] = String::from_utf8(bytes).unwrap();
        let [encrypt, signature, timestamp, nonce] = &parts;
        let keys = AppKeys { app: &app, token: &token, current: &key, previous: None };
        let error = open(keys, Stamp { timestamp, nonce }, encrypt, signature).unwrap_err();
        prop_assert_eq!(error, PushError::SignatureMismatch);
    }

    #[test]
    fn no_ciphertext_makes_opening_panic(bytes in any::<Vec<u8>>(), text in ".{0,100}") {
        let (app, token) = (AppId::parse("wx1").unwrap(), PushToken::parse("AAAAA").unwrap());
        let key = key_of([7; 32]);
        let keys = AppKeys { app: &app, token: &token, current: &key, previous: None };
        for encrypt in [STANDARD.encode(&bytes), text] {
            let signature = msg_signature(&token, NOW, &encrypt);
            prop_assert!(open(keys, NOW, &encrypt, &signature).is_err());
        }
        prop_assert!(unpad(&bytes).is_err() || bytes.last().is_some_and(|&last| last <= 32));
        prop_assert!(unframe(&bytes, &app).is_err());
    }
}

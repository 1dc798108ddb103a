//! Whatever is pushed, only what is signed with the token and is of now is opened, byte for byte, and the
//! sender is the one that stands in it.
//!
//! Input: a byte that says what the rest is (0 a message, to be encrypted and signed, 1 the same, and then
//! one byte is changed, 2 a message in clear, signed, else a query, a line end and a body), one that says
//! which byte is changed, and the rest.

use std::time::Duration;

use wxgate::crypto::push::{self, Stamp};
use wxgate::domain::clock::Timestamp;
use wxgate::domain::id::AppId;
use wxgate::domain::secret::{EncodingAesKey, PushToken};
use wxgate::gateway::push::{AppPush, Keys, Opened, Protection, opened};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const TIMESTAMP: &str = "1700000000";
const NONCE: &str = "415670741";
const KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";

pub(crate) fn check(input: &[u8]) {
    let Some(([what, at], rest)) = input.split_first_chunk() else {
        return;
    };
    match what {
        0 | 1 => encrypted(*what == 1, usize::from(*at), &String::from_utf8_lossy(rest)),
        2 => plain(rest),
        _ => anything(rest),
    }
}

fn token() -> PushToken {
    PushToken::parse("AAAAA").unwrap()
}

fn key() -> EncodingAesKey {
    EncodingAesKey::parse(KEY).unwrap()
}

fn open(protection: Protection, query: &str, body: &[u8]) -> Option<Opened> {
    let app = AppId::parse("wx0123456789abcdef").unwrap();
    let settings = AppPush {
        token: token(),
        protection,
    };
    opened(
        (&app, &settings),
        query,
        body,
        (NOW, Duration::from_mins(10)),
    )
}

fn with_keys() -> Protection {
    Protection::Encrypted(Keys {
        current: key(),
        previous: EncodingAesKey::parse(&KEY.to_ascii_uppercase()),
    })
}

fn encrypted(is_changed: bool, at: usize, message: &str) {
    let app = AppId::parse("wx0123456789abcdef").unwrap();
    let stamp = Stamp {
        timestamp: TIMESTAMP,
        nonce: NONCE,
    };
    let encrypt = push::seal(&key(), &app, &[9; 16], message).unwrap();
    let signature = push::msg_signature(&token(), stamp, &encrypt);
    let mut bodies = [
        format!("{{\"ToUserName\":\"gh_1\",\"Encrypt\":\"{encrypt}\"}}"),
        format!("<xml><ToUserName>gh_1</ToUserName><Encrypt><![CDATA[{encrypt}]]></Encrypt></xml>"),
    ];
    let mut signed = [TIMESTAMP, NONCE, &signature].map(str::to_owned);
    if is_changed {
        // One character of what the signature covers, or of the signature.
        let whole: usize = signed.iter().map(String::len).sum();
        let mut at = at * 7 % (whole + encrypt.len());
        for part in &mut signed {
            at = flip(part, at);
        }
        let mut other = encrypt.clone();
        flip(&mut other, at);
        for body in &mut bodies {
            *body = body.replace(&encrypt, &other);
        }
    }
    let [timestamp, nonce, signature] = signed;
    let query =
        format!("timestamp={timestamp}&nonce={nonce}&msg_signature={signature}&signature=x");
    let [from_json, from_xml] = bodies.map(|body| open(with_keys(), &query, body.as_bytes()));
    assert_eq!(from_json, from_xml);
    if is_changed {
        assert_eq!(from_json, None);
    } else {
        judge(from_json, message);
    }
    // Where nothing is encrypted nothing is opened.
    let body = format!("{{\"Encrypt\":\"{encrypt}\"}}");
    assert_eq!(open(Protection::Plain, &query, body.as_bytes()), None);
}

/// Changes a hex digit or the like into another one. Gives what is left of `at` behind the text.
fn flip(text: &mut String, at: usize) -> usize {
    let length = text.len();
    if at < length {
        let other = if text.as_bytes()[at] == b'1' {
            "2"
        } else {
            "1"
        };
        text.replace_range(at..=at, other);
        return usize::MAX;
    }
    at.saturating_sub(length)
}

fn plain(message: &[u8]) {
    let stamp = Stamp {
        timestamp: TIMESTAMP,
        nonce: NONCE,
    };
    // It covers no ciphertext, which is like an empty one.
    let signature = push::msg_signature(&token(), stamp, "");
    let query = format!("signature={signature}&timestamp={TIMESTAMP}&nonce={NONCE}");
    let found = open(Protection::Plain, &query, message);
    if let Some(found) = &found {
        assert_eq!(found.text.as_bytes(), message);
        assert_eq!(found.sender, None, "no signature covers it");
    }
    assert_eq!(open(with_keys(), &query, message), None);
    let old = Stamp {
        timestamp: "1699999000",
        nonce: NONCE,
    };
    let signature = push::msg_signature(&token(), old, "");
    let stale = format!("signature={signature}&timestamp=1699999000&nonce={NONCE}");
    assert_eq!(open(Protection::Plain, &stale, message), None);
}

/// Who does not know the token gets nothing opened.
fn anything(rest: &[u8]) {
    let end = rest
        .iter()
        .position(|&byte| byte == b'\n')
        .unwrap_or(rest.len());
    let query = String::from_utf8_lossy(&rest[..end]);
    let body = rest.get(end + 1..).unwrap_or_default();
    // Signatures of the corpus are of other tokens.
    assert_eq!(open(with_keys(), &query, body), None);
    assert_eq!(open(Protection::Plain, &query, body), None);
}

/// What was encrypted comes out as it went in, and its sender is the one that others read in it.
fn judge(found: Option<Opened>, message: &str) {
    let Some(found) = found else {
        // Well-formed messages of the simplest form open.
        let simple = message
            .strip_prefix("{\"FromUserName\":\"")
            .and_then(|rest| rest.strip_suffix("\"}"));
        let plain = |byte: u8| byte.is_ascii_alphanumeric();
        assert!(
            !simple.is_some_and(|name| name.bytes().all(plain)),
            "{message}"
        );
        return;
    };
    assert_eq!(found.text, message);
    if message.trim_ascii_start().starts_with('{') {
        // Numbers that nobody can hold are no matter where nobody looks at them.
        let Ok(json) = serde_json::from_str::<serde_json::Value>(message) else {
            return;
        };
        let name = &json["FromUserName"];
        let number = name.as_u64().map(|number| number.to_string());
        let number = number.or_else(|| name.as_i64().map(|number| number.to_string()));
        let said = name.as_str().map(str::to_owned).or(number);
        assert_eq!(found.sender, said, "{message}");
    } else {
        assert!(message.trim_ascii_start().starts_with('<'), "{message}");
        let said = found.sender.unwrap_or_default();
        // Whatever the markup: characters of a name stand in the text one by one.
        let plain = said.bytes().filter(u8::is_ascii_alphanumeric).count();
        assert!(message.contains("FromUserName") || plain == 0, "{message}");
    }
}

//! What is signed, held to what an implementation of other authors made of the same.

use http::Method;
use serde_json::Value;

use super::*;
use crate::domain::clock::Timestamp;
use crate::domain::id::AppId;
use crate::domain::identity::User;
use crate::domain::trace::RequestId;

const TTL: Duration = Duration::from_mins(1);

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/vectors/signed-identity.json")).unwrap()
}

/// What a statement borrows.
struct Parts {
    app: AppId,
    openid: Option<OpenId>,
    unionid: Option<UnionId>,
    session: Option<TokenDigest>,
    method: Method,
    target: String,
    request_id: RequestId,
    now: Timestamp,
}

impl Parts {
    fn statement(&self) -> Statement<'_> {
        Statement {
            user: User {
                app: &self.app,
                openid: self.openid.as_ref(),
                unionid: self.unionid.as_ref(),
                session: self.session.as_ref(),
            },
            method: &self.method,
            target: &self.target,
            request_id: &self.request_id,
            now: self.now,
        }
    }

    /// Of a request as an app server sees it.
    fn of(case: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let header = |name: &str| text(&case["headers"][name]);
        let id = header("x-request-id").unwrap();
        Self {
            app: AppId::parse(&header("x-wx-appid").unwrap()).unwrap(),
            openid: header("x-wx-openid").map(|id| OpenId::parse(&id).unwrap()),
            unionid: header("x-wx-unionid").map(|id| UnionId::parse(&id).unwrap()),
            session: None,
            method: case["method"].as_str().unwrap().parse().unwrap(),
            target: text(&case["target"]).unwrap(),
            request_id: RequestId::told(&id.parse().unwrap()).unwrap(),
            now: Timestamp::EPOCH,
        }
    }

    /// Of a session of the vectors.
    fn of_session(assertion: &Value) -> Self {
        let claims = &assertion["claims"];
        let text = |name: &str| claims[name].as_str().unwrap();
        let digest = assertion["session_digest"].as_str().unwrap();
        let byte = |at: usize| u8::from_str_radix(digest.get(at..at + 2).unwrap(), 16).unwrap();
        let bytes: Vec<u8> = (0..64).step_by(2).map(byte).collect();
        Self {
            app: AppId::parse(text("appid")).unwrap(),
            openid: Some(OpenId::parse(text("sub")).unwrap()),
            unionid: Some(UnionId::parse(text("unionid")).unwrap()),
            session: Some(TokenDigest::new(bytes.try_into().unwrap())),
            method: Method::GET,
            target: "/".to_owned(),
            request_id: RequestId::default(),
            now: Timestamp::from_millis(claims["iat"].as_u64().unwrap() * 1000),
        }
    }
}

fn key(name: &str) -> SigningKey {
    let pem = &vectors()["assertion"]["keys"][name];
    SigningKey::from_pem(pem.as_str().unwrap().as_bytes()).unwrap()
}

fn assertions(key: SigningKey) -> Assertions {
    Assertions::new(key, "wxgate".to_owned(), Some("shop".to_owned()), TTL)
}

#[test]
fn every_good_proof_of_the_vectors_is_what_the_gate_signs() {
    let proof = &vectors()["proof"];
    let cases = proof["cases"].as_array().unwrap();
    let good = cases.iter().filter(|case| case["valid"] == true);
    let mut count = 0;
    for case in good {
        let expected = case["headers"]["x-wx-proof"].as_str().unwrap();
        let seconds: u64 = expected.get(5..15).unwrap().parse().unwrap();
        let mut parts = Parts::of(case);
        parts.now = Timestamp::from_millis(seconds * 1000 + 999);
        // In the vectors a character is a byte of what is sent; what is sent are bytes in UTF-8.
        let bytes: Vec<u8> = parts
            .target
            .chars()
            .map(|c| u8::try_from(c).unwrap())
            .collect();
        parts.target = String::from_utf8(bytes).unwrap();
        let keys = ["current", "previous"].map(|name| proof["keys"][name].as_str().unwrap());
        let signed = keys.map(|key| {
            Proofs::new(key.as_bytes())
                .sign(&parts.statement())
                .unwrap()
        });
        assert!(signed.iter().any(|it| it == expected), "{}", case["name"]);
        count += 1;
    }
    assert!(count >= 10, "{count}");
}

#[test]
fn the_assertion_of_the_vectors_is_what_the_gate_signs() {
    let assertion = &vectors()["assertion"];
    let parts = Parts::of_session(assertion);
    let signed = assertions(key("current")).sign(&parts.statement()).unwrap();
    assert_eq!(signed, assertion["cases"][0]["token"].as_str().unwrap());
}

#[test]
fn the_key_set_of_the_vectors_is_what_the_gate_publishes() {
    let key_set = KeySet::of(&key("current"), Some(&key("previous")));
    let published: Value = serde_json::from_slice(key_set.json()).unwrap();
    assert_eq!(published, vectors()["assertion"]["jwks"]);
    let alone = KeySet::of(&key("current"), Some(&key("current")));
    let published: Value = serde_json::from_slice(alone.json()).unwrap();
    assert_eq!(published["keys"].as_array().unwrap().len(), 1);
    assert_ne!(key_set.etag(), alone.etag());
}

#[test]
fn a_session_is_signed_anew_when_less_than_half_of_the_time_is_left() {
    let mut parts = Parts::of_session(&vectors()["assertion"]);
    // Of P-256 no two signatures are the same, so it shows what was signed again.
    let assertions = assertions(key("previous"));
    let first = assertions.sign(&parts.statement()).unwrap();
    let begun = parts.now;
    for (millis, is_same) in [(1, true), (29_999, true), (30_000, false)] {
        parts.now = begun.plus(Duration::from_millis(millis));
        let again = assertions.sign(&parts.statement()).unwrap();
        assert_eq!(again == first, is_same, "{millis}");
    }
    parts.session = None;
    let [one, other] = [(); 2].map(|()| assertions.sign(&parts.statement()).unwrap());
    assert_ne!(one, other, "what is of no session is not kept");
}

#[test]
fn what_another_key_signed_of_a_session_is_not_sent() {
    let parts = Parts::of_session(&vectors()["assertion"]);
    let [old, new] = ["previous", "current"].map(|name| assertions(key(name)));
    let by_old = old.sign(&parts.statement()).unwrap();
    let by_new = new.sign(&parts.statement()).unwrap();
    let header = |signed: &Bytes| signed.split(|byte| *byte == b'.').next().unwrap().to_vec();
    assert_ne!(header(&by_old), header(&by_new));
}

#[test]
fn the_id_of_a_session_is_no_part_of_its_token_or_digest() {
    let digest = TokenDigest::new([7; 32]);
    let id = session_id(&digest);
    assert_eq!(id.len(), 22);
    let hex = crate::domain::hex::hex(digest.as_bytes());
    let base64 = URL_SAFE_NO_PAD.encode(digest.as_bytes());
    assert!(!hex.contains(&id) && !base64.contains(&id));
    assert_ne!(id, session_id(&TokenDigest::new([8; 32])));
}

#[test]
fn what_signs_prints_nothing_of_its_keys() {
    let pem = vectors()["assertion"]["keys"]["current"].clone();
    let secret = pem.as_str().unwrap().lines().nth(1).unwrap().to_owned();
    let printed = format!(
        "{:?} {:?}",
        assertions(key("current")),
        Proofs::new(b"planted")
    );
    assert!(
        !printed.contains("planted") && !printed.contains(&secret),
        "{printed}"
    );
}

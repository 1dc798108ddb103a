//! What the simulated WeChat pushes, opened and received as a developer's server does.

use super::*;

use std::collections::{HashMap, VecDeque};

use crate::crypto::push::{self, AppKeys, Stamp};
use crate::domain::secret::{EncodingAesKey, PushToken};

/// The last bits of this key are not zero, as in most real ones.
const AES_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";

fn key() -> EncodingAesKey {
    EncodingAesKey::parse(AES_KEY).unwrap()
}

fn token() -> PushToken {
    PushToken::parse("AAAAA").unwrap()
}

fn settings(mode: PushMode, format: PushFormat) -> PushSettings {
    PushSettings {
        app: app(),
        token: token(),
        mode,
        format,
    }
}

fn message(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

fn parameters(query: &str) -> HashMap<String, String> {
    form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

/// Opens `Encrypt` with what the query says.
fn open(query: &str, encrypt: &str) -> String {
    let query = parameters(query);
    let stamp = Stamp {
        timestamp: &query["timestamp"],
        nonce: &query["nonce"],
    };
    let (app, token, key) = (app(), token(), key());
    let keys = AppKeys {
        app: &app,
        token: &token,
        current: &key,
        previous: None,
    };
    assert_eq!(query["encrypt_type"], "aes");
    push::open(keys, stamp, encrypt, &query["msg_signature"])
        .unwrap()
        .message
}

fn wechat() -> MockWechat {
    MockWechat::new(Options {
        clock: Clock::Held(HeldClock::at(NOW)),
        ..Options::default()
    })
}

/// A developer's server: answers with these statuses in turn, then with 200, and remembers what came.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<(VecDeque<StatusCode>, Vec<String>)>>);

impl Handler for Receiver {
    async fn handle(&self, request: Request<Incoming>) -> Response<PlainBody> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let echostr = parameters(&query).remove("echostr");
        let body = plain::read_body(request.into_body(), 65_536).await.unwrap();
        let mut state = self.0.lock();
        let body = String::from_utf8_lossy(&body);
        state.1.push(format!("{query} {body}"));
        let status = state.0.pop_front().unwrap_or(StatusCode::OK);
        plain::text(status, echostr.unwrap_or_else(|| "success".to_owned()))
    }
}

async fn receiver(statuses: &[u16]) -> (Receiver, String, DropGuard) {
    let receiver = Receiver::default();
    receiver.0.lock().0.extend(
        statuses
            .iter()
            .map(|status| StatusCode::from_u16(*status).unwrap()),
    );
    let (listener, address) = listener().await;
    let stop = CancellationToken::new();
    tokio::spawn(plain::serve(listener, receiver.clone(), stop.clone()));
    let url = format!("http://{address}/push?mine=1");
    (receiver, url, stop.drop_guard())
}

#[test]
fn a_plain_push_is_the_message_with_what_every_message_has() {
    let sent = message(json!({"Event": "debug_demo", "debug_str": "x", "ToUserName": null}));
    let push = wechat().push(&settings(PushMode::Plain, PushFormat::Json), &sent);
    let push = push.unwrap();
    let query = parameters(&push.query);
    let stamp = Stamp {
        timestamp: &query["timestamp"],
        nonce: &query["nonce"],
    };
    assert!(push::verify_stamp(&token(), stamp, &query["signature"]));
    assert!(!query.contains_key("msg_signature") && !query.contains_key("encrypt_type"));
    let body: Value = serde_json::from_str(&push.body.unwrap()).unwrap();
    assert_eq!(body["MsgType"], "event");
    assert_eq!(body["CreateTime"], NOW.as_secs());
    assert_eq!(body["FromUserName"], query["openid"].as_str());
    assert_eq!(body["debug_str"], "x");
    assert!(body.get("ToUserName").is_none() && body.get("MsgId").is_none());
}

#[test]
fn a_safe_push_has_nothing_but_the_account_in_the_clear() {
    let wechat = wechat();
    let sent = message(json!({"MsgType": "text", "Content": "hello", "FromUserName": "o1"}));
    let push = |format| wechat.push(&settings(PushMode::Safe(key()), format), &sent);

    let json = push(PushFormat::Json).unwrap();
    let body: Map<String, Value> = serde_json::from_str(&json.body.unwrap()).unwrap();
    assert_eq!(body.keys().collect::<Vec<_>>(), ["Encrypt", "ToUserName"]);
    let opened = open(&json.query, body["Encrypt"].as_str().unwrap());
    let opened: Value = serde_json::from_str(&opened).unwrap();
    assert_eq!(opened["Content"], "hello");
    assert_eq!(opened["FromUserName"], "o1");
    assert!(opened["MsgId"].as_u64().unwrap() > 1 << 53);

    let xml = push(PushFormat::Xml).unwrap();
    assert_eq!(xml.content_type, "text/xml");
    let body = xml.body.unwrap();
    let (_before, encrypt) = body.split_once("<Encrypt><![CDATA[").unwrap();
    let (encrypt, after) = encrypt.split_once("]]></Encrypt>").unwrap();
    assert!(after.starts_with("<ToUserName>") && after.ends_with("</ToUserName></xml>"));
    let opened = open(&xml.query, encrypt);
    assert!(opened.starts_with("<xml>"));
    assert!(opened.contains("<Content><![CDATA[hello]]></Content>"));
}

#[test]
fn a_compatible_push_says_everything_twice() {
    let sent = message(json!({"MsgType": "text", "Content": "hello"}));
    let settings = settings(PushMode::Compatible(key()), PushFormat::Json);
    let push = wechat().push(&settings, &sent).unwrap();
    let mut body: Map<String, Value> = serde_json::from_str(&push.body.unwrap()).unwrap();
    let encrypt = body.remove("Encrypt").unwrap();
    let opened = open(&push.query, encrypt.as_str().unwrap());
    assert_eq!(opened, Value::Object(body).to_string());
}

#[test]
fn xml_is_well_formed_whatever_the_message_says() {
    let wechat = wechat();
    let push = |sent| {
        let sent = message(sent);
        wechat.push(&settings(PushMode::Plain, PushFormat::Xml), &sent)
    };
    let sent = json!({"Content": "a<b]]>c", "List": [1, {"A": "b"}], "On": true});
    let body = push(sent).unwrap().body.unwrap();
    for part in [
        "<Content><![CDATA[a<b]]]]><![CDATA[>c]]></Content>",
        "<List>1</List><List><A><![CDATA[b]]></A></List>",
        "<On>true</On>",
    ] {
        assert!(body.contains(part), "{body}");
    }
    for name in ["", "1a", "a b", "a>", "字"] {
        assert_eq!(push(json!({name: 1})), Err(BadMessage::Name), "{name}");
    }
}

#[tokio::test]
async fn a_push_is_sent_until_it_is_answered_with_200_and_three_times_at_most() {
    let push = wechat().push(
        &settings(PushMode::Safe(key()), PushFormat::Json),
        &message(json!({"Event": "e"})),
    );
    let push = push.unwrap();
    for (statuses, tries, status) in [
        (&[][..], 1, StatusCode::OK),
        (&[503, 302][..], 3, StatusCode::OK),
        (&[500, 500, 404, 500][..], 3, StatusCode::NOT_FOUND),
    ] {
        let (receiver, url, _stop) = receiver(statuses).await;
        let delivered = push.send(&url).await.unwrap();
        assert_eq!((delivered.tries, delivered.status), (tries, status));
        assert_eq!(delivered.body, "success");
        let came = &receiver.0.lock().1;
        let expect = format!("mine=1&{} {}", push.query, push.body.as_deref().unwrap());
        assert!(came.iter().all(|came| *came == expect), "{came:?}");
        assert_eq!(came.len(), usize::try_from(tries).unwrap());
    }
    let (listener, address) = listener().await;
    drop(listener);
    let nobody = push.send(&format!("http://{address}/")).await;
    assert!(matches!(nobody, Err(SendError::NoAnswer(_))));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_never_answers_is_given_up() {
    // Connections are taken by the system and by nobody else.
    let (_listener, address) = listener().await;
    let push = wechat().push_verification(&token(), "1");
    match push.send(&format!("http://{address}/")).await {
        Err(SendError::NoAnswer(error)) => assert!(error.is_timeout(), "{error:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn pushes_and_verifications_can_be_ordered_over_http() {
    let served = strict().await;
    let (receiver, url, _stop) = receiver(&[]).await;
    let order = json!({
        "appid": "wx1",
        "token": "AAAAA",
        "encoding_aes_key": AES_KEY,
        "mode": "safe",
        "format": "xml",
        "message": {"Event": "debug_demo"},
        "url": url,
    });
    let (status, told) = served.post("push", &order).await;
    assert_eq!(status, StatusCode::OK);
    let answer = json!({"tries": 1, "status": 200, "body": "success"});
    assert_eq!(told["answer"], answer);
    let sent = format!(
        "mine=1&{} {}",
        told["query"].as_str().unwrap(),
        told["body"].as_str().unwrap()
    );
    assert_eq!(receiver.0.lock().1, [sent]);

    let verify = json!({"token": "AAAAA", "echostr": "a b", "url": url});
    let (_ok, told) = served.post("push_verify", &verify).await;
    assert_eq!(told["verified"], true);
    let elsewhere = json!({"token": "AAAAA", "echostr": "a b"});
    let (_ok, told) = served.post("push_verify", &elsewhere).await;
    assert!(told["query"].as_str().unwrap().ends_with("&echostr=a+b"));
    assert!(told.get("verified").is_none());

    for (field, wrong, named) in [
        ("appid", json!(""), "appid"),
        ("token", json!("a b"), "token"),
        ("encoding_aes_key", json!("short"), "encoding_aes_key"),
        ("url", json!("http://192.0.2.1/"), "url"),
        ("message", json!({"a b": 1}), "message"),
    ] {
        let mut order = order.clone();
        order[field] = wrong;
        let (status, why) = served.post("push", &order).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let why = why["error"].as_str().unwrap();
        assert!(why.starts_with(named), "{why}");
    }
    assert_eq!(receiver.0.lock().1.len(), 2);
}

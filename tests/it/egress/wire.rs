//! What WeChat gets of a call, and the app server of an answer, byte by byte.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{SEND, call, is_refused, send, setup};
use crate::support::app::Seen;
use crate::support::played::Played;
use crate::support::raw::Request;
use crate::support::reader::Reader;
use crate::support::{STUCK, Setup, World};

const TOKEN: &str = "the_real+token";

/// A WeChat that gives one token, and writes the other calls down.
struct Noted {
    world: World,
    seen: Arc<Mutex<Vec<Seen>>>,
    _wechat: Played,
}

/// Answers every call in this way.
async fn start(answer: &'static str) -> Noted {
    let seen = Arc::<Mutex<Vec<Seen>>>::default();
    let noted = Arc::clone(&seen);
    let wechat = Played::start(move |_number, reader| play(reader, Arc::clone(&noted), answer));
    let wechat = wechat.await;
    let setup = Setup {
        wechat_url: Some(format!("http://{}", wechat.address)),
        ..setup("")
    };
    Noted {
        world: setup.start().await,
        seen,
        _wechat: wechat,
    }
}

async fn play(mut reader: Reader, noted: Arc<Mutex<Vec<Seen>>>, answer: &'static str) {
    let body = format!(r#"{{"access_token":"{TOKEN}","expires_in":7200}}"#);
    let length = body.len();
    let given = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
    while let Some(mut head) = reader.head().await {
        reader.body(&mut head).await;
        let about_token = head.target == "/cgi-bin/stable_token";
        noted.lock().push(head);
        let said = if about_token { &given } else { answer };
        reader.say(said).await;
        if said.contains("Connection: close") {
            break;
        }
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"errcode\":0}";
const REFUSED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"errcode\":40001}";

impl Noted {
    fn calls(&self) -> Vec<Seen> {
        let mut seen = self.seen.lock().clone();
        seen.retain(|seen| seen.target != "/cgi-bin/stable_token");
        seen
    }
}

#[tokio::test]
async fn wechat_gets_the_call_with_the_real_token_and_nothing_of_the_gates_own_world() {
    let noted = start(OK).await;
    let target = format!(
        "http://api.weixin.qq.com{SEND}?b=%7e+%2B&access_token=theirs&%61ccess_token=x&\
         cloudbase_access_token=y&a=/&from_appid=wx0123456789abcdef"
    );
    let to = noted.world.gate.egress.unwrap();
    let answer = Request::new(to, "POST", &target)
        .header("Host", "api.weixin.qq.com")
        .header("Content-Type", "application/json; charset=utf-8")
        .header("User-Agent", "an sdk")
        .header("Wechatmp-Signature", "signed")
        .header("Authorization", "Bearer of-the-app-server")
        .header("Proxy-Authorization", "Basic eA==")
        .header("X-WX-OPENID", "o-planted")
        .header("X_WX_OPENID", "o-planted")
        .header("Cookie", "c=1")
        .header("X-Forwarded-For", "192.0.2.1")
        .header("Connection", "x-listed")
        .header("X-Listed", "1")
        .body("{ }");
    assert_eq!(answer.send().await.text(), "{\"errcode\":0}");
    let [seen] = noted.calls().try_into().unwrap();
    assert_eq!(seen.method, "POST");
    let target = format!("{SEND}?b=%7e+%2B&a=/&access_token=the_real%2Btoken");
    assert_eq!(seen.target, target);
    assert_eq!(seen.body, b"{ }");
    let mut names: Vec<_> = seen
        .headers
        .iter()
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "content-length",
            "content-type",
            "host",
            "user-agent",
            "wechatmp-signature",
            "x-wxgate-egress"
        ]
    );
}

#[tokio::test]
async fn a_call_that_came_round_to_the_gate_is_refused() {
    let noted = start(OK).await;
    send(&noted.world).await;
    // Every call that the gate makes carries the mark, those about tokens too.
    let marks: Vec<_> = noted
        .seen
        .lock()
        .iter()
        .map(|seen| seen.header("x-wxgate-egress").len())
        .collect();
    assert_eq!(marks, [1, 1]);
    for target in [SEND, "/cgi-bin/stable_token"] {
        let round = call(&noted.world, "POST", target).header("X-Wxgate-Egress", "1");
        is_refused(&round.body("{}").send().await, 508, 85_107);
    }
    assert_eq!(noted.calls().len(), 1);
}

#[tokio::test]
async fn a_large_upload_is_passed_on_whole_and_sent_once_only() {
    let noted = start(REFUSED).await;
    let large = vec![b'x'; 1024 * 1024 + 1];
    let small = vec![b'x'; 1024 * 1024];
    let upload = |body: &[u8]| call(&noted.world, "POST", SEND).body(body).send();
    assert_eq!(upload(&large).await.json()["errcode"], 40_001);
    let sizes: Vec<_> = noted.calls().iter().map(|seen| seen.body_length).collect();
    assert_eq!(sizes, [large.len()]);
    // The same token comes again, so that a repeat would be of no use.
    assert_eq!(upload(&small).await.json()["errcode"], 40_001);
    assert_eq!(noted.calls().len(), 2);
}

#[tokio::test]
async fn an_upload_without_a_length_is_passed_on_whole() {
    let noted = start(OK).await;
    let piece = vec![b'x'; 0x10000];
    let mut body = Vec::new();
    for _ in 0..40 {
        body.extend_from_slice(b"10000\r\n");
        body.extend_from_slice(&piece);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    let upload = call(&noted.world, "POST", SEND).header("Transfer-Encoding", "chunked");
    assert_eq!(upload.body(body).send().await.json()["errcode"], 0);
    assert_eq!(noted.calls()[0].body_length, 40 * 0x10000);
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_ends_cleanly() {
    let noted = start(
        "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 100\r\nConnection: close\r\n\r\n\
         \u{fffd}begun",
    );
    let noted = noted.await;
    let mut connection = call(&noted.world, "POST", SEND).body("{}").begin().await;
    let answer = tokio::time::timeout(STUCK, connection.try_answer("POST")).await;
    // What was there already may be lost as well.
    assert!(answer.unwrap().is_none_or(|answer| !answer.whole));
}

/// An answer of this body, which is no JSON, so that nothing of it is held back.
fn picture(body: &str) -> &'static str {
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length:";
    Box::leak(format!("{head} {length}\r\n\r\n{body}").into_boxed_str())
}

#[tokio::test]
async fn an_answer_breaks_off_where_the_access_token_would_begin() {
    for (before, after) in [(1, 0), (4096, 1), (100_000, 100_000), (300_000, 0)] {
        let (begin, end) = ("x".repeat(before), "y".repeat(after));
        let noted = start(picture(&format!("{begin}{TOKEN}{end}"))).await;
        let mut connection = call(&noted.world, "POST", SEND).body("{}").begin().await;
        let answer = tokio::time::timeout(STUCK, connection.try_answer("POST")).await;
        // What was there already may be lost as well.
        if let Some(answer) = answer.unwrap() {
            assert!(answer.status == 502 || !answer.whole, "{before}");
            let text = answer.text();
            assert!(answer.status == 502 || begin.starts_with(&text), "{before}");
            assert!(!text.contains("the_real"), "{before}");
        }
    }
}

#[tokio::test]
async fn what_only_begins_like_the_access_token_passes_whole() {
    for end in ["the_real+toke", "tthe_real+", "the_real_token"] {
        let body = format!("{}{end}", "x".repeat(200_000));
        let noted = start(picture(&body)).await;
        let answer = call(&noted.world, "POST", SEND).body("{}").send().await;
        assert!(answer.whole && answer.text() == body, "{end}");
    }
}

//! What must never be told is told nowhere: neither in the log at its most talkative, nor to
//! clients, whatever goes wrong.

mod story;
mod types;

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wxgate::sim::wechat::{Api, Misbehaviour, Wanted};

use crate::egress::access_token;
use crate::push::wechat::{OLD_KEY, OPENID, Wechat, message};
use crate::secrets::story::{EGRESS_TOKEN, Story, pushing};
use crate::support::process::Gate;
use crate::support::raw::Request;
use crate::support::{APPID, SECRET, appid, person};

/// The keys of an access line, by the contract; `msg` beside them.
const ACCESS_KEYS: &str = "time level request_id trace_id method path route status duration_ms \
                           upstream_ms bytes_in bytes_out client_ip proto appid user flags msg";

/// The access lines of a log, each by its keys.
fn access_lines(said: &str) -> Vec<Value> {
    let lines = said.lines().map(|line| {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    lines.filter(|line| line["msg"] == "request").collect()
}

#[tokio::test]
async fn logins_good_and_bad_tell_nothing() {
    let mut story = Story::begin().await;
    story.log_in("alice").await;
    story.log_in("alice").await;
    let code = story.code("bob");
    story.hide_user("bob");
    let errcodes = [-1, 40029, 40163, 40226, 45011, 40013, 99999];
    for errcode in errcodes {
        let wechat = story.gate.wechat.clone();
        // Often enough for a gate that tries again.
        wechat.misbehave(3, Misbehaviour::Errcode(errcode));
        let code = story.code("bob");
        let answer = story.send(story.login_with(&code)).await;
        assert!(answer.status >= 400, "{errcode}: {answer:?}");
        wechat.behave();
    }
    let bob = person("bob");
    let key = story.gate.wechat.session_key_text_of(&appid(APPID), &bob);
    let leaky =
        json!({"session_key": *key, "openid": 5, "errmsg": format!("js_code={code} {SECRET}")});
    let redirect = format!("http://127.0.0.1:1/?secret={SECRET}&js_code={code}");
    for trouble in [
        Misbehaviour::Body(leaky.to_string()),
        Misbehaviour::Body(format!("{leaky}...")),
        Misbehaviour::ErrcodeText(code.clone()),
        Misbehaviour::Garbage,
        Misbehaviour::Huge(1 << 20),
        Misbehaviour::Redirect(redirect.parse().unwrap()),
        Misbehaviour::Reset,
        Misbehaviour::Status(hyper::StatusCode::BAD_GATEWAY),
        Misbehaviour::Delay(Duration::from_mins(1)),
    ] {
        let wechat = story.gate.wechat.clone();
        wechat.misbehave(3, trouble.clone());
        let code = story.code("bob");
        let answer = story.send(story.login_with(&code)).await;
        assert!(answer.status >= 500, "{trouble:?}: {answer:?}");
        wechat.behave();
    }
    let bad = "not-a-code-that-was-ever-issued";
    story.hide("a code", bad);
    assert_eq!(story.send(story.login_with(bad)).await.status, 400);
    for body in [
        format!("{{\"code\":\"{bad}\""),
        format!("{{\"code\":[\"{bad}\"]}}"),
        format!("{{\"code\":\"{bad}\",\"appid\":\"{bad}\"}}"),
        format!("code={bad}&code={bad}"),
        format!("{{\"code\":\"{}\"}}", bad.repeat(1000)),
    ] {
        let request = story.gate.request("POST", "/wx/login").body(body);
        let request = request.header("Content-Type", "application/json");
        assert!(story.send(request).await.status >= 400);
    }
    let said = story.end().await;
    assert!(said.contains("wechat call failed"), "{said}");
}

#[tokio::test]
async fn a_gate_that_wechat_refuses_tells_nothing() {
    // One each: after the first of them WeChat is left alone.
    for errcode in [40125, 40164] {
        let mut story = Story::begin().await;
        let wechat = story.gate.wechat.clone();
        wechat.misbehave(1, Misbehaviour::Errcode(errcode));
        let code = story.code("bob");
        let answer = story.send(story.login_with(&code)).await;
        assert_eq!(answer.problem(), "wechat_misconfigured");
        let said = story.end().await;
        assert!(said.contains("wechat refuses this app"), "{said}");
    }
}

#[tokio::test]
async fn a_wechat_that_is_down_tells_nothing() {
    let mut story = Story::begin().await;
    let token = story.log_in("alice").await;
    let code = story.code("bob");
    // The simulator goes away with everything else that the gate knows.
    story.gate.stop_neighbours().await;
    let answer = story.send(story.login_with(&code)).await;
    assert_eq!(
        (answer.status, answer.problem()),
        (503, "wechat_unavailable".into())
    );
    let answer = story.send(story.gate.get("/me").bearer(&token)).await;
    assert_eq!(answer.status, 502, "{answer:?}");
    let said = story.end().await;
    assert!(said.contains("wechat call failed"), "{said}");
    assert!(said.contains("app server failed"), "{said}");
}

#[tokio::test]
async fn decryption_good_and_bad_tells_no_key_and_the_log_no_data() {
    let mut story = Story::begin().await;
    let token = story.log_in("alice").await;
    let (app, alice) = (appid(APPID), person("alice"));
    let mut wanted = Wanted::default();
    let data = json!({ "nickName": "planted-nick-name" });
    wanted.data = data.as_object().cloned();
    let sealed = story.gate.wechat.user_data(&app, &alice, wanted).to_json();
    let route = story.gate.request("POST", "/wx/decrypt").bearer(&token);
    let decrypt = |body: &Value| route.clone().json(body);
    let opened = decrypt(&sealed).send().await;
    assert_eq!(opened.json()["nickName"], "planted-nick-name");
    story.hear_but(&opened, "planted-nick-name");

    let mut wrong_iv = sealed.clone();
    wrong_iv["iv"] = json!(STANDARD.encode([7; 16]));
    let mut with_key = sealed.clone();
    with_key["sessionKey"] = json!("planted-session-key-field");
    let mut unsigned = sealed.clone();
    unsigned["signature"] = json!("planted-signature");
    let mut short = sealed.clone();
    short["encryptedData"] = json!("planted-encrypted-data");
    let requests = [wrong_iv, with_key, unsigned, short].map(|body| decrypt(&body));
    for request in requests {
        let answer = request.send().await;
        story.hear_but(&answer, "planted-nick-name");
    }
    for planted in [
        "planted-nick-name",
        "planted-session-key-field",
        "planted-signature",
        "planted-encrypted-data",
    ] {
        story.hide("a body", planted);
    }
    story.hide("a body", sealed["encryptedData"].as_str().unwrap());
    let said = story.end().await;
    assert!(said.contains("decryption failed"), "{said}");
    assert!(said.contains("a client sent a sessionKey field"), "{said}");
}

#[tokio::test]
async fn phone_numbers_got_or_not_tell_no_code_and_the_log_no_number() {
    let mut story = Story::begin().await;
    let token = story.log_in("alice").await;
    let (app, alice) = (appid(APPID), person("alice"));
    let number = "13580006666";
    let phone = story.gate.request("POST", "/wx/phone").bearer(&token);
    for trouble in [
        None,
        Some(Misbehaviour::Errcode(-1)),
        Some(Misbehaviour::Errcode(40029)),
        Some(Misbehaviour::Errcode(99999)),
        Some(Misbehaviour::Body(format!(
            "{{\"phone_info\":\"{number}\"}}"
        ))),
        Some(Misbehaviour::Reset),
        Some(Misbehaviour::Delay(Duration::from_mins(1))),
    ] {
        let code = story.gate.wechat.issue_phone_code(&app, &alice);
        story.hide("a phone code", &code);
        let went_well = trouble.is_none();
        if let Some(trouble) = trouble {
            story.gate.wechat.misbehave_at(Api::PhoneNumber, 1, trouble);
        }
        let answer = phone.clone().json(&json!({ "code": code })).send().await;
        assert_eq!(answer.status == 200, went_well, "{answer:?}");
        story.hear_but(&answer, if went_well { number } else { "" });
    }
    story.hide("a phone number", number);
    let said = story.end().await;
    for told in ["wechat call failed", "phone code refused"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let lines = access_lines(&said);
    let numbers = lines.iter().filter(|line| line["route"] == "phone");
    assert_eq!(numbers.count(), 7, "{said}");
}

/// A push that is to be refused, or not.
fn pushed(story: &Story, how: &str, message: &str) -> Request {
    let sealed = pushing().sealed(message, "");
    let pushed = match how {
        "good" => sealed,
        "unsigned" => sealed.without("msg_signature"),
        "badly signed" => sealed.set("msg_signature", &"a".repeat(40)),
        "plain" => pushing().plain(message),
        "of another key" => Wechat {
            key: OLD_KEY.to_owned(),
            ..pushing()
        }
        .sealed(message, ""),
        _ => Wechat {
            at: 1_600_000_000,
            ..pushing()
        }
        .sealed(message, ""),
    };
    pushed.to_address(story.gate.address)
}

#[tokio::test]
async fn pushes_good_and_bad_tell_no_key_no_token_and_no_message() {
    let mut story = Story::begin().await;
    story.hide("a message", "planted-words-of-a-user");
    let hows = [
        "good",
        "unsigned",
        "badly signed",
        "plain",
        "of another key",
        "old",
    ];
    for (id, how) in (1..).zip(hows) {
        let text = message(false, id).replace("你好", "planted-words-of-a-user");
        let answer = story.send(pushed(&story, how, &text)).await;
        assert_eq!(answer.status == 200, how == "good", "{how}: {answer:?}");
    }
    for wrong in [
        "{planted-words-of-a-user",
        "<xml><Content>planted-words-of-a-user",
    ] {
        let answer = story.send(pushed(&story, "good", wrong)).await;
        assert_eq!(answer.status, 403, "{answer:?}");
    }
    story.hide("a sender", OPENID);
    let said = story.end().await;
    assert!(said.contains("push refused"), "{said}");
}

#[tokio::test]
async fn calls_of_the_app_server_good_and_bad_tell_no_token_of_either_side() {
    let mut story = Story::begin().await;
    let token = access_token(&story.gate).await;
    story.hide("an access token", &token);
    let wechat = story.gate.wechat.clone();
    let body = json!({"touser": "planted-recipient"});
    story.hide("a body", "planted-recipient");
    let egress = story.egress().await;
    let call = |bearer: &str| {
        let call = Request::new(egress, "POST", "/cgi-bin/message/subscribe/send");
        call.header("Host", "127.0.0.1:4181")
            .bearer(bearer)
            .json(&body)
    };
    for trouble in [
        None,
        Some(Misbehaviour::Errcode(40001)),
        Some(Misbehaviour::Errcode(-1)),
        Some(Misbehaviour::Body(format!("{{\"errmsg\":\"{token}\"}}"))),
        Some(Misbehaviour::Garbage),
        Some(Misbehaviour::Reset),
    ] {
        if let Some(trouble) = trouble {
            wechat.misbehave_at(Api::SendSubscribed, 2, trouble);
        }
        let answer = call(EGRESS_TOKEN).send().await;
        // WeChat gives the caller's own words back, and so does the gate.
        story.hear_but(&answer, "planted-recipient");
        wechat.behave();
    }
    for wrong in ["planted-wrong-token", &token] {
        let answer = story.send(call(wrong)).await;
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    story.hide("a wrong token", "planted-wrong-token");
    story.end().await;
}

/// Requests that are none, or nearly.
fn odd_heads(token: &str) -> Vec<String> {
    vec![
        format!("{token} / HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET /{token}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{token}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{token} : x\r\n\r\n"),
        format!("{token}\r\n\r\n"),
        format!("GET http://{token}/ HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET /?{} HTTP/1.1\r\nHost: x\r\n\r\n", token.repeat(300)),
        format!(
            "GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n",
            token.repeat(3000)
        ),
        format!("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {token}\r\n\r\n"),
        format!("POST /me HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{token}\r\n"),
    ]
}

fn handshake(gate: &Gate, target: &str) -> Request {
    let request = gate.get(target).header("Connection", "Upgrade");
    let request = request.header("Upgrade", "websocket");
    let request = request.header("Sec-WebSocket-Version", "13");
    request.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// Handshakes with a token in the query or among the subprotocols, good and bad.
fn socket_requests(gate: &Gate, token: &str) -> Vec<Request> {
    let mut requests = Vec::new();
    for path in ["/socket", "/dead/socket", "/badsocket", "/page", "/%00"] {
        for query in [
            format!("ws={token}"),
            format!("ws={token}A"),
            format!("%77s={token}&ws={token}"),
            format!("other={token}"),
        ] {
            // The app server says what it sees of a target that is no socket.
            if path != "/page" || !query.starts_with("other") {
                requests.push(handshake(gate, &format!("{path}?{query}")));
            }
        }
        for offered in [
            format!("wxgate.{token}"),
            format!("wxgate, chat, wxgate.{token}"),
            format!("wxgate.{token}A, wxgate"),
            format!("wxgate.{token}, wxgate.{token}"),
            format!("chat, wxgate{token}"),
        ] {
            let request = handshake(gate, path);
            requests.push(request.header("Sec-WebSocket-Protocol", &offered));
        }
        let no_key = gate.get(&format!("{path}?ws={token}"));
        let no_key = no_key.header("Connection", "Upgrade");
        requests.push(no_key.header("Upgrade", "websocket"));
    }
    requests
}

#[tokio::test]
async fn forwarded_requests_good_and_bad_tell_no_token_wherever_it_stands() {
    let mut story = Story::begin().await;
    let token = story.log_in("alice").await;
    let (short, long) = (&token[..token.len() - 1], format!("{token}A"));
    story.hide("most of a token", short);
    let get = |target: &str| story.gate.get(target);
    let requests = [
        get("/me").bearer(&token),
        get("/dead/me").bearer(&token),
        get("/break").bearer(&token),
        get("/garbage").bearer(&token),
        get("/hangup").bearer(&token),
        get("/public/x").bearer(&token),
        get("/me").bearer(&long),
        get("/me").bearer(short),
        get("/me").bearer(&token).bearer(&token),
        get("/me").header("Authorization", &token),
        get("/me").header("Authorization", &format!("Basic {token}")),
        get("/me").header("Cookie", &format!("token={token}")),
        get("/me").header("Referer", &format!("https://x/?{token}")),
        get("/me").header("X-Request-Id", &token),
        get("/me").header("traceparent", &token),
        get("/me").header("Host", &token),
        get("/me")
            .header("Upgrade", &token)
            .header("Connection", &token),
        get("/me").header("X-HTTP-Method-Override", &token),
        get("/me").header("X-Forwarded-For", &token),
        get("/me").header("Content-Length", &token),
        get(&format!("/wx/login?code={token}")),
        get(&format!("/wx/session?token={token}")).bearer(&token),
        get(&format!("/%00?token={token}")),
        get(&format!("/{token}")),
        get(&format!("/dead/{token}/x")).bearer(&token),
        get(&format!("/public/../{token}")).bearer(&token),
    ];
    for request in requests {
        // The app server tells nothing of what it sees but the target, which has no token here.
        let answer = request.send().await;
        story.hear(&answer);
    }
    // The app server gives a query back, and so does the gate then.
    let echo = story.gate.get(&format!("/me?token={token}")).bearer(&token);
    assert_eq!(echo.send().await.status, 200);
    for head in odd_heads(&token) {
        story.send_raw(&head).await;
    }
    for request in socket_requests(&story.gate, &token) {
        story.send(request).await;
    }
    let socket = handshake(&story.gate, "/socket").bearer(&token);
    let mut socket = socket.begin().await;
    assert_eq!(socket.head().await.unwrap().0, 101);
    let end = story.gate.request("DELETE", "/wx/session").bearer(&token);
    assert_eq!(story.send(end).await.status, 204);
    socket.closed().await;
    let again = story.gate.get("/me").bearer(&token);
    assert_eq!(story.send(again).await.problem(), "session_expired");
    let said = story.end().await;
    assert!(said.contains("app server failed"), "{said}");
}

#[tokio::test]
async fn access_lines_have_exactly_the_promised_keys_and_no_query() {
    let mut story = Story::begin().await;
    let token = story.log_in("alice").await;
    story.hide("a query", "planted-query");
    let target = "/page?secret=planted-query";
    assert_eq!(
        story.gate.get(target).bearer(&token).send().await.status,
        200
    );
    assert_eq!(story.send(story.gate.get(target)).await.status, 401);
    let refused = "/wx/%6cogin?secret=planted-query";
    assert_eq!(story.send(story.gate.get(refused)).await.status, 400);
    let said = story.end().await;
    let lines = access_lines(&said);
    let expected: BTreeSet<_> = ACCESS_KEYS.split_whitespace().collect();
    for line in &lines {
        let keys: BTreeSet<_> = line
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(keys, expected, "{line}");
        assert!(!line["path"].as_str().unwrap().contains('?'), "{line}");
    }
    let row = |line: &Value| {
        let text = |key: &str| line[key].to_string().replace('"', "");
        format!(
            "{} {} {} {}",
            text("method"),
            text("path"),
            text("status"),
            text("route")
        )
    };
    let rows: BTreeSet<_> = lines.iter().map(row).collect();
    for expected in [
        "POST /wx/login 200 login",
        "GET /page 200 default",
        "GET /page 401 default",
        "GET /wx/%6cogin 400 ",
    ] {
        assert!(rows.contains(expected), "{expected}: {rows:#?}");
    }
    let served = lines
        .iter()
        .find(|line| row(line) == "GET /page 200 default");
    let served = served.unwrap();
    assert_eq!(served["appid"], APPID);
    assert_eq!(served["user"].as_str().unwrap().len(), 16);
    assert_eq!(served["client_ip"], "127.0.0.1");
    assert_eq!(served["proto"], "HTTP/1.1");
    assert_eq!(served["trace_id"].as_str().unwrap().len(), 32);
    assert_eq!(
        served["bytes_out"],
        "GET /page?secret=planted-query 0 bytes".len()
    );
}

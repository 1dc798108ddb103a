//! What must never be told is told nowhere: neither in the log at its most talkative, nor to
//! clients, whatever goes wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use wxgate::domain::id::AppId;
use wxgate::sim::wechat::{Misbehaviour, UserName, Wanted};

use crate::support::process::Gate;
use crate::support::raw::{Answer, Connection, Request};
use crate::support::{APPID, SECRET, STUCK, Setup};

/// The keys of an access line, by the contract; `msg` beside them.
const ACCESS_KEYS: &str = "time level request_id trace_id method path route status duration_ms \
                           upstream_ms bytes_in bytes_out client_ip proto appid user flags msg";

/// A gate in the middle of its troubles, and everything that must stay inside.
struct Story {
    gate: Gate,
    /// Name and text of each secret.
    secrets: Vec<(&'static str, String)>,
    /// All that clients were told, but for what may be told.
    told: String,
}

impl Story {
    async fn begin() -> Self {
        // Nobody listens on a port that was just given back.
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = dead.local_addr().unwrap();
        let setup = Setup {
            toml: format!(
                "[log]\nlevel = \"debug\"\nformat = \"json\"\nuser = \"hash\"\n\
                 [[access.rules]]\npath = \"/dead/**\"\nupstream = \"dead\"\nrequire = \"session\"\n\
                 [[access.rules]]\npath = \"/public/**\"\nrequire = \"public\"\n\
                 [upstreams.dead]\nurl = \"http://{dead}\"\n"
            ),
            wechat: "timeout = \"1s\"".to_owned(),
            ..Setup::default()
        };
        Self {
            gate: Gate::start(setup).await,
            secrets: vec![("the AppSecret", SECRET.to_owned())],
            told: String::new(),
        }
    }

    fn hide(&mut self, name: &'static str, secret: &str) {
        assert!(secret.len() >= 8, "{name} would be found by chance");
        self.secrets.push((name, secret.to_owned()));
    }

    /// Notes what a client was told.
    fn hear(&mut self, answer: &Answer) {
        self.told
            .push_str(&format!("{:?}\n{}\n", answer.headers, answer.text()));
    }

    async fn send(&mut self, request: Request) -> Answer {
        let answer = request.send().await;
        self.hear(&answer);
        answer
    }

    /// Sends bytes that may be no HTTP at all.
    async fn send_raw(&mut self, bytes: &str) {
        let mut connection = Connection::open(self.gate.address).await;
        connection.write(bytes.as_bytes()).await;
        let answer = tokio::time::timeout(STUCK, connection.try_answer("GET")).await;
        if let Some(answer) = answer.expect("the gate is stuck") {
            self.hear(&answer);
        }
    }

    fn code(&mut self, user: &str) -> String {
        let code = self.gate.code(user);
        self.hide("a code", &code);
        code
    }

    fn login_with(&self, code: &str) -> Request {
        let body = json!({ "code": code });
        self.gate.request("POST", "/wx/login").json(&body)
    }

    /// A login; its answer may tell its own token, and nothing else.
    async fn log_in(&mut self, user: &str) -> String {
        let code = self.code(user);
        let answer = self.login_with(&code).send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        self.hide("a token", &token);
        let rest = answer.text().replace(&token, "");
        self.told
            .push_str(&format!("{:?}\n{rest}\n", answer.headers));
        self.hide_user(user);
        token
    }

    /// What WeChat knows of the user.
    fn hide_user(&mut self, user: &str) {
        let (app, name) = (AppId::parse(APPID).unwrap(), UserName::parse(user).unwrap());
        let openid = self.gate.wechat.openid_of(&app, &name);
        self.hide("an openid", openid.as_str());
        let text = self.gate.wechat.session_key_text_of(&app, &name);
        let key = STANDARD.decode(text.as_bytes()).unwrap();
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let bytes = format!("{key:?}");
        for form in [
            text.to_string(),
            text.replace('/', "\\/"),
            text.trim_end_matches('=').to_owned(),
            URL_SAFE.encode(&key),
            URL_SAFE_NO_PAD.encode(&key),
            hex.to_uppercase(),
            hex,
            bytes.trim_matches(['[', ']']).to_owned(),
            form_urlencoded::byte_serialize(text.as_bytes()).collect(),
        ] {
            self.hide("a session_key", &form);
        }
    }

    /// Stops the gate and looks through all that was said.
    async fn end(mut self) -> String {
        self.gate.program.signal("TERM").await;
        self.gate.program.ended().await;
        let said = self.gate.program.said();
        assert!(said.contains("\"stopped\""), "{said}");
        for (name, secret) in &self.secrets {
            for (where_, text) in [("the log", &said), ("an answer", &self.told)] {
                let line = text.lines().find(|line| line.contains(secret));
                assert!(line.is_none(), "{name} ({secret}) is in {where_}: {line:?}");
            }
        }
        said
    }
}

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
    let errcodes = [-1, 40029, 40163, 40226, 45011, 40013, 40125, 40164, 99999];
    for errcode in errcodes {
        let wechat = story.gate.wechat.clone();
        // Often enough for a gate that tries again.
        wechat.misbehave(3, Misbehaviour::Errcode(errcode));
        let code = story.code("bob");
        let answer = story.send(story.login_with(&code)).await;
        assert!(answer.status >= 400, "{errcode}: {answer:?}");
        wechat.behave();
    }
    let key = &story.secrets.last().unwrap().1;
    let leaky =
        json!({"session_key": key, "openid": 5, "errmsg": format!("js_code={code} {SECRET}")});
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
    let (app, alice) = (
        AppId::parse(APPID).unwrap(),
        UserName::parse("alice").unwrap(),
    );
    let mut wanted = Wanted::default();
    let data = json!({ "nickName": "planted-nick-name" });
    wanted.data = data.as_object().cloned();
    let sealed = story.gate.wechat.user_data(&app, &alice, wanted).to_json();
    let decrypt = |body: &Value| {
        let request = story.gate.request("POST", "/wx/decrypt").bearer(&token);
        request.json(body)
    };
    let opened = decrypt(&sealed).send().await;
    assert_eq!(opened.json()["nickName"], "planted-nick-name");
    let rest = opened.text().replace("planted-nick-name", "");

    let mut wrong_iv = sealed.clone();
    wrong_iv["iv"] = json!(STANDARD.encode([7; 16]));
    let mut with_key = sealed.clone();
    with_key["sessionKey"] = json!("planted-session-key-field");
    let mut unsigned = sealed.clone();
    unsigned["signature"] = json!("planted-signature");
    let mut short = sealed.clone();
    short["encryptedData"] = json!("planted-encrypted-data");
    let requests = [wrong_iv, with_key, unsigned, short].map(|body| decrypt(&body));
    story.told.push_str(&rest);
    for request in requests {
        let answer = request.send().await;
        let text = answer.text().replace("planted-nick-name", "");
        story.told.push_str(&format!("{:?}{text}", answer.headers));
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
    for head in [
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
    ] {
        story.send_raw(&head).await;
    }
    let socket = story.gate.get("/socket").bearer(&token);
    let socket = socket
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket");
    let socket = socket.header("Sec-WebSocket-Version", "13");
    let mut socket = socket
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .begin()
        .await;
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

//! A gate in the middle of its troubles, with everything that must stay inside written down.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::TempDir;
use wxgate::domain::clock::Clock;

use crate::push::wechat::{KEY, Wechat};
use crate::support::process::Gate;
use crate::support::raw::{Answer, Connection, Request};
use crate::support::{APPID, SECRET, STUCK, Setup, appid, person};

pub(super) const EGRESS_TOKEN: &str = "planted-for-whoever-calls-wechat";
const PUSH_TOKEN: &str = "planted0push0token";
const USER_KEY: &str = "planted-for-the-hashes-of-users";
const PROOF_KEY: &str = "planted-for-the-proofs-of-this-story";

/// A gate in the middle of its troubles, and everything that must stay inside.
pub(super) struct Story {
    pub(super) gate: Gate,
    /// Name and text of each secret.
    secrets: Vec<(&'static str, String)>,
    /// All that clients were told, but for what may be told.
    told: Vec<String>,
    /// What the gate writes down for the next one.
    kept: TempDir,
}

/// What it is sealed under.
const SEAL_KEY: &str = "JVPZFZKcXCuF3YeNFV+mm5cMLMYuhhwwyUFx3Gd/R0Q=";

impl Story {
    pub(super) async fn begin() -> Self {
        // Nobody listens on a port that was just given back.
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = dead.local_addr().unwrap();
        let kept = tempfile::tempdir().unwrap();
        let file = kept.path().join("sessions");
        let file = file.display();
        let setup = Setup {
            toml: format!(
                "[apps.push]\ntoken = \"{PUSH_TOKEN}\"\nencoding_aes_key = \"{KEY}\"\n\
                 mode = \"safe\"\n[push]\nforward_to = \"/pushed\"\n\
                 [egress]\nlisten = \"127.0.0.1:0\"\ntoken = \"{EGRESS_TOKEN}\"\n\
                 [store]\nsnapshot_file = \"{file}\"\nseal_key = \"{SEAL_KEY}\"\n\
                 [session]\n\
                 token_from = [\"authorization\", \"query:ws\", \"websocket-protocol\"]\n\
                 [log]\nlevel = \"debug\"\nformat = \"json\"\nuser = \"hash\"\n\
                 user_key = \"{USER_KEY}\"\n\
                 [[access.rules]]\npath = \"/dead/**\"\nupstream = \"dead\"\nrequire = \"session\"\n\
                 [[access.rules]]\npath = \"/public/**\"\nrequire = \"public\"\n\
                 [upstreams.dead]\nurl = \"http://{dead}\"\n\
                 [identity.hmac]\nkey = \"{PROOF_KEY}\"\n"
            ),
            wechat: "timeout = \"1s\"".to_owned(),
            ..Setup::default()
        };
        Self {
            gate: Gate::start(setup).await,
            secrets: vec![
                ("the AppSecret", SECRET.to_owned()),
                ("the seal key", SEAL_KEY.to_owned()),
                ("the key of proofs", PROOF_KEY.to_owned()),
                ("the key of user hashes", USER_KEY.to_owned()),
                ("the token of pushes", PUSH_TOKEN.to_owned()),
                ("the key of pushes", KEY.to_owned()),
                ("the token of the egress listener", EGRESS_TOKEN.to_owned()),
            ],
            told: Vec::new(),
            kept,
        }
    }

    pub(super) fn hide(&mut self, name: &'static str, secret: &str) {
        assert!(secret.len() >= 8, "{name} would be found by chance");
        self.secrets.push((name, secret.to_owned()));
    }

    /// Notes what a client was told.
    pub(super) fn hear(&mut self, answer: &Answer) {
        self.hear_but(answer, "");
    }

    /// The same, when the body may tell one thing.
    pub(super) fn hear_but(&mut self, answer: &Answer, may_tell: &str) {
        let body = answer.text().replace(may_tell, "");
        self.told.push(format!("{:?} {body}", answer.headers));
    }

    pub(super) async fn send(&mut self, request: Request) -> Answer {
        let answer = request.send().await;
        self.hear(&answer);
        answer
    }

    /// Sends bytes that may be no HTTP at all.
    pub(super) async fn send_raw(&mut self, bytes: &str) {
        let mut connection = Connection::open(self.gate.address).await;
        connection.write(bytes.as_bytes()).await;
        let answer = tokio::time::timeout(STUCK, connection.try_answer("GET")).await;
        if let Some(answer) = answer.expect("the gate is stuck") {
            self.hear(&answer);
        }
    }

    pub(super) fn code(&mut self, user: &str) -> String {
        let code = self.gate.code(user);
        self.hide("a code", &code);
        code
    }

    pub(super) fn login_with(&self, code: &str) -> Request {
        let body = json!({ "code": code });
        self.gate.request("POST", "/wx/login").json(&body)
    }

    /// A login; its answer may tell its own token, and nothing else.
    pub(super) async fn log_in(&mut self, user: &str) -> String {
        let code = self.code(user);
        let answer = self.login_with(&code).send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        self.hide("a token", &token);
        self.hear_but(&answer, &token);
        self.hide_user(user);
        token
    }

    /// What WeChat knows of the user.
    pub(super) fn hide_user(&mut self, user: &str) {
        let (app, name) = (appid(APPID), person(user));
        let openid = self.gate.wechat.openid_of(&app, &name);
        self.hide("an openid", openid.as_str());
        let text = self.gate.wechat.session_key_text_of(&app, &name);
        let key = STANDARD.decode(text.as_bytes()).unwrap();
        let hex = format!(
            "{:032x}",
            u128::from_be_bytes(key.as_slice().try_into().unwrap())
        );
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

    /// Where the app server calls WeChat.
    pub(super) async fn egress(&self) -> SocketAddr {
        let line = self.gate.program.line("egress listener is up").await;
        let line: Value = serde_json::from_str(&line).unwrap();
        line["address"].as_str().unwrap().parse().unwrap()
    }

    /// Stops the gate and looks through all that was said, and written down.
    pub(super) async fn end(mut self) -> String {
        for target in [
            "/metrics", "/version", "/healthz", "/readyz", "/config", "/",
        ] {
            let answer = self.gate.ask_admin(target).await;
            self.hear(&answer);
        }
        self.gate.program.signal("TERM").await;
        self.gate.program.ended().await;
        let said = self.gate.program.said();
        assert!(said.contains("\"stopped\""), "{said}");
        for file in std::fs::read_dir(self.kept.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            self.told.push(String::from_utf8_lossy(&bytes).into_owned());
        }
        assert!(self.kept.path().join("sessions.ended").exists());
        for (name, secret) in &self.secrets {
            let told = self.told.iter().map(String::as_str);
            let leak = said.lines().chain(told).find(|line| line.contains(secret));
            assert!(leak.is_none(), "{name} ({secret}): {leak:?}");
        }
        said
    }
}

/// WeChat, as it pushes to the gate of a story.
pub(super) fn pushing() -> Wechat {
    Wechat {
        token: PUSH_TOKEN.to_owned(),
        ..Wechat::at(&Clock::System)
    }
}

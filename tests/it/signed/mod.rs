//! An app server that can be reached around the gate can tell what is from the gate: nobody else signs,
//! nothing that is signed can be taken for something else, and who is nobody is not signed.

mod claims;
mod forgeries;
mod keys;
mod proofs;
mod verifiers;

use std::fs;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::app::Seen;
use crate::support::{Setup, World};

/// The keys of the tests, as an app server would have them or fetch them.
pub(crate) struct Vectors(Value);

impl Vectors {
    pub(crate) fn read() -> Self {
        let text = include_str!("../../vectors/signed-identity.json");
        Self(serde_json::from_str(text).unwrap())
    }

    fn proof_key(&self, name: &str) -> &str {
        self.0["proof"]["keys"][name].as_str().unwrap()
    }

    fn pem(&self, name: &str) -> &str {
        self.0["assertion"]["keys"][name].as_str().unwrap()
    }

    fn jwks(&self) -> &Value {
        &self.0["assertion"]["jwks"]
    }
}

/// A folder with the files of both keys, which go when it goes.
pub(crate) struct Keys(TempDir);

impl Keys {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["current", "previous"] {
            fs::write(folder.path().join(name), Vectors::read().pem(name)).unwrap();
        }
        Self(folder)
    }

    /// `[identity.jwt]` with this key and these lines.
    fn jwt(&self, name: &str, lines: &str) -> String {
        let file = self.0.path().join(name).display().to_string();
        format!("[identity.jwt]\nkey_file = \"{file}\"\naudience = \"shop\"\n{lines}\n")
    }

    /// The line that publishes this key beside the one that signs.
    fn beside(&self, name: &str) -> String {
        let file = self.0.path().join(name).display().to_string();
        format!("previous_key_file = \"{file}\"")
    }

    /// Both tables.
    pub(crate) fn tables(&self) -> String {
        self.jwt("current", "") + &hmac("")
    }
}

/// `[identity.hmac]` with these lines.
fn hmac(lines: &str) -> String {
    let vectors = Vectors::read();
    format!(
        "[identity.hmac]\nkey = \"{}\"\n{lines}\n",
        vectors.proof_key("current")
    )
}

/// A world that signs in both ways, with these tables beside.
async fn signing(tables: &str) -> World {
    let keys = Keys::new();
    let setup = Setup::with(&format!("{}{tables}", keys.tables()));
    setup.start().await
}

/// A request that the app server got, and the time, for a verifier to judge. A character stands for a
/// byte.
pub(crate) fn case<'a>(
    world: &World,
    (method, target): (&str, &str),
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Value {
    let latin = |text: &str| text.bytes().map(char::from).collect::<String>();
    let headers = headers.into_iter();
    let headers: serde_json::Map<_, _> = headers
        .map(|(name, value)| (name.to_lowercase(), json!(latin(value))))
        .collect();
    json!({
        "keys": [Vectors::read().proof_key("current")],
        "method": method, "target": latin(target), "headers": headers, "now": now(world),
    })
}

fn case_of(world: &World, seen: &Seen) -> Value {
    let headers = seen.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_str()));
    case(world, (&seen.method, &seen.target), headers)
}

/// Seconds since 1970, by the clock of the gate.
fn now(world: &World) -> u64 {
    wxgate::domain::clock::Clock::Held(world.clock.clone())
        .now()
        .as_secs()
}

/// What the Node verifier makes of the assertion in a request: its claims, or nothing.
fn claims_case(world: &World, token: &str, jwks: &Value) -> Value {
    json!({
        "jwks": jwks, "token": token, "issuer": "wxgate", "audience": "shop", "now": now(world),
    })
}

/// Where the scripts are that put cases before the verifiers.
const JUDGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/verify");

/// Puts cases before a verifier under `docs/verify`.
async fn judged(program: &str, script: &str, cases: &[Value]) -> Vec<Value> {
    let mut judge = Command::new(program);
    judge.arg(format!("{JUDGES}/{script}"));
    judged_by(judge, cases).await
}

async fn judged_by(mut judge: Command, cases: &[Value]) -> Vec<Value> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    serde_json::to_writer(&mut file, cases).unwrap();
    judge.stdin(file.reopen().unwrap());
    let program = judge.get_program().display().to_string();
    let ran = tokio::task::spawn_blocking(move || judge.output())
        .await
        .unwrap();
    let ran = ran.unwrap_or_else(|error| panic!("{program}: {error}; see tests/run"));
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    serde_json::from_slice(&ran.stdout).unwrap()
}

/// Checks that each verifier of proofs takes exactly the cases that it should.
pub(crate) async fn are_taken(expected: &[bool], cases: &[Value]) {
    for (program, script) in [("python3", "judge.py"), ("node", "judge.js")] {
        let verdicts = judged(program, script, cases).await;
        assert_eq!(verdicts.len(), expected.len());
        for ((verdict, expected), case) in verdicts.iter().zip(expected).zip(cases) {
            assert_eq!(verdict, expected, "{program}: {case}");
        }
    }
}

/// What a part of a JWT says, unverified.
pub(crate) fn part(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The assertion that the app server saw last.
#[track_caller]
fn assertion(world: &World) -> String {
    let seen = world.app.last();
    let [assertion] = seen.header("x-wx-assertion")[..] else {
        panic!("not exactly one assertion: {seen:?}");
    };
    assertion.to_owned()
}

//! The verifiers under `docs/verify`, held to vectors that neither they nor the gate made. Those that
//! need a library (PyJWT, php-jwt, Jackson) do not run here, nor does Java; the vectors are for them as
//! well. `tests/run` leaves out the languages that are not installed.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::signed::{JUDGES, Keys, Vectors, are_taken, assertion, claims_case, judged, judged_by};
use crate::support::Setup;

fn cases(kind: &str) -> (Vec<Value>, Vec<bool>) {
    let Vectors(vectors) = Vectors::read();
    let kind = &vectors[kind];
    let cases = kind["cases"].as_array().unwrap().clone();
    let valid: Vec<_> = cases.iter().map(|case| case["valid"] == true).collect();
    assert!(valid.iter().filter(|valid| !**valid).count() > 10);
    let shared = |mut case: Value| {
        // Of assertions these are private, and no verifier's.
        if let (Some(keys), None) = (kind["keys"].as_object(), kind.get("jwks")) {
            case["keys"] = keys.values().cloned().collect();
        }
        for name in ["jwks", "issuer", "audience"] {
            if let Some(value) = kind.get(name) {
                case[name] = value.clone();
            }
        }
        case
    };
    (cases.into_iter().map(shared).collect(), valid)
}

#[track_caller]
fn are_as_they_should_be(verdicts: &[Value], valid: &[bool], cases: &[Value]) {
    assert_eq!(verdicts.len(), valid.len());
    for ((verdict, valid), case) in verdicts.iter().zip(valid).zip(cases) {
        assert_eq!(verdict, valid, "{}", case["name"]);
    }
}

#[tokio::test]
async fn python_and_node_take_every_good_proof_and_no_bad_one() {
    let (cases, valid) = cases("proof");
    are_taken(&valid, &cases).await;
}

#[tokio::test]
async fn php_takes_every_good_proof_and_no_bad_one() {
    let (cases, valid) = cases("proof");
    let verdicts = judged("php", "judge.php", &cases).await;
    are_as_they_should_be(&verdicts, &valid, &cases);
}

#[tokio::test]
async fn go_takes_every_good_proof_and_assertion_and_no_bad_one() {
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("verify");
    fs::create_dir(&package).unwrap();
    for name in ["wxgate_proof.go", "wxgate_assertion.go"] {
        let verifiers = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verify");
        fs::copy(format!("{verifiers}/{name}"), package.join(name)).unwrap();
    }
    fs::copy(format!("{JUDGES}/judge.go"), folder.path().join("main.go")).unwrap();
    fs::write(folder.path().join("go.mod"), "module judge\n").unwrap();
    for kind in ["proof", "assertion"] {
        let mut judge = Command::new("go");
        judge.args(["run", "."]).current_dir(&folder);
        judge.env("GOFLAGS", "").env("GOPROXY", "off");
        judge.env("GO111MODULE", "on").env("GOWORK", "off");
        let (cases, valid) = cases(kind);
        let verdicts = judged_by(judge, &cases).await;
        are_as_they_should_be(&verdicts, &valid, &cases);
    }
}

#[tokio::test]
async fn node_takes_every_good_assertion_and_no_bad_one() {
    let (cases, valid) = cases("assertion");
    let verdicts = judged("node", "judge.js", &cases).await;
    for ((verdict, valid), case) in verdicts.iter().zip(&valid).zip(&cases) {
        assert_eq!(verdict["appid"].is_string(), *valid, "{}", case["name"]);
        assert!(*valid || *verdict == json!(null), "{}", case["name"]);
    }
}

#[tokio::test]
async fn both_kinds_of_keys_sign_what_node_takes_and_nothing_longer_than_it_is_good() {
    for key in ["current", "previous"] {
        let world = Setup::with(&Keys::new().jwt(key, "")).start().await;
        let token = world.login("alice").await;
        world.get("/me").bearer(&token).send().await;
        let signed = assertion(&world);
        let fresh = claims_case(&world, &signed, Vectors::read().jwks());
        world.clock.advance(Duration::from_secs(66));
        let old = claims_case(&world, &signed, Vectors::read().jwks());
        let none = claims_case(&world, &signed, &json!({ "keys": [] }));
        let verdicts = judged("node", "judge.js", &[fresh, old, none]).await;
        assert_eq!(verdicts[0]["sub"], world.openid("alice"), "{key}");
        assert_eq!(verdicts[1..], [json!(null), json!(null)], "{key}");
    }
}

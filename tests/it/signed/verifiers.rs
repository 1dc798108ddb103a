//! The verifiers under `docs/verify`, held to vectors that neither they nor the gate made. Java, Go and
//! PHP are no part of what runs here; the vectors are for them as well.

use serde_json::{Value, json};

use crate::signed::{Vectors, are_taken, judged};

fn cases(kind: &str) -> (Vec<Value>, Vec<bool>) {
    let Vectors(vectors) = Vectors::read();
    let kind = &vectors[kind];
    let cases = kind["cases"].as_array().unwrap().clone();
    let valid = cases.iter().map(|case| case["valid"] == true).collect();
    let shared = |mut case: Value| {
        case["keys"] = match &kind["keys"] {
            Value::Object(keys) => keys.values().cloned().collect(),
            _ => Value::Null,
        };
        for name in ["jwks", "issuer", "audience"] {
            case[name] = kind[name].clone();
        }
        case
    };
    (cases.into_iter().map(shared).collect(), valid)
}

#[tokio::test]
async fn python_and_node_take_every_good_proof_and_no_bad_one() {
    let (cases, valid) = cases("proof");
    let cases: Vec<_> = cases
        .into_iter()
        .map(|mut case| {
            case.as_object_mut()
                .unwrap()
                .retain(|name, _| name != "jwks");
            case
        })
        .collect();
    assert!(valid.iter().filter(|valid| !**valid).count() > 20);
    are_taken(&valid, &cases).await;
}

#[tokio::test]
async fn node_takes_every_good_assertion_and_no_bad_one() {
    let (cases, valid) = cases("assertion");
    let verdicts = judged("node", "judge.js", &cases).await;
    for ((verdict, valid), case) in verdicts.iter().zip(&valid).zip(&cases) {
        assert_eq!(verdict["appid"].is_string(), *valid, "{}", case["name"]);
        assert!(*valid || *verdict == json!(null), "{}", case["name"]);
    }
    assert!(valid.iter().filter(|valid| !**valid).count() > 10);
}

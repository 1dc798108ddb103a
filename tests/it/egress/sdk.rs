//! SDKs as their authors made them, calling WeChat through the gate. Left out where they are not
//! installed: `tests/run` sees to it.

use std::process::Command;

use serde_json::Value;

use crate::egress::start;
use crate::support::World;

const SDK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk");

/// Runs a client and gives the line of JSON that it prints.
async fn run(mut client: Command) -> Value {
    let ran = tokio::task::spawn_blocking(move || client.output()).await;
    let ran = ran
        .unwrap()
        .expect("the SDKs are not installed; run tests/run");
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{told}");
    serde_json::from_slice(&ran.stdout).unwrap()
}

fn python(script: &str) -> Command {
    let mut client = Command::new(format!("{SDK}/.venv/bin/python"));
    client.arg(format!("{SDK}/{script}"));
    client.env_remove("http_proxy").env_remove("https_proxy");
    client
}

/// An openid that WeChat knows.
async fn openid(world: &World) -> String {
    world.login("alice").await;
    world.openid("alice")
}

fn url(world: &World) -> String {
    format!("http://{}", world.gate.egress.unwrap())
}

#[tokio::test]
async fn wechatpy_works_with_its_base_url_changed_and_nothing_else() {
    let world = start().await;
    let mut client = python("wechatpy_client.py");
    client.args([url(&world), openid(&world).await]);
    let told = run(client).await;
    assert_eq!(told["suggest"], "pass");
    assert_eq!(told["picture_type"], "image/jpeg");
    assert!(told["picture_bytes"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn co_wechat_api_gets_a_placeholder_for_a_token_and_works() {
    let world = start().await;
    let mut client = Command::new("node");
    client.arg(format!("{SDK}/co_wechat_api_client.js"));
    client.args([url(&world), openid(&world).await]);
    let told = run(client).await;
    assert_eq!(told["suggest"], "pass");
    let placeholder = told["placeholder"].as_str().unwrap();
    assert!(placeholder.starts_with("wxgate"), "{placeholder}");
    assert!(told["picture_bytes"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_client_that_knows_nothing_but_http_proxy_works() {
    let world = start().await;
    let mut client = python("http_proxy_client.py");
    client.arg(openid(&world).await);
    client.env("http_proxy", url(&world));
    let told = run(client).await;
    assert_eq!(told["suggest"], "pass");
    assert!(told["seqid"].is_string(), "{told}");
}

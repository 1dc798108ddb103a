//! Who may call, and over what.

use std::process::Command;

use serde_json::json;

use super::{SEND, call, is_refused, relayed, setup};
use crate::support::certificates::Files;
use crate::support::raw::Request;

const TOKEN: &str = "0123456789abcdef-egress";

#[tokio::test]
async fn without_the_token_nothing_is_answered() {
    let world = setup(&format!("token = \"{TOKEN}\"\n")).start().await;
    let wrong = format!("{TOKEN}x");
    for shown in ["", &wrong, &TOKEN[1..]] {
        for target in [SEND, "/cgi-bin/token", "/x"] {
            let request = call(&world, "POST", target).bearer(shown).json(&json!({}));
            let answer = request.send().await;
            is_refused(&answer, 401, 48_001);
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    let twice = call(&world, "POST", SEND).bearer(TOKEN).bearer(TOKEN);
    is_refused(&twice.json(&json!({})).send().await, 401, 48_001);
    assert_eq!(relayed(&world), 0);
    let good = call(&world, "POST", SEND).bearer(TOKEN).json(&json!({}));
    assert_eq!(good.send().await.json()["errcode"], 0);
}

#[tokio::test]
async fn who_is_elsewhere_is_not_answered() {
    let world = setup("allow_from = [\"192.0.2.0/24\"]\n").start().await;
    let answer = call(&world, "POST", SEND).json(&json!({})).send().await;
    is_refused(&answer, 401, 48_001);
    let world = setup("allow_from = [\"127.0.0.0/8\"]\n").start().await;
    let answer = call(&world, "POST", SEND).json(&json!({})).send().await;
    assert_eq!(answer.json()["errcode"], 0);
}

#[tokio::test]
async fn a_call_over_tls_is_like_any_other() {
    let files = Files::new();
    let tls = files.table().replace("[server.tls]", "[egress.tls]");
    let world = setup(&tls).start().await;
    let to = world.gate.egress.unwrap();
    let client = files.authority.client().speaking(&["h2", "http/1.1"]);
    let mut connection = client.connect(to).await;
    let request = Request::new(to, "POST", SEND).header("Host", "api.weixin.qq.com");
    connection.write(&request.json(&json!({})).bytes()).await;
    assert_eq!(connection.answer().await.json()["errcode"], 0);
    // Clear text has no business there.
    let mut connection = crate::support::raw::Connection::open(to).await;
    connection
        .write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(connection.piece().await, b"");
}

#[tokio::test]
async fn curl_with_http_proxy_calls_wechat_by_its_own_name() {
    let world = setup("").start().await;
    let proxy = format!("http://{}", world.gate.egress.unwrap());
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--max-time",
        "20",
        "--data",
        r#"{"scene":"a=1"}"#,
    ])
    .env("http_proxy", proxy)
    .env_remove("no_proxy")
    .env_remove("NO_PROXY")
    .arg("http://api.weixin.qq.com/wxa/getwxacodeunlimit");
    let ran = tokio::task::spawn_blocking(move || curl.output()).await;
    let ran = ran.unwrap().unwrap();
    assert!(ran.stdout.starts_with(b"\xff\xd8\xff"), "{ran:?}");
}

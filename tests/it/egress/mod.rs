//! Calls of the app server to WeChat: it has no access token, and gets none.

mod listener;
mod sdk;
mod wire;

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use wxgate::sim::wechat::{Api, Misbehaviour};

use crate::support::process::Gate;
use crate::support::raw::{Answer, Request};
use crate::support::{APPID, APPID2, SECRET, Setup, World, appid};

const SEND: &str = "/cgi-bin/message/subscribe/send";

fn setup(lines: &str) -> Setup {
    Setup::with(&format!("[egress]\nlisten = \"127.0.0.1:0\"\n{lines}"))
}

async fn start() -> World {
    setup("").start().await
}

fn call(world: &World, method: &str, target: &str) -> Request {
    let request = Request::new(world.gate.egress.unwrap(), method, target);
    request.header("Host", "127.0.0.1:4181")
}

async fn send(world: &World) -> Answer {
    let request = call(world, "POST", SEND).json(&json!({"touser": "x"}));
    request.send().await
}

/// Checks that the gate answered, and not WeChat.
#[track_caller]
fn is_refused(answer: &Answer, status: u16, errcode: i32) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.json()["errcode"], errcode, "{answer:?}");
    assert_eq!(answer.header("x-openapi-seqid"), None, "{answer:?}");
}

/// The access token that WeChat gives to whoever knows the AppSecret.
pub(crate) async fn access_token(gate: &Gate) -> String {
    let file = std::fs::read_to_string(gate.file()).unwrap();
    let (_, rest) = file.split_once("base_url = \"http://").unwrap();
    let wechat = rest.split('"').next().unwrap().parse().unwrap();
    let asked = json!({"grant_type": "client_credential", "appid": APPID, "secret": SECRET});
    let request = Request::new(wechat, "POST", "/cgi-bin/stable_token").json(&asked);
    let given = request.send().await.json();
    given["access_token"].as_str().unwrap().to_owned()
}

/// All calls that WeChat got, but for those about tokens.
fn relayed(world: &World) -> u64 {
    let apis = Api::ALL.into_iter().filter(|api| *api != Api::StableToken);
    apis.map(|api| world.wechat.calls_of(api)).sum()
}

#[tokio::test]
async fn what_is_not_allowed_never_reaches_wechat() {
    let world = start().await;
    for target in [
        "/",
        "/wxa/business/getuserencryptkey",
        "/sns/jscode2session?appid=x&js_code=y",
        "/cgi-bin/clear_quota",
        "/cgi-bin/openapi/quota/clear",
        "/cgi-bin/openapi/rid/get",
        "/cgi-bin//stable_token",
        "/cgi-bin/./stable_token",
        "/cgi-bin/%73table_token",
        "/wxa/../cgi-bin/message/subscribe/send",
        "/cgi-bin/message/subscribe/send/",
        "http://example.com/cgi-bin/message/subscribe/send",
        "http://api.weixin.qq.com:8080/cgi-bin/message/subscribe/send",
        "/cgi-bin/message/subscribe/send;/x",
    ] {
        let answer = call(&world, "POST", target).json(&json!({})).send().await;
        is_refused(&answer, 403, 85_107);
    }
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = call(&world, method, SEND).send().await;
        is_refused(&answer, 403, 85_107);
    }
    let tunnel = call(&world, "CONNECT", "api.weixin.qq.com:443");
    is_refused(&tunnel.send().await, 403, 85_107);
    for host in [
        "example.com",
        "api.weixin.qq.com.example.com",
        "10.0.0.1",
        "api.mch.weixin.qq.com",
    ] {
        let request = Request::new(world.gate.egress.unwrap(), "POST", SEND);
        let answer = request.header("Host", host).json(&json!({})).send().await;
        is_refused(&answer, 403, 85_107);
    }
    for (name, value) in [("Origin", "null"), ("Sec-Fetch-Site", "cross-site")] {
        let answer = call(&world, "POST", SEND).header(name, value).send().await;
        is_refused(&answer, 403, 48_001);
    }
    assert_eq!(relayed(&world), 0);
    assert_eq!(world.wechat.calls_of(Api::StableToken), 0);
}

#[tokio::test]
async fn a_mini_program_that_is_not_configured_is_not_spoken_for() {
    let world = start().await;
    let from = |app: &str| format!("{SEND}?from_appid={app}");
    let other = call(&world, "POST", &from(APPID2)).json(&json!({}));
    is_refused(&other.send().await, 403, 40_013);
    let other = call(&world, "POST", SEND).header("X-WX-APPID", APPID2);
    is_refused(&other.json(&json!({})).send().await, 403, 40_013);
    assert_eq!(relayed(&world), 0);
    let own = call(&world, "POST", &from(APPID)).json(&json!({}));
    assert_eq!(own.send().await.json()["errcode"], 0);
}

#[tokio::test]
async fn an_sdk_that_asks_for_a_token_gets_one_that_wechat_does_not_know() {
    let world = start().await;
    let token = call(&world, "GET", "/cgi-bin/token?grant_type=client_credential");
    let stable = call(&world, "POST", "/cgi-bin/stable_token").json(&json!({"appid": APPID}));
    for request in [token, stable] {
        let answer = request.send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["expires_in"], 7200);
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        assert!(token.starts_with("wxgate-placeholder"), "{token}");
        // And so it works as well as none.
        let target = format!("{SEND}?access_token={token}");
        let used = call(&world, "POST", &target).json(&json!({})).send().await;
        assert_eq!(used.json()["errcode"], 0, "{used:?}");
    }
    assert_eq!(world.wechat.calls_of(Api::Token), 0);
    assert_eq!(world.wechat.calls_of(Api::StableToken), 1);
}

#[tokio::test]
async fn a_hundred_calls_across_the_end_of_a_token_lead_to_one_refresh_and_none_fails() {
    let world = start().await;
    assert_eq!(send(&world).await.json()["errcode"], 0);
    world.clock.advance(Duration::from_secs(7201));
    for answer in join_all((0..100).map(|_| send(&world))).await {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["errcode"], 0, "{answer:?}");
    }
    assert_eq!(world.wechat.calls_of(Api::StableToken), 2);
    assert_eq!(world.wechat.calls_of(Api::SendSubscribed), 101);
}

#[tokio::test]
async fn a_token_invalidated_from_outside_costs_each_call_one_repeat_at_most() {
    let world = start().await;
    assert_eq!(send(&world).await.json()["errcode"], 0);
    world.wechat.invalidate_tokens(&appid(APPID));
    for answer in join_all((0..100).map(|_| send(&world))).await {
        assert_eq!(answer.json()["errcode"], 0, "{answer:?}");
    }
    assert_eq!(world.wechat.calls_of(Api::StableToken), 2);
    let calls = world.wechat.calls_of(Api::SendSubscribed);
    assert!((102..=201).contains(&calls), "{calls}");
}

#[tokio::test]
async fn a_token_that_is_refused_again_and_again_is_not_asked_for_again_and_again() {
    let world = start().await;
    let order = Misbehaviour::Errcode(40_001);
    world.wechat.misbehave_at(Api::SendSubscribed, 1000, order);
    for answer in join_all((0..20).map(|_| send(&world))).await {
        // WeChat's own words.
        assert_eq!(answer.json()["errcode"], 40_001, "{answer:?}");
        assert_eq!(answer.json()["errmsg"], "ordered from the simulator");
    }
    assert!(world.wechat.calls_of(Api::StableToken) <= 3);
    assert!(world.wechat.calls_of(Api::SendSubscribed) <= 40);
}

/// In one documented example an errcode is text.
#[tokio::test]
async fn a_refusal_of_the_token_is_one_in_either_spelling_of_its_errcode() {
    for errcode in ["40001", "40014", "42001"] {
        let world = start().await;
        assert_eq!(send(&world).await.json()["errcode"], 0);
        world.wechat.invalidate_tokens(&appid(APPID));
        let order = Misbehaviour::ErrcodeText(errcode.to_owned());
        world.wechat.misbehave_at(Api::SendSubscribed, 1, order);
        assert_eq!(send(&world).await.json()["errcode"], 0, "{errcode}");
        assert_eq!(world.wechat.calls_of(Api::StableToken), 2);
    }
}

#[tokio::test]
async fn other_errcodes_are_the_app_servers_business() {
    let world = start().await;
    let order = Misbehaviour::Errcode(45_009);
    world.wechat.misbehave_at(Api::SendSubscribed, 1, order);
    assert_eq!(send(&world).await.json()["errcode"], 45_009);
    assert_eq!(world.wechat.calls_of(Api::SendSubscribed), 1);
}

#[tokio::test]
async fn a_picture_and_a_text_come_back_as_they_are() {
    let world = start().await;
    let text = r#"{ "z":"特\u0033" ,"a": 1.0,"touser" :"x"}"#;
    let echo = call(&world, "POST", SEND).body(text).send().await;
    assert_eq!(echo.json()["echo"], Value::from(text));
    let scene = call(&world, "POST", "/wxa/getwxacodeunlimit").body(r#"{"scene":"a=1"}"#);
    let picture = scene.send().await;
    assert_eq!(picture.header("content-type"), Some("image/jpeg"));
    assert!(picture.body.starts_with(b"\xff\xd8\xff\xe0\0\x10JFIF"));
    assert!(picture.body.ends_with(b"\xff\xd9"), "{picture:?}");
    let [one, two] = [&echo, &picture].map(|answer| answer.header("x-openapi-seqid").unwrap());
    assert_ne!(one, two);
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_the_app_servers_to_judge() {
    let world = start().await;
    let order = Misbehaviour::Garbage;
    world.wechat.misbehave_at(Api::SendSubscribed, 1, order);
    let answer = send(&world).await;
    assert_eq!(answer.status, 200);
    assert!(std::str::from_utf8(&answer.body).is_err(), "{answer:?}");
    assert!(answer.header("x-openapi-seqid").is_some(), "{answer:?}");
}

#[tokio::test]
async fn a_wechat_that_breaks_off_or_cannot_be_reached_is_told_as_no_answer() {
    let world = start().await;
    assert_eq!(send(&world).await.status, 200);
    let order = Misbehaviour::Reset;
    world.wechat.misbehave_at(Api::SendSubscribed, 1, order);
    is_refused(&send(&world).await, 502, -1);
    assert_eq!(send(&world).await.status, 200);
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("http://{}", dead.local_addr().unwrap());
    drop(dead);
    let world = Setup {
        wechat_url: Some(nowhere),
        ..setup("")
    };
    is_refused(&send(&world.start().await).await, 502, -1);
}

#[tokio::test]
async fn neither_the_app_secret_nor_the_access_token_gets_out() {
    let mut gate = Gate::start(setup("[log]\nlevel = \"debug\"\nformat = \"json\"\n")).await;
    let line: Value =
        serde_json::from_str(&gate.program.line("egress listener is up").await).unwrap();
    let egress = line["address"].as_str().unwrap().parse().unwrap();
    let send = async |target: &str| {
        let request = Request::new(egress, "POST", target).header("Host", "localhost");
        request.json(&json!({})).send().await
    };
    // The same as the gate's, since nobody ends it.
    let token = access_token(&gate).await;
    let mut told = vec![send(SEND).await];
    let leaky = json!({"errcode": 40_001, "errmsg": format!("access_token={token}")});
    let location = format!("http://127.0.0.1:1/?access_token={token}");
    for trouble in [
        Misbehaviour::Body(leaky.to_string()),
        Misbehaviour::Body(format!("no object: {token}")),
        Misbehaviour::Redirect(location.parse().unwrap()),
        Misbehaviour::Errcode(42_001),
        Misbehaviour::Reset,
        Misbehaviour::Garbage,
    ] {
        gate.wechat.misbehave_at(Api::SendSubscribed, 2, trouble);
        told.push(send(SEND).await);
        gate.wechat.behave();
    }
    for target in [
        "/cgi-bin/token",
        "/cgi-bin/stable_token",
        "/sns/x",
        "/x?access_token=y",
    ] {
        told.push(send(target).await);
    }
    gate.stop_neighbours().await;
    told.push(send(SEND).await);
    // Whoever has ended has said everything.
    gate.program.signal("TERM").await;
    gate.program.ended().await;
    let said = gate.program.said();
    assert!(
        said.contains("a call of the app server to wechat failed"),
        "{said}"
    );
    for secret in [SECRET, token.as_str()] {
        assert!(!said.contains(secret), "{said}");
        for answer in &told {
            assert!(
                !format!("{:?}", answer.headers).contains(secret),
                "{answer:?}"
            );
            assert!(!answer.text().contains(secret), "{answer:?}");
        }
    }
}

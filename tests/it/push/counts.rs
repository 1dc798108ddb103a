//! What is counted of pushes.

use serde_json::Value;
use wxgate::domain::clock::Clock;

use crate::push::app::{App, Then, setup, world};
use crate::push::wechat::{Wechat, message};
use crate::support::process::Gate;
use crate::support::scrape::Scrape;
use crate::support::{APPID, Setup, World};

const PUSHES: &str = "wxgate_push_messages_total";

async fn pushes(world: &World, result: &str, count: f64) {
    let labels = [("appid", APPID), ("result", result)];
    world.counts(PUSHES, &labels, count).await;
}

#[tokio::test]
async fn a_push_counts_by_what_became_of_it() {
    const FAILS: &str = "HTTP/1.1 500 Failed\r\nContent-Length: 0\r\n\r\n";
    let app = App::start().await;
    let world = world(&app, "safe", "").await;
    let push = Wechat::of(&world).sealed(&message(false, 1), "");
    let push = async || push.to(&world).send().await.status;
    app.next([Then::Says(FAILS)]);
    assert_eq!(push().await, 502);
    pushes(&world, "failed", 1.0).await;
    assert_eq!(push().await, 200);
    pushes(&world, "delivered", 1.0).await;
    assert_eq!(push().await, 200);
    pushes(&world, "repeated", 1.0).await;
    let forged = Wechat::of(&world).sealed(&message(false, 2), "");
    forged.set("nonce", "1").to(&world).send().await;
    pushes(&world, "refused", 1.0).await;
    // Of a mini program that is not here.
    let elsewhere = world.post("/wx/push/wx9999999999999999");
    elsewhere.body("{}").send().await;
    // A question about the address is no message.
    world.get(&format!("/wx/push/{APPID}")).send().await;
    world.counts(PUSHES, &[], 4.0).await;
}

#[tokio::test]
async fn a_push_that_is_acknowledged_at_once_counts_when_the_app_server_has_taken_it() {
    let app = App::start().await;
    let world = world(&app, "safe", "ack = \"immediate\"").await;
    let push = Wechat::of(&world).sealed(&message(false, 1), "");
    assert_eq!(push.to(&world).send().await.text(), "success");
    pushes(&world, "delivered", 1.0).await;
    pushes(&world, "lost", 0.0).await;
}

#[tokio::test]
async fn a_push_that_was_acknowledged_and_then_lost_is_an_error_in_the_log_and_a_count() {
    // Nobody listens there.
    let app = App::not_yet().await;
    let setup = setup(&app, "safe", "ack = \"immediate\"");
    let toml = format!("{}[log]\nformat = \"json\"\n", setup.toml);
    let gate = Gate::start(Setup { toml, ..setup }).await;
    let push = Wechat::at(&Clock::System).sealed(&message(false, 1), "");
    let answer = push.to_address(gate.address).send().await;
    assert_eq!(answer.text(), "success");
    let lost = [("appid", APPID), ("result", "lost")];
    let scrape = async || Scrape::read(&gate.ask_admin("/metrics").await.text());
    assert_eq!(scrape().await.sum(PUSHES, &lost), Some(0.0));
    let line: Value = serde_json::from_str(&gate.program.line("push lost").await).unwrap();
    assert_eq!(line["level"], "error");
    assert_eq!(line["why"], "the app server cannot be connected to");
    assert!(
        line["cause"].as_str().unwrap().contains("refused"),
        "{line}"
    );
    assert_eq!(line["request_id"], answer.header("x-request-id").unwrap());
    assert_eq!(scrape().await.sum(PUSHES, &lost), Some(1.0));
    assert_eq!(scrape().await.sum(PUSHES, &[]), Some(1.0));
}

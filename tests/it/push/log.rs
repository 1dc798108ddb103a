//! What the log says of pushes, and what it does not.

use serde_json::Value;
use wxgate::domain::clock::Clock;

use crate::push::app::{App, setup};
use crate::push::wechat::{KEY, OLD_KEY, OPENID, TOKEN, Wechat, message};
use crate::support::process::Gate;
use crate::support::{APPID, Setup};

#[tokio::test]
async fn the_log_says_why_a_push_was_refused_and_which_was_lost_and_nothing_of_what_they_say() {
    // Nobody listens there.
    let app = App::not_yet().await;
    let setup = setup(&app, "safe", "ack = \"immediate\"");
    let toml = format!(
        "{}[log]\nlevel = \"debug\"\nformat = \"json\"\n",
        setup.toml
    );
    // So long that the push waits for its next try, and no longer.
    let server = "drain_timeout = \"200ms\"".to_owned();
    let setup = Setup {
        toml,
        server,
        ..setup
    };
    let mut gate = Gate::start(setup).await;
    let wechat = Wechat::at(&Clock::System);
    let good = wechat.sealed(&message(false, 1), "");
    let forged = good.clone().set("nonce", "1");
    let answer = forged.to_address(gate.address).send().await;
    assert_eq!(answer.status, 403);
    let line: Value = serde_json::from_str(&gate.program.line("push refused").await).unwrap();
    assert_eq!(line["why"], "the signature is not that of the token");
    assert_eq!(line["appid"], APPID);
    let refused = answer.json();
    assert_eq!(line["request_id"], refused["request_id"]);
    let answer = good.to_address(gate.address).send().await;
    assert_eq!(answer.text(), "success");
    let request_id = answer.header("x-request-id").unwrap();
    gate.program.signal("TERM").await;
    assert_eq!(gate.program.ended().await, 0);
    let lost: Value = serde_json::from_str(&gate.program.line("push lost").await).unwrap();
    assert_eq!(
        (&lost["level"], &lost["appid"]),
        (&"error".into(), &APPID.into())
    );
    assert_eq!(lost["msg_type"], "text");
    assert_eq!(lost["why"], "the gate stopped");
    assert_eq!(lost["request_id"], request_id);
    let left = gate.program.line("pushes were still waiting").await;
    let left: Value = serde_json::from_str(&left).unwrap();
    assert_eq!(left["pushes"], 1);
    let said = gate.program.said();
    let encrypted = good.body.split('"').nth(3).unwrap();
    let hidden = [TOKEN, KEY, OLD_KEY, OPENID, "你好", "signature=", encrypted];
    for secret in hidden {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
}

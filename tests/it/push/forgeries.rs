//! Whoever is not WeChat: without a signature, with somebody else's, with one that covers something
//! else, or with a push that was WeChat's once.

use std::time::Duration;

use crate::push::app::{App, Then, setup, world};
use crate::push::wechat::{OPENID, Pushed, Wechat, message, message_of, sign};
use crate::support::{APPID, APPID2, Setup, World};

const MODES: [&str; 3] = ["safe", "compatible", "plain"];

#[track_caller]
fn nothing_arrived(app: &App, what: &str) {
    assert_eq!(app.count(), 0, "{what}");
}

async fn refused(world: &World, app: &App, pushed: &Pushed, what: &str) {
    let answer = pushed.to(world).send().await;
    answer.is_refused(403, "push_refused", "none");
    // Whoever guesses learns nothing from the way in which he is wrong.
    assert_eq!(
        answer.detail(),
        "nothing shows that this is from WeChat; the gate's log says why",
        "{what}"
    );
    nothing_arrived(app, what);
}

/// A push with each of its parts wrong.
fn wrong(good: &Pushed, signature: &'static str) -> Vec<(&'static str, Pushed)> {
    let parameter = |name: &str| {
        let found = good.query.iter().find(|(other, _)| *other == name);
        found.unwrap().1.clone()
    };
    let right = parameter(signature);
    let twice = |name: &'static str, value: &str| {
        let mut pushed = good.clone();
        pushed.query.push((name, value.to_owned()));
        pushed
    };
    let with_body = |body: &str| Pushed {
        body: body.to_owned(),
        ..good.clone()
    };
    vec![
        ("no signature", good.clone().without(signature)),
        ("empty signature", good.clone().set(signature, "")),
        (
            "upper case",
            good.clone().set(signature, &right.to_uppercase()),
        ),
        ("short", good.clone().set(signature, &right[1..])),
        ("two signatures", twice(signature, &right)),
        ("no timestamp", good.clone().without("timestamp")),
        (
            "another timestamp",
            good.clone().set("timestamp", "1714112446"),
        ),
        ("two timestamps", twice("timestamp", "1714112446")),
        ("no nonce", good.clone().without("nonce")),
        ("another nonce", good.clone().set("nonce", "1")),
        ("two nonces", twice("nonce", "1")),
        ("no body", with_body("")),
        ("no message", with_body("success")),
        ("a list", with_body("[]")),
        ("broken XML", with_body("<xml>")),
        ("a document type", with_body("<!DOCTYPE xml><xml/>")),
    ]
}

#[tokio::test]
async fn what_nothing_shows_to_be_wechats_is_refused_and_arrives_nowhere() {
    for mode in MODES {
        let app = App::start().await;
        let world = world(&app, mode, "").await;
        let wechat = Wechat::of(&world);
        let signature = if mode == "plain" {
            "signature"
        } else {
            "msg_signature"
        };
        let good = [false, true].map(|xml| wechat.of_mode(mode, &message(xml, 1)));
        for (what, pushed) in good.iter().flat_map(|good| wrong(good, signature)) {
            refused(&world, &app, &pushed, what).await;
        }
        let stranger = Wechat {
            token: "AAAAB".to_owned(),
            ..wechat.clone()
        };
        refused(
            &world,
            &app,
            &stranger.of_mode(mode, &message(false, 1)),
            "token",
        )
        .await;
    }
}

#[tokio::test]
async fn a_ciphertext_that_was_signed_for_something_else_is_refused() {
    let app = App::start().await;
    let world = world(&app, "safe", "").await;
    let wechat = Wechat::of(&world);
    let good = wechat.sealed(&message(false, 1), "");
    let other = wechat.sealed(&message(false, 2), "");
    let swapped = Pushed {
        body: other.body,
        ..good.clone()
    };
    refused(&world, &app, &swapped, "another message").await;
    let for_others = Wechat {
        app: APPID2.to_owned(),
        ..wechat.clone()
    };
    refused(
        &world,
        &app,
        &for_others.sealed(&message(false, 1), ""),
        "appid",
    )
    .await;
    let other_key = Wechat {
        key: "A".repeat(43),
        ..wechat.clone()
    };
    refused(
        &world,
        &app,
        &other_key.sealed(&message(false, 1), ""),
        "key",
    )
    .await;
    for inner in ["not a message", "<!DOCTYPE xml><xml/>", "[1]"] {
        refused(&world, &app, &wechat.sealed(inner, ""), inner).await;
    }
    let twice = wechat.sealed(&message(false, 1), r#""Encrypt":"x","#);
    refused(&world, &app, &twice, "two ciphertexts").await;
}

#[tokio::test]
async fn no_mode_falls_back_to_a_weaker_one() {
    for mode in ["safe", "compatible"] {
        let app = App::start().await;
        let world = world(&app, mode, "").await;
        let wechat = Wechat::of(&world);
        // All of these carry a `signature` that is right: it covers no body.
        let clear = wechat.plain(&message(false, 1));
        refused(&world, &app, &clear, "in clear").await;
        let stamp = [wechat.token.as_str(), &wechat.at.to_string(), "415670741"];
        let covered = clear.clone().set("msg_signature", &sign(&stamp));
        refused(&world, &app, &covered, "with the signature of the stamp").await;
        let sealed = wechat.sealed(&message(false, 1), "");
        refused(
            &world,
            &app,
            &sealed.clone().without("msg_signature"),
            "unsigned",
        )
        .await;
        let raw = clear.clone().set("encrypt_type", "raw");
        refused(&world, &app, &raw, "said to be in clear").await;
        let empty = Pushed {
            body: r#"{"Encrypt":""}"#.to_owned(),
            ..covered
        };
        refused(&world, &app, &empty, "an empty ciphertext").await;
    }
    let app = App::start().await;
    let world = world(&app, "plain", "").await;
    let sealed = Wechat::of(&world).sealed(&message(false, 1), "");
    refused(&world, &app, &sealed, "encrypted").await;
    refused(&world, &app, &sealed.without("msg_signature"), "encrypted").await;
}

#[tokio::test]
async fn what_stands_in_clear_beside_a_ciphertext_counts_for_nothing() {
    let app = App::start().await;
    let world = world(&app, "compatible", "").await;
    let wechat = Wechat::of(&world);
    let beside = r#""FromUserName":"oVictim","MsgType":"text","Content":"pay","MsgId":9,"#;
    let pushed = wechat.sealed(&message(false, 1), beside);
    assert_eq!(pushed.to(&world).send().await.status, 200);
    let arrived = app.arrived().pop().unwrap();
    assert_eq!(arrived.body, message(false, 1));
    assert_eq!(arrived.header("x-wx-openid"), [OPENID]);
}

#[tokio::test]
async fn a_push_that_somebody_sends_again_arrives_once() {
    for mode in MODES {
        let app = App::start().await;
        let world = world(&app, mode, "dedupe_window = \"1m\"").await;
        let pushed = Wechat::of(&world).of_mode(mode, &message(false, 1));
        for _ in 0..3 {
            let answer = pushed.to(&world).send().await;
            assert_eq!((answer.status, &*answer.text()), (200, "success"), "{mode}");
        }
        // Beyond the window, and for as long as its stamp is good.
        for seconds in [59, 2, 120, 118] {
            world.clock.advance(Duration::from_secs(seconds));
            assert_eq!(pushed.to(&world).send().await.status, 200);
            assert_eq!(app.count(), 1, "{mode}");
        }
        // When nobody remembers it any more it is too old.
        for _ in 0..10 {
            world.clock.advance(Duration::from_mins(1));
            let answer = pushed.to(&world).send().await;
            answer.is_refused(403, "push_refused", "none");
        }
        assert_eq!(app.count(), 1, "{mode}");
    }
}

#[tokio::test]
async fn how_old_a_push_may_be_is_no_matter_of_the_window() {
    for window in ["1m", "1h"] {
        let app = App::start().await;
        let world = world(&app, "safe", &format!("dedupe_window = \"{window}\"")).await;
        let now = Wechat::of(&world);
        for (message_id, age, status) in [(1, 298, 200), (2, 301, 403)] {
            let wechat = Wechat {
                at: now.at - age,
                ..now.clone()
            };
            let pushed = wechat.sealed(&message(false, message_id), "");
            let answer = pushed.to(&world).send().await;
            assert_eq!(answer.status, status, "{window}: {age} s old");
        }
    }
}

#[tokio::test]
async fn a_repeat_with_a_stamp_of_its_own_is_known_for_the_window() {
    let app = App::start().await;
    let world = world(&app, "safe", "dedupe_window = \"10m\"").await;
    for (wait, arrived) in [(0, 1), (299, 1), (300, 1), (1, 2)] {
        world.clock.advance(Duration::from_secs(wait));
        let pushed = Wechat::of(&world).sealed(&message(false, 1), "");
        assert_eq!(pushed.to(&world).send().await.status, 200);
        assert_eq!(app.count(), arrived, "after {wait} s more");
    }
}

#[tokio::test]
async fn a_stamp_from_the_future_is_refused() {
    let app = App::start().await;
    let world = world(&app, "safe", "").await;
    let now = Wechat::of(&world);
    for at in [now.at + 62, u64::MAX, 0] {
        let wechat = Wechat { at, ..now.clone() };
        refused(&world, &app, &wechat.sealed(&message(false, 1), ""), "time").await;
    }
    // Clocks differ a little.
    let soon = Wechat {
        at: now.at + 59,
        ..now
    };
    let answer = soon.sealed(&message(false, 1), "").to(&world).send().await;
    assert_eq!(answer.status, 200);
}

/// What is signed has nothing between timestamp and nonce, so that whoever has seen a push can turn them
/// round, or move digits from one to the other.
#[tokio::test]
async fn a_timestamp_made_of_a_nonce_makes_no_old_push_new() {
    const DAY: u64 = 24 * 60 * 60;
    for mode in ["safe", "compatible"] {
        let app = App::start().await;
        let world = world(&app, mode, "").await;
        let now = Wechat::of(&world);
        let (yesterday, tomorrow) = (now.at - DAY - 1, now.at + DAY + 1);
        for (at, xml) in [(yesterday, false), (yesterday, true), (tomorrow, false)] {
            let turned = now.of_mode(mode, &message_of(at, xml, 1));
            refused(&world, &app, &turned, "a message of another day").await;
        }
        for (stamp, nonce) in [
            (format!("0{}", now.at), "415670741".to_owned()),
            (format!("{}0", now.at), "415670741".to_owned()),
            (format!("+{}", now.at), "415670741".to_owned()),
            (format!("0{}", now.at / 10), "4".to_owned()),
        ] {
            let pushed = now.stamped_with(&stamp, &nonce, &message(false, 1));
            refused(&world, &app, &pushed, &stamp).await;
        }
        // What names no moment is not judged by it, and a push may come late.
        let late = message_of(now.at - DAY + 60, false, 2);
        for taken in [late.as_str(), r#"{"MsgType":"event","CreateTime":0}"#, "{}"] {
            let answer = now.of_mode(mode, taken).to(&world).send().await;
            assert_eq!(answer.status, 200, "{taken}");
        }
    }
}

#[tokio::test]
async fn an_answer_of_the_gates_own_is_no_push() {
    let app = App::start().await;
    let world = world(&app, "safe", "").await;
    let says = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"MsgId\":123}";
    app.next([Then::Says(says)]);
    let pushed = Wechat::of(&world).sealed(&message(false, 1), "");
    let answer = pushed.to(&world).send().await.json();
    assert_eq!(app.count(), 1);
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    let back = Pushed {
        body: serde_json::json!({ "Encrypt": text("Encrypt") }).to_string(),
        ..pushed
    };
    let timestamp = answer["TimeStamp"].to_string();
    let back = back.set("timestamp", &timestamp);
    let back = back.set("nonce", &text("Nonce"));
    let back = back.set("msg_signature", &text("MsgSignature"));
    let sent_back = back.to(&world).send().await;
    sent_back.is_refused(403, "push_refused", "none");
    assert_eq!(app.count(), 1);
}

#[tokio::test]
async fn a_client_reaches_the_path_of_pushes_in_no_way() {
    let app = App::start().await;
    let world = world(&app, "safe", "").await;
    let token = world.login("alice").await;
    for path in [
        "/pushed",
        "/PUSHED/",
        "/%70ushed",
        "//pushed",
        "/x/../pushed",
    ] {
        let answer = world.post(path).bearer(&token).body(message(false, 1));
        let answer = answer.send().await;
        assert!([400, 404].contains(&answer.status), "{path}: {answer:?}");
    }
    nothing_arrived(&app, "from a client");
    let answer = world.post("/other").bearer(&token).body("x").send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(app.arrived()[0].line, "POST /other");
}

#[tokio::test]
async fn only_a_mini_program_that_has_pushes_has_a_route() {
    let app = App::start().await;
    let setup = Setup {
        two_apps: true,
        ..setup(&app, "safe", "")
    };
    // The second one has them.
    let world = setup.start().await;
    let good = Wechat {
        app: APPID2.to_owned(),
        ..Wechat::of(&world)
    };
    let good = good.sealed(&message(false, 1), "");
    for path in [
        format!("/wx/push/{APPID}"),
        format!("/wx/push/{}", APPID2.to_uppercase()),
        "/wx/push/wx0000000000000000".to_owned(),
        "/wx/push/*".to_owned(),
    ] {
        let elsewhere = Pushed {
            path: path.clone(),
            ..good.clone()
        };
        let answer = elsewhere.to(&world).send().await;
        answer.is_refused(404, "not_found", "fix");
        let answer = world.get(&path).send().await;
        answer.is_refused(404, "not_found", "fix");
    }
    nothing_arrived(&app, "at the wrong address");
    let there = Pushed {
        path: format!("/wx/push/{APPID2}"),
        ..good
    };
    assert_eq!(there.to(&world).send().await.status, 200);
    assert_eq!(app.arrived()[0].header("x-wx-appid"), [APPID2]);
}

#[tokio::test]
async fn without_pushes_the_path_is_the_app_servers() {
    let world = Setup::with("[access]\ndefault = \"public\"").start().await;
    let path = format!("/wx/push/{APPID}");
    assert_eq!(world.post(&path).send().await.status, 200);
    assert_eq!(world.app.last().target, path);
}

#[tokio::test]
async fn other_methods_and_larger_bodies_are_refused() {
    let app = App::start().await;
    let world = world(&app, "safe", "").await;
    for method in ["PUT", "DELETE", "HEAD", "OPTIONS"] {
        let pushed = Wechat::of(&world).sealed(&message(false, 1), "");
        let query: Vec<_> = pushed
            .query
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        let target = format!("{}?{}", pushed.path, query.join("&"));
        let answer = world.request(method, &target).send().await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("GET, POST"));
    }
    let large = format!(r#"{{"MsgId":1,"Content":"{}"}}"#, "x".repeat(256 * 1024));
    let pushed = Wechat::of(&world).sealed(&large, "");
    let answer = pushed.to(&world).send().await;
    answer.is_refused(413, "body_too_large", "fix");
    nothing_arrived(&app, "too large");
    app.next([Then::Says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]);
    let fits = format!(r#"{{"MsgId":1,"Content":"{}"}}"#, "x".repeat(128 * 1024));
    let answer = Wechat::of(&world).sealed(&fits, "").to(&world).send().await;
    assert_eq!(answer.status, 200);
}

//! What WeChat pushes reaches the app server in the clear, once, and with its sender; what anybody
//! else would like to push reaches nobody.

pub(crate) mod app;
mod counts;
mod failures;
mod forgeries;
mod log;
mod signed;
pub(crate) mod wechat;

use serde_json::Value;
use wxgate::crypto::push::{self, AppKeys, Stamp};
use wxgate::domain::secret::{EncodingAesKey, PushToken};

use crate::push::app::{App, Then, world};
use crate::push::wechat::{KEY, OLD_KEY, OPENID, TOKEN, Wechat, message, sign};
use crate::support::{APPID, World, appid};

const MODES: [&str; 3] = ["safe", "compatible", "plain"];

#[tokio::test]
async fn a_push_of_any_mode_and_format_arrives_in_the_clear() {
    for mode in MODES {
        let app = App::start().await;
        let world = world(&app, mode, "").await;
        for (xml, content_type) in [(false, "application/json"), (true, "text/xml")] {
            // Beyond what a number with a fraction can hold.
            let message = message(xml, 23_637_352_235_060_880 + u64::from(xml));
            let pushed = Wechat::of(&world).of_mode(mode, &message);
            let answer = pushed.to(&world).send().await;
            assert_eq!((answer.status, &*answer.text()), (200, "success"), "{mode}");
            let arrived = app.arrived().pop().unwrap();
            assert_eq!(arrived.line, "POST /pushed");
            assert_eq!(arrived.body, message, "{mode}");
            assert_eq!(arrived.header("content-type"), [content_type]);
        }
        assert_eq!(app.count(), 2);
    }
}

#[tokio::test]
async fn the_app_server_learns_the_sender_as_in_cloud_run_where_a_signature_covers_him() {
    for mode in MODES {
        let app = App::start().await;
        let world = world(&app, mode, "").await;
        let pushed = Wechat::of(&world).of_mode(mode, &message(false, 1));
        let forged = pushed.to(&world).header("X-WX-OPENID", "oVictim");
        let forged = forged
            .header("Host", "other.example")
            .header("x_wx_unionid", "uVictim")
            .header("X-Secret-Of-The-Client", "1")
            .bearer(&format!("wxg_{}", "a".repeat(43)));
        assert_eq!(forged.send().await.status, 200);
        let arrived = app.arrived().pop().unwrap();
        let openid = match mode {
            // Nothing covers the message, so nobody vouches for who wrote it.
            "plain" => vec![],
            _ => vec![OPENID],
        };
        assert_eq!(arrived.header("x-wx-openid"), openid, "{mode}");
        assert_eq!(arrived.header("x-wx-appid"), [APPID]);
        assert_eq!(arrived.header("x-wx-source"), ["wx_client"]);
        assert_eq!(arrived.header("x-request-id").len(), 1);
        assert_eq!(arrived.header("host"), [app.address.to_string()]);
        for none in ["x_wx_unionid", "authorization", "x-secret-of-the-client"] {
            assert_eq!(arrived.header(none), [""; 0], "{none}");
        }
    }
}

#[tokio::test]
async fn an_event_without_an_openid_arrives_without_one() {
    let app = App::start().await;
    let world = world(&app, "safe", "").await;
    for event in [
        r#"{"MsgType":"event","Event":"weapp_audit_success","CreateTime":1}"#,
        r#"{"MsgType":"event","Event":"x","FromUserName":"not an id"}"#,
        r#"{"MsgType":"some_day","what":{"ever":[1,2.5,null]}}"#,
    ] {
        let answer = Wechat::of(&world).sealed(event, "").to(&world).send().await;
        assert_eq!(answer.status, 200, "{event}");
        let arrived = app.arrived().pop().unwrap();
        assert_eq!(arrived.body, event);
        assert_eq!(arrived.header("x-wx-openid"), [""; 0]);
        assert_eq!(arrived.header("x-wx-appid"), [APPID]);
    }
}

/// Opens an answer as WeChat does.
fn opened(answer: [&str; 4], key: &str) -> String {
    let [encrypt, signature, timestamp, nonce] = answer;
    let keys = AppKeys {
        app: &appid(APPID),
        token: &PushToken::parse(TOKEN).unwrap(),
        current: &EncodingAesKey::parse(key).unwrap(),
        previous: None,
    };
    let opened = push::open(keys, Stamp { timestamp, nonce }, encrypt, signature);
    opened.unwrap().message
}

/// What stands between two texts.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text.split_once(before).unwrap().1;
    rest.split_once(after).unwrap().0
}

const SAYS: &str = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"hi\":\"你\"}";

#[tokio::test]
async fn what_the_app_server_says_goes_back_in_the_format_of_the_push_and_encrypted_if_that_was() {
    for key in [KEY, OLD_KEY] {
        let app = App::start().await;
        let world = world(&app, "safe", "").await;
        app.next([Then::Says(SAYS), Then::Says(SAYS)]);
        let wechat = Wechat {
            key: key.to_owned(),
            ..Wechat::of(&world)
        };
        let answer = wechat.sealed(&message(false, 1), "").to(&world);
        let json: Value = answer.send().await.json();
        let timestamp = json["TimeStamp"].as_u64().unwrap().to_string();
        let text = |name: &str| json[name].as_str().unwrap();
        let parts = [
            text("Encrypt"),
            text("MsgSignature"),
            &timestamp,
            text("Nonce"),
        ];
        assert_eq!(opened(parts, key), "{\"hi\":\"你\"}");
        let answer = wechat.sealed(&message(true, 2), "").to(&world).send().await;
        assert_eq!(answer.header("content-type"), Some("text/xml"));
        let text = answer.text();
        let parts = [
            between(&text, "<Encrypt><![CDATA[", "]]>"),
            between(&text, "<MsgSignature><![CDATA[", "]]>"),
            between(&text, "<TimeStamp>", "<"),
            between(&text, "<Nonce><![CDATA[", "]]>"),
        ];
        assert_eq!(opened(parts, key), "{\"hi\":\"你\"}");
    }
    let app = App::start().await;
    let world = world(&app, "plain", "").await;
    app.next([Then::Says(SAYS)]);
    let answer = Wechat::of(&world).plain(&message(false, 1)).to(&world);
    let answer = answer.send().await;
    assert_eq!(answer.text(), "{\"hi\":\"你\"}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn success_and_nothing_go_back_in_clear_in_every_mode() {
    for mode in MODES {
        let app = App::start().await;
        let world = world(&app, mode, "").await;
        let says = [
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsuccess\n",
        ];
        app.next(says.map(Then::Says));
        for id in 0..3 {
            let pushed = Wechat::of(&world).of_mode(mode, &message(false, id));
            let answer = pushed.to(&world).send().await;
            assert_eq!((answer.status, &*answer.text()), (200, "success"), "{mode}");
        }
    }
}

/// The address as WeChat asks about it when it is given to it.
async fn asked(world: &World, token: &str, echo: &str) -> (u16, String) {
    let signature = sign(&[token, "1714036504", "1514711492"]);
    let target = format!(
        "/wx/push/{APPID}?signature={signature}&timestamp=1714036504&nonce=1514711492{echo}"
    );
    let answer = world.get(&target).send().await;
    assert!(
        answer.status != 200 || answer.header("content-type") == Some("text/plain"),
        "{answer:?}"
    );
    (answer.status, answer.text())
}

#[tokio::test]
async fn the_address_is_verified_for_wechat_and_for_nobody_else() {
    for mode in MODES {
        let app = App::start().await;
        let world = world(&app, mode, "").await;
        let echo = "4375120948345356249";
        let right = asked(&world, TOKEN, &format!("&echostr={echo}")).await;
        assert_eq!(right, (200, echo.to_owned()));
        let too_long = format!("&echostr={}", "1".repeat(129));
        for (token, echo) in [
            ("AAAAB", "&echostr=4375120948345356249"),
            (TOKEN, ""),
            (TOKEN, "&echostr="),
            (TOKEN, "&echostr=a%20b"),
            (TOKEN, "&echostr=%0d%0a"),
            (TOKEN, "&echostr=1&echostr=2"),
            (TOKEN, &too_long),
        ] {
            let (status, text) = asked(&world, token, echo).await;
            assert_eq!(status, 403, "{echo}");
            assert!(text.contains("push_refused"), "{text}");
        }
        assert_eq!(app.count(), 0);
    }
}

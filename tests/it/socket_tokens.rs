//! Tokens in WebSocket handshakes of clients that can set no header: in the query, and among the
//! subprotocols. They are read there and nowhere else, and go no further.

use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::raw::Request;
use crate::support::{Setup, World};

const PLACES: &str = r#"
[session]
token_from = ["authorization", "query:token", "websocket-protocol"]
[[access.rules]]
path = "/public/**"
require = "public"
[[access.rules]]
path = "/plainsocket"
require = "public"
[[access.rules]]
path = "/optional/**"
require = "optional"
"#;

/// Of the shape of a token, and nobody's.
const UNKNOWN: &str = "wxg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

const PROTOCOL: &str = "Sec-WebSocket-Protocol";

async fn world() -> World {
    Setup::with(PLACES).start().await
}

/// A handshake as plain bytes.
fn handshake(world: &World, target: &str) -> Request {
    let request = world.get(target).header("Connection", "Upgrade");
    let request = request.header("Upgrade", "websocket");
    let request = request.header("Sec-WebSocket-Version", "13");
    request.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// The subprotocol that is chosen when a client offers these; it insists on one that it offered.
async fn chosen(world: &World, target: &str, offered: &str) -> String {
    let address = world.address();
    let url = format!("ws://{address}{target}");
    let mut request = url.into_client_request().unwrap();
    let offered = offered.parse().unwrap();
    request
        .headers_mut()
        .insert("sec-websocket-protocol", offered);
    let tcp = TcpStream::connect(address).await.unwrap();
    let opened = tokio_tungstenite::client_async(request, tcp).await;
    let (_, response) = opened.unwrap();
    let chosen = &response.headers()["sec-websocket-protocol"];
    chosen.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn no_token_but_a_live_one_opens_a_socket() {
    let world = world().await;
    let token = world.login("alice").await;
    let end = world.request("DELETE", "/wx/session").bearer(&token);
    assert_eq!(end.send().await.status, 204);
    for wrong in [&token, UNKNOWN, "nonsense", ""] {
        let offered = format!("wxgate.{wrong}, wxgate");
        let by_protocol = |path| handshake(&world, path).header(PROTOCOL, &offered);
        for request in [
            handshake(&world, &format!("/socket?token={wrong}")),
            handshake(&world, &format!("/optional/x?token={wrong}")),
            by_protocol("/socket"),
            by_protocol("/optional/x"),
        ] {
            let answer = request.send().await;
            answer.is_refused(401, "session_expired", "relogin");
        }
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn two_tokens_in_a_handshake_are_a_bad_request() {
    let world = world().await;
    let (alice, bob) = (world.login("alice").await, world.login("bob").await);
    let twice = format!("wxgate.{alice}, wxgate.{alice}");
    let by_protocol =
        |target: &str, offered: &str| handshake(&world, target).header(PROTOCOL, offered);
    for path in ["/socket", "/plainsocket"] {
        for request in [
            handshake(&world, &format!("{path}?token={alice}&token={alice}")),
            handshake(&world, &format!("{path}?token={alice}&%74oken={bob}")),
            handshake(&world, &format!("{path}?token={alice}&token=nonsense")),
            handshake(&world, &format!("{path}?token={alice}")).bearer(&bob),
            by_protocol(path, &twice),
            by_protocol(path, &format!("wxgate.{alice}")).bearer(&bob),
            by_protocol(&format!("{path}?token={bob}"), &format!("wxgate.{alice}")),
            by_protocol(path, &format!("wxgate.{alice}"))
                .header(PROTOCOL, &format!("wxgate.{bob}")),
        ] {
            let answer = request.send().await;
            answer.is_refused(400, "bad_request", "fix");
        }
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn a_token_in_a_query_says_nothing_outside_of_a_handshake() {
    let world = world().await;
    let token = world.login("alice").await;
    let target = format!("/me?a=1&token={token}&b=%20");
    for request in [
        world.get(&target),
        world.get(&target).header("Upgrade", "websocket"),
        world
            .get("/me")
            .header(PROTOCOL, &format!("wxgate.{token}")),
    ] {
        let answer = request.send().await;
        answer.is_refused(401, "session_required", "relogin");
    }
    assert_eq!(world.app.count(), 0);
    // It goes no further all the same.
    for path in ["/public/x", "/optional/x"] {
        let target = format!("{path}?a=1&token={token}&b=%20&token={token}");
        let request = world.get(&target);
        let request = request.header(PROTOCOL, &format!("chat, wxgate.{token}"));
        assert_eq!(request.send().await.status, 200);
        let seen = world.app.last();
        assert_eq!(seen.target, format!("{path}?a=1&b=%20"));
        assert_eq!(seen.header("sec-websocket-protocol"), ["chat"]);
        assert_eq!(seen.header("x-wx-openid"), [""; 0]);
    }
    // What is no token is the app server's own.
    let target = "/me?token=mine&token=&TOKEN=x&a=%zz";
    assert_eq!(world.get(target).bearer(&token).send().await.status, 200);
    assert_eq!(world.app.last().target, target);
}

#[tokio::test]
async fn a_place_that_is_not_configured_is_not_looked_into() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let in_query = handshake(&world, &format!("/socket?token={token}"));
    let offered = format!("wxgate.{token}, wxgate");
    let offers = |request: Request| request.header(PROTOCOL, &offered);
    for request in [in_query, offers(handshake(&world, "/socket"))] {
        let answer = request.send().await;
        answer.is_refused(401, "session_required", "relogin");
    }
    // Then plain `wxgate` is no more than a name, but a token goes no further.
    let request = offers(handshake(&world, "/socket").bearer(&token));
    let answer = request.send().await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-protocol"), Some("wxgate"));
    let seen = world.app.last();
    assert_eq!(seen.header("sec-websocket-protocol"), ["wxgate"]);
}

#[tokio::test]
async fn a_token_in_the_query_opens_a_socket_and_every_other_byte_goes_on() {
    let world = world().await;
    let token = world.login("alice").await;
    for (sent, seen_as) in [
        ("/socket?a=1&token=TOKEN&b=%20", "/socket?a=1&b=%20"),
        ("/socket?token=TOKEN&b=+%zz", "/socket?b=+%zz"),
        ("/socket?%74oken=TOKEN", "/socket"),
        ("/socket?token=TOKEN", "/socket"),
    ] {
        let answer = handshake(&world, &sent.replace("TOKEN", &token))
            .send()
            .await;
        assert_eq!(answer.status, 101, "{sent}: {answer:?}");
        assert_eq!(answer.header("sec-websocket-protocol"), None);
        let seen = world.app.last();
        assert_eq!(seen.target, seen_as, "{sent}");
        assert_eq!(seen.header("x-wx-openid"), [world.openid("alice")]);
    }
    // The same token twice, in two places, is one token.
    let request = handshake(&world, &format!("/socket?token={token}"));
    assert_eq!(request.bearer(&token).send().await.status, 101);
    assert!(!format!("{:?}", world.app.last()).contains(&token));
}

#[tokio::test]
async fn a_client_that_offers_nothing_but_a_token_gets_plain_wxgate_chosen() {
    let world = world().await;
    let token = world.login("alice").await;
    for offered in ["wxgate.TOKEN, wxgate", "wxgate,wxgate.TOKEN"] {
        let offered = offered.replace("TOKEN", &token);
        assert_eq!(chosen(&world, "/socket", &offered).await, "wxgate");
        let seen = world.app.last();
        assert_eq!(seen.header("sec-websocket-protocol"), [""; 0]);
        assert_eq!(seen.header("x-wx-openid"), [world.openid("alice")]);
        assert!(!format!("{seen:?}").contains("wxg"), "{seen:?}");
    }
    // On a public path as well: the client cannot know which paths are.
    let offered = format!("wxgate.{token}, wxgate");
    assert_eq!(chosen(&world, "/plainsocket", &offered).await, "wxgate");
    assert_eq!(world.app.last().header("x-wx-openid"), [""; 0]);
}

#[tokio::test]
async fn what_the_app_chooses_of_its_own_is_passed_on() {
    let world = world().await;
    let token = world.login("alice").await;
    let offered = format!("wxgate, chat.v2,wxgate.{token},chat.v1");
    assert_eq!(chosen(&world, "/socket", &offered).await, "chat.v2");
    let seen = world.app.last();
    assert_eq!(seen.header("sec-websocket-protocol"), ["chat.v2, chat.v1"]);
    assert_eq!(seen.header("x-wx-openid"), [world.openid("alice")]);
    // An app that chooses none leaves the choice to the gate.
    assert_eq!(chosen(&world, "/plainsocket", &offered).await, "wxgate");
}

#[tokio::test]
async fn a_token_is_never_chosen_as_a_subprotocol() {
    let world = world().await;
    let token = world.login("alice").await;
    for path in ["/socket", "/plainsocket"] {
        let request = handshake(&world, path);
        let request = request.header(PROTOCOL, &format!("wxgate.{token}"));
        let answer = request.send().await;
        assert_eq!(answer.status, 101, "{path}");
        assert_eq!(answer.header("sec-websocket-protocol"), None, "{path}");
        assert!(!format!("{answer:?}").contains(&token));
    }
}

//! WebSockets pass through untouched, and end with the session that they hang on.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::http::Response;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::app::until;
use crate::support::played::Played;
use crate::support::raw::{Connection, Request};
use crate::support::reader::Reader;
use crate::support::{APPID, STUCK, Setup, World};

type Headers<'a> = &'a [(&'static str, &'a str)];

/// A WebSocket through the gate, by a client that knows nothing of gates.
struct Socket {
    stream: WebSocketStream<TcpStream>,
    response: Response<Option<Vec<u8>>>,
}

impl Socket {
    async fn open(world: &World, target: &str, headers: Headers<'_>) -> Self {
        let address = world.address();
        let url = format!("ws://{address}{target}");
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let tcp = TcpStream::connect(address).await.unwrap();
        let opened = tokio_tungstenite::client_async(request, tcp).await;
        let (stream, response) = opened.unwrap();
        Self { stream, response }
    }

    async fn of(world: &World, token: &str) -> Self {
        let bearer = format!("Bearer {token}");
        Self::open(world, "/socket", &[("authorization", &bearer)]).await
    }

    async fn say(&mut self, message: impl Into<Message>) {
        self.stream.send(message.into()).await.unwrap();
    }

    async fn hear(&mut self) -> Option<Result<Message, Error>> {
        let next = tokio::time::timeout(STUCK, self.stream.next()).await;
        next.expect("nothing came")
    }

    async fn echoes(&mut self, text: &str) {
        self.say(text).await;
        assert_eq!(self.hear().await.unwrap().unwrap(), Message::text(text));
    }

    /// Waits for the end: within a second, and without a close frame (a browser's code 1006).
    async fn cut_within_a_second(&mut self) {
        let begun = Instant::now();
        let end = self.hear().await;
        let took = begun.elapsed();
        assert!(
            matches!(end, Some(Err(Error::Protocol(_) | Error::Io(_)))),
            "{end:?}"
        );
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

/// A handshake as plain bytes, for the answers that are no WebSocket.
fn handshake(world: &World, target: &str) -> Request {
    let request = world.get(target).header("Connection", "Upgrade");
    let request = request.header("Upgrade", "websocket");
    let request = request.header("Sec-WebSocket-Version", "13");
    request.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

fn close_frame(message: Message) -> CloseFrame {
    match message {
        Message::Close(Some(frame)) => frame,
        other => panic!("{other:?}"),
    }
}

async fn log_out(world: &World, token: &str) {
    let request = world.request("DELETE", "/wx/session").bearer(token);
    assert_eq!(request.send().await.status, 204);
}

#[tokio::test]
async fn without_a_session_no_socket_opens_and_the_app_is_not_asked() {
    let world = World::start().await;
    let answer = handshake(&world, "/socket").send().await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.problem(), "session_required");
    let token = world.login("alice").await;
    log_out(&world, &token).await;
    let answer = handshake(&world, "/socket").bearer(&token).send().await;
    assert_eq!(answer.problem(), "session_expired");
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn the_handshake_carries_the_identity_and_neither_token_nor_forgery() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-wx-openid", "forged"),
        ("x_wx_openid", "forged"),
    ];
    Socket::open(&world, "/socket", &headers).await;
    let seen = world.app.last();
    assert_eq!(seen.header("x-wx-openid"), [world.openid("alice")]);
    assert_eq!(seen.header("x-wx-appid"), [APPID]);
    assert_eq!(seen.header("x_wx_openid"), [""; 0]);
    assert_eq!(seen.header("authorization"), [""; 0]);
    assert!(!format!("{seen:?}").contains(&token));
}

#[tokio::test]
async fn messages_pass_both_ways_whatever_their_kind_and_size() {
    let world = World::start().await;
    let mut socket = Socket::of(&world, &world.login("alice").await).await;
    socket.echoes("你好").await;
    let large = (0..3_000_000_u32).map(|n| n.to_be_bytes()[3]);
    let large = Message::binary(large.collect::<Vec<u8>>());
    socket.say(large.clone()).await;
    assert_eq!(socket.hear().await.unwrap().unwrap(), large);
    let ping = Message::Ping("are you there".into());
    socket.say(ping).await;
    let pong = socket.hear().await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong("are you there".into()));
    socket.echoes("after all that").await;
}

#[tokio::test]
async fn the_app_chooses_the_subprotocol() {
    let world = World::start().await;
    let bearer = format!("Bearer {}", world.login("alice").await);
    let headers = [
        ("authorization", bearer.as_str()),
        ("sec-websocket-protocol", "chat.v2, chat.v1"),
    ];
    let socket = Socket::open(&world, "/socket", &headers).await;
    let seen = world.app.last();
    assert_eq!(seen.header("sec-websocket-protocol"), ["chat.v2, chat.v1"]);
    let chosen = &socket.response.headers()["sec-websocket-protocol"];
    assert_eq!(chosen, "chat.v2");
}

#[tokio::test]
async fn close_codes_reach_the_other_end() {
    let world = World::start().await;
    let token = world.login("alice").await;

    let mut socket = Socket::of(&world, &token).await;
    let mine = CloseFrame {
        code: 4001.into(),
        reason: "enough".into(),
    };
    socket.stream.close(Some(mine.clone())).await.unwrap();
    // The app server answers a close with the code that it got.
    let answered = close_frame(socket.hear().await.unwrap().unwrap());
    assert_eq!(answered.code, mine.code);
    assert!(socket.hear().await.is_none(), "a clean end");

    let mut socket = Socket::of(&world, &token).await;
    socket.say("close 4002").await;
    let theirs = close_frame(socket.hear().await.unwrap().unwrap());
    assert_eq!(
        (u16::from(theirs.code), theirs.reason.as_str()),
        (4002, "as told")
    );
    assert!(socket.hear().await.is_none(), "a clean end");
}

#[tokio::test]
async fn a_socket_is_cut_within_a_second_of_logout_and_another_users_goes_on() {
    let world = World::start().await;
    let (alice, bob) = (world.login("alice").await, world.login("bob").await);
    let mut of_alice = Socket::of(&world, &alice).await;
    let mut of_bob = Socket::of(&world, &bob).await;
    of_alice.echoes("alice").await;
    of_bob.echoes("bob").await;
    log_out(&world, &alice).await;
    of_alice.cut_within_a_second().await;
    until("one socket is left at the app", || world.app.sockets() == 1).await;
    of_bob.echoes("still here").await;
}

#[tokio::test]
async fn a_socket_in_which_nothing_ever_flowed_is_cut_as_well() {
    let world = World::start().await;
    let alice = world.login("alice").await;
    let mut socket = Socket::of(&world, &alice).await;
    log_out(&world, &alice).await;
    socket.cut_within_a_second().await;
}

#[tokio::test]
async fn a_socket_is_cut_when_its_session_runs_out() {
    let world = Setup::with("[session]\nttl = \"1h\"").start().await;
    let alice = world.login("alice").await;
    world.clock.advance(Duration::from_millis(3_599_500));
    let mut socket = Socket::of(&world, &alice).await;
    socket.echoes("in time").await;
    world.clock.advance(Duration::from_millis(600));
    socket.cut_within_a_second().await;
}

#[tokio::test]
async fn a_socket_outlives_its_session_where_that_is_configured() {
    let setup = Setup::with("[session]\nclose_streams_on_end = false");
    let world = setup.start().await;
    let alice = world.login("alice").await;
    let mut socket = Socket::of(&world, &alice).await;
    log_out(&world, &alice).await;
    socket.echoes("still here").await;
}

#[tokio::test]
async fn a_client_that_is_gone_leaves_the_app_as_well() {
    let world = World::start().await;
    let mut socket = Socket::of(&world, &world.login("alice").await).await;
    socket.echoes("here").await;
    assert_eq!(world.app.sockets(), 1);
    drop(socket);
    until("the app's socket ends", || world.app.sockets() == 0).await;
}

#[tokio::test]
async fn an_app_that_does_not_accept_this_handshake_gets_no_tunnel() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let answer = handshake(&world, "/badsocket").bearer(&token).send().await;
    assert_eq!(
        (answer.status, answer.problem()),
        (502, "upstream_failed".into())
    );
    // An app that answers something else has answered.
    let answer = handshake(&world, "/page").bearer(&token).send().await;
    assert_eq!(answer.status, 200);
    // And one that opens a tunnel which nobody asked for is out of order.
    let answer = world.get("/socket").bearer(&token).send().await;
    assert_eq!(answer.problem(), "upstream_failed");
}

#[tokio::test]
async fn on_a_public_route_a_socket_is_anonymous_even_with_a_token() {
    let rule = "[[access.rules]]\npath = \"/socket\"\nrequire = \"public\"";
    let world = Setup::with(rule).start().await;
    let token = world.login("alice").await;
    let mut anonymous = Socket::open(&world, "/socket", &[]).await;
    anonymous.echoes("hello").await;
    let mut with_token = Socket::of(&world, &token).await;
    for seen in world.app.seen() {
        assert_eq!(seen.header("x-wx-openid"), [""; 0]);
        assert!(!format!("{seen:?}").contains(&token));
    }
    log_out(&world, &token).await;
    with_token.echoes("hangs on no session").await;
}

#[tokio::test]
async fn other_upgrades_are_ignored() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let request = world.get("/page").bearer(&token);
    let request = request.header("Connection", "Upgrade, HTTP2-Settings");
    let request = request.header("Upgrade", "h2c");
    let answer = request
        .header("HTTP2-Settings", "AAMAAABkAAQAAP__")
        .send()
        .await;
    assert_eq!(
        (answer.status, answer.text()),
        (200, "GET /page 0 bytes".into())
    );
    let seen = world.app.last();
    for name in ["upgrade", "http2-settings", "connection"] {
        assert_eq!(seen.header(name), [""; 0], "{name}");
    }
}

#[tokio::test]
async fn a_handshake_with_a_body_is_refused() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let request = handshake(&world, "/socket").bearer(&token);
    let answer = request.body("smuggled").send().await;
    assert_eq!(
        (answer.status, answer.problem()),
        (400, "bad_request".into())
    );
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn what_is_not_quite_a_handshake_opens_nothing() {
    let world = Setup::with("[access]\ndefault = \"public\"").start().await;
    let asks = |method: &str| {
        let request = world.request(method, "/socket");
        let request = request.header("Connection", "Upgrade");
        request.header("Upgrade", "websocket")
    };
    let (version, key) = ("Sec-WebSocket-Version", "Sec-WebSocket-Key");
    let right = "dGhlIHNhbXBsZSBub25jZQ==";
    for (what, request) in [
        (
            "POST",
            asks("POST").header(version, "13").header(key, right),
        ),
        (
            "OPTIONS",
            asks("OPTIONS").header(version, "13").header(key, right),
        ),
        ("no version", asks("GET").header(key, right)),
        (
            "version 8",
            asks("GET").header(version, "8").header(key, right),
        ),
        ("no key", asks("GET").header(version, "13")),
        (
            "short key",
            asks("GET").header(version, "13").header(key, "dGhl"),
        ),
        (
            "odd key",
            asks("GET").header(version, "13").header(key, "???"),
        ),
        (
            "two keys",
            asks("GET")
                .header(version, "13")
                .header(key, right)
                .header(key, right),
        ),
    ] {
        let answer = request.send().await;
        assert_eq!(
            (answer.status, &*answer.problem()),
            (400, "bad_request"),
            "{what}"
        );
    }
    assert_eq!(world.app.count(), 0);
}

/// HTTP/1.0 has no upgrades; such a request is a plain one.
#[tokio::test]
async fn over_http1_0_no_socket_opens() {
    let world = Setup::with("[access]\ndefault = \"public\"").start().await;
    let request = handshake(&world, "/page").bytes();
    let request = String::from_utf8(request)
        .unwrap()
        .replace("HTTP/1.1", "HTTP/1.0");
    let mut connection = Connection::open(world.address()).await;
    connection.write(request.as_bytes()).await;
    assert_eq!(connection.answer().await.text(), "GET /page 0 bytes");
    for name in ["upgrade", "connection"] {
        assert_eq!(world.app.last().header(name), [""; 0]);
    }
}

#[tokio::test]
async fn what_the_app_says_right_after_the_handshake_is_not_lost() {
    let play = |_, mut reader: Reader| async move {
        let seen = reader.head().await.unwrap();
        let accept = derive_accept_key(seen.header("sec-websocket-key")[0].as_bytes());
        // The text "hi" in the same piece as the head.
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        reader
            .write(&[head.as_bytes(), &[0x81, 2, b'h', b'i']].concat())
            .await;
        reader.gone().await;
    };
    let app = Played::start(play).await;
    let world = app.setup("", "").start().await;
    let mut socket = Socket::open(&world, "/socket", &[]).await;
    assert_eq!(socket.hear().await.unwrap().unwrap(), Message::text("hi"));
}

#[tokio::test]
async fn bytes_sent_with_the_handshake_are_not_lost() {
    let world = World::start().await;
    let request = handshake(&world, "/socket").bearer(&world.login("alice").await);
    let mut bytes = request.bytes();
    // The text "hi", masked with zeros.
    bytes.extend_from_slice(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
    let mut connection = Connection::open(world.address()).await;
    connection.write(&bytes).await;
    assert_eq!(connection.head().await.unwrap().0, 101);
    let mut echo = Vec::new();
    while echo.len() < 4 {
        echo.extend(connection.piece().await);
    }
    assert_eq!(echo, [0x81, 2, b'h', b'i']);
}

#[tokio::test]
async fn more_sockets_than_allowed_are_refused_until_one_ends() {
    let setup = Setup {
        upstream: "max_tunnels = 1".to_owned(),
        ..Setup::default()
    };
    let world = setup.start().await;
    let token = world.login("alice").await;
    let mut first = Socket::of(&world, &token).await;
    let answer = handshake(&world, "/socket").bearer(&token).send().await;
    assert_eq!(
        (answer.status, answer.problem()),
        (503, "overloaded".into())
    );
    assert!(answer.header("retry-after").is_some());
    assert_eq!(world.get("/me").bearer(&token).send().await.status, 200);
    first.echoes("undisturbed").await;
    drop(first);
    let opens = async || {
        let mut second = handshake(&world, "/socket").bearer(&token).begin().await;
        second.head().await.unwrap().0 == 101
    };
    let opened = async { while !opens().await {} };
    let opened = tokio::time::timeout(STUCK, opened).await;
    opened.expect("the place is never free again");
}

#[tokio::test]
async fn a_client_that_is_gone_frees_its_place_though_the_app_never_closes() {
    let setup = Setup {
        upstream: "max_tunnels = 1".to_owned(),
        ..Setup::default()
    };
    let world = setup.start().await;
    let token = world.login("alice").await;
    let mut gone = handshake(&world, "/deafsocket")
        .bearer(&token)
        .begin()
        .await;
    assert_eq!(gone.head().await.unwrap().0, 101);
    let next = || handshake(&world, "/socket").bearer(&token).send();
    assert_eq!(next().await.status, 503);
    drop(gone);
    // The app server is given some seconds to finish: asked now and then, not all the time.
    let opened = async {
        while next().await.status != 101 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let opened = tokio::time::timeout(STUCK, opened).await;
    opened.expect("the place is never free again");
}

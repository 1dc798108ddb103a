//! A connection becomes something else than HTTP only when the client asked for a WebSocket and the
//! app server agreed to exactly that. Until then the app server gets nothing of the client's but the
//! handshake; afterwards its connection carries no other request, whatever became of it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::support::app::{Seen, until};
use crate::support::h2_played::{END_HEADERS, END_STREAM, HEADERS, Stage};
use crate::support::played::Played;
use crate::support::raw::{Answer, Connection, Request};
use crate::support::reader::Reader;
use crate::support::{STUCK, Setup, World};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// `KEY` answered, as RFC 6455 §1.3 says it.
const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

fn handshake(world: &World) -> Request {
    world
        .get("/socket")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", KEY)
}

/// One that offers two subprotocols and an extension.
fn full(world: &World) -> Request {
    handshake(world)
        .header("Sec-WebSocket-Protocol", "chat.v2, chat.v1")
        .header(
            "Sec-WebSocket-Extensions",
            "permessage-deflate; client_max_window_bits",
        )
}

/// An app server that answers every connection's one request with the next of these texts, and then
/// notes what else comes on it.
struct Script {
    app: Played,
    heads: Arc<Mutex<Vec<Seen>>>,
    /// Of connections that are over.
    after: Arc<Mutex<Vec<Vec<u8>>>>,
}

async fn script(answers: Vec<String>) -> Script {
    let (heads, after) = (
        Arc::<Mutex<Vec<Seen>>>::default(),
        Arc::<Mutex<Vec<Vec<u8>>>>::default(),
    );
    let notes = (Arc::clone(&heads), Arc::clone(&after));
    let play = move |number: usize, mut reader: Reader| {
        let answer = answers.get(number).cloned().unwrap_or_default();
        let (heads, after) = (Arc::clone(&notes.0), Arc::clone(&notes.1));
        async move {
            let Some(seen) = reader.head().await else {
                return;
            };
            heads.lock().push(seen);
            reader.say(&answer).await;
            let rest = reader.rest().await;
            after.lock().push(rest);
        }
    };
    let app = Played::start(play).await;
    Script { app, heads, after }
}

/// Each answer to a handshake, or to another request, is the app server's fault; its connection ends and
/// has carried nothing but the head.
async fn are_faults(ask: impl Fn(&World) -> Request, answers: &[String]) {
    let script = script(answers.to_vec()).await;
    let world = script.app.setup("workers = 1", "").start().await;
    for (number, answer) in answers.iter().enumerate() {
        let mut bytes = ask(&world).bytes();
        // What a client says early is no request, and goes nowhere.
        bytes.extend_from_slice(b"\x81\x82\0\0\0\0hi");
        let mut connection = Connection::open(world.address()).await;
        connection.write(&bytes).await;
        let got: Answer = connection.answer().await;
        assert_eq!(
            (got.status, &*got.problem()),
            (502, "upstream_failed"),
            "{answer}"
        );
        until("the connection is over", || {
            script.after.lock().len() > number
        })
        .await;
        assert_eq!(script.after.lock()[number], b"", "{answer}");
    }
    assert_eq!(script.app.accepted(), answers.len());
}

fn switching(fields: &str) -> String {
    format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n")
}

#[tokio::test]
async fn an_answer_that_does_not_open_the_socket_that_was_asked_for_is_the_app_servers_fault() {
    let with = |more: &str| switching(&format!("{UPGRADE}{ACCEPT}{more}"));
    let answers = [
        // No proof that it is a WebSocket server which read this handshake.
        switching(UPGRADE),
        switching(&format!(
            "{UPGRADE}Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n"
        )),
        switching(&format!("{UPGRADE}Sec-WebSocket-Accept: {KEY}\r\n")),
        with(ACCEPT),
        // No upgrade, another one, or several.
        switching(ACCEPT),
        switching(&format!("Connection: Upgrade\r\n{ACCEPT}")),
        switching(&format!("Upgrade: websocket\r\n{ACCEPT}")),
        switching(&format!(
            "Connection: close\r\nUpgrade: websocket\r\n{ACCEPT}"
        )),
        switching(&format!("Connection: Upgrade\r\nUpgrade: h2c\r\n{ACCEPT}")),
        switching(&format!(
            "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n{ACCEPT}"
        )),
        with("Upgrade: h2c\r\n"),
        with("").replace("HTTP/1.1", "HTTP/1.0"),
        // A body, which a 101 has not.
        with("Content-Length: 0\r\n"),
        with("Content-Length: 5\r\n"),
        with("Transfer-Encoding: chunked\r\n"),
        with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        // What the client did not offer.
        with("Sec-WebSocket-Protocol: chat.v3\r\n"),
        with("Sec-WebSocket-Protocol: CHAT.V2\r\n"),
        with("Sec-WebSocket-Protocol: chat.v2, chat.v1\r\n"),
        with("Sec-WebSocket-Protocol: chat.v2\r\nSec-WebSocket-Protocol: chat.v2\r\n"),
        with("Sec-WebSocket-Protocol:\r\n"),
        with("Sec-WebSocket-Extensions: x-webkit-deflate-frame\r\n"),
        with("Sec-WebSocket-Extensions: permessage-deflate, x-other\r\n"),
        with(
            "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Extensions: x-other\r\n",
        ),
    ];
    are_faults(full, &answers).await;
    // A client that offers nothing is answered with nothing.
    let answers = [
        with("Sec-WebSocket-Protocol: chat\r\n"),
        with("Sec-WebSocket-Protocol: wxgate\r\n"),
        with("Sec-WebSocket-Extensions: permessage-deflate\r\n"),
    ];
    are_faults(handshake, &answers).await;
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_the_app_servers_fault() {
    let right = switching(&format!("{UPGRADE}{ACCEPT}"));
    let key = |request: Request| {
        let request = request.header("Sec-WebSocket-Version", "13");
        request.header("Sec-WebSocket-Key", KEY)
    };
    let asks: [&dyn Fn(&World) -> Request; 5] = [
        &|world| world.get("/socket"),
        &|world| key(world.get("/socket")),
        &|world| key(world.get("/socket").header("Upgrade", "websocket")),
        &|world| key(world.get("/socket").header("Connection", "Upgrade")),
        &|world| {
            let request = world
                .get("/socket")
                .header("Connection", "Upgrade, HTTP2-Settings");
            let request = request.header("Upgrade", "h2c");
            request.header("HTTP2-Settings", "AAMAAABkAAQAAP__")
        },
    ];
    for ask in asks {
        let answers = [
            right.clone(),
            switching("Connection: Upgrade\r\nUpgrade: h2c\r\n"),
            switching(""),
        ];
        are_faults(ask, &answers).await;
    }
}

#[tokio::test]
async fn over_http2_an_app_server_cannot_switch_protocols() {
    let stage = Stage::open().await;
    let setup = Setup {
        server: "workers = 1".to_owned(),
        upstream: "protocol = \"http2\"".to_owned(),
        upstream_url: Some(format!("http://{}", stage.address())),
        ..Setup::with("[access]\ndefault = \"public\"")
    };
    let world = setup.start().await;
    // `:status 101`, written out: as an interim answer, and as a last one.
    let switching = b"\x08\x03101";
    for flags in [END_HEADERS, END_HEADERS | END_STREAM] {
        let mut connection = world.get("/a").begin().await;
        let mut played = stage.meet().await;
        let stream = played.request().await;
        played.send(HEADERS, flags, stream, switching).await;
        played.answer(stream, "as if nothing were").await;
        let answer = connection.answer().await;
        assert_eq!(
            (answer.status, &*answer.problem()),
            (502, "upstream_failed")
        );
        drop(played);
    }
}

#[tokio::test]
async fn what_is_not_plainly_a_handshake_is_not_passed_on_as_one() {
    let script = script(vec![]).await;
    let world = script.app.setup("workers = 1", "").start().await;
    let asks = || {
        let request = world.get("/socket").header("Connection", "Upgrade");
        request.header("Upgrade", "websocket")
    };
    let version = "Sec-WebSocket-Version";
    for (what, request) in [
        ("two versions", handshake(&world).header(version, "13")),
        (
            "a version and another",
            handshake(&world).header(version, "8"),
        ),
        (
            "a list of versions",
            asks()
                .header(version, "13, 8")
                .header("Sec-WebSocket-Key", KEY),
        ),
        (
            "chunks",
            handshake(&world)
                .header("Transfer-Encoding", "chunked")
                .body("0\r\n\r\n"),
        ),
        ("a body", handshake(&world).body("hello")),
        (
            "17 bytes",
            asks()
                .header(version, "13")
                .header("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAAA="),
        ),
    ] {
        let answer = request.send().await;
        assert_eq!(
            (answer.status, &*answer.problem()),
            (400, "bad_request"),
            "{what}"
        );
    }
    assert_eq!(script.app.accepted(), 0);
}

#[tokio::test]
async fn a_connection_that_carried_a_handshake_carries_nothing_else() {
    let refused = "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno".to_owned();
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned();
    let later = "HTTP/1.1 426 Later\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n".to_owned();
    let script = script(vec![refused, ok.clone(), later, ok.clone(), ok]).await;
    let world = script.app.setup("workers = 1", "").start().await;
    for status in [403, 200, 426, 200] {
        let ends = script.after.lock().len() + 1;
        let answer = handshake(&world).send().await;
        assert_eq!(answer.status, status);
        // It is closed, not kept.
        until("the connection is over", || {
            script.after.lock().len() == ends
        })
        .await;
    }
    assert_eq!(world.get("/plain").send().await.status, 200);
    assert_eq!(script.app.accepted(), 5);
}

#[tokio::test]
async fn nothing_that_a_client_says_early_reaches_an_app_server_that_has_not_accepted() {
    // A whole request, and more than a buffer's worth.
    let early = [
        &b"GET /smuggled HTTP/1.1\r\nHost: gate.example\r\n\r\n"[..],
        &[b'x'; 48 * 1024],
    ]
    .concat();
    for accepts in [false, true] {
        let (go_on, after) = (
            Arc::new(Notify::new()),
            Arc::<Mutex<Option<Vec<u8>>>>::default(),
        );
        let notes = (Arc::clone(&go_on), Arc::clone(&after));
        let play = move |_, mut reader: Reader| {
            let (go_on, after) = (Arc::clone(&notes.0), Arc::clone(&notes.1));
            async move {
                let seen = reader.head().await.unwrap();
                assert_eq!(seen.target, "/socket");
                go_on.notified().await;
                let accept = derive_accept_key(KEY.as_bytes());
                let answer = if accepts {
                    switching(&format!("{UPGRADE}Sec-WebSocket-Accept: {accept}\r\n"))
                } else {
                    "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n".to_owned()
                };
                let before = reader.nothing_yet();
                assert!(before, "something came early");
                reader.say(&answer).await;
                *after.lock() = Some(reader.rest().await);
            }
        };
        let app = Played::start(play).await;
        let world = app.setup("workers = 1", "").start().await;
        let mut connection = Connection::open(world.address()).await;
        let mut bytes = handshake(&world).bytes();
        bytes.extend_from_slice(&early);
        connection.write(&bytes).await;
        // The gate has had time to read: it answers somebody else.
        assert_eq!(world.post("/wx/login").send().await.status, 400);
        go_on.notify_one();
        let (status, _) = connection.head().await.unwrap();
        assert_eq!(status, if accepts { 101 } else { 403 });
        drop(connection);
        until("the app server's connection is over", || {
            after.lock().is_some()
        })
        .await;
        let came = after.lock().take().unwrap();
        let expected = if accepts { early.as_slice() } else { b"" };
        assert!(
            came == expected,
            "{} of {} bytes",
            came.len(),
            expected.len()
        );
    }
}

#[tokio::test]
async fn what_is_held_back_of_a_client_is_bounded() {
    let go_on = Arc::new(Notify::new());
    let waits = Arc::clone(&go_on);
    let play = move |_, mut reader: Reader| {
        let waits = Arc::clone(&waits);
        async move {
            reader.head().await.unwrap();
            waits.notified().await;
        }
    };
    let app = Played::start(play).await;
    let world = app.setup("workers = 1", "").start().await;
    let connection = handshake(&world).begin().await;
    // The system holds a few megabytes for either side of a connection; the gate 64 KiB.
    let piece = vec![0_u8; 64 * 1024];
    let mut written = 0;
    loop {
        let writable = connection.socket.writable();
        // Nobody takes any more.
        if tokio::time::timeout(STUCK / 40, writable).await.is_err() {
            break;
        }
        written += connection.socket.try_write(&piece).unwrap_or_default();
        assert!(written < 64 * 1024 * 1024, "all of it is taken");
    }
    go_on.notify_one();
}

#[tokio::test]
async fn an_answer_that_takes_the_offer_opens_the_socket_however_it_is_written() {
    let answers = [
        switching(&format!("{UPGRADE}{ACCEPT}")),
        switching(&format!(
            "connection: keep-alive, upgrade\r\nupgrade: WebSocket\r\n{ACCEPT}"
        )),
        switching(&format!(
            "{UPGRADE}{ACCEPT}Sec-WebSocket-Protocol: chat.v1\r\n"
        )),
        switching(&format!(
            "{UPGRADE}{ACCEPT}Sec-WebSocket-Extensions: Permessage-Deflate;server_no_context_takeover\r\n"
        )),
        switching(&format!(
            "{UPGRADE}{ACCEPT}Keep-Alive: timeout=5\r\nX-App: yes\r\nSec-WebSocket-Extensions:\r\n"
        )),
    ];
    let script = script(answers.to_vec()).await;
    let world = script.app.setup("workers = 1", "").start().await;
    for answer in &answers {
        // Another protocol beside it is not asked for.
        let request = full(&world)
            .header("Upgrade", "h2c")
            .header("HTTP2-Settings", "AAMAAABkAAQAAP__");
        let got = request.send().await;
        assert_eq!(got.status, 101, "{answer}");
        assert_eq!(got.header("upgrade"), Some("websocket"), "{answer}");
        assert_eq!(got.header("connection"), Some("Upgrade"), "{answer}");
        assert_eq!(got.header("keep-alive"), None, "{answer}");
        let seen = script.heads.lock().last().cloned().unwrap();
        assert_eq!(seen.header("upgrade"), ["websocket"]);
        assert_eq!(seen.header("connection"), ["Upgrade"]);
    }
}

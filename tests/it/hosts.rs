//! Which host a request is for is said once, and nothing on the way says it again.

use crate::support::frames::{Frames, HEADERS, Reaction, WHOLE, block, frame};
use crate::support::played::Played;
use crate::support::raw::{Answer, Connection};
use crate::support::reader::Reader;
use crate::support::{Setup, World};

async fn open_to_all() -> World {
    Setup::with("[access]\ndefault = \"public\"").start().await
}

async fn say(world: &World, head: &str) -> Answer {
    let mut connection = Connection::open(world.address()).await;
    connection.write(head.as_bytes()).await;
    connection.answer().await
}

#[tokio::test]
async fn a_target_with_an_authority_names_the_host_that_the_request_names() {
    let world = open_to_all().await;
    for target in [
        "http://other.example/a",
        "http://gate.example:8080/a",
        "http://gate.example@other.example/a",
        "http://user@gate.example/a",
        "http://:80/a",
        "http:///a",
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: gate.example\r\n\r\n");
        let answer = say(&world, &head).await;
        assert_eq!(answer.status, 400, "{target}");
    }
    assert_eq!(world.app.count(), 0);

    for target in ["http://gate.example/a?b=c", "HTTP://GATE.EXAMPLE/a?b=c"] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: gate.example\r\n\r\n");
        let answer = say(&world, &head).await;
        assert_eq!(answer.text(), "GET /a?b=c 0 bytes", "{target}");
        let seen = world.app.last();
        assert_eq!(seen.header("host"), ["gate.example"]);
    }
}

#[tokio::test]
async fn a_scheme_that_a_client_names_is_not_believed() {
    let world = open_to_all().await;
    let head = "GET https://gate.example/a HTTP/1.1\r\nHost: gate.example\r\n\r\n";
    assert_eq!(say(&world, head).await.status, 200);
    assert_eq!(world.app.last().header("x-forwarded-proto"), ["http"]);

    let mut frames = Frames::open(world.address()).await;
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/b"),
        (":authority", "gate.example"),
    ];
    frames
        .write(&frame(HEADERS, WHOLE, 1, &block(&fields)))
        .await;
    assert_eq!(frames.reaction(1).await, Reaction::Answered);
    assert_eq!(world.app.last().header("x-forwarded-proto"), ["http"]);
}

#[tokio::test]
async fn http_1_1_needs_a_host_and_http_1_0_does_not() {
    let world = open_to_all().await;
    // RFC 9112 §3.2: also where the target has an authority.
    for target in ["/a", "http://gate.example/a"] {
        let refused = say(&world, &format!("GET {target} HTTP/1.1\r\n\r\n")).await;
        assert_eq!(refused.status, 400, "{target}");
    }
    assert_eq!(world.app.count(), 0);
    let answer = say(&world, "GET /a HTTP/1.0\r\n\r\n").await;
    assert_eq!((answer.status, &*answer.text()), (200, "GET /a 0 bytes"));
    assert_eq!(world.app.last().header("host").len(), 1);
    let two = "GET /a HTTP/1.0\r\nHost: a.example\r\nHost: b.example\r\n\r\n";
    assert_eq!(say(&world, two).await.status, 400);
}

#[tokio::test]
async fn over_http2_the_authority_is_the_host() {
    let world = open_to_all().await;
    let rest = [(":method", "GET"), (":scheme", "http"), (":path", "/wrong")];
    let authority = (":authority", "gate.example");
    for fields in [
        &[][..],
        &[authority, ("host", "other.example")],
        &[(":authority", "user@gate.example")],
        &[(":authority", "")],
        &[("host", "gate.example"), ("host", "gate.example")],
        &[("host", "user@gate.example")],
    ] {
        let mut frames = Frames::open(world.address()).await;
        let block = block(&[&rest[..], fields].concat());
        frames.write(&frame(HEADERS, WHOLE, 1, &block)).await;
        let reaction = frames.reaction(1).await;
        assert_ne!(reaction, Reaction::Closed, "{fields:?}");
    }
    assert_eq!(world.app.count(), 0, "{:?}", world.app.seen());
    for fields in [&[authority][..], &[authority, ("host", "gate.example")]] {
        let mut frames = Frames::open(world.address()).await;
        let block = block(&[&rest[..], fields].concat());
        frames.write(&frame(HEADERS, WHOLE, 1, &block)).await;
        assert_eq!(frames.reaction(1).await, Reaction::Answered);
        assert_eq!(world.app.last().header("host"), ["gate.example"]);
    }
}

#[tokio::test]
async fn what_an_app_says_of_its_connection_takes_nothing_that_the_gate_says() {
    let play = |_, mut reader: Reader| async move {
        while reader.head().await.is_some() {
            let answer = "HTTP/1.1 200 OK\r\n\
                Connection: x-request-id, X-Hop, content-length\r\n\
                Connection: date, transfer-encoding\r\n\
                X-Request-Id: of the app\r\nX-Hop: 1\r\nX-Kept: 1\r\n\
                Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\n\
                Content-Length: 2\r\n\r\nok";
            reader.say(answer).await;
        }
    };
    let app = Played::start(play).await;
    let world = app.setup("", "").start().await;
    let mut ids = Vec::new();
    let mut connection = Connection::open(world.address()).await;
    for _ in 0..2 {
        connection.write(&world.get("/a").bytes()).await;
        let answer = connection.answer().await;
        assert_eq!((answer.status, &*answer.text()), (200, "ok"));
        let of = |wanted: &str| answer.headers.iter().filter(|(n, _)| n == wanted).count();
        for gone in [
            "connection",
            "x-hop",
            "keep-alive",
            "upgrade",
            "proxy-authenticate",
        ] {
            assert_eq!(of(gone), 0, "{gone}: {answer:?}");
        }
        for once in ["x-request-id", "content-length", "x-kept"] {
            assert_eq!(of(once), 1, "{once}: {answer:?}");
        }
        ids.push(answer.header("x-request-id").unwrap().to_owned());
    }
    assert_ne!(ids[0], ids[1]);
    assert_ne!(ids[0], "of the app");
}

/// Else a client would choose which virtual host of the app server is asked about its login.
#[tokio::test]
async fn no_client_chooses_the_host_of_what_the_gate_asks_the_app_server_itself() {
    for preserve_host in [true, false] {
        let setup = Setup {
            upstream: format!("preserve_host = {preserve_host}"),
            ..Setup::with("[login]\nhook = \"/hook/welcome\"")
        };
        let world = setup.start().await;
        let body = serde_json::json!({ "code": world.code("alice") });
        let login = world.post("/wx/login").header("Host", "other.example");
        login.json(&body).send().await.token();
        let seen = world.app.last();
        assert_eq!(seen.target, "/hook/welcome");
        assert_eq!(seen.header("host"), [world.app.address.to_string()]);
        assert_eq!(seen.header("x-forwarded-host"), ["other.example"]);
    }
}

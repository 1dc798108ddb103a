//! An app server that fails is told apart from the gate, and nothing is sent to it twice that it may
//! have acted on.

use std::time::Duration;

use tokio::net::TcpListener;

use crate::support::app::until;
use crate::support::played::Played;
use crate::support::raw::{Connection, Request};
use crate::support::reader::Reader;
use crate::support::{Setup, World};

async fn open_to_all(upstream: &str) -> World {
    let setup = Setup {
        server: "workers = 1".to_owned(),
        upstream: upstream.to_owned(),
        ..Setup::with("[access]\ndefault = \"public\"")
    };
    setup.start().await
}

fn websocket(request: Request) -> Request {
    request
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

#[track_caller]
fn check(answer: &crate::support::raw::Answer, status: u16, code: &str) {
    assert_eq!((answer.status, &*answer.problem()), (status, code));
    assert_eq!(answer.json()["action"], "retry");
}

#[tokio::test]
async fn an_app_that_is_down_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let setup = Setup {
        upstream_url: Some(format!("http://{address}")),
        ..Setup::with("[access]\ndefault = \"public\"")
    };
    let world = setup.start().await;
    check(&world.get("/a").send().await, 502, "upstream_unreachable");
    let upload = world.post("/a").body(vec![b'x'; 300_000]).send().await;
    check(&upload, 502, "upstream_unreachable");
    check(
        &websocket(world.get("/socket")).send().await,
        502,
        "upstream_unreachable",
    );
}

#[tokio::test]
async fn an_app_that_breaks_the_protocol_has_failed_and_is_asked_once() {
    let world = open_to_all("").await;
    let requests = [
        world.get("/garbage"),
        world.get("/hangup"),
        world.post("/hangup").body("hello"),
        // A 101 that nobody asked for, and one that opens another socket than the one asked for.
        world.get("/socket"),
        websocket(world.get("/badsocket")),
    ];
    for (before, request) in requests.into_iter().enumerate() {
        check(&request.send().await, 502, "upstream_failed");
        assert_eq!(world.app.count(), before + 1);
    }
    assert_eq!(world.get("/a").send().await.status, 200);
}

#[tokio::test]
async fn an_app_that_is_too_slow_times_out() {
    let world = open_to_all("response_timeout = \"200ms\"").await;
    check(&world.get("/slow").send().await, 504, "upstream_timeout");
    let upload = world.post("/slow").body(vec![b'x'; 300_000]).send().await;
    check(&upload, 504, "upstream_timeout");
    assert_eq!(world.app.count(), 2);
    assert_eq!(world.get("/a").send().await.status, 200);
}

#[tokio::test]
async fn the_time_for_an_answer_does_not_run_while_the_client_sends() {
    let world = open_to_all("response_timeout = \"200ms\"").await;
    let request = world.post("/upload").header("Content-Length", "3");
    let mut connection = request.begin().await;
    for piece in ["a", "b", "c"] {
        // A client this slow is the thing under test: longer than the app server may take.
        tokio::time::sleep(Duration::from_millis(300)).await;
        connection.write(piece.as_bytes()).await;
    }
    let answer = connection.answer().await;
    assert_eq!(answer.text(), "POST /upload 3 bytes");
}

#[tokio::test]
async fn an_answer_that_breaks_off_has_no_clean_end() {
    let world = open_to_all("").await;
    for (target, begun) in [("/break", "only this"), ("/break-chunked", "chunk")] {
        let mut connection = world.get(target).begin().await;
        let answer = connection.answer().await;
        assert_eq!(answer.status, 200);
        assert!(!answer.whole, "{answer:?}");
        assert!(begun.starts_with(&answer.text()), "{answer:?}");
        connection.closed().await;
    }
    assert_eq!(world.get("/a").send().await.status, 200);
}

#[tokio::test]
async fn a_request_without_effects_is_repeated_when_a_kept_connection_turns_out_closed() {
    for method in ["GET", "HEAD", "OPTIONS"] {
        let world = open_to_all("").await;
        assert_eq!(world.get("/a").send().await.status, 200);
        let answer = world.request(method, "/hangup-reused").send().await;
        assert_eq!(answer.status, 200, "{method}");
        let seen = world.app.seen();
        let asked: Vec<_> = seen.iter().map(|seen| (&*seen.target, seen.nth)).collect();
        let expected = [("/a", 0), ("/hangup-reused", 1), ("/hangup-reused", 0)];
        assert_eq!(asked, expected, "{method}");
        // It is the same request, down to its id.
        let ids: Vec<_> = seen
            .iter()
            .map(|seen| seen.header("x-request-id"))
            .collect();
        assert_eq!(ids[1], ids[2]);
        assert_eq!(world.app.connections(), 2);
    }
}

#[tokio::test]
async fn a_request_that_may_have_had_effects_is_never_repeated() {
    for (method, body) in [
        ("POST", "hello"),
        ("POST", ""),
        ("PUT", "x"),
        ("DELETE", ""),
        ("GET", "x"),
    ] {
        let world = open_to_all("").await;
        assert_eq!(world.get("/a").send().await.status, 200);
        let request = world.request(method, "/hangup-reused");
        let request = match body {
            "" => request.header("Content-Length", "0"),
            _ => request.body(body),
        };
        check(&request.send().await, 502, "upstream_failed");
        let asked: Vec<_> = world.app.seen().iter().map(|seen| seen.nth).collect();
        assert_eq!(asked, [0, 1], "{method} {body}");
        assert_eq!(world.app.connections(), 1);
    }
}

#[tokio::test]
async fn what_ends_on_a_new_connection_or_after_an_answer_began_is_not_repeated() {
    let world = open_to_all("max_idle = 0").await;
    check(&world.get("/hangup").send().await, 502, "upstream_failed");
    assert_eq!((world.app.count(), world.app.connections()), (1, 1));
    // Nor what ends after the first bytes of an answer, though the connection was a kept one.
    let world = open_to_all("").await;
    assert_eq!(world.get("/a").send().await.status, 200);
    check(&world.get("/garbage").send().await, 502, "upstream_failed");
    assert_eq!((world.app.count(), world.app.connections()), (2, 1));
    assert_eq!(world.app.last().nth, 1);
    // Nor is the repetition itself.
    let world = open_to_all("").await;
    assert_eq!(world.get("/a").send().await.status, 200);
    check(&world.get("/hangup").send().await, 502, "upstream_failed");
    assert_eq!((world.app.count(), world.app.connections()), (3, 2));
}

#[tokio::test]
async fn requests_wait_for_a_connection_but_only_so_many() {
    let limits = "max_connections = 1\nmax_pending = 1\nconnect_timeout = \"15s\"";
    let world = open_to_all(limits).await;
    let busy = world.get("/slow").begin().await;
    until("the app is busy", || world.app.count() == 1).await;
    let mut one = world.get("/a").begin().await;
    let mut other = world.get("/a").begin().await;
    let (refused, waiting) = tokio::select! {
        answer = one.answer() => (answer, &mut other),
        answer = other.answer() => (answer, &mut one),
    };
    assert_eq!((refused.status, &*refused.problem()), (503, "overloaded"));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(world.app.count(), 1);
    drop(busy);
    assert_eq!(waiting.answer().await.status, 200);
}

#[tokio::test]
async fn a_request_does_not_wait_for_a_connection_for_ever() {
    let world = open_to_all("max_connections = 1\nconnect_timeout = \"200ms\"").await;
    let _busy = world.get("/slow").begin().await;
    until("the app is busy", || world.app.count() == 1).await;
    let answer = world.get("/a").send().await;
    assert_eq!((answer.status, &*answer.problem()), (503, "overloaded"));
}

#[tokio::test]
async fn the_gate_goes_on_after_every_kind_of_failure() {
    let world = open_to_all("response_timeout = \"100ms\"").await;
    let targets = [
        "/garbage",
        "/hangup",
        "/break",
        "/break-chunked",
        "/slow",
        "/socket",
        "/early",
    ];
    let mut kept = Connection::open(world.address()).await;
    for round in 0..3 {
        for target in targets {
            assert_ne!(
                world.get(target).send().await.status,
                500,
                "{target} {round}"
            );
        }
        kept.write(&world.get("/a").bytes()).await;
        assert_eq!(kept.answer().await.status, 200);
    }
}

#[tokio::test]
async fn an_offer_to_keep_a_connection_for_longer_than_there_is_time_is_harmless() {
    let world = open_to_all("").await;
    for _ in 0..3 {
        let answer = world.get("/kept-for-ever").send().await;
        assert_eq!((answer.status, &*answer.text()), (200, "ok"));
    }
}

#[tokio::test]
async fn an_answer_with_two_framings_is_never_cut_to_the_shorter_one() {
    let world = open_to_all("").await;
    let mut connection = Connection::open(world.address()).await;
    connection.write(&world.get("/two-framings").bytes()).await;
    let answer = connection.answer().await;
    let failed = answer.status == 502 || !answer.whole;
    assert!(failed || answer.text() == "abcdef", "{answer:?}");
    // Nor does the rest of it become somebody's next answer.
    for _ in 0..3 {
        let next = world.get("/a").send().await;
        assert_eq!((next.status, &*next.text()), (200, "GET /a 0 bytes"));
    }
}

#[tokio::test]
async fn an_app_that_only_ever_promises_an_answer_has_failed() {
    let play = |_, mut reader: Reader| async move {
        while let Some(seen) = reader.head().await {
            let count: usize = seen.target[1..].parse().unwrap();
            let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(count);
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            reader.say(&format!("{hints}{answer}")).await;
        }
    };
    let app = Played::start(play).await;
    let world = app.setup("", "").start().await;
    let few = world.get("/16").send().await;
    assert_eq!((few.status, &*few.text()), (200, "ok"));
    check(&world.get("/17").send().await, 502, "upstream_failed");
}

#[tokio::test]
async fn an_answer_that_has_not_changed_says_of_its_length_what_the_app_says() {
    let play = |_, mut reader: Reader| async move {
        while let Some(seen) = reader.head().await {
            let length = match &*seen.target {
                "/said" => "Content-Length: 1234\r\n",
                _ => "",
            };
            let head = format!("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n{length}\r\n");
            reader.say(&head).await;
        }
    };
    let app = Played::start(play).await;
    let world = app.setup("", "").start().await;
    for (target, length) in [("/said", Some("1234")), ("/unsaid", None)] {
        let answer = world.get(target).send().await;
        assert_eq!(
            (answer.status, answer.header("content-length")),
            (304, length)
        );
        assert_eq!(answer.header("etag"), Some("\"a\""));
    }
}

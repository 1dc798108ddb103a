//! App servers that are slow to connect to, to answer, or to go on: each has its time, and the client
//! learns which of them was up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use crate::support::app::until;
use crate::support::frames::{Frames, Reaction, get};
use crate::support::played::{Played, hold};
use crate::support::raw::{Answer, Connection, Request};
use crate::support::reader::Reader;
use crate::support::{STUCK, Setup, World};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const SIZED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";

#[track_caller]
fn check(answer: &Answer, status: u16, code: &str) {
    answer.is_refused(status, code, "retry");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
}

fn handshake(request: Request) -> Request {
    request
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// A listener that lets nobody in any more, and what fills it.
async fn full() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut filling = Vec::new();
    loop {
        let connect = TcpStream::connect(address);
        match tokio::time::timeout(Duration::from_millis(200), connect).await {
            Ok(connected) => filling.push(connected.unwrap()),
            Err(_full) => return (address, listener, filling),
        }
    }
}

#[tokio::test]
async fn an_app_that_nobody_can_connect_to_is_unreachable_in_time() {
    let (address, _listener, _filling) = full().await;
    let setup = Setup {
        upstream_url: Some(format!("http://{address}")),
        upstream: "connect_timeout = \"300ms\"".to_owned(),
        ..Setup::with("[access]\ndefault = \"public\"")
    };
    let world = setup.start().await;
    let upload = world.post("/a").body(vec![b'x'; 300_000]);
    let requests = [world.get("/a"), upload, handshake(world.get("/a"))];
    for answer in join_all(requests.map(Request::send)).await {
        check(&answer, 502, "upstream_unreachable");
    }
}

#[tokio::test]
async fn an_app_that_does_not_answer_in_time_is_let_go_of() {
    let app = Played::start(|_, reader| hold(reader)).await;
    let world = app.setup("", "response_timeout = \"300ms\"").start().await;
    let upload = world.post("/a").body(vec![b'x'; 300_000]);
    let requests = [world.get("/a"), upload, handshake(world.get("/a"))];
    for answer in join_all(requests.map(Request::send)).await {
        check(&answer, 504, "upstream_timeout");
    }
    assert_eq!(app.accepted(), 3);
    until("the app sees their end", || app.open() == 0).await;
    let mut frames = Frames::open(world.address()).await;
    frames.write(&get(1, "/a")).await;
    let (_, body) = frames.answer(1).await;
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains("\"code\":\"upstream_timeout\""), "{body}");
    until("the app sees its end", || app.open() == 0).await;
}

#[tokio::test]
async fn half_a_head_and_interim_answers_are_no_answer() {
    let play = |number, mut reader: Reader| async move {
        reader.head().await;
        let begin = ["HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 "][number % 2];
        reader.say(begin).await;
        reader.gone().await;
    };
    let app = Played::start(play).await;
    let world = app.setup("", "response_timeout = \"300ms\"").start().await;
    let both = [world.get("/a"), world.get("/b")];
    for answer in join_all(both.map(Request::send)).await {
        check(&answer, 504, "upstream_timeout");
    }
    until("the app sees their end", || app.open() == 0).await;
    let play = |_, mut reader: Reader| async move {
        reader.head().await;
        while reader.say("HTTP/1.1 102 Processing\r\n\r\n").await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let app = Played::start(play).await;
    let world = app.setup("", "response_timeout = \"300ms\"").start().await;
    check(&world.get("/a").send().await, 504, "upstream_timeout");
    until("the app sees its end", || app.open() == 0).await;
}

/// An app server that begins an answer and then says no more.
async fn stopping(head: &'static str) -> Played {
    let play = move |_, mut reader: Reader| async move {
        reader.head().await;
        let begun = if head == CHUNKED {
            "5\r\nbegun\r\n"
        } else {
            "begun"
        };
        reader.say(head).await;
        reader.say(begun).await;
        reader.gone().await;
    };
    Played::start(play).await
}

#[tokio::test]
async fn an_answer_that_stops_has_no_clean_end() {
    for head in [CHUNKED, SIZED] {
        let app = stopping(head).await;
        let upstream = "stream_idle_timeout = \"300ms\"";
        let world = app.setup("", upstream).start().await;
        let mut connection = world.get("/a").begin().await;
        let answer = connection.answer().await;
        assert_eq!((answer.status, answer.whole), (200, false), "{answer:?}");
        assert_eq!(answer.text(), "begun");
        connection.closed().await;
        until("the app sees its end", || app.open() == 0).await;

        let mut frames = Frames::open(world.address()).await;
        frames.write(&get(1, "/a")).await;
        assert_eq!(frames.reaction(1).await, Reaction::Answered);
        let end = frames.reaction(1).await;
        assert!(matches!(end, Reaction::Reset(1..)), "a clean end: {end:?}");
        until("the app sees its end", || app.open() == 0).await;
        // The connection is not the stream.
        frames.write(&get(3, "/a")).await;
        assert_eq!(frames.reaction(3).await, Reaction::Answered);
    }
}

#[tokio::test]
async fn an_answer_that_goes_on_slowly_is_not_ended() {
    let play = |_, mut reader: Reader| async move {
        reader.head().await;
        reader.say(CHUNKED).await;
        for _ in 0..12 {
            // Longer than the limits in all, shorter each time.
            tokio::time::sleep(Duration::from_millis(120)).await;
            reader.say("1\r\nx\r\n").await;
        }
        reader.say("0\r\n\r\n").await;
    };
    let app = Played::start(play).await;
    let upstream = "stream_idle_timeout = \"1s\"\nresponse_timeout = \"1s\"";
    let limits = "limits.idle_timeout = \"1s\"\nlimits.body_idle_timeout = \"1s\"\n\
                  limits.header_timeout = \"1s\"";
    let world = app.setup(limits, upstream).start().await;
    let mut frames = Frames::open(world.address()).await;
    frames.write(&get(1, "/a")).await;
    let (answer, by_http2) = tokio::join!(world.get("/a").send(), frames.answer(1));
    assert_eq!((answer.whole, &*answer.text()), (true, "xxxxxxxxxxxx"));
    assert_eq!(by_http2.1, b"xxxxxxxxxxxx");
}

#[tokio::test]
async fn a_silent_answer_is_its_apps_affair_unless_configured() {
    let app = stopping(CHUNKED).await;
    let limits = "limits.idle_timeout = \"200ms\"\nlimits.body_idle_timeout = \"200ms\"\n\
                  limits.header_timeout = \"200ms\"";
    let world = app
        .setup(limits, "response_timeout = \"200ms\"")
        .start()
        .await;
    let mut connection = world.get("/a").begin().await;
    connection.head().await;
    let mut frames = Frames::open(world.address()).await;
    frames.write(&get(1, "/a")).await;
    let both = async { tokio::join!(connection.closed(), frames.closed()) };
    let waited = tokio::time::timeout(Duration::from_millis(800), both).await;
    assert!(waited.is_err(), "ended");
    assert_eq!(app.open(), 2);
}

#[tokio::test]
async fn a_websocket_in_which_nothing_flows_is_ended_where_that_is_configured() {
    let setup = Setup {
        upstream: "stream_idle_timeout = \"1s\"".to_owned(),
        ..Setup::with("[access]\ndefault = \"public\"")
    };
    let world = setup.start().await;
    let mut socket = handshake(world.get("/socket")).begin().await;
    assert_eq!(socket.head().await.unwrap().0, 101);
    for _ in 0..9 {
        // The text "hi", masked with zeros: longer than the limit in all, shorter each time.
        tokio::time::sleep(Duration::from_millis(120)).await;
        socket.write(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await;
        assert_eq!(socket.piece().await, [0x81, 2, b'h', b'i']);
    }
    assert_eq!(world.app.sockets(), 1);
    socket.closed().await;
    until("the app's socket ends", || world.app.sockets() == 0).await;
}

#[tokio::test]
async fn a_silent_websocket_is_nobody_elses_affair_unless_configured() {
    let limits = "limits.idle_timeout = \"200ms\"\nlimits.body_idle_timeout = \"200ms\"\n\
                  limits.header_timeout = \"200ms\"";
    let setup = Setup {
        server: limits.to_owned(),
        upstream: "response_timeout = \"200ms\"\nidle_timeout = \"200ms\"".to_owned(),
        ..Setup::with("[access]\ndefault = \"public\"")
    };
    let world = setup.start().await;
    let mut socket = handshake(world.get("/socket")).begin().await;
    assert_eq!(socket.head().await.unwrap().0, 101);
    // Longer than anything else may be silent.
    tokio::time::sleep(Duration::from_millis(800)).await;
    socket.write(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await;
    assert_eq!(socket.piece().await, [0x81, 2, b'h', b'i']);
}

/// A prefork server: each of its workers stays with one connection until that ends. Gives how many
/// connections it had at once at most as well.
async fn prefork(workers: usize) -> (Played, Arc<AtomicUsize>) {
    let free = Arc::new(Semaphore::new(workers));
    let (open, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let seen = Arc::clone(&most);
    let play = move |_, mut reader: Reader| {
        let (free, open, most) = (Arc::clone(&free), Arc::clone(&open), Arc::clone(&most));
        async move {
            most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let _worker = free.acquire().await.unwrap();
            while let Some(mut seen) = reader.head().await {
                reader.body(&mut seen).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                reader.say(answer).await;
            }
            open.fetch_sub(1, Ordering::SeqCst);
        }
    };
    (Played::start(play).await, seen)
}

/// Asks several times on one connection.
async fn is_served(request: Request) {
    let mut connection = Connection::open(request.to()).await;
    for _ in 0..8 {
        connection.write(&request.bytes()).await;
        let answer = connection.answer().await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn forty_clients_of_a_server_with_four_workers_are_all_served() {
    let (app, most) = prefork(4).await;
    let upstream = "max_connections = 4\nconnect_timeout = \"10s\"";
    let world = app.setup("workers = 2", upstream).start().await;
    let asking = (0..40).map(|number| {
        let get = number % 2 == 0;
        let request = world.request(if get { "GET" } else { "POST" }, "/a");
        is_served(if get { request } else { request.body("hello") })
    });
    let all = tokio::time::timeout(STUCK, join_all(asking)).await;
    all.expect("somebody is left out");
    // One that another worker of the gate gave up may be seen to end after its successor has begun.
    let most = most.load(Ordering::SeqCst);
    assert!(most <= 6, "{most} connections at once");
    assert!(app.open() <= 4, "{} connections", app.open());
}

/// Asks until that is served: a place in the queue is free when its client is seen to be gone.
async fn is_served_at_last(world: &World) {
    while world.get("/a").send().await.status != 200 {}
}

#[tokio::test]
async fn clients_that_leave_while_they_wait_leave_their_places_to_others() {
    let (app, _) = prefork(1).await;
    let upstream = "max_connections = 1\nmax_pending = 2\nconnect_timeout = \"10s\"";
    let world: World = app.setup("workers = 1", upstream).start().await;
    for _ in 0..50 {
        drop(world.get("/left").begin().await);
        drop(world.get("/left").begin().await);
        let served = tokio::time::timeout(STUCK, is_served_at_last(&world)).await;
        served.expect("the places are lost");
    }
}

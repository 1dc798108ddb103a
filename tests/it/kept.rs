//! Connections to the app server that are kept for the next request: for as long as both sides mean to
//! keep them, no more than may be kept, none of them taken up by a tunnel, and none on which something
//! has happened that nobody asked for.

use std::time::Duration;

use futures_util::future::join_all;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

use crate::support::app::until;
use crate::support::played::Played;
use crate::support::raw::{Connection, Request};
use crate::support::reader::Reader;
use crate::support::{STUCK, Setup, World};

/// Answers everything, with these header fields as well.
async fn answer_all(mut reader: Reader, fields: &str) {
    while reader.head().await.is_some() {
        let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok");
        reader.say(&head).await;
    }
}

/// Asks once, and waits until the gate has closed the connection to the app server that it kept.
async fn is_let_go(fields: &'static str, upstream: &str) {
    let app = Played::start(move |_, reader| answer_all(reader, fields)).await;
    let world = app.setup("workers = 1", upstream).start().await;
    for asked in 1..=2 {
        assert_eq!(world.get("/a").send().await.status, 200);
        until("the connection is closed", || app.open() == 0).await;
        assert_eq!(app.accepted(), asked);
    }
}

#[tokio::test]
async fn a_connection_that_is_not_used_is_closed_in_time() {
    is_let_go("", "idle_timeout = \"300ms\"").await;
}

#[tokio::test]
async fn an_app_that_means_to_keep_a_connection_for_less_is_heard() {
    for said in [
        "Keep-Alive: timeout=1\r\n",
        "keep-alive: max=100, timeout=1\r\n",
        "Keep-Alive: timeout=0\r\n",
    ] {
        is_let_go(said, "idle_timeout = \"1h\"").await;
    }
}

#[tokio::test]
async fn an_app_that_means_to_keep_a_connection_for_longer_changes_nothing() {
    is_let_go("Keep-Alive: timeout=3600\r\n", "idle_timeout = \"300ms\"").await;
}

#[tokio::test]
async fn a_connection_that_the_app_closes_is_not_kept() {
    is_let_go("Connection: close\r\n", "idle_timeout = \"1h\"").await;
}

#[tokio::test]
async fn no_more_connections_are_kept_than_may_be() {
    let play = |_, mut reader: Reader| async move {
        while reader.head().await.is_some() {
            // All are under way before the first is answered.
            tokio::time::sleep(Duration::from_millis(300)).await;
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            reader.say(answer).await;
        }
    };
    let app = Played::start(play).await;
    let upstream = "max_idle = 2\nidle_timeout = \"1h\"";
    let world = app.setup("workers = 1", upstream).start().await;
    let requests = (0..6).map(|_| world.get("/a").send());
    for answer in join_all(requests).await {
        assert_eq!(answer.status, 200);
    }
    let made = app.accepted();
    assert!(made > 2, "{made} connections");
    until("two are left", || app.open() == 2).await;
    // Those that are kept are used.
    let requests = (0..2).map(|_| world.get("/a").send());
    for answer in join_all(requests).await {
        assert_eq!(answer.status, 200);
    }
    assert_eq!((app.accepted(), app.open()), (made, 2));
}

fn handshake(request: Request) -> Request {
    request
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

async fn opens(world: &World) -> Connection {
    let mut socket = handshake(world.get("/socket")).begin().await;
    assert_eq!(socket.head().await.expect("no answer").0, 101);
    socket
}

#[tokio::test]
async fn sockets_take_no_connection_from_requests_nor_requests_a_tunnel_from_sockets() {
    let setup = Setup {
        server: "workers = 1".to_owned(),
        upstream: "max_connections = 2\nmax_tunnels = 3\nmax_pending = 0".to_owned(),
        ..Setup::with("[access]\ndefault = \"public\"")
    };
    let world = setup.start().await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(opens(&world).await);
    }
    // One request takes one connection, and leaves one for a handshake.
    let busy = world.get("/slow").begin().await;
    until("the app is busy", || world.app.count() == 4).await;
    assert_eq!(world.get("/a").send().await.status, 200);
    let refused = handshake(world.get("/socket")).send().await;
    refused.is_refused(503, "overloaded", "retry");

    drop(sockets.pop());
    let again = async {
        while handshake(world.get("/socket")).send().await.status != 101 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let again = tokio::time::timeout(STUCK, again).await;
    again.expect("the tunnel is never free again");
    drop(busy);
}

/// Answers the first request of the first connection, and does something on it when told to.
async fn meddle(
    number: usize,
    mut reader: Reader,
    does: &'static str,
    (go, done): (Arc<Notify>, Arc<AtomicUsize>),
) {
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine";
    if number == 0 {
        reader.head().await;
        reader.say(OK).await;
        go.notified().await;
        match does {
            "" => reader.socket.shutdown().await.unwrap(),
            surplus => drop(reader.say(surplus).await),
        }
        // On loopback it has arrived by now.
        done.store(1, Ordering::SeqCst);
        return reader.gone().await;
    }
    while let Some(mut seen) = reader.head().await {
        reader.body(&mut seen).await;
        reader.say(OK).await;
    }
}

#[tokio::test]
async fn a_kept_connection_on_which_something_has_happened_carries_nothing_more() {
    for does in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
        "H",
    ] {
        let (go, done) = (Arc::new(Notify::new()), Arc::<AtomicUsize>::default());
        let told = (Arc::clone(&go), Arc::clone(&done));
        let play = move |number, reader| meddle(number, reader, does, told.clone());
        let app = Played::start(play).await;
        let upstream = "idle_timeout = \"1h\"";
        let world = app.setup("workers = 1", upstream).start().await;
        assert_eq!(world.get("/first").send().await.text(), "mine");
        // The connection is at rest: whatever looks at it as it is put back has done so.
        for _ in 0..20 {
            assert_eq!(world.get("/wx/session").send().await.status, 401);
        }
        go.notify_one();
        until("it has happened", || done.load(Ordering::SeqCst) == 1).await;
        // POST is not sent again: it goes to the right connection at once, or is lost.
        let answer = world.post("/second").body("hello").send().await;
        assert_eq!((answer.status, &*answer.text()), (200, "mine"), "{does}");
        assert_eq!(app.accepted(), 2);
    }
}

/// Answers a request when its head has come. Of an upload it means to read the rest, and to go on.
async fn answer_early(mut reader: Reader) {
    while let Some(seen) = reader.head().await {
        let body = match &*seen.target {
            "/chunked" => "Transfer-Encoding: chunked\r\n\r\n3\r\nbig\r\n0\r\n\r\n",
            _ => "Content-Length: 3\r\n\r\nbig",
        };
        let head = "HTTP/1.1 413 Content Too Large\r\n";
        reader.say(&format!("{head}{body}")).await;
        if seen.method == "POST" {
            return reader.gone().await;
        }
    }
}

#[tokio::test]
async fn an_answer_before_the_end_of_an_upload_does_not_leave_the_rest_to_the_next_request() {
    let app = Played::start(|_, reader| answer_early(reader)).await;
    let world = app.setup("workers = 1", "").start().await;
    let sized = ("Content-Length", "100", "0123456789");
    let chunked = ("Transfer-Encoding", "chunked", "5\r\nhello\r\n");
    for (target, (name, value, begun)) in [
        ("/sized", sized),
        ("/sized", chunked),
        ("/chunked", sized),
        ("/chunked", chunked),
    ] {
        let upload = world.post(target).header(name, value);
        let mut upload = upload.begin().await;
        upload.write(begun.as_bytes()).await;
        assert_eq!(upload.answer().await.text(), "big");
        let next = world.get("/next").send().await;
        assert_eq!((next.status, &*next.text()), (413, "big"));
    }
}

#[tokio::test]
async fn a_worker_gives_a_kept_connection_up_when_another_one_has_none() {
    let app = Played::start(|_, reader| answer_all(reader, "")).await;
    let upstream = "max_connections = 1\nidle_timeout = \"1h\"\nconnect_timeout = \"5s\"";
    let world = app.setup("workers = 2", upstream).start().await;
    // Over so many connections every worker gets some.
    for _ in 0..16 {
        let answer = world.get("/a").send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

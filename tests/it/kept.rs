//! Connections to the app server that are kept for the next request: for as long as both sides mean to
//! keep them, no more than may be kept, and none of them taken up by a tunnel.

use std::time::Duration;

use futures_util::future::join_all;

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

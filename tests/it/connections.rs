//! Places for connections, kinds of sockets, numbers of workers.

use std::net::SocketAddr;
use std::path::Path;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use wxgate::server::Listen;

use crate::support::app::until;
use crate::support::events::Events;
use crate::support::process::Gate;
use crate::support::raw::{Connection, Request};
use crate::support::{Setup, World};

fn with_places(places: usize) -> Setup {
    Setup {
        server: format!("limits.max_connections = {places}"),
        ..Setup::default()
    }
}

/// A connection that has had one answer and is kept.
async fn kept(world: &World) -> Connection {
    let mut connection = world.get("/me").begin().await;
    assert_eq!(connection.answer().await.status, 401);
    connection
}

/// Sends a request over a unix socket and reads until the end.
async fn over_unix(path: &Path, request: Request) -> String {
    let mut socket = UnixStream::connect(path).await.unwrap();
    let request = request.header("Connection", "close");
    socket.write_all(&request.bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Passes on what comes over the unix socket.
async fn relay(listener: UnixListener, to: SocketAddr) {
    loop {
        let (mut from, _) = listener.accept().await.unwrap();
        let mut to = TcpStream::connect(to).await.unwrap();
        tokio::spawn(async move { copy_bidirectional(&mut from, &mut to).await });
    }
}

#[tokio::test]
async fn a_new_client_is_served_in_the_place_of_the_one_idle_for_longest() {
    let setup = Setup {
        server: "workers = 1\nlimits.max_connections = 3".to_owned(),
        ..Setup::default()
    };
    let world = setup.start().await;
    let mut first = kept(&world).await;
    let mut second = kept(&world).await;
    let mut third = kept(&world).await;
    // The first is used once more, so that the second is the one idle for longest.
    first.write(&world.get("/me").bytes()).await;
    assert_eq!(first.answer().await.status, 401);
    let mut fourth = kept(&world).await;
    second.closed().await;
    for connection in [&mut first, &mut third, &mut fourth] {
        connection.write(&world.get("/me").bytes()).await;
        assert_eq!(connection.answer().await.status, 401);
    }
}

#[tokio::test]
async fn a_client_that_connects_and_says_nothing_holds_no_place_for_long() {
    let world = with_places(2).start().await;
    let mut silent = [
        Connection::open(world.address()).await,
        Connection::open(world.address()).await,
    ];
    let mut others = Vec::new();
    for _ in 0..2 {
        others.push(kept(&world).await);
    }
    for connection in &mut silent {
        connection.closed().await;
    }
}

#[tokio::test]
async fn a_busy_connection_keeps_its_place_and_the_next_client_waits_for_it() {
    let world = with_places(2).start().await;
    let token = world.login("alice").await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        streams.push(Events::open(world.get("/events").bearer(&token)).await);
    }
    let mut waiting = world.get("/page").bearer(&token).begin().await;
    for count in 0..20 {
        world.app.emit(&count.to_string());
        for events in &mut streams {
            assert_eq!(events.next().await, count.to_string());
        }
    }
    assert_eq!(world.app.count(), 2, "served without a place");
    streams.pop();
    assert_eq!(waiting.answer().await.status, 200);
    world.app.emit("still there");
    assert_eq!(streams[0].next().await, "still there");
}

#[tokio::test]
async fn no_more_connections_are_taken_than_there_are_places_and_those_that_wait_are_served() {
    let setup = Setup {
        server: "limits.max_connections = 4\nworkers = 2".to_owned(),
        upstream: "max_idle = 0".to_owned(),
        ..Setup::with("[access]\ndefault = \"public\"")
    };
    let gate = Gate::start(setup).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(Events::open(gate.get("/events")).await);
    }
    let full = gate.program.sockets();
    let mut waiting = Vec::new();
    for _ in 0..40 {
        waiting.push(gate.get("/page").begin().await);
    }
    for count in 0..20 {
        gate.app.emit(&count.to_string());
        for events in &mut streams {
            assert_eq!(events.next().await, count.to_string());
        }
        // A worker may have one in its hand; the others are left to the system.
        assert!(gate.program.sockets() <= full + 2);
    }
    assert_eq!(gate.app.count(), 4, "served without a place");
    drop(streams);
    let answers = waiting.iter_mut().map(Connection::answer);
    for answer in join_all(answers).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn a_gate_can_listen_on_a_unix_socket_and_on_several_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.sock");
    let unix = format!("unix:{}", path.display());
    let setup = Setup {
        listen: format!("[\"127.0.0.1:0\", \"{unix}\", \"127.0.0.1:0\"]"),
        ..Setup::default()
    };
    let world = setup.start().await;
    let token = world.login("alice").await;
    let answer = over_unix(&path, world.get("/over/unix").bearer(&token)).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("GET /over/unix 0 bytes"), "{answer}");
    assert_eq!(
        world.app.last().header("x-wx-openid"),
        [world.openid("alice")]
    );
    let answer = over_unix(&path, world.get("/me")).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");

    let addresses = world
        .gate
        .addresses
        .iter()
        .filter_map(|listen| match listen {
            Listen::Tcp(address) => Some(*address),
            Listen::Unix(_) => None,
        });
    let addresses: Vec<_> = addresses.collect();
    assert_eq!(addresses.len(), 2);
    for address in addresses {
        assert_ne!(address.port(), 0);
        let request = Request::new(address, "GET", "/over/tcp").bearer(&token);
        assert_eq!(request.send().await.status, 200, "{address}");
    }
}

#[tokio::test]
async fn the_app_can_listen_on_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let setup = Setup {
        upstream_url: Some(format!("unix:{}", path.display())),
        upstream: "max_idle = 0".to_owned(),
        ..Setup::default()
    };
    let world = setup.start().await;
    let app = world.app.address;
    let relay = tokio::spawn(relay(listener, app));
    let token = world.login("alice").await;
    let answer = world
        .post("/page")
        .bearer(&token)
        .body("hello")
        .send()
        .await;
    assert_eq!(answer.text(), "POST /page 5 bytes");
    let seen = world.app.last();
    assert_eq!(seen.header("host"), ["gate.example"]);
    assert_eq!(seen.header("x-wx-openid"), [world.openid("alice")]);
    // A socket has no name, and HTTP/1.1 needs one where the client has said none.
    let mut nameless = Connection::open(world.address()).await;
    let request = format!("GET /old HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n");
    nameless.write(request.as_bytes()).await;
    assert_eq!(nameless.answer().await.status, 200);
    assert_eq!(world.app.last().header("host"), ["localhost"]);
    relay.abort();
    drop(relay.await);
    let refused = world.get("/page").bearer(&token).send().await;
    assert_eq!(refused.status, 502, "{refused:?}");
}

#[tokio::test]
async fn all_workers_know_all_sessions() {
    for workers in 1..=2 {
        let setup = Setup {
            server: format!("workers = {workers}"),
            ..Setup::default()
        };
        let world = setup.start().await;
        let token = world.login("alice").await;
        // Over so many connections every worker gets some.
        let asking = (0..32).map(|_| world.get("/page").bearer(&token).send());
        for answer in join_all(asking).await {
            assert_eq!(answer.status, 200, "{workers} workers");
        }
        let opening = (0..16).map(|_| Events::open(world.get("/events").bearer(&token)));
        let streams = join_all(opening).await;
        let end = world.request("DELETE", "/wx/session").bearer(&token);
        assert_eq!(end.send().await.status, 204);
        join_all(streams.into_iter().map(Events::broken_within_a_second)).await;
        until("nobody listens", || world.app.listeners() == 0).await;
        let asking = (0..32).map(|_| world.get("/page").bearer(&token).send());
        for answer in join_all(asking).await {
            assert_eq!(answer.status, 401, "{workers} workers");
        }
    }
}

/// Opens an HTTP/2 connection with these bytes and reads until this is said; it never says more.
async fn deaf(world: &World, bytes: &[u8], until: &[u8]) -> Connection {
    let mut connection = Connection::open(world.address()).await;
    connection.write(bytes).await;
    let mut said = Vec::new();
    while !said.windows(until.len()).any(|window| window == until) {
        let piece = connection.piece().await;
        assert!(!piece.is_empty(), "closed: {said:?}");
        said.extend(piece);
    }
    connection
}

#[tokio::test]
async fn an_http2_connection_that_does_not_react_keeps_no_newcomer_waiting() {
    /// The preface, empty settings, and an acknowledgement of the other side's.
    const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
        \0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";
    /// `GET http://h/x` on stream 1, and its end.
    const ASKING: &[u8] = b"\0\0\x09\x01\x05\0\0\0\x01\x82\x86\x04\x02/x\x01\x01h";
    /// What settings are acknowledged with.
    const SETTLED: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";
    for (asking, until) in [(&b""[..], SETTLED), (ASKING, b"session_required")] {
        let setup = Setup {
            server: "workers = 1\nlimits.max_connections = 2".to_owned(),
            ..Setup::default()
        };
        let world = setup.start().await;
        let _deaf = deaf(&world, &[OPENING, asking].concat(), until).await;
        let mut others = Vec::new();
        for _ in 0..6 {
            others.push(kept(&world).await);
        }
    }
}

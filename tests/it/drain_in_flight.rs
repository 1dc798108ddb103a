//! SIGTERM while much is under way: all of it is finished, over HTTP/1.1 and HTTP/2, and each client
//! is told to leave in the way that its protocol has.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::support::Setup;
use crate::support::app::until;
use crate::support::frames::{
    ACK, DATA, Frame, Frames, GOAWAY, HEADERS, NO_ERROR, PING, PROTOCOL_ERROR, frame, get,
    window_update,
};
use crate::support::played::Played;
use crate::support::process::Gate;
use crate::support::raw::{Connection, Request};
use crate::support::reader::Reader;

/// An app server that answers all when it is told to.
struct Held {
    app: Played,
    release: watch::Sender<bool>,
}

async fn answer_when(mut reader: Reader, mut released: watch::Receiver<bool>) {
    while let Some(seen) = reader.head().await {
        if released.wait_for(|released| *released).await.is_err() {
            return;
        }
        let length = seen.target.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        reader.say(&format!("{head}{}", seen.target)).await;
    }
}

impl Held {
    async fn start() -> Self {
        let (release, released) = watch::channel(false);
        let play = move |_, reader| answer_when(reader, released.clone());
        let app = Played::start(play).await;
        Self { app, release }
    }

    async fn gate(&self, server: &str, upstream: &str) -> Gate {
        Gate::start(self.app.setup(server, upstream)).await
    }

    /// Waits until so many requests are under way.
    async fn holds(&self, requests: usize) {
        until("all are under way", || self.app.open() == requests).await;
    }

    fn release(&self) {
        self.release.send(true).unwrap();
    }
}

async fn stop(gate: &Gate) {
    gate.program.signal("TERM").await;
    gate.program.line("\"draining\"").await;
}

async fn stopped_in_time(mut gate: Gate) {
    assert_eq!(gate.program.ended().await, 0);
    let said = gate.program.said();
    assert!(!said.contains("after drain_timeout"), "{said}");
}

/// Sends so many requests on one connection, all at once; gives how many were answered as they
/// should be.
async fn by_http2(gate: &Gate, requests: usize) -> usize {
    let socket = TcpStream::connect(gate.address).await.unwrap();
    let (sender, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let mut sender: h2::client::SendRequest<Bytes> = sender.ready().await.unwrap();
    let mut answers = Vec::new();
    for number in 0..requests {
        let request = http::Request::get(format!("http://gate.example/h2/{number}"));
        let request = request.body(()).unwrap();
        answers.push(sender.send_request(request, true).unwrap().0);
    }
    let mut right = 0;
    for (number, answer) in answers.into_iter().enumerate() {
        let mut body = answer.await.unwrap().into_body();
        let text = body.data().await.unwrap().unwrap();
        right += usize::from(text == format!("/h2/{number}"));
    }
    right
}

#[tokio::test]
async fn a_thousand_requests_under_way_are_all_answered() {
    let held = Held::start().await;
    let upstream = "max_connections = 2000\nmax_pending = 2000";
    let gate = held.gate("", upstream).await;
    let requests = (0..500).map(|number| gate.get(&format!("/h1/{number}")));
    let mut connections = join_all(requests.map(Request::begin)).await;
    let by_http1 = connections.iter_mut().map(Connection::answer);
    let by_http2 = (0..5).map(|_| by_http2(&gate, 100));
    let order = async {
        held.holds(1000).await;
        stop(&gate).await;
        held.release();
    };
    let answers = async { tokio::join!(join_all(by_http1), join_all(by_http2)) };
    let ((by_http1, by_http2), ()) = tokio::join!(answers, order);
    for (number, answer) in by_http1.iter().enumerate() {
        assert_eq!((answer.status, answer.whole), (200, true), "{answer:?}");
        assert_eq!(answer.text(), format!("/h1/{number}"));
        assert_eq!(answer.header("connection"), Some("close"));
    }
    assert_eq!(by_http2, [100; 5]);
    stopped_in_time(gate).await;
}

#[tokio::test]
async fn whoever_waits_in_a_queue_is_served_first() {
    let held = Held::start().await;
    // Two are under way; one waits for an app server's connection; the rest, to be let in at all.
    let server = "workers = 1\nlimits.max_connections = 3";
    let upstream = "max_connections = 2\nconnect_timeout = \"15s\"";
    let gate = held.gate(server, upstream).await;
    let mut connections = Vec::new();
    for number in 0..10 {
        connections.push(gate.get(&format!("/{number}")).begin().await);
    }
    held.holds(2).await;
    stop(&gate).await;
    held.release();
    let answers = connections.iter_mut().map(Connection::answer);
    for (number, answer) in join_all(answers).await.iter().enumerate() {
        assert_eq!((answer.status, answer.text()), (200, format!("/{number}")));
        assert_eq!(answer.header("connection"), Some("close"));
    }
    stopped_in_time(gate).await;
}

/// The stream up to which requests still count.
fn last_stream(goaway: &Frame) -> u32 {
    assert_eq!(goaway.payload[4..8], NO_ERROR.to_be_bytes());
    u32::from_be_bytes(goaway.payload[..4].try_into().unwrap())
}

async fn answer_ping(frames: &mut Frames) {
    let ping = frames.until(|frame| frame.kind == PING).await;
    frames.write(&frame(PING, ACK, 0, &ping.payload)).await;
}

#[tokio::test]
async fn an_http2_client_is_told_to_leave_and_which_requests_still_count() {
    let held = Held::start().await;
    let gate = held.gate("", "").await;
    let mut idle = Frames::open(gate.address).await;
    let mut busy = Frames::open(gate.address).await;
    busy.write(&get(1, "/before")).await;
    held.holds(1).await;
    stop(&gate).await;

    let told = last_stream(&idle.until(|frame| frame.kind == GOAWAY).await);
    assert!(told == 0 || told > 1000, "{told}");
    let warned = last_stream(&busy.until(|frame| frame.kind == GOAWAY).await);
    assert!(warned >= 1, "{warned}");
    if warned > 1 {
        // Not final yet: what was on its way is still taken, until the client has surely heard.
        busy.write(&get(3, "/on-its-way")).await;
        held.holds(2).await;
        answer_ping(&mut busy).await;
        let last = busy.until(|frame| frame.kind == GOAWAY).await;
        assert_eq!(last_stream(&last), 3);
        // Too late now.
        busy.write(&get(5, "/too-late")).await;
    }
    held.release();
    let mut answered = Vec::new();
    while let Some(frame) = busy.next().await {
        match frame.kind {
            HEADERS => assert_eq!(frame.payload[0], 0x80 + 8, "not 200"),
            DATA if !frame.payload.is_empty() => answered.push(frame.payload),
            _ => {}
        }
    }
    answered.sort_unstable();
    let expected = [&b"/before"[..], b"/on-its-way"];
    assert_eq!(answered, &expected[..answered.len().max(1)]);
    answer_ping(&mut idle).await;
    idle.closed().await;
    stopped_in_time(gate).await;
}

#[tokio::test]
async fn a_fault_after_the_last_goodbye_takes_no_later_request_back_in() {
    let held = Held::start().await;
    let gate = held.gate("", "").await;
    let mut busy = Frames::open(gate.address).await;
    busy.write(&get(1, "/before")).await;
    held.holds(1).await;
    stop(&gate).await;
    busy.until(|frame| frame.kind == GOAWAY).await;
    answer_ping(&mut busy).await;
    let last = busy.until(|frame| frame.kind == GOAWAY).await;
    assert_eq!(last_stream(&last), 1);
    let too_late = [get(3, "/too-late"), window_update(0, 0)].concat();
    busy.write(&too_late).await;
    // RFC 9113 §6.8: the stream up to which requests count never grows.
    let fault = busy.until(|frame| frame.kind == GOAWAY).await;
    let said = [1, PROTOCOL_ERROR].map(u32::to_be_bytes).concat();
    assert_eq!(fault.payload, said);
    busy.closed().await;
    held.release();
    stopped_in_time(gate).await;
}

fn handshake(request: Request) -> Request {
    request
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// Says "hi" in a WebSocket, masked with zeros, and hears it.
async fn echoes(socket: &mut Connection) {
    socket.write(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await;
    assert_eq!(socket.piece().await, [0x81, 2, b'h', b'i']);
}

#[tokio::test]
async fn websockets_live_until_the_time_to_drain_is_over() {
    let setup = Setup {
        server: "drain_timeout = \"1s\"".to_owned(),
        ..Setup::with("[access]\ndefault = \"public\"")
    };
    let mut gate = Gate::start(setup).await;
    let mut socket = handshake(gate.get("/socket")).begin().await;
    assert_eq!(socket.head().await.unwrap().0, 101);
    echoes(&mut socket).await;
    stop(&gate).await;
    for _ in 0..5 {
        echoes(&mut socket).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    socket.closed().await;
    assert_eq!(gate.program.ended().await, 0);
    let said = gate.program.said();
    assert!(said.contains("after drain_timeout"), "{said}");
    until("the app's socket ends", || gate.app.sockets() == 0).await;
}

#[tokio::test]
async fn a_gate_stops_as_soon_as_its_last_websocket_ends() {
    let gate = Gate::start(Setup::with("[access]\ndefault = \"public\"")).await;
    let mut socket = handshake(gate.get("/socket")).begin().await;
    assert_eq!(socket.head().await.unwrap().0, 101);
    stop(&gate).await;
    echoes(&mut socket).await;
    drop(socket);
    stopped_in_time(gate).await;
}

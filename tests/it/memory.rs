//! What streams through the gate does not stay in it.

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::net::TcpStream;

use crate::support::Setup;
use crate::support::pattern;
use crate::support::played::Played;
use crate::support::process::Gate;
use crate::support::raw::Connection;
use crate::support::reader::Reader;

const MIB: usize = 1024 * 1024;
const GIB: usize = 1024 * MIB;

/// What the gate may grow by, in KiB, whatever streams through it: sockets' worth.
const GROWTH: u64 = 16 * 1024;

/// Less over HTTP/2, which costs many times as much for a byte where nothing is optimised.
const BY_HTTP2: usize = 64 * MIB;

/// An app server that takes whatever comes, and gives so many bytes to those who ask without a body.
async fn start(gives: usize) -> (Played, Gate) {
    let play = move |_, reader| serve(reader, gives);
    let app = Played::start(play).await;
    let gate = Gate::start(app.setup("", "")).await;
    (app, gate)
}

/// Serves a connection.
async fn serve(mut reader: Reader, gives: usize) {
    while let Some(mut seen) = reader.head().await {
        assert!(reader.body(&mut seen).await && !seen.off_pattern);
        let length = if seen.body_length > 0 { 0 } else { gives };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        reader.say(&head).await;
        let mut at = 0;
        while at < length {
            let piece = pattern::piece(at, length - at);
            reader.write(piece).await;
            at += piece.len();
        }
    }
}

async fn upload(gate: &Gate) {
    let request = gate.request("POST", "/up");
    let request = request.header("Content-Length", &GIB.to_string());
    let mut connection = request.begin().await;
    let mut at = 0;
    while at < GIB {
        let piece = pattern::piece(at, GIB - at);
        connection.write(piece).await;
        at += piece.len();
    }
    assert_eq!(connection.answer().await.status, 200);
}

async fn download(gate: &Gate) {
    let mut connection: Connection = gate.get("/down").begin().await;
    assert_eq!(connection.head().await.unwrap().0, 200);
    let mut at = 0;
    while at < GIB {
        let piece = connection.piece().await;
        assert!(!piece.is_empty(), "ended after {at} bytes");
        assert!(pattern::is_at(at, &piece), "wrong bytes after {at}");
        at += piece.len();
    }
}

#[tokio::test]
async fn a_gibibyte_each_way_leaves_the_gate_as_small_as_it_was() {
    let (app, gate) = start(GIB).await;
    let before = gate.program.memory("VmHWM");
    tokio::join!(upload(&gate), download(&gate));
    assert_eq!(app.received(), GIB);
    let grown = gate.program.memory("VmHWM") - before;
    assert!(grown < GROWTH, "by {grown} KiB");
}

/// Sends the head of a request.
fn ask(
    sender: &mut SendRequest<Bytes>,
    request: http::request::Builder,
    ends: bool,
) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
    let request = request.body(()).unwrap();
    sender.send_request(request, ends).unwrap()
}

async fn upload_by_http2(mut sender: SendRequest<Bytes>) {
    let request = http::Request::post("http://gate.example/up");
    let (answer, mut body) = ask(&mut sender, request, false);
    let mut at = 0;
    while at < BY_HTTP2 {
        body.reserve_capacity(BY_HTTP2 - at);
        if body.capacity() == 0 {
            let more = std::future::poll_fn(|context| body.poll_capacity(context)).await;
            more.expect("reset").unwrap();
        }
        let piece = pattern::piece(at, body.capacity());
        body.send_data(Bytes::from_static(piece), false).unwrap();
        at += piece.len();
    }
    body.send_data(Bytes::new(), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
}

async fn download_by_http2(mut sender: SendRequest<Bytes>) {
    let request = http::Request::get("http://gate.example/down");
    let (answer, _) = ask(&mut sender, request, true);
    let mut body = answer.await.unwrap().into_body();
    let mut at = 0;
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        assert!(pattern::is_at(at, &piece), "wrong bytes after {at}");
        at += piece.len();
        body.flow_control().release_capacity(piece.len()).unwrap();
    }
    assert_eq!(at, BY_HTTP2);
}

#[tokio::test]
async fn streams_of_http2_leave_the_gate_as_small_as_it_was() {
    let (app, gate) = start(BY_HTTP2).await;
    let before = gate.program.memory("VmHWM");
    let socket = TcpStream::connect(gate.address).await.unwrap();
    let window = u32::try_from(MIB).unwrap();
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(window)
        .initial_connection_window_size(window)
        .handshake(socket)
        .await
        .unwrap();
    tokio::spawn(connection);
    let sender = sender.ready().await.unwrap();
    tokio::join!(
        upload_by_http2(sender.clone()),
        download_by_http2(sender.clone())
    );
    assert_eq!(app.received(), BY_HTTP2);
    let grown = gate.program.memory("VmHWM") - before;
    assert!(grown < GROWTH, "by {grown} KiB");
}

#[tokio::test]
async fn the_bytes_of_a_body_that_come_one_by_one_take_no_more_memory_than_they_are() {
    let gate = Gate::start(Setup::default()).await;
    let before = gate.program.memory("VmHWM");
    let mut clients = Vec::new();
    for _ in 0..16 {
        let request = gate.request("POST", "/wx/login");
        let request = request.header("Content-Type", "application/json");
        let client = request.header("Content-Length", "16384").begin().await;
        client.socket.set_nodelay(true).unwrap();
        clients.push(client);
    }
    for _ in 0..1000 {
        for client in &mut clients {
            client.write(b" ").await;
        }
    }
    let grown = gate.program.memory("VmHWM") - before;
    assert!(grown < GROWTH, "{grown} KiB for 16 kB");
}

#[tokio::test]
async fn what_a_connection_took_for_a_request_is_given_back_when_it_is_over() {
    const CONNECTIONS: usize = 400;
    const BODY: usize = 128 * 1024;
    let (_app, gate) = start(0).await;
    let mut body = Vec::new();
    while body.len() < BODY {
        body.extend(pattern::piece(body.len(), BODY - body.len()));
    }
    let bytes = gate.request("POST", "/up").body(body).bytes();
    let mut kept = Vec::new();
    let mut before = 0;
    for number in 0..CONNECTIONS {
        let mut connection = Connection::open(gate.address).await;
        connection.write(&bytes).await;
        assert_eq!(connection.answer().await.status, 200);
        kept.push(connection);
        if number == 10 {
            before = gate.program.memory("VmRSS");
        }
    }
    let grown = gate.program.memory("VmRSS").saturating_sub(before);
    let held = u64::try_from(CONNECTIONS * BODY / 1024).unwrap();
    assert!(grown < GROWTH && GROWTH < held / 2, "{grown} KiB");
}

//! Trailers of listed names pass both ways, over HTTP/1.1 and HTTP/2, and no others do.

use bytes::Bytes;
use http::HeaderMap;
use tokio::net::TcpStream;

use crate::support::World;
use crate::support::played::Played;
use crate::support::raw::{Connection, Request};
use crate::support::reader::Reader;

/// An app server whose answers have these trailers.
async fn with_trailers(trailers: &'static str) -> (Played, World) {
    let play = move |_, mut reader: Reader| async move {
        while let Some(mut seen) = reader.head().await {
            reader.body(&mut seen).await;
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Digest, Server-Timing\r\n\r\n";
            reader.say(head).await;
            let sent = format!("5\r\nhello\r\n0\r\n{trailers}\r\n");
            reader.say(&sent).await;
        }
    };
    let app = Played::start(play).await;
    let world = app.setup("", "").start().await;
    (app, world)
}

/// All that comes of a request over HTTP/1.1 until the end of the connection.
async fn raw(request: Request) -> String {
    let mut connection: Connection = request.header("Connection", "close").begin().await;
    let mut said = Vec::new();
    loop {
        let piece = connection.piece().await;
        if piece.is_empty() {
            return String::from_utf8(said).unwrap();
        }
        said.extend(piece);
    }
}

/// The trailers of a request over HTTP/2, in order.
async fn by_http2(world: &World) -> Vec<(String, String)> {
    let socket = TcpStream::connect(world.address()).await.unwrap();
    let (sender, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let mut sender: h2::client::SendRequest<Bytes> = sender.ready().await.unwrap();
    let request = http::Request::get("http://gate.example/a").header("te", "trailers");
    let (answer, _) = sender
        .send_request(request.body(()).unwrap(), true)
        .unwrap();
    let mut body = answer.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "hello");
    let after = body.data().await;
    assert!(after.is_none(), "{after:?}");
    let trailers = body.trailers().await.unwrap().unwrap_or_default();
    sorted(&trailers)
}

fn sorted(trailers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let pairs = trailers.iter().map(|(n, v)| (n.to_string(), text(v)));
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_unstable();
    pairs
}

#[tokio::test]
async fn trailers_of_an_answer_reach_a_client_that_takes_them() {
    let (_app, world) = with_trailers("Content-Digest: 7\r\nServer-Timing: 8\r\n").await;
    let said = raw(world.get("/a").header("TE", "trailers")).await;
    let (_, after) = said.split_once("\r\n0\r\n").expect("no end");
    let mut lines: Vec<_> = after.lines().map(str::to_ascii_lowercase).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["", "content-digest: 7", "server-timing: 8"],
        "{said}"
    );
    let expected = [("content-digest", "7"), ("server-timing", "8")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(by_http2(&world).await, expected);
}

#[tokio::test]
async fn an_answer_with_trailers_is_whole_for_a_client_that_takes_none() {
    let (_app, world) = with_trailers("Content-Digest: 7\r\n").await;
    let mut connection = Connection::open(world.address()).await;
    for _ in 0..3 {
        connection.write(&world.get("/a").bytes()).await;
        assert_eq!(connection.head().await.unwrap().0, 200);
        let mut said = String::new();
        while !said.ends_with("\r\n\r\n") {
            said.push_str(std::str::from_utf8(&connection.piece().await).unwrap());
        }
        // Who has not said that it takes trailers gets none (RFC 9110 §6.5.1).
        assert_eq!(said, "5\r\nhello\r\n0\r\n\r\n");
    }
}

#[tokio::test]
async fn what_belongs_to_a_connection_or_a_framing_is_no_trailer() {
    let trailers = "Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\n\
                    Transfer-Encoding: gzip\r\nContent-Length: 3\r\nTE: trailers\r\n\
                    Upgrade: h2c\r\nProxy-Connection: close\r\nContent-Digest: 7\r\n";
    let (_app, world) = with_trailers(trailers).await;
    let left = by_http2(&world).await;
    let hop = |(name, _): &(String, String)| name != "content-digest" && name != "x-hop";
    let wrong: Vec<_> = left.iter().filter(|pair| hop(pair)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let said = raw(world.get("/a").header("TE", "trailers")).await;
    let (_, after) = said.split_once("\r\n0\r\n").expect("no end");
    for name in [
        "connection",
        "keep-alive",
        "transfer-encoding",
        "content-length",
        "upgrade",
    ] {
        let named = |line: &str| line.to_ascii_lowercase().starts_with(&format!("{name}:"));
        assert!(!after.lines().any(named), "{name}: {said}");
    }
    assert!(
        after.to_ascii_lowercase().contains("content-digest: 7"),
        "{said}"
    );
}

#[tokio::test]
async fn a_connection_goes_on_after_an_answer_with_trailers() {
    let (app, world) = with_trailers("Content-Digest: 7\r\n").await;
    // As many workers may have a connection each.
    for _ in 0..10 {
        let said = raw(world.get("/a").header("TE", "trailers")).await;
        assert!(said.contains("hello"), "{said}");
        let said = raw(world.get("/a")).await;
        assert!(said.contains("hello"), "{said}");
    }
    assert!(app.accepted() <= 4, "{} connections", app.accepted());
}

/// Those of requests, over both protocols, are in the corpus (`hostile`).
#[tokio::test]
async fn a_trailer_of_an_answer_that_is_not_on_the_list_reaches_nobody() {
    let trailers = "X-Role: admin\r\nSet-Cookie: a=b\r\nContent_Digest: x\r\nX-WX-OPENID: o\r\n\
                    Cache-Control: public\r\nContent-Digest: 7\r\nLocation: /x\r\n";
    let (_app, world) = with_trailers(trailers).await;
    let said = raw(world.get("/a").header("TE", "trailers")).await;
    let (_, after) = said.split_once("\r\n0\r\n").expect("no end");
    assert_eq!(after, "content-digest: 7\r\n\r\n", "{said}");
    let expected = [("content-digest".to_owned(), "7".to_owned())];
    assert_eq!(by_http2(&world).await, expected);
}

#[test]
fn the_documented_trailers_are_those_of_the_code() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/http.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let (_, table) = docs.split_once("| trailer | |\n|---|---|\n").unwrap();
    let table = table.split("\n\n").next().unwrap();
    let row = |(name, why): &(&str, &str)| format!("| `{name}` | {why} |");
    let known: Vec<_> = wxgate::codec::trailers::PASSING.iter().map(row).collect();
    assert_eq!(table.lines().collect::<Vec<_>>(), known);
}

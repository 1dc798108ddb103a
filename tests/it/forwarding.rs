//! What is forwarded arrives as it was sent, both ways, but for what belongs to one connection.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::support::app::Seen;
use crate::support::played::Played;
use crate::support::raw::Connection;
use crate::support::reader::Reader;
use crate::support::{Setup, World};

async fn open_to_all(upstream: &str) -> World {
    let setup = Setup {
        // Connections to the app server belong to a worker: with one worker they can be counted.
        server: "workers = 1".to_owned(),
        upstream: upstream.to_owned(),
        ..Setup::with("[access]\ndefault = \"public\"")
    };
    setup.start().await
}

/// Bytes of which no two pages are the same.
fn bytes(length: usize) -> Vec<u8> {
    let numbers = (0..length.div_ceil(4)).map(|n| u32::try_from(n).unwrap());
    numbers.flat_map(u32::to_be_bytes).take(length).collect()
}

#[tokio::test]
async fn headers_of_the_clients_connection_do_not_reach_the_app() {
    let world = open_to_all("").await;
    let request = world
        .post("/a")
        .header("Connection", "keep-alive, X-Hop")
        .header("Connection", "content-length, Accept-Language")
        .header("X-Hop", "1")
        .header("Accept-Language", "zh")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Authorization", "Basic YTpi")
        .header("Proxy-Connection", "keep-alive")
        .header("TE", "trailers")
        .header("Upgrade", "h2c")
        .header("X-Kept", "yes")
        .body("hello");
    assert_eq!(request.send().await.status, 200);
    let seen = world.app.last();
    for name in [
        "connection",
        "x-hop",
        "accept-language",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "upgrade",
    ] {
        assert!(seen.header(name).is_empty(), "{name}: {seen:?}");
    }
    assert_eq!(seen.header("x-kept"), ["yes"]);
    assert_eq!(seen.body, b"hello");
}

#[tokio::test]
async fn headers_of_the_apps_connection_do_not_reach_the_client() {
    let world = open_to_all("").await;
    let answer = world.get("/hop").send().await;
    for name in ["connection", "x-hop", "keep-alive"] {
        assert_eq!(answer.header(name), None, "{answer:?}");
    }
    assert_eq!(answer.header("x-app"), Some("yes"));
    assert_eq!(answer.text(), "ok");
}

#[tokio::test]
async fn a_body_arrives_whole_and_unchanged() {
    let world = open_to_all("").await;
    let sent = bytes(700_001);
    let answer = world.post("/upload").body(sent.clone()).send().await;
    assert_eq!(answer.text(), "POST /upload 700001 bytes");
    assert!(world.app.last().body == sent, "the body differs");
    assert_eq!(world.app.last().header("content-length"), ["700001"]);

    let mut chunked = Vec::new();
    for piece in sent.chunks(99_991) {
        chunked.extend_from_slice(format!("{:x};x=y\r\n", piece.len()).as_bytes());
        chunked.extend_from_slice(piece);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let request = world.post("/upload").header("Transfer-Encoding", "chunked");
    assert_eq!(request.body(chunked).send().await.status, 200);
    assert!(world.app.last().body == sent, "the chunked body differs");
}

#[tokio::test]
async fn an_answer_arrives_whole_whatever_its_framing() {
    let world = open_to_all("").await;
    let answer = world.get("/bytes/3000000").send().await;
    assert_eq!(answer.header("content-length"), Some("3000000"));
    assert_eq!((answer.body.len(), answer.whole), (3_000_000, true));
    let answer = world.get("/chunked/100").send().await;
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert!(answer.whole);
    assert_eq!(answer.text(), "chunk".repeat(100));
    let answer = world.get("/bytes/0").send().await;
    assert_eq!(answer.header("content-length"), Some("0"));
}

#[tokio::test]
async fn an_answer_without_a_body_has_none_and_the_connection_goes_on() {
    let world = open_to_all("").await;
    let mut connection = Connection::open(world.address()).await;
    let mut ask = async |method: &str, target| {
        connection
            .write(&world.request(method, target).bytes())
            .await;
        connection.answer_to(method).await
    };
    let head = ask("HEAD", "/a").await;
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("1234"))
    );
    let none = ask("GET", "/status/204").await;
    assert_eq!((none.status, none.header("content-length")), (204, None));
    let same = ask("GET", "/status/304").await;
    assert_eq!((same.status, same.header("transfer-encoding")), (304, None));
    assert_eq!(ask("GET", "/a").await.text(), "GET /a 0 bytes");
}

#[tokio::test]
async fn an_interim_answer_of_the_app_is_dropped() {
    let world = open_to_all("").await;
    let mut connection = world.get("/interim").begin().await;
    let (status, headers) = connection.head().await.unwrap();
    assert_eq!(status, 200);
    assert!(
        headers.iter().all(|(name, _)| name != "link"),
        "{headers:?}"
    );
}

#[tokio::test]
async fn the_host_is_the_clients_unless_the_app_wants_its_own() {
    let world = open_to_all("").await;
    world
        .get("/a")
        .header("Host", "Shop.Example:8443")
        .send()
        .await;
    assert_eq!(world.app.last().header("host"), ["Shop.Example:8443"]);

    let world = open_to_all("preserve_host = false").await;
    world
        .get("/a")
        .header("Host", "Shop.Example:8443")
        .send()
        .await;
    let seen = world.app.last();
    assert_eq!(seen.header("host"), [world.app.address.to_string()]);
    assert_eq!(seen.header("x-forwarded-host"), ["Shop.Example:8443"]);
}

#[tokio::test]
async fn every_request_has_an_id_of_its_own_which_both_sides_learn() {
    let world = open_to_all("").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let answer = world.get("/a").send().await;
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert_eq!(world.app.last().header("x-request-id"), [id.as_str()]);
        ids.push(id);
    }
    let refused = world.get("/wx/session").send().await;
    let id = refused.header("x-request-id").unwrap().to_owned();
    assert_eq!(refused.json()["request_id"], id);
    ids.push(id);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn a_trace_is_passed_on_or_begun() {
    let world = open_to_all("").await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = world.get("/a").header("traceparent", trace);
    request.header("tracestate", "x=1").send().await;
    assert_eq!(world.app.last().header("traceparent"), [trace]);
    assert_eq!(world.app.last().header("tracestate"), ["x=1"]);

    for claimed in [None, Some("nonsense"), Some("00-0-0-01"), Some("")] {
        let request = world.get("/a").header("tracestate", "x=1");
        let request = match claimed {
            Some(claimed) => request.header("traceparent", claimed),
            None => request,
        };
        request.send().await;
        let seen = world.app.last();
        let begun = seen.header("traceparent");
        assert_eq!(begun.len(), 1, "{seen:?}");
        let parts: Vec<_> = begun[0].split('-').map(str::len).collect();
        assert_eq!(parts, [2, 32, 16, 2], "{begun:?}");
        assert!(seen.header("tracestate").is_empty());
    }
}

#[tokio::test]
async fn connections_are_kept_towards_the_client_and_towards_the_app() {
    let world = open_to_all("").await;
    let mut connection = Connection::open(world.address()).await;
    for _ in 0..4 {
        connection.write(&world.get("/a").bytes()).await;
        let answer = connection.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (200, None));
    }
    assert_eq!(world.app.connections(), 1);
    assert_eq!(world.app.last().nth, 3);
    // Another client has the use of it too.
    assert_eq!(world.get("/b").send().await.status, 200);
    assert_eq!(world.app.connections(), 1);
}

#[tokio::test]
async fn no_connection_to_the_app_is_kept_when_none_may_be() {
    let world = open_to_all("max_idle = 0").await;
    for number in 1..=3 {
        assert_eq!(world.get("/a").send().await.status, 200);
        assert_eq!(world.app.connections(), number);
        assert_eq!(world.app.last().header("connection"), ["close"]);
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let world = open_to_all("").await;
    let mut connection = Connection::open(world.address()).await;
    let requests = [
        world.get("/first").bytes(),
        world.post("/second").body("hello").bytes(),
        world.get("/wx/session").bytes(),
        world.get("/third").bytes(),
    ];
    connection.write(&requests.concat()).await;
    assert_eq!(connection.answer().await.text(), "GET /first 0 bytes");
    assert_eq!(connection.answer().await.text(), "POST /second 5 bytes");
    assert_eq!(connection.answer().await.status, 401);
    assert_eq!(connection.answer().await.text(), "GET /third 0 bytes");
}

#[tokio::test]
async fn a_cookie_in_crumbs_is_one_cookie_for_the_app() {
    let world = open_to_all("").await;
    let socket = tokio::net::TcpStream::connect(world.address())
        .await
        .unwrap();
    let (sender, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let request = http::Request::get("http://gate.example/a?b=c")
        .header("cookie", "a=1")
        .header("cookie", "b=2; c=3");
    let (answer, _) = sender
        .send_request(request.body(()).unwrap(), true)
        .unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    let seen = world.app.last();
    // RFC 9113 §8.2.3.
    assert_eq!(seen.header("cookie"), ["a=1; b=2; c=3"]);
    assert_eq!(seen.target, "/a?b=c");
    assert_eq!(seen.header("host"), ["gate.example"]);
}

#[tokio::test]
async fn the_body_of_a_chunked_get_reaches_the_app() {
    let world = open_to_all("").await;
    for method in ["GET", "DELETE", "OPTIONS"] {
        let request = world.request(method, "/search");
        let request = request.header("Transfer-Encoding", "chunked");
        let body = "6\r\nabcdef\r\n0\r\n\r\n";
        let answer = request.body(body).send().await;
        assert_eq!(answer.text(), format!("{method} /search 6 bytes"));
        assert_eq!(world.app.last().body, b"abcdef");
    }
    assert_eq!(world.app.count(), 3);
}

/// Bytes that are no gzip at all: nobody looks into them.
const COMPRESSED: [u8; 9] = [0x1f, 0x8b, 8, 0, 0xff, 0, b'\r', b'\n', 0x80];

async fn answer_compressed(mut reader: Reader, arrived: Arc<Mutex<Vec<Seen>>>) {
    while let Some(mut seen) = reader.head().await {
        reader.body(&mut seen).await;
        arrived.lock().push(seen);
        let head = "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nVary: Accept-Encoding\r\n\
                    Content-Length: 9\r\n\r\n";
        reader.write(&[head.as_bytes(), &COMPRESSED].concat()).await;
    }
}

#[tokio::test]
async fn what_is_compressed_stays_so_both_ways() {
    let seen = Arc::<Mutex<Vec<Seen>>>::default();
    let arrived = Arc::clone(&seen);
    let play = move |_, reader| answer_compressed(reader, Arc::clone(&arrived));
    let app = Played::start(play).await;
    let world = app.setup("", "").start().await;
    for coding in ["gzip, br;q=0.5", "identity", ""] {
        let request = world.post("/a").header("Accept-Encoding", coding);
        let request = request.header("Content-Encoding", "gzip").body(COMPRESSED);
        let answer = request.send().await;
        assert_eq!(answer.body, COMPRESSED);
        assert_eq!(answer.header("content-encoding"), Some("br"));
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
        let seen = seen.lock().pop().unwrap();
        assert_eq!(seen.header("accept-encoding"), [coding]);
        assert_eq!(seen.header("content-encoding"), ["gzip"]);
        assert_eq!(seen.body, COMPRESSED);
    }
}

#[tokio::test]
async fn every_answer_says_once_when_it_was_given() {
    let play = |_, mut reader: Reader| async move {
        while let Some(seen) = reader.head().await {
            let date = match &*seen.target {
                "/dated" => "Date: Tue, 15 Nov 1994 08:12:31 GMT\r\n",
                _ => "",
            };
            let head = format!("HTTP/1.1 200 OK\r\n{date}Content-Length: 0\r\n\r\n");
            reader.say(&head).await;
        }
    };
    let app = Played::start(play).await;
    let world = app.setup("", "").start().await;
    for target in ["/dated", "/undated", "/wx/session"] {
        let answer = world.get(target).send().await;
        let dates = answer.headers.iter().filter(|(name, _)| name == "date");
        let dates: Vec<_> = dates.map(|(_, value)| value.as_str()).collect();
        assert_eq!(dates.len(), 1, "{answer:?}");
        assert!(dates[0].ends_with(" GMT"), "{answer:?}");
        let of_the_app = dates[0] == "Tue, 15 Nov 1994 08:12:31 GMT";
        assert_eq!(of_the_app, target == "/dated", "{answer:?}");
    }
}

//! A refusal reaches the client as an answer, whatever the client is doing meanwhile; and what is
//! not quite HTTP goes nowhere.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::app::until;
use crate::support::raw::{Answer, Connection, Request};
use crate::support::{STUCK, Setup, World};

const UPLOAD: usize = 512 * 1024;

async fn open_to_all(limits: &str) -> World {
    let limits = format!("[server.limits]\n{limits}\n[access]\ndefault = \"public\"");
    Setup::with(&limits).start().await
}

/// Waits for a clean end of the connection: no reset, which could take an answer with it.
async fn ends_cleanly(connection: &mut Connection) {
    let mut byte = [0];
    let read = tokio::time::timeout(STUCK, connection.socket.read(&mut byte)).await;
    assert_eq!(read.expect("the connection stays open").unwrap(), 0);
}

/// Sends the whole request, all of which the gate must take, and reads the answer.
async fn upload(request: Request) -> (Answer, Connection) {
    let mut connection = Connection::open(request.to).await;
    let written = connection.socket.write_all(&request.bytes()).await;
    written.expect("the gate does not take the whole upload");
    (connection.answer().await, connection)
}

/// The body in chunks of 32 KiB.
fn chunked(length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..length / 32_768 {
        bytes.extend_from_slice(b"8000\r\n");
        bytes.extend(std::iter::repeat_n(b'x', 32_768));
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

#[tokio::test]
async fn a_refusal_during_an_upload_is_seen_as_a_status() {
    let world = World::start().await;
    let stale = "wxg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let json = "application/json";
    for (request, status, code) in [
        (world.post("/upload"), 401, "session_required"),
        (world.post("/upload").bearer(stale), 401, "session_expired"),
        (world.post("/wx/Login"), 400, "ambiguous_path"),
        (world.post("/a").header("Host", "a b"), 400, "bad_request"),
        (world.request("PUT", "/wx/login"), 405, "method_not_allowed"),
        (
            world.post("/wx/login").header("Content-Type", json),
            413,
            "body_too_large",
        ),
        (
            world.post("/wx/login").header("Content-Type", "image/png"),
            415,
            "unsupported_media_type",
        ),
        (
            world.post("/wx/decrypt").header("Content-Type", json),
            401,
            "session_required",
        ),
    ] {
        let (answer, mut connection) = upload(request.clone().body(vec![b'x'; UPLOAD])).await;
        assert_eq!((answer.status, &*answer.problem()), (status, code));
        assert_eq!(answer.header("connection"), Some("close"), "{code}");
        ends_cleanly(&mut connection).await;

        let request = request.header("Transfer-Encoding", "chunked");
        let (answer, mut connection) = upload(request.body(chunked(UPLOAD))).await;
        assert_eq!((answer.status, &*answer.problem()), (status, code));
        ends_cleanly(&mut connection).await;
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn a_refusal_is_seen_in_the_middle_of_an_upload_larger_than_is_read_off() {
    const LARGE: usize = 8 * 1024 * 1024;
    let world = World::start().await;
    let sized = world.post("/upload").header("Content-Length", "8388608");
    let chunked = world.post("/upload").header("Transfer-Encoding", "chunked");
    for (request, begun) in [(sized, ""), (chunked, "800000\r\n")] {
        let mut connection = request.begin().await;
        let (mut reading, mut writing) = connection.socket.split();
        let sending = async {
            writing.write_all(begun.as_bytes()).await.ok();
            // Cut off some time; a client that is told so stops by itself.
            writing.write_all(&vec![b'x'; LARGE]).await.ok();
        };
        let mut heard = vec![0; 64 * 1024];
        let hearing = async {
            let length = reading.read(&mut heard).await.unwrap();
            String::from_utf8_lossy(&heard[..length]).into_owned()
        };
        let both = async { tokio::join!(sending, hearing).1 };
        let heard = tokio::time::timeout(STUCK, both).await.expect("stuck");
        assert!(heard.starts_with("HTTP/1.1 401 "), "{heard}");
        assert!(heard.contains("session_required"), "{heard}");
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn a_refused_upload_that_comes_slowly_is_read_off_as_well() {
    let world = World::start().await;
    let request = world.post("/upload").header("Content-Length", "200000");
    let mut connection = request.begin().await;
    for _ in 0..20 {
        // Longer in all than a connection that is over waits for a client to close.
        tokio::time::sleep(Duration::from_millis(120)).await;
        let written = connection.socket.write_all(&[b'x'; 10_000]).await;
        written.expect("the gate does not take the whole upload");
    }
    assert_eq!(connection.answer().await.status, 401);
    ends_cleanly(&mut connection).await;
}

#[tokio::test]
async fn no_request_at_all_is_read_off_as_well() {
    let world = World::start().await;
    let head =
        "POST /a HTTP/1.1\r\nHost: g\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut connection = Connection::open(world.address()).await;
    connection.write(head.as_bytes()).await;
    for _ in 0..20 {
        // Spread over a while, so that a reset would be noticed.
        tokio::time::sleep(Duration::from_millis(10)).await;
        let written = connection.socket.write_all(&[b'x'; 10_000]).await;
        written.expect("the gate does not take it");
    }
    assert_eq!(connection.answer().await.status, 400);
    ends_cleanly(&mut connection).await;
}

#[tokio::test]
async fn who_sends_requests_without_end_is_not_read_without_end() {
    let world = open_to_all("").await;
    let mut connection = world.get("/slow").begin().await;
    until("the app is busy", || world.app.count() == 1).await;
    let requests = world.get("/next").bytes().repeat(1_000_000);
    let sending = connection.socket.write_all(&requests);
    let sent = tokio::time::timeout(Duration::from_secs(2), sending).await;
    assert!(sent.is_err(), "{} bytes are taken", requests.len());
    assert_eq!(world.app.count(), 1);
}

#[tokio::test]
async fn who_sends_on_behind_its_last_request_gets_the_answer_and_a_clean_end() {
    let world = World::start().await;
    let last = world.get("/me").header("Connection", "close");
    let mut connection = Connection::open(last.to()).await;
    // More than is read with a head.
    let next = world.get("/next").bytes().repeat(200);
    connection.write(&[last.bytes(), next].concat()).await;
    assert_eq!(connection.answer().await.status, 401);
    ends_cleanly(&mut connection).await;
}

#[tokio::test]
async fn no_more_of_a_refused_upload_is_read_off_than_a_little() {
    const MIB: usize = 1024 * 1024;
    let world = World::start().await;
    let endless = || world.post("/upload").header("Content-Length", "1000000000");
    let mut connection = endless().begin().await;
    let piece = vec![b'x'; MIB / 4];
    let mut sent = 0;
    while connection.socket.write_all(&piece).await.is_ok() {
        sent += piece.len();
        assert!(sent < 64 * MIB, "read on and on");
    }
    // Nor for longer: one that sends hardly anything is closed as well.
    let mut connection = endless().begin().await;
    assert_eq!(connection.head().await.unwrap().0, 401);
    let trickle = async {
        while connection.socket.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let cut = tokio::time::timeout(STUCK, trickle).await;
    cut.expect("a trickling upload is never cut off");
}

#[tokio::test]
async fn an_early_answer_of_the_app_reaches_a_client_that_is_still_sending() {
    let world = open_to_all("").await;
    let (answer, _connection) = upload(world.post("/early").body(vec![b'x'; UPLOAD])).await;
    assert_eq!(answer.status, 413);

    // Also when the rest of the upload waits for the answer.
    let request = world.post("/early").header("Content-Length", "1000000");
    let mut connection = request.begin().await;
    let answer = connection.answer().await;
    assert_eq!(
        (answer.status, answer.header("connection")),
        (413, Some("close"))
    );
}

#[tokio::test]
async fn a_body_may_be_as_large_as_allowed_and_no_larger() {
    let world = open_to_all("max_body_bytes = \"64KiB\"").await;
    let chunks = |length| {
        world
            .post("/a")
            .header("Transfer-Encoding", "chunked")
            .body(chunked(length))
    };
    let whole = |length| world.post("/a").body(vec![b'x'; length]);
    for request in [whole(65_537), whole(UPLOAD)] {
        let (answer, mut connection) = upload(request).await;
        assert_eq!((answer.status, &*answer.problem()), (413, "body_too_large"));
        ends_cleanly(&mut connection).await;
    }
    assert_eq!(
        world.app.count(),
        0,
        "what is announced as too large is not begun"
    );
    for request in [chunks(98_304), chunks(UPLOAD)] {
        let (answer, mut connection) = upload(request).await;
        assert_eq!((answer.status, &*answer.problem()), (413, "body_too_large"));
        ends_cleanly(&mut connection).await;
    }
    assert_eq!(whole(65_536).send().await.text(), "POST /a 65536 bytes");
    assert_eq!(chunks(65_536).send().await.text(), "POST /a 65536 bytes");
}

#[tokio::test]
async fn a_head_may_be_as_large_as_allowed_and_no_larger() {
    let limits = "max_uri_bytes = \"1KiB\"\nmax_header_bytes = \"8KiB\"\nmax_headers = 20";
    let world = open_to_all(limits).await;
    let long = |length: usize| format!("/{}", "a".repeat(length - 1));
    let answer = world.get(&long(1025)).send().await;
    assert_eq!((answer.status, &*answer.problem()), (414, "uri_too_long"));
    let query = format!("/a?{}", "b".repeat(1024));
    assert_eq!(world.get(&query).send().await.problem(), "uri_too_long");
    let answer = world
        .get("/a")
        .header("X-Large", &"x".repeat(8192))
        .send()
        .await;
    assert_eq!(
        (answer.status, &*answer.problem()),
        (431, "headers_too_large")
    );
    let many = |count| (0..count).fold(world.get("/a"), |r, n| r.header(&format!("X-{n}"), "1"));
    many(20)
        .send()
        .await
        .is_refused(431, "headers_too_large", "fix");
    assert_eq!(world.app.count(), 0);
    assert_eq!(many(19).send().await.status, 200);
    assert_eq!(world.get(&long(1024)).send().await.status, 200);
    let large = world.get("/a").header("X-Large", &"x".repeat(8000));
    assert_eq!(large.send().await.status, 200);
}

#[tokio::test]
async fn a_client_that_waits_for_a_go_ahead_gets_it_or_the_refusal() {
    let rules = "[[access.rules]]\npath = \"/open\"\nrequire = \"public\"";
    let world = Setup::with(rules).start().await;
    let waiting = |target| {
        let request = world.post(target).header("Expect", "100-continue");
        request.header("Content-Length", "5")
    };
    let mut refused = waiting("/closed").begin().await;
    let (status, _) = refused.head().await.unwrap();
    assert_eq!(status, 401, "no go-ahead before a refusal");
    refused.closed().await;
    assert_eq!(world.app.count(), 0);

    let mut accepted = waiting("/open").begin().await;
    let (status, headers) = accepted.head().await.unwrap();
    assert_eq!((status, headers), (100, Vec::new()));
    accepted.write(b"hello").await;
    assert_eq!(accepted.answer().await.text(), "POST /open 5 bytes");
    let seen = world.app.last();
    assert!(seen.header("expect").is_empty(), "the gate has answered it");
}

/// Sends these bytes as a connection's first.
async fn first_bytes(world: &World, bytes: &[u8]) -> (Answer, Connection) {
    let mut connection = Connection::open(world.address()).await;
    connection.write(bytes).await;
    (connection.answer().await, connection)
}

#[tokio::test]
async fn what_is_no_http_gets_a_bare_status_and_a_closed_connection() {
    let world = open_to_all("").await;
    let text: [&str; 14] = [
        "hello\r\n\r\n",
        "\0\0\0\0\0\0\0\0",
        "\u{16}\u{3}\u{1}\0\u{5}\u{1}\0\0\u{1}\u{3}\u{3}",
        "GET /a\r\n\r\n",
        "GET /a HTTP/3.1\r\nHost: g\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: g\r\n\r\n",
        "G(T /a HTTP/1.1\r\nHost: g\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost : g\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g\r\nX-A\0: b\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g\r\nX-A: b\0\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: g\r\nX-A: b\r\n folded\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: g\r\nContent-Length: 5x\r\n\r\nhello",
        "POST /a HTTP/1.1\r\nHost: g\r\nContent-Length: +5\r\n\r\nhello",
        "POST /a HTTP/1.1\r\nHost: g\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    ];
    let transfer = ["gzip", "chunked, gzip", "xchunked", "identity", ""];
    let transfer = transfer.map(|coding| {
        format!("POST /a HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n")
    });
    for text in text.into_iter().chain(transfer.iter().map(String::as_str)) {
        let (answer, mut connection) = first_bytes(&world, text.as_bytes()).await;
        assert_eq!(
            (answer.status, answer.text()),
            (400, String::new()),
            "{text:?}"
        );
        connection.closed().await;
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn a_request_without_exactly_one_fitting_host_goes_nowhere() {
    let world = open_to_all("").await;
    for hosts in [
        "",
        "Host: gate.example\r\nHost: gate.example\r\n",
        "Host: gate.example\r\nHost: other.example\r\n",
        "Host: \r\n",
        "Host: user@gate.example\r\n",
        "Host: gate.example/a\r\n",
        "Host: a, b\r\n",
    ] {
        let head = format!("GET /a HTTP/1.1\r\n{hosts}\r\n");
        let (answer, _connection) = first_bytes(&world, head.as_bytes()).await;
        assert_eq!(
            (answer.status, &*answer.problem()),
            (400, "bad_request"),
            "{hosts:?}"
        );
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn a_request_with_two_framings_is_no_request() {
    let world = open_to_all("").await;
    let (length, chunks) = ("Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n");
    for framing in [
        format!("{length}{chunks}"),
        format!("{chunks}{length}"),
        format!("{chunks}{chunks}"),
        format!("{length}{length}"),
    ] {
        let head = format!("POST /a HTTP/1.1\r\nHost: g\r\n{framing}\r\n");
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: g\r\n\r\n";
        let bytes = format!("{head}5\r\nhello\r\n0\r\n\r\n{smuggled}");
        let (answer, mut connection) = first_bytes(&world, bytes.as_bytes()).await;
        assert_eq!((answer.status, answer.text()), (400, String::new()));
        connection.closed().await;
    }
    // Over HTTP/1.0 there are no chunks (RFC 9112 §6.1).
    let old = format!("POST /a HTTP/1.0\r\nHost: g\r\n{chunks}\r\n0\r\n\r\n");
    let (answer, mut connection) = first_bytes(&world, old.as_bytes()).await;
    assert_eq!((answer.status, answer.text()), (400, String::new()));
    connection.closed().await;
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_off() {
    let world = open_to_all("header_timeout = \"200ms\"").await;
    for begun in ["", "GET", "GET /a HTTP/1.1\r\nHost: g\r\nX-A"] {
        let mut connection = Connection::open(world.address()).await;
        connection.write(begun.as_bytes()).await;
        connection.closed().await;
    }
    // The second head of a connection has no more time than the first.
    let mut connection = world.get("/a").begin().await;
    assert_eq!(connection.answer().await.status, 200);
    connection.write(b"GET /a HTTP/1.1\r\n").await;
    connection.closed().await;
    assert_eq!(world.app.count(), 1);
    // Nor does it help to send a little now and then.
    let mut connection = Connection::open(world.address()).await;
    connection.write(b"GET /a HTTP/1.1\r\nX-A: ").await;
    let trickle = async {
        while connection.socket.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let cut = tokio::time::timeout(STUCK, trickle).await;
    cut.expect("a trickling head is never cut off");
    assert_eq!(world.app.count(), 1);
    assert_eq!(world.get("/a").send().await.status, 200);
}

#[tokio::test]
async fn a_connection_that_is_not_used_any_more_is_closed() {
    let world = open_to_all("idle_timeout = \"200ms\"").await;
    for last in ["/a", "/chunked/3", "/wx/session", "/status/204"] {
        let mut connection = Connection::open(world.address()).await;
        for target in ["/a", last] {
            connection.write(&world.get(target).bytes()).await;
            assert_ne!(connection.answer().await.status, 502, "{target}");
        }
        ends_cleanly(&mut connection).await;
    }
}

#[tokio::test]
async fn an_http2_connection_that_is_not_used_any_more_is_closed() {
    let world = open_to_all("idle_timeout = \"200ms\"").await;
    let socket = tokio::net::TcpStream::connect(world.address()).await;
    let (sender, connection) = h2::client::handshake(socket.unwrap()).await.unwrap();
    let ended = tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let request = http::Request::get("http://gate.example/a").body(());
    let (answer, _) = sender.send_request(request.unwrap(), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    let ended = tokio::time::timeout(STUCK, ended).await;
    ended.expect("the connection stays open").unwrap().unwrap();
}

#[tokio::test]
async fn an_upload_that_stops_is_ended() {
    let world = open_to_all("body_idle_timeout = \"200ms\"").await;
    let stopped = world.post("/a").header("Content-Length", "10");
    let stopped_chunks = world.post("/a").header("Transfer-Encoding", "chunked");
    for (request, begun) in [(stopped, "hello"), (stopped_chunks, "5\r\nhello\r\n")] {
        let mut connection = request.begin().await;
        connection.write(begun.as_bytes()).await;
        let answer = connection.answer().await;
        assert_eq!((answer.status, &*answer.problem()), (400, "bad_request"));
        connection.closed().await;
    }
    // An app server that is silent is none of this deadline's business.
    let mut silent = world.get("/slow").begin().await;
    let answered = silent.head();
    let waited = tokio::time::timeout(Duration::from_millis(600), answered).await;
    assert!(waited.is_err(), "{waited:?}");
}

#[tokio::test]
async fn what_is_left_of_a_refused_body_is_never_read_as_a_request() {
    let setup = Setup {
        server: "workers = 1".to_owned(),
        ..Setup::with("[[access.rules]]\npath = \"/open\"\nrequire = \"public\"")
    };
    let world = setup.start().await;
    let hidden = "GET /open HTTP/1.1\r\nHost: gate.example\r\n\r\n";
    let request = world
        .post("/closed")
        .header("Content-Length", &(10 + hidden.len()).to_string());
    let mut connection = request.begin().await;
    connection.write(b"0123456789").await;
    assert_eq!(connection.answer().await.status, 401);
    // Longer than connections without a request keep their buffers.
    tokio::time::sleep(Duration::from_millis(800)).await;
    connection.write(hidden.as_bytes()).await;
    connection.closed().await;
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn a_request_that_is_costly_to_look_at_is_refused() {
    let world = open_to_all("").await;
    let listed = |count: usize| "a,".repeat(count);
    let answer = world
        .get("/a")
        .header("Connection", &listed(33))
        .send()
        .await;
    assert_eq!((answer.status, &*answer.problem()), (400, "bad_request"));
    let answer = world
        .get("/a")
        .header("Connection", &listed(32))
        .send()
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_target_without_a_path_goes_nowhere() {
    let world = open_to_all("").await;
    for target in ["http://gate.example?a=/b", "?a=/b"] {
        let answer = world.get(target).send().await;
        assert_eq!(answer.status, 400, "{target}");
    }
    assert_eq!(world.app.count(), 0);
    assert_eq!(world.get("http://gate.example").send().await.status, 200);
    assert_eq!(world.app.last().target, "/");
}

#[tokio::test]
async fn white_space_counts_for_the_size_of_a_head() {
    let world = open_to_all("max_header_bytes = \"8KiB\"").await;
    let padded = format!("{}y", " ".repeat(8192));
    let answer = world.get("/a").header("X-Padded", &padded).send().await;
    assert_eq!(
        (answer.status, &*answer.problem()),
        (431, "headers_too_large")
    );
}

#[tokio::test]
async fn who_sends_without_waiting_for_the_go_ahead_still_sees_the_refusal() {
    let world = Setup::default().start().await;
    let request = world
        .post("/wx/session")
        .header("Expect", "100-continue")
        .body(vec![b'x'; UPLOAD]);
    let (answer, mut connection) = upload(request).await;
    assert_eq!(answer.status, 405);
    ends_cleanly(&mut connection).await;
}

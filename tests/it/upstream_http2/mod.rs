//! HTTP/2 to the app server: what it gets, what the client gets of its answers, and that requests
//! which share a connection have nothing to do with each other.

mod faults;
mod limits;
mod repeats;

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use h2::Reason;
use http::{HeaderMap, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpStream, UnixListener};
use tokio_util::sync::CancellationToken;

use crate::support::app::{AppServer, until};
use crate::support::certificates::Authority;
use crate::support::front::{Behind, Files, Front, Terms};
use crate::support::h2_app::H2App;
use crate::support::raw::{Connection, Request};
use crate::support::{STUCK, Setup, World, pattern};

/// A gate with one worker before an app server at this url, to which everything is open.
fn open_to_all(url: String, upstream: &str) -> Setup {
    Setup {
        server: "workers = 1".to_owned(),
        upstream: format!("protocol = \"http2\"\n{upstream}"),
        upstream_url: Some(url),
        ..Setup::with("[access]\ndefault = \"public\"")
    }
}

/// The usual gate before the usual app server.
async fn start(upstream: &str) -> (World, H2App) {
    let app = H2App::start().await;
    let url = format!("http://{}", app.address);
    (open_to_all(url, upstream).start().await, app)
}

/// The same, where everything needs a session.
async fn start_closed() -> (World, H2App) {
    let app = H2App::start().await;
    let setup = Setup {
        toml: String::new(),
        ..open_to_all(format!("http://{}", app.address), "")
    };
    (setup.start().await, app)
}

/// A client over HTTP/2, since only such see trailers.
struct Client {
    sender: SendRequest<BoxBody<Bytes, Infallible>>,
    authority: String,
}

impl Client {
    async fn connect(world: &World) -> Self {
        Self::connect_taking(world, 65_535).await
    }

    /// Connects; so many bytes of each answer may come before any of them is read.
    async fn connect_taking(world: &World, window: u32) -> Self {
        let socket = TcpStream::connect(world.address()).await.unwrap();
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(window)
            .handshake(TokioIo::new(socket))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self {
            sender,
            authority: world.address().to_string(),
        }
    }

    fn request(&self, method: &str, target: &str) -> http::request::Builder {
        let uri = format!("http://{}{target}", self.authority);
        http::Request::builder().method(method).uri(uri)
    }

    async fn send(
        &self,
        request: http::request::Builder,
        body: BoxBody<Bytes, Infallible>,
    ) -> Response<Incoming> {
        let sent = self
            .sender
            .clone()
            .send_request(request.body(body).unwrap());
        let answered = tokio::time::timeout(STUCK, sent).await;
        answered.expect("the gate is stuck").unwrap()
    }

    async fn get(&self, target: &str) -> Response<Incoming> {
        self.send(self.request("GET", target), Empty::new().boxed())
            .await
    }
}

/// The body of an answer and its trailers.
async fn taken(answer: Response<Incoming>) -> (String, HeaderMap) {
    let taken = tokio::time::timeout(STUCK, answer.into_body().collect()).await;
    let taken = taken.expect("the answer hangs").unwrap();
    let trailers = taken.trailers().cloned().unwrap_or_default();
    let text = String::from_utf8(taken.to_bytes().to_vec()).unwrap();
    (text, trailers)
}

#[tokio::test]
async fn the_app_learns_who_asks_from_the_gate_alone() {
    let (world, app) = start_closed().await;
    let token = world.login("alice").await;
    let forged = |request: Request| {
        request
            .bearer(&token)
            .header("X-WX-OPENID", "forged")
            .header("x_wx_openid", "forged")
            .header("X-WX-Anything", "forged")
            .header("X-Forwarded-For", "192.0.2.9")
            .header("X-Request-Id", "forged")
            .header("Connection", "keep-alive, x-hop, x-wx-openid")
            .header("X-Hop", "1")
            .header("Keep-Alive", "timeout=5")
            .header("TE", "gzip")
            .header("Expect", "100-continue")
            .header("Cookie", "a=b")
    };
    for method in ["GET", "POST"] {
        let answer = forged(world.request(method, "/me?a=%2F")).send().await;
        assert_eq!(answer.text(), format!("{method} /me?a=%2F 0 bytes"));
        let seen = app.last();
        assert_eq!(seen.header("x-wx-openid"), [world.openid("alice")]);
        assert_eq!(seen.header("x-real-ip"), ["127.0.0.1"]);
        assert_eq!(seen.header("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(seen.header("x-request-id").len(), 1);
        assert_eq!(seen.header("cookie"), ["a=b"]);
        let gone = [
            "authorization",
            "connection",
            "expect",
            "host",
            "keep-alive",
            "te",
            "x-hop",
            "x-wx-anything",
            "x_wx_openid",
        ];
        for name in gone {
            assert_eq!(seen.header(name), [""; 0], "{name}");
        }
        let text = format!("{:?}", seen.headers);
        assert!(!text.contains("forged") && !text.contains(&token), "{text}");
    }
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn trailers_of_a_request_bring_no_identity_but_others_pass() {
    let (world, app) = start("").await;
    let forged = [
        "X-WX-OPENID",
        "x_wx_openid",
        "Authorization",
        "Cookie",
        "Host",
    ];
    let forged: String = forged.map(|name| format!("{name}: forged\r\n")).concat();
    // Nor what belongs to one connection, which HTTP/2 cannot say.
    let more = "Connection: x-a\r\nX-A: 1\r\nTE: trailers\r\nUpgrade: x\r\nKeep-Alive: x\r\n";
    let answer = world
        .post("/upload")
        .header("Transfer-Encoding", "chunked")
        .body(format!(
            "5\r\nhello\r\n0\r\nContent-Digest: 7\r\n{forged}{more}\r\n"
        ))
        .send()
        .await;
    assert_eq!(answer.text(), "POST /upload 5 bytes");
    let seen = app.last();
    assert_eq!(seen.body, b"hello");
    let trailers: Vec<_> = seen
        .trailers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(trailers, ["content-digest"]);
    assert_eq!(seen.header("content-length"), [""; 0]);
}

#[tokio::test]
async fn trailers_of_an_answer_come_without_what_may_not_stand_there() {
    let (world, _app) = start("").await;
    let client = Client::connect(&world).await;
    let (text, trailers) = taken(client.get("/trailers").await).await;
    assert_eq!(text, "GET /trailers 0 bytes");
    let mut names: Vec<_> = trailers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["grpc-status"]);
}

#[tokio::test]
async fn trailers_come_also_behind_an_answer_that_says_how_long_it_is() {
    let (world, _app) = start("").await;
    let client = Client::connect(&world).await;
    for length in [0, 1, 10_000] {
        let answer = client.get(&format!("/trailers/{length}")).await;
        assert_eq!(answer.headers()["content-length"], length.to_string());
        let (text, trailers) = taken(answer).await;
        assert_eq!(text, "x".repeat(length));
        let mut names: Vec<_> = trailers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["grpc-status"], "{length}");
    }
}

#[tokio::test]
async fn that_a_client_takes_trailers_is_passed_on_and_so_is_an_answer_of_nothing_else() {
    let (world, app) = start("").await;
    let client = Client::connect(&world).await;
    let request = client
        .request("POST", "/only-trailers")
        .header("te", "trailers");
    let pieces = stream::iter([Ok(Frame::data(Bytes::from_static(b"hello")))]);
    let answer = client
        .send(request, BodyExt::boxed(StreamBody::new(pieces)))
        .await;
    assert_eq!(answer.headers()["grpc-status"], "12");
    assert_eq!(taken(answer).await, (String::new(), HeaderMap::new()));
    let seen = app.last();
    assert_eq!(seen.header("te"), ["trailers"]);
    assert_eq!(seen.body, b"hello");
}

#[tokio::test]
async fn the_host_is_said_once_and_as_configured() {
    for (lines, from_gate) in [
        ("preserve_host = true", false),
        ("preserve_host = false", true),
    ] {
        let (world, app) = start(lines).await;
        let answer = world
            .get("/a")
            .header("Host", "shop.example:8080")
            .send()
            .await;
        assert_eq!(answer.status, 200);
        let seen = app.last();
        let own = app.address.to_string();
        let expected = if from_gate {
            &*own
        } else {
            "shop.example:8080"
        };
        assert_eq!((&*seen.authority, &*seen.scheme), (expected, "http"));
        assert_eq!(seen.header("host"), [""; 0]);
        assert_eq!(seen.header("x-forwarded-host"), ["shop.example:8080"]);
    }
}

#[tokio::test]
async fn what_the_gate_sends_by_itself_is_for_the_app_servers_own_host() {
    let app = H2App::start().await;
    let setup = Setup {
        toml: "[login]\nhook = \"/hook\"".to_owned(),
        ..open_to_all(format!("http://{}", app.address), "")
    };
    let world = setup.start().await;
    let body = serde_json::json!({ "code": world.code("alice") });
    let login = world.post("/wx/login").header("Host", "other.example");
    login.json(&body).send().await;
    let seen = app.last();
    assert_eq!(seen.authority, app.address.to_string());
    assert_eq!(seen.header("host"), [""; 0]);
    assert_eq!(seen.header("x-forwarded-host"), ["other.example"]);
}

#[tokio::test]
async fn every_method_and_kind_of_body_arrives_with_its_length_if_it_has_one() {
    let (world, app) = start("").await;
    for (method, length, body) in [
        ("GET", None, ""),
        ("HEAD", None, ""),
        ("OPTIONS", None, ""),
        ("DELETE", None, ""),
        ("POST", Some("0"), ""),
        ("PUT", Some("5"), "hello"),
        ("PATCH", Some("5"), "hello"),
        ("GET", Some("5"), "hello"),
    ] {
        let answer = world.request(method, "/a").body(body).send().await;
        assert_eq!(answer.status, 200, "{method}");
        let seen = app.last();
        assert_eq!((&*seen.method, &*seen.body), (method, body.as_bytes()));
        assert_eq!(
            seen.header("content-length"),
            Vec::from_iter(length),
            "{method}"
        );
    }
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let (world, _app) = start("").await;
    for (method, target, status) in [
        ("GET", "/status/204", 204),
        ("GET", "/status/304", 304),
        ("HEAD", "/bytes/1234", 200),
        ("GET", "/bytes/0", 200),
    ] {
        let mut connection = Connection::open(world.address()).await;
        for _ in 0..2 {
            connection
                .write(&world.request(method, target).bytes())
                .await;
            let answer = connection.answer_to(method).await;
            assert_eq!((answer.status, answer.body.len()), (status, 0), "{target}");
        }
    }
    let answer = world.request("HEAD", "/bytes/1234").send().await;
    assert_eq!(answer.header("content-length"), Some("1234"));
}

#[tokio::test]
async fn twenty_requests_share_a_connection_and_nobody_gets_anothers_identity() {
    let (world, app) = start_closed().await;
    let mut tokens = Vec::new();
    for number in 0..20 {
        tokens.push(world.login(&format!("user{number}")).await);
    }
    // Each is open until all are: an event stream ends by itself never.
    let opening = tokens
        .iter()
        .map(|token| world.get("/events").bearer(token).begin());
    let streams = join_all(opening).await;
    until("all listen", || app.listeners() == 20).await;
    let asking = tokens.iter().enumerate().map(|(number, token)| {
        let request = world.get(&format!("/of/{number}")).bearer(token);
        async move { request.send().await.text() }
    });
    for (number, answer) in join_all(asking).await.iter().enumerate() {
        assert_eq!(*answer, format!("GET /of/{number} 0 bytes"));
        let target = format!("/of/{number}");
        let seen = app.seen();
        let seen = seen.iter().find(|seen| seen.target == target).unwrap();
        let openid = world.openid(&format!("user{number}"));
        assert_eq!(seen.header("x-wx-openid"), [openid]);
    }
    assert_eq!((app.connections(), app.listeners()), (1, 20));
    drop(streams);
    until("all are left", || app.listeners() == 0).await;
    assert_eq!(app.resets(), [Reason::CANCEL; 20]);
}

#[tokio::test]
async fn an_event_stream_passes_piece_by_piece_and_ends_with_its_session() {
    let (world, app) = start_closed().await;
    let token = world.login("alice").await;
    let mut listening = world.get("/events").bearer(&token).begin().await;
    assert_eq!(listening.head().await.unwrap().0, 200);
    for number in 0..3 {
        app.emit(&format!("event {number}"));
        let piece = String::from_utf8(listening.piece().await).unwrap();
        assert!(piece.contains(&format!("event {number}")), "{piece}");
    }
    let ended = world.request("DELETE", "/wx/session").bearer(&token).send();
    assert_eq!(ended.await.status, 204);
    listening.closed().await;
    until("the app is told", || app.resets() == [Reason::CANCEL]).await;
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along_and_no_other() {
    let (world, app) = start("").await;
    let mut other = world.get("/events").begin().await;
    assert_eq!(other.head().await.unwrap().0, 200);
    // Before the answer, in the middle of one, and in the middle of an upload.
    let waiting = world.get("/slow").begin().await;
    until("the app is asked", || app.seen().len() == 2).await;
    drop(waiting);
    until("the app is told", || app.resets() == [Reason::CANCEL]).await;
    let mut reading = world.get("/pattern/50000000").begin().await;
    assert_eq!(reading.head().await.unwrap().0, 200);
    drop(reading);
    until("the app is told", || app.resets().len() == 2).await;
    let mut sending = world
        .post("/upload")
        .header("Content-Length", "9")
        .begin()
        .await;
    sending.write(b"part").await;
    until("the upload has begun", || app.received() == 4).await;
    drop(sending);
    until("the app is told", || app.resets().len() == 3).await;
    app.emit("still there");
    assert!(
        String::from_utf8(other.piece().await)
            .unwrap()
            .contains("still there")
    );
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn large_bodies_pass_both_ways_at_once() {
    const LENGTH: usize = 3_000_000;
    let (world, app) = start("").await;
    let upload = world.post("/upload").body(vec![b'x'; LENGTH]);
    assert_eq!(
        upload.send().await.text(),
        format!("POST /upload {LENGTH} bytes")
    );
    let answer = world.get(&format!("/bytes/{LENGTH}")).send().await;
    assert_eq!((answer.whole, answer.body.len()), (true, LENGTH));
    assert!(pattern::is_at(0, &answer.body));
    // The answer comes while the request is still being sent.
    let both = world
        .post(&format!("/pattern/{LENGTH}"))
        .body(vec![b'x'; LENGTH]);
    let answer = both.send().await;
    assert_eq!((answer.whole, answer.body.len()), (true, LENGTH));
    assert!(pattern::is_at(0, &answer.body));
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn an_upload_streams() {
    let (world, app) = start("").await;
    let mut connection = world
        .post("/upload")
        .header("Content-Length", "9")
        .begin()
        .await;
    connection.write(b"first").await;
    until("the first bytes arrive", || app.received() == 5).await;
    connection.write(b"last").await;
    assert_eq!(connection.answer().await.text(), "POST /upload 9 bytes");
}

#[tokio::test]
async fn clients_that_take_nothing_hold_up_nobody_else() {
    let (world, app) = start("").await;
    let mut idle = Vec::new();
    for _ in 0..30 {
        idle.push(world.get("/pattern/30000000").begin().await);
    }
    until("all are answered", || app.begun() == 30).await;
    for _ in 0..3 {
        let answer = world.get("/bytes/1000000").send().await;
        assert_eq!((answer.whole, answer.body.len()), (true, 1_000_000));
    }
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn clients_that_come_and_leave_do_not_cost_others_their_connection() {
    let (world, app) = start("").await;
    let mut other = world.get("/events").begin().await;
    assert_eq!(other.head().await.unwrap().0, 200);
    for _ in 0..20 {
        // Each leaves while much of its answer is on its way.
        let leaving = (0..30).map(|_| async {
            let mut leaving = world.get("/pattern/1000000").begin().await;
            assert_eq!(leaving.head().await.unwrap().0, 200);
        });
        join_all(leaving).await;
    }
    app.emit("still there");
    let piece = String::from_utf8(other.piece().await).unwrap();
    assert!(piece.contains("still there"), "{piece:?}");
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn small_pieces_that_nobody_takes_do_not_cost_others_their_connection() {
    let (world, app) = start("").await;
    let client = Client::connect_taking(&world, 0).await;
    let idle = join_all((0..60).map(|_| client.get("/drops/3000"))).await;
    assert!(idle.iter().all(|answer| answer.status() == 200));
    for _ in 0..3 {
        let answer = world.get("/drops/3000").send().await;
        assert_eq!((answer.whole, answer.body.len()), (true, 150_000));
    }
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn interim_answers_are_dropped() {
    let (world, _app) = start("").await;
    let mut connection = world.get("/interim/3").begin().await;
    let (status, headers) = connection.head().await.unwrap();
    assert_eq!(status, 200);
    assert!(
        headers.iter().all(|(name, _)| name != "link"),
        "{headers:?}"
    );
}

#[tokio::test]
async fn it_works_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let app = H2App::start().await;
    app.listen(UnixListener::bind(&path).unwrap());
    let world = open_to_all(format!("unix:{}", path.display()), "")
        .start()
        .await;
    for _ in 0..2 {
        let answer = world.post("/a").body("hello").send().await;
        assert_eq!(answer.text(), "POST /a 5 bytes");
    }
    let seen = app.last();
    assert_eq!((&*seen.scheme, &*seen.authority), ("http", "gate.example"));
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn it_works_over_tls_when_the_app_chooses_it() {
    let (authority, files) = (Authority::new(), Files::new());
    let app = H2App::start().await;
    let terms = Terms::with(&authority.vouch()).speaking(&["http/1.1", "h2"]);
    let front = Front::start(terms, Behind::App(app.address)).await;
    let world = open_to_all(front.url(), &files.believe(&authority))
        .start()
        .await;
    for _ in 0..2 {
        let answer = world.post("/a").body("hello").send().await;
        assert_eq!(answer.text(), "POST /a 5 bytes");
    }
    assert_eq!((&*app.last().scheme, front.met().len()), ("https", 1));
    assert_eq!(front.met()[0].protocol.as_deref(), Some("h2"));
}

#[tokio::test]
async fn a_websocket_is_opened_over_http_1_beside_it() {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;

    let stop = CancellationToken::new();
    let http1 = AppServer::start(stop.clone()).await;
    let app = H2App::beside(http1.address).await;
    let world = open_to_all(format!("http://{}", app.address), "")
        .start()
        .await;
    assert_eq!(world.get("/a").send().await.status, 200);
    let url = format!("ws://{}/socket", world.address());
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(
        socket.next().await.unwrap().unwrap(),
        Message::text("hello")
    );
    assert_eq!(world.get("/a").send().await.status, 200);
    assert_eq!(
        (app.seen().len(), http1.count(), http1.sockets()),
        (2, 1, 1)
    );
    drop(socket);
    until("the socket ends", || http1.sockets() == 0).await;
    stop.cancel();
}

//! HTTP/2 from the client in clear text, HTTP/1.1 to the app server: the same promises over
//! streams instead of connections.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::support::app::until;
use crate::support::{STUCK, Setup, World, pattern};

type Body = BoxBody<Bytes, Infallible>;

/// One connection, known beforehand to be HTTP/2.
struct Client {
    sender: SendRequest<Body>,
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
        let authority = world.address().to_string();
        Self { sender, authority }
    }

    /// Sends a request and waits for the head of the answer.
    async fn send(
        &self,
        (method, target): (&str, &str),
        token: Option<&str>,
        body: Body,
    ) -> Response<Incoming> {
        let uri = format!("http://{}{target}", self.authority);
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.header("x-wx-openid", "forged").body(body).unwrap();
        let sent = self.sender.clone().send_request(request);
        let answered = tokio::time::timeout(STUCK, sent).await;
        answered.expect("the gate is stuck").unwrap()
    }

    async fn get(&self, target: &str, token: &str) -> Response<Incoming> {
        self.send(("GET", target), Some(token), empty()).await
    }
}

fn empty() -> Body {
    Full::default().boxed()
}

async fn text(answer: Response<Incoming>) -> String {
    let body = answer.into_body().collect().await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

/// The next piece of a stream; `None` at a clean end.
async fn piece(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    let frame = tokio::time::timeout(STUCK, body.frame()).await;
    let frame = frame.expect("nothing came")?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}

#[tokio::test]
async fn an_identified_request_arrives_as_plain_http_1() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let client = Client::connect(&world).await;
    let answer = client.get("/me?a=1", &token).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(text(answer).await, "GET /me?a=1 0 bytes");
    let seen = world.app.last();
    assert_eq!(seen.header("x-wx-openid"), [world.openid("alice")]);
    assert_eq!(seen.header("host"), [world.address().to_string()]);
    assert_eq!(seen.header("authorization"), [""; 0]);
}

#[tokio::test]
async fn refusals_are_problem_documents() {
    let world = World::start().await;
    let client = Client::connect(&world).await;
    for (token, code) in [
        (None, "session_required"),
        (Some(format!("wxg_{}", "A".repeat(43))), "session_expired"),
    ] {
        let answer = client.send(("GET", "/me"), token.as_deref(), empty()).await;
        assert_eq!(answer.status(), 401);
        let headers = answer.headers();
        assert_eq!(headers["content-type"], "application/problem+json");
        assert!(headers.contains_key("www-authenticate"));
        assert!(!headers.contains_key("connection"));
        let problem: Value = serde_json::from_str(&text(answer).await).unwrap();
        assert_eq!(problem["code"], code);
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn a_code_is_redeemed_and_a_session_ended() {
    let world = World::start().await;
    let client = Client::connect(&world).await;
    let code = serde_json::json!({ "code": world.code("alice") }).to_string();
    let request = Request::post(format!("http://{}/wx/login", client.authority))
        .header("content-type", "application/json")
        .body(Full::from(code).boxed())
        .unwrap();
    let answer = client.sender.clone().send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer: Value = serde_json::from_str(&text(answer).await).unwrap();
    let token = answer["token"].as_str().unwrap();
    assert_eq!(client.get("/me", token).await.status(), 200);
    let end = ("DELETE", "/wx/session");
    assert_eq!(client.send(end, Some(token), empty()).await.status(), 204);
    assert_eq!(client.get("/me", token).await.status(), 401);
}

#[tokio::test]
async fn a_large_answer_comes_whole() {
    const LENGTH: usize = 3_000_000;
    let world = World::start().await;
    let token = world.login("alice").await;
    let client = Client::connect(&world).await;
    let answer = client.get(&format!("/pattern/{LENGTH}"), &token).await;
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body.len(), LENGTH);
    assert!(pattern::is_at(0, &body));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_reset() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let client = Client::connect(&world).await;
    for target in ["/break", "/break-chunked"] {
        let broken = client.get(target, &token).await.into_body().collect().await;
        assert!(broken.is_err(), "{target}: {broken:?}");
    }
    // One stream is not the connection.
    assert_eq!(client.get("/me", &token).await.status(), 200);
}

#[tokio::test]
async fn an_upload_streams() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let client = Client::connect(&world).await;
    let (sender, receiver) = mpsc::channel::<&'static [u8]>(1);
    let pieces = stream::unfold(receiver, |mut receiver| async {
        let piece = receiver.recv().await?;
        let frame = Frame::data(Bytes::from_static(piece));
        Some((Ok::<_, Infallible>(frame), receiver))
    });
    let body = BodyExt::boxed(StreamBody::new(pieces));
    let answering = client.send(("POST", "/upload"), Some(&token), body);
    let sending = async {
        sender.send(b"first").await.unwrap();
        until("the first bytes arrive", || world.app.received() == 5).await;
        sender.send(b"last").await.unwrap();
        drop(sender);
    };
    let (answer, ()) = tokio::join!(answering, sending);
    assert_eq!(text(answer).await, "POST /upload 9 bytes");
    assert_eq!(world.app.last().body, b"firstlast");
}

#[tokio::test]
async fn twenty_streams_run_at_once_and_nobody_gets_anothers_identity() {
    let world = World::start().await;
    let client = Client::connect(&world).await;
    let mut tokens = Vec::new();
    for number in 0..20 {
        tokens.push(world.login(&format!("user{number}")).await);
    }
    // Each is open until all are: an event stream ends by itself never.
    let opening = tokens.iter().map(|token| client.get("/events", token));
    let streams = futures_util::future::join_all(opening).await;
    assert_eq!(world.app.listeners(), 20);
    let asking = (0..20).map(|number| {
        let (client, token) = (&client, &tokens[number]);
        async move { text(client.get(&format!("/of/{number}"), token).await).await }
    });
    let answers = futures_util::future::join_all(asking).await;
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(*answer, format!("GET /of/{number} 0 bytes"));
        let target = format!("/of/{number}");
        let seen = world.app.seen();
        let seen = seen.iter().find(|seen| seen.target == target).unwrap();
        let openid = world.openid(&format!("user{number}"));
        assert_eq!(seen.header("x-wx-openid"), [openid]);
    }
    assert_eq!(world.app.listeners(), 20);
    drop(streams);
    until("all are left", || world.app.listeners() == 0).await;
}

#[tokio::test]
async fn an_event_stream_is_reset_within_a_second_of_logout_and_its_neighbour_goes_on() {
    let world = World::start().await;
    let (alice, bob) = (world.login("alice").await, world.login("bob").await);
    let client = Client::connect(&world).await;
    let mut of_alice = client.get("/events", &alice).await.into_body();
    let mut of_bob = client.get("/events", &bob).await.into_body();
    for count in 0..3 {
        world.app.emit(&count.to_string());
        for body in [&mut of_alice, &mut of_bob] {
            let event = piece(body).await.unwrap().unwrap();
            assert_eq!(event, format!("data: {count}\n\n"));
        }
    }
    let end = ("DELETE", "/wx/session");
    assert_eq!(client.send(end, Some(&alice), empty()).await.status(), 204);
    let begun = Instant::now();
    let error = piece(&mut of_alice).await.expect("a clean end");
    let error = error.expect_err("another event");
    assert!(begun.elapsed() < Duration::from_secs(1));
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
    let cause: &h2::Error = cause.unwrap_or_else(|| panic!("{error:?}"));
    assert!(cause.is_reset() && cause.is_remote(), "{cause:?}");
    world.app.emit("still there");
    let event = piece(&mut of_bob).await.unwrap().unwrap();
    assert_eq!(event, "data: still there\n\n");
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_an_answer_is_cut_and_the_app_is_free_for_others() {
    for window in [0, 65_535] {
        let setup = Setup {
            server: "workers = 1\nlimits.body_idle_timeout = \"300ms\"\n\
                     limits.idle_timeout = \"300ms\""
                .to_owned(),
            upstream: "max_connections = 1\nconnect_timeout = \"15s\"".to_owned(),
            ..Setup::with("[access]\ndefault = \"public\"")
        };
        let world = setup.start().await;
        let client = Client::connect_taking(&world, window).await;
        let answer = client.send(("GET", "/bytes/20000000"), None, empty()).await;
        assert_eq!(answer.status(), 200);
        let other = world.get("/page").send().await;
        assert_eq!(other.status, 200, "{window}: {other:?}");
        // Its connection counts as one that is not used.
        let body = answer.into_body().collect();
        let taken = tokio::time::timeout(STUCK, body).await;
        let taken = taken.expect("the stream hangs on");
        assert!(taken.is_err(), "{window}: a clean end");
    }
}

#[tokio::test]
async fn a_get_with_a_body_of_unknown_length_brings_it_to_the_app() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let client = Client::connect(&world).await;
    let pieces = [&b"first"[..], &b"last"[..]].map(Bytes::from_static);
    let pieces = pieces.map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    let body = BodyExt::boxed(StreamBody::new(stream::iter(pieces)));
    let answer = client.send(("GET", "/search"), Some(&token), body).await;
    assert_eq!(text(answer).await, "GET /search 9 bytes");
    assert_eq!(world.app.last().body, b"firstlast");
}

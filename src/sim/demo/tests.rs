//! The demo app over a socket, with the headers that the gate would have written.

use super::*;

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::RequestBuilder;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::DropGuard;

use crate::sim::tests::{client, listener};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct Served {
    address: SocketAddr,
    stop: CancellationToken,
    _stop: DropGuard,
}

async fn served() -> Served {
    let (listener, address) = listener().await;
    let stop = CancellationToken::new();
    tokio::spawn(DemoApp::new().serve(listener, stop.clone()));
    Served {
        address,
        stop: stop.clone(),
        _stop: stop.drop_guard(),
    }
}

impl Served {
    fn get(&self, path: &str) -> RequestBuilder {
        client().get(format!("http://{}{path}", self.address))
    }

    /// A socket of alice.
    async fn socket(&self) -> Socket {
        let url = format!("ws://{}/socket", self.address);
        let mut request = url.into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("x-wx-openid", HeaderValue::from_static("alice"));
        headers.insert("x-wx-appid", HeaderValue::from_static("wx1"));
        let connected = tokio_tungstenite::connect_async(request).await;
        let (socket, _answer) = connected.unwrap();
        socket
    }

    fn post(&self, path: &str) -> RequestBuilder {
        client().post(format!("http://{}{path}", self.address))
    }
}

fn by(user: &str, request: RequestBuilder) -> RequestBuilder {
    request
        .header("X-WX-OPENID", user)
        .header("X-WX-APPID", "wx1")
        .header("X-WX-SOURCE", "wx_client")
}

async fn body(request: RequestBuilder) -> Value {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

async fn status(request: RequestBuilder) -> StatusCode {
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn only_public_routes_answer_a_request_without_identity() {
    let served = served().await;
    for path in ["/me", "/avatar", "/socket", "/events"] {
        let answered = status(served.get(path)).await;
        assert_eq!(answered, StatusCode::UNAUTHORIZED, "{path}");
    }
    for path in ["/saveUserInfo", "/avatar"] {
        let answered = status(served.post(path)).await;
        assert_eq!(answered, StatusCode::UNAUTHORIZED, "{path}");
    }
    for path in ["/", "/public/hello"] {
        assert_eq!(status(served.get(path)).await, StatusCode::OK, "{path}");
    }
    let head = client().head(format!("http://{}/", served.address));
    assert_eq!(status(head).await, StatusCode::OK);
    let wrong_method = status(served.get("/saveUserInfo")).await;
    assert_eq!(wrong_method, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(status(served.get("/nothing")).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_a_user_saves_is_that_users() {
    let served = served().await;
    let profile = served.post("/saveUserInfo").body(r#"{"nickName":"Alice"}"#);
    let saved = body(by("alice", profile)).await;
    assert_eq!(saved, json!({"saved": true}));
    let form = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
        Content-Type: image/png\r\n\r\npicture\r\n--b--\r\n";
    let upload = served
        .post("/avatar")
        .header("content-type", "multipart/form-data; boundary=b")
        .body(form);
    let saved = body(by("alice", upload)).await;
    assert_eq!(saved, json!({"avatar": "/avatar", "bytes": 7}));

    let alice = by("alice", served.get("/me")).header("X-WX-UNIONID", "person");
    let expect = json!({
        "openid": "alice", "appid": "wx1", "unionid": "person",
        "profile": {"nickName": "Alice"}, "avatar": "/avatar",
    });
    assert_eq!(body(alice).await, expect);
    let bob = json!({
        "openid": "bob", "appid": "wx1", "unionid": null, "profile": null, "avatar": null,
    });
    assert_eq!(body(by("bob", served.get("/me"))).await, bob);

    let avatar = by("alice", served.get("/avatar")).send().await.unwrap();
    assert_eq!(avatar.headers()["content-type"], "image/png");
    assert_eq!(avatar.bytes().await.unwrap(), "picture");
    let nobodys = status(by("bob", served.get("/avatar"))).await;
    assert_eq!(nobodys, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_no_profile_is_not_saved() {
    let served = served().await;
    for (sent, expect) in [
        ("[]".to_owned(), StatusCode::BAD_REQUEST),
        ("{".to_owned(), StatusCode::BAD_REQUEST),
        (
            format!(r#"{{"a":"{}"}}"#, "a".repeat(MAX_PROFILE_BYTES)),
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
    ] {
        let sent = served.post("/saveUserInfo").body(sent);
        assert_eq!(status(by("alice", sent)).await, expect);
    }
    let me = body(by("alice", served.get("/me"))).await;
    assert_eq!(me["profile"], Value::Null);
}

#[tokio::test]
async fn events_begin_at_once_and_end_with_the_app() {
    let served = served().await;
    let mut events = by("alice", served.get("/events")).send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let first = events.chunk().await.unwrap().unwrap();
    assert_eq!(first, "data: {\"count\":1,\"openid\":\"alice\"}\n\n");
    served.stop.cancel();
    while events.chunk().await.unwrap().is_some() {}
}

#[tokio::test]
async fn a_socket_greets_echoes_and_ends_with_the_app() {
    let served = served().await;
    let mut socket = served.socket().await;
    let greeting = socket.next().await.unwrap().unwrap();
    assert_eq!(greeting, Message::text("hello alice"));
    for message in [Message::text("你好"), Message::binary(vec![0, 1])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    served.stop.cancel();
    let goodbye = socket.next().await.unwrap().unwrap();
    assert!(goodbye.is_close());
}

#[tokio::test]
async fn a_message_over_the_limit_ends_its_socket() {
    let served = served().await;
    let mut socket = served.socket().await;
    socket.next().await.unwrap().unwrap();
    let large = Message::binary(vec![0; socket::MAX_MESSAGE_BYTES + 1]);
    socket.send(large).await.unwrap();
    assert!(!matches!(socket.next().await, Some(Ok(Message::Binary(_)))));
}

#[tokio::test]
async fn a_plain_get_of_the_socket_is_told_to_upgrade() {
    let served = served().await;
    let answered = status(by("alice", served.get("/socket"))).await;
    assert_eq!(answered, StatusCode::UPGRADE_REQUIRED);
    let url = format!("ws://{}/socket", served.address);
    let Err(Error::Http(refused)) = tokio_tungstenite::connect_async(url).await else {
        panic!("a socket for nobody");
    };
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
}

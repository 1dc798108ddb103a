//! What the small server promises, over real sockets.

use super::*;

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

#[derive(Clone, Copy, PartialEq)]
enum Then {
    End,
    Hold,
}

fn streamed(piece: &'static str, then: Then) -> Response<PlainBody> {
    let (sender, body) = PlainBody::stream();
    tokio::spawn(async move {
        sender.send(piece).await.unwrap();
        if then == Then::Hold {
            sender.0.closed().await;
        }
    });
    Response::new(body)
}

/// Answers each path with another kind of body.
#[derive(Clone)]
struct Kinds;

impl Handler for Kinds {
    async fn handle(&self, request: Request<Incoming>) -> Response<PlainBody> {
        match request.uri().path() {
            "/json" => json(StatusCode::OK, &serde_json::json!({"a": 1})),
            "/empty" => empty(StatusCode::NO_CONTENT),
            "/broken" => Response::new(PlainBody::broken_after("begun")),
            "/never" => streamed("begun", Then::Hold),
            "/stream" => streamed("begun and ended", Then::End),
            _ => match read_body(request.into_body(), 4).await {
                Ok(body) => Response::new(PlainBody::full(body)),
                Err(error) => text(error.status(), error.to_string()),
            },
        }
    }
}

async fn start() -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(listener, Kinds, stop.clone()));
    (address, stop, server)
}

fn client() -> reqwest::Client {
    // Every client is built with TLS at hand; that another test was first does not matter.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.install_default().ok();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[tokio::test]
async fn every_kind_of_body_arrives_as_it_was_sent() {
    let (address, _stop, _server) = start().await;
    let get = async |path: &str| {
        let url = format!("http://{address}{path}");
        client().get(url).send().await.unwrap()
    };
    let json = get("/json").await;
    assert_eq!(json.headers()["content-type"], "application/json");
    assert_eq!(json.headers()["content-length"], "7");
    assert_eq!(json.text().await.unwrap(), r#"{"a":1}"#);
    assert_eq!(get("/empty").await.status(), StatusCode::NO_CONTENT);
    assert_eq!(
        get("/stream").await.text().await.unwrap(),
        "begun and ended"
    );
}

#[tokio::test]
async fn a_body_broken_off_begins_and_does_not_end() {
    let (address, _stop, _server) = start().await;
    let mut answer = client()
        .get(format!("http://{address}/broken"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "begun");
    assert!(answer.chunk().await.is_err());
}

#[tokio::test]
async fn a_body_is_read_up_to_its_limit_and_no_further() {
    let (address, _stop, _server) = start().await;
    let post = async |body: &'static str| {
        let request = client().post(format!("http://{address}/echo")).body(body);
        request.send().await.unwrap()
    };
    assert_eq!(post("1234").await.text().await.unwrap(), "1234");
    assert_eq!(post("12345").await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // The client sees the answer though it is still sending.
    let large = client().post(format!("http://{address}/echo"));
    let large = large.body(vec![0; 900_000]).send().await.unwrap();
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn the_order_to_stop_ends_idle_connections_and_then_endless_answers() {
    let (address, stop, server) = start().await;
    let client = client();
    let idle = client.get(format!("http://{address}/json"));
    idle.send().await.unwrap().text().await.unwrap();
    let url = format!("http://{address}/never");
    let mut endless = client.get(url).send().await.unwrap();
    assert_eq!(endless.chunk().await.unwrap().unwrap(), "begun");

    // From here on a wait is over as soon as nothing else is left to do.
    time::pause();
    stop.cancel();
    server.await.unwrap();
    assert!(endless.chunk().await.is_err());
    let after = client.get(format!("http://{address}/json")).send().await;
    assert!(after.unwrap_err().is_connect());
}

/// Answers without end, and says when nobody takes the answer any more.
#[derive(Clone)]
struct Endless(mpsc::Sender<ClientGone>);

impl Handler for Endless {
    async fn handle(&self, _request: Request<Incoming>) -> Response<PlainBody> {
        let (sender, body) = PlainBody::stream();
        let told = self.0.clone();
        tokio::spawn(async move {
            while sender.send(vec![0; 64 * 1024]).await.is_ok() {}
            told.send(ClientGone).await.unwrap();
        });
        Response::new(body)
    }
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_loses_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (told, mut gone) = mpsc::channel(1);
    tokio::spawn(serve(listener, Endless(told), CancellationToken::new()));
    let mut client = TcpStream::connect(address).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    client.read_exact(&mut [0; 1024]).await.unwrap();

    // From here on a wait is over as soon as nothing else is left to do.
    time::pause();
    let told = time::timeout(2 * patience::WRITE_TIMEOUT, gone.recv()).await;
    assert_eq!(told, Ok(Some(ClientGone)));
    drop(client);
}

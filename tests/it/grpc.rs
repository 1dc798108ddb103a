//! gRPC through the gate: HTTP/2 on both sides, messages one by one, the status in trailers, and the
//! identity as metadata. Client and server are tonic's; messages are plain text.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut};
use futures_util::{Stream, StreamExt, stream};
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::server::StreamingService;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::support::app::until;
use crate::support::{APPID, STUCK, Setup, World};

/// Messages are their UTF-8.
#[derive(Clone, Copy)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        Ok(Some(String::from_utf8(bytes.to_vec()).unwrap()))
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;
type Soon<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An app server that speaks gRPC:
///
/// - `Echo`: each message back, as soon as it has come
/// - `Count`: numbers from 1, one for each permit of `steps`
/// - `Fail`: no message but a status; `FailLate`: one message, and then the status
/// - `Hang`: nothing; tells when it is given up
#[derive(Clone)]
struct Talk {
    seen: Arc<Mutex<Vec<MetadataMap>>>,
    steps: Arc<Semaphore>,
    hanging: Arc<AtomicUsize>,
}

/// One call of it.
struct Call {
    talk: Talk,
    method: String,
}

fn failed() -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("x-reason", "testing".parse().unwrap());
    let message = "not today: 今天不行";
    Status::with_details_and_metadata(
        Code::FailedPrecondition,
        message,
        (&b"\0details"[..]).into(),
        metadata,
    )
}

impl StreamingService<String> for Call {
    type Response = String;
    type ResponseStream = Messages;
    type Future = Soon<Result<Response<Messages>, Status>>;

    fn call(&mut self, request: Request<Streaming<String>>) -> Self::Future {
        let (metadata, _, messages) = request.into_parts();
        self.talk.seen.lock().push(metadata);
        let steps = Arc::clone(&self.talk.steps);
        let answers: Messages = match &*self.method {
            "Echo" => messages.boxed(),
            "Count" => stream::iter(1..)
                .then(move |number| count(Arc::clone(&steps), number))
                .boxed(),
            "FailLate" => stream::iter([Ok("begun".to_owned()), Err(failed())]).boxed(),
            "Hang" => Hanging::begin(&self.talk.hanging).boxed(),
            _ => return Box::pin(async { Err(failed()) }),
        };
        Box::pin(async { Ok(Response::new(answers)) })
    }
}

/// An answer that hangs, and is counted as long as it does.
struct Hanging(Arc<AtomicUsize>);

impl Hanging {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Stream for Hanging {
    type Item = Result<String, Status>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Pending
    }
}

async fn count(steps: Arc<Semaphore>, number: u32) -> Result<String, Status> {
    steps.acquire().await.unwrap().forget();
    Ok(number.to_string())
}

impl Talk {
    async fn answer(
        self,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<Body>, Infallible> {
        let path = request.uri().path();
        let method = path.trim_start_matches("/test.Talk/").to_owned();
        let call = Call { talk: self, method };
        let mut grpc = tonic::server::Grpc::new(Text);
        Ok(grpc.streaming(call, request).await)
    }

    async fn serve(self, listener: TcpListener) {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let talk = self.clone();
            let service = service_fn(move |request| talk.clone().answer(request));
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(socket), service));
        }
    }
}

/// A gate in front of it.
struct Through {
    world: World,
    talk: Talk,
    _stop: DropGuard,
}

impl Through {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let setup = Setup {
            upstream_url: Some(format!("http://{}", listener.local_addr().unwrap())),
            upstream: "protocol = \"http2\"".to_owned(),
            ..Setup::default()
        };
        let talk = Talk {
            seen: Arc::default(),
            steps: Arc::new(Semaphore::new(0)),
            hanging: Arc::default(),
        };
        let stop = CancellationToken::new();
        let serving = talk.clone().serve(listener);
        tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
        Self {
            world: setup.start().await,
            talk,
            _stop: stop.drop_guard(),
        }
    }

    /// A client of this user.
    async fn client(&self, user: &str) -> Client {
        let token = self.world.login(user).await;
        let mut client = self.stranger().await;
        client.bearer = Some(format!("Bearer {token}"));
        client
    }

    /// A client without a session.
    async fn stranger(&self) -> Client {
        let socket = TcpStream::connect(self.world.address()).await.unwrap();
        let client =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket));
        let (sender, connection) = client.await.unwrap();
        tokio::spawn(connection);
        Client {
            channel: Channel(sender),
            bearer: None,
        }
    }
}

/// A connection to the gate, as tonic wants one.
#[derive(Clone)]
struct Channel(SendRequest<Body>);

impl GrpcService<Body> for Channel {
    type ResponseBody = Incoming;
    type Error = hyper::Error;
    type Future = Soon<Result<http::Response<Incoming>, hyper::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

struct Client {
    channel: Channel,
    bearer: Option<String>,
}

impl Client {
    /// Calls a method with these messages; the answer streams.
    async fn call(
        &self,
        method: &'static str,
        messages: impl Stream<Item = String> + Send + 'static,
    ) -> Result<Response<Streaming<String>>, Status> {
        let origin = "http://gate.example".parse().unwrap();
        let mut grpc = tonic::client::Grpc::with_origin(self.channel.clone(), origin);
        grpc.ready().await.unwrap();
        let mut request = Request::new(messages);
        let metadata = request.metadata_mut();
        if let Some(bearer) = &self.bearer {
            metadata.insert("authorization", bearer.parse().unwrap());
        }
        for forged in ["x-wx-openid", "x_wx_openid", "x.wx.openid", "x-wx-unionid"] {
            metadata.insert(forged, "forged".parse().unwrap());
        }
        metadata.insert("x-own", "kept".parse().unwrap());
        let path = PathAndQuery::from_static(method);
        let called = tokio::time::timeout(STUCK, grpc.streaming(request, path, Text));
        called.await.expect("no answer")
    }

    /// Calls a method with one message; gives all messages of the answer, or the status.
    async fn ask(&self, method: &'static str, message: &str) -> Result<Vec<String>, Status> {
        let message = message.to_owned();
        let answer = self.call(method, stream::iter([message])).await?;
        let mut messages = answer.into_inner();
        let mut all = Vec::new();
        while let Some(message) = next(&mut messages).await? {
            all.push(message);
        }
        Ok(all)
    }
}

/// The next message; `None` at an end that is fine.
async fn next(messages: &mut Streaming<String>) -> Result<Option<String>, Status> {
    let next = tokio::time::timeout(STUCK, messages.message()).await;
    next.expect("no message came")
}

#[tokio::test]
async fn a_call_is_answered_and_the_server_knows_from_whom_it_is() {
    let through = Through::start().await;
    let alice = through.client("alice").await;
    let answer = alice.ask("/test.Talk/Echo", "你好").await;
    assert_eq!(answer.unwrap(), ["你好"]);
    let large = "x".repeat(3_000_000);
    assert_eq!(alice.ask("/test.Talk/Echo", &large).await.unwrap(), [large]);
    for seen in &*through.talk.seen.lock() {
        let all = |name| seen.get_all(name).iter().collect::<Vec<_>>();
        let openid = through.world.openid("alice");
        assert_eq!(all("x-wx-openid"), [&*openid]);
        assert_eq!(all("x-wx-appid"), [APPID]);
        assert_eq!(all("x-own"), ["kept"]);
        assert_eq!(all("te"), ["trailers"]);
        assert!(all("authorization").is_empty());
        assert!(!format!("{seen:?}").contains("forged"), "{seen:?}");
    }
}

#[tokio::test]
async fn a_call_without_a_session_does_not_reach_the_server() {
    let through = Through::start().await;
    let stranger = through.stranger().await;
    let refused = stranger.ask("/test.Talk/Echo", "hello").await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    assert!(through.talk.seen.lock().is_empty());
}

#[tokio::test]
async fn messages_come_one_by_one() {
    let through = Through::start().await;
    let alice = through.client("alice").await;
    through.talk.steps.add_permits(1);
    let counting = alice.call("/test.Talk/Count", stream::empty()).await;
    let mut counting = counting.unwrap().into_inner();
    for number in 1..=10 {
        // The next is sent only when this one has come.
        let came = next(&mut counting).await.unwrap();
        assert_eq!(came, Some(number.to_string()));
        through.talk.steps.add_permits(1);
    }
}

#[tokio::test]
async fn both_sides_talk_at_once() {
    let through = Through::start().await;
    let alice = through.client("alice").await;
    let (say, said) = mpsc::channel(1);
    let said = stream::unfold(said, async |mut said| Some((said.recv().await?, said)));
    say.send("first".to_owned()).await.unwrap();
    let talking = alice.call("/test.Talk/Echo", Box::pin(said)).await;
    let mut talking = talking.unwrap().into_inner();
    assert_eq!(next(&mut talking).await.unwrap().unwrap(), "first");
    for number in 0..10 {
        let message = format!("message {number}");
        say.send(message.clone()).await.unwrap();
        assert_eq!(next(&mut talking).await.unwrap(), Some(message));
    }
    drop(say);
    assert_eq!(next(&mut talking).await.unwrap(), None);
}

#[tokio::test]
async fn a_status_comes_with_all_that_belongs_to_it() {
    let through = Through::start().await;
    let alice = through.client("alice").await;
    // Without a message the status is in the head of the answer, after one it is in the trailers.
    for method in ["/test.Talk/Fail", "/test.Talk/FailLate"] {
        let answer = alice.call(method, stream::empty()).await;
        let status = match answer.map(Response::into_inner) {
            Err(status) => status,
            Ok(mut messages) => {
                assert_eq!(next(&mut messages).await.unwrap().unwrap(), "begun");
                next(&mut messages).await.unwrap_err()
            }
        };
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
        assert_eq!(status.message(), "not today: 今天不行");
        assert_eq!(status.details(), b"\0details");
        assert_eq!(status.metadata().get("x-reason").unwrap(), "testing");
    }
}

#[tokio::test]
async fn calls_run_at_once_and_one_that_is_given_up_disturbs_no_other() {
    let through = Through::start().await;
    let alice = through.client("alice").await;
    let bob = through.client("bob").await;
    let hangs = || through.talk.hanging.load(Ordering::SeqCst);
    let of_alice = alice.call("/test.Talk/Hang", stream::empty()).await;
    let of_bob = bob.call("/test.Talk/Hang", stream::empty()).await;
    until("both hang", || hangs() == 2).await;
    drop(of_alice);
    until("one is given up", || hangs() == 1).await;
    assert_eq!(
        bob.ask("/test.Talk/Echo", "still here").await.unwrap(),
        ["still here"]
    );
    drop(of_bob);
    until("none is left", || hangs() == 0).await;
}

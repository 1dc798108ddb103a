//! The smallest honest HTTP/1.1 server, for what is off the data path: administration, calls of the
//! app server to WeChat, the simulated WeChat, the demo app. It bounds what a client can make it
//! hold and stops when told.
//!
//! It refuses to know routes or identities, and it is not fast: requests on their way to the app
//! server go through the listener that was made for them.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::domain::limits;
use crate::domain::peer::Address;
use crate::server::tls::Tls;

/// Connections served at once; further ones wait in the listener's queue. A scraper, a developer
/// and a test suite together need a few dozen.
const MAX_CONNECTIONS: usize = 512;

/// Largest head of a request, in bytes. Also bounds what a connection buffers.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How long a client may take over the head of a request, the wait between two included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// From a connection to the end of its TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take over a body that is read whole.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long requests under way may go on after the order to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The wait after a failed accept: the usual reason is that all descriptors are in use, and to try
/// again at once would only heat the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Pieces of a streamed answer that may wait for a slow client.
const STREAM_PIECES: usize = 8;

/// Answers requests.
pub trait Handler: Clone + Send + Sync + 'static {
    /// The answer to this request. Dropped unfinished when the client goes away.
    fn handle(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<PlainBody>> + Send;
}

/// Serves until `stop`, then takes no more connections, lets requests under way end within two
/// seconds, and breaks off the rest. Upgraded connections are out of its hands: who upgraded one
/// ends it.
pub async fn serve<H: Handler>(listener: TcpListener, handler: H, stop: CancellationToken) {
    serve_with(listener, None, handler, stop).await;
}

/// The same over TLS, where it is given.
pub async fn serve_with<H: Handler>(
    listener: TcpListener,
    tls: Option<Tls>,
    handler: H,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_ended) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, peer)) => {
                    let served = Served { handler: handler.clone(), peer, stop: stop.clone() };
                    connections.spawn(served.take(stream, tls.clone()));
                }
                Err(_refused) => time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        connections.shutdown().await;
    }
}

/// Who connected: an extension of every request.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddress(pub SocketAddr);

/// What serves one connection.
struct Served<H> {
    handler: H,
    peer: SocketAddr,
    stop: CancellationToken,
}

impl<H: Handler> Served<H> {
    async fn take(self, stream: TcpStream, tls: Option<Tls>) {
        if stream.set_nodelay(true).is_err() {
            // The client has already gone.
            return;
        }
        let Some(tls) = tls else {
            return self.converse(stream).await;
        };
        let stop = self.stop.clone();
        let accepted = tokio::select! {
            accepted = tls.accept(stream, HANDSHAKE_TIMEOUT) => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok(stream) => self.converse(stream).await,
            Err(error) => error.report(Address::from(self.peer.ip())),
        }
    }

    async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let Self {
            handler,
            peer,
            stop,
        } = self;
        let service = service_fn(|mut request: Request<Incoming>| {
            let handler = handler.clone();
            request.extensions_mut().insert(PeerAddress(peer));
            async move { Ok::<_, Infallible>(handler.handle(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_header_size(MAX_HEAD_BYTES)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        // A connection ends badly by the client's doing or by a body broken off on purpose: neither
        // is news to anybody.
        drop(ended);
    }
}

/// The body of an answer: whole, streamed, passed on, or broken off.
#[derive(Debug)]
pub struct PlainBody(Shape);

enum Shape {
    Broken { before: Option<Bytes>, sent: bool },
    Passed(UnsyncBoxBody<Bytes, BrokenOff>),
    Stream(mpsc::Receiver<Bytes>),
    Whole(Option<Bytes>),
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken { .. } => "Broken",
            Self::Passed(_) => "Passed",
            Self::Stream(_) => "Stream",
            Self::Whole(_) => "Whole",
        })
    }
}

/// The body ends here without an end, and so does the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer was broken off")]
pub struct BrokenOff;

impl PlainBody {
    /// No body.
    pub fn empty() -> Self {
        Self(Shape::Whole(None))
    }

    /// These bytes, their number said beforehand.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Shape::Whole(Some(bytes.into()).filter(|b| !b.is_empty())))
    }

    /// These bytes and then a connection broken off, so that the client sees the answer begin and
    /// not end.
    pub fn broken_after(bytes: impl Into<Bytes>) -> Self {
        Self(Shape::Broken {
            before: Some(bytes.into()),
            sent: false,
        })
    }

    /// Somebody else's body, as it comes. Should it break off, so does this one.
    pub fn pass<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
    {
        Self(Shape::Passed(
            body.map_err(|_cause| BrokenOff).boxed_unsync(),
        ))
    }

    /// Whatever is sent, as it is sent; it ends when the sender is dropped.
    pub fn stream() -> (BodySender, Self) {
        let (sender, receiver) = mpsc::channel(STREAM_PIECES);
        (BodySender(sender), Self(Shape::Stream(receiver)))
    }
}

/// The sending end of a streamed body.
#[derive(Debug)]
pub struct BodySender(mpsc::Sender<Bytes>);

/// Nobody reads the streamed body any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client has gone")]
pub struct ClientGone;

impl BodySender {
    /// Sends a piece, waiting for a slow client.
    pub async fn send(&self, piece: impl Into<Bytes>) -> Result<(), ClientGone> {
        let sent = self.0.send(piece.into()).await;
        sent.map_err(|_piece| ClientGone)
    }
}

impl Body for PlainBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let piece = match &mut self.0 {
            Shape::Whole(bytes) => bytes.take(),
            Shape::Passed(body) => return Pin::new(body).poll_frame(context),
            Shape::Stream(receiver) => std::task::ready!(receiver.poll_recv(context)),
            Shape::Broken { before, sent } => match before.take() {
                Some(bytes) => Some(bytes),
                // hyper writes out what it has when a body makes it wait, and drops it when a body
                // fails: so wait once, for the beginning to be seen.
                None if !*sent => {
                    *sent = true;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                None => return Poll::Ready(Some(Err(BrokenOff))),
            },
        };
        Poll::Ready(piece.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Shape::Whole(bytes) => bytes.is_none(),
            Shape::Passed(body) => body.is_end_stream(),
            Shape::Broken { .. } | Shape::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Shape::Whole(None) => SizeHint::with_exact(0),
            Shape::Whole(Some(bytes)) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            Shape::Passed(body) => body.size_hint(),
            Shape::Broken { .. } | Shape::Stream(_) => SizeHint::default(),
        }
    }
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Response<PlainBody> {
    let mut response = Response::new(PlainBody::empty());
    *response.status_mut() = status;
    response
}

/// An answer of this content type.
pub fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: PlainBody,
) -> Response<PlainBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// An answer in JSON.
pub fn json(status: StatusCode, value: &serde_json::Value) -> Response<PlainBody> {
    let body = PlainBody::full(value.to_string());
    answer(status, "application/json", body)
}

/// An answer in plain text.
pub fn text(status: StatusCode, text: impl Into<String>) -> Response<PlainBody> {
    let body = PlainBody::full(text.into());
    answer(status, "text/plain; charset=utf-8", body)
}

/// Why a body could not be read. All three are the client's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The client went away, or broke the protocol.
    #[error("the body broke off")]
    Broken,
    /// More bytes than the caller wants.
    #[error("the body is too large")]
    TooLarge,
    /// It took longer than thirty seconds.
    #[error("the body took too long")]
    TooSlow,
}

impl BodyError {
    /// The status that says so.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

/// Reads a whole body of at most `max` bytes.
pub async fn read_body(mut body: Incoming, max: usize) -> Result<Bytes, BodyError> {
    let whole = Limited::new(&mut body, max).collect();
    let whole = time::timeout(BODY_TIMEOUT, whole).await;
    match whole {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            drain(body).await;
            Err(BodyError::TooLarge)
        }
        Ok(Err(_broken)) => Err(BodyError::Broken),
        Err(_elapsed) => Err(BodyError::TooSlow),
    }
}

/// Reads a little more of a body that nobody wants: a connection that is closed with bytes unread
/// is reset, and the client would not see the answer.
pub async fn drain(mut body: Incoming) {
    let drained = async {
        let mut left = limits::MAX_DRAINED_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            left = left.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
            if left == 0 {
                return;
            }
        }
    };
    // Over after the deadline as well as before.
    drop(time::timeout(limits::DRAIN_REFUSED_FOR, drained).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::SocketAddr;

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
}

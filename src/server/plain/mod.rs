//! The smallest honest HTTP/1.1 server, for what is off the data path: administration, calls of the
//! app server to WeChat, the simulated WeChat, the demo app. It bounds what a client can make it
//! hold, and for how long, and stops when told.
//!
//! It refuses to know routes or identities, and it is not fast: requests on their way to the app
//! server go through the listener that was made for them.

mod body;
mod patience;

pub use body::{BodySender, BrokenOff, ClientGone, PlainBody};

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::domain::limits;
use crate::domain::peer::Address;
use crate::server::plain::patience::Patient;
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
            .serve_connection(TokioIo::new(Patient::new(stream)), service)
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
mod tests;

//! One connection from its first byte to its last: HTTP/1 or HTTP/2, whichever the client speaks.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};

use crate::domain::peer::{Address, Peer};
use crate::server::Limits;
use crate::server::body::RequestBody;
use crate::server::state::{RequestGuard, State};
use crate::server::streams::{Sent, Streams};
use crate::server::watched::Watched;
use crate::telemetry::event;

/// Streams of one HTTP/2 connection at once. Mini programs have ten requests under way at most.
const MAX_STREAMS: u32 = 128;

/// How often the answers of an HTTP/2 connection are looked at within the time that a client may take
/// nothing of one.
const LOOKS: u32 = 4;

/// How long an HTTP/1 connection that is about to end may still bring the request that was already
/// on its way. Its answer says `Connection: close`.
const LINGER: Duration = Duration::from_millis(500);

/// Least size of a connection's buffer, in bytes: below, large bodies come in small pieces.
const MIN_BUFFER_BYTES: usize = 64 * 1024;

/// The number of header fields for which hyper needs no memory of its own.
const HYPER_MAX_HEADERS: usize = 100;

/// Whatever went wrong with a body while it was being sent.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Answers requests. One per worker, so it need not be shared between threads.
pub trait Handler: 'static {
    /// The body of its answers.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static;

    /// Answers one request. Has no way to fail: a refusal is an answer.
    fn answer(
        &self,
        request: Request<RequestBody>,
        peer: &Arc<Peer>,
    ) -> impl Future<Output = Response<Self::Body>>;
}

/// What all requests of one connection share.
struct Shared<H: Handler> {
    handler: Rc<H>,
    peer: Arc<Peer>,
    state: Arc<State>,
    limits: Rc<Limits>,
    streams: Streams<H::Body>,
}

/// Serves one connection until it ends.
pub(in crate::server) async fn serve<S, H>(
    socket: Watched<S>,
    peer: Peer,
    state: Arc<State>,
    (handler, limits): (Rc<H>, Rc<Limits>),
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let builder = builder(&limits);
    let shared = Rc::new(Shared {
        handler,
        peer: Arc::new(peer),
        state: Arc::clone(&state),
        limits,
        streams: Streams::default(),
    });
    let for_requests = Rc::clone(&shared);
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = &for_requests;
        // Before the future is first polled: from here on the connection is busy.
        let guard = shared.state.begin_request();
        let shared = Rc::clone(shared);
        async move { Ok::<_, Infallible>(shared.answer(request, guard).await) }
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    let untaken = shared.limits.body_idle_timeout;
    let mut look = std::pin::pin!(tokio::time::sleep(untaken / LOOKS));
    let mut looking = false;
    let mut ending = Ending::No;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = state.retired(), if matches!(ending, Ending::No) => {
                // HTTP/2 tells the client which requests still count; HTTP/1 cannot.
                let abrupt = state.is_draining() && !state.is_multiplexed();
                if abrupt {
                    ending = Ending::Lingering(Box::pin(tokio::time::sleep(LINGER)));
                } else {
                    ending = Ending::Asked;
                    connection.as_mut().graceful_shutdown();
                }
            }
            () = ending.lingered() => {
                ending = Ending::Asked;
                connection.as_mut().graceful_shutdown();
            }
            () = state.turned_multiplexed(), if !looking => looking = true,
            () = &mut look, if looking => {
                shared.streams.give_up_untaken(untaken);
                look.as_mut().reset(Instant::now() + untaken / LOOKS);
            }
        }
    };
    if let Err(error) = ended {
        report(&*error, &shared.peer.address());
    }
}

/// Something that was no HTTP is worth a line; a client that went away is not.
fn report(error: &(dyn std::error::Error + 'static), peer: &Address) {
    if error
        .downcast_ref::<hyper::Error>()
        .is_some_and(hyper::Error::is_parse)
    {
        tracing::info!(message = event::NOT_HTTP, %error, %peer);
    } else {
        tracing::debug!(message = event::CONNECTION_FAILED, %error, %peer);
    }
}

/// How far the end of a connection has come.
enum Ending {
    No,
    Lingering(Pin<Box<Sleep>>),
    Asked,
}

impl Ending {
    async fn lingered(&mut self) {
        match self {
            Self::Lingering(timer) => timer.await,
            Self::No | Self::Asked => std::future::pending().await,
        }
    }
}

impl<H: Handler> Shared<H> {
    async fn answer(
        &self,
        request: Request<Incoming>,
        guard: RequestGuard,
    ) -> Response<Sent<H::Body>> {
        let multiplexed = request.version() == Version::HTTP_2;
        if multiplexed {
            self.state.set_multiplexed();
        }
        // A client that waits for a go-ahead has sent nothing that would have to be read off.
        let drains = !multiplexed && !request.headers().contains_key(EXPECT);
        let timeout = self.limits.body_idle_timeout;
        let request = request.map(|body| RequestBody::new(body, timeout, drains));
        let progress = request.body().progress();
        let mut response = self.handler.answer(request, &self.peer).await;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.state.set_tunnelled();
        } else if !multiplexed && (!progress.is_finished() || self.state.is_draining()) {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response.map(|body| {
            if multiplexed {
                self.streams.add(body, guard)
            } else {
                Sent::alone(body, guard)
            }
        })
    }
}

fn builder(limits: &Limits) -> auto::Builder<LocalExecutor> {
    let mut builder = auto::Builder::new(LocalExecutor);
    builder
        .http1()
        .timer(TokioTimer::new())
        // The deadline of heads is the socket's; hyper's own would also cut the first idle time.
        .header_read_timeout(None)
        .max_buf_size(limits.max_header_bytes.saturating_mul(2).max(MIN_BUFFER_BYTES));
    if limits.max_headers != HYPER_MAX_HEADERS {
        builder.http1().max_headers(limits.max_headers);
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX));
    builder
}

/// Tasks of a connection stay on the thread of the connection.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F: Future<Output: 'static> + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

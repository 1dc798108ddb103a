//! One connection from its first byte to its last: HTTP/1 or HTTP/2, whichever the client speaks.
//!
//! An HTTP/1 connection without a request has no buffers: after a while without one it is taken
//! back from the HTTP library, and given to it again when the next bytes come. Most connections of
//! a mini program are idle most of the time.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep};

use crate::domain::peer::{Address, Peer};
use crate::server::Limits;
use crate::server::body::{Progress, RequestBody};
use crate::server::state::{Asked, RequestGuard, State};
use crate::server::streams::{Sent, Streams};
use crate::server::watched::Watched;
use crate::telemetry::event;

/// How an HTTP/2 connection begins (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The head of a frame (RFC 9113 §4.1).
const FRAME_HEAD_BYTES: usize = 9;

/// Streams of one HTTP/2 connection at once. Mini programs have ten requests under way at most.
const MAX_STREAMS: u32 = 128;

/// How often the answers of an HTTP/2 connection are looked at within the time that a client may take
/// nothing of one.
const LOOKS: u32 = 4;

/// How long an HTTP/1 connection that is about to end may still bring the request that was already
/// on its way. Its answer says `Connection: close`.
const LINGER: Duration = Duration::from_millis(500);

/// How long a connection that is at rest may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Size to which the buffer of a connection grows with a large body, in bytes. What is read at once is
/// written at once, and every write wakes somebody.
const BUFFER_BYTES: usize = 128 * 1024;

/// The number of header fields for which hyper needs no memory of its own.
const HYPER_MAX_HEADERS: usize = 100;

/// Whatever went wrong with a body while it was being sent.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Answers requests. One per worker, so it need not be shared between threads.
pub trait Handler: 'static {
    /// The body of its answers.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static;

    /// Answers one request. Has no way to fail: a refusal is an answer.
    fn answer<'a>(
        &'a self,
        request: Request<RequestBody>,
        peer: &'a Arc<Peer>,
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
    mut socket: Watched<S>,
    peer: Peer,
    state: Arc<State>,
    (handler, limits): (Rc<H>, Rc<Limits>),
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let shared = Rc::new(Shared {
        handler,
        peer: Arc::new(peer),
        state,
        limits,
        streams: Streams::default(),
    });
    let ended = match first_bytes(&mut socket, &shared.state).await {
        Ok(Some(Protocol::Http1)) => serve_http1(socket, &shared).await,
        // On the heap, as an idle connection of HTTP/1 should not be as large.
        Ok(Some(Protocol::Http2)) => Box::pin(serve_http2(socket, &shared)).await,
        // It said nothing, and so there is nothing to say about it.
        Ok(None) | Err(_) => Ok(()),
    };
    if let Err(error) = ended {
        report(&error, &shared.peer.address());
    }
}

/// What a client speaks.
enum Protocol {
    Http1,
    Http2,
}

/// Waits for as many bytes as tell what the client speaks; `None` when it says nothing.
async fn first_bytes<S>(socket: &mut Watched<S>, state: &State) -> io::Result<Option<Protocol>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut wanted = 1;
    while let Some(come) = early(socket, state, wanted).await? {
        let more = come.len() >= wanted;
        match come.split_at_checked(PREFACE.len()) {
            Some((PREFACE, first)) => match first.get(..FRAME_HEAD_BYTES) {
                Some(head) => return Ok(is_settings(head).then_some(Protocol::Http2)),
                None if more => wanted = come.len() + 1,
                None => return Ok(None),
            },
            None if PREFACE.starts_with(come) && more => wanted = come.len() + 1,
            _ => return Ok(Some(Protocol::Http1)),
        }
    }
    Ok(None)
}

/// Whether a frame with this head may be a client's first one: SETTINGS that acknowledges nothing
/// (RFC 9113 §3.4). The HTTP library would take any.
fn is_settings(head: &[u8]) -> bool {
    const SETTINGS: u8 = 4;
    const ACK: u8 = 1;
    matches!(head, [_, _, _, SETTINGS, flags, ..] if flags & ACK == 0)
}

/// Waits, without a buffer, until this many bytes have come or the client has closed; `None` when
/// the connection ends.
async fn early<'a, S>(
    socket: &'a mut Watched<S>,
    state: &State,
    wanted: usize,
) -> io::Result<Option<&'a Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    state.set_resting(true);
    let mut ending = Ending::default();
    let come = poll_fn(|context| {
        if let Poll::Ready(read) = socket.poll_early(context, wanted) {
            return Poll::Ready(read.map(Bytes::is_empty));
        }
        // There are no buffers to give back: only an end can be asked for.
        while ready!(ending.poll(state, context)) == Asked::Rest {}
        Poll::Ready(Ok(true))
    });
    let nothing = come.await?;
    state.set_resting(false);
    state.ask_again();
    if nothing {
        // Whether the client hears it or not.
        drop(tokio::time::timeout(GOODBYE, socket.shutdown()).await);
        return Ok(None);
    }
    Ok(Some(socket.early()))
}

/// Serves HTTP/1, with rests in between.
async fn serve_http1<S, H>(
    mut socket: Watched<S>,
    shared: &Rc<Shared<H>>,
) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let builder = http1_builder(&shared.limits);
    while let Ok(Some(_come)) = early(&mut socket, &shared.state, 1).await {
        let connection = builder
            .serve_connection(TokioIo::new(socket), requests(Rc::clone(shared)))
            .with_upgrades();
        // On the heap, so that it takes no room while the connection rests.
        let mut connection = Box::pin(connection);
        let mut ending = Ending::default();
        let state = &shared.state;
        let turn = poll_fn(|context| poll_turn(connection.as_mut(), &mut ending, state, context));
        if let Some(ended) = turn.await {
            return ended;
        }
        let Some(parts) = Pin::into_inner(connection).into_parts() else {
            return Ok(());
        };
        socket = parts.io.into_inner();
        socket.unread(parts.read_buf);
    }
    Ok(())
}

/// One turn of an HTTP/1 connection: to its end, or to where it rests.
fn poll_turn<S, R>(
    mut connection: Pin<&mut http1::UpgradeableConnection<TokioIo<Watched<S>>, R>>,
    ending: &mut Ending,
    state: &State,
    context: &mut Context<'_>,
) -> Poll<Option<Result<(), hyper::Error>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    R: HttpService<Incoming, Error = Infallible>,
    R::ResBody: Body<Error = BoxError> + 'static,
{
    loop {
        if let Poll::Ready(ended) = connection.as_mut().poll(context) {
            return Poll::Ready(Some(ended));
        }
        match ready!(ending.poll(state, context)) {
            Asked::End => connection.as_mut().graceful_shutdown(),
            Asked::Rest => return Poll::Ready(None),
        }
    }
}

/// Serves HTTP/2.
async fn serve_http2<S, H>(socket: Watched<S>, shared: &Rc<Shared<H>>) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    shared.state.set_multiplexed();
    let builder = http2_builder(&shared.limits);
    let connection = builder.serve_connection(TokioIo::new(socket), requests(Rc::clone(shared)));
    let mut connection = std::pin::pin!(connection);
    let untaken = shared.limits.body_idle_timeout;
    let mut look = std::pin::pin!(tokio::time::sleep(untaken / LOOKS));
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => return ended,
            asked = poll_fn(|context| shared.state.poll_asked(context)) => match asked {
                // HTTP/2 tells the client which requests still count.
                Asked::End => connection.as_mut().graceful_shutdown(),
                Asked::Rest => {}
            },
            () = &mut look => {
                shared.streams.give_up_untaken(untaken);
                look.as_mut().reset(Instant::now() + untaken / LOOKS);
            }
        }
    }
}

/// Answers the requests of one connection. Has no name for its futures: a boxed one would cost an
/// allocation for each request.
fn requests<H: Handler>(
    shared: Rc<Shared<H>>,
) -> impl HttpService<Incoming, ResBody = Sent<H::Body>, Error = Infallible, Future: 'static> {
    service_fn(move |request| {
        // Before the future is first polled: from here on the connection is busy.
        let guard = shared.state.begin_request();
        let shared = Rc::clone(&shared);
        async move { Ok(shared.answer(request, guard).await) }
    })
}

/// Something that was no HTTP is worth a line; a client that went away is not.
fn report(error: &hyper::Error, peer: &Address) {
    if error.is_parse() {
        tracing::info!(message = event::NOT_HTTP, %error, %peer);
    } else {
        tracing::debug!(message = event::CONNECTION_FAILED, %error, %peer);
    }
}

/// The end of a connection, put off or not. When the process ends, an HTTP/1 client cannot be told
/// which request still counts, so what is on its way is waited for.
#[derive(Default)]
struct Ending {
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Ending {
    /// What the connection is to do now, of what is asked of it.
    fn poll(&mut self, state: &State, context: &mut Context<'_>) -> Poll<Asked> {
        while let Poll::Ready(asked) = state.poll_asked(context) {
            match asked {
                Asked::Rest if self.lingering.is_some() || !state.can_rest() => {}
                Asked::End if state.is_draining() && !state.is_multiplexed() => {
                    self.lingering = Some(Box::pin(tokio::time::sleep(LINGER)));
                }
                asked => return Poll::Ready(asked),
            }
        }
        let Some(lingering) = &mut self.lingering else {
            return Poll::Pending;
        };
        ready!(lingering.as_mut().poll(context));
        self.lingering = None;
        Poll::Ready(Asked::End)
    }
}

impl<H: Handler> Shared<H> {
    /// Hands a request over, and then waits with no more than the handler wants to keep.
    fn answer(
        &self,
        request: Request<Incoming>,
        guard: RequestGuard,
    ) -> impl Future<Output = Response<Sent<H::Body>>> {
        let multiplexed = request.version() == Version::HTTP_2;
        // A client that waits for a go-ahead has sent nothing that would have to be read off.
        let drains = !multiplexed && !request.headers().contains_key(EXPECT);
        let timeout = self.limits.body_idle_timeout;
        let request = request.map(|body| RequestBody::new(body, timeout, drains));
        let progress = request.body().progress();
        let answering = self.handler.answer(request, &self.peer);
        answering.map(move |response| self.finish(response, guard, multiplexed, &progress))
    }

    fn finish(
        &self,
        mut response: Response<H::Body>,
        guard: RequestGuard,
        multiplexed: bool,
        progress: &Progress,
    ) -> Response<Sent<H::Body>> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.state.set_tunnelled();
        } else if !multiplexed && (!progress.is_finished() || self.state.is_draining()) {
            self.state.set_closing();
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

fn http1_builder(limits: &Limits) -> http1::Builder {
    // A head that is a little too large is to be refused with a problem document, so it is read.
    let max_header_bytes = limits.max_header_bytes.saturating_mul(2);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // The deadline of heads is the socket's; hyper's own would also cut the first idle time.
        .header_read_timeout(None)
        .max_header_size(max_header_bytes)
        .max_buf_size(max_header_bytes.max(BUFFER_BYTES));
    if limits.max_headers != HYPER_MAX_HEADERS {
        builder.max_headers(limits.max_headers);
    }
    builder
}

fn http2_builder(limits: &Limits) -> http2::Builder<LocalExecutor> {
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
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

//! HTTP/2 with a client. hyper speaks it; the requests and answers of one connection are put together
//! with what is known of the connection here.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;

use futures_util::FutureExt as _;
use http::HeaderValue;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::domain::forwarded::X_REQUEST_ID;
use crate::domain::peer::Address;
use crate::domain::request::Request;
use crate::domain::response::Response;
use crate::server::Limits;
use crate::server::body::RequestBody;
use crate::server::connection::{Handler, Shared};
use crate::server::state::RequestGuard;
use crate::server::streams::{Sent, Streams};
use crate::server::watched::Watched;
use crate::telemetry::event;

/// Streams of one connection at once. Mini programs have ten requests under way at most.
const MAX_STREAMS: u32 = 128;

/// How often the answers of a connection are looked at within the time that a client may take nothing
/// of one.
const LOOKS: u32 = 4;

/// One connection, and the answers on their way over it.
struct Multiplexed<H: Handler> {
    shared: Rc<Shared<H>>,
    streams: Streams<H::Body>,
}

/// Serves one connection until it ends.
pub(in crate::server) async fn serve<S, H>(socket: Watched<S>, shared: Rc<Shared<H>>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Handler,
{
    shared.state().set_multiplexed();
    let multiplexed = Rc::new(Multiplexed {
        shared: Rc::clone(&shared),
        streams: Streams::default(),
    });
    let builder = builder(shared.limits());
    let requests = requests(Rc::clone(&multiplexed));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), requests));
    let untaken = shared.limits().body_idle_timeout;
    let mut look = pin!(tokio::time::sleep(untaken / LOOKS));
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                return ended.unwrap_or_else(|error| report(&error, &shared.peer().address()));
            }
            // HTTP/2 tells the client which requests still count.
            () = poll_fn(|context| shared.state().poll_end_asked(context)) => {
                connection.as_mut().graceful_shutdown();
            }
            () = &mut look => {
                multiplexed.streams.give_up_untaken(untaken);
                look.as_mut().reset(Instant::now() + untaken / LOOKS);
            }
        }
    }
}

/// Answers the requests of one connection. Has no name for its futures: a boxed one would cost an
/// allocation for each request.
fn requests<H: Handler>(
    multiplexed: Rc<Multiplexed<H>>,
) -> impl HttpService<Incoming, ResBody = Sent<H::Body>, Error = Infallible, Future: 'static> {
    service_fn(move |request| {
        // Before the future is first polled: from here on the connection is busy.
        let guard = multiplexed.shared.begin_request();
        let multiplexed = Rc::clone(&multiplexed);
        async move { Ok(multiplexed.answer(request, guard).await) }
    })
}

impl<H: Handler> Multiplexed<H> {
    /// Hands a request over, and then waits with no more than the handler wants to keep.
    fn answer(
        &self,
        request: http::Request<Incoming>,
        guard: RequestGuard,
    ) -> impl Future<Output = http::Response<Sent<H::Body>>> {
        let timeout = self.shared.limits().body_idle_timeout;
        let request = request.map(|body| RequestBody::multiplexed(body, timeout));
        let request = Request::from(request);
        let answered = self.shared.handler().answer(request, self.shared.peer());
        answered.map(move |response| as_http2(response.map(|body| self.streams.add(body, guard))))
    }
}

/// The form in which hyper sends an answer.
fn as_http2<B>(answer: Response<B>) -> http::Response<B> {
    let mut headers = answer.passed.to_map();
    for (name, value) in answer.own {
        headers.append(name, value);
    }
    let request_id = answer.request_id.as_ref();
    if let Some(Ok(request_id)) = request_id.map(|id| HeaderValue::from_str(id.as_str())) {
        headers.append(X_REQUEST_ID, request_id);
    }
    let mut response = http::Response::new(answer.body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = headers;
    response
}

/// Something that was no HTTP is worth a line; a client that went away is not.
fn report(error: &hyper::Error, peer: &Address) {
    if error.is_parse() {
        tracing::info!(message = event::NOT_HTTP, %error, %peer);
    } else {
        tracing::debug!(message = event::CONNECTION_FAILED, %error, %peer);
    }
}

fn builder(limits: &Limits) -> http2::Builder<LocalExecutor> {
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

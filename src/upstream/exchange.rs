//! One request to an app server and its answer.
//!
//! A request is repeated once at most, and only when a kept connection ended before the app server
//! had sent a byte, which is how it looks when the app server closed the connection just then; and
//! only if nothing of the request was written, or if it is a GET, HEAD or OPTIONS without a body,
//! which may be repeated (RFC 9110 §9.2.2). Anything else that may have arrived is never sent twice.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode, request};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::domain::hop;
use crate::domain::identity::Outbound;
use crate::domain::websocket::WebSocketRequest;
use crate::upstream::answer::AnswerBody;
use crate::upstream::pool::{Connection, Pool, Shared};
use crate::upstream::request::{SendBody, Sending, Waiting, copy_head, finish_head, is_repeatable};
use crate::upstream::tunnel::{self, Tunnel};
use crate::upstream::{BoxError, Error, Index, Settings};

/// Sends requests to the app servers, from one worker.
pub struct Exchange<B> {
    pools: Vec<Rc<Pool<B>>>,
}

/// What an app server answered.
pub enum Answered<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + 'static,
{
    /// An answer, its body still to come.
    Answer(Response<AnswerBody<B>>),
    /// The WebSocket is open.
    Tunnel(Response<()>, Tunnel),
}

/// A request that came to nothing.
struct Failed<B> {
    error: Error,
    /// The request back, when no byte of it was written.
    unsent: Option<Request<SendBody<B>>>,
}

impl<B> Exchange<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + 'static,
{
    /// For these app servers. Must be made on the thread that uses it, inside a local task set.
    pub fn new(upstreams: &[Arc<Shared>]) -> Self {
        Self {
            pools: upstreams
                .iter()
                .map(|shared| Pool::new(Arc::clone(shared)))
                .collect(),
        }
    }

    /// Sends a request to app server number `upstream`, and waits for the head of the answer.
    pub async fn send(&self, upstream: Index, request: Outbound<B>) -> Result<Answered<B>, Error> {
        let pool = self.pools.get(upstream.get()).ok_or(Error::Overloaded)?;
        let settings = pool.shared().settings();
        let (mut parts, body, websocket) = request.into_parts();
        let place = websocket
            .as_ref()
            .map(|_| pool.shared().tunnel())
            .transpose()?;
        finish_head(&mut parts, &body, settings, websocket.is_some());
        let repeatable = is_repeatable(&parts, &body) && websocket.is_none();
        let sending = Sending::begin();
        let request = Request::from_parts(parts, SendBody::new(body, sending.clone()));
        let (response, connection) = deliver(pool, request, &sending, repeatable).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let (Some(websocket), Some(place)) = (websocket, place) else {
                return Err(Error::UnaskedUpgrade);
            };
            return open_tunnel(response, &websocket, |upgraded| {
                Tunnel::new(upgraded, settings.stream_idle_timeout, place)
            });
        }
        Ok(Answered::Answer(finish_answer(response, connection, pool)))
    }
}

/// Sends the request, and once more where that is known to be safe.
async fn deliver<B>(
    pool: &Pool<B>,
    request: Request<SendBody<B>>,
    sending: &Sending,
    repeatable: bool,
) -> Result<(Response<Incoming>, Connection<B>), Error>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + 'static,
{
    let mut connection = pool.take().await?;
    let copy = (connection.reused && repeatable).then(|| copy_head(&request));
    let failed = match attempt(&mut connection, request, sending, pool.shared().settings()).await {
        Ok(response) => return Ok((response, connection)),
        Err(failed) => failed,
    };
    let Some(again) = once_more(&connection, &failed.error, (failed.unsent, copy), sending) else {
        return Err(failed.error);
    };
    drop(connection);
    let mut connection = pool.take_new().await?;
    match attempt(&mut connection, again, sending, pool.shared().settings()).await {
        Ok(response) => Ok((response, connection)),
        Err(failed) => Err(failed.error),
    }
}

/// The request to send again, if it is known that the app server did not act on it.
fn once_more<B>(
    connection: &Connection<B>,
    error: &Error,
    (unsent, copy): (Option<Request<SendBody<B>>>, Option<request::Parts>),
    sending: &Sending,
) -> Option<Request<SendBody<B>>> {
    if !connection.reused || !matches!(error, Error::Broken(_)) {
        return None;
    }
    let empty = |parts| Request::from_parts(parts, SendBody::empty(sending.clone()));
    let unanswered = copy.filter(|_| !connection.heard.anything());
    unsent.or_else(|| unanswered.map(empty))
}

async fn attempt<B>(
    connection: &mut Connection<B>,
    request: Request<SendBody<B>>,
    sending: &Sending,
    settings: &Settings,
) -> Result<Response<Incoming>, Failed<B>>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + 'static,
{
    connection.heard.forget();
    let mut answer = std::pin::pin!(connection.sender.try_send_request(request));
    let mut timer = std::pin::pin!(tokio::time::sleep(settings.response_timeout));
    loop {
        tokio::select! {
            biased;
            answered = &mut answer => return answered.map_err(|mut failed| Failed {
                unsent: failed.take_message(),
                error: Error::Broken(failed.into_error()),
            }),
            () = &mut timer => match sending.waiting() {
                Waiting::Client => timer.as_mut().reset(Instant::now() + settings.response_timeout),
                Waiting::AppServer(since) => {
                    let until = since + settings.response_timeout;
                    if until <= Instant::now() {
                        return Err(Failed { error: Error::ResponseTimeout, unsent: None });
                    }
                    timer.as_mut().reset(until);
                }
            },
        }
    }
}

fn open_tunnel<B>(
    mut response: Response<Incoming>,
    websocket: &WebSocketRequest,
    tunnel: impl FnOnce(hyper::upgrade::OnUpgrade) -> Tunnel,
) -> Result<Answered<B>, Error>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + 'static,
{
    if !tunnel::accepts(response.headers(), websocket) {
        return Err(Error::UnaskedUpgrade);
    }
    let upgraded = hyper::upgrade::on(&mut response);
    let (mut parts, _empty) = response.into_parts();
    parts.extensions.clear();
    Ok(Answered::Tunnel(
        Response::from_parts(parts, ()),
        tunnel(upgraded),
    ))
}

/// Takes out of the head what belongs to the app server's connection.
fn finish_answer<B>(
    response: Response<Incoming>,
    mut connection: Connection<B>,
    pool: &Rc<Pool<B>>,
) -> Response<AnswerBody<B>>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + 'static,
{
    let (mut parts, body) = response.into_parts();
    if let Some(promised) = hop::keep_alive_timeout(&parts.headers) {
        // A fifth less than promised: the connection may be on its way to being closed.
        let promised = promised.saturating_mul(4) / 5;
        connection.keep = pool.shared().settings().idle_timeout.min(promised);
    }
    if parts.headers.contains_key(TRANSFER_ENCODING) {
        // The chunks say how long the answer is, whatever else does (RFC 9112 §6.3).
        parts.headers.remove(CONTENT_LENGTH);
    }
    hop::remove(&mut parts.headers);
    parts.extensions.clear();
    Response::from_parts(parts, AnswerBody::new(body, connection, Rc::clone(pool)))
}

impl<B> fmt::Debug for Exchange<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exchange(..)")
    }
}

impl<B> fmt::Debug for Answered<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answered(..)")
    }
}

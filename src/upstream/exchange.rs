//! One request to an app server and its answer.
//!
//! A request is repeated once at most, and only when a kept connection ended before the app server
//! had sent a byte, which is how it looks when the app server closed the connection just then; and
//! only if nothing of the request was written, or if it is a GET, HEAD or OPTIONS without a body,
//! which may be repeated (RFC 9110 §9.2.2). Anything else that may have arrived is never sent twice.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body::Body;
use tokio::time::Instant;

use crate::domain::identity::{Outbound, OutboundParts};
use crate::domain::websocket::WebSocketRequest;
use crate::upstream::answer::AnswerBody;
use crate::upstream::http1::body::Decoder;
use crate::upstream::http1::fault::Fault;
use crate::upstream::http1::head::AnswerHead;
use crate::upstream::http1::{
    Framing, Outgoing, Reading, Sending, Terms, Waiting, Wire, write_head,
};
use crate::upstream::pool::{Connection, Pool, Shared};
use crate::upstream::tunnel::{self, Tunnel};
use crate::upstream::{BoxError, Error, Index, Settings};

/// Interim answers before the final one. Each says only that work goes on.
const MAX_INTERIM: usize = 16;

/// Room for the head of a request, in bytes: enough for most.
const HEAD_BYTES: usize = 2048;

/// Heads whose memory is kept.
const MAX_SPARE_HEADS: usize = 16;

/// Sends requests to the app servers, from one worker.
pub struct Exchange {
    pools: Vec<Rc<Pool>>,
    heads: SpareHeads,
}

/// Memory of heads that have been written, for those to come.
#[derive(Default)]
struct SpareHeads(RefCell<Vec<Vec<u8>>>);

impl SpareHeads {
    fn take(&self) -> Vec<u8> {
        let spare = self.0.borrow_mut().pop();
        spare.unwrap_or_else(|| Vec::with_capacity(HEAD_BYTES))
    }

    fn give_back(&self, mut head: Vec<u8>) {
        let mut spare = self.0.borrow_mut();
        if spare.len() < MAX_SPARE_HEADS && head.capacity() <= 2 * HEAD_BYTES {
            head.clear();
            spare.push(head);
        }
    }
}

/// What an app server answered.
#[derive(Debug)]
pub enum Answered {
    /// An answer, its body still to come.
    Answer(Response<AnswerBody>),
    /// The WebSocket is open.
    Tunnel(Response<()>, Tunnel),
}

/// A request on its way, and what its answer depends on.
struct Asking<B> {
    sending: Sending<B>,
    method: Method,
    websocket: Option<WebSocketRequest>,
    /// Whether sending it twice is the same as sending it once, as far as HTTP can tell (RFC 9110
    /// §9.2.1).
    repeatable: bool,
    /// Interim answers so far.
    interim: usize,
}

/// A request that came to nothing.
struct Failed {
    error: Error,
    /// Whether the app server had begun to answer.
    heard: bool,
}

impl Exchange {
    /// For these app servers. Must be made on the thread that uses it, inside a local task set.
    pub fn new(upstreams: &[Arc<Shared>]) -> Self {
        Self {
            pools: upstreams
                .iter()
                .map(|shared| Pool::new(Arc::clone(shared)))
                .collect(),
            heads: SpareHeads::default(),
        }
    }

    /// Sends a request to app server number `upstream`, and waits for the head of the answer. The
    /// time for that runs from `now` on.
    pub async fn send<B>(
        &self,
        upstream: Index,
        request: Outbound<B>,
        now: Instant,
    ) -> Result<Answered, Error>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static,
    {
        let pool = self.pools.get(upstream.get()).ok_or(Error::Overloaded)?;
        let settings = pool.shared().settings();
        let head = self.heads.take();
        let mut asking = Asking::new(request.into_parts(), head, settings, now);
        let Some(websocket) = asking.websocket.take() else {
            let (head, connection) = deliver(pool, &mut asking, now).await?;
            return match head.status {
                StatusCode::SWITCHING_PROTOCOLS => Err(Error::UnaskedUpgrade),
                _ => Ok(Answered::Answer(
                    self.answer(pool, head, connection, asking),
                )),
            };
        };
        let place = pool.shared().tunnel()?;
        let (head, connection) = deliver(pool, &mut asking, now).await?;
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Answered::Answer(
                self.answer(pool, head, connection, asking),
            ));
        }
        if !tunnel::accepts(&head.headers, &websocket) {
            return Err(Error::UnaskedUpgrade);
        }
        // From here on it counts as a tunnel and no longer as a connection.
        let tunnel = Tunnel::new(connection.wire, settings.stream_idle_timeout, place);
        let mut response = response(head, ());
        tunnel::confirm(response.headers_mut());
        Ok(Answered::Tunnel(response, tunnel))
    }

    /// The answer to whoever asked; its body goes on by itself.
    fn answer<B>(
        &self,
        pool: &Rc<Pool>,
        mut head: AnswerHead,
        mut connection: Connection,
        asking: Asking<B>,
    ) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static,
    {
        let idle_timeout = pool.shared().settings().idle_timeout;
        if let Some(promised) = head.promised {
            // A fifth less than promised: the connection may be on its way to being closed.
            connection.keep = idle_timeout.min(promised.saturating_mul(4) / 5);
        }
        let decoder = std::mem::replace(&mut head.body, Decoder::Done);
        let reading = Reading::new(decoder, pool.shared().settings().stream_idle_timeout);
        let sending = asking.sending;
        let reusable = head.keep_alive && !sending.is_refused();
        let home = reusable.then(|| Rc::clone(pool));
        let body = if sending.goes_on() {
            AnswerBody::relayed(reading, connection, sending, home)
        } else {
            self.heads.give_back(sending.into_head());
            AnswerBody::direct(reading, connection, home)
        };
        response(head, body)
    }
}

impl<B> Asking<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    fn new(
        request: OutboundParts<B>,
        mut bytes: Vec<u8>,
        settings: &Settings,
        now: Instant,
    ) -> Self {
        let OutboundParts {
            head,
            body,
            websocket,
            own,
            takes_trailers: _,
        } = request;
        let length = if body.is_end_stream() {
            Some(0)
        } else {
            body.size_hint().exact()
        };
        let terms = Terms {
            framing: Framing::of(length, &head),
            upgrade: websocket.is_some(),
        };
        write_head(&mut bytes, &head, &own, terms, settings);
        let safe = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        Self {
            sending: Sending::new(Outgoing::with_head(bytes), body, terms.framing, now),
            method: head.method,
            repeatable: safe && length == Some(0) && websocket.is_none(),
            websocket,
            interim: 0,
        }
    }

    /// Writes and reads on until the head of the final answer is there.
    fn poll_head(
        &mut self,
        wire: &mut Wire,
        timeout: Duration,
        context: &mut Context<'_>,
    ) -> Poll<Result<AnswerHead, Failed>> {
        if let Poll::Ready(Err(error)) = self.sending.poll_on(wire.socket(), context) {
            return Poll::Ready(Err(self.failed(Error::Request(error), wire)));
        }
        loop {
            match self.take_head(wire) {
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Err(self.failed(fault.into(), wire))),
            }
            let ended = match wire.poll_read(context) {
                Poll::Ready(Ok(0)) => Fault::Closed,
                Poll::Ready(Ok(_some)) => continue,
                Poll::Ready(Err(error)) => Fault::Io(error),
                Poll::Pending => break,
            };
            return Poll::Ready(Err(self.failed(ended.into(), wire)));
        }
        let Waiting::AppServer(since) = self.sending.waiting() else {
            return Poll::Pending;
        };
        ready!(wire.poll_deadline(context, since + timeout));
        Poll::Ready(Err(self.failed(Error::ResponseTimeout, wire)))
    }

    /// The head of the final answer, if it is there. Interim ones say nothing that a client needs.
    fn take_head(&mut self, wire: &mut Wire) -> Result<Option<AnswerHead>, Fault> {
        while !wire.buffer().is_empty() {
            let Some(head) = AnswerHead::take(wire.buffer(), &self.method)? else {
                return Ok(None);
            };
            let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
            if !head.status.is_informational() || switches {
                return Ok(Some(head));
            }
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Err(Fault::TooManyInterim);
            }
        }
        Ok(None)
    }

    fn failed(&self, error: Error, wire: &mut Wire) -> Failed {
        Failed {
            error,
            heard: self.interim > 0 || !wire.buffer().is_empty(),
        }
    }

    /// Whether the request may be sent again, after it failed on this connection.
    fn may_repeat(&self, connection: &Connection, failed: &Failed) -> bool {
        let ended = matches!(failed.error, Error::Broken(Fault::Closed | Fault::Io(_)));
        let harmless = self.repeatable || self.sending.is_untouched();
        connection.reused && ended && !failed.heard && harmless
    }
}

/// Sends the request, and once more where that is known to be safe.
async fn deliver<B>(
    pool: &Pool,
    asking: &mut Asking<B>,
    now: Instant,
) -> Result<(AnswerHead, Connection), Error>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let timeout = pool.shared().settings().response_timeout;
    let mut connection = pool.take(now).await?;
    match poll_fn(|context| asking.poll_head(&mut connection.wire, timeout, context)).await {
        Ok(head) => return Ok((head, connection)),
        Err(failed) if asking.may_repeat(&connection, &failed) => {}
        Err(failed) => return Err(failed.error),
    }
    drop(connection);
    let mut connection = pool.take_new().await?;
    asking.sending.rewind();
    match poll_fn(|context| asking.poll_head(&mut connection.wire, timeout, context)).await {
        Ok(head) => Ok((head, connection)),
        Err(failed) => Err(failed.error),
    }
}

fn response<T>(head: AnswerHead, body: T) -> Response<T> {
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exchange(..)")
    }
}

//! One request over HTTP/1.1 and its answer.
//!
//! A request is repeated once at most, and only when a kept connection ended before the app server
//! had sent a byte, which is how it looks when the app server closed the connection just then; and
//! only if nothing of the request was written, or if it is a GET, HEAD or OPTIONS without a body,
//! which may be repeated (RFC 9110 §9.2.2). Anything else that may have arrived is never sent twice.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Method, StatusCode};
use http_body::Body as _;
use tokio::time::Instant;

use crate::codec::{Decoder, Fault, Outgoing};
use crate::domain::identity::OutboundParts;
use crate::domain::response::Response;
use crate::upstream::answer::AnswerBody;
use crate::upstream::exchange::Answered;
use crate::upstream::handshake::{self, Offer};
use crate::upstream::http1::head::AnswerHead;
use crate::upstream::http1::pool::{Connection, Pool};
use crate::upstream::http1::{Framing, Reading, Sending, Terms, Waiting, Wire, write_head};
use crate::upstream::tunnel::Tunnel;
use crate::upstream::{Error, Sendable, fault};

/// Interim answers before the final one. Each says only that work goes on.
const MAX_INTERIM: usize = 16;

/// A request on its way, and what its answer depends on.
struct Asking<B> {
    sending: Sending<B>,
    method: Method,
    /// Whether sending it twice is the same as sending it once, as far as HTTP can tell (RFC 9110
    /// §9.2.1).
    repeatable: bool,
    /// Whether its connection may carry another request. Not one that carried a handshake, whatever
    /// became of that: the two sides may differ on whether it is a connection of HTTP still.
    leaves_connection: bool,
    /// Interim answers so far.
    interim: usize,
}

/// A request that came to nothing.
struct Failed {
    error: Error,
    /// Whether the app server had begun to answer.
    heard: bool,
}

/// A request that has been written down for an app server, and waits to be sent.
pub(in crate::upstream) struct Written<B> {
    pool: Rc<Pool>,
    asking: Asking<B>,
    offer: Option<Box<Offer>>,
    now: Instant,
}

impl<B> Written<B>
where
    B: Sendable,
{
    /// Writes a request down. The time for its answer runs from `now` on.
    pub(in crate::upstream) fn new(
        pool: &Rc<Pool>,
        mut request: OutboundParts<B>,
        now: Instant,
    ) -> Self {
        let websocket = request.websocket.take();
        let fields = &request.head.fields;
        let offer = websocket.map(|asked| Box::new(Offer::of(&asked, fields)));
        let kind = match offer {
            Some(_) => Kind::WebSocket,
            None => Kind::Plain,
        };
        Self {
            asking: Asking::new(request, kind, pool, now),
            pool: Rc::clone(pool),
            offer,
            now,
        }
    }

    /// Sends it, and waits for the head of the answer.
    pub(in crate::upstream) async fn send(mut self: Box<Self>) -> Result<Answered, Error> {
        let shared = self.pool.shared();
        let place = self.offer.as_ref().map(|_| shared.tunnel());
        let place = place.transpose()?;
        let (head, connection) = deliver(&self.pool, &mut self.asking, self.now).await?;
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            let answer = answer(&self.pool, head, connection, self.asking);
            return Ok(Answered::Answer(answer));
        }
        match (self.offer, place) {
            (Some(offer), Some(place)) if head.switches && offer.is_taken_by(&head.fields) => {
                // From here on it counts as a tunnel and no longer as a connection.
                let idle_timeout = self.pool.shared().settings().stream_idle_timeout;
                let tunnel = Tunnel::new(connection.wire, idle_timeout, place);
                let mut response = response(head, ());
                handshake::confirm(&mut response);
                Ok(Answered::Tunnel(response, tunnel))
            }
            _ => Err(Error::UnaskedUpgrade),
        }
    }
}

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    WebSocket,
}

impl<B> Asking<B>
where
    B: Sendable,
{
    fn new(request: OutboundParts<B>, kind: Kind, pool: &Pool, now: Instant) -> Self {
        let mut bytes = pool.heads().take();
        let OutboundParts {
            head, body, own, ..
        } = request;
        let length = if body.is_end_stream() {
            Some(0)
        } else {
            body.size_hint().exact()
        };
        let terms = Terms {
            framing: Framing::of(length, &head),
            upgrade: kind == Kind::WebSocket,
        };
        write_head(&mut bytes, &head, &own, terms, pool.shared().settings());
        let safe = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        Self {
            sending: Sending::new(Outgoing::with_head(bytes), body, terms.framing, pool, now),
            method: head.method,
            repeatable: safe && length == Some(0) && kind == Kind::Plain,
            leaves_connection: kind == Kind::Plain,
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
        let ended = matches!(
            failed.error,
            Error::Broken(fault::Fault::Http1(Fault::Closed | Fault::Io(_)))
        );
        let harmless = self.repeatable || self.sending.is_untouched();
        connection.reused && ended && !failed.heard && harmless
    }
}

/// Sends the request, and once more where that is known to be safe.
async fn deliver<B>(
    pool: &Pool,
    asking: &mut Asking<B>,
    now: Instant,
) -> Result<(AnswerHead, Box<Connection>), Error>
where
    B: Sendable,
{
    let timeout = pool.shared().settings().response_timeout;
    let mut connection = pool.take(now).await?;
    match poll_fn(|context| asking.poll_head(&mut connection.wire, timeout, context)).await {
        Ok(head) => return Ok((head, connection)),
        Err(failed) if asking.may_repeat(&connection, &failed) => {}
        Err(failed) => return Err(failed.error),
    }
    drop(connection);
    let mut connection = Box::pin(pool.take_new()).await?;
    asking.sending.rewind();
    match poll_fn(|context| asking.poll_head(&mut connection.wire, timeout, context)).await {
        Ok(head) => Ok((head, connection)),
        Err(failed) => Err(failed.error),
    }
}

/// The answer to whoever asked; its body goes on by itself.
fn answer<B>(
    pool: &Rc<Pool>,
    mut head: AnswerHead,
    mut connection: Box<Connection>,
    asking: Asking<B>,
) -> Response<AnswerBody>
where
    B: Sendable,
{
    let idle_timeout = pool.shared().settings().idle_timeout;
    if let Some(promised) = head.promised {
        connection.keep = kept_for(idle_timeout, promised);
    }
    let decoder = std::mem::replace(&mut head.body, Decoder::Done);
    connection.answer = Reading::new(decoder, pool.shared().settings().stream_idle_timeout);
    let sending = asking.sending;
    let reusable = head.keep_alive && asking.leaves_connection && !sending.is_refused();
    let home = reusable.then(|| Rc::clone(pool));
    let body = if sending.goes_on() {
        AnswerBody::relayed(connection, sending, home)
    } else {
        pool.heads().give_back(sending.into_head());
        AnswerBody::direct(connection, home)
    };
    response(head, body)
}

/// How long a connection is kept: no longer than is configured, and a fifth less than the app server
/// promises, since it may be on its way to being closed.
fn kept_for(idle_timeout: Duration, promised: Duration) -> Duration {
    idle_timeout.min(promised.saturating_mul(4) / 5)
}

fn response<T>(head: AnswerHead, body: T) -> Response<T> {
    Response {
        status: head.status,
        passed: head.fields,
        own: Vec::new(),
        request_id: None,
        body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_given_up_before_the_app_server_closes_it() {
        let seconds = Duration::from_secs;
        let kept = |idle, promised| kept_for(seconds(idle), seconds(promised)).as_secs();
        assert_eq!(kept(60, 5), 4);
        assert_eq!(kept(3, 5), 3);
        assert_eq!(kept(60, 0), 0);
        assert_eq!(kept(60, u64::MAX), 60);
    }
}

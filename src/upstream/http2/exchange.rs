//! One request over HTTP/2 and its answer.
//!
//! A request is repeated once at most: when the app server has said that it did nothing with it
//! (`REFUSED_STREAM`, or a `GOAWAY` that names earlier streams only; RFC 9113 §8.7) and nothing of
//! its body is gone; or when a connection that had carried others before ended without a byte of an
//! answer, for a GET, HEAD or OPTIONS without a body (RFC 9110 §9.2.2). Anything else that may have
//! arrived is never sent twice.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body::Body;
use tokio::time::{Instant, Sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::domain::fields::HeaderFields;
use crate::domain::hop;
use crate::domain::identity::OutboundParts;
use crate::domain::response::Response;
use crate::upstream::answer::AnswerBody;
use crate::upstream::http1::{Framing, Waiting};
use crate::upstream::http2::fault::Fault;
use crate::upstream::http2::pool::{Place, Pool};
use crate::upstream::http2::receiving::{Receiving, Says};
use crate::upstream::http2::request::{self, Terms};
use crate::upstream::http2::sending::Sending;
use crate::upstream::{BoxError, Error, Settings, fault};

/// Interim answers before the final one. Each says only that work goes on.
const MAX_INTERIM: usize = 16;

/// A request on its way, and what its answer depends on.
struct Asking<B> {
    head: Request<()>,
    sending: Sending<B>,
    /// Whether sending it twice is the same as sending it once, as far as HTTP can tell (RFC 9110
    /// §9.2.1).
    repeatable: bool,
}

/// One attempt to get an answer.
struct Attempt {
    answer: ResponseFuture,
    stream: SendStream<Bytes>,
    /// Interim answers so far.
    interim: usize,
    timer: Option<Pin<Box<Sleep>>>,
    place: Place,
}

/// Why an attempt came to nothing.
struct Failed {
    error: Error,
    /// Whether the app server had begun to answer.
    heard: bool,
}

/// Sends a request, and waits for the head of the answer. The time for that runs from `now` on.
pub(in crate::upstream) async fn send<B>(
    pool: &Rc<Pool>,
    request: OutboundParts<B>,
    now: Instant,
) -> Result<Response<AnswerBody>, Error>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static,
{
    let mut asking = Asking::new(request, pool.shared().settings(), now)?;
    let place = pool.take(0).await?;
    let reused = place.reused;
    let failed = match asking.attempt(place).await {
        Ok((response, attempt)) => return answer(response, attempt, asking),
        Err(failed) => failed,
    };
    let newer_than = if failed.was_refused() && asking.sending.is_untouched() {
        0
    } else if reused && failed.is_closed() && asking.repeatable {
        pool.latest()
    } else {
        return Err(failed.error);
    };
    let place = pool.take(newer_than).await?;
    asking.sending.rewind();
    match asking.attempt(place).await {
        Ok((response, attempt)) => answer(response, attempt, asking),
        Err(failed) => Err(failed.error),
    }
}

impl<B> Asking<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    fn new(request: OutboundParts<B>, settings: &Settings, now: Instant) -> Result<Self, Error> {
        let OutboundParts {
            head,
            body,
            websocket: _,
            own,
            takes_trailers,
        } = request;
        let length = if body.is_end_stream() {
            Some(0)
        } else {
            body.size_hint().exact()
        };
        let terms = Terms {
            framing: Framing::of(length, &head),
            takes_trailers,
        };
        let safe = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        Ok(Self {
            head: request::head(*head, &own, terms, settings).map_err(Error::Http2)?,
            sending: Sending::new(body, terms.framing, now),
            repeatable: safe && length == Some(0),
        })
    }

    /// Sends the request on a connection, and waits for the head of the final answer.
    async fn attempt(
        &mut self,
        place: Place,
    ) -> Result<(http::Response<RecvStream>, Attempt), Failed> {
        let sent = place
            .connection
            .send(self.head.clone(), self.sending.is_over());
        let (answer, stream) = sent.map_err(Failed::unheard)?;
        let mut attempt = Attempt {
            answer,
            stream,
            interim: 0,
            timer: None,
            place,
        };
        let response = poll_fn(|context| self.poll_head(&mut attempt, context)).await?;
        Ok((response, attempt))
    }

    /// Sends and listens until the head of the final answer is there.
    fn poll_head(
        &mut self,
        attempt: &mut Attempt,
        context: &mut Context<'_>,
    ) -> Poll<Result<http::Response<RecvStream>, Failed>> {
        let sent = self.sending.poll_on(&mut attempt.stream, context);
        if let Poll::Ready(Err(error)) = sent {
            return Poll::Ready(Err(attempt.failed(Error::Request(error))));
        }
        // An error is told by the answer itself, below.
        while let Poll::Ready(Some(Ok(interim))) = attempt.answer.poll_informational(context) {
            attempt.interim += 1;
            // RFC 9113 §8.6: there is none in HTTP/2.
            if interim.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Err(attempt.failed(Error::UnaskedUpgrade)));
            }
            if attempt.interim > MAX_INTERIM {
                return Poll::Ready(Err(attempt.failed(Fault::TooManyInterim.into())));
            }
        }
        if let Poll::Ready(answered) = Pin::new(&mut attempt.answer).poll(context) {
            let failed = |error| attempt.failed(Fault::Stream(error).into());
            return Poll::Ready(answered.map_err(failed));
        }
        let Waiting::AppServer(since) = self.sending.waiting() else {
            return Poll::Pending;
        };
        let deadline = since + attempt.place.settings().response_timeout;
        ready!(attempt.poll_deadline(deadline, context));
        attempt.place.connection.doubt();
        Poll::Ready(Err(attempt.failed(Error::ResponseTimeout)))
    }
}

impl Attempt {
    fn failed(&self, error: Error) -> Failed {
        Failed {
            error,
            heard: self.interim > 0,
        }
    }

    fn poll_deadline(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(context)
    }
}

impl Failed {
    /// The connection takes no request any more: nothing was sent.
    fn unheard(error: h2::Error) -> Self {
        Self {
            error: Fault::Stream(error).into(),
            heard: false,
        }
    }

    fn cause(&self) -> Option<&h2::Error> {
        match &self.error {
            Error::Broken(fault::Fault::Http2(Fault::Stream(error))) => Some(error),
            _ => None,
        }
    }

    /// Whether the app server has said that it did nothing with the request. A `GOAWAY` ends only
    /// streams that it does not cover; the others go on.
    fn was_refused(&self) -> bool {
        self.cause().is_some_and(|error| {
            let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
            !self.heard && error.is_remote() && (refused || error.is_go_away())
        })
    }

    /// Whether the connection ended before an answer had begun.
    fn is_closed(&self) -> bool {
        !self.heard && self.cause().is_some_and(h2::Error::is_io)
    }
}

/// The answer to whoever asked; its body goes on by itself.
fn answer<B>(
    response: http::Response<RecvStream>,
    attempt: Attempt,
    asking: Asking<B>,
) -> Result<Response<AnswerBody>, Error>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static,
{
    let (parts, stream) = response.into_parts();
    let mut headers = parts.headers;
    hop::remove(&mut headers);
    let length = length_of(&headers)?;
    let is_grpc = is_grpc(&headers);
    if parts.status == StatusCode::NO_CONTENT {
        // RFC 9110 §8.6: never there.
        headers.remove(CONTENT_LENGTH);
    }
    let is_bodiless = asking.head.method() == Method::HEAD
        || matches!(
            parts.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    let body = if is_bodiless {
        Receiving::nothing()
    } else {
        let Attempt {
            stream: up, place, ..
        } = attempt;
        let sending = (!asking.sending.is_over()).then(|| go_on(asking.sending, up));
        Receiving::new(stream, Says { length, is_grpc }, sending, place)
    };
    Ok(Response {
        request_id: None,
        status: parts.status,
        passed: HeaderFields::from(&headers),
        own: Vec::new(),
        body: AnswerBody::multiplexed(body),
    })
}

/// Sends the rest of a request whose answer has begun, so that neither waits for the other: an app
/// server may answer as it reads, and a client may read only when it has sent everything.
fn go_on<B>(mut sending: Sending<B>, mut stream: SendStream<Bytes>) -> AbortOnDropHandle<()>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static,
{
    AbortOnDropHandle::new(tokio::task::spawn_local(async move {
        let sent = poll_fn(|context| sending.poll_on(&mut stream, context));
        if sent.await.is_err() {
            // Nothing more can be done for a client that does not finish its request: it sees its
            // answer break off.
            stream.send_reset(Reason::CANCEL);
        }
    }))
}

/// Whether an answer is one of gRPC, by its type: `application/grpc`, alone or with what follows it there.
fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    matches!(rest, Some([] | [b'+' | b';', ..]))
}

/// The length that an answer announces. One that says it twice is not passed on: two readers could
/// differ.
fn length_of(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(None),
        (Some(length), None) => {
            let digits = length.to_str().ok();
            let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let length = digits.and_then(|text| text.parse().ok());
            length.ok_or(Fault::Framing).map(Some)
        }
        (Some(_), Some(_)) => Err(Fault::Framing),
    }
}

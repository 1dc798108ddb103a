//! The body of an answer over HTTP/2, as whoever asks for it gets it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http_body::Frame;
use tokio::time::{Instant, Sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::codec::{clean_grpc_trailers, clean_trailers};
use crate::upstream::answer::BrokenAnswer;
use crate::upstream::fault;
use crate::upstream::http2::fault::Fault;
use crate::upstream::http2::pool::Place;

/// The body of an answer.
#[derive(Debug)]
pub(in crate::upstream) struct Receiving {
    /// Until the answer has come to its end. Letting go before that resets the stream.
    open: Option<Open>,
    /// Bytes that are still to come, when that is known.
    remaining: Option<u64>,
    silence: Option<Silence>,
}

/// What the head of an answer says of its body.
#[derive(Clone, Copy, Debug)]
pub(in crate::upstream::http2) struct Says {
    /// How long it is.
    pub(in crate::upstream::http2) length: Option<u64>,
    /// Whether it is an answer of gRPC.
    pub(in crate::upstream::http2) is_grpc: bool,
}

/// An answer that goes on.
#[derive(Debug)]
struct Open {
    stream: RecvStream,
    /// Whether all data has come, but perhaps not the trailers.
    only_trailers: bool,
    /// What is taken out of the trailers.
    clean: fn(&mut HeaderMap),
    /// The rest of the request. It is of no use any more when the answer is over.
    _sending: Option<AbortOnDropHandle<()>>,
    place: Place,
}

/// How long the app server may be silent.
#[derive(Debug)]
struct Silence {
    allowed: Duration,
    until: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Receiving {
    /// The body that comes in this stream. `sending` goes on meanwhile.
    pub(in crate::upstream::http2) fn new(
        stream: RecvStream,
        says: Says,
        sending: Option<AbortOnDropHandle<()>>,
        place: Place,
    ) -> Self {
        let idle = place.settings().stream_idle_timeout;
        let is_over = stream.is_end_stream();
        let open = Open {
            stream,
            only_trailers: false,
            clean: if says.is_grpc {
                clean_grpc_trailers
            } else {
                clean_trailers
            },
            _sending: sending,
            place,
        };
        Self {
            open: (!is_over).then_some(open),
            remaining: if is_over { Some(0) } else { says.length },
            silence: idle.filter(|_| !is_over).map(Silence::of),
        }
    }

    /// No body.
    pub(in crate::upstream::http2) fn nothing() -> Self {
        Self {
            open: None,
            remaining: Some(0),
            silence: None,
        }
    }

    /// Bytes that are still to come, when that is known.
    pub(in crate::upstream) fn remaining(&self) -> Option<u64> {
        self.remaining
    }

    /// Whether nothing more is to come, trailers neither.
    pub(in crate::upstream) fn is_over(&self) -> bool {
        let open = self.open.as_ref();
        open.is_none_or(|open| open.stream.is_end_stream())
    }

    pub(in crate::upstream) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        let polled = match &mut self.open {
            None => return Poll::Ready(None),
            Some(open) => open.poll(context),
        };
        let Poll::Ready(next) = polled else {
            ready!(self.poll_silence(context));
            if let Some(open) = self.open.take() {
                open.place.connection.doubt();
            }
            return Poll::Ready(Some(Err(BrokenAnswer::Idle)));
        };
        if let Some(silence) = &mut self.silence {
            silence.until = Instant::now() + silence.allowed;
        }
        let next = next.transpose().map_err(broken);
        match &next {
            Ok(Some(frame)) => self.count(frame),
            Ok(None) | Err(_) => self.end(),
        }
        Poll::Ready(next.transpose())
    }

    fn count(&mut self, frame: &Frame<Bytes>) {
        match frame.data_ref() {
            Some(data) => {
                let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
                self.remaining = self.remaining.map(|left| left.saturating_sub(bytes));
            }
            // Trailers are the end.
            None => self.end(),
        }
    }

    fn end(&mut self) {
        self.open = None;
        self.remaining = Some(0);
    }

    /// Ready when the app server has been silent for too long.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(silence) = &mut self.silence else {
            return Poll::Pending;
        };
        loop {
            ready!(silence.timer.as_mut().poll(context));
            if silence.timer.deadline() >= silence.until {
                return Poll::Ready(());
            }
            silence.timer.as_mut().reset(silence.until);
        }
    }
}

impl Open {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        while !self.only_trailers {
            match ready!(self.stream.poll_data(context)?) {
                Some(data) if data.is_empty() => {}
                Some(data) => {
                    // Whoever asked takes it; the app server may send as much again. There is
                    // never more to be given back than has come.
                    drop(self.stream.flow_control().release_capacity(data.len()));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                None => self.only_trailers = true,
            }
        }
        let mut trailers = ready!(self.stream.poll_trailers(context)?).unwrap_or_default();
        (self.clean)(&mut trailers);
        let frame = (!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers)));
        Poll::Ready(frame)
    }
}

impl Silence {
    fn of(allowed: Duration) -> Self {
        let until = Instant::now() + allowed;
        Self {
            allowed,
            until,
            timer: Box::pin(tokio::time::sleep_until(until)),
        }
    }
}

/// Who broke it: a stream that the gate reset itself was so because the request did not come to its
/// end.
fn broken(error: h2::Error) -> BrokenAnswer {
    if error.is_reset() && !error.is_remote() && !error.is_library() {
        return BrokenAnswer::Request;
    }
    BrokenAnswer::Broken(fault::Fault::Http2(Fault::Stream(error)))
}

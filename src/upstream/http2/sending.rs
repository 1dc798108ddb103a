//! The body of a request on its way out, piece by piece as the client sends it and the app server
//! takes it; nothing is collected.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::time::Instant;

use crate::domain::hop;
use crate::domain::identity::CleanBody;
use crate::upstream::BoxError;
use crate::upstream::http1::{Framing, Waiting, WrongLength};

/// The body of a request on its way out.
#[derive(Debug)]
pub(in crate::upstream::http2) struct Sending<B> {
    /// `None` when it has come to its end.
    body: Option<CleanBody<B>>,
    /// A piece that waits for the app server to have room.
    piece: Option<Piece>,
    /// Bytes that are still to come of a body of known length.
    left: Option<u64>,
    waiting: Waiting,
    /// Whether anything has been taken out of the body.
    touched: bool,
    /// Whether the app server wants no more of it.
    refused: bool,
}

#[derive(Debug)]
struct Piece {
    data: Bytes,
    is_last: bool,
}

impl<B> Sending<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    /// Begins now.
    pub(in crate::upstream::http2) fn new(
        body: CleanBody<B>,
        framing: Framing,
        now: Instant,
    ) -> Self {
        let (body, left) = match framing {
            Framing::Nothing | Framing::Length(0) => (None, None),
            Framing::Length(length) => (Some(body), Some(length)),
            Framing::Chunked => (Some(body), None),
        };
        Self {
            body,
            piece: None,
            left,
            waiting: Waiting::AppServer(now),
            touched: false,
            refused: false,
        }
    }

    /// Who is being waited for.
    pub(in crate::upstream::http2) fn waiting(&self) -> Waiting {
        self.waiting
    }

    /// Whether the request can be sent as a whole: nothing of its body is gone.
    pub(in crate::upstream::http2) fn is_untouched(&self) -> bool {
        !self.touched
    }

    /// Whether there is nothing to send, or nobody who takes it.
    pub(in crate::upstream::http2) fn is_over(&self) -> bool {
        self.refused || (self.body.is_none() && self.piece.is_none())
    }

    /// Begins anew, in another stream. For a request whose body is untouched.
    pub(in crate::upstream::http2) fn rewind(&mut self) {
        self.refused = false;
        self.waiting = Waiting::AppServer(Instant::now());
    }

    /// Sends on, as far as that goes. An app server that takes no more may have answered all the
    /// same, so that is no error here; an error is the client's doing.
    pub(in crate::upstream::http2) fn poll_on(
        &mut self,
        stream: &mut SendStream<Bytes>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), BoxError>> {
        while !self.is_over() {
            // Looked at every time, so that this is woken when it happens.
            if stream.poll_reset(context).is_ready() {
                self.refused = true;
                break;
            }
            if self.piece.is_some() {
                ready!(self.poll_room(stream, context));
                self.send_piece(stream);
                continue;
            }
            let Some(body) = &mut self.body else { break };
            let Poll::Ready(frame) = Pin::new(body).poll_frame(context) else {
                self.waiting = Waiting::Client;
                return Poll::Pending;
            };
            self.touched = true;
            self.waiting = Waiting::AppServer(Instant::now());
            match frame.transpose().map_err(Into::into)? {
                Some(frame) => self.frame(frame, stream)?,
                None => self.end(None, stream)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until the app server takes at least a byte. Nothing is asked for before there is a
    /// piece: room that one stream holds is room that the others lack.
    fn poll_room(&mut self, stream: &mut SendStream<Bytes>, context: &mut Context<'_>) -> Poll<()> {
        while stream.capacity() == 0 {
            let room = ready!(stream.poll_capacity(context));
            if !matches!(room, Some(Ok(_bytes))) {
                self.refused = true;
                break;
            }
        }
        Poll::Ready(())
    }

    fn send_piece(&mut self, stream: &mut SendStream<Bytes>) {
        let Some(Piece { data, is_last }) = self.piece.take() else {
            return;
        };
        if self.refused || stream.send_data(data, is_last).is_err() {
            self.refused = true;
        }
        self.waiting = Waiting::AppServer(Instant::now());
    }

    fn frame(
        &mut self,
        frame: Frame<Bytes>,
        stream: &mut SendStream<Bytes>,
    ) -> Result<(), WrongLength> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => return self.end(frame.into_trailers().ok(), stream),
        };
        if let Some(left) = &mut self.left {
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            *left = left.checked_sub(length).ok_or(WrongLength)?;
        }
        let is_last = self.body.as_ref().is_none_or(Body::is_end_stream);
        match (data.is_empty(), is_last) {
            (true, true) => return self.end(None, stream),
            (true, false) => return Ok(()),
            (false, true) => self.finish()?,
            (false, false) => {}
        }
        stream.reserve_capacity(1);
        self.piece = Some(Piece { data, is_last });
        Ok(())
    }

    fn end(
        &mut self,
        trailers: Option<HeaderMap>,
        stream: &mut SendStream<Bytes>,
    ) -> Result<(), WrongLength> {
        self.finish()?;
        let trailers = trailers.map(without_hop_by_hop).unwrap_or_default();
        let sent = if trailers.is_empty() {
            stream.send_data(Bytes::new(), true)
        } else {
            stream.send_trailers(trailers)
        };
        self.refused = sent.is_err();
        Ok(())
    }

    /// There is no more to come.
    fn finish(&mut self) -> Result<(), WrongLength> {
        self.body = None;
        match self.left {
            Some(1..) => Err(WrongLength),
            Some(0) | None => Ok(()),
        }
    }
}

/// HTTP/2 cannot say them (RFC 9113 §8.2.2).
fn without_hop_by_hop(mut trailers: HeaderMap) -> HeaderMap {
    hop::remove(&mut trailers);
    trailers
}

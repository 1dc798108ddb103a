//! An answer on its way to the client: the head, then the body as it comes and as the client takes it.
//! What ends otherwise than at its end is no answer, and the client is told so.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::time::Instant;

use crate::codec::hpack::{write_field, write_status};
use crate::domain::hop;
use crate::domain::names;
use crate::domain::response::Response;
use crate::server::answer::{Left, Length, Wanted, WrongLength};
use crate::server::connection::BoxError;
use crate::server::http1::date;
use crate::server::http2::mux::Mux;
use crate::server::http2::stream::Stream;

/// What counts as progress, in bytes: a client that takes less than that within `body_idle_timeout` is
/// given up.
const PROGRESS_BYTES: usize = 16 * 1024;

/// Why an answer did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(in crate::server::http2) enum Unanswered {
    /// The body broke off.
    #[error("the answer broke off")]
    Body(#[source] BoxError),
    /// It has a status that no last answer has.
    #[error("the answer is none to a request")]
    Status,
    #[error(transparent)]
    WrongLength(#[from] WrongLength),
}

/// What is to be sent next.
#[derive(Debug)]
enum Next {
    Head,
    /// Whatever the body has.
    Body,
    /// Data; the last, or not.
    Data {
        rest: Bytes,
        is_last: bool,
    },
    /// That this was all.
    End,
    Trailers(HeaderMap),
    Nothing,
}

/// An answer on its way to the client.
#[derive(Debug)]
pub(in crate::server::http2) struct Answering<B> {
    response: Response<B>,
    length: Length,
    left: Left,
    /// Bytes that the client has yet to take to have made progress.
    until_progress: usize,
    next: Next,
}

impl<B> Answering<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    pub(in crate::server::http2) fn new(
        response: Response<B>,
        wanted: Wanted,
    ) -> Result<Self, Unanswered> {
        if response.status.is_informational() {
            return Err(Unanswered::Status);
        }
        let length = Length::of(&response, wanted);
        Ok(Self {
            response,
            length,
            left: length.left(),
            until_progress: 0,
            next: Next::Head,
        })
    }

    /// Sends on until all is sent, or somebody has to be waited for.
    pub(in crate::server::http2) fn poll(
        &mut self,
        mux: &Mux,
        stream: &Stream,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Unanswered>> {
        loop {
            match &mut self.next {
                Next::Nothing => return Poll::Ready(Ok(())),
                Next::Head => {
                    ready!(mux.poll_room(context));
                    self.send_head(mux, stream);
                }
                Next::Body => {
                    let body = Pin::new(&mut self.response.body);
                    let polled = ready!(body.poll_frame(context));
                    let frame = polled.transpose();
                    self.frame(frame.map_err(|error| Unanswered::Body(error.into()))?)?;
                }
                Next::Data { .. } => ready!(self.poll_data(mux, stream, context)),
                Next::End => {
                    ready!(mux.poll_room(context));
                    mux.send(stream, Bytes::new(), true);
                    self.next = Next::Nothing;
                }
                Next::Trailers(trailers) => {
                    ready!(mux.poll_room(context));
                    let trailers = std::mem::take(trailers);
                    send_trailers(mux, stream, &trailers);
                    self.next = Next::Nothing;
                }
            }
        }
    }

    fn send_head(&mut self, mux: &Mux, stream: &Stream) {
        let has_body = match self.length {
            Length::Nothing(_) => false,
            // Trailers may follow also where there is nothing else.
            Length::Exactly(_) | Length::Unknown => !self.response.body.is_end_stream(),
        };
        // From here on there is an answer, and no going ahead any more.
        stream.awaits_go_ahead.set(false);
        let (response, length) = (&self.response, self.length);
        let mut out = mux.out.borrow_mut();
        out.add_block(stream.id, !has_body, |block| {
            mux.encoder.borrow_mut().begin(block);
            write_head(block, response, length);
        });
        self.next = if has_body { Next::Body } else { Next::Nothing };
    }

    /// What the body has.
    fn frame(&mut self, frame: Option<Frame<Bytes>>) -> Result<(), Unanswered> {
        let data = match frame.map(Frame::into_data) {
            Some(Ok(data)) => data,
            Some(Err(frame)) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                self.next = if trailers.is_empty() {
                    Next::End
                } else {
                    Next::Trailers(trailers)
                };
                return Ok(self.left.end()?);
            }
            None => {
                self.next = Next::End;
                return Ok(self.left.end()?);
            }
        };
        // Also when as much has come as was announced: trailers may follow.
        let is_last = self.response.body.is_end_stream();
        self.left.take(data.len())?;
        if is_last {
            self.left.end()?;
        }
        if data.is_empty() {
            if is_last {
                self.next = Next::End;
            }
            return Ok(());
        }
        self.until_progress = data.len().min(PROGRESS_BYTES);
        self.next = Next::Data {
            rest: data,
            is_last,
        };
        Ok(())
    }

    /// Sends data on. Pending also when another answer goes first.
    fn poll_data(&mut self, mux: &Mux, stream: &Stream, context: &Context<'_>) -> Poll<()> {
        let Next::Data { rest, is_last } = &mut self.next else {
            return Poll::Ready(());
        };
        let Poll::Ready(length) = mux.poll_window(stream, rest.len(), context) else {
            if stream.untaken_since.get().is_none() {
                stream.untaken_since.set(Some(Instant::now()));
            }
            return Poll::Pending;
        };
        let data = rest.split_to(length);
        let ends = rest.is_empty() && *is_last;
        mux.send(stream, data, ends);
        self.until_progress = self.until_progress.saturating_sub(length);
        if self.until_progress == 0 {
            self.until_progress = rest.len().min(PROGRESS_BYTES);
            stream.untaken_since.set(None);
        }
        if rest.is_empty() {
            self.next = if ends { Next::Nothing } else { Next::Body };
        }
        if !ends && mux.give_way(context) {
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

fn send_trailers(mux: &Mux, stream: &Stream, trailers: &HeaderMap) {
    mux.out.borrow_mut().add_block(stream.id, true, |block| {
        mux.encoder.borrow_mut().begin(block);
        for (name, value) in trailers {
            if !hop::is_hop_by_hop(name) {
                write_field(block, name.as_str().as_bytes(), value.as_bytes());
            }
        }
    });
}

/// Writes the head of an answer, without what belongs to connections of HTTP/1 (RFC 9113 §8.2.2).
fn write_head<B>(out: &mut Vec<u8>, response: &Response<B>, length: Length) {
    write_status(out, response.status);
    let mut dated = false;
    for field in response.passed.iter() {
        let is_length = field.is(names::CONTENT_LENGTH);
        let is_dropped = is_length && !length.keeps_said();
        if !is_dropped && !hop::is_hop_by_hop(field) {
            dated |= field.is(names::DATE);
            write_field(out, field.name(), field.value());
        }
    }
    if let Some(request_id) = &response.request_id {
        write_field(out, names::X_REQUEST_ID.text(), request_id.as_bytes());
    }
    for (name, value) in &response.own {
        if !hop::is_hop_by_hop(name) {
            write_field(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    if let Length::Exactly(length) | Length::Nothing(Some(length)) = length {
        let mut digits = itoa::Buffer::new();
        write_field(out, b"content-length", digits.format(length).as_bytes());
    }
    if !dated {
        date::with_value(|date| write_field(out, b"date", date.as_bytes()));
    }
}

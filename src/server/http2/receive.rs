//! What the frames of a client do: to the streams, to the windows, to the connection. Each frame is
//! looked at in its turn; what a client may not do ends the stream or the connection, by the code
//! that RFC 9113 has for it.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use crate::codec::hpack::{self, BlockLimits};
use crate::domain::request::RequestHead;
use crate::server::Limits;
use crate::server::http1::head::expects_go_ahead;
use crate::server::http2::blocks::Blocks;
use crate::server::http2::farewell::Farewell;
use crate::server::http2::floods::Floods;
use crate::server::http2::frame::{
    ACK, Code, ConnectionError, Fragment, Frame, Half, Kind, WRONG_SIZE,
};
use crate::server::http2::head;
use crate::server::http2::mux::Mux;
use crate::server::http2::past::End;
use crate::server::http2::settings::{self, MAX_STREAMS, Setting};
use crate::server::http2::stream::{Accepted, Reader, Stream};

/// A request whose head has come.
#[derive(Debug)]
pub(in crate::server::http2) struct Opened {
    pub(in crate::server::http2) stream: Rc<Stream>,
    pub(in crate::server::http2) head: Box<RequestHead>,
}

/// Receives what a client sends.
#[derive(Debug)]
pub(in crate::server::http2) struct Receiver {
    mux: Rc<Mux>,
    blocks: Blocks,
    /// The highest stream that the client has begun.
    highest_begun: u32,
    floods: Floods,
    limits: BlockLimits,
    farewell: Farewell,
}

impl Receiver {
    pub(in crate::server::http2) fn new(mux: Rc<Mux>, limits: &Limits) -> Self {
        Self {
            mux,
            blocks: Blocks::new(limits),
            highest_begun: 0,
            floods: Floods::new(),
            limits: head::limits(limits),
            farewell: Farewell::default(),
        }
    }

    /// The highest stream that the client has begun in time.
    pub(in crate::server::http2) fn last_that_counts(&self) -> u32 {
        self.farewell.last_that_counts(self.highest_begun)
    }

    /// The connection is to end: the client is told so.
    pub(in crate::server::http2) fn say_farewell(&mut self) {
        self.farewell.begin(&mut self.mux.out.borrow_mut());
    }

    /// Whether the connection ends when no stream is left.
    pub(in crate::server::http2) fn is_leaving(&self) -> bool {
        self.farewell.is_said()
    }

    /// Whether a header block has been coming for longer than this.
    pub(in crate::server::http2) fn is_late(&self, longest: Duration) -> bool {
        self.blocks.is_late(longest)
    }

    /// Takes in what was sent of answers meanwhile.
    pub(in crate::server::http2) fn settle(&mut self) {
        self.floods.pay_for(self.mux.take_pieces());
    }

    /// Gives up memory that only unusual requests need.
    pub(in crate::server::http2) fn rest(&mut self) {
        self.blocks.rest();
    }

    /// Takes a frame, whose payload is within that memory. Gives the request that began with it.
    pub(in crate::server::http2) fn take(
        &mut self,
        frame: Frame<'_>,
        within: Option<&Bytes>,
    ) -> Result<Option<Opened>, ConnectionError> {
        if self.blocks.has_begun() && !matches!(frame, Frame::Continuation { .. }) {
            return Err(ConnectionError::protocol("a header block is interrupted"));
        }
        match frame {
            Frame::Headers {
                stream,
                fragment,
                half,
            } => return self.headers(stream, fragment, half),
            Frame::Continuation { stream, fragment } => {
                return self.continuation(stream, fragment);
            }
            Frame::Data {
                stream,
                data,
                flow,
                half,
            } => self.data(stream, (data, within), flow, half)?,
            Frame::Reset { stream } => self.reset_by_client(stream)?,
            Frame::Settings(values) => self.settings(values)?,
            Frame::Ping(data) => {
                self.floods.spend_answer()?;
                let mut out = self.mux.out.borrow_mut();
                out.add(Kind::Ping, ACK, 0, &data);
            }
            Frame::Pong(data) => {
                self.floods.spend_trifle()?;
                let mut out = self.mux.out.borrow_mut();
                self.farewell.heard(data, self.highest_begun, &mut out);
            }
            Frame::GoAway => self.farewell.client_leaves(),
            Frame::WindowUpdate { stream, by } => self.window_update(stream, by)?,
            Frame::WrongPriority { stream } => self.wrong_size(stream)?,
            Frame::SettingsAck | Frame::Ignored => self.floods.spend_trifle()?,
        }
        Ok(None)
    }

    /// A stream that was never begun takes nothing but a head.
    fn check_begun(&self, id: u32) -> Result<(), ConnectionError> {
        if id > self.highest_begun || id.is_multiple_of(2) {
            return Err(ConnectionError::protocol(
                "a id that was never begun is used",
            ));
        }
        Ok(())
    }

    /// Gives a stream up for something that the client did on it.
    fn stream_error(&mut self, id: u32, code: Code) -> Result<(), ConnectionError> {
        self.mux.reset(id, code);
        self.floods.spend_reset()
    }

    fn headers(
        &mut self,
        id: u32,
        fragment: Fragment<'_>,
        half: Half,
    ) -> Result<Option<Opened>, ConnectionError> {
        if id.is_multiple_of(2) {
            return Err(ConnectionError::protocol(
                "a client begins a id of an even number",
            ));
        }
        if fragment.is_last {
            return self.whole_block(id, half, fragment.bytes);
        }
        self.blocks.begin(id, half, fragment.bytes);
        Ok(None)
    }

    fn continuation(
        &mut self,
        id: u32,
        fragment: Fragment<'_>,
    ) -> Result<Option<Opened>, ConnectionError> {
        match self.blocks.go_on(id, fragment)? {
            Some(whole) => self.whole_block(id, whole.half, &whole.fragments),
            None => Ok(None),
        }
    }

    fn whole_block(
        &mut self,
        id: u32,
        half: Half,
        block: &[u8],
    ) -> Result<Option<Opened>, ConnectionError> {
        if id <= self.highest_begun {
            return self.trailers(id, half, block).map(|()| None);
        }
        self.highest_begun = id;
        self.blocks.decode(block, self.limits)?;
        if self.farewell.is_too_late(id) {
            self.floods.spend_trifle()?;
            return Ok(None);
        }
        if self.mux.len() >= MAX_STREAMS {
            self.mux.reset(id, Code::RefusedStream);
            self.floods.spend_trifle()?;
            return Ok(None);
        }
        if self.blocks.decoded.is_too_large {
            self.refuse_size(id, half)?;
            return Ok(None);
        }
        match head::read(self.blocks.head()) {
            Ok(head::Received { length, .. })
                if half == Half::Closed && length.unwrap_or(0) > 0 =>
            {
                self.stream_error(id, Code::Protocol).map(|()| None)
            }
            Ok(head::Received { head, length }) => {
                let stream = self.mux.open(id, half, length);
                stream.awaits_go_ahead.set(expects_go_ahead(&head.fields));
                Ok(Some(Opened { stream, head }))
            }
            Err(head::Malformed) => self.stream_error(id, Code::Protocol).map(|()| None),
        }
    }

    /// A block that is for nobody any more, but that later ones refer to.
    fn decode_in_vain(&mut self, block: &[u8]) -> Result<(), ConnectionError> {
        self.floods.spend_trifle()?;
        self.blocks.decode(block, head::TRAILER_LIMITS)
    }

    /// A head that is far too large is answered with a bare status.
    fn refuse_size(&mut self, id: u32, half: Half) -> Result<(), ConnectionError> {
        self.mux.out.borrow_mut().add_block(id, true, |block| {
            self.mux.encoder.borrow_mut().begin(block);
            hpack::write_status(block, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
            hpack::write_field(block, b"content-length", b"0");
        });
        if half == Half::Closed {
            self.mux.close(id, End::Closed);
        } else {
            self.mux.reset(id, Code::NoError);
        }
        self.floods.spend_reset()
    }

    /// A header block on a stream that was begun before: the end of its body, or nothing that may be.
    fn trailers(&mut self, id: u32, half: Half, block: &[u8]) -> Result<(), ConnectionError> {
        let Some(stream) = self.mux.find(id) else {
            return match self.mux.end_of(id) {
                Some(End::GivenUp) => self.decode_in_vain(block),
                None if self.farewell.is_too_late(id) => self.decode_in_vain(block),
                Some(End::Closed) => Err(ConnectionError::closed(
                    "a head comes on a stream that is over",
                )),
                None => Err(ConnectionError::protocol(
                    "the numbers of streams do not grow",
                )),
            };
        };
        self.blocks.decode(block, head::TRAILER_LIMITS)?;
        if stream.received.borrow().is_ended {
            return self.stream_error(id, Code::StreamClosed);
        }
        let is_whole = stream.received.borrow().left.unwrap_or(0) == 0;
        let trailers = head::read_trailers(&self.blocks.decoded);
        match trailers {
            Ok(trailers)
                if half == Half::Closed && is_whole && !self.blocks.decoded.is_too_large =>
            {
                let mut received = stream.received.borrow_mut();
                if received.reader == Reader::Handler && !trailers.is_empty() {
                    received.trailers = Some(trailers);
                }
                received.is_ended = true;
                received.wake();
                drop(received);
                stream.wake();
                Ok(())
            }
            _ => self.stream_error(id, Code::Protocol),
        }
    }

    fn data(
        &mut self,
        id: u32,
        (data, within): (&[u8], Option<&Bytes>),
        flow: u32,
        half: Half,
    ) -> Result<(), ConnectionError> {
        self.check_begun(id)?;
        self.mux.come(flow)?;
        if data.is_empty() && half == Half::Open {
            self.floods.spend_trifle()?;
        }
        let padded_length = usize::try_from(flow).unwrap_or(usize::MAX);
        let Some(stream) = self.mux.find(id) else {
            self.mux.give_credit(None, padded_length);
            if data.is_empty() && half == Half::Closed {
                self.floods.spend_trifle()?;
            }
            return match self.mux.end_of(id) {
                Some(End::GivenUp) => Ok(()),
                None if self.farewell.is_too_late(id) => Ok(()),
                Some(End::Closed) | None => Err(ConnectionError::closed(
                    "data comes on a stream that is over",
                )),
            };
        };
        let accepted = stream
            .received
            .borrow_mut()
            .accept((data, within), flow, half);
        match accepted {
            // Padding is read at once.
            Ok(Accepted::Kept) => self
                .mux
                .give_credit(Some(&stream), padded_length - data.len()),
            // The client may send others, but no more of this.
            Ok(Accepted::Dropped) => self.mux.give_credit(None, padded_length),
            Err(code) => {
                self.mux.give_credit(None, padded_length);
                return self.stream_error(id, code);
            }
        }
        stream.received.borrow_mut().wake();
        if half == Half::Closed {
            stream.wake();
        }
        Ok(())
    }

    fn reset_by_client(&mut self, id: u32) -> Result<(), ConnectionError> {
        self.check_begun(id)?;
        if self.mux.find(id).is_some() {
            self.mux.close(id, End::Closed);
            self.floods.spend_reset()
        } else {
            self.floods.spend_trifle()
        }
    }

    /// A stream that is idle or over cannot be reset for it (RFC 9113 §5.1, §6.4).
    fn wrong_size(&mut self, id: u32) -> Result<(), ConnectionError> {
        if self.mux.find(id).is_some() {
            return self.stream_error(id, Code::FrameSize);
        }
        let begun = self.check_begun(id);
        begun.map_err(|_idle| WRONG_SIZE)?;
        self.floods.spend_trifle()
    }

    fn settings(&mut self, values: &[u8]) -> Result<(), ConnectionError> {
        self.floods.spend_answer()?;
        for setting in settings::read(values) {
            match setting? {
                Setting::TableSize(bytes) => self.mux.encoder.borrow_mut().allow_table(bytes),
                Setting::InitialWindow(bytes) => {
                    // All streams are gone through for it.
                    self.floods.spend_answer()?;
                    self.mux.set_initial_window(bytes)?;
                }
            }
        }
        let mut out = self.mux.out.borrow_mut();
        out.add(Kind::Settings, ACK, 0, &[]);
        Ok(())
    }

    fn window_update(&mut self, id: u32, by: u32) -> Result<(), ConnectionError> {
        self.floods.spend_trifle()?;
        match (id, by) {
            (0, 0) => Err(ConnectionError::protocol("a window is opened by nothing")),
            (0, by) => self.mux.open_window(by),
            (id, by) => {
                self.check_begun(id)?;
                let Some(stream) = self.mux.find(id) else {
                    return Ok(());
                };
                if by == 0 {
                    return self.stream_error(id, Code::Protocol);
                }
                let Ok(window) = stream.window.get().moved(by.into()) else {
                    return self.stream_error(id, Code::FlowControl);
                };
                stream.window.set(window);
                stream.wake();
                Ok(())
            }
        }
    }
}

//! The turns of a connection: reading what is there, polling the streams that are awake, writing
//! what has come together; and one stream from its request to the end of its answer.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::domain::request::Request;
use crate::server::answer::Wanted;
use crate::server::body::{Pull, RequestBody};
use crate::server::connection::{Handler, Shared};
use crate::server::http2::Failed;
use crate::server::http2::answer::Answering;
use crate::server::http2::body::Upload;
use crate::server::http2::frame::{Code, ConnectionError, Frame, Kind};
use crate::server::http2::mux::Mux;
use crate::server::http2::receive::{Opened, Receiver};
use crate::server::http2::settings::{self, WINDOW_BYTES};
use crate::server::http2::stream::Stream;
use crate::server::http2::window::INITIAL;
use crate::server::http2::wire::{Read, Wire};
use crate::server::socket::Socket;

/// How often a connection is looked at within the time that a head may take, or that a client may take
/// nothing of an answer.
pub(in crate::server::http2) const LOOKS: u32 = 4;

/// One connection.
pub(in crate::server::http2) struct Connection<'a, S, H> {
    pub(in crate::server::http2) wire: Wire<S>,
    pub(in crate::server::http2) receiver: Receiver,
    pub(in crate::server::http2) mux: Rc<Mux>,
    pub(in crate::server::http2) shared: &'a Shared<H>,
}

/// What becomes of a connection after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server::http2) enum Turn {
    Waits,
    Over,
}

impl<S: Socket, H: Handler> Connection<'_, S, H> {
    /// Says what the gate has to say first.
    pub(in crate::server::http2) fn open(&self) {
        let mut out = self.mux.out.borrow_mut();
        let own = settings::own(self.shared.limits());
        out.add(Kind::Settings, 0, 0, &own);
        out.add_window(0, WINDOW_BYTES - INITIAL);
    }

    /// Gives up what has been coming or going for too long.
    pub(in crate::server::http2) fn look_for_late(&self) -> Result<(), ConnectionError> {
        let limits = self.shared.limits();
        self.mux.give_up_untaken(limits.body_idle_timeout);
        if self.receiver.is_late(limits.header_timeout) {
            return Err(ConnectionError::too_much(
                "a header block does not come to its end",
            ));
        }
        Ok(())
    }

    /// Goes on as far as that is possible.
    pub(in crate::server::http2) fn poll<F: Future<Output = ()>>(
        &mut self,
        streams: &mut FuturesUnordered<F>,
        begin: &impl Fn(Opened) -> F,
        context: &mut Context<'_>,
    ) -> Result<Turn, Failed> {
        if self.shared.state().poll_end_asked(context).is_ready() {
            self.receiver.say_farewell();
        }
        self.take_memory();
        loop {
            let read = self.read(streams, begin, context)?;
            let mut ended = false;
            while let Poll::Ready(Some(())) = streams.poll_next_unpin(context) {
                ended = true;
            }
            self.receiver.settle();
            let written = self.write(ended, context)?;
            let woken = self.mux.wake_waiting();
            let is_left = written && self.mux.len() == 0 && self.receiver.is_leaving();
            if read == Poll::Ready(Read::End) || is_left {
                return Ok(Turn::Over);
            }
            // What was left unread for want of room may have room now.
            let goes_on = match read {
                Poll::Ready(Read::Nothing) => !self.mux.out.borrow().is_full(),
                Poll::Ready(_) => true,
                Poll::Pending => false,
            };
            if !goes_on && !woken {
                self.give_memory_back();
                return Ok(Turn::Waits);
            }
        }
    }

    fn take_memory(&self) {
        let mut out = self.mux.out.borrow_mut();
        if !out.has_memory() {
            out.use_memory(self.shared.heads().take());
        }
    }

    /// Gives up the memory in which nothing is any more.
    fn give_memory_back(&mut self) {
        let mut out = self.mux.out.borrow_mut();
        if out.is_empty() {
            self.shared.heads().give_back(out.take_memory());
        }
        self.wire.rest(self.shared.buffers());
        self.receiver.rest();
    }

    /// Reads what is there. Nothing while too much waits to be written.
    fn read<F>(
        &mut self,
        streams: &FuturesUnordered<F>,
        begin: &impl Fn(Opened) -> F,
        context: &mut Context<'_>,
    ) -> Result<Poll<Read>, Failed> {
        if self.mux.out.borrow().is_full() {
            return Ok(Poll::Ready(Read::Nothing));
        }
        let (wire, receiver) = (&mut self.wire, &mut self.receiver);
        let mut take = |frame: Frame<'_>, within: Option<&_>| {
            if let Some(opened) = receiver.take(frame, within)? {
                streams.push(begin(opened));
            }
            Ok(())
        };
        wire.take_buffered(&mut take)?;
        match wire.poll_read(self.shared.buffers(), context, take) {
            Poll::Ready(read) => Ok(Poll::Ready(read?)),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    /// Writes what waits. Gives whether nothing is left. An answer that `ended` may have been the last
    /// one, from which on the connection is idle: that is seen when it is flushed.
    fn write(&mut self, ended: bool, context: &mut Context<'_>) -> Result<bool, Failed> {
        if ended {
            self.wire.socket().was_busy();
        }
        let mut out = self.mux.out.borrow_mut();
        if out.is_empty() && !ended && !self.wire.is_unflushed() {
            return Ok(true);
        }
        match self.wire.poll_write(&mut out, context) {
            Poll::Ready(written) => written.map(|()| true).map_err(Failed::Io),
            Poll::Pending => Ok(false),
        }
    }
}

/// Answers a request. From here on the connection is busy, also before the future is polled.
pub(in crate::server::http2) fn answer<'a, H: Handler>(
    opened: Opened,
    mux: &'a Rc<Mux>,
    shared: &'a Shared<H>,
) -> impl Future<Output = ()> + 'a {
    let guard = shared.begin_request();
    let Opened { stream, head } = opened;
    let wanted = Wanted::by(&head.method);
    let body = body_of(&stream, mux, shared);
    let request = Request { head, body };
    async move {
        let _guard = guard;
        let mut answered = pin!(respond(request, wanted, &stream, (mux, shared)));
        poll_fn(|context| {
            if stream.poll_gone(context).is_ready() {
                return Poll::Ready(());
            }
            answered.as_mut().poll(context)
        })
        .await;
    }
}

fn body_of<H>(stream: &Rc<Stream>, mux: &Rc<Mux>, shared: &Shared<H>) -> RequestBody {
    if stream.received.borrow().is_ended {
        return RequestBody::nothing();
    }
    let pull: Rc<dyn Pull> = Rc::new(Upload {
        mux: Rc::clone(mux),
        stream: Rc::clone(stream),
    });
    RequestBody::pulled(pull, shared.limits().body_idle_timeout)
}

async fn respond<H: Handler>(
    request: Request<RequestBody>,
    wanted: Wanted,
    stream: &Stream,
    (mux, shared): (&Mux, &Shared<H>),
) {
    let response = shared.handler().answer(request, shared.peer()).await;
    let sent = match Answering::new(response, wanted) {
        Ok(mut answering) => poll_fn(|context| answering.poll(mux, stream, context)).await,
        Err(error) => Err(error),
    };
    if let Err(error) = sent {
        tracing::debug!(message = crate::telemetry::event::CONNECTION_FAILED, %error);
        mux.reset(stream.id, Code::Internal);
        return;
    }
    // An app server may answer first, and read what it is sent all the same.
    poll_fn(|_context| stream.poll_read()).await;
    mux.answered(stream);
}

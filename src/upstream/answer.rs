//! The body of an app server's answer, on its way to the client. Gives its connection back when it
//! has come to its end, and breaks off when the app server does.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::upstream::Sendable;
use crate::upstream::fault::Fault;
use crate::upstream::http1::pool::{Connection, Pool};
use crate::upstream::http1::relay::{self, Relayed};
use crate::upstream::http1::{Broken, Sending};
use crate::upstream::http2::receiving::Receiving;

/// Why an answer broke off. The client must not see a clean end.
#[derive(Debug, thiserror::Error)]
pub enum BrokenAnswer {
    /// The app server broke off or did not keep to HTTP.
    #[error("the app server broke its answer off")]
    Broken(#[source] Fault),
    /// The app server was silent for longer than `stream_idle_timeout`.
    #[error("the app server stopped sending its answer")]
    Idle,
    /// The request broke off while it was being answered. The client's fault.
    #[error("the request broke off while it was being answered")]
    Request,
}

impl From<Broken> for BrokenAnswer {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Fault(fault) => Self::Broken(fault.into()),
            Broken::Idle => Self::Idle,
        }
    }
}

/// The body of an answer.
pub struct AnswerBody {
    source: Source,
    /// Why it breaks off, when that is still to be told.
    broken: Option<Box<BrokenAnswer>>,
}

enum Source {
    /// Read by whoever asks for it.
    Direct(Direct),
    /// Comes beside others over HTTP/2. Apart, so that the others are no larger for it.
    Multiplexed(Box<Receiving>),
    /// Read by a task of its own, because the request is still being sent as well.
    Relayed(Relayed),
}

/// An answer that comes over a connection.
pub(in crate::upstream) struct Direct {
    /// Until the answer has come to its end.
    connection: Option<Box<Connection>>,
    /// Where the connection goes then; nowhere when it can carry nothing more.
    home: Option<Rc<Pool>>,
}

impl Direct {
    pub(in crate::upstream) fn new(connection: Box<Connection>, home: Option<Rc<Pool>>) -> Self {
        let mut direct = Self {
            connection: Some(connection),
            home,
        };
        direct.settle();
        direct
    }

    /// Lets go of the connection when the answer has come to its end.
    fn settle(&mut self) {
        if !self.is_over() {
            return;
        }
        if let (Some(connection), Some(home)) = (self.connection.take(), self.home.take()) {
            home.put_back(connection);
        }
    }

    pub(in crate::upstream) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(None);
        };
        let polled = ready!(connection.poll_answer(context));
        self.settle();
        Poll::Ready(polled.map(|read| read.map_err(BrokenAnswer::from)))
    }
}

impl Direct {
    fn is_over(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_none_or(|connection| connection.answer.decoder.is_done())
    }

    fn remaining(&self) -> Option<u64> {
        let connection = self.connection.as_ref();
        connection.map_or(Some(0), |connection| connection.answer.decoder.remaining())
    }
}

impl AnswerBody {
    /// An answer to a request that has been sent to its end.
    pub(in crate::upstream) fn direct(connection: Box<Connection>, home: Option<Rc<Pool>>) -> Self {
        Self::new(Source::Direct(Direct::new(connection, home)))
    }

    /// An answer to a request that is still being sent.
    pub(in crate::upstream) fn relayed<B>(
        connection: Box<Connection>,
        sending: Sending<B>,
        home: Option<Rc<Pool>>,
    ) -> Self
    where
        B: Sendable,
    {
        let relayed = relay::start(connection, sending, home);
        Self::new(Source::Relayed(relayed))
    }

    /// An answer over HTTP/2.
    pub(in crate::upstream) fn multiplexed(receiving: Receiving) -> Self {
        Self::new(Source::Multiplexed(Box::new(receiving)))
    }

    fn new(source: Source) -> Self {
        Self {
            source,
            broken: None,
        }
    }

    fn poll_source(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        match &mut self.source {
            Source::Direct(direct) => direct.poll_frame(context),
            Source::Multiplexed(receiving) => receiving.poll_frame(context),
            Source::Relayed(relayed) => relayed.poll_frame(context),
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenAnswer;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        if let Some(broken) = self.broken.take() {
            return Poll::Ready(Some(Err(*broken)));
        }
        match self.poll_source(context) {
            Poll::Ready(Some(Err(broken))) => {
                // The server drops what it has not written yet when a body fails, and writes when
                // a body makes it wait. The client should see as much as there was.
                self.broken = Some(Box::new(broken));
                context.waker().wake_by_ref();
                Poll::Pending
            }
            polled => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Direct(direct) => direct.is_over(),
            Source::Multiplexed(receiving) => receiving.is_over(),
            Source::Relayed(relayed) => relayed.remaining() == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let remaining = match &self.source {
            Source::Direct(direct) => direct.remaining(),
            Source::Multiplexed(receiving) => receiving.remaining(),
            Source::Relayed(relayed) => relayed.remaining(),
        };
        remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerBody(..)")
    }
}

//! The body of an app server's answer, on its way to the client. Gives its connection back when it
//! has come to its end, and breaks off when the app server does.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::upstream::BoxError;
use crate::upstream::pool::{Connection, Pool};

/// Why an answer broke off. The client must not see a clean end.
#[derive(Debug, thiserror::Error)]
pub enum BrokenAnswer {
    /// The app server broke off or did not keep to HTTP.
    #[error("the app server broke its answer off")]
    Closed(#[source] hyper::Error),
    /// The app server was silent for longer than `stream_idle_timeout`.
    #[error("the app server stopped sending its answer")]
    Idle,
}

/// The body of an answer.
pub struct AnswerBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + 'static,
{
    inner: Incoming,
    /// Until the answer has come to its end.
    connection: Option<Connection<B>>,
    pool: Rc<Pool<B>>,
    idle: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl<B> AnswerBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + 'static,
{
    pub(in crate::upstream) fn new(
        inner: Incoming,
        connection: Connection<B>,
        pool: Rc<Pool<B>>,
    ) -> Self {
        let idle = pool.shared().settings().stream_idle_timeout;
        let idle = idle.map(|timeout| (timeout, Box::pin(tokio::time::sleep(timeout))));
        let mut body = Self {
            inner,
            connection: Some(connection),
            pool,
            idle,
        };
        if body.inner.is_end_stream() {
            body.give_back();
        }
        body
    }

    fn give_back(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.put_back(connection);
        }
    }

    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.idle {
            Some((_, timer)) => timer.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}

impl<B> Body for AnswerBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + 'static,
{
    type Data = Bytes;
    type Error = BrokenAnswer;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some((timeout, timer)) = &mut self.idle {
                    timer.as_mut().reset(Instant::now() + *timeout);
                }
                if self.inner.is_end_stream() {
                    self.give_back();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(BrokenAnswer::Closed(error)))),
            Poll::Ready(None) => {
                self.give_back();
                Poll::Ready(None)
            }
            Poll::Pending if self.poll_idle(context).is_ready() => {
                Poll::Ready(Some(Err(BrokenAnswer::Idle)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> fmt::Debug for AnswerBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerBody(..)")
    }
}

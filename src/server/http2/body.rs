//! The body of one request among those of a connection. What is read of it opens the client's
//! windows again; what is not keeps them shut, so no more waits than they admit.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::server::body::{Broken, Pull};
use crate::server::http2::mux::Mux;
use crate::server::http2::stream::Stream;

/// The body of one request.
#[derive(Debug)]
pub(in crate::server::http2) struct Upload {
    pub(in crate::server::http2) mux: Rc<Mux>,
    pub(in crate::server::http2) stream: Rc<Stream>,
}

impl Pull for Upload {
    fn poll_frame(&self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        // What had come is gone then, too.
        if self.stream.is_gone() {
            return Poll::Ready(Some(Err(Broken)));
        }
        let mut received = self.stream.received.borrow_mut();
        if let Some(data) = received.take() {
            drop(received);
            self.mux.give_credit(Some(&self.stream), data.len());
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(trailers) = received.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if received.is_ended {
            return Poll::Ready(None);
        }
        received.wait(context);
        drop(received);
        self.mux.want(&self.stream);
        Poll::Pending
    }

    fn is_over(&self) -> bool {
        self.stream.received.borrow().is_over()
    }

    fn size_hint(&self) -> SizeHint {
        let received = self.stream.received.borrow();
        received
            .unread()
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    fn let_go(&self) {
        self.mux.let_go(&self.stream);
    }
}

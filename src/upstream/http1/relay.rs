//! An answer that has begun before its request was sent to its end. A task of its own sends the
//! one and reads the other, so that neither waits for the other: an app server may answer as it
//! reads, and a client may read only when it has sent everything.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::mpsc;

use crate::upstream::answer::BrokenAnswer;
use crate::upstream::http1::Sending;
use crate::upstream::http1::pool::{Connection, Pool};
use crate::upstream::{BoxError, Sendable};

/// Pieces of an answer that wait for the client.
const MAX_WAITING: usize = 1;

/// What the task passes on.
enum Passed {
    Frame(Frame<Bytes>),
    Broken(BrokenAnswer),
    End,
}

/// The answer, as it is passed on.
pub(in crate::upstream) struct Relayed {
    passed: mpsc::Receiver<Passed>,
    /// Bytes that are still to come, when that is known.
    remaining: Option<u64>,
    ended: bool,
}

/// Starts the task. It ends when the answer has, or when nobody reads it any more.
pub(in crate::upstream) fn start<B>(
    connection: Box<Connection>,
    sending: Sending<B>,
    home: Option<Rc<Pool>>,
) -> Relayed
where
    B: Sendable,
{
    let (pass, passed) = mpsc::channel(MAX_WAITING);
    let remaining = connection.answer.decoder.remaining();
    tokio::task::spawn_local(relay((connection, home), sending, pass));
    Relayed {
        passed,
        remaining,
        ended: remaining == Some(0),
    }
}

async fn relay<B>(
    (connection, home): (Box<Connection>, Option<Rc<Pool>>),
    mut sending: Sending<B>,
    pass: mpsc::Sender<Passed>,
) where
    B: Sendable,
{
    let connection = RefCell::new(connection);
    let whole = {
        let send = poll_fn(|context| {
            let mut connection = connection.borrow_mut();
            sending.poll_on(connection.wire.socket(), context)
        });
        let read = pass_on(&connection, &pass);
        both(send, read, &pass).await
    };
    // An app server that has answered without reading everything gets no other request.
    if whole
        && sending.is_done()
        && let Some(home) = home
    {
        home.put_back(connection.into_inner());
    }
}

/// Sends and reads side by side; gives whether the answer came to its end.
async fn both(
    send: impl Future<Output = Result<(), BoxError>>,
    read: impl Future<Output = bool>,
    pass: &mpsc::Sender<Passed>,
) -> bool {
    let (mut send, mut read) = (std::pin::pin!(send), std::pin::pin!(read));
    let mut sends = true;
    loop {
        tokio::select! {
            biased;
            sent = &mut send, if sends => match sent {
                Ok(()) => sends = false,
                // Nothing more can be done for a client that does not finish its request: it sees
                // its answer break off.
                Err(_broken) => return false,
            },
            whole = &mut read => return whole,
            () = pass.closed() => return false,
        }
    }
}

/// Passes the answer on to its end; gives whether it had one.
async fn pass_on(connection: &RefCell<Box<Connection>>, pass: &mpsc::Sender<Passed>) -> bool {
    while let Ok(room) = pass.reserve().await {
        let read = poll_fn(|context| connection.borrow_mut().poll_answer(context));
        match read.await {
            Some(Ok(frame)) => room.send(Passed::Frame(frame)),
            Some(Err(broken)) => {
                room.send(Passed::Broken(broken.into()));
                return false;
            }
            None => {
                room.send(Passed::End);
                return true;
            }
        }
    }
    false
}

impl Relayed {
    /// Bytes that are still to come, when that is known.
    pub(in crate::upstream) fn remaining(&self) -> Option<u64> {
        if self.ended { Some(0) } else { self.remaining }
    }

    pub(in crate::upstream) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match ready!(self.passed.poll_recv(context)) {
            Some(Passed::Frame(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
                self.remaining = self.remaining.map(|left| left.saturating_sub(bytes));
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Passed::Broken(broken)) => Poll::Ready(Some(Err(broken))),
            Some(Passed::End) => {
                self.ended = true;
                Poll::Ready(None)
            }
            None => Poll::Ready(Some(Err(BrokenAnswer::Request))),
        }
    }
}

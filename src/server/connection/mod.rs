//! One connection from its first byte to its last: HTTP/1 or HTTP/2, whichever the client speaks. Finds
//! out which; the rest is with `http1` and `http2`.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use tokio::io::AsyncWriteExt;

use crate::codec::{SpareBuffers, SpareHeads};
use crate::domain::peer::Peer;
use crate::domain::request::Request;
use crate::domain::response::Response;
use crate::server::body::RequestBody;
use crate::server::ending::Ending;
use crate::server::http2::frame::{HEAD_BYTES, PREFACE};
use crate::server::socket::Socket;
use crate::server::state::{RequestGuard, State};
use crate::server::watched::Watched;
use crate::server::{Limits, http1, http2};

/// How long a connection that is over may take to say goodbye.
pub(in crate::server) const GOODBYE: Duration = Duration::from_secs(1);

/// Whatever went wrong with a body while it was being sent.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Answers requests. One per worker, so it need not be shared between threads.
pub trait Handler: 'static {
    /// The body of its answers.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static;

    /// Answers one request. Has no way to fail: a refusal is an answer.
    fn answer<'a>(
        &'a self,
        request: Request<RequestBody>,
        peer: &'a Arc<Peer>,
    ) -> impl Future<Output = Response<Self::Body>>;

    /// Something came that is no request, and was answered with a bare status.
    fn not_http(&self);
}

/// What all connections of one worker share.
#[derive(Debug)]
pub(in crate::server) struct Service<H> {
    pub(in crate::server) handler: Rc<H>,
    pub(in crate::server) limits: Limits,
    /// Memory for the heads of answers.
    pub(in crate::server) heads: SpareHeads,
    /// Memory for the bodies of requests.
    pub(in crate::server) buffers: SpareBuffers,
}

/// What all requests of one connection share.
#[derive(Debug)]
pub(in crate::server) struct Shared<H> {
    service: Rc<Service<H>>,
    peer: Arc<Peer>,
    state: Rc<State>,
}

impl<H> Shared<H> {
    pub(in crate::server) fn handler(&self) -> &H {
        &self.service.handler
    }

    pub(in crate::server) fn limits(&self) -> &Limits {
        &self.service.limits
    }

    pub(in crate::server) fn heads(&self) -> &SpareHeads {
        &self.service.heads
    }

    pub(in crate::server) fn buffers(&self) -> &SpareBuffers {
        &self.service.buffers
    }

    pub(in crate::server) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    pub(in crate::server) fn state(&self) -> &State {
        &self.state
    }

    /// From here on, and as long as the guard lives, the connection is busy.
    pub(in crate::server) fn begin_request(&self) -> RequestGuard {
        self.state.begin_request()
    }
}

/// Serves one connection until it ends. No `async fn`: that would keep room for the socket twice, and a
/// connection is as large as what serves it.
pub(in crate::server) fn serve<S, H>(
    mut socket: Watched<S>,
    peer: Arc<Peer>,
    state: Rc<State>,
    service: Rc<Service<H>>,
) -> impl Future<Output = ()>
where
    S: Socket,
    H: Handler,
{
    let shared = Shared {
        service,
        peer,
        state,
    };
    async move {
        match first_bytes(&mut socket, &shared.state).await {
            Ok(Some(Protocol::Http1)) => http1::serve(socket, &shared).await,
            // On the heap, as an idle connection of HTTP/1 should not be as large.
            Ok(Some(Protocol::Http2)) => Box::pin(http2::serve(socket, &shared)).await,
            // It said nothing, and so there is nothing to say about it.
            Ok(None) | Err(_) => {}
        }
    }
}

/// What a client speaks.
enum Protocol {
    Http1,
    Http2,
}

/// Waits for as many bytes as tell what the client speaks; `None` when it says nothing.
async fn first_bytes<S>(socket: &mut Watched<S>, state: &State) -> io::Result<Option<Protocol>>
where
    S: Socket,
{
    let mut wanted = 1;
    while let Some(come) = early(socket, state, wanted).await? {
        let more = come.len() >= wanted;
        match come.split_at_checked(PREFACE.len()) {
            Some((PREFACE, first)) => match first.get(..HEAD_BYTES) {
                Some(head) => return Ok(is_settings(head).then_some(Protocol::Http2)),
                None if more => wanted = come.len() + 1,
                None => return Ok(None),
            },
            None if PREFACE.starts_with(come) && more => wanted = come.len() + 1,
            _ => return Ok(Some(Protocol::Http1)),
        }
    }
    Ok(None)
}

/// Whether a frame with this head may be a client's first one: SETTINGS that acknowledges nothing
/// (RFC 9113 §3.4).
fn is_settings(head: &[u8]) -> bool {
    const SETTINGS: u8 = 4;
    const ACK: u8 = 1;
    matches!(head, [_, _, _, SETTINGS, flags, ..] if flags & ACK == 0)
}

/// Waits, without a buffer, until this many bytes have come or the client has closed; `None` when
/// the connection ends.
async fn early<'a, S>(
    socket: &'a mut Watched<S>,
    state: &State,
    wanted: usize,
) -> io::Result<Option<&'a BytesMut>>
where
    S: Socket,
{
    let mut ending = Ending::default();
    let come = poll_fn(|context| {
        if let Poll::Ready(read) = socket.poll_early(context, wanted) {
            return Poll::Ready(read.map(BytesMut::is_empty));
        }
        ready!(ending.poll(state, context));
        Poll::Ready(Ok(true))
    });
    let nothing = come.await?;
    state.ask_again();
    if nothing {
        // Whether the client hears it or not.
        drop(tokio::time::timeout(GOODBYE, socket.shutdown()).await);
        return Ok(None);
    }
    Ok(Some(socket.early()))
}

#[cfg(test)]
mod tests;

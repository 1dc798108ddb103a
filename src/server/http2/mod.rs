//! HTTP/2 with a client: one task that reads frames, has requests answered, and writes what comes of
//! them, all streams of a connection together. Nothing stands between the socket and the handler,
//! and what a client sends is read by the gate's own rules (`frame`, `head`, `codec::hpack`).

mod answer;
mod blocks;
mod body;
mod farewell;
mod floods;
pub mod frame;
pub mod head;
mod mux;
mod out;
mod past;
mod receive;
mod serve;
mod settings;
mod stream;
mod window;
mod wire;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use futures_util::stream::FuturesUnordered;
use tokio::io::AsyncWrite as _;
use tokio::time::timeout;

use crate::domain::limits;
use crate::server::connection::{GOODBYE, Handler, Shared};
use crate::server::http2::frame::ConnectionError;
use crate::server::http2::mux::Mux;
use crate::server::http2::receive::Receiver;
use crate::server::http2::serve::{Connection, Turn};
use crate::server::http2::wire::Wire;
use crate::server::socket::Socket;
use crate::server::watched::Watched;
use crate::telemetry::event;

/// Why a connection ended otherwise than after its last answer.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// What came was no HTTP/2.
    #[error(transparent)]
    Client(#[from] ConnectionError),
    /// Reading or writing failed, or a deadline has passed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Serves one connection until it ends.
pub(in crate::server) async fn serve<S, H>(socket: Watched<S>, shared: &Shared<H>)
where
    S: Socket,
    H: Handler,
{
    shared.state().set_multiplexed();
    let mux = Rc::new(Mux::new());
    let mut connection = Connection {
        wire: Wire::new(socket),
        receiver: Receiver::new(Rc::clone(&mux), shared.limits()),
        mux: Rc::clone(&mux),
        shared,
    };
    connection.open();
    let ended = serve_streams(&mut connection).await;
    // Whoever still has a part in a request is elsewhere, and hears that nobody waits.
    mux.give_up();
    let peer = shared.peer().address();
    match &ended {
        Ok(()) => {}
        // Something that was no HTTP is worth a line; a client that went away is not.
        Err(Failed::Client(fault)) => {
            tracing::info!(message = event::NOT_HTTP, error = %fault, %peer);
            let last = connection.receiver.last_that_counts();
            mux.out.borrow_mut().add_goaway(last, fault.code);
        }
        Err(error) => {
            tracing::debug!(message = event::CONNECTION_FAILED, %error, %peer);
            return;
        }
    }
    say_goodbye(&mut connection).await;
}

async fn serve_streams<S, H>(connection: &mut Connection<'_, S, H>) -> Result<(), Failed>
where
    S: Socket,
    H: Handler,
{
    let (mux, shared) = (Rc::clone(&connection.mux), connection.shared);
    let limits = shared.limits();
    let every = limits.body_idle_timeout.min(limits.header_timeout) / serve::LOOKS;
    let mut look = pin!(tokio::time::sleep(every));
    let mut streams = FuturesUnordered::new();
    let begin = |opened| serve::answer(opened, &mux, shared);
    poll_fn(|context| {
        while look.as_mut().poll(context).is_ready() {
            connection.look_for_late()?;
            let next = tokio::time::Instant::now() + every;
            look.as_mut().reset(next);
        }
        mux.begin_work(context);
        let turn = connection.poll(&mut streams, &begin, context);
        mux.end_work();
        match turn? {
            Turn::Waits => Poll::Pending,
            Turn::Over => Poll::Ready(Ok(())),
        }
    })
    .await
}

/// Ends a connection so that the client gets what was said last.
async fn say_goodbye<S, H>(connection: &mut Connection<'_, S, H>)
where
    S: Socket,
{
    let wire = &mut connection.wire;
    let out = &connection.mux.out;
    let said = poll_fn(|context| {
        if wire
            .poll_write(&mut out.borrow_mut(), context)?
            .is_pending()
        {
            return Poll::Pending;
        }
        Pin::new(wire.socket()).poll_shutdown(context)
    });
    if !matches!(timeout(GOODBYE, said).await, Ok(Ok(()))) {
        return;
    }
    // A connection that is closed over unread bytes is reset, and takes the last word with it.
    let wire = &mut connection.wire;
    let mut left = limits::MAX_DRAINED_BYTES;
    let discard = poll_fn(|context| wire.poll_discard(&mut left, context));
    drop(timeout(GOODBYE, discard).await);
}

#[cfg(test)]
mod head_tests;
#[cfg(test)]
mod mux_tests;

//! HTTP/1.1 and 1.0 with a client: one task that reads a request, has it answered, and writes the
//! answer, over and over. Nothing stands between the socket and the handler, and what a client sends
//! is read by the gate's own rules (`head`, `codec`).

mod answer;
pub(in crate::server) mod date;
pub mod head;
mod wire;

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{StatusCode, Version};
use http_body::Body;
use http_body_util::Empty;
use tokio::io::AsyncWrite as _;
use tokio::time::timeout;

use crate::codec::Fault;
use crate::domain::fields::HeaderFields;
use crate::domain::limits;
use crate::domain::names;
use crate::domain::request::Request;
use crate::domain::response::Response;
use crate::server::answer::Wanted;
use crate::server::body::{Pull, RequestBody};
use crate::server::connection::{BoxError, GOODBYE, Handler, Shared};
use crate::server::ending::Ending;
use crate::server::http1::answer::{Answering, Terms, Unanswered};
use crate::server::http1::head::{HeadLimits, Received, status_for};
use crate::server::http1::wire::Wire;
use crate::server::socket::Socket;
use crate::server::upgrade::{ClientUpgrade, Upgrading};
use crate::server::watched::Watched;
use crate::telemetry::event;

/// Why a connection ended otherwise than by a last answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum Failed {
    /// What came was no request.
    #[error(transparent)]
    Request(#[from] Fault),
    /// An answer did not come to its end.
    #[error(transparent)]
    Answer(#[from] Unanswered),
}

/// What becomes of a connection after an answer.
enum After {
    Next,
    Close,
    /// It is a tunnel from now on.
    Tunnel(Upgrading),
    /// The client has gone.
    Gone,
}

type Shares<S> = Rc<RefCell<Wire<S>>>;

/// Serves one connection until it ends.
pub(in crate::server) fn serve<S, H>(
    socket: Watched<S>,
    shared: &Shared<H>,
) -> impl Future<Output = ()>
where
    S: Socket,
    H: Handler,
{
    let wire = Rc::new(RefCell::new(Wire::new(socket)));
    async move { report(take_turns(wire, shared).await, shared) }
}

fn report<H: Handler>(ended: Result<(), Failed>, shared: &Shared<H>) {
    let peer = shared.peer().address();
    match ended {
        Ok(()) => {}
        // Something that was no HTTP is worth a line; a client that went away is not.
        Err(Failed::Request(fault)) if is_clients_doing(&fault) => {
            shared.handler().not_http();
            tracing::info!(message = event::NOT_HTTP, error = %fault, %peer);
        }
        Err(error) => tracing::debug!(message = event::CONNECTION_FAILED, %error, %peer),
    }
}

/// Whether somebody sent something that is no request, instead of nothing more.
fn is_clients_doing(fault: &Fault) -> bool {
    !matches!(fault, Fault::Io(_) | Fault::Closed)
}

/// A request, its answer, the next request.
async fn take_turns<S, H>(wire: Shares<S>, shared: &Shared<H>) -> Result<(), Failed>
where
    S: Socket,
    H: Handler,
{
    // A head that is a little too large is to be refused with a problem document, so it is read.
    let limits = HeadLimits {
        bytes: shared.limits().max_header_bytes.saturating_mul(2),
        fields: shared.limits().max_headers.saturating_mul(2),
    };
    let mut ending = Ending::default();
    loop {
        let head = poll_fn(|context| next_head(&wire, limits, (shared, &mut ending), context));
        let head = match head.await {
            Ok(Some(head)) => head,
            Ok(None) => break,
            Err(fault) => {
                refuse(&wire, &fault).await;
                return Err(fault.into());
            }
        };
        match answer(&wire, head, shared).await? {
            After::Next => {}
            After::Close => break,
            After::Gone => return Ok(()),
            After::Tunnel(upgrading) => {
                // A request for a tunnel has no body, so nobody else has a share.
                if let Some(wire) = Rc::into_inner(wire) {
                    upgrading.hand_over(wire.into_inner().into_socket());
                }
                return Ok(());
            }
        }
    }
    say_goodbye(wire).await;
    Ok(())
}

/// The head of the next request; `None` when there will be none.
fn next_head<S, H>(
    wire: &RefCell<Wire<S>>,
    limits: HeadLimits,
    (shared, ending): (&Shared<H>, &mut Ending),
    context: &mut Context<'_>,
) -> Poll<Result<Option<Received>, Fault>>
where
    S: Socket,
    H: Handler,
{
    let mut wire = wire.borrow_mut();
    if let Poll::Ready(head) = wire.poll_head(context, limits) {
        return Poll::Ready(head);
    }
    ready!(ending.poll(shared.state(), context));
    if wire.is_quiet() {
        return Poll::Ready(Ok(None));
    }
    // A request that has begun to come is answered first. There is a deadline for it.
    Poll::Pending
}

/// Has a request answered.
async fn answer<S, H>(
    wire: &Shares<S>,
    received: Received,
    shared: &Shared<H>,
) -> Result<After, Failed>
where
    S: Socket,
    H: Handler,
{
    // From here on the connection is busy, until the answer is written.
    let _guard = shared.begin_request();
    let mut terms = Terms {
        wanted: Wanted::by(&received.head.method),
        version: received.head.version,
        takes_trailers: received.said.takes_trailers,
        persists: received.said.persists,
    };
    let (request, upgrading) = request_of(wire, received, shared);
    let progress = request.body.progress();
    let Some(response) = answer_of(wire, request, shared).await else {
        return Ok(After::Gone);
    };
    let switches = response.status == StatusCode::SWITCHING_PROTOCOLS;
    if switches {
        shared.state().set_tunnelled();
    }
    let mut space = shared.heads().take();
    {
        let mut wire = wire.borrow_mut();
        wire.skip_what_is_there();
        terms.persists &= wire.is_read() && progress.fault().is_none();
        terms.persists &= !shared.state().is_retired();
        space.extend_from_slice(wire.begin_answer());
    }
    let mut answering = Answering::new(response, terms, space);
    let persists = terms.persists && !answering.ends_connection();
    send(wire, &mut answering).await?;
    shared.heads().give_back(answering.into_space());
    if switches {
        return Ok(upgrading.map_or(After::Close, After::Tunnel));
    }
    if persists {
        wire.borrow_mut().end_body(shared.buffers());
        return Ok(After::Next);
    }
    Ok(After::Close)
}

/// A request as the handler takes it, its body still to come; and where the connection goes if it becomes
/// a tunnel, when that is asked for.
fn request_of<S, H>(
    wire: &Shares<S>,
    received: Received,
    shared: &Shared<H>,
) -> (Request<RequestBody>, Option<Upgrading>)
where
    S: Socket,
    H: Handler,
{
    let Received { head, body, said } = received;
    let has_body = wire
        .borrow_mut()
        .begin_body(body, said.expects, shared.buffers());
    let mut body = if has_body {
        let pull: Rc<dyn Pull> = Rc::<RefCell<Wire<S>>>::clone(wire);
        RequestBody::pulled(pull, shared.limits().body_idle_timeout)
    } else {
        RequestBody::nothing()
    };
    let upgrading = head.fields.has(names::UPGRADE).then(|| {
        let (upgrading, upgrade) = ClientUpgrade::pair();
        body.set_upgrade(upgrade);
        upgrading
    });
    (Request { head, body }, upgrading)
}

/// The answer to a request; `None` when the client has gone before there was one.
async fn answer_of<S, H>(
    wire: &RefCell<Wire<S>>,
    request: Request<RequestBody>,
    shared: &Shared<H>,
) -> Option<Response<H::Body>>
where
    S: Socket,
    H: Handler,
{
    let mut answered = pin!(shared.handler().answer(request, shared.peer()));
    poll_fn(|context| {
        if let Poll::Ready(response) = answered.as_mut().poll(context) {
            return Poll::Ready(Some(response));
        }
        wire.borrow_mut().poll_gone(context).map(|()| None)
    })
    .await
}

/// Sends an answer to its end.
async fn send<S, B>(wire: &RefCell<Wire<S>>, answering: &mut Answering<B>) -> Result<(), Unanswered>
where
    S: Socket,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let unfinished = Unfinished {
        wire: answering.ends_connection().then_some(wire),
    };
    poll_fn(|context| {
        if let Poll::Ready(sent) = answering.poll(wire, context) {
            return Poll::Ready(sent);
        }
        // Some clients read nothing before they have sent everything.
        let mut wire = wire.borrow_mut();
        ready!(wire.poll_skip(context));
        wire.poll_gone(context).map(|()| Err(Unanswered::Gone))
    })
    .await?;
    unfinished.finish();
    Ok(())
}

/// An answer whose end is that of the connection. Unless it has come there, the connection does not end
/// cleanly: also when nobody goes on with it, because the process ends.
struct Unfinished<'a, S: Socket> {
    wire: Option<&'a RefCell<Wire<S>>>,
}

impl<S: Socket> Unfinished<'_, S> {
    fn finish(mut self) {
        self.wire = None;
    }
}

impl<S: Socket> Drop for Unfinished<'_, S> {
    fn drop(&mut self) {
        if let Some(mut wire) = self.wire.and_then(|wire| wire.try_borrow_mut().ok()) {
            wire.socket().break_off();
        }
    }
}

/// Tells a client that what it sent is no request.
async fn refuse<S>(wire: &RefCell<Wire<S>>, fault: &Fault)
where
    S: Socket,
{
    if !is_clients_doing(fault) {
        return;
    }
    let response = Response {
        status: status_for(fault),
        passed: HeaderFields::default(),
        own: Vec::new(),
        request_id: None,
        body: Empty::<Bytes>::new(),
    };
    let terms = Terms {
        wanted: Wanted::Whole,
        version: Version::HTTP_11,
        takes_trailers: false,
        persists: false,
    };
    let mut answering = Answering::new(response, terms, Vec::new());
    let sent = send(wire, &mut answering).await;
    if sent.is_ok() && shut(wire).await {
        discard(wire).await;
    }
}

/// Ends a connection so that the client gets the last answer.
async fn say_goodbye<S>(wire: Shares<S>)
where
    S: Socket,
{
    let unread = poll_fn(|context| Poll::Ready(wire.borrow_mut().has_unread(context))).await;
    // Nothing is left to be read, and nobody else has a share: it closes here.
    let is_sent = !wire.borrow_mut().socket().has_written_last();
    if S::CLOSE_IS_GOODBYE && is_sent && !unread && Rc::strong_count(&wire) == 1 {
        return;
    }
    let skip = poll_fn(|context| wire.borrow_mut().poll_skip(context));
    // Whether the rest came, or the client hears the end, makes no difference any more.
    drop(timeout(limits::DRAIN_REFUSED_FOR, skip).await);
    let unread = poll_fn(|context| Poll::Ready(wire.borrow_mut().has_unread(context))).await;
    if shut(&wire).await && unread {
        discard(&wire).await;
    }
}

/// Reads what nobody will read, for a moment: a connection that is closed over unread bytes is reset,
/// and takes the answer with it.
async fn discard<S: Socket>(wire: &RefCell<Wire<S>>) {
    let mut left = limits::MAX_DRAINED_BYTES;
    let discard = poll_fn(|context| wire.borrow_mut().poll_discard(context, &mut left));
    drop(timeout(GOODBYE, discard).await);
}

/// Says that nothing more comes. Gives whether the client can have heard it.
async fn shut<S>(wire: &RefCell<Wire<S>>) -> bool
where
    S: Socket,
{
    let shut = poll_fn(|context| Pin::new(wire.borrow_mut().socket()).poll_shutdown(context));
    matches!(timeout(GOODBYE, shut).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests;

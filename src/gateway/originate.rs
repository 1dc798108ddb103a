//! Requests that the gate itself makes to the app server, on account of one that came in: login hook,
//! delivery, push. Knows nothing of what they say.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use tokio::time::Instant;

use crate::domain::clock::Clock;
use crate::domain::identity::{Cause, Clean, Identity, Message, Outbound, Presented};
use crate::domain::response::Response;
use crate::domain::trace::{RequestId, TraceParent};
use crate::gateway::books::{self, Books};
use crate::gateway::refusal::Refusal;
use crate::gateway::{Gateway, Visit};
use crate::telemetry::metrics::{Failure, Method, Outcome};
use crate::upstream::{self, Answered, Exchange, Index};

/// A request of the gate's own, but for what it says: all that it needs of the one that caused it.
/// Holds nothing of the visit, so it may outlive it, on the worker's thread.
#[derive(Clone)]
pub(in crate::gateway) struct OwnRequest {
    exchange: Exchange,
    books: Rc<Books>,
    cause: Cause,
    request_id: RequestId,
    traceparent: TraceParent,
    clock: Clock,
}

impl Gateway {
    /// Takes note of a request that will make the gate send one of its own.
    pub(in crate::gateway) fn own_request<B>(
        &self,
        visit: &mut Visit<'_>,
        request: &Clean<B>,
        presented: &Presented,
    ) -> OwnRequest {
        let came = request.traceparent();
        let traceparent = came.unwrap_or_else(|| self.ids.borrow_mut().traceparent());
        visit.entry.traced(traceparent);
        OwnRequest {
            exchange: self.exchange.clone(),
            books: Rc::clone(&self.books),
            cause: request.cause(presented),
            request_id: visit.request_id.clone(),
            traceparent,
            clock: self.shared.clock.clone(),
        }
    }

    /// Makes a POST to the first app server, and gives the answer as it comes. The time for the
    /// answer runs from now on.
    pub(in crate::gateway) async fn originate(
        &self,
        visit: &mut Visit<'_>,
        own_request: OwnRequest,
        message: Message,
        identity: Identity,
    ) -> Result<Response<upstream::AnswerBody>, Refusal> {
        let answered = own_request.post(message, identity).await;
        visit.entry.app_server_answered();
        answered.map_err(Refusal::Upstream)
    }
}

impl OwnRequest {
    /// The id under which the log knows the request that this is about.
    pub(in crate::gateway) fn request_id(&self) -> &RequestId {
        &self.request_id
    }

    /// How long the first app server may take to answer.
    pub(in crate::gateway) fn response_timeout(&self) -> Duration {
        let configured = self.exchange.response_timeout(Index::FIRST);
        // There is always a first app server.
        configured.unwrap_or_default()
    }

    /// The same for a task that outlives the visit.
    pub(in crate::gateway) async fn post(
        self,
        message: Message,
        identity: Identity,
    ) -> Result<Response<upstream::AnswerBody>, upstream::Error> {
        // Perhaps long after what caused it: a login waits for WeChat, and a push may be repeated.
        let said = self.clock.now();
        let mut outbound =
            Outbound::originate(message, identity, self.cause, self.request_id, said);
        outbound.start_trace(self.traceparent);
        let now = Instant::now();
        let written = self.exchange.write(Index::FIRST, outbound, now)?;
        let counted = Counted {
            books: self.books,
            since: now,
            outcome: Outcome::Failure(Failure::Cancelled),
        };
        let answered = counted.of(written.send().await);
        match answered? {
            Answered::Answer(response) => Ok(response),
            // Nobody asked for one.
            Answered::Tunnel(..) => Err(upstream::Error::UnaskedUpgrade),
        }
    }
}

/// A request of the gate's own, which is counted also when nobody waits for it any more.
struct Counted {
    books: Rc<Books>,
    since: Instant,
    outcome: Outcome,
}

impl Counted {
    fn of(
        mut self,
        answered: Result<Answered, upstream::Error>,
    ) -> Result<Answered, upstream::Error> {
        self.outcome = books::of_answered(&answered);
        answered
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let first = books::upstream_id(Index::FIRST);
        let took = self.since.elapsed();
        self.books
            .counts
            .asked(first, Method::Post, self.outcome, took);
    }
}

/// The whole of an answer's body; nothing when it breaks off or is longer than this.
pub(in crate::gateway) async fn read_answer<B>(body: B, max_bytes: usize) -> Option<Bytes>
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static>,
{
    let whole = Limited::new(body, max_bytes).collect().await.ok()?;
    Some(whole.to_bytes())
}

//! Requests whose session this gate has not seen, or not of late: the store is asked, and then they go on
//! as all others. Where sessions are in this process there are none.

use crate::domain::identity::{Clean, Presented};
use crate::domain::response::Response;
use crate::domain::token::TokenDigest;
use crate::gateway::body::AnswerBody;
use crate::gateway::refusal::Refusal;
use crate::gateway::route::Require;
use crate::gateway::{Course, Gateway, Visit};
use crate::server::body::RequestBody;
use crate::upstream::Index;

/// Where a request goes once it is known who it is from.
#[derive(Clone, Copy, Debug)]
pub(in crate::gateway) struct Way {
    /// Whether its body is opened before.
    pub(in crate::gateway) opens: bool,
    pub(in crate::gateway) upstream: Index,
}

/// A request with a token that the store has to be asked about.
#[derive(Debug)]
pub(in crate::gateway) struct Unseen {
    pub(in crate::gateway) digest: TokenDigest,
    pub(in crate::gateway) require: Require,
    pub(in crate::gateway) way: Way,
    pub(in crate::gateway) request: Clean<RequestBody>,
    pub(in crate::gateway) presented: Presented,
}

impl Gateway {
    /// Finds out who the request is from, and sends it on.
    pub(in crate::gateway) async fn see(
        &self,
        visit: &mut Visit<'_>,
        unseen: Unseen,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let Unseen {
            digest,
            require,
            way,
            request,
            presented,
        } = unseen;
        let live = self.sight_of(visit, digest, (&presented, require)).await?;
        match self.go(visit, way, (request, presented), live)? {
            Course::Forward(forwarding) => self.forward(visit, forwarding).await,
            Course::OpenData(body) => self.open_body(visit, *body).await,
            Course::Endpoint(..) | Course::FirstSight(_) => Err(Refusal::Internal),
        }
    }
}

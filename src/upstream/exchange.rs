//! Sends requests to the app servers, each in the way that it understands.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use tokio::time::Instant;

use crate::domain::identity::Outbound;
use crate::upstream::answer::AnswerBody;
use crate::upstream::http1;
use crate::upstream::shared::Shared;
use crate::upstream::tunnel::Tunnel;
use crate::upstream::{BoxError, Error, Index};

/// Sends requests to the app servers, from one worker.
pub struct Exchange {
    pools: Vec<Rc<http1::pool::Pool>>,
}

/// What an app server answered.
#[derive(Debug)]
pub enum Answered {
    /// An answer, its body still to come.
    Answer(Response<AnswerBody>),
    /// The WebSocket is open.
    Tunnel(Response<()>, Tunnel),
}

impl Exchange {
    /// For these app servers. Must be made on the thread that uses it, inside a local task set.
    pub fn new(upstreams: &[Arc<Shared>]) -> Self {
        Self {
            pools: upstreams
                .iter()
                .map(|shared| http1::pool::Pool::new(Arc::clone(shared)))
                .collect(),
        }
    }

    /// Sends a request to app server number `upstream`, and waits for the head of the answer. The
    /// time for that runs from `now` on.
    pub async fn send<B>(
        &self,
        upstream: Index,
        request: Outbound<B>,
        now: Instant,
    ) -> Result<Answered, Error>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static,
    {
        let pool = self.pools.get(upstream.get()).ok_or(Error::Overloaded)?;
        http1::exchange::send(pool, request.into_parts(), now).await
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exchange(..)")
    }
}

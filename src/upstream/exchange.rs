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
use crate::upstream::shared::Shared;
use crate::upstream::tunnel::Tunnel;
use crate::upstream::{BoxError, Error, Index, Protocol, http1, http2};

/// Sends requests to the app servers, from one worker.
pub struct Exchange {
    ways: Vec<Way>,
}

/// The connections to one app server.
enum Way {
    Http1(Rc<http1::pool::Pool>),
    Http2 {
        streams: Rc<http2::pool::Pool>,
        /// WebSockets are opened over HTTP/1.1, each on a connection of its own.
        websockets: Rc<http1::pool::Pool>,
    },
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
            ways: upstreams.iter().map(Way::to).collect(),
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
        let way = self.ways.get(upstream.get()).ok_or(Error::Overloaded)?;
        let request = request.into_parts();
        let pool = match way {
            Way::Http2 { streams, .. } if request.websocket.is_none() => {
                // Apart, so that a request over HTTP/1.1 is no larger for it.
                let answer = Box::pin(http2::exchange::send(streams, request, now)).await;
                return answer.map(Answered::Answer);
            }
            Way::Http1(pool)
            | Way::Http2 {
                websockets: pool, ..
            } => pool,
        };
        http1::exchange::send(pool, request, now).await
    }
}

impl Way {
    fn to(shared: &Arc<Shared>) -> Self {
        let http1 = http1::pool::Pool::new(Arc::clone(shared));
        match shared.settings().protocol {
            Protocol::Http1 => Self::Http1(http1),
            Protocol::Http2 => Self::Http2 {
                streams: http2::pool::Pool::new(Arc::clone(shared)),
                websockets: http1,
            },
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exchange(..)")
    }
}

//! Sends requests to the app servers, each in the way that it understands.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::identity::Outbound;
use crate::domain::response::Response;
use crate::splice::Pipes;
use crate::upstream::answer::AnswerBody;
use crate::upstream::shared::Shared;
use crate::upstream::tunnel::Tunnel;
use crate::upstream::{Error, Index, Protocol, Sendable, Settings, http1, http2};

/// Sends requests to the app servers, from one worker. A cheap handle, for the worker's own tasks.
#[derive(Clone)]
pub struct Exchange {
    ways: Rc<[Way]>,
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
        let pipes = Pipes::default();
        let to = |shared| Way::to(shared, &pipes);
        Self {
            ways: upstreams.iter().map(to).collect(),
        }
    }

    /// How long app server number `upstream` may take to answer a request.
    pub fn response_timeout(&self, upstream: Index) -> Option<Duration> {
        let way = self.ways.get(upstream.get())?;
        Some(way.settings().response_timeout)
    }

    /// Writes down a request to app server number `upstream`. The time for its answer runs from `now`
    /// on.
    pub fn write<B>(
        &self,
        upstream: Index,
        request: Outbound<B>,
        now: Instant,
    ) -> Result<Written<B>, Error>
    where
        B: Sendable,
    {
        let way = self.ways.get(upstream.get()).ok_or(Error::Overloaded)?;
        let request = request.into_parts();
        let pool = match way {
            Way::Http2 { streams, .. } if request.websocket.is_none() => {
                let streams = Rc::clone(streams);
                // Apart, so that a request over HTTP/1.1 is no larger for it.
                let sent = async move { http2::exchange::send(&streams, request, now).await };
                return Ok(Written(As::Http2(Box::pin(sent))));
            }
            Way::Http1(pool)
            | Way::Http2 {
                websockets: pool, ..
            } => pool,
        };
        let written = http1::exchange::Written::new(pool, request, now);
        Ok(Written(As::Http1(Box::new(written))))
    }
}

/// A request that has been written down for an app server, and waits to be sent. Boxed: it is passed
/// from one future into the next, and each of them would have room for it twice.
pub struct Written<B>(As<B>);

enum As<B> {
    Http1(Box<http1::exchange::Written<B>>),
    Http2(Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, Error>>>>),
}

impl<B> Written<B>
where
    B: Sendable,
{
    /// Sends it, and waits for the head of the answer.
    pub async fn send(self) -> Result<Answered, Error> {
        match self.0 {
            As::Http1(written) => written.send().await,
            As::Http2(sent) => sent.await.map(Answered::Answer),
        }
    }
}

impl<B> fmt::Debug for Written<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Written(..)")
    }
}

impl Way {
    fn settings(&self) -> &Settings {
        match self {
            Self::Http1(pool)
            | Self::Http2 {
                websockets: pool, ..
            } => pool.shared().settings(),
        }
    }

    fn to(shared: &Arc<Shared>, pipes: &Pipes) -> Self {
        let http1 = http1::pool::Pool::new(Arc::clone(shared), pipes.clone());
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

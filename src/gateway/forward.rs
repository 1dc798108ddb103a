//! What is not the gate's own goes to the app server, with the identity that was found.

use std::sync::Arc;

use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;

use crate::domain::clock::Timestamp;
use crate::domain::identity::{Clean, Outbound, Presented};
use crate::domain::response::Response;
use crate::domain::session::Live;
use crate::domain::websocket::WebSocketRequest;
use crate::gateway::body::{AnswerBody, Hang};
use crate::gateway::entry::Entry;
use crate::gateway::refusal::Refusal;
use crate::gateway::{Gateway, Visit};
use crate::server::body::RequestBody;
use crate::server::upgrade::ClientUpgrade;
use crate::telemetry::access::Flag;
use crate::upstream::{self, Answered, Sendable, Tunnel, Written};

/// A request that is ready to be sent on, and what its answer needs. Made without waiting for
/// anything, and small: it is what a request consists of while the app server works.
#[derive(Debug)]
pub(in crate::gateway) struct Forwarding<B = RequestBody> {
    written: Written<B>,
    opening: Option<Opening>,
    /// Whose streams end with their sessions.
    live: Option<Live>,
}

/// The client's side of a WebSocket that is about to be opened.
#[derive(Debug)]
struct Opening {
    upgrade: Option<ClientUpgrade>,
    /// Chosen when the app server chooses none.
    subprotocol: Option<HeaderValue>,
}

impl<B> Forwarding<B> {
    /// One that opens no WebSocket.
    pub(in crate::gateway) fn plain(written: Written<B>, live: Live) -> Self {
        Self {
            written,
            opening: None,
            live: Some(live),
        }
    }
}

impl Gateway {
    /// Says who the request is from, and writes it down for the app server.
    pub(in crate::gateway) fn outbound(
        &self,
        visit: &mut Visit<'_>,
        (mut request, presented): (Clean<RequestBody>, Presented),
        session: Option<Live>,
        upstream: upstream::Index,
    ) -> Result<Forwarding, Refusal> {
        let subprotocol = request.websocket().map(WebSocketRequest::own_subprotocol);
        let opening = subprotocol.map(|subprotocol| Opening {
            upgrade: request.body_mut().take_upgrade(),
            subprotocol,
        });
        let live = session.clone();
        let now = visit.arrived;
        let outbound = self.identified(visit, (request, presented), session, now);
        let written = self.exchange.write(upstream, outbound, visit.entry.begun());
        visit.entry.goes_to(upstream);
        Ok(Forwarding {
            written: written.map_err(Refusal::Upstream)?,
            opening,
            live,
        })
    }

    /// Says who the request is from, at this time, and which trace it is part of.
    pub(in crate::gateway) fn identified<B>(
        &self,
        visit: &mut Visit<'_>,
        (request, presented): (Clean<B>, Presented),
        session: Option<Live>,
        now: Timestamp,
    ) -> Outbound<B> {
        let request_id = visit.request_id.clone();
        let came = request.traceparent();
        let trace = came.unwrap_or_else(|| self.ids.borrow_mut().traceparent());
        visit.entry.traced(trace);
        let mut outbound = request.identify(session, presented.into_origin(), request_id, now);
        if came.is_none() {
            outbound.start_trace(trace);
        }
        outbound
    }

    /// Sends the request on and gives the answer back as it comes.
    pub(in crate::gateway) async fn forward<B>(
        &self,
        visit: &mut Visit<'_>,
        forwarding: Forwarding<B>,
    ) -> Result<Response<AnswerBody>, Refusal>
    where
        B: Sendable,
    {
        let Forwarding {
            written,
            opening,
            live,
        } = forwarding;
        let hang = |visit: &Visit<'_>| self.hang(visit, live.as_ref()?);
        let answered = written.send().await;
        visit.entry.came_back(&answered);
        match answered {
            Ok(Answered::Answer(response)) => {
                Ok(response.map(|body| AnswerBody::streamed(body, || hang(visit))))
            }
            Ok(Answered::Tunnel(mut response, tunnel)) => {
                let opening = opening.ok_or(Refusal::Internal)?;
                let chosen = response.passed.has(&SEC_WEBSOCKET_PROTOCOL);
                if let Some(own) = opening.subprotocol.filter(|_| !chosen) {
                    response.set(SEC_WEBSOCKET_PROTOCOL, own);
                }
                let upgrade = opening.upgrade.ok_or(Refusal::Internal)?;
                let entry = visit.entry.split_for_tunnel();
                tokio::task::spawn_local(run_tunnel(upgrade, tunnel, hang(visit), entry));
                Ok(response.map(|()| AnswerBody::nothing()))
            }
            // The app server cannot be blamed for a request that the client did not finish.
            Err(error) => Err(match visit.progress.fault() {
                Some(fault) => fault.into(),
                None => Refusal::Upstream(error),
            }),
        }
    }

    /// What a stream of this session hangs on, if streams end with their sessions.
    pub(in crate::gateway) fn hang(&self, visit: &Visit<'_>, live: &Live) -> Option<Box<Hang>> {
        let hang = || Hang {
            shared: Arc::clone(&self.shared),
            live: live.clone(),
            lifetimes: visit.settings.session.lifetimes,
        };
        let hangs = visit.settings.session.close_streams_on_end;
        hangs.then(|| Box::new(hang()))
    }
}

/// Passes bytes until client, app server or session ends.
async fn run_tunnel(
    upgrade: ClientUpgrade,
    tunnel: Tunnel,
    hang: Option<Box<Hang>>,
    mut entry: Entry,
) {
    let passed = async {
        let client = upgrade.socket().await?;
        tunnel.run(client).await
    };
    let ended = async {
        match hang {
            Some(hang) => hang.ended().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        passed = passed => {
            // How a tunnel ends is between its ends; only the bytes are the gate's to tell.
            let (from_client, to_client) = passed.unwrap_or_default();
            entry.passed(from_client, to_client);
        }
        () = ended => entry.flag(Flag::SessionEnded),
    }
}

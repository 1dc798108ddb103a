//! `GET` and `POST {paths.push}`: messages that WeChat pushes to the mini programs' server (消息推送).
//!
//! Who asks here is WeChat or somebody who would like to be taken for it; nobody has a session. What
//! is proven to be WeChat's goes to the app server in the clear, as WeChat Cloud Run does it.

mod deferred;
mod delivery;
mod message;
mod proof;
mod seen;
mod settings;
mod shared;

pub use deferred::DeferredSlots;
pub(in crate::gateway) use delivery::BadAnswer;
pub(in crate::gateway) use proof::Unproven;
pub use settings::{Ack, AppPush, Keys, Protection, Push};
pub use shared::KnownPushes;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};

use crate::crypto::push::PushDigest;
use crate::domain::clock::Timestamp;
use crate::domain::id::AppId;
use crate::domain::identity::{Clean, Presented};
use crate::domain::limits;
use crate::gateway::control::Busy;
use crate::gateway::push::delivery::{Delivery, answer_with, success};
use crate::gateway::push::proof::{Covered, Freshness, Proven, Query};
use crate::gateway::push::shared::Claim;
use crate::gateway::refusal::Refusal;
use crate::gateway::route::Endpoint;
use crate::gateway::{Gateway, Settings, Visit};
use crate::server::body::RequestBody;
use crate::telemetry::metrics::PushResult;

/// A mini program that has pushes.
#[derive(Clone, Copy)]
struct PushApp<'a> {
    id: &'a AppId,
    settings: &'a AppPush,
    push: &'a Push,
}

/// A message that WeChat wrote.
struct Received<'a> {
    app: PushApp<'a>,
    message: Proven<'a>,
    /// Until when a repeat must be known as one.
    remember_until: Timestamp,
}

/// A push in the clear.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// The message, as it was written.
    pub text: String,
    /// Who it is from, where a signature covers that.
    pub sender: Option<String>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened(..)")
    }
}

/// Opens a push for this mini program if WeChat wrote it, and does nothing with it: for whoever tries
/// all that can be sent. The times are now, and for how long a repeat is known.
pub fn opened(
    app: (&AppId, &AppPush),
    query: &str,
    body: &[u8],
    (now, dedupe_window): (Timestamp, Duration),
) -> Option<Opened> {
    let freshness = Freshness { now, dedupe_window };
    let query = Query::parse(Some(query)).ok()?;
    let proven = proof::prove(app, &query, body, freshness).ok()?;
    let is_covered = matches!(proven.covered, Covered::Message { .. });
    Some(Opened {
        sender: proven.fields.from_user_name.filter(|_| is_covered),
        text: proven.text,
    })
}

impl Gateway {
    /// Answers WeChat.
    pub(in crate::gateway) async fn push(
        &self,
        visit: &mut Visit<'_>,
        request: Clean<RequestBody>,
        presented: &Presented,
    ) -> Result<Response<Bytes>, Refusal> {
        let settings = Arc::clone(&visit.settings);
        let path = request.uri().path().as_bytes();
        let app = settings.push_app(path).ok_or(Refusal::NotFound)?;
        visit.entry.pushed(app.id);
        let is_message = *request.method() == Method::POST;
        let unproven = |why| {
            if is_message {
                self.shared.metrics.pushed(app.id, PushResult::Refused);
            }
            Refusal::PushRefused {
                why,
                app: app.id.clone(),
            }
        };
        let query = Query::parse(request.uri().query()).map_err(unproven)?;
        if *request.method() == Method::GET {
            let echo = query.echo(&app.settings.token).map_err(unproven)?;
            return Ok(answer_with("text/plain", echo.into()));
        }
        if !is_message {
            return Err(Refusal::MethodNotAllowed {
                allowed: "GET, POST",
            });
        }
        let own_request = self.own_request(visit, &request, presented);
        let body = request
            .into_body()
            .read_all(limits::MAX_PUSH_BODY_BYTES)
            .await?;
        let freshness = Freshness {
            now: self.shared.clock.now(),
            dedupe_window: app.push.dedupe_window,
        };
        let received = Received {
            app,
            message: proof::prove((app.id, app.settings), &query, &body, freshness)
                .map_err(unproven)?,
            remember_until: freshness.remember_until(),
        };
        let digest = PushDigest::of(app.id, &received.message.text);
        let moments = (freshness.now, received.remember_until);
        let claim = match self.shared.known_pushes.claim(digest, moments).await {
            Ok(Claim::New(claim)) => claim,
            Ok(Claim::Acknowledged) => {
                self.shared.metrics.pushed(app.id, PushResult::Repeated);
                return Ok(success());
            }
            // Whether it will be taken is not known yet, so WeChat must ask again.
            Ok(Claim::UnderWay) => {
                self.shared.metrics.pushed(app.id, PushResult::Repeated);
                return Err(Refusal::Overloaded);
            }
            Err(Busy) => {
                self.shared.metrics.pushed(app.id, PushResult::Overloaded);
                return Err(Refusal::Overloaded);
            }
        };
        let delivery = Delivery::new(own_request, &received);
        match app.push.ack {
            Ack::Upstream => self.push_and_wait(visit, &received, delivery, claim).await,
            Ack::Immediate => self.push_later(&received, delivery, claim).await,
        }
    }
}

impl Settings {
    /// The mini program that a path names, when it has pushes.
    fn push_app(&self, path: &[u8]) -> Option<PushApp<'_>> {
        let endpoints = self.routes.endpoints.iter();
        let named = endpoints
            .filter(|(_, endpoint)| *endpoint == Endpoint::Push)
            .find_map(|(pattern, _)| pattern.captured(path))?;
        let named = AppId::parse(std::str::from_utf8(named).ok()?).ok()?;
        let app = self.app(&named)?;
        Some(PushApp {
            id: &app.id,
            settings: app.push.as_ref()?,
            push: self.push.as_ref()?,
        })
    }
}

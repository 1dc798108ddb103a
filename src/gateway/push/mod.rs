//! `GET` and `POST {paths.push}`: messages that WeChat pushes to the mini programs' server (消息推送).
//!
//! Who asks here is WeChat or somebody who would like to be taken for it; nobody has a session. What
//! is proven to be WeChat's goes to the app server in the clear, as WeChat Cloud Run does it.

mod delivery;
mod inbox;
mod message;
mod proof;
mod settings;

pub use inbox::Inbox;
pub(in crate::gateway) use proof::Unproven;
pub use settings::{Ack, AppPush, Keys, Protection, Push};

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response};

use crate::domain::id::AppId;
use crate::domain::identity::{Clean, Presented};
use crate::domain::limits;
use crate::gateway::push::delivery::{Delivery, answer_with, success};
use crate::gateway::push::inbox::{PushDigest, Taking};
use crate::gateway::push::proof::{Freshness, Query};
use crate::gateway::refusal::Refusal;
use crate::gateway::route::Endpoint;
use crate::gateway::{Gateway, Settings, Visit};
use crate::server::body::RequestBody;
use crate::telemetry::metrics::PushResult;

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
        let (push, id, app) = settings.recipient(path).ok_or(Refusal::NotFound)?;
        visit.entry.pushed(id);
        let is_message = *request.method() == Method::POST;
        let unproven = |why| {
            if is_message {
                self.shared.metrics.pushed(id, PushResult::Refused);
            }
            Refusal::PushRefused {
                why,
                app: id.clone(),
            }
        };
        let query = Query::parse(request.uri().query()).map_err(unproven)?;
        if *request.method() == Method::GET {
            let echo = query.echo(app).map_err(unproven)?;
            return Ok(answer_with("text/plain", echo.into()));
        }
        if !is_message {
            return Err(Refusal::MethodNotAllowed {
                allowed: "GET, POST",
            });
        }
        let occasion = self.occasion(visit, &request, presented);
        let body = request
            .into_body()
            .read_all(limits::MAX_PUSH_BODY_BYTES)
            .await?;
        let freshness = Freshness {
            now: self.shared.clock.now(),
            dedupe_window: push.dedupe_window,
        };
        let proven = proof::prove((id, app), &query, &body, freshness).map_err(unproven)?;
        let digest = PushDigest::of(id, &proven.text);
        let ticket = match self.shared.pushes.take(digest, freshness.now) {
            Taking::New(ticket) => ticket,
            Taking::Taken => {
                self.shared.metrics.pushed(id, PushResult::Repeated);
                return Ok(success());
            }
            // Whether it will be taken is not known yet, so WeChat must ask again.
            Taking::UnderWay => {
                self.shared.metrics.pushed(id, PushResult::Repeated);
                return Err(Refusal::Overloaded);
            }
        };
        let delivery = Delivery::new(occasion, push.forward_to.clone(), id, &proven);
        let (handed, proven) = ((delivery, ticket), (&proven, freshness));
        match push.ack {
            Ack::Upstream => self.push_and_wait(visit, handed, (id, app), proven).await,
            Ack::Immediate => self.push_later(handed, id, proven),
        }
    }
}

impl Settings {
    /// The mini program that a path names, when it has pushes.
    fn recipient(&self, path: &[u8]) -> Option<(&Push, &AppId, &AppPush)> {
        let endpoints = self.routes.endpoints.iter();
        let named = endpoints
            .filter(|(_, endpoint)| *endpoint == Endpoint::Push)
            .find_map(|(pattern, _)| pattern.captured(path))?;
        let named = AppId::parse(std::str::from_utf8(named).ok()?).ok()?;
        let app = self.app(&named)?;
        Some((self.push.as_ref()?, &app.id, app.push.as_ref()?))
    }
}

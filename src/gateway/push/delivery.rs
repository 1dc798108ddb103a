//! Delivering a push to the app server, and telling WeChat what the app server says of it. Knows
//! nothing of repeats.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};

use crate::crypto::push::{self, Reply};
use crate::crypto::random;
use crate::domain::clock::Timestamp;
use crate::domain::id::{AppId, OpenId};
use crate::domain::identity::{Identity, Message, VerifiedSender};
use crate::domain::trace::RequestId;
use crate::gateway::originate::{OwnRequest, read_answer};
use crate::gateway::push::Received;
use crate::gateway::push::message::Format;
use crate::gateway::push::proof::Covered;
use crate::gateway::push::shared::ClaimGuard;
use crate::gateway::refusal::Refusal;
use crate::gateway::{Gateway, Visit};
use crate::telemetry::metrics::{Metrics, PushResult};
use crate::upstream;

/// Within this WeChat is answered, whatever the app server does: after 5 s it hangs up and tries
/// again, and half a second is for the way.
const ANSWER_WITHIN: Duration = Duration::from_millis(4500);

/// Largest answer of an app server to a push, in bytes. WeChat's own answers to users are smaller.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The answer by which WeChat stops repeating a push.
const SUCCESS: &str = "success";

/// Why the app server did not take a push.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTaken {
    #[error(transparent)]
    NoAnswer(#[from] upstream::Error),
    #[error("the app server {0}")]
    BadAnswer(#[from] BadAnswer),
}

/// An answer of the app server's by which a push is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::gateway) enum BadAnswer {
    #[error("answered with status {0}")]
    Status(StatusCode),
    #[error("answered with what is not UTF-8")]
    NotText,
    #[error("gave an answer that broke off or has more than {MAX_ANSWER_BYTES} bytes")]
    NotWhole,
}

impl From<NotTaken> for Refusal {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::NoAnswer(error) => Self::Upstream(error),
            NotTaken::BadAnswer(why) => Self::PushNotTaken(why),
        }
    }
}

/// A push on its way to the app server.
#[derive(Clone)]
pub(super) struct Delivery {
    own_request: OwnRequest,
    message: Message,
    identity: Identity,
}

impl Delivery {
    /// The message goes in the format in which it came, from whom it is, as in WeChat Cloud Run. Where
    /// no signature covers the message it is from nobody that the gate would vouch for.
    pub(super) fn new(own_request: OwnRequest, received: &Received<'_>) -> Self {
        let (app, message) = (&received.app, &received.message);
        let sender = match message.covered {
            Covered::Nothing => None,
            Covered::Message { .. } => {
                let sender = message.fields.from_user_name.as_deref();
                sender.and_then(|text| OpenId::parse(text).ok())
            }
        };
        Self {
            own_request,
            message: Message {
                path: app.push.forward_to.clone(),
                content_type: HeaderValue::from_static(message.format.content_type()),
                body: Bytes::from(message.text.clone()),
            },
            identity: Identity::Sender(VerifiedSender::of(app.id.clone(), sender)),
        }
    }

    /// The id under which the log knows the push.
    pub(super) fn request_id(&self) -> &RequestId {
        self.own_request.request_id()
    }

    /// Tries once, and gives what the app server says when it takes the push.
    pub(super) async fn attempt(self) -> Result<Bytes, NotTaken> {
        let response = self.own_request.post(self.message, self.identity).await?;
        if !response.status.is_success() {
            return Err(BadAnswer::Status(response.status).into());
        }
        let body = read_answer(response.body, MAX_ANSWER_BYTES).await;
        Ok(body.ok_or(BadAnswer::NotWhole)?)
    }
}

/// What became of a push: counted when it is let go, whichever way that happens.
pub(super) struct Tally {
    metrics: Metrics,
    app: AppId,
    result: PushResult,
}

impl Tally {
    /// For a push of which this becomes unless it is delivered.
    pub(super) fn begin(metrics: &Metrics, app: &AppId, result: PushResult) -> Self {
        Self {
            metrics: metrics.clone(),
            app: app.clone(),
            result,
        }
    }

    pub(super) fn app(&self) -> &AppId {
        &self.app
    }

    pub(super) fn delivered(&mut self) {
        self.result = PushResult::Delivered;
    }

    pub(super) fn is_delivered(&self) -> bool {
        self.result == PushResult::Delivered
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.metrics.pushed(&self.app, self.result);
    }
}

impl Gateway {
    /// Delivers a push while WeChat waits, and tells it what the app server says.
    pub(super) async fn push_and_wait(
        &self,
        visit: &mut Visit<'_>,
        received: &Received<'_>,
        delivery: Delivery,
        claim: ClaimGuard,
    ) -> Result<Response<Bytes>, Refusal> {
        let mut tally = Tally::begin(&self.shared.metrics, received.app.id, PushResult::Failed);
        let deadline = visit.entry.begun() + ANSWER_WITHIN;
        let tried = tokio::time::timeout_at(deadline, delivery.attempt()).await;
        visit.entry.app_server_answered();
        let tried = tried.unwrap_or_else(|_elapsed| Err(upstream::Error::ResponseTimeout.into()));
        let reply = tried
            .map_err(Refusal::from)
            .and_then(|answer| received.reply(answer, self.shared.clock.now()));
        if reply.is_ok() {
            tally.delivered();
            claim.acknowledge(received.remember_until).await;
        } else {
            claim.give_back().await;
        }
        reply
    }
}

impl Received<'_> {
    /// What the app server says, for WeChat: encrypted where the push was.
    fn reply(&self, answer: Bytes, now: Timestamp) -> Result<Response<Bytes>, Refusal> {
        let text = std::str::from_utf8(&answer)
            .map_err(|_position| Refusal::PushNotTaken(BadAnswer::NotText))?;
        if matches!(text.trim_ascii(), "" | SUCCESS) {
            return Ok(success());
        }
        let (key, envelope) = match self.message.covered {
            Covered::Message { key, envelope } => (key, envelope),
            Covered::Nothing => {
                return Ok(answer_with(self.message.format.content_type(), answer));
            }
        };
        // Only what is far longer than an answer may be cannot be sealed.
        let sealed = push::seal(key, self.app.id, &random::bytes(), text);
        let sealed = sealed.ok_or(Refusal::Internal)?;
        let nonce = push::answer_nonce(random::bytes());
        let reply = Reply::sign(&self.app.settings.token, now.as_secs(), &nonce, sealed);
        let text = match envelope {
            Format::Json => reply.to_json(),
            Format::Xml => reply.to_xml(),
        };
        Ok(answer_with(envelope.content_type(), text.into()))
    }
}

/// The answer that ends WeChat's repeats.
pub(super) fn success() -> Response<Bytes> {
    answer_with("text/plain", Bytes::from_static(SUCCESS.as_bytes()))
}

/// An answer that nobody may keep or take for something else.
pub(super) fn answer_with(content_type: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

//! Handing a push over to the app server, and what WeChat is told of it: either WeChat is told when
//! the app server has taken it, or at once, and then the gate tries again itself.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::uri::PathAndQuery;
use http::{HeaderValue, Response, StatusCode};
use tokio::sync::OwnedSemaphorePermit;

use crate::crypto::push::{self, Reply};
use crate::crypto::random;
use crate::domain::id::{AppId, OpenId};
use crate::domain::identity::{Identity, Message, VerifiedSender};
use crate::gateway::originate::{Occasion, read_answer};
use crate::gateway::push::inbox::Ticket;
use crate::gateway::push::message::{Fields, Format};
use crate::gateway::push::proof::{Freshness, Proven};
use crate::gateway::push::settings::AppPush;
use crate::gateway::refusal::Refusal;
use crate::gateway::{Gateway, Visit};
use crate::telemetry::event;
use crate::telemetry::metrics::{Metrics, PushResult};
use crate::upstream;

/// Within this WeChat is answered, whatever the app server does: after 5 s it hangs up and tries
/// again, and half a second is for the way.
const ANSWER_WITHIN: Duration = Duration::from_millis(4500);

/// How long the app server has when nobody waits for it, for each try: as long as `wx.request` waits.
const TRY_WITHIN: Duration = Duration::from_mins(1);

/// The pauses between tries when nobody waits: together long enough for an app server to start again.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// Largest answer of an app server to a push, in bytes. WeChat's own answers to users are smaller.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Longest kind of message that is named in the log, in bytes. `transfer_customer_service` has 25.
const MAX_KIND_BYTES: usize = 64;

/// What WeChat understands as: taken, do not repeat it.
const SUCCESS: &str = "success";

/// Why the app server did not take a push.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error(transparent)]
    Upstream(#[from] upstream::Error),
    #[error("the app server answered a push with status {0}")]
    Status(StatusCode),
    #[error("the app server's answer to a push broke off or is too long")]
    Answer,
}

impl From<NotTaken> for Refusal {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::Upstream(error) => Self::Upstream(error),
            NotTaken::Status(status) => Self::PushNotTaken(Some(status)),
            NotTaken::Answer => Self::PushNotTaken(None),
        }
    }
}

/// A push on its way to the app server.
#[derive(Clone)]
pub(in crate::gateway) struct Delivery {
    occasion: Occasion,
    message: Message,
    identity: Identity,
}

impl Delivery {
    /// The message goes in the format in which it came, from whom it is, as in WeChat Cloud Run. Where
    /// no signature covers the message it is from nobody that the gate would vouch for.
    pub(in crate::gateway) fn new(
        occasion: Occasion,
        path: PathAndQuery,
        app: &AppId,
        proven: &Proven<'_>,
    ) -> Self {
        let sender = proven
            .envelope
            .and(proven.fields.from_user_name.as_deref())
            .and_then(|text| OpenId::parse(text).ok());
        Self {
            occasion,
            message: Message {
                path,
                content_type: HeaderValue::from_static(proven.format.content_type()),
                body: Bytes::from(proven.text.clone()),
            },
            identity: Identity::Sender(VerifiedSender::of(app.clone(), sender)),
        }
    }

    async fn hand_over(self) -> Result<Bytes, NotTaken> {
        let response = self.occasion.post(self.message, self.identity).await?;
        if !response.status.is_success() {
            return Err(NotTaken::Status(response.status));
        }
        let body = read_answer(response.body, MAX_ANSWER_BYTES).await;
        body.ok_or(NotTaken::Answer)
    }

    /// Tries until the app server takes it, or to the end.
    async fn hand_over_in_time(&self) -> Result<(), NotTaken> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let tried = tokio::time::timeout(TRY_WITHIN, self.clone().hand_over()).await;
            let why = match tried {
                Ok(Ok(_answer)) => return Ok(()),
                Ok(Err(why)) => why,
                Err(_elapsed) => upstream::Error::ResponseTimeout.into(),
            };
            match pauses.next() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(why),
            }
        }
    }
}

/// What became of a push: counted when it is let go, whichever way that happens.
struct Tally {
    metrics: Metrics,
    app: AppId,
    result: PushResult,
}

impl Tally {
    /// For a push of which this becomes unless the app server takes it.
    fn begin(metrics: &Metrics, app: &AppId, result: PushResult) -> Self {
        Self {
            metrics: metrics.clone(),
            app: app.clone(),
            result,
        }
    }

    fn taken(&mut self) {
        self.result = PushResult::Delivered;
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.metrics.pushed(&self.app, self.result);
    }
}

/// A push that WeChat will not repeat. Says in the log when it is let go before it was taken, also
/// because the process ends.
struct Account {
    tally: Tally,
    kind: String,
    _place: OwnedSemaphorePermit,
}

impl Account {
    fn close(mut self) {
        self.tally.taken();
    }

    fn give_up(self, error: &NotTaken) {
        let appid = self.tally.app.as_str();
        tracing::warn!(message = event::UPSTREAM_FAILED, %error, appid);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if self.tally.result == PushResult::Lost {
            let (appid, msg_type) = (self.tally.app.as_str(), self.kind.as_str());
            tracing::error!(message = event::PUSH_LOST, appid, msg_type);
        }
    }
}

/// The kind of a message as the log may say it.
fn kind(fields: &Fields) -> String {
    let plain = |text: &&str| {
        text.len() <= MAX_KIND_BYTES
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let kind = fields.msg_type.as_deref().filter(plain);
    kind.unwrap_or("unknown").to_owned()
}

impl Gateway {
    /// Hands a push over while WeChat waits, and tells it what the app server says.
    pub(in crate::gateway) async fn push_and_wait(
        &self,
        visit: &mut Visit<'_>,
        (delivery, ticket): (Delivery, Ticket),
        (id, app): (&AppId, &AppPush),
        (proven, freshness): (&Proven<'_>, Freshness),
    ) -> Result<Response<Bytes>, Refusal> {
        let mut tally = Tally::begin(&self.shared.metrics, id, PushResult::Failed);
        let deadline = visit.entry.begun() + ANSWER_WITHIN;
        let handed_over = tokio::time::timeout_at(deadline, delivery.hand_over()).await;
        visit.entry.app_server_answered();
        let answer =
            handed_over.unwrap_or_else(|_elapsed| Err(upstream::Error::ResponseTimeout.into()))?;
        let reply = self.push_reply((id, app), proven, answer)?;
        ticket.keep(freshness.remember_until());
        tally.taken();
        Ok(reply)
    }

    /// Tells WeChat that a push was taken, and hands it over afterwards.
    pub(in crate::gateway) fn push_later(
        &self,
        (delivery, ticket): (Delivery, Ticket),
        app: &AppId,
        (proven, freshness): (&Proven<'_>, Freshness),
    ) -> Result<Response<Bytes>, Refusal> {
        let metrics = &self.shared.metrics;
        let Some(place) = self.shared.pushes.place() else {
            metrics.pushed(app, PushResult::Overloaded);
            return Err(Refusal::Overloaded);
        };
        let account = Account {
            tally: Tally::begin(metrics, app, PushResult::Lost),
            kind: kind(&proven.fields),
            _place: place,
        };
        ticket.keep(freshness.remember_until());
        tokio::task::spawn_local(async move {
            match delivery.hand_over_in_time().await {
                Ok(()) => account.close(),
                Err(error) => account.give_up(&error),
            }
        });
        Ok(success())
    }

    /// What the app server says, for WeChat: encrypted where the push was.
    fn push_reply(
        &self,
        (id, app): (&AppId, &AppPush),
        proven: &Proven<'_>,
        answer: Bytes,
    ) -> Result<Response<Bytes>, Refusal> {
        let text = std::str::from_utf8(&answer).map_err(|_position| NotTaken::Answer)?;
        if matches!(text.trim_ascii(), "" | SUCCESS) {
            return Ok(success());
        }
        let Some((key, format)) = proven.envelope else {
            return Ok(answer_with(proven.format.content_type(), answer));
        };
        let sealed = push::seal(key, id, &random::bytes(), text).ok_or(NotTaken::Answer)?;
        let nonce = push::answer_nonce(random::bytes());
        let now = self.shared.clock.now().as_secs();
        let reply = Reply::sign(&app.token, now, &nonce, sealed);
        let text = match format {
            Format::Json => reply.to_json(),
            Format::Xml => reply.to_xml(),
        };
        Ok(answer_with(format.content_type(), text.into()))
    }
}

/// The answer that ends WeChat's repeats.
pub(in crate::gateway) fn success() -> Response<Bytes> {
    answer_with("text/plain", Bytes::from_static(SUCCESS.as_bytes()))
}

/// An answer that nobody may keep or take for something else.
pub(in crate::gateway) fn answer_with(content_type: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

//! `login.hook`: the app server is asked about every login that WeChat accepted, before there is a
//! session, and may refuse it. What it says goes to the mini program unchanged.
//!
//! Logins run on the control thread; connections to the app server belong to workers. So the worker
//! of whoever brings a code first has a task ready that asks, and the login wakes it when the time
//! has come. The task is not the client's: that one may go away.

use std::fmt;

use bytes::Bytes;
use http::StatusCode;
use http::uri::PathAndQuery;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::domain::id::AppId;
use crate::domain::identity::{Identity, JustRedeemed, Message};
use crate::domain::limits;
use crate::gateway::originate::{OwnRequest, read_answer};
use crate::telemetry::event;
use crate::upstream;

/// What the app server says of a login: JSON, as it came. Does not print.
pub struct HookData(Box<RawValue>);

impl HookData {
    /// From a text that must be JSON.
    pub(in crate::gateway) fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok().map(Self)
    }

    /// What is kept of one that was parsed before.
    pub(in crate::gateway) fn from_raw(raw: &RawValue) -> Self {
        Self(raw.to_owned())
    }

    /// As JSON, unchanged.
    pub(in crate::gateway) fn as_raw(&self) -> &RawValue {
        &self.0
    }
}

impl fmt::Debug for HookData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookData(..)")
    }
}

/// Why a login is refused. Told to the operator; the client learns only that it is.
#[derive(Debug, thiserror::Error)]
enum HookFault {
    #[error("the app server answered with something else than JSON, or with too much")]
    Answer,
    #[error("the app server answered with status {0}")]
    Status(StatusCode),
    #[error("the app server took longer than upstream.response_timeout")]
    TimedOut,
    #[error(transparent)]
    Upstream(#[from] upstream::Error),
}

/// What a login wakes the task with: who logs in, and where the answer goes.
type Question = (JustRedeemed, oneshot::Sender<Option<HookData>>);

/// A hook that is ready to be asked once. Nothing is sent if it never is.
#[derive(Debug)]
pub struct Hook(oneshot::Sender<Question>);

impl Hook {
    /// Asks the app server. Nothing when it did not agree, for whatever reason.
    pub(in crate::gateway) async fn ask(self, redeemed: JustRedeemed) -> Option<HookData> {
        let (answer, answered) = oneshot::channel();
        self.0.send((redeemed, answer)).ok()?;
        // A worker that is at its end drops its tasks, and so the question.
        answered.await.ok().flatten()
    }

    /// Has the question ready on this worker: `client` is what the client said beside its code. The
    /// task ends when it has asked or when nobody can ask any more.
    pub(in crate::gateway) fn prepare(
        path: PathAndQuery,
        app: &AppId,
        client: &Map<String, Value>,
        own_request: OwnRequest,
    ) -> Self {
        let login = Login {
            event: "login",
            appid: app.as_str(),
            client,
        };
        // Texts and numbers cannot fail to serialise.
        let body = serde_json::to_vec(&login).unwrap_or_default();
        let message = Message::json(path, body);
        let (ask, asked) = oneshot::channel::<Question>();
        tokio::task::spawn_local(async move {
            let Ok((redeemed, answer)) = asked.await else {
                return;
            };
            let said = call(own_request, message, redeemed).await;
            // Nobody waits for it when the control thread is at its end.
            drop(answer.send(said));
        });
        Self(ask)
    }
}

#[derive(Serialize)]
struct Login<'a> {
    event: &'static str,
    appid: &'a str,
    client: &'a Map<String, Value>,
}

/// Asks, and writes down why not.
async fn call(
    own_request: OwnRequest,
    message: Message,
    redeemed: JustRedeemed,
) -> Option<HookData> {
    let appid = redeemed.holder().app.clone();
    let request_id = own_request.request_id().clone();
    let time = own_request.response_timeout();
    let asked = tokio::time::timeout(time, exchange(own_request, message, redeemed)).await;
    match asked.unwrap_or(Err(HookFault::TimedOut)) {
        Ok(data) => Some(data),
        Err(why) => {
            let request_id = request_id.as_str();
            tracing::warn!(message = event::LOGIN_HOOK_REFUSED, %why, %appid, request_id);
            None
        }
    }
}

async fn exchange(
    own_request: OwnRequest,
    message: Message,
    redeemed: JustRedeemed,
) -> Result<HookData, HookFault> {
    let response = own_request
        .post(message, Identity::LoggedIn(redeemed))
        .await?;
    let status = response.status;
    if !status.is_success() {
        return Err(HookFault::Status(status));
    }
    let body: Option<Bytes> = read_answer(response.body, limits::MAX_HOOK_ANSWER_BYTES).await;
    body.and_then(|body| HookData::parse(&body))
        .ok_or(HookFault::Answer)
}

//! Requests that the gate makes itself, on account of one that came in: what it tells the app server
//! when somebody logs in, when data is delivered, when WeChat pushes something.
//!
//! They carry nothing of the request that caused them but where it came from, and go to the app server
//! under its own name: a client that could choose `Host` would choose which of its virtual hosts
//! answers. Knows nothing of what is told.

use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Uri, Version};
use http_body_util::Full;

use crate::domain::clock::Timestamp;
use crate::domain::fields::HeaderFields;
use crate::domain::forwarded::Origin;
use crate::domain::id::{AppId, OpenId};
use crate::domain::identity::{
    Clean, CleanBody, Identity, IdentityRules, Outbound, OutboundParts, OwnFields, Presented,
};
use crate::domain::names;
use crate::domain::request::RequestHead;
use crate::domain::session::Holder;
use crate::domain::trace::RequestId;

/// A user whose login WeChat has just accepted, before there is a session. Only
/// [`JustRedeemed::of`] makes one, for whoever asked WeChat.
#[derive(Clone, Debug)]
pub struct JustRedeemed(Box<Holder>);

impl JustRedeemed {
    /// For the desk, which alone asks WeChat about codes: `holder` is what WeChat answered.
    pub fn of(holder: Holder) -> Self {
        Self(Box::new(holder))
    }

    /// Who logged in.
    pub fn holder(&self) -> &Holder {
        &self.0
    }
}

/// The sender of a push whose signature has been verified. Only [`VerifiedSender::of`] makes one, for
/// whoever verified it.
#[derive(Clone, Debug)]
pub struct VerifiedSender(Box<(AppId, Option<OpenId>)>);

impl VerifiedSender {
    /// For the push route, which alone verifies pushes. The openid is what the push names, if it
    /// names somebody.
    pub fn of(app: AppId, openid: Option<OpenId>) -> Self {
        Self(Box::new((app, openid)))
    }

    pub(in crate::domain::identity) fn app(&self) -> &AppId {
        &self.0.0
    }

    pub(in crate::domain::identity) fn openid(&self) -> Option<&OpenId> {
        self.0.1.as_ref()
    }
}

/// What made the gate send a request of its own. Holds nothing that a client could say to be taken
/// for somebody.
#[derive(Clone, Debug)]
pub struct Cause {
    host: Option<HeaderValue>,
    origin: Origin,
    rules: Arc<IdentityRules>,
}

impl<B> Clean<B> {
    /// What this request is to one that the gate makes on its account.
    pub fn cause(&self, presented: &Presented) -> Cause {
        Cause {
            host: self
                .fields()
                .get(names::HOST)
                .and_then(|host| host.to_value()),
            origin: presented.origin().clone(),
            rules: Arc::clone(&self.rules),
        }
    }
}

/// What the gate has to say to the app server, and to which of its paths.
#[derive(Clone, Debug)]
pub struct Message {
    /// A path of the app server that belongs to the gate.
    pub path: PathAndQuery,
    /// What kind of content the body is.
    pub content_type: HeaderValue,
    /// The whole body.
    pub body: Bytes,
}

impl Message {
    /// One in JSON. The text must be JSON already.
    pub fn json(path: PathAndQuery, text: impl Into<Bytes>) -> Self {
        Self {
            path,
            content_type: HeaderValue::from_static("application/json"),
            body: text.into(),
        }
    }
}

impl Outbound<Full<Bytes>> {
    /// A POST of the gate's own. It has no header of any client's; the host that was asked for is said
    /// in `X-Forwarded-Host` alone.
    pub fn originate(
        message: Message,
        identity: Identity,
        cause: Cause,
        request_id: RequestId,
        now: Timestamp,
    ) -> Self {
        let mut fields = HeaderFields::default();
        fields.append("Content-Type", &message.content_type);
        let head = RequestHead {
            method: Method::POST,
            uri: Uri::from(message.path),
            version: Version::HTTP_11,
            fields,
        };
        Self(OutboundParts {
            head: Box::new(head),
            body: CleanBody::new(Full::new(message.body), Arc::clone(&cause.rules)),
            websocket: None,
            takes_trailers: false,
            own: OwnFields {
                rules: cause.rules,
                identity,
                origin: cause.origin,
                asked_host: cause.host.map(Box::new),
                request_id,
                traceparent: None,
                now,
            },
        })
    }
}

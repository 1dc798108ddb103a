//! What the request path is told by the configuration, and the questions that it can answer from
//! that alone.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http_body::Body;

use crate::domain::id::AppId;
use crate::domain::identity::{Clean, IdentityRules};
use crate::domain::names;
use crate::domain::request::RequestHead;
use crate::domain::secret::AppSecret;
use crate::domain::session::Lifetimes;
use crate::gateway::budgets::RateLimits;
use crate::gateway::push::{AppPush, Push};
use crate::gateway::refusal::Refusal;
use crate::gateway::route::{Access, Line, Require, Routes};
use crate::gateway::signing::KeySet;
use crate::gateway::{Cors, Envelope, FieldNames, Language, SessionCookie, cors};
use crate::server::Limits;
use crate::wechat::Credential;

/// Everything that the request path is told by the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[[apps]]`, in the order of the file; never empty.
    pub apps: Vec<App>,
    /// `[paths]` and `[access]`.
    pub routes: Routes,
    /// `[identity]` with the keys that sign, `session.token_from` and `server.trusted_proxies`.
    pub identity: Arc<IdentityRules>,
    /// `[identity.jwt]`: the keys to verify by, where identities are signed so.
    pub key_set: Option<KeySet>,
    /// `[login]`.
    pub login: Login,
    /// `[decrypt]`.
    pub decrypt: Decrypt,
    /// `[phone]`: who gets phone numbers.
    pub phone: Deliver,
    /// `[push]`, where any app has pushes.
    pub push: Option<Push>,
    /// `[session]`.
    pub session: Session,
    /// `[session.cookie]`, where it has a name.
    pub cookie: Option<Arc<SessionCookie>>,
    /// `[cors]`, where any origin is allowed.
    pub cors: Option<Arc<Cors>>,
    /// `[server.limits]`.
    pub limits: Limits,
    /// `[limits]`.
    pub rate_limits: RateLimits,
    /// `[errors]`.
    pub errors: Errors,
    /// `compat.field_names`.
    pub field_names: FieldNames,
}

/// One registered mini program.
#[derive(Clone, Debug)]
pub struct App {
    /// Its appid.
    pub id: AppId,
    /// Its AppSecret.
    pub secret: AppSecret,
    /// The AppSecret before that one, while it is being replaced.
    pub previous_secret: Option<AppSecret>,
    /// What its pushes are like, where it has any.
    pub push: Option<AppPush>,
}

impl App {
    /// By what it proves itself to WeChat.
    pub fn credential(&self) -> Credential {
        Credential {
            app: self.id.clone(),
            secret: self.secret.clone(),
            previous_secret: self.previous_secret.clone(),
        }
    }
}

/// `[login]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Whether the login answer tells the openid.
    pub expose_openid: bool,
    /// Whether the login answer tells the unionid.
    pub expose_unionid: bool,
    /// How long the answer to a code is kept for a repeat of the code.
    pub retry_window: Duration,
    /// What a login's word about its mini program counts for.
    pub app_hints: AppHints,
    /// The path of the app server that is asked about every login, if any.
    pub hook: Option<PathAndQuery>,
}

/// What a login's word about its mini program (`appid`, `Referer`) counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppHints {
    /// It chooses the app, and a name that is not configured is refused.
    Binding,
    /// Nothing: the first app takes every login. For development, where the developer tools send
    /// the appid of whatever project is open.
    Ignored,
}

/// `[decrypt]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decrypt {
    /// Greatest age of a watermark, when that is limited.
    pub max_age: Option<Duration>,
    /// How long a replaced session key is still tried.
    pub key_grace: Duration,
    /// Whether a phone number must be one that WeChat itself encrypted.
    pub authenticate_phone: bool,
    /// Who gets what was decrypted.
    pub deliver: Deliver,
}

/// Who gets what the gate obtained for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deliver {
    /// The client.
    Client,
    /// The app server, at this path; the client gets its answer.
    Path(PathAndQuery),
    /// The app server, at the path that the client asked for.
    SamePath,
}

/// `[session]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// How long sessions live.
    pub lifetimes: Lifetimes,
    /// Sessions of one user at once, when that is limited.
    pub max_per_user: Option<usize>,
    /// Whether WebSockets and event streams end with their session.
    pub close_streams_on_end: bool,
}

/// `[errors]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errors {
    /// The language of refusals; `None` for the one that each client asks for.
    pub language: Option<Language>,
    /// The form of all answers that are the gate's own.
    pub envelope: Envelope,
}

impl Settings {
    /// The configured app of this id.
    pub fn app(&self, id: &AppId) -> Option<&App> {
        self.apps.iter().find(|app| app.id == *id)
    }

    /// What a request to be forwarded needs, and the app server it goes to. A CORS preflight asks
    /// for nothing but permission, so it may pass; but only one that is nothing else.
    pub(in crate::gateway) fn access<B: Body>(&self, line: Line, request: &Clean<B>) -> Access {
        let access = self.routes.access(line);
        let preflight = self.routes.forward_preflight && cors::is_preflight(request);
        let require = if preflight {
            Require::Public
        } else {
            access.require
        };
        Access { require, ..access }
    }

    /// Refuses a request that is larger than allowed, as far as its head tells.
    pub(in crate::gateway) fn check_size(&self, request: &RequestHead) -> Result<(), Refusal> {
        let limits = &self.limits;
        let target = request
            .uri
            .path_and_query()
            .map_or(0, |target| target.as_str().len());
        if target > limits.max_uri_bytes {
            return Err(Refusal::UriTooLong(limits.max_uri_bytes));
        }
        let fields = &request.fields;
        let bytes = request.method.as_str().len() + target + fields.bytes();
        if bytes > limits.max_header_bytes || fields.len() > limits.max_headers {
            return Err(Refusal::HeadersTooLarge);
        }
        let announced = fields
            .get(names::CONTENT_LENGTH)
            .and_then(|length| length.to_str());
        let announced = announced.and_then(|length| length.parse::<u64>().ok());
        match (announced, limits.max_body_bytes) {
            (Some(announced), Some(max)) if announced > max => Err(Refusal::BodyTooLarge(max)),
            _ => Ok(()),
        }
    }
}

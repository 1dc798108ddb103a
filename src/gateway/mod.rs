//! The request path: what a request means, who it is from, and where it goes.

pub mod route;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::id::AppId;
use crate::domain::identity::IdentityRules;
use crate::domain::secret::AppSecret;
use crate::domain::session::Lifetimes;
use crate::gateway::route::Routes;

/// Everything that the request path is told by the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[[apps]]`, in the order of the file; never empty.
    pub apps: Vec<App>,
    /// `[paths]` and `[access]`.
    pub routes: Routes,
    /// `[identity]`, `session.token_from` and `server.trusted_proxies`.
    pub identity: Arc<IdentityRules>,
    /// `[login]`.
    pub login: Login,
    /// `[decrypt]`.
    pub decrypt: Decrypt,
    /// `[session]`.
    pub session: Session,
}

/// One registered mini program.
#[derive(Clone, Debug)]
pub struct App {
    /// Its appid.
    pub id: AppId,
    /// Its AppSecret.
    pub secret: AppSecret,
}

/// `[login]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login {
    /// Whether the login answer tells the openid.
    pub expose_openid: bool,
    /// Whether the login answer tells the unionid.
    pub expose_unionid: bool,
    /// How long the answer to a code is kept for a repeat of the code.
    pub retry_window: Duration,
}

/// `[decrypt]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decrypt {
    /// Greatest age of a watermark, when that is limited.
    pub max_age: Option<Duration>,
    /// How long a replaced session key is still tried.
    pub key_grace: Duration,
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

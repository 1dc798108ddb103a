//! Talking to WeChat's servers: redeeming login codes, keeping access tokens, what
//! the gate asks with them, and passing the calls of others on.
//!
//! It says what WeChat answered and whose fault a failure is. It knows nothing of the gate's own
//! answers or sessions, and whether a code was seen before is its caller's business.

pub mod access_token;
pub mod client;
mod count;
pub mod errcode;
pub mod error;
mod guard;
pub mod open_api;
pub mod phone;
pub mod played;
pub mod relay;
pub mod reply;
mod report;
pub mod session_key;
mod skew;
mod stable_token;
pub mod token_error;
mod watched;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::domain::id::AppId;
use crate::domain::secret::AppSecret;

/// The APIs that the gate calls on its own account, by path.
pub const APIS: [&str; 5] = [
    stable_token::STABLE_TOKEN,
    client::JSCODE2SESSION,
    phone::PHONE_NUMBER,
    session_key::CHECK_ENCRYPTED,
    session_key::CHECK_SESSION,
];

/// By what a mini program proves itself to WeChat.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Its appid.
    pub app: AppId,
    /// Its AppSecret.
    pub secret: AppSecret,
    /// The AppSecret before that one, while it is being replaced.
    pub previous_secret: Option<AppSecret>,
}

/// How WeChat is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Scheme and host, without a slash at the end.
    pub base_url: String,
    /// Addresses used instead of what the system's resolver says. Empty: ask the resolver.
    pub resolve: Vec<IpAddr>,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a whole call may take, a second attempt included.
    pub timeout: Duration,
    /// Calls under way at once.
    pub max_in_flight: usize,
    /// Certificates (PEM) believed in addition to the public authorities.
    pub ca_pem: Option<Vec<u8>>,
    /// A proxy to go through. May hold a password.
    pub proxy_url: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base_url: "https://api.weixin.qq.com".to_owned(),
            resolve: Vec::new(),
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(6),
            max_in_flight: 64,
            ca_pem: None,
            proxy_url: None,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("base_url", &self.base_url)
            .field("resolve", &self.resolve)
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .field("max_in_flight", &self.max_in_flight)
            .field("ca_pem", &self.ca_pem.as_ref().map(|_pem| ".."))
            .field("proxy_url", &self.proxy_url.as_ref().map(|_url| ".."))
            .finish()
    }
}

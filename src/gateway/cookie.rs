//! The session cookie: how browsers are told to keep the token, and to forget it. What comes back of it
//! is read in `domain::identity`.
//!
//! Only the gate sets it. An app server that could would decide whose session a browser has, and a page
//! of it that echoes a header could be made to.

use std::fmt;

use http::HeaderValue;
use http::header::SET_COOKIE;

use crate::domain::cookie::{self, CookieName};
use crate::domain::identity::IdentityRules;
use crate::domain::names;
use crate::domain::response::Response;
use crate::domain::token::SessionToken;

/// `session.cookie.same_site`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// With top-level navigations from other sites, and never with what they embed.
    Lax,
    /// With every request.
    None,
    /// With requests of the same site only.
    Strict,
}

impl SameSite {
    /// As the attribute has it.
    fn name(self) -> &'static str {
        match self {
            Self::Lax => "Lax",
            Self::None => "None",
            Self::Strict => "Strict",
        }
    }
}

/// `[session.cookie]`.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionCookie {
    /// Its name.
    name: CookieName,
    /// Everything behind `Max-Age`.
    attributes: Box<str>,
}

/// What `[session.cookie]` says beside the name.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// `same_site`.
    pub same_site: SameSite,
    /// `secure`.
    pub secure: bool,
    /// `domain`, where one is said.
    pub domain: Option<&'a str>,
    /// `path`.
    pub path: &'a str,
}

impl SessionCookie {
    /// A cookie that no script of a page can read (RFC 6265 §4.1.2.6), whatever is configured.
    pub fn new(name: CookieName, attributes: Attributes<'_>) -> Self {
        let Attributes {
            same_site,
            secure,
            domain,
            path,
        } = attributes;
        let domain = domain.map(|domain| format!("; Domain={domain}"));
        let domain = domain.unwrap_or_default();
        let secure = if secure { "; Secure" } else { "" };
        let same_site = same_site.name();
        let attributes = format!("; Path={path}{domain}; HttpOnly{secure}; SameSite={same_site}");
        Self {
            name,
            attributes: attributes.into(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &CookieName {
        &self.name
    }

    /// Has the browser keep the token, for so many seconds. Nothing for a value that no header can have,
    /// which there is not.
    pub(in crate::gateway) fn set(
        &self,
        token: &SessionToken,
        max_age: u64,
    ) -> Option<HeaderValue> {
        // Exposed to the client that has shown it, or what it was sealed in.
        let value = format!(
            "{}={}; Max-Age={max_age}{}",
            self.name.as_str(),
            token.expose(),
            self.attributes
        );
        let mut value = HeaderValue::try_from(value).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Has the browser forget it.
    pub(in crate::gateway) fn clear(&self) -> Option<HeaderValue> {
        let value = format!("{}=; Max-Age=0{}", self.name.as_str(), self.attributes);
        HeaderValue::try_from(value).ok()
    }
}

impl fmt::Debug for SessionCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{}", self.name, self.attributes)
    }
}

/// Takes out what an app server sets under a name of the gate's.
pub(in crate::gateway) fn drop_foreign<B>(rules: &IdentityRules, response: &mut Response<B>) {
    if rules.cookies().next().is_none() || !response.passed.has(names::SET_COOKIE) {
        return;
    }
    response.passed.retain(|field| {
        let name = cookie::set_by(field.value());
        !field.is(names::SET_COOKIE) || !rules.cookies().any(|own| own.is_alike(name))
    });
}

/// Adds a `Set-Cookie` beside those that the app server sets.
pub(in crate::gateway) fn add<B>(response: &mut Response<B>, value: Option<HeaderValue>) {
    response.own.extend(value.map(|value| (SET_COOKIE, value)));
}

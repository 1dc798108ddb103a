//! `[cors]`: which pages of other origins may read what the gate itself says, and call its own routes.
//! Touches no answer of an app server: that one decides for itself.
//!
//! The origin is repeated exactly, never `*`; that credentials may go along is said where there are
//! cookies for tokens, and only to origins that are configured.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, VARY,
};
use http::{HeaderValue, Method, Response as HttpResponse, StatusCode};
use http_body::Body;

use crate::domain::fields::HeaderFields;
use crate::domain::identity::{Clean, is_method_override};
use crate::domain::names;
use crate::domain::response::Response;
use crate::domain::web_origin::WebOrigin;
use crate::gateway::Visit;
use crate::gateway::cross_site;
use crate::gateway::route::Endpoint;

/// What a page may see of the gate's answers beside what every page may.
const EXPOSED: &str = "Retry-After, WWW-Authenticate, X-Request-Id";

/// `[cors]`, where any origin is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// `allowed_origins`.
    pub allowed_origins: Vec<WebOrigin>,
    /// `max_age`: how long a browser need not ask again.
    pub max_age: Duration,
    /// The headers that a page may send: those of a body, and those in which tokens are looked for.
    pub allowed_headers: HeaderValue,
    /// Whether browsers may send cookies along: where tokens are in some.
    pub credentials: bool,
}

impl Cors {
    /// Whether pages of this origin may.
    pub(in crate::gateway) fn allows(&self, origin: &WebOrigin) -> bool {
        self.allowed_origins.contains(origin)
    }

    /// The origin of a request as its answer repeats it, if it is an allowed one.
    pub(in crate::gateway) fn granted(&self, fields: &HeaderFields) -> Option<Box<HeaderValue>> {
        let origin = cross_site::origin(fields).filter(|origin| self.allows(origin))?;
        // As browsers write it, which is as this one has.
        HeaderValue::from_str(origin.as_str()).ok().map(Box::new)
    }
}

/// Whether the request asks for permission, and is nothing else.
pub(in crate::gateway) fn is_preflight<B: Body>(request: &Clean<B>) -> bool {
    let fields = request.fields();
    *request.method() == Method::OPTIONS
        && fields.has(names::ORIGIN)
        && fields.has(&ACCESS_CONTROL_REQUEST_METHOD)
        && !fields.iter().any(|field| is_method_override(field.name()))
        && request.is_without_body()
}

/// What scripts may do with one of the gate's own routes; nothing with those that are not for them.
fn methods(endpoint: Endpoint) -> Option<&'static str> {
    match endpoint {
        Endpoint::Decrypt
        | Endpoint::Login
        | Endpoint::Logout
        | Endpoint::Phone
        | Endpoint::Ticket => Some("POST"),
        Endpoint::Jwks => Some("GET, HEAD"),
        Endpoint::Session => Some("GET, DELETE"),
        Endpoint::HandOver | Endpoint::Push => None,
    }
}

impl Visit<'_> {
    /// The answer to a page that asks whether it may call one of the gate's own routes. Nothing when it
    /// may not: then it is a request like any other.
    pub(in crate::gateway) fn preflight<B: Body>(
        &self,
        endpoint: Endpoint,
        request: &Clean<B>,
    ) -> Option<HttpResponse<Bytes>> {
        let cors = self.settings.cors.as_ref()?;
        self.granted.as_ref()?;
        let methods = methods(endpoint).filter(|_| is_preflight(request))?;
        let mut response = HttpResponse::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        let max_age = HeaderValue::from(cors.max_age.as_secs());
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static(methods),
        );
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, cors.allowed_headers.clone());
        headers.insert(ACCESS_CONTROL_MAX_AGE, max_age);
        Some(response)
    }

    /// Says who may read an answer of the gate's own.
    pub(in crate::gateway) fn share<B>(&self, mut response: Response<B>) -> Response<B> {
        let Some(cors) = &self.settings.cors else {
            return response;
        };
        let mut say = |name, value| response.own.push((name, value));
        // Also where it is not granted: what is kept for one origin is not for another.
        say(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = &self.granted {
            say(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::clone(origin));
            say(
                ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static(EXPOSED),
            );
            if cors.credentials {
                say(
                    ACCESS_CONTROL_ALLOW_CREDENTIALS,
                    HeaderValue::from_static("true"),
                );
            }
        }
        response
    }
}

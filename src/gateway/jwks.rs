//! `GET {paths.jwks}`: the keys by which app servers verify assertions. Public, and the same for
//! everybody, so it may be kept.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderValue, Method, Response, StatusCode};

use crate::domain::fields::HeaderFields;
use crate::domain::identity::Clean;
use crate::gateway::refusal::Refusal;
use crate::gateway::{Gateway, Visit};
use crate::server::body::RequestBody;

/// How long it may be kept. Verifiers ask again when they meet a key that they do not know; so this is
/// about how long they go on trusting one that was taken away.
const MAX_AGE: Duration = Duration::from_mins(5);

impl Gateway {
    /// Tells the keys, or that they are those that the client has.
    pub(in crate::gateway) fn jwks(
        visit: &Visit<'_>,
        request: &Clean<RequestBody>,
    ) -> Result<Response<Bytes>, Refusal> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Refusal::MethodNotAllowed {
                allowed: "GET, HEAD",
            });
        }
        // There is a route only where there are keys.
        let key_set = visit.settings.key_set.as_ref().ok_or(Refusal::NotFound)?;
        let etag = key_set.etag();
        let mut response = if is_known(request.fields(), etag) {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            let mut response = Response::new(key_set.json().clone());
            let content_type = HeaderValue::from_static("application/jwk-set+json");
            response.headers_mut().insert(CONTENT_TYPE, content_type);
            response
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, etag.clone());
        let cache_control = format!("public, max-age={}", MAX_AGE.as_secs());
        if let Ok(cache_control) = HeaderValue::try_from(cache_control) {
            headers.insert(CACHE_CONTROL, cache_control);
        }
        Ok(response)
    }
}

/// Whether the client has what the tag stands for (RFC 9110 §13.1.2).
fn is_known(fields: &HeaderFields, etag: &HeaderValue) -> bool {
    let lines = fields.all(&IF_NONE_MATCH);
    lines.into_iter().any(|line| {
        let mut tags = line
            .value()
            .split(|&byte| byte == b',')
            .map(<[u8]>::trim_ascii);
        tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes())
    })
}

//! Problem documents (RFC 9457): how the gate says no. Which problems there are is the business of
//! whoever refuses.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

/// One problem, as a client sees it.
#[derive(Debug, Serialize)]
pub struct Problem<'a> {
    /// `urn:wxgate:problem:` and the code.
    pub r#type: String,
    /// A few words for people.
    pub title: &'a str,
    /// The HTTP status again.
    pub status: u16,
    /// For programs. Stable.
    pub code: &'a str,
    /// What happened and what to do.
    pub detail: &'a str,
    /// What the client should do, for programs. Stable.
    pub action: &'a str,
    /// Under which the log knows this request.
    pub request_id: &'a str,
}

impl Problem<'_> {
    /// The answer that says it.
    pub fn into_response(&self) -> Response<Bytes> {
        // A struct of texts and a number cannot fail to serialise.
        let body = serde_json::to_vec(self).unwrap_or_default();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

//! What the answers of the gate's own routes have in common.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Response};
use serde::Serialize;

use crate::domain::identity::Clean;
use crate::gateway::Envelope;
use crate::gateway::refusal::Refusal;

/// Refuses every method but POST.
pub(in crate::gateway) fn require_post<B>(request: &Clean<B>) -> Result<(), Refusal> {
    if *request.method() == Method::POST {
        return Ok(());
    }
    Err(Refusal::MethodNotAllowed { allowed: "POST" })
}

/// A JSON answer that nobody may keep.
pub(in crate::gateway) fn json<T: Serialize>(envelope: Envelope, answer: &T) -> Response<Bytes> {
    // Structs of texts and numbers cannot fail to serialise.
    envelope.success(serde_json::to_vec(answer).unwrap_or_default())
}

/// The same of a text that is JSON already, without the envelope.
pub(in crate::gateway) fn json_text(text: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(text.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

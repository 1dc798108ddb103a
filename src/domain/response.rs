//! An answer on its way to a client, whichever version of HTTP it goes over.

use http::{HeaderName, HeaderValue, StatusCode};

use crate::domain::fields::HeaderFields;
use crate::domain::names;
use crate::domain::trace::RequestId;

/// An answer: what the app server says, as it came, and what the gate says itself.
#[derive(Clone, Debug)]
pub struct Response<B> {
    /// The status.
    pub status: StatusCode,
    /// What the app server says, without what belongs to the connection that it came over.
    pub passed: HeaderFields,
    /// What the gate says. No name of these is in `passed`, except where both may say something.
    pub own: Vec<(HeaderName, HeaderValue)>,
    /// Under which id the log knows the request. The app server's own is never passed.
    pub request_id: Option<RequestId>,
    /// The body.
    pub body: B,
}

impl<B> Response<B> {
    /// The same with another body.
    pub fn map<T>(self, map: impl FnOnce(B) -> T) -> Response<T> {
        Response {
            status: self.status,
            passed: self.passed,
            own: self.own,
            request_id: self.request_id,
            body: map(self.body),
        }
    }

    /// Says something instead of whatever the app server says.
    pub fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.passed.remove(&name);
        self.own.retain(|(own, _)| *own != name);
        self.own.push((name, value));
    }

    /// Says under which id the log knows the request, instead of whatever the app server says.
    pub fn identify(&mut self, request_id: RequestId) {
        self.passed.remove(names::X_REQUEST_ID);
        self.request_id = Some(request_id);
    }

    /// Whether either says something under this name.
    pub fn says(&self, name: &HeaderName) -> bool {
        self.passed.has(name) || self.own.iter().any(|(own, _)| own == name)
    }
}

impl<B> From<http::Response<B>> for Response<B> {
    /// One that the gate makes itself.
    fn from(response: http::Response<B>) -> Self {
        let (parts, body) = response.into_parts();
        let own = parts.headers.iter();
        Self {
            status: parts.status,
            passed: HeaderFields::default(),
            own: own
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            request_id: None,
            body,
        }
    }
}

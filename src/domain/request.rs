//! A request as it came in, whichever version of HTTP it came over.

use http::uri::PathAndQuery;
use http::{Method, Uri, Version};

use crate::domain::fields::HeaderFields;

/// The head of a request.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The target.
    pub uri: Uri,
    /// The version of HTTP that it came over.
    pub version: Version,
    /// The header fields.
    pub fields: HeaderFields,
}

impl RequestHead {
    /// The target as it goes out: path and query as they came, without scheme and authority, which is
    /// the form that origin servers take (RFC 9112 §3.2.1).
    pub fn target(&self) -> &str {
        self.uri.path_and_query().map_or("/", PathAndQuery::as_str)
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request<B> {
    /// Its head. In a box: a request is moved from one step to the next.
    pub head: Box<RequestHead>,
    /// Its body.
    pub body: B,
}

impl<B> From<http::Request<B>> for Request<B> {
    /// Takes over what is the same over every version. What was attached to it is lost.
    fn from(request: http::Request<B>) -> Self {
        let (parts, body) = request.into_parts();
        let head = RequestHead {
            method: parts.method,
            uri: parts.uri,
            version: parts.version,
            fields: HeaderFields::from(&parts.headers),
        };
        Self {
            head: Box::new(head),
            body,
        }
    }
}

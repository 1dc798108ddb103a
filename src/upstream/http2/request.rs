//! The head of a request as it goes out over HTTP/2: the target as it came, what the client may say,
//! and what the gate says itself. Pure.

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TE};
use http::uri::Scheme;
use http::{HeaderValue, Request, Uri, Version};

use crate::domain::identity::OwnFields;
use crate::domain::names;
use crate::domain::request::RequestHead;
use crate::upstream::http1::Framing;
use crate::upstream::{Settings, Target};

/// What a head says beside what came with the request.
#[derive(Clone, Copy, Debug)]
pub(in crate::upstream::http2) struct Terms {
    pub(in crate::upstream::http2) framing: Framing,
    /// Whether the client takes trailers, which it says to the gate alone.
    pub(in crate::upstream::http2) takes_trailers: bool,
}

/// Makes the head of a request.
pub(in crate::upstream::http2) fn head(
    came: RequestHead,
    own: &OwnFields,
    terms: Terms,
    settings: &Settings,
) -> Result<Request<()>, http::Error> {
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    let mut headers = came.fields.to_map();
    let host = came.fields.get(names::HOST).map(|host| host.value());
    // RFC 9113 §8.3.1: the host is said in the target, and there alone.
    *request.uri_mut() = Uri::builder()
        .scheme(scheme(settings))
        .authority(settings.host_for(host))
        .path_and_query(came.target())
        .build()?;
    headers.remove(HOST);
    headers.remove(CONTENT_LENGTH);
    // The go-ahead was given by the gate when it began to read the body.
    headers.remove(EXPECT);
    if let Framing::Length(length) = terms.framing {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if terms.takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    own.for_each(&came, |name, value| {
        // What the gate writes is legal.
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name.name().clone(), value);
        }
    });
    *request.method_mut() = came.method;
    *request.headers_mut() = headers;
    Ok(request)
}

fn scheme(settings: &Settings) -> Scheme {
    match &settings.target {
        Target::Http { tls: Some(_), .. } => Scheme::HTTPS,
        Target::Http { tls: None, .. } | Target::Unix(_) | Target::Played(_) => Scheme::HTTP,
    }
}

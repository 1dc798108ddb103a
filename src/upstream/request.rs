//! What is written to the app server: the head of a request in its final form, and a body that
//! tells how sending goes.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, request};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::domain::identity::CleanBody;
use crate::upstream::{Settings, Target};

/// Who is being waited for.
#[derive(Clone, Copy, Debug)]
pub(in crate::upstream) enum Waiting {
    /// The client, for more of the request body.
    Client,
    /// The app server, since then.
    AppServer(Instant),
}

/// How sending a request goes. Outlives the request.
#[derive(Clone, Debug)]
pub(in crate::upstream) struct Sending(Rc<Cell<Waiting>>);

impl Sending {
    pub(in crate::upstream) fn begin() -> Self {
        Self(Rc::new(Cell::new(Waiting::AppServer(Instant::now()))))
    }

    pub(in crate::upstream) fn waiting(&self) -> Waiting {
        self.0.get()
    }
}

pin_project! {
    /// The body of a request to the app server.
    pub(in crate::upstream) struct SendBody<B> {
        #[pin]
        inner: Option<CleanBody<B>>,
        sending: Sending,
    }
}

impl<B> SendBody<B> {
    pub(in crate::upstream) fn new(inner: CleanBody<B>, sending: Sending) -> Self {
        Self {
            inner: Some(inner),
            sending,
        }
    }

    pub(in crate::upstream) fn empty(sending: Sending) -> Self {
        Self {
            inner: None,
            sending,
        }
    }
}

impl<B: Body<Data = Bytes>> Body for SendBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Ready(None);
        };
        let polled = inner.poll_frame(context);
        this.sending.0.set(match polled {
            Poll::Pending => Waiting::Client,
            Poll::Ready(_) => Waiting::AppServer(Instant::now()),
        });
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Puts the head into the form that an HTTP/1.1 app server gets: the target as it came but without
/// scheme and authority, and the connection headers that the gate itself wants.
pub(in crate::upstream) fn finish_head<B: Body>(
    parts: &mut request::Parts,
    body: &B,
    settings: &Settings,
    upgrade: bool,
) {
    let target = parts.uri.path_and_query().cloned();
    parts.uri = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
    parts.version = Version::HTTP_11;
    let headers = &mut parts.headers;
    // The gate has given the go-ahead itself when it began to read the body.
    headers.remove(EXPECT);
    join_cookies(headers);
    if !body.is_end_stream() && !headers.contains_key(CONTENT_LENGTH) {
        // Said by ourselves: a GET has no body unless something says so.
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let own_host = match &settings.target {
        Target::Http { authority, .. } => authority.clone(),
        Target::Unix(_) => HeaderValue::from_static("localhost"),
    };
    if !settings.preserve_host || !headers.contains_key(HOST) {
        headers.insert(HOST, own_host);
    }
    if upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    } else if settings.max_idle == 0 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// HTTP/2 lets a client send its cookies in several fields; HTTP/1.1 knows one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<_> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if cookies.len() < 2 {
        return;
    }
    // Values of headers, joined by what a value may have, are a value.
    if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Whether sending the request twice is the same as sending it once, as far as HTTP can tell
/// (RFC 9110 §9.2.1), so that it may be repeated when a kept connection turns out to be closed.
pub(in crate::upstream) fn is_repeatable<B: Body>(parts: &request::Parts, body: &B) -> bool {
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&parts.method);
    safe && body.is_end_stream()
}

/// The head once more, for a repeated request.
pub(in crate::upstream) fn copy_head<B>(request: &Request<B>) -> request::Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = request.method().clone();
    parts.uri = request.uri().clone();
    parts.version = request.version();
    parts.headers = request.headers().clone();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_in_several_fields_become_one() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1"));
        headers.append(COOKIE, HeaderValue::from_static("b=2; c=3"));
        join_cookies(&mut headers);
        let left: Vec<_> = headers.get_all(COOKIE).iter().collect();
        assert_eq!(left, ["a=1; b=2; c=3"]);
    }
}

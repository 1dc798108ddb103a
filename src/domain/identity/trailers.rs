//! A body whose trailers have passed the same customs as headers. An app server may merge trailers
//! into its headers; so no name that is taken out of headers may arrive in trailers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::domain::hop;
use crate::domain::identity::rules::IdentityRules;

pin_project! {
    /// A request body without protected names in its trailers.
    #[derive(Debug)]
    pub struct CleanBody<B> {
        #[pin]
        inner: B,
        rules: Arc<IdentityRules>,
    }
}

impl<B> CleanBody<B> {
    /// Puts the body behind the rules.
    pub(in crate::domain::identity) fn new(inner: B, rules: Arc<IdentityRules>) -> Self {
        Self { inner, rules }
    }

    /// The same, in its place; for whoever moves data on, and with it no trailers.
    pub fn inner_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    /// The body as it came, for a reader inside the gate that looks at data only.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

impl<B: Body> Body for CleanBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let polled = this.inner.poll_frame(context);
        polled.map_ok(|frame| match frame.into_trailers() {
            Ok(mut trailers) => {
                clean(&mut trailers, this.rules);
                Frame::trailers(trailers)
            }
            Err(data) => data,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn clean(trailers: &mut HeaderMap, rules: &IdentityRules) {
    let listed = hop::listed(trailers);
    let forbidden: Vec<_> = trailers
        .keys()
        .filter(|name| rules.forbids_in_trailers(name) || listed.contains(name))
        .cloned()
        .collect();
    for name in forbidden {
        trailers.remove(name);
    }
}

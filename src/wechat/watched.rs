//! Looks for the access token in an answer of WeChat's while it passes, and breaks it off where the
//! token would begin. Knows nothing of what the answer is.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use memchr::memmem;

use crate::domain::secret::AccessToken;
use crate::telemetry::event;
use crate::wechat::client::transport;
use crate::wechat::relay::RelayError;

/// The token stands in what was to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leak;

/// A look-out for the token in bytes that come in pieces. Holds back what may be its beginning, so that
/// no part of it has passed when its end comes.
struct Lookout {
    token: Arc<AccessToken>,
    held: Bytes,
}

impl Lookout {
    fn new(token: Arc<AccessToken>) -> Self {
        Self {
            token,
            held: Bytes::new(),
        }
    }

    /// What may pass, now that this piece has come.
    fn pass(&mut self, piece: Bytes) -> Result<Bytes, Leak> {
        // Exposed to nobody: it is looked for.
        let token = self.token.expose().as_bytes();
        let mut bytes = if self.held.is_empty() {
            piece
        } else {
            let mut joined = BytesMut::from(&self.held[..]);
            joined.extend_from_slice(&piece);
            joined.freeze()
        };
        if memmem::find(&bytes, token).is_some() {
            return Err(Leak);
        }
        let longest = bytes.len().min(token.len().saturating_sub(1));
        let begun = (1..=longest).rev().find(|&length| {
            let beginning = token.get(..length);
            beginning.is_some_and(|beginning| bytes.ends_with(beginning))
        });
        self.held = bytes.split_off(bytes.len() - begun.unwrap_or(0));
        Ok(bytes)
    }

    /// What was held back; nothing comes after it.
    fn end(&mut self) -> Bytes {
        std::mem::take(&mut self.held)
    }
}

/// The body of an answer that is watched for the token.
pub struct Watched<B> {
    body: B,
    lookout: Lookout,
    ended: bool,
}

impl<B> Watched<B> {
    /// Watches this body for this token.
    pub(super) fn new(body: B, token: Arc<AccessToken>) -> Self {
        Self {
            body,
            lookout: Lookout::new(token),
            ended: false,
        }
    }
}

impl<B> fmt::Debug for Watched<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched(..)")
    }
}

impl<B: Body<Data = Bytes, Error = reqwest::Error> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = RelayError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RelayError>>> {
        let this = &mut *self;
        while !this.ended {
            let piece = match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                // No API of WeChat has trailers.
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) => {
                    this.ended = true;
                    this.lookout.end();
                    return Poll::Ready(Some(Err(RelayError::NoAnswer(transport(error)))));
                }
                None => {
                    this.ended = true;
                    let rest = this.lookout.end();
                    return Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(rest))));
                }
            };
            match this.lookout.pass(piece) {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Err(Leak) => {
                    this.ended = true;
                    let error = RelayError::Leak;
                    tracing::warn!(message = event::EGRESS_FAILED, %error);
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || (self.lookout.held.is_empty() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        // What is held back is still to come.
        match self.body.size_hint().exact() {
            Some(rest) => {
                let held = u64::try_from(self.lookout.held.len()).unwrap_or(u64::MAX);
                SizeHint::with_exact(rest.saturating_add(held))
            }
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lookout(token: &str) -> Lookout {
        Lookout::new(Arc::new(AccessToken::parse(token.to_owned()).unwrap()))
    }

    /// What passes of a text that comes in pieces of these lengths, and whether all of it does.
    fn passed(token: &str, text: &str, lengths: &[usize]) -> (String, bool) {
        let mut lookout = lookout(token);
        let mut passed = Vec::new();
        let mut rest = Bytes::copy_from_slice(text.as_bytes());
        let mut lengths = lengths.iter().cycle();
        while !rest.is_empty() {
            let length = *lengths.next().unwrap();
            let piece = rest.split_to(length.min(rest.len()));
            match lookout.pass(piece) {
                Ok(bytes) => passed.extend_from_slice(&bytes),
                Err(Leak) => return (String::from_utf8(passed).unwrap(), false),
            }
        }
        passed.extend_from_slice(&lookout.end());
        (String::from_utf8(passed).unwrap(), true)
    }

    proptest! {
        #[test]
        fn nothing_of_a_token_passes_however_it_is_cut_and_everything_else_does(
            token in "[ab]{1,6}",
            before in "[abc]{0,20}",
            after in "[abc]{0,20}",
            lengths in prop::collection::vec(1_usize..8, 1..6),
        ) {
            let text = format!("{before}{token}{after}");
            let (got, whole) = passed(&token, &text, &lengths);
            prop_assert!(!whole);
            let first = text.find(&token).unwrap();
            prop_assert!(got.len() <= first, "{} of {}", got, text);
            prop_assert!(text.starts_with(&got));

            let clean = text.replace(&token, "");
            if !clean.contains(&token) {
                prop_assert_eq!(passed(&token, &clean, &lengths), (clean, true));
            }
        }
    }
}

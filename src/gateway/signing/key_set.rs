//! The keys by which assertions are verified, as they are published (RFC 7517 §5): the one that signs,
//! and the one that did before.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::HeaderValue;
use serde::Serialize;

use crate::crypto::assertion::{PublicKey, SigningKey};
use crate::domain::hex::hex;

/// Public keys, written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    json: Bytes,
    etag: HeaderValue,
}

#[derive(Serialize)]
struct Keys<'a> {
    keys: Vec<&'a PublicKey>,
}

impl KeySet {
    /// Of the key that signs, and of one that did before.
    pub fn of(current: &SigningKey, previous: Option<&SigningKey>) -> Self {
        let current = current.public();
        let previous = previous.map(SigningKey::public);
        let previous = previous.filter(|previous| *previous != current);
        let keys = std::iter::once(current).chain(previous).collect();
        // Structs of texts cannot fail to serialise.
        let json = serde_json::to_vec(&Keys { keys }).unwrap_or_default();
        let tag = format!("\"{}\"", hex(digest(&SHA256, &json).as_ref()));
        Self {
            json: json.into(),
            // Digits in quotes are fit for a header.
            etag: HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\"")),
        }
    }

    /// The document.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// By what its content is told from another (RFC 9110 §8.8.3).
    pub fn etag(&self) -> &HeaderValue {
        &self.etag
    }
}

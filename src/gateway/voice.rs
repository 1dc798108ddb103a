//! How one client is spoken to when it is told no: what the configuration and its request make of
//! each other.

use http::HeaderMap;

use crate::gateway::{Envelope, Errors, Language};

/// How one client is spoken to.
#[derive(Clone, Copy, Debug)]
pub(in crate::gateway) struct Voice {
    pub(in crate::gateway) language: Language,
    /// Whether the language is the client's choice.
    pub(in crate::gateway) negotiated: bool,
    pub(in crate::gateway) envelope: Envelope,
}

impl Voice {
    /// For a request with these headers.
    pub(in crate::gateway) fn of(errors: Errors, headers: &HeaderMap) -> Self {
        let negotiated = || Language::negotiated(headers);
        Self {
            language: errors.language.unwrap_or_else(negotiated),
            negotiated: errors.language.is_none(),
            envelope: errors.envelope,
        }
    }
}

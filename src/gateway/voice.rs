//! How one client is spoken to when it is told no: what the configuration and its request make of
//! each other.

use crate::domain::fields::HeaderFields;

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
    /// For a request with these header fields.
    pub(in crate::gateway) fn of(errors: Errors, fields: &HeaderFields) -> Self {
        let negotiated = || Language::negotiated(fields);
        Self {
            language: errors.language.unwrap_or_else(negotiated),
            negotiated: errors.language.is_none(),
            envelope: errors.envelope,
        }
    }
}

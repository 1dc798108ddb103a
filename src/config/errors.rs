//! `[errors]`: how the gate's own answers look.

use crate::config::key::Key;
use crate::gateway::{Envelope, Errors, Language};

/// Reads `[errors]`.
pub(super) fn read(table: &Key<'_>) -> Errors {
    let languages = [
        ("auto", None),
        ("en", Some(Language::English)),
        ("zh", Some(Language::Chinese)),
    ];
    let envelopes = [
        ("problem", Envelope::Problem),
        ("code-msg-data", Envelope::CodeMsgData),
    ];
    Errors {
        language: table.key("language").choice(None, &languages),
        envelope: table.key("envelope").choice(Envelope::Problem, &envelopes),
    }
}

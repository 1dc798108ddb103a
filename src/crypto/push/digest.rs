//! By what a push is known again. Knows nothing of who remembers it, or for how long.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::domain::id::AppId;

/// What makes two pushes the same, as a hash: a key for maps.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PushDigest([u8; 32]);

impl PushDigest {
    /// Of a message to this mini program, by all that it says: its id or, for an event, who, when and
    /// what stand in it. A user may do two things in one second, and where nothing signs the text
    /// nobody can have a message taken for a repeat of his own.
    pub fn of(app: &AppId, text: &str) -> Self {
        let app = app.as_str();
        let mut sha256 = Sha256::new();
        // Its length goes first, so that no other app and text are hashed as the same bytes.
        sha256.update(app.len().to_be_bytes());
        sha256.update(app);
        sha256.update(text);
        Self(sha256.finalize().into())
    }

    /// The 32 bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for PushDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PushDigest(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(app: &str, text: &str) -> PushDigest {
        PushDigest::of(&AppId::parse(app).unwrap(), text)
    }

    #[test]
    fn a_push_is_known_by_all_it_says() {
        let message = digest("wx1", r#"{"MsgId":1,"Content":"a"}"#);
        for (app, other) in [
            ("wx1", r#"{"MsgId":1,"Content":"b"}"#),
            ("wx1", r#"{"MsgId":2,"Content":"a"}"#),
            ("wx2", r#"{"MsgId":1,"Content":"a"}"#),
            ("wx", r#"1{"MsgId":1,"Content":"a"}"#),
        ] {
            assert_ne!(message, digest(app, other), "{app} {other}");
        }
    }
}

//! Under which keys things are kept in Redis. Every key that is about a user, and every key of a
//! session of theirs, has one hash tag: so they are in one slot of a Cluster, and one script can
//! change them all or none.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::crypto::code::CodeDigest;
use crate::crypto::push::PushDigest;
use crate::domain::hex::hex;
use crate::domain::id::UserKey;
use crate::domain::ticket::TicketId;
use crate::domain::token::TokenDigest;

/// What the hash of a user is for, hashed into it.
const USER_LABEL: &[u8] = b"wxgate user v1";

/// Characters of a digest in a key or a message.
pub(super) const DIGEST_CHARS: usize = 43;

/// Which of 256 groups a user, and with them their sessions, are in: a byte of the hash of the user, and
/// of the hash of each of their tokens. Tokens are drawn until that is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(u8);

impl Tag {
    pub(super) fn of_session(digest: &TokenDigest) -> Self {
        let [first, ..] = digest.as_bytes();
        Self(*first)
    }

    pub(super) fn of_user(user: &UserKey) -> Self {
        let [first, ..] = user_hash(user);
        Self(first)
    }
}

/// The keys of one gate.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
}

/// The keys of what is known of a user.
#[derive(Debug)]
pub(super) struct UserNames {
    /// Their sessions.
    pub(super) sessions: String,
    /// WeChat's keys for them.
    pub(super) keys: String,
    /// With the digest of a session's token after it, the key of that session.
    pub(super) session_prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        let prefix = prefix.to_owned();
        Self { prefix }
    }

    /// The key of a session.
    pub(super) fn session(&self, digest: &TokenDigest) -> String {
        let prefix = self.sessions(Tag::of_session(digest));
        format!("{prefix}{}", written(digest))
    }

    /// The keys of a user.
    pub(super) fn user(&self, user: &UserKey) -> UserNames {
        let hash = user_hash(user);
        let tag = hex(hash.first_chunk::<1>().map_or(&[][..], |first| first));
        let (prefix, hash) = (&self.prefix, URL_SAFE_NO_PAD.encode(hash));
        UserNames {
            sessions: format!("{prefix}{{{tag}}}u:{hash}"),
            keys: format!("{prefix}{{{tag}}}k:{hash}"),
            session_prefix: self.sessions(Tag::of_user(user)),
        }
    }

    fn sessions(&self, tag: Tag) -> String {
        format!("{}{{{}}}s:", self.prefix, hex(&[tag.0]))
    }

    /// The key of a login code.
    pub(super) fn code(&self, code: &CodeDigest) -> String {
        format!(
            "{}c:{}",
            self.prefix,
            URL_SAFE_NO_PAD.encode(code.as_bytes())
        )
    }

    /// The key of a push.
    pub(super) fn push(&self, push: &PushDigest) -> String {
        format!(
            "{}p:{}",
            self.prefix,
            URL_SAFE_NO_PAD.encode(push.as_bytes())
        )
    }

    /// The key of a ticket that was exchanged.
    pub(super) fn ticket(&self, ticket: &TicketId) -> String {
        format!(
            "{}t:{}",
            self.prefix,
            URL_SAFE_NO_PAD.encode(ticket.as_bytes())
        )
    }

    /// The channel on which endings are told.
    pub(super) fn endings(&self) -> String {
        format!("{}endings", self.prefix)
    }

    /// The channel on which one gate hears only itself.
    pub(super) fn own_channel(&self, gate: &str) -> String {
        format!("{}gate:{gate}", self.prefix)
    }

    /// The key by which a Redis is known again.
    pub(super) fn marker(&self) -> String {
        format!("{}marker", self.prefix)
    }

    /// The number that is counted up to find out whether that can be done, and that nothing is forgotten.
    pub(super) fn probe(&self) -> String {
        format!("{}probe", self.prefix)
    }
}

/// A digest as keys and messages have it.
pub(super) fn written(digest: &TokenDigest) -> String {
    URL_SAFE_NO_PAD.encode(digest.as_bytes())
}

/// The digest that was written so.
pub(super) fn read(text: &[u8]) -> Option<TokenDigest> {
    let mut bytes = [0; 32];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (length == bytes.len()).then(|| TokenDigest::new(bytes))
}

/// Lengths go first, so that no two users are hashed as the same bytes.
fn user_hash(user: &UserKey) -> [u8; 32] {
    let mut sha256 = Sha256::new();
    let (app, openid) = (user.app().as_str(), user.openid().as_str());
    for part in [USER_LABEL, app.as_bytes(), openid.as_bytes()] {
        sha256.update(part.len().to_be_bytes());
        sha256.update(part);
    }
    sha256.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{AppId, OpenId};

    fn user(app: &str, openid: &str) -> UserKey {
        UserKey::new(&AppId::parse(app).unwrap(), &OpenId::parse(openid).unwrap())
    }

    #[test]
    fn two_users_share_no_key() {
        let names = Names::new("wxgate:");
        let keys = |app, openid| names.user(&user(app, openid)).sessions;
        assert_ne!(keys("wx1", "a"), keys("wx1", "b"));
        assert_ne!(keys("wx1", "a"), keys("wx2", "a"));
        assert_ne!(keys("wx1", "1a"), keys("wx11", "a"));
    }

    #[test]
    fn a_key_says_nothing_of_the_user_or_the_token_that_could_be_read() {
        let names = Names::new("wxgate:");
        let UserNames { sessions, keys, .. } = names.user(&user("wx1", "oSecret"));
        for key in [sessions, keys] {
            assert!(!key.contains("oSecret") && !key.contains("wx1"), "{key}");
        }
    }

    #[test]
    fn all_keys_of_a_user_have_one_hash_tag_once_the_token_fits() {
        let names = Names::new("wxgate:");
        let user = user("wx1", "a");
        let mut bytes = [9; 32];
        bytes[0] = Tag::of_user(&user).0;
        let digest = TokenDigest::new(bytes);
        let session = names.session(&digest);
        let of_user = names.user(&user);
        let tag = |key: &str| {
            let rest = key.split_once('{').unwrap().1;
            rest.split_once('}').unwrap().0.to_owned()
        };
        assert_eq!(tag(&session), tag(&of_user.sessions));
        assert_eq!(tag(&session), tag(&of_user.keys));
        assert_eq!(
            session,
            format!("{}{}", of_user.session_prefix, written(&digest))
        );
    }

    #[test]
    fn a_digest_is_read_as_it_was_written_and_nothing_else_is_one() {
        let digest = TokenDigest::new([200; 32]);
        let text = written(&digest);
        assert_eq!(text.len(), DIGEST_CHARS);
        assert_eq!(read(text.as_bytes()), Some(digest));
        for wrong in [
            "",
            "logins",
            text.get(1..).unwrap(),
            &format!("{text}A"),
            &text.replace('y', "+"),
        ] {
            assert_eq!(read(wrong.as_bytes()), None, "{wrong}");
        }
    }
}

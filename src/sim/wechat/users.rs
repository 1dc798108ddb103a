//! The users of the simulated WeChat: who they are in which mini program, and the session_key that
//! each has at the moment. Knows nothing of codes or requests.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::crypto::random;
use crate::domain::id::{AppId, OpenId, UnionId};
use crate::domain::secret::SessionKey;
use crate::sim::recent::Recent;

/// Users that have a session_key. One that is forgotten gets a new key at the next login, as after
/// a rotation.
const MAX_USERS: usize = 100_000;

/// Longest name of a user, in characters.
const MAX_NAME_CHARS: usize = 32;

/// What a person is called in codes and control requests: 1 to 32 of `A-Z a-z 0-9 _ -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserName(Box<str>);

impl UserName {
    /// Takes a name of this shape.
    pub fn parse(text: &str) -> Option<Self> {
        let named = (1..=MAX_NAME_CHARS).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        named.then(|| Self(text.into()))
    }

    /// The user of the developer tools, who has no name.
    pub(super) fn devtools() -> Self {
        Self("devtools".into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A person within one mini program.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) openid: OpenId,
    pub(super) unionid: UnionId,
    pub(super) key: SessionKey,
}

/// Everybody that logged in or was asked about.
#[derive(Debug)]
pub(super) struct Users {
    keys: Recent<(Box<str>, UserName), SessionKey>,
    /// Who is behind an openid, which tells nothing itself.
    names: Recent<Box<str>, UserName>,
}

impl Users {
    pub(super) fn new() -> Self {
        Self {
            keys: Recent::new(MAX_USERS),
            names: Recent::new(MAX_USERS),
        }
    }

    /// Who has this openid in this mini program, if ever found there.
    pub(super) fn name_of(&mut self, app: &AppId, id: &str) -> Option<UserName> {
        let name = self.names.get(id)?;
        (openid(app, name).as_str() == id).then(|| name.clone())
    }

    /// Whether anybody has this openid in any mini program.
    pub(super) fn is_openid(&mut self, id: &str) -> bool {
        self.names.get(id).is_some()
    }

    /// The user, who has the same session_key until it is rotated.
    pub(super) fn find(&mut self, app: &AppId, name: &UserName) -> User {
        User {
            openid: openid(app, name),
            unionid: unionid(name),
            key: self.key(app, name).clone(),
        }
    }

    /// Gives the user a new session_key.
    pub(super) fn rotate(&mut self, app: &AppId, name: &UserName) {
        *self.key(app, name) = new_key();
    }

    fn key(&mut self, app: &AppId, name: &UserName) -> &mut SessionKey {
        let id = openid(app, name).as_str().into();
        self.names.get_or_insert_with(id, || name.clone());
        let key = (app.as_str().into(), name.clone());
        self.keys.get_or_insert_with(key, new_key)
    }
}

fn new_key() -> SessionKey {
    SessionKey::new(random::bytes())
}

/// The openid that this person has in this mini program, in every simulator and for ever.
#[expect(clippy::expect_used, reason = "base64url is printable ASCII")]
pub(super) fn openid(app: &AppId, name: &UserName) -> OpenId {
    let text = id(&format!("openid {app} {}", name.as_str()));
    OpenId::parse(&text).expect("28 characters of base64url")
}

/// The unionid of this person, the same in all mini programs.
#[expect(clippy::expect_used, reason = "base64url is printable ASCII")]
fn unionid(name: &UserName) -> UnionId {
    let text = id(&format!("unionid {}", name.as_str()));
    UnionId::parse(&text).expect("28 characters of base64url")
}

/// An identifier that looks like WeChat's: an `o` and 27 characters.
fn id(source: &str) -> String {
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(source));
    std::iter::once('o').chain(hash.chars().take(27)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        for name in ["a", "Alice_2-b", &"a".repeat(32)] {
            assert!(UserName::parse(name).is_some(), "{name}");
        }
        for name in ["", "a b", "张三", "a/b", &"a".repeat(33)] {
            assert!(UserName::parse(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_person_has_an_openid_per_mini_program_and_one_unionid() {
        let alice = UserName::parse("alice").unwrap();
        let (one, two) = (AppId::parse("wx1").unwrap(), AppId::parse("wx2").unwrap());
        let mut users = Users::new();
        let (in_one, in_two) = (users.find(&one, &alice), users.find(&two, &alice));
        assert_ne!(in_one.openid, in_two.openid);
        assert_eq!(in_one.unionid, in_two.unionid);
        assert_eq!(in_one.openid, Users::new().find(&one, &alice).openid);
        assert_eq!(in_one.openid.as_str().len(), 28);
        assert!(in_one.openid.as_str().starts_with('o'));
        assert_eq!(users.name_of(&one, in_one.openid.as_str()), Some(alice));
        assert_eq!(users.name_of(&two, in_one.openid.as_str()), None);
        assert_eq!(users.name_of(&one, "o"), None);
        assert!(users.is_openid(in_two.openid.as_str()) && !users.is_openid("o"));
    }
}

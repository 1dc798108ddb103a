//! Identifiers that WeChat gives: which mini program, which user. Each is checked where it enters
//! the process and is from then on a header value, so that writing it into a request costs a
//! reference count. Knows nothing of who may be believed about them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;

use crate::domain::limits;

/// Why a text is not an identifier. Does not repeat the text: it may be a secret in the wrong
/// place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// A character outside printable ASCII, or a space.
    #[error("it has a character other than printable ASCII")]
    Character,
    /// Longer than any identifier WeChat gives.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
}

/// Checks what all identifiers have in common: printable ASCII without spaces, of bounded length.
fn visible_ascii(text: &str, max: usize) -> Result<HeaderValue, IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > max {
        return Err(IdError::TooLong(max));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(IdError::Character);
    }
    HeaderValue::from_maybe_shared(shared(text)).map_err(|_invalid| IdError::Character)
}

/// Bytes of an identifier that is kept next to its reference count. As long as today's openids and
/// unionids need; with the count and what an allocator adds, it fills 48 bytes.
const SHORT: usize = 31;

/// A text beside its own reference count: one small allocation, where [`Bytes`] alone would make
/// two, and the second of them while a request waits.
struct Short {
    length: u8,
    bytes: [u8; SHORT],
}

impl AsRef<[u8]> for Short {
    fn as_ref(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }
}

fn shared(text: &str) -> Bytes {
    let mut bytes = [0; SHORT];
    match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
        (Some(place), Ok(length)) => {
            place.copy_from_slice(text.as_bytes());
            Bytes::from_owner(Short { length, bytes })
        }
        _ => Bytes::copy_from_slice(text.as_bytes()),
    }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident($kept:ty), $shown:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash)]
        pub struct $name($kept);

        impl $name {
            /// Checks the text: 1 to 128 bytes of printable ASCII without spaces.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                visible_ascii(text, limits::MAX_ID_BYTES).map(|id| Self(id.into()))
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                // Invariant of the type: `parse` let printable ASCII through and nothing else.
                self.0.to_str().unwrap_or_default()
            }

            /// The identifier as a header value, ready to be put into a request.
            pub fn header(&self) -> &HeaderValue {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let shown: fn(&$name) -> &str = $shown;
                write!(f, "{}({})", stringify!($name), shown(self))
            }
        }
    };
}

identifier! {
    /// The id of a registered mini program (小程序 appid), such as `wx0123456789abcdef`. Public.
    /// Many sessions, few mini programs: each session has a reference to it.
    AppId(Arc<HeaderValue>), |id| id.as_str()
}

identifier! {
    /// The id of a user within one mini program. Personal data: never printed.
    OpenId(HeaderValue), |_id| ".."
}

identifier! {
    /// The id of a person across the mini programs of one Open Platform account. Personal data:
    /// never printed. Many users have none, so it takes little room where it is not.
    UnionId(Box<HeaderValue>), |_id| ".."
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A user of one mini program, as a key for maps.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UserKey {
    app: AppId,
    openid: OpenId,
}

impl UserKey {
    /// The key of this user.
    pub fn new(app: &AppId, openid: &OpenId) -> Self {
        Self {
            app: app.clone(),
            openid: openid.clone(),
        }
    }

    /// The mini program.
    pub fn app(&self) -> &AppId {
        &self.app
    }

    /// The user within the mini program.
    pub fn openid(&self) -> &OpenId {
        &self.openid
    }
}

impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_printable_ascii_of_bounded_length() {
        assert_eq!(OpenId::parse("").unwrap_err(), IdError::Empty);
        assert_eq!(OpenId::parse("a b").unwrap_err(), IdError::Character);
        assert_eq!(
            OpenId::parse("a\r\nX-WX-OPENID: b").unwrap_err(),
            IdError::Character
        );
        assert_eq!(OpenId::parse("张三").unwrap_err(), IdError::Character);
        assert_eq!(
            OpenId::parse(&"a".repeat(129)).unwrap_err(),
            IdError::TooLong(128)
        );
        for length in [1, 28, SHORT, SHORT + 1, 128] {
            let text: String = "o-_09AZ#".chars().cycle().take(length).collect();
            assert_eq!(OpenId::parse(&text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn personal_identifiers_do_not_print() {
        let openid = OpenId::parse("oSecret").unwrap();
        let unionid = UnionId::parse("oSecret").unwrap();
        let key = UserKey::new(&AppId::parse("wx1").unwrap(), &openid);
        assert!(!format!("{openid:?}{unionid:?}{key:?}").contains("oSecret"));
    }
}

//! Identifiers that WeChat gives: which mini program, which user. Each is checked where it enters
//! the process and is from then on a header value, so that writing it into a request costs a
//! reference count. Knows nothing of who may be believed about them.

use std::fmt;

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
    HeaderValue::from_str(text).map_err(|_invalid| IdError::Character)
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $shown:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(HeaderValue);

        impl $name {
            /// Checks the text: 1 to 128 bytes of printable ASCII without spaces.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                visible_ascii(text, limits::MAX_ID_BYTES).map(Self)
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
    AppId, |id| id.as_str()
}

identifier! {
    /// The id of a user within one mini program. Personal data: never printed.
    OpenId, |_id| ".."
}

identifier! {
    /// The id of a person across the mini programs of one Open Platform account. Personal data:
    /// never printed.
    UnionId, |_id| ".."
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A user of one mini program, as a key for maps: appid and openid, which no other pair shares.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UserKey(Box<str>);

impl UserKey {
    /// The key of this user. A space cannot stand in either part, so it keeps them apart.
    pub fn new(app: &AppId, openid: &OpenId) -> Self {
        Self(format!("{app} {}", openid.as_str()).into_boxed_str())
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
        assert_eq!(OpenId::parse("o-_09AZ").unwrap().as_str(), "o-_09AZ");
    }

    #[test]
    fn personal_identifiers_do_not_print() {
        let openid = OpenId::parse("oSecret").unwrap();
        let unionid = UnionId::parse("oSecret").unwrap();
        let key = UserKey::new(&AppId::parse("wx1").unwrap(), &openid);
        assert!(!format!("{openid:?}{unionid:?}{key:?}").contains("oSecret"));
    }
}

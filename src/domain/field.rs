//! The name of a header field that the gate writes itself, in the spelling in which it goes out.
//! HTTP takes no notice of letter case (RFC 9110 §5.1), but PHP's `getallheaders()` keeps it. Knows
//! no field by name.

use std::borrow::Cow;
use std::fmt;

use http::HeaderName;
use http::header::InvalidHeaderName;

/// A field name and its spelling.
#[derive(Clone, PartialEq, Eq)]
pub struct FieldName {
    name: HeaderName,
    /// Equal to `name` but for letter case, with the colon and the space that follow.
    start: Cow<'static, str>,
}

/// What stands between a name and a value.
const SEPARATOR: &str = ": ";

impl FieldName {
    /// A name that is known when the gate is built, and how its line begins: with the name, a colon and a
    /// space.
    ///
    /// # Panics
    ///
    /// When the begin ends otherwise: while the gate is built, as all of these are constants.
    pub const fn fixed(name: HeaderName, start: &'static str) -> Self {
        assert!(
            matches!(start.as_bytes(), [_, .., b':', b' ']),
            "ends otherwise"
        );
        Self {
            name,
            start: Cow::Borrowed(start),
        }
    }

    /// A name as an operator spells it.
    pub fn parse(spelling: &str) -> Result<Self, InvalidHeaderName> {
        Ok(Self {
            name: HeaderName::from_bytes(spelling.as_bytes())?,
            start: Cow::Owned(format!("{spelling}{SEPARATOR}")),
        })
    }

    /// The name, in lower case.
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The name as it goes out over HTTP/1.
    pub fn spelling(&self) -> &str {
        let spelling = self.start.strip_suffix(SEPARATOR);
        spelling.unwrap_or(&self.start)
    }

    /// How its line begins over HTTP/1: the name, a colon and a space.
    pub fn line_start(&self) -> &[u8] {
        self.start.as_bytes()
    }
}

impl fmt::Debug for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.spelling())
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.spelling())
    }
}

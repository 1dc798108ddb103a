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
    /// Equal to `name` but for letter case.
    spelling: Cow<'static, str>,
}

impl FieldName {
    /// A name that is known when the gate is built. The spelling must be that of the name.
    pub const fn fixed(name: HeaderName, spelling: &'static str) -> Self {
        Self {
            name,
            spelling: Cow::Borrowed(spelling),
        }
    }

    /// A name as an operator spells it.
    pub fn parse(spelling: &str) -> Result<Self, InvalidHeaderName> {
        Ok(Self {
            name: HeaderName::from_bytes(spelling.as_bytes())?,
            spelling: Cow::Owned(spelling.to_owned()),
        })
    }

    /// The name, in lower case.
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The name as it goes out over HTTP/1.
    pub fn spelling(&self) -> &str {
        &self.spelling
    }
}

impl fmt::Debug for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spelling)
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spelling)
    }
}

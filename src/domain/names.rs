//! Names of header fields as they are looked for (those that the gate writes are in `field`): with a tag that tells most others from them at
//! once. Knows which names HTTP gives a meaning, and none that an operator chooses.

use http::HeaderName;

/// A name, in any letter case.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    text: &'a [u8],
    tag: Tag,
}

impl Name<'static> {
    /// A name that is known when the gate is built, in lower case.
    pub const fn fixed(text: &'static str) -> Self {
        Self {
            text: text.as_bytes(),
            tag: Tag::of(text.as_bytes()),
        }
    }
}

impl<'a> Name<'a> {
    /// One whose tag is known.
    pub(in crate::domain) const fn tagged(text: &'a [u8], tag: Tag) -> Self {
        Self { text, tag }
    }

    /// Its tag.
    pub const fn tag(self) -> Tag {
        self.tag
    }

    /// As text.
    pub const fn text(self) -> &'a [u8] {
        self.text
    }

    /// Whether it is the same name, in any letter case.
    pub fn is(self, other: Name<'_>) -> bool {
        self.tag == other.tag && self.text.eq_ignore_ascii_case(other.text)
    }
}

impl<'a> From<&'a [u8]> for Name<'a> {
    fn from(text: &'a [u8]) -> Self {
        Self {
            text,
            tag: Tag::of(text),
        }
    }
}

impl<'a> From<&'a HeaderName> for Name<'a> {
    fn from(name: &'a HeaderName) -> Self {
        name.as_str().as_bytes().into()
    }
}

/// A few bits of a name, the same in any letter case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(u8);

impl Tag {
    /// Of its length and its ends.
    pub const fn of(name: &[u8]) -> Self {
        let (first, last) = match name {
            [first, .., last] => (*first, *last),
            [only] => (*only, *only),
            [] => (0, 0),
        };
        let ends = (first | 0x20).wrapping_mul(7) ^ (last | 0x20).wrapping_mul(29);
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            reason = "some bits of the length are enough"
        )]
        let length = name.len() as u8;
        Self((ends ^ length.wrapping_mul(11)) % 64)
    }
}

/// Tags that are there, a bit for each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tags(u64);

impl Tags {
    /// Those of these names.
    pub const fn of<const N: usize>(names: &[Name<'_>; N]) -> Self {
        let (mut all, mut rest) = (Self(0), names.as_slice());
        while let [first, others @ ..] = rest {
            all.add(first.tag);
            rest = others;
        }
        all
    }

    /// Adds one.
    pub const fn add(&mut self, tag: Tag) {
        self.0 |= 1 << tag.0;
    }

    /// Whether it may be there; if not, no name with it is.
    pub const fn has(self, tag: Tag) -> bool {
        self.0 & (1 << tag.0) != 0
    }
}

/// The names that HTTP gives a meaning for a proxy, and some that are asked for with every request.
macro_rules! names {
    ($($name:ident = $text:literal;)*) => {
        $(
            #[doc = concat!("`", $text, "`")]
            pub const $name: Name<'static> = Name::fixed($text);
        )*

        #[cfg(test)]
        const ALL: &[Name<'static>] = &[$($name),*];
    };
}

names! {
    ACCEPT_LANGUAGE = "accept-language";
    AUTHORIZATION = "authorization";
    CONNECTION = "connection";
    CONTENT_LENGTH = "content-length";
    COOKIE = "cookie";
    DATE = "date";
    EXPECT = "expect";
    HOST = "host";
    KEEP_ALIVE = "keep-alive";
    ORIGIN = "origin";
    REFERER = "referer";
    SEC_FETCH_DEST = "sec-fetch-dest";
    SEC_FETCH_MODE = "sec-fetch-mode";
    SEC_FETCH_SITE = "sec-fetch-site";
    SET_COOKIE = "set-cookie";
    TE = "te";
    TRACEPARENT = "traceparent";
    TRACESTATE = "tracestate";
    TRANSFER_ENCODING = "transfer-encoding";
    UPGRADE = "upgrade";
    X_FORWARDED_URI = "x-forwarded-uri";
    X_REQUEST_ID = "x-request-id";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_tag_in_any_letter_case() {
        for name in ALL {
            assert_eq!(name.text, name.text.to_ascii_lowercase());
            assert_eq!(Tag::of(&name.text.to_ascii_uppercase()), name.tag);
        }
        assert_eq!(Tag::of(b"A"), Tag::of(b"a"));
    }

    #[test]
    fn a_tag_is_there_once_a_name_with_it_is() {
        let some = Tags::of(&[HOST, TE]);
        assert!(some.has(Tag::of(b"HOST")) && some.has(TE.tag));
        assert!(!Tags::default().has(HOST.tag));
    }
}

//! Cookies as they stand in a `Cookie` field (RFC 6265 §4.2.1), and the name of one. Knows no cookie by
//! name.
//!
//! A field is read at its semicolons alone, as browsers write it. Some servers read on in quotes, across
//! semicolons: whoever can set one cookie then makes them take a part of the field for the value of
//! another, and perhaps show it. What was taken out is not there to be shown.

use std::fmt;
use std::sync::Arc;

use percent_encoding::percent_decode;

use crate::domain::bytes::ByteSet;
use crate::domain::fold;

/// The characters of a name: those of a token (RFC 9110 §5.6.2).
static NAME: ByteSet = ByteSet::ALPHANUMERIC.with(b"!#$%&'*+-.^_`|~");

/// The text is not the name of a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not the name of a cookie")]
pub struct NotAName;

/// The name of a cookie. A cheap handle.
#[derive(Clone, PartialEq, Eq)]
pub struct CookieName(Arc<str>);

impl CookieName {
    /// Takes a text that no server reads as anything else.
    pub fn parse(text: &str) -> Result<Self, NotAName> {
        let plain = !text.is_empty() && !text.contains('%') && NAME.has_all(text.as_bytes());
        plain.then(|| Self(text.into())).ok_or(NotAName)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether browsers hold a cookie of this name to what begins so; in any letter case, as the newer
    /// ones do.
    pub fn begins(&self, prefix: &str) -> bool {
        let begin = self.0.as_bytes().get(..prefix.len()).unwrap_or_default();
        begin.eq_ignore_ascii_case(prefix.as_bytes())
    }

    /// Whether this is the name, and not only some server's reading of another.
    pub fn is(&self, name: &[u8]) -> bool {
        self.0.as_bytes() == name
    }

    /// Whether some server takes a name for this one: percent-decoded, in another letter case, with
    /// another sign for one that is no letter or digit (PHP has `_` for `.`).
    pub fn is_alike(&self, name: &[u8]) -> bool {
        if fold::is_alike(self.0.as_bytes(), name) {
            return true;
        }
        name.contains(&b'%') && {
            let decoded: Vec<u8> = percent_decode(name).collect();
            fold::is_alike(self.0.as_bytes(), decoded.trim_ascii())
        }
    }
}

impl fmt::Debug for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One cookie of a field, white space and all.
#[derive(Clone, Copy)]
pub struct Cookie<'a>(&'a [u8]);

impl<'a> Cookie<'a> {
    /// Its name, without the white space around it. What has no `=` is all name.
    pub fn name(self) -> &'a [u8] {
        self.split().0
    }

    /// Its value, without the quotes that may be around it.
    pub fn value(self) -> &'a [u8] {
        match self.split().1 {
            [b'"', inside @ .., b'"'] => inside,
            value => value,
        }
    }

    fn split(self) -> (&'a [u8], &'a [u8]) {
        let (name, value) =
            match memchr::memchr(b'=', self.0).and_then(|at| self.0.split_at_checked(at)) {
                Some((name, [b'=', value @ ..])) => (name, value),
                _ => (self.0, &[][..]),
            };
        (name.trim_ascii(), value.trim_ascii())
    }
}

impl fmt::Debug for Cookie<'_> {
    /// Its name alone: the value may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.name()))
    }
}

/// The cookies of a field, in their order.
pub fn cookies(field: &[u8]) -> impl Iterator<Item = Cookie<'_>> {
    field.split(|&byte| byte == b';').map(Cookie)
}

/// The field without the cookies that `is_ours` names; nothing when none is left. Every other byte
/// stays as it came, but for the white space before what is first now.
pub fn without(field: &[u8], mut is_ours: impl FnMut(Cookie<'_>) -> bool) -> Option<Vec<u8>> {
    let kept: Vec<_> = cookies(field)
        .filter(|cookie| !is_ours(*cookie))
        .map(|Cookie(bytes)| bytes)
        .collect();
    let kept = kept.join(&b';');
    let is_empty = kept.iter().all(|byte| matches!(byte, b';' | b' ' | b'\t'));
    (!is_empty).then(|| kept.trim_ascii_start().to_vec())
}

/// The name of the cookie that a `Set-Cookie` field sets.
pub fn set_by(field: &[u8]) -> &[u8] {
    cookies(field).next().map_or(&[], Cookie::name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> CookieName {
        CookieName::parse("wx.sid").unwrap()
    }

    #[test]
    fn a_name_is_one_that_every_server_reads_alike() {
        for wrong in [
            "", "a b", "a=b", "a;b", "a,b", "%61", "\"a\"", "a\u{e9}", "a/b", "a\tb",
        ] {
            assert!(CookieName::parse(wrong).is_err(), "{wrong}");
        }
        assert!(CookieName::parse("__Host-sid").unwrap().begins("__host-"));
        assert!(!name().begins("__Host-"));
    }

    #[test]
    fn what_a_server_takes_for_the_name_is_alike_and_only_the_name_is_the_name() {
        for alike in [
            "wx.sid",
            "WX.SID",
            "wx_sid",
            "wx-sid",
            "%77x.sid",
            "wx%2Esid",
            "%20wx.sid",
            "wx%5Bsid",
        ] {
            assert!(name().is_alike(alike.as_bytes()), "{alike}");
            assert_eq!(name().is(alike.as_bytes()), alike == "wx.sid", "{alike}");
        }
        for other in ["", "wx.sid2", "xwx.sid", "wxsid", "%2577x.sid"] {
            assert!(!name().is_alike(other.as_bytes()), "{other}");
        }
    }

    #[track_caller]
    fn check(field: &str, values: &[&str], left: Option<&str>) {
        let ours = cookies(field.as_bytes()).filter(|cookie| name().is(cookie.name()));
        let found: Vec<_> = ours
            .map(|cookie| str::from_utf8(cookie.value()).unwrap())
            .collect();
        assert_eq!(found, values, "{field}");
        let kept = without(field.as_bytes(), |cookie| name().is_alike(cookie.name()));
        let kept = kept.map(|kept| String::from_utf8(kept).unwrap());
        assert_eq!(kept.as_deref(), left, "{field}");
    }

    #[test]
    fn a_cookie_goes_and_every_other_byte_stays() {
        check("wx.sid=T", &["T"], None);
        check("wx.sid=T;", &["T"], None);
        check(" ; wx.sid=T ; ", &["T"], None);
        check("a=1; wx.sid=T; b=2", &["T"], Some("a=1; b=2"));
        check("wx.sid=T; b=\"2; x\"", &["T"], Some("b=\"2; x\""));
        check("a=1;wx.sid=T", &["T"], Some("a=1"));
        check(
            "a=%zz,  b;;  wx.sid = \"T\" ;c= = ",
            &["T"],
            Some("a=%zz,  b;;c= = "),
        );
        check("a=1; WX_SID=T; b", &[], Some("a=1; b"));
        check("a=wx.sid=T; xwx.sid=T", &[], Some("a=wx.sid=T; xwx.sid=T"));
    }

    #[test]
    fn quotes_do_not_hide_a_cookie() {
        check("a=\"x; wx.sid=T; b=y\"", &["T"], Some("a=\"x; b=y\""));
        check(
            "$Version=1; a=\"x; wx.sid=\"T\"; b=y\"",
            &["T"],
            Some("$Version=1; a=\"x; b=y\""),
        );
    }

    #[test]
    fn every_one_of_several_is_found_and_goes() {
        check("wx.sid=T; wx.sid=U; a=1", &["T", "U"], Some("a=1"));
        check("wx.sid; wx.sid=; a=1", &["", ""], Some("a=1"));
    }

    #[test]
    fn the_name_that_is_set_is_what_stands_first() {
        for field in ["wx.sid=T; Path=/", " wx.sid =T", "wx.sid", "wx.sid;x=1"] {
            assert_eq!(set_by(field.as_bytes()), b"wx.sid", "{field}");
        }
        assert_eq!(set_by(b"a=1; wx.sid=2"), b"a");
    }
}

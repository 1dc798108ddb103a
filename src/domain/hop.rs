//! Headers that belong to one connection and go no further (RFC 9110 §7.6.1). The same for
//! requests and answers.

use std::time::Duration;

use http::header::{CONNECTION, HeaderMap, HeaderName};

use crate::domain::fields::HeaderFields;
use crate::domain::names::{self, Name, Tags};

/// Always of one connection, listed or not. `Proxy` is no header of HTTP at all, but CGI makes of it the
/// variable that tells programs which proxy to use (CVE-2016-5385, "httpoxy"). `HTTP2-Settings` belongs to an upgrade
/// that goes no further (RFC 7540 §3.2.1).
const HOP_BY_HOP: [Name<'static>; 10] = [
    names::CONNECTION,
    Name::fixed("http2-settings"),
    names::KEEP_ALIVE,
    Name::fixed("proxy"),
    Name::fixed("proxy-authenticate"),
    Name::fixed("proxy-authorization"),
    Name::fixed("proxy-connection"),
    names::TE,
    names::TRANSFER_ENCODING,
    names::UPGRADE,
];

/// Never of one connection, even when a `Connection` header lists them: the message could not be
/// read without them.
const END_TO_END: [Name<'static>; 2] = [names::CONTENT_LENGTH, names::HOST];

/// Takes out what belongs to this connection, with everything its `Connection` headers list.
pub fn remove(headers: &mut HeaderMap) {
    let mut gone = listed(headers);
    gone.extend(headers.keys().filter(|name| is_hop_by_hop(*name)).cloned());
    for name in gone {
        headers.remove(name);
    }
}

/// Whether a field of this name is always of one connection. Most are told by their tag that they are not.
#[inline]
pub fn is_hop_by_hop<'a>(name: impl Into<Name<'a>>) -> bool {
    const TAGS: Tags = Tags::of(&HOP_BY_HOP);
    let name = name.into();
    TAGS.has(name.tag()) && is_in_table(name)
}

#[inline(never)]
fn is_in_table(name: Name<'_>) -> bool {
    HOP_BY_HOP.iter().any(|one| name.is(*one))
}

/// Whether the name is one of these, in any case.
pub fn is_one_of(name: &[u8], names: &[HeaderName]) -> bool {
    let mut names = names.iter();
    names.any(|one| name.eq_ignore_ascii_case(one.as_str().as_bytes()))
}

/// The names that the `Connection` headers list and that may be removed for it.
pub fn listed(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter();
    values
        .flat_map(|value| listed_in(value.as_bytes()))
        .collect()
}

/// The names that one `Connection` value lists and that may be removed for it.
pub fn listed_in(connection: &[u8]) -> impl Iterator<Item = HeaderName> {
    let others = items(connection).filter(|item| !is_usual(item));
    others
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| !is_hop_by_hop(name) && !END_TO_END.iter().any(|one| one.is(name.into())))
}

/// What `Connection` says most of the time, which removes nothing that would not go anyway.
fn is_usual(item: &[u8]) -> bool {
    let usual: [&[u8]; 3] = [b"keep-alive", b"close", b"upgrade"];
    usual.iter().any(|usual| item.eq_ignore_ascii_case(usual))
}

fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let items = value.split(|&byte| byte == b',');
    items.map(<[u8]>::trim_ascii)
}

/// How long the other side promises to keep the connection: `Keep-Alive: timeout=N`, N in seconds.
pub fn keep_alive_timeout(keep_alive: &[u8]) -> Option<Duration> {
    let parameter = |part: &str| part.trim().strip_prefix("timeout=")?.trim().parse().ok();
    std::str::from_utf8(keep_alive)
        .ok()?
        .split(',')
        .find_map(parameter)
        .map(Duration::from_secs)
}

/// Whether the comma-separated value has the token, in any case.
pub fn lists(value: &[u8], token: &str) -> bool {
    let is_it = |item: &[u8]| item.eq_ignore_ascii_case(token.as_bytes());
    // One alone, as a rule.
    is_it(value) || items(value).any(is_it)
}

/// Whether the comma-separated values of this header have the token, in any case.
#[inline]
pub fn has_token(fields: &HeaderFields, name: Name<'_>, token: &str) -> bool {
    fields.may_have(name) && some_lists(fields, name, token)
}

#[inline(never)]
fn some_lists(fields: &HeaderFields, name: Name<'_>, token: &str) -> bool {
    fields.all(name).any(|field| lists(field.value(), token))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::CONTENT_LENGTH;

    use super::*;

    #[test]
    fn every_name_that_is_of_one_connection_is_known_in_any_case() {
        for name in HOP_BY_HOP {
            assert!(is_hop_by_hop(name), "{name:?}");
            let upper = name.text().to_ascii_uppercase();
            assert!(is_hop_by_hop(&*upper), "{name:?}");
        }
        assert!(!is_hop_by_hop(&b"connections"[..]) && !is_hop_by_hop(&b""[..]));
    }

    #[test]
    fn what_a_connection_header_lists_goes_no_further_but_host_and_length_stay() {
        let mut headers = HeaderMap::new();
        headers.append(CONNECTION, HeaderValue::from_static("close, X-Secret"));
        headers.append(
            CONNECTION,
            HeaderValue::from_static("host,content-length ,x-more"),
        );
        for name in [
            "x-secret",
            "x-more",
            "host",
            "keep-alive",
            "te",
            "accept",
            "proxy-connection",
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("1"));
        remove(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "content-length", "host"]);
    }
}

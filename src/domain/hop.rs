//! Headers that belong to one connection and go no further (RFC 9110 §7.6.1). The same for
//! requests and answers.

use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_AUTHENTICATE: HeaderName = HeaderName::from_static("proxy-authenticate");
const PROXY_AUTHORIZATION: HeaderName = HeaderName::from_static("proxy-authorization");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Always of one connection, listed or not.
static HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    PROXY_CONNECTION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Never of one connection, even when a `Connection` header lists them: the message could not be
/// read without them.
static END_TO_END: [HeaderName; 2] = [CONTENT_LENGTH, HOST];

/// Takes out what belongs to this connection, with everything its `Connection` headers list.
pub fn remove(headers: &mut HeaderMap) {
    for name in listed(headers) {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Whether a header of this name is always of one connection.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name)
}

/// The names that the `Connection` headers list and that may be removed for it.
pub fn listed(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !END_TO_END.contains(name) && !HOP_BY_HOP.contains(name))
        .collect()
}

/// How long the other side promises to keep the connection: `Keep-Alive: timeout=N`, N in seconds.
pub fn keep_alive_timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(KEEP_ALIVE)?.to_str().ok()?;
    let parameter = |part: &str| part.trim().strip_prefix("timeout=")?.trim().parse().ok();
    value
        .split(',')
        .find_map(parameter)
        .map(Duration::from_secs)
}

/// Whether a `Connection` header lists this token, in any case.
pub fn connection_lists(headers: &HeaderMap, token: &str) -> bool {
    has_token(headers, &CONNECTION, token)
}

/// Whether the comma-separated values of this header have the token, in any case.
pub fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

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

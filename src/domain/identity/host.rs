//! The host that a request is for: named once, in one form, and nowhere differently. Knows nothing of
//! which hosts there are.

use http::uri::Authority;
use http::{HeaderValue, Method, Version};

use crate::domain::identity::Unclean;
use crate::domain::names;
use crate::domain::request::RequestHead;

/// Makes sure that the request names its host once, and that only `Host` says it: RFC 9112
/// §3.2.2 has the target's authority win; here the two may not differ.
pub(super) fn settle(head: &mut RequestHead) -> Result<(), Unclean> {
    let target = head.uri.path_and_query();
    let has_path = target.is_some_and(|target| target.as_str().starts_with('/'));
    if !has_path || head.method == Method::CONNECT {
        return Err(Unclean::Target);
    }
    let host = head.fields.get(names::HOST);
    if host.is_some() && head.fields.only(names::HOST).is_none() {
        return Err(Unclean::Host);
    }
    match (host.map(|host| host.value()), head.uri.authority()) {
        (Some(host), None) if is_authority(host) => {}
        (Some(host), Some(authority)) if same_host(host, authority) => {}
        // HTTP/1.1 needs the header whatever its target says (RFC 9112 §3.2).
        (None, Some(_)) if head.version == Version::HTTP_11 => return Err(Unclean::Host),
        (None, Some(authority)) if is_authority(authority.as_str().as_bytes()) => {
            let host = HeaderValue::try_from(authority.as_str());
            let host = host.map_err(|_odd| Unclean::Host)?;
            head.fields.append("Host", &host);
        }
        // HTTP/1.0 has no need of a host (RFC 9112 §3.2).
        (None, None) if head.version < Version::HTTP_11 => {}
        _ => return Err(Unclean::Host),
    }
    Ok(())
}

/// `host[:port]`: a name, an IPv4 address, or an IPv6 address in brackets. Narrower than RFC 3986
/// §3.2.2, which knows names of characters that no host has and that some server misreads.
fn is_authority(host: &[u8]) -> bool {
    let inside = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let end_of_name = match host {
        [b'[', rest @ ..] => match rest.iter().position(|byte| !inside(byte)) {
            Some(length @ 1..) if rest.get(length) == Some(&b']') => length + 2,
            _ => return false,
        },
        _ => host
            .iter()
            .position(|byte| !plain(byte))
            .unwrap_or(host.len()),
    };
    if end_of_name == 0 {
        return false;
    }
    match host.get(end_of_name..) {
        Some([]) => true,
        Some([b':', port @ ..]) => port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

fn same_host(host: &[u8], authority: &Authority) -> bool {
    is_authority(host) && host.eq_ignore_ascii_case(authority.as_str().as_bytes())
}

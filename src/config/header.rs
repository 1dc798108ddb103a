//! Header names that mean something already, and so can be neither an identity header nor a place
//! for tokens nor taken out by prefix.

use std::sync::LazyLock;

use http::HeaderName;

use crate::config::value;
use crate::domain::field::FieldName;
use crate::domain::fold::{Folded, NameSet};
use crate::domain::forwarded;
use crate::domain::identity;

/// What other proxies call the user: fit for identity although the prefix is a proxy's.
static OF_USERS: LazyLock<NameSet> = LazyLock::new(|| {
    let names = [
        "x-forwarded-user",
        "x-forwarded-preferred-username",
        "x-forwarded-email",
        "x-forwarded-groups",
    ];
    NameSet::new(names, [], [])
});

/// Names that are taken, by the reason.
static TAKEN: LazyLock<[(NameSet, &str); 4]> = LazyLock::new(|| {
    let set = |names: &[&'static str], prefix: Option<&'static str>| {
        NameSet::new(names.iter().copied(), prefix, [])
    };
    let of_connection = [
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let of_message = ["host", "expect"];
    [
        (
            set(&of_connection, Some("proxy-")),
            "belongs to one connection and goes no further",
        ),
        (
            set(&of_message, Some("content-")),
            "decides how the request is read",
        ),
        (
            set(&["authorization", "cookie"], None),
            "carries credentials of the app server's own",
        ),
        (
            set(&["traceparent", "tracestate"], Some("sec-")),
            "is written by browsers, WebSockets or traces",
        ),
    ]
});

/// What no prefix may cover: without these a request is not the request any more.
const ESSENTIAL: [&str; 22] = [
    "accept",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "if-match",
    "origin",
    "range",
    "referer",
    "sec-websocket-key",
    "te",
    "traceparent",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-forwarded-for",
    "x-real-ip",
    "x-request-id",
];

/// Reads a header name that the gate is to use for itself. Says what is wrong with it.
pub(super) fn parse(text: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_invalid| {
        format!(
            "is {}, expected the name of a header such as \"X-WX-OPENID\"",
            value::quoted(text)
        )
    })?;
    let taken = TAKEN
        .iter()
        .find(|(names, _)| names.has(name.as_str().as_bytes()));
    let reason = taken.map(|&(_, reason)| reason).or_else(|| {
        if identity::is_method_override(name.as_str().as_bytes()) {
            return Some("decides how the request is read");
        }
        let of_proxies = forwarded::is_forwarding(name.as_str().as_bytes())
            && !OF_USERS.has(name.as_str().as_bytes());
        of_proxies.then_some("says where a request came from")
    });
    match reason {
        None => Ok(name),
        Some(reason) => Err(format!(
            "is {}, which {reason}, expected a header of its own",
            value::quoted(text)
        )),
    }
}

/// The same, in the operator's spelling: for a header that the gate writes.
pub(super) fn parse_field(text: &str) -> Result<FieldName, String> {
    parse(text)?;
    // Fit for a name, so fit for a spelling of it.
    FieldName::parse(text).map_err(|invalid| format!("is {}: {invalid}", value::quoted(text)))
}

/// A name that every request needs and that is under the prefix.
pub(super) fn essential_under(prefix: &str) -> Option<&'static str> {
    let folded = Folded::new(prefix);
    if Folded::new("content-").begins(prefix.as_bytes()) {
        return Some("content-*");
    }
    ESSENTIAL
        .into_iter()
        .find(|name| folded.begins(name.as_bytes()))
}

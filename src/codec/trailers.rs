//! What may stand in trailers. Whoever receives them may merge them into the headers.

use http::HeaderName;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, SET_COOKIE, TRAILER};

use crate::domain::hop;

/// Never in trailers: what frames a message, says who asks, or sets state (RFC 9110 §6.5.1).
static NEVER: [HeaderName; 6] = [
    AUTHORIZATION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    HOST,
    SET_COOKIE,
    TRAILER,
];

/// Whether a field of this name may stand there.
pub fn fits_trailers(name: &HeaderName) -> bool {
    !hop::is_hop_by_hop(name) && !NEVER.contains(name)
}

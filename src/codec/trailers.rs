//! What may stand in trailers. Whoever receives them may merge them into the headers.

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, SET_COOKIE, TRAILER};
use http::{HeaderMap, HeaderName};

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

/// Takes out what may not stand there, and what belongs to the connection.
pub fn clean_trailers(trailers: &mut HeaderMap) {
    hop::remove(trailers);
    for name in &NEVER {
        trailers.remove(name);
    }
}

//! Which trailers pass, both ways and over either protocol. Whoever receives them may merge them into
//! the header fields, behind the back of everything that looked at those; so only names pass that are
//! known to come after a body, and to say nothing of who asks, of what for, or of how a message is read.

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, SET_COOKIE, TRAILER};
use http::{HeaderMap, HeaderName};

use crate::domain::hop;

/// The names that pass, and what each is for (`docs/http.md` says the same).
pub const PASSING: &[(&str, &str)] = &[
    ("content-digest", "the sum of the body (RFC 9530)"),
    ("content-md5", "the same, as it was said before"),
    ("digest", "the same, as it was said before (RFC 3230)"),
    ("etag", "which version it was (RFC 9110 §8.8.3)"),
    ("grpc-message", "how a call of gRPC ended, for people"),
    ("grpc-retry-pushback-ms", "when gRPC may try again"),
    ("grpc-status", "how a call of gRPC ended"),
    ("grpc-status-details-bin", "the same with details"),
    (
        "repr-digest",
        "the sum of what the body stands for (RFC 9530)",
    ),
    ("server-timing", "what took how long"),
];

/// Never in trailers, not even in those of gRPC: what frames a message, says who asks, or sets state
/// (RFC 9110 §6.5.1).
static NEVER: [HeaderName; 6] = [
    AUTHORIZATION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    HOST,
    SET_COOKIE,
    TRAILER,
];

/// Takes out every name that is not known to pass.
pub fn clean_trailers(trailers: &mut HeaderMap) {
    hop::remove(trailers);
    take_out(trailers, |name| {
        !PASSING.iter().any(|(passing, _)| name == *passing)
    });
}

/// The same for an answer of gRPC, whose trailers are what an application says of a call, under names
/// of its own: takes out what has no place in any.
pub fn clean_grpc_trailers(trailers: &mut HeaderMap) {
    hop::remove(trailers);
    take_out(trailers, |name| NEVER.contains(name));
}

fn take_out(trailers: &mut HeaderMap, goes: impl Fn(&HeaderName) -> bool) {
    let gone: Vec<_> = trailers.keys().filter(|name| goes(name)).cloned().collect();
    for name in gone {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn left(clean: fn(&mut HeaderMap), names: &[&'static str]) -> Vec<String> {
        let mut trailers = HeaderMap::new();
        for name in names {
            let value = HeaderValue::from_static("1");
            trailers.append(HeaderName::from_static(name), value);
        }
        clean(&mut trailers);
        trailers.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn only_names_on_the_list_pass_and_all_of_them_do() {
        let others = [
            "x-role",
            "content_digest",
            "set-cookie",
            "host",
            "te",
            "connection",
            "grpc-encoding",
        ];
        assert_eq!(left(clean_trailers, &others), [""; 0]);
        for (name, _) in PASSING {
            assert_eq!(left(clean_trailers, &[name]), [*name]);
        }
    }

    #[test]
    fn trailers_of_grpc_have_names_of_their_own_but_none_that_has_no_place_there() {
        let mixed = ["grpc-status", "x-reason", "set-cookie", "host", "upgrade"];
        let mut passed = left(clean_grpc_trailers, &mixed);
        passed.sort_unstable();
        assert_eq!(passed, ["grpc-status", "x-reason"]);
    }
}

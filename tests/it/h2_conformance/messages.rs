//! §8: what makes a request. One that is malformed never reaches the app server.

use crate::h2_conformance::Expect::{Either, Fine, Reset};
use crate::h2_conformance::{Case, case, check, open_to_all};
use crate::support::World;
use crate::support::app::Seen;
use crate::support::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, HEADERS, NO_ERROR, PROTOCOL_ERROR, Reaction, WHOLE,
    block, frame, post, request,
};

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/wrong");
const AUTHORITY: (&str, &str) = (":authority", "gate.example");

/// A request of these fields, which is malformed.
fn malformed(what: &'static str, fields: &[(&str, &str)]) -> Case {
    let request = frame(HEADERS, WHOLE, 1, &block(fields));
    case(what, [request], Reset(1, &[PROTOCOL_ERROR]))
}

/// A request that has this field too, which makes it malformed.
fn with(what: &'static str, field: (&str, &str)) -> Case {
    malformed(what, &[METHOD, SCHEME, PATH, AUTHORITY, field])
}

/// Checks that nothing of this came to the app server.
async fn check_all(cases: impl IntoIterator<Item = Case>) {
    let world = check(cases).await;
    for seen in world.app.seen() {
        assert!(!seen.target.contains("wrong"), "{seen:?}");
    }
}

#[tokio::test]
async fn names_are_in_lower_case_and_of_letters_that_names_have() {
    check_all([
        with("8.2.1 upper case", ("X-Upper", "1")),
        with("8.2.1 one upper case letter", ("x-uppeR", "1")),
        with("8.2.1 a space", ("x y", "1")),
        with("8.2.1 a colon at its end", ("x:", "1")),
        with("8.2.1 no name", ("", "1")),
        with("8.2.1 a line break in a value", ("x", "1\r\ny: 2")),
        with("8.2.1 a NUL in a value", ("x", "1\u{0}2")),
    ])
    .await;
}

#[tokio::test]
async fn pseudo_headers_are_those_of_requests_and_come_first() {
    check_all([
        with("8.3 an unknown one", (":unknown", "1")),
        with("8.3 one of answers", (":status", "200")),
        with(
            "8.5 an extended CONNECT that was not offered",
            (":protocol", "websocket"),
        ),
        malformed(
            "8.3 one after a regular field",
            &[METHOD, SCHEME, ("x-first", "1"), PATH, AUTHORITY],
        ),
        malformed(
            "8.3 the method after a regular field",
            &[SCHEME, PATH, AUTHORITY, ("x-first", "1"), METHOD],
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_request_has_one_of_each_pseudo_header() {
    check_all([
        malformed("8.3.1 no method", &[SCHEME, PATH, AUTHORITY]),
        malformed("8.3.1 no scheme", &[METHOD, PATH, AUTHORITY]),
        malformed("8.3.1 no path", &[METHOD, SCHEME, AUTHORITY]),
        malformed(
            "8.3.1 an empty path",
            &[METHOD, SCHEME, (":path", ""), AUTHORITY],
        ),
        malformed(
            "8.3.1 two methods",
            &[METHOD, METHOD, SCHEME, PATH, AUTHORITY],
        ),
        malformed(
            "8.3.1 two schemes",
            &[METHOD, SCHEME, SCHEME, PATH, AUTHORITY],
        ),
        malformed("8.3.1 two paths", &[METHOD, SCHEME, PATH, PATH, AUTHORITY]),
        malformed(
            "8.3.1 two authorities",
            &[METHOD, SCHEME, PATH, AUTHORITY, AUTHORITY],
        ),
        malformed("8.3.1 nothing", &[]),
        malformed("8.3.1 regular fields alone", &[("x-only", "1")]),
    ])
    .await;
}

#[tokio::test]
async fn fields_of_a_connection_have_no_place_in_a_request() {
    let fine = |what, field| {
        let block = request("GET", "/a", &[field]);
        case(what, [frame(HEADERS, WHOLE, 1, &block)], Fine)
    };
    check_all([
        with("8.2.2 connection", ("connection", "keep-alive")),
        with("8.2.2 proxy-connection", ("proxy-connection", "keep-alive")),
        with("8.2.2 keep-alive", ("keep-alive", "timeout=5")),
        with("8.2.2 transfer-encoding", ("transfer-encoding", "chunked")),
        with("8.2.2 upgrade", ("upgrade", "h2c")),
        with("8.2.2 te of anything", ("te", "trailers, deflate;q=0.5")),
        fine("8.2.2 te of trailers", ("te", "trailers")),
    ])
    .await;
}

#[tokio::test]
async fn a_body_is_as_long_as_was_said() {
    let sized = |length: &str, flags| {
        let block = request("POST", "/upload", &[("content-length", length)]);
        frame(HEADERS, END_HEADERS | flags, 1, &block)
    };
    let data = |bytes: &[u8], flags| frame(DATA, flags, 1, bytes);
    let wrong = Either(1, &[PROTOCOL_ERROR]);
    let world = check([
        case(
            "8.1.1 longer",
            [sized("3", 0), data(b"hello", END_STREAM)],
            wrong,
        ),
        case(
            "8.1.1 shorter",
            [sized("9", 0), data(b"hello", END_STREAM)],
            wrong,
        ),
        case(
            "8.1.1 longer in all",
            [sized("7", 0), data(b"hello", 0), data(b"world", END_STREAM)],
            wrong,
        ),
        case(
            "8.1.1 shorter in all",
            [
                sized("11", 0),
                data(b"hello", 0),
                data(b"world", END_STREAM),
            ],
            wrong,
        ),
        case("8.1.1 none at all", [sized("5", END_STREAM)], wrong),
        case("8.1.1 no number", [sized("five", 0)], wrong),
        case("8.1.1 a negative number", [sized("-5", 0)], wrong),
    ])
    .await;
    // A head may have gone ahead of its body; no whole request has.
    let length = |seen: &Seen| seen.header("content-length").concat();
    let whole = |seen: &Seen| length(seen) == seen.body_length.to_string();
    let uploads = world.app.seen();
    let mut uploads = uploads.iter().filter(|seen| seen.target == "/upload");
    assert!(!uploads.any(whole), "{:?}", world.app.seen());
}

#[tokio::test]
async fn trailers_are_plain_fields_and_end_the_stream() {
    let trailers = |flags, fields: &[(&str, &str)]| frame(HEADERS, flags, 1, &block(fields));
    let data = || frame(DATA, 0, 1, b"hello");
    let wrong = Either(1, &[PROTOCOL_ERROR]);
    check([
        case(
            "8.1 trailers",
            [
                post(1, "/a"),
                data(),
                trailers(WHOLE, &[("content-digest", "1")]),
            ],
            Fine,
        ),
        case(
            "8.1 a second block that ends nothing",
            [
                post(1, "/a"),
                data(),
                trailers(END_HEADERS, &[("content-digest", "1")]),
            ],
            wrong,
        ),
        case(
            "8.2.1 upper case",
            [post(1, "/a"), data(), trailers(WHOLE, &[("X-Sum", "1")])],
            wrong,
        ),
        case(
            "8.2.2 connection",
            [
                post(1, "/a"),
                data(),
                trailers(WHOLE, &[("connection", "close")]),
            ],
            wrong,
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_pseudo_header_in_trailers_reaches_nobody() {
    let world = open_to_all().await;
    for field in [(":method", "PUT"), (":status", "200"), (":path", "/wrong")] {
        let mut frames = Frames::open(world.address()).await;
        let trailers = block(&[("content-digest", "1"), field, ("server-timing", "2")]);
        let upload = [
            post(1, "/a"),
            frame(DATA, 0, 1, b"hello"),
            frame(HEADERS, WHOLE, 1, &trailers),
        ];
        frames.write(&upload.concat()).await;
        frames.reaction(1).await;
    }
    for seen in world.app.seen() {
        assert_eq!((&*seen.method, &*seen.target), ("POST", "/a"));
        assert!(
            seen.trailers
                .iter()
                .all(|(name, _)| ["content-digest", "server-timing"].contains(&&**name))
        );
    }
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_a_body_is_whole_and_no_error() {
    let world = World::start().await;
    let mut frames = Frames::open(world.address()).await;
    let data = frame(DATA, 0, 1, &[b'x'; 16_384]);
    // As much as the windows of a connection allow that nobody has enlarged.
    let upload = [post(1, "/upload"), data.clone(), data.clone(), data];
    frames.write(&upload.concat()).await;
    let (_, body) = frames.answer(1).await;
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains("session_required"), "{body}");
    // RFC 9113 §8.1: the answer is whole before the client is asked to stop.
    assert_eq!(frames.reaction(1).await, Reaction::Reset(NO_ERROR));
    frames.write(&post(3, "/wx/session")).await;
    assert_eq!(frames.reaction(3).await, Reaction::Answered);
    assert_eq!(world.app.count(), 0);
}

/// The begin of an upload whose client waits to be told to go ahead.
fn waits(stream: u32, target: &str, flags: u8) -> Vec<u8> {
    let block = request("POST", target, &[("expect", "100-continue")]);
    frame(HEADERS, END_HEADERS | flags, stream, &block)
}

/// :status 100, by its name in the static table, and not indexed.
const GO_AHEAD: &[u8] = b"\x08\x03100";

#[tokio::test]
async fn a_client_that_waits_with_its_body_is_told_to_go_ahead_once() {
    let world = open_to_all().await;
    let mut frames = Frames::open(world.address()).await;
    for stream in [1, 3] {
        frames.write(&waits(stream, "/upload", 0)).await;
        let first = frames.until(|frame| frame.stream == stream).await;
        assert_eq!((first.kind, first.flags), (HEADERS, END_HEADERS));
        assert_eq!(first.payload, GO_AHEAD);
        for byte in [b"a", b"b"] {
            frames.write(&frame(DATA, 0, stream, byte)).await;
        }
        frames.write(&frame(DATA, END_STREAM, stream, b"c")).await;
        let (head, body) = frames.answer(stream).await;
        // :status 200, by its place in the static table.
        assert_eq!(head[0], 0x80 + 8);
        assert_eq!(body, b"POST /upload 3 bytes");
        // The promise was the gate's.
        assert_eq!(world.app.last().header("expect"), [""; 0]);
    }
}

#[tokio::test]
async fn a_client_whose_body_nobody_wants_is_not_told_to_go_ahead() {
    let world = World::start().await;
    let mut frames = Frames::open(world.address()).await;
    frames.write(&waits(1, "/upload", 0)).await;
    let (head, body) = frames.answer(1).await;
    assert_ne!(head, GO_AHEAD);
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains("session_required"), "{body}");
    assert_eq!(frames.reaction(1).await, Reaction::Reset(NO_ERROR));
    // Nor one that has no body, or does not wait for that of its request.
    let world = open_to_all().await;
    let mut frames = Frames::open(world.address()).await;
    frames.write(&waits(1, "/a", END_STREAM)).await;
    assert_ne!(frames.answer(1).await.0, GO_AHEAD);
    let whole = [waits(3, "/a", 0), frame(DATA, END_STREAM, 3, b"a")].concat();
    frames.write(&whole).await;
    assert_ne!(frames.answer(3).await.0, GO_AHEAD);
    let other = request("POST", "/a", &[("expect", "more")]);
    frames.write(&frame(HEADERS, END_HEADERS, 5, &other)).await;
    frames.write(&frame(DATA, END_STREAM, 5, b"a")).await;
    assert_ne!(frames.answer(5).await.0, GO_AHEAD);
}

#[tokio::test]
async fn a_client_does_not_connect_through_the_gate() {
    let connect = block(&[(":method", "CONNECT"), (":authority", "wrong.example:443")]);
    let asterisk = [(":method", "OPTIONS"), SCHEME, (":path", "*"), AUTHORITY];
    for request in [connect, block(&asterisk)] {
        let world = open_to_all().await;
        let mut frames = Frames::open(world.address()).await;
        frames.write(&frame(HEADERS, WHOLE, 1, &request)).await;
        let (head, body) = frames.answer(1).await;
        // :status 400, by its place in the static table.
        assert_eq!(head[0], 0x80 + 12);
        assert!(body.starts_with(b"{\"type\":\"urn:wxgate:problem:bad_request"));
        assert_eq!(world.app.count(), 0);
    }
}

//! A request that is larger than allowed is refused with the code of what is too large, over HTTP/1.1
//! and HTTP/2, and one that is as large as allowed is not.

use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, WHOLE, frame, request,
};
use crate::support::raw::{Connection, Request};
use crate::support::{Setup, World};

const LIMITS: &str = "[server.limits]\nmax_uri_bytes = \"1KiB\"\nmax_header_bytes = \"8KiB\"\n\
                      max_headers = 20\nmax_body_bytes = \"64KiB\"\n[access]\ndefault = \"public\"";

async fn small() -> World {
    Setup::with(LIMITS).start().await
}

type Fields = Vec<(String, String)>;

/// So many fields.
fn many(count: usize) -> Fields {
    let field = |number| (format!("x-{number}"), "1".to_owned());
    (0..count).map(field).collect()
}

/// One field with a value of this length.
fn large(length: usize) -> Fields {
    vec![("x-large".to_owned(), "x".repeat(length))]
}

fn path(length: usize) -> String {
    format!("/{}", "a".repeat(length - 1))
}

/// Requests without a body, and the code by which they are refused.
fn heads() -> Vec<(String, Fields, Option<&'static str>)> {
    let (uri, head) = (Some("uri_too_long"), Some("headers_too_large"));
    let a = || "/a".to_owned();
    vec![
        (path(1024), Vec::new(), None),
        (path(1025), Vec::new(), uri),
        (format!("/a?{}", "b".repeat(1024)), Vec::new(), uri),
        (a(), many(19), None),
        (a(), many(21), head),
        (a(), many(30), head),
        (a(), large(7000), None),
        (a(), large(8192), head),
        (a(), large(12_000), head),
    ]
}

fn with(request: Request, fields: &Fields) -> Request {
    let add = |request: Request, (name, value): &(String, String)| request.header(name, value);
    fields.iter().fold(request, add)
}

fn status_of(code: &str) -> u16 {
    match code {
        "uri_too_long" => 414,
        _ => 431,
    }
}

#[tokio::test]
async fn over_http1_a_head_that_is_too_large_is_told_why() {
    let world = small().await;
    let mut connection = Connection::open(world.address()).await;
    for (target, fields, code) in heads() {
        let request = with(world.get(&target), &fields);
        connection.write(&request.bytes()).await;
        let answer = connection.answer().await;
        let Some(code) = code else {
            assert_eq!(answer.status, 200, "{answer:?}");
            continue;
        };
        answer.is_refused(status_of(code), code, "fix");
    }
    assert_eq!(world.app.count(), 3);
}

#[tokio::test]
async fn over_http1_a_head_that_is_far_too_large_is_not_read() {
    let world = small().await;
    for fields in [many(50), large(20_000)] {
        let mut connection = with(world.get("/a"), &fields).begin().await;
        let answer = connection.answer().await;
        assert_eq!((answer.status, answer.text()), (431, String::new()));
        connection.closed().await;
    }
    assert_eq!(world.app.count(), 0);
}

/// A request without a body, in as many frames as it takes.
fn whole(stream: u32, target: &str, fields: &Fields) -> Vec<u8> {
    let fields: Vec<_> = fields
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    let block = request("GET", target, &fields);
    let mut pieces = block.chunks(16_000).peekable();
    let mut bytes = Vec::new();
    let mut kind = HEADERS;
    while let Some(piece) = pieces.next() {
        let ends = if pieces.peek().is_none() {
            END_HEADERS
        } else {
            0
        };
        let flags = if kind == HEADERS {
            ends | END_STREAM
        } else {
            ends
        };
        bytes.extend(frame(kind, flags, stream, piece));
        kind = CONTINUATION;
    }
    bytes
}

#[tokio::test]
async fn over_http2_a_head_that_is_too_large_is_told_why_and_its_connection_goes_on() {
    let world = small().await;
    let mut frames = Frames::open(world.address()).await;
    for ((target, fields, code), stream) in heads().into_iter().zip((1..).step_by(2)) {
        frames.write(&whole(stream, &target, &fields)).await;
        let (_, body) = frames.answer(stream).await;
        let body = String::from_utf8(body).unwrap();
        let row = format!("{} bytes, {} fields: {body}", target.len(), fields.len());
        match code {
            None => assert!(body.starts_with("GET /a"), "{row}"),
            // More than the library takes as a list has the bare status only.
            Some("headers_too_large") if body.is_empty() => assert!(fields.len() == 1, "{row}"),
            Some(code) => assert!(body.contains(&format!("\"code\":\"{code}\"")), "{row}"),
        }
    }
    assert_eq!(world.app.count(), 3);
}

#[tokio::test]
async fn over_http2_a_body_may_be_as_large_as_allowed_and_no_larger() {
    let world = small().await;
    let mut frames = Frames::open(world.address()).await;
    let piece = vec![b'x'; 16_384];
    for (stream, said, pieces, refused) in [
        (1, Some("65536"), 4, false),
        (3, None, 4, false),
        // What is announced as too large is not begun.
        (5, Some("65537"), 0, true),
        (7, None, 5, true),
    ] {
        let before = world.app.count();
        let fields: Vec<_> = said
            .map(|length| ("content-length", length))
            .into_iter()
            .collect();
        let head = request("POST", "/a", &fields);
        frames
            .write(&frame(HEADERS, END_HEADERS, stream, &head))
            .await;
        for number in 1..=pieces {
            // The window of a connection is not opened further for one that was refused.
            let last = u8::from(number == pieces && !refused);
            frames.write(&frame(DATA, last, stream, &piece)).await;
        }
        let (_, body) = frames.answer(stream).await;
        let body = String::from_utf8(body).unwrap();
        if refused {
            assert!(body.contains("\"code\":\"body_too_large\""), "{body}");
            frames
                .write(&frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]))
                .await;
        } else {
            assert_eq!(body, "POST /a 65536 bytes");
        }
        let announced = said.is_some_and(|length| length == "65537");
        assert!(!announced || world.app.count() == before, "begun");
    }
    frames
        .write(&frame(HEADERS, WHOLE, 9, &request("GET", "/a", &[])))
        .await;
    assert_eq!(frames.answer(9).await.1, b"GET /a 0 bytes");
}

//! Wherever an app server breaks its answer off, the client sees that it is not whole: over HTTP/1.1
//! by its framing, over HTTP/2 by a reset.

use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncReadExt;

use crate::support::frames::{Frames, NO_ERROR, RST_STREAM, get};
use crate::support::played::Played;
use crate::support::raw::Connection;
use crate::support::reader::Reader;
use crate::support::{STUCK, World};

const SIZED: &str = "Content-Length: 10\r\n\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n\r\n";

/// What there is of an answer, after its first line.
const BEGUN: [&[&str]; 11] = [
    &[SIZED],
    &[SIZED, "h"],
    &[SIZED, "hello", "hell"],
    &[CHUNKED],
    &[CHUNKED, "5"],
    &[CHUNKED, "5\r\n"],
    &[CHUNKED, "5\r\nhel"],
    &[CHUNKED, "5\r\nhello\r\n"],
    &[CHUNKED, "5\r\nhello\r\n0"],
    &[CHUNKED, "5\r\nhello\r\n0\r\n"],
    &[CHUNKED, "5\r\nhello\r\n0\r\nX-Su"],
];

/// Answers with what there is of the answer of this number, and ends by a reset if that is asked
/// for.
async fn begin(mut reader: Reader) {
    let Some(seen) = reader.head().await else {
        return;
    };
    let number: usize = seen.target.rsplit('/').next().unwrap().parse().unwrap();
    reader.say("HTTP/1.1 200 OK\r\n").await;
    for piece in BEGUN[number] {
        reader.say(piece).await;
    }
    if seen.target.starts_with("/reset") {
        let reset = Some(Duration::ZERO);
        SockRef::from(&reader.socket).set_linger(reset).unwrap();
    }
}

async fn start() -> (Played, World) {
    let app = Played::start(|_, reader| begin(reader)).await;
    let world = app.setup("", "").start().await;
    (app, world)
}

/// Whether the client sees something of the body.
fn shows_body(target: &str) -> bool {
    let number = target.strip_prefix("/end/").map(str::parse);
    matches!(number, Some(Ok(1 | 2 | 6..)))
}

/// All answers, by an end and by a reset.
fn targets() -> impl Iterator<Item = String> {
    let numbers = 0..BEGUN.len();
    numbers.flat_map(|number| ["end", "reset"].map(|how| format!("/{how}/{number}")))
}

#[tokio::test]
async fn over_http1_what_is_cut_is_not_whole_and_nothing_follows() {
    let (_app, world) = start().await;
    for target in targets() {
        let mut connection = Connection::open(world.address()).await;
        let twice = [world.get(&target).bytes(), world.get(&target).bytes()];
        connection.write(&twice.concat()).await;
        let answer = tokio::time::timeout(STUCK, connection.try_answer("GET")).await;
        // Before the first byte of a body it may also be no answer at all, or the gate's own; and a
        // reset takes along what has not been read.
        let Some(answer) = answer.expect("stuck") else {
            assert!(!shows_body(&target), "{target}: nothing of what there was");
            continue;
        };
        if answer.status == 502 {
            assert_eq!(answer.problem(), "upstream_failed");
            continue;
        }
        assert!(!answer.whole, "{target}: {answer:?}");
        assert!(
            "hellohell".starts_with(&answer.text()),
            "{target}: {answer:?}"
        );
        connection.closed().await;
    }
}

/// HTTP/1.0 has no framing for what is not known beforehand but the end of the connection.
#[tokio::test]
async fn over_http1_0_what_is_cut_ends_in_a_reset() {
    let (_app, world) = start().await;
    for target in targets() {
        let mut connection = Connection::open(world.address()).await;
        let request = format!("GET {target} HTTP/1.0\r\nHost: g\r\n\r\n");
        connection.write(request.as_bytes()).await;
        let mut all = Vec::new();
        let read = connection.socket.read_to_end(&mut all);
        let read = tokio::time::timeout(STUCK, read).await.expect("stuck");
        let text = String::from_utf8_lossy(&all);
        let refused = text.starts_with("HTTP/1.0 502");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
        let is_short = head.to_ascii_lowercase().contains("content-length: 10") && body.len() < 10;
        assert!(read.is_err() || refused || is_short, "{target}: {text}");
        assert!(!shows_body(&target) || !body.is_empty(), "{target}");
    }
}

#[tokio::test]
async fn over_http2_what_is_cut_is_reset_and_its_connection_goes_on() {
    let (_app, world) = start().await;
    let mut frames = Frames::open(world.address()).await;
    for (target, stream) in targets().zip((1..).step_by(2)) {
        frames.write(&get(stream, &target)).await;
        let end = |frame: &crate::support::frames::Frame| {
            frame.stream == stream && (frame.kind == RST_STREAM || frame.ends_stream())
        };
        let end = frames.until(end).await;
        assert_eq!(end.kind, RST_STREAM, "{target}: a clean end");
        assert_ne!(end.payload, NO_ERROR.to_be_bytes(), "{target}");
    }
}

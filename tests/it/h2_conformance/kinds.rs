//! §6: kinds of frames, where each may stand and what may be in it.

use crate::h2_conformance::Expect::{Either, Ended, Fine};
use crate::h2_conformance::{OVER, WRONG_SIZE, case, check};
use crate::support::World;
use crate::support::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PADDED, PING, PRIORITY,
    PROTOCOL_ERROR, PUSH_PROMISE, RST_STREAM, SETTINGS, WHOLE, frame, get, post, request, settings,
};

#[tokio::test]
async fn frames_of_a_stream_have_a_stream_and_those_of_the_connection_none() {
    let wrong = Ended(&[PROTOCOL_ERROR]);
    check([
        case("6.1 DATA", [frame(DATA, END_STREAM, 0, b"a")], wrong),
        case(
            "6.3 PRIORITY",
            [frame(PRIORITY, 0, 0, &[0, 0, 0, 0, 16])],
            wrong,
        ),
        case("6.4 RST_STREAM", [frame(RST_STREAM, 0, 0, &[0; 4])], wrong),
        case(
            "6.5 SETTINGS",
            [post(1, "/a"), frame(SETTINGS, 0, 1, &[])],
            wrong,
        ),
        case(
            "6.7 PING",
            [post(1, "/a"), frame(PING, 0, 1, &[0; 8])],
            wrong,
        ),
        case(
            "6.8 GOAWAY",
            [post(1, "/a"), frame(GOAWAY, 0, 1, &[0; 8])],
            wrong,
        ),
    ])
    .await;
}

#[tokio::test]
async fn nothing_is_promised_to_a_server() {
    let promise = [&[0, 0, 0, 2][..], &request("GET", "/a", &[])].concat();
    check([
        case(
            "8.4 PUSH_PROMISE",
            [post(1, "/a"), frame(PUSH_PROMISE, END_HEADERS, 1, &promise)],
            Ended(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.6 PUSH_PROMISE of no stream",
            [frame(PUSH_PROMISE, END_HEADERS, 0, &promise)],
            Ended(&[PROTOCOL_ERROR]),
        ),
    ])
    .await;
}

#[tokio::test]
async fn padding_fits_into_its_frame() {
    let block = request("GET", "/a", &[]);
    let padded = |by: u8, padding: usize| {
        let payload = [&[by][..], &block, &vec![0; padding]].concat();
        frame(HEADERS, WHOLE | PADDED, 1, &payload)
    };
    let all = u8::try_from(block.len() + 1).unwrap();
    check([
        case("6.2 HEADERS with padding", [padded(9, 9)], Fine),
        case(
            "6.2 HEADERS all padding and more",
            [padded(all, 0)],
            Ended(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.1 DATA with padding",
            [post(1, "/a"), frame(DATA, PADDED, 1, &[3, b'a', 0, 0, 0])],
            Fine,
        ),
        case(
            "6.1 DATA all padding",
            [post(1, "/a"), frame(DATA, PADDED, 1, &[3, 0, 0, 0])],
            Fine,
        ),
        case(
            "6.1 DATA with more padding than it has",
            [post(1, "/a"), frame(DATA, PADDED, 1, &[4, 0, 0, 0])],
            Ended(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.1 DATA that is to be padded and has nothing",
            [post(1, "/a"), frame(DATA, PADDED, 1, &[])],
            Ended(WRONG_SIZE),
        ),
    ])
    .await;
}

#[tokio::test]
async fn padding_is_no_part_of_a_body() {
    let world = World::start().await;
    let bearer = format!("Bearer {}", world.login("alice").await);
    let block = request("POST", "/upload", &[("authorization", &bearer)]);
    let mut frames = Frames::open(world.address()).await;
    let upload = [
        frame(HEADERS, END_HEADERS, 1, &block),
        frame(DATA, PADDED, 1, b"\x04hel\0\0\0\0"),
        frame(DATA, PADDED | END_STREAM, 1, b"\x02lo\0\0"),
    ];
    frames.write(&upload.concat()).await;
    let (_, body) = frames.answer(1).await;
    assert_eq!(body, b"POST /upload 5 bytes");
    assert_eq!(world.app.last().body, b"hello");
}

#[tokio::test]
async fn settings_and_pings_are_acknowledged() {
    let world = World::start().await;
    let mut frames = Frames::open(world.address()).await;
    let acknowledged = |of: &crate::support::frames::Frame| of.kind == SETTINGS && of.flags == ACK;
    for _ in 0..3 {
        frames.until(acknowledged).await;
        frames.write(&settings(&[])).await;
    }
    frames.until(acknowledged).await;
    frames.write(&frame(PING, 0, 0, b"are you ")).await;
    let pong = frames.until(|frame| frame.kind == PING).await;
    assert_eq!((pong.flags, &*pong.payload), (ACK, &b"are you "[..]));
    // An answer to a ping is not answered.
    frames.write(&frame(PING, ACK, 0, b"not that")).await;
    frames.write(&frame(PING, 0, 0, b"but this")).await;
    let pong = frames.until(|frame| frame.kind == PING).await;
    assert_eq!(pong.payload, b"but this");
}

#[tokio::test]
async fn what_follows_the_last_frame_of_a_body_belongs_to_nobody() {
    let ended = [
        post(1, "/slow"),
        frame(DATA, END_STREAM, 1, b"a"),
        frame(DATA, END_STREAM, 1, b"b"),
    ];
    check([
        case("6.1 DATA after the end", ended, Either(1, OVER)),
        case(
            "6.1 DATA of nothing",
            [post(1, "/a"), frame(DATA, 0, 1, &[])],
            Fine,
        ),
        case("6.2 two requests", [get(1, "/a"), get(3, "/a")], Fine),
    ])
    .await;
}

//! §3.4 the preface, §4 frames.

use crate::h2_conformance::Expect::{Either, Ended, Fine, Reset};
use crate::h2_conformance::{WRONG_SIZE, case, check};
use crate::support::World;
use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADER_TABLE_SIZE, HEADERS,
    INITIAL_WINDOW_SIZE, PING, PREFACE, PRIORITY, PROTOCOL_ERROR, RST_STREAM, Reaction, SETTINGS,
    WHOLE, WINDOW_UPDATE, frame, get, post, request, settings,
};

#[tokio::test]
async fn a_preface_opens_a_connection_and_nothing_like_it_does() {
    let world = World::start().await;
    let mut whole = Frames::open(world.address()).await;
    whole.write(&get(1, "/a")).await;
    assert_eq!(whole.reaction(1).await, Reaction::Answered);

    // Byte by byte is the same.
    let mut slow = Frames::silent(world.address()).await;
    for byte in [PREFACE, &settings(&[]), &get(1, "/a")].concat() {
        slow.write(&[byte]).await;
    }
    assert_eq!(slow.reaction(1).await, Reaction::Answered);

    // What parts from it is no HTTP/2 any more, whenever it parts.
    let last = PREFACE.len() - 1;
    for at in [0, 4, 14, 18, last] {
        let mut wrong = PREFACE.to_vec();
        wrong[at] = b'?';
        let mut frames = Frames::silent(world.address()).await;
        frames.write(&wrong).await;
        while let Some(frame) = frames.next().await {
            assert_ne!(frame.kind, HEADERS, "at {at}");
        }
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn frames_of_unknown_kinds_flags_and_bits_are_ignored() {
    let reserved = 1 << 31;
    check([
        case("4.1 an unknown kind", [frame(0x16, 0xff, 0, b"what")], Fine),
        case(
            "4.1 an unknown kind on an open stream",
            [post(1, "/a"), frame(0xfe, 0, 1, &[0; 1000])],
            Fine,
        ),
        case(
            "4.1 flags that a kind does not have",
            [frame(PING, 0xfe, 0, &[0; 8])],
            Fine,
        ),
        case(
            "4.1 the reserved bit",
            [frame(
                HEADERS,
                WHOLE,
                reserved | 1,
                &request("GET", "/a", &[]),
            )],
            Fine,
        ),
        case(
            "5.5 an unknown kind within a header block",
            [
                frame(HEADERS, END_STREAM, 1, &request("GET", "/a", &[])),
                frame(0x16, 0, 0, b"what"),
                frame(CONTINUATION, END_HEADERS, 1, &[]),
            ],
            Ended(&[PROTOCOL_ERROR]),
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_frame_may_be_as_large_as_allowed_and_no_larger() {
    // Nobody has raised SETTINGS_MAX_FRAME_SIZE.
    let (most, too_much) = (vec![0; 16_384], vec![0; 16_385]);
    check([
        case(
            "4.2 DATA of the largest size",
            [post(1, "/a"), frame(DATA, 0, 1, &most)],
            Fine,
        ),
        case(
            "4.2 DATA larger than that",
            [post(1, "/a"), frame(DATA, 0, 1, &too_much)],
            Either(1, WRONG_SIZE),
        ),
        case(
            "4.2 HEADERS larger than that",
            [frame(HEADERS, WHOLE, 1, &too_much)],
            Ended(WRONG_SIZE),
        ),
        case(
            "4.2 SETTINGS larger than that",
            [frame(SETTINGS, 0, 0, &vec![0; 16_386])],
            Ended(WRONG_SIZE),
        ),
        case(
            "4.2 an unknown kind larger than that",
            [frame(0x16, 0, 0, &too_much)],
            Ended(WRONG_SIZE),
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_frame_of_a_fixed_size_has_that_size() {
    let id = HEADER_TABLE_SIZE.to_be_bytes();
    let wrong = WRONG_SIZE;
    check([
        case(
            "6.3 PRIORITY of four bytes",
            [post(1, "/a"), frame(PRIORITY, 0, 1, &[0; 4])],
            Reset(1, wrong),
        ),
        // A stream that is idle cannot be reset (RFC 9113 §6.4).
        case(
            "6.3 PRIORITY of six bytes, with no stream open",
            [frame(PRIORITY, 0, 1, &[0; 6])],
            Ended(wrong),
        ),
        case(
            "6.3 PRIORITY of six bytes on a stream that is over",
            [
                post(1, "/a"),
                frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]),
                frame(PRIORITY, 0, 1, &[0; 6]),
            ],
            Fine,
        ),
        case(
            "6.4 RST_STREAM of three bytes",
            [post(1, "/a"), frame(RST_STREAM, 0, 1, &[0; 3])],
            Ended(wrong),
        ),
        case(
            "6.5 SETTINGS of three bytes",
            [frame(SETTINGS, 0, 0, &[0; 3])],
            Ended(wrong),
        ),
        case(
            "6.5 an acknowledgement with values",
            [frame(SETTINGS, 1, 0, &[&id[..], &[0, 0, 16, 0]].concat())],
            Ended(wrong),
        ),
        case(
            "6.7 PING of six bytes",
            [frame(PING, 0, 0, &[0; 6])],
            Ended(wrong),
        ),
        case(
            "6.8 GOAWAY of four bytes",
            [frame(GOAWAY, 0, 0, &[0; 4])],
            Ended(wrong),
        ),
        case(
            "6.9 WINDOW_UPDATE of three bytes",
            [frame(WINDOW_UPDATE, 0, 0, &[0; 3])],
            Ended(wrong),
        ),
        case(
            "6.9 WINDOW_UPDATE of five bytes on a stream",
            [post(1, "/a"), frame(WINDOW_UPDATE, 0, 1, &[0; 5])],
            Ended(wrong),
        ),
    ])
    .await;
}

#[tokio::test]
async fn settings_have_values_that_make_sense() {
    use crate::support::frames::{ENABLE_PUSH, FLOW_CONTROL_ERROR, MAX_FRAME_SIZE};
    check([
        case(
            "6.5 SETTINGS on a stream",
            [frame(SETTINGS, 0, 1, &[])],
            Ended(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.5.2 ENABLE_PUSH of two",
            [settings(&[(ENABLE_PUSH, 2)])],
            Ended(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.5.2 INITIAL_WINDOW_SIZE above 2^31-1",
            [settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)])],
            Ended(&[FLOW_CONTROL_ERROR]),
        ),
        case(
            "6.5.2 MAX_FRAME_SIZE below 2^14",
            [settings(&[(MAX_FRAME_SIZE, 16_383)])],
            Ended(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.5.2 MAX_FRAME_SIZE above 2^24-1",
            [settings(&[(MAX_FRAME_SIZE, 1 << 24)])],
            Ended(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.5.2 a setting that nobody knows",
            [settings(&[(0xff, 1)])],
            Fine,
        ),
        case(
            "6.5.3 the same setting twice, the last in force",
            [settings(&[
                (INITIAL_WINDOW_SIZE, 0),
                (INITIAL_WINDOW_SIZE, 65_535),
            ])],
            Fine,
        ),
        case(
            "6.5.2 no indexing at all",
            [settings(&[(HEADER_TABLE_SIZE, 0)])],
            Fine,
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_header_block_is_whole_and_undisturbed() {
    let begun = |stream| frame(HEADERS, END_STREAM, stream, &request("GET", "/a", &[]));
    let rest = |stream| frame(CONTINUATION, END_HEADERS, stream, &[]);
    let wrong = Ended(&[PROTOCOL_ERROR]);
    let mut cut = request("GET", "/a", &[]);
    let tail = cut.split_off(20);
    check([
        case(
            "4.3 a block cut anywhere",
            [
                frame(HEADERS, END_STREAM, 1, &cut),
                frame(CONTINUATION, 0, 1, &tail[..1]),
                frame(CONTINUATION, END_HEADERS, 1, &tail[1..]),
            ],
            Fine,
        ),
        case(
            "6.2 another HEADERS within a block",
            [begun(1), begun(3), rest(1)],
            wrong,
        ),
        case(
            "6.2 DATA within a block",
            [begun(1), frame(DATA, 0, 1, b"a"), rest(1)],
            wrong,
        ),
        case(
            "6.2 PRIORITY within a block",
            [begun(1), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16]), rest(1)],
            wrong,
        ),
        case(
            "6.10 CONTINUATION of another stream",
            [begun(1), rest(3)],
            wrong,
        ),
        case("6.10 CONTINUATION of no stream", [begun(1), rest(0)], wrong),
        case(
            "6.10 CONTINUATION after the end of a block",
            [get(1, "/a"), rest(1)],
            wrong,
        ),
        case("6.10 CONTINUATION first", [rest(1)], wrong),
        case(
            "6.10 CONTINUATION after DATA",
            [post(1, "/a"), frame(DATA, 0, 1, b"a"), rest(1)],
            wrong,
        ),
    ])
    .await;
}

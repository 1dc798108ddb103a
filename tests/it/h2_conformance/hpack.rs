//! RFC 7541: header blocks that cannot be read end the connection, for nothing after them can be.

use crate::h2_conformance::Expect::{Ended, Fine};
use crate::h2_conformance::{Case, Expect, case, check};
use crate::support::World;
use crate::support::frames::{
    COMPRESSION_ERROR, Frames, HEADER_TABLE_SIZE, HEADERS, SETTINGS, WHOLE, frame, request,
    settings,
};

const UNREADABLE: Expect = Ended(&[COMPRESSION_ERROR]);

/// A request whose block has these bytes too, before or after its fields.
fn around(what: &'static str, (before, after): (&[u8], &[u8]), expect: Expect) -> Case {
    let block = [before, &request("GET", "/a", &[]), after].concat();
    case(what, [frame(HEADERS, WHOLE, 1, &block)], expect)
}

fn after(what: &'static str, bytes: &[u8], expect: Expect) -> Case {
    around(what, (&[], bytes), expect)
}

#[tokio::test]
async fn an_index_points_into_a_table() {
    check([
        after("6.1 zero", &[0x80], UNREADABLE),
        after("2.3.3 beyond the tables", &[0x80 + 62], UNREADABLE),
        after("2.3.3 far beyond", &[0xff, 0x80, 0x01], UNREADABLE),
        after(
            "6.2.1 a name beyond the tables",
            &[0x40 + 62, 1, b'a'],
            UNREADABLE,
        ),
        after(
            "6.2.2 the same, not to be indexed",
            &[0x0f, 47, 1, b'a'],
            UNREADABLE,
        ),
        after("6.2.1 a name by its index", &[0x40 + 19, 1, b'a'], Fine),
        after(
            "6.2.3 a field never to be indexed",
            b"\x10\x03x-a\x011",
            Fine,
        ),
        after(
            "6.2.1 a field that is indexed, and used",
            b"\x40\x03x-a\x011\xbe",
            Fine,
        ),
    ])
    .await;
}

#[tokio::test]
async fn numbers_and_strings_end_where_they_say() {
    check([
        after(
            "5.2 a string longer than the block",
            b"\x00\x03x-a\x7e1",
            UNREADABLE,
        ),
        after("5.2 a name without a value", b"\x00\x03x-a", UNREADABLE),
        after(
            "5.1 a number without an end",
            &[0xff, 0xff, 0xff],
            UNREADABLE,
        ),
        after("5.1 a number beyond all sizes", &[0xff; 12], UNREADABLE),
    ])
    .await;
}

#[tokio::test]
async fn huffman_codes_are_filled_up_with_ones_and_less_than_a_byte() {
    // "1" is 00001, and three ones fill its byte.
    check([
        after("5.2 as it should be", b"\x00\x03x-a\x81\x0f", Fine),
        after(
            "5.2 filled up with zeros",
            b"\x00\x03x-a\x81\x08",
            UNREADABLE,
        ),
        after(
            "5.2 filled up with a byte too many",
            b"\x00\x03x-a\x82\x0f\xff",
            UNREADABLE,
        ),
        after(
            "5.2 the end mark",
            b"\x00\x03x-a\x85\x0f\xff\xff\xff\xff",
            UNREADABLE,
        ),
    ])
    .await;
}

#[tokio::test]
async fn the_table_is_resized_at_the_begin_of_a_block_and_not_above_what_was_said() {
    check([
        around(
            "6.3 to nothing, and back",
            (&[0x20, 0x3f, 0xe1, 0x1f], &[]),
            Fine,
        ),
        around("6.3 above 4096", (&[0x3f, 0xe2, 0x1f], &[]), UNREADABLE),
        after("4.2 at the end of a block", &[0x20], UNREADABLE),
    ])
    .await;
}

#[tokio::test]
async fn answers_are_readable_without_a_table() {
    let world = World::start().await;
    let mut frames = Frames::open_with(world.address(), &[(HEADER_TABLE_SIZE, 0)]).await;
    for stream in [1, 3, 5] {
        let block = request("GET", "/a", &[]);
        frames.write(&frame(HEADERS, WHOLE, stream, &block)).await;
        let (head, _) = frames.answer(stream).await;
        // The first block says that the table is gone (RFC 7541 §4.2).
        assert_eq!(head[0] == 0x20, stream == 1, "{head:?}");
        // No index beyond the static table: nothing was put anywhere.
        let first = head.iter().find(|byte| **byte != 0x20);
        assert!(first.is_some_and(|byte| *byte < 0x80 + 62), "{head:?}");
    }
    // And a table may be taken away later on.
    frames.write(&settings(&[(HEADER_TABLE_SIZE, 100)])).await;
    frames.until(|frame| frame.kind == SETTINGS).await;
    frames
        .write(&frame(HEADERS, WHOLE, 7, &request("GET", "/a", &[])))
        .await;
    frames.answer(7).await;
}

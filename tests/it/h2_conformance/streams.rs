//! §5: streams, in which state takes what, how they are numbered, and how many there may be.

use crate::h2_conformance::Expect::{Either, Ended, Fine};
use crate::h2_conformance::{Case, Expect, OVER, Step, case, check};
use crate::support::World;
use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, MAX_CONCURRENT_STREAMS,
    NO_ERROR, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE, REFUSED_STREAM, RST_STREAM, Reaction, WHOLE,
    WITH_PRIORITY, block, frame, get, post, request, window_update,
};

/// Code 8: CANCEL.
fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

fn priority(stream: u32, on: u32) -> Vec<u8> {
    let payload = [&on.to_be_bytes()[..], &[16]].concat();
    frame(PRIORITY, 0, stream, &payload)
}

/// Something that is done on a stream whose answer has come.
fn after_answer(what: &'static str, bytes: Vec<u8>, expect: Expect) -> Case {
    let steps = vec![Step::Say(get(1, "/a")), Step::Hear(1), Step::Say(bytes)];
    Case {
        what,
        steps,
        expect,
    }
}

#[tokio::test]
async fn an_idle_stream_takes_no_frame_but_headers_and_priority() {
    let wrong = Ended(&[PROTOCOL_ERROR]);
    check([
        case("5.1 DATA", [frame(DATA, END_STREAM, 1, b"a")], wrong),
        case("5.1 RST_STREAM", [reset(1)], wrong),
        case("5.1 WINDOW_UPDATE", [window_update(1, 1)], wrong),
        case(
            "5.1 CONTINUATION",
            [frame(CONTINUATION, END_HEADERS, 1, &[])],
            wrong,
        ),
        case("5.1 PRIORITY", [priority(1, 0)], Fine),
        case(
            "5.1 PUSH_PROMISE",
            [frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])],
            wrong,
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_stream_that_its_client_has_ended_takes_no_more_of_it() {
    // Asked for something that is never answered: only the client's half is over.
    let ended = || get(1, "/slow");
    let block = request("GET", "/a", &[]);
    check([
        case(
            "5.1 DATA",
            [ended(), frame(DATA, END_STREAM, 1, b"a")],
            Either(1, OVER),
        ),
        case(
            "5.1 HEADERS",
            [ended(), frame(HEADERS, WHOLE, 1, &block)],
            Either(1, OVER),
        ),
        case(
            "5.1 CONTINUATION",
            [ended(), frame(CONTINUATION, END_HEADERS, 1, &block)],
            Ended(&[PROTOCOL_ERROR]),
        ),
        case("5.1 WINDOW_UPDATE", [ended(), window_update(1, 1)], Fine),
        case("5.1 PRIORITY", [ended(), priority(1, 0)], Fine),
        case("5.1 RST_STREAM", [ended(), reset(1)], Fine),
    ])
    .await;
}

#[tokio::test]
async fn a_stream_that_its_client_has_reset_takes_no_more_of_it() {
    let closed = || [post(1, "/a"), reset(1)].concat();
    let block = request("GET", "/a", &[]);
    check([
        case(
            "5.1 DATA",
            [closed(), frame(DATA, END_STREAM, 1, b"a")],
            Either(1, OVER),
        ),
        case(
            "5.1 HEADERS",
            [closed(), frame(HEADERS, WHOLE, 1, &block)],
            Either(1, OVER),
        ),
        case(
            "5.1 CONTINUATION",
            [closed(), frame(CONTINUATION, END_HEADERS, 1, &block)],
            Ended(&[PROTOCOL_ERROR]),
        ),
        case("5.1 PRIORITY", [closed(), priority(1, 0)], Fine),
        case("5.1 WINDOW_UPDATE", [closed(), window_update(1, 1)], Fine),
    ])
    .await;
}

#[tokio::test]
async fn a_stream_that_is_over_takes_nothing_that_would_begin_it_again() {
    let block = request("GET", "/again", &[]);
    let world = check([
        after_answer(
            "5.1 DATA",
            frame(DATA, END_STREAM, 1, b"a"),
            Either(1, OVER),
        ),
        after_answer(
            "5.1 HEADERS",
            frame(HEADERS, WHOLE, 1, &block),
            Either(1, OVER),
        ),
        after_answer(
            "5.1 CONTINUATION",
            frame(CONTINUATION, END_HEADERS, 1, &block),
            Ended(&[PROTOCOL_ERROR]),
        ),
        after_answer("5.1 PRIORITY", priority(1, 0), Fine),
        after_answer("5.1 WINDOW_UPDATE", window_update(1, 1), Fine),
        after_answer("5.1 RST_STREAM", reset(1), Fine),
    ])
    .await;
    assert!(world.app.seen().iter().all(|seen| seen.target != "/again"));
}

/// How many streams end after one before that one is late: more than are remembered of any kind.
const MANY: u32 = 300;

/// Something late on the first stream, which the gate has given up; `MANY` others ended since.
fn late(what: &'static str, begin: Vec<u8>, since: impl Fn(u32) -> Vec<u8>, late: &[u8]) -> Case {
    let others = (1..=MANY).flat_map(|nth| {
        let stream = 2 * nth + 1;
        [Step::Say(since(stream)), Step::Hear(stream)]
    });
    let mut steps = vec![Step::Say(begin)];
    steps.extend(others);
    steps.push(Step::Say(late.to_vec()));
    Case {
        what,
        steps,
        expect: Fine,
    }
}

#[tokio::test]
async fn what_comes_late_on_a_stream_that_the_gate_gave_up_ends_no_connection() {
    let given_up = || [post(1, "/a"), window_update(1, 0)].concat();
    let answered = |stream| get(stream, "/a");
    // Answered before its body has come, which nobody wants.
    let refused = |stream| post(stream, "/wx/session");
    let data = frame(DATA, 0, 1, b"late");
    let trailers = frame(HEADERS, WHOLE, 1, &block(&[("content-digest", "1")]));
    check([
        late("5.1 DATA after answers", given_up(), answered, &data),
        late("5.1 HEADERS after answers", given_up(), answered, &trailers),
        late("5.1 DATA after refusals", refused(1), refused, &data),
        late("5.1 HEADERS after refusals", refused(1), refused, &trailers),
    ])
    .await;
}

#[tokio::test]
async fn streams_are_odd_and_grow() {
    let world = check([
        case(
            "5.1.1 an even number",
            [get(2, "/wrong")],
            Ended(&[PROTOCOL_ERROR]),
        ),
        case(
            "5.1.1 a smaller number than before",
            [get(5, "/a"), get(3, "/wrong")],
            Ended(&[PROTOCOL_ERROR]),
        ),
        case("5.1.1 a gap", [get(1, "/a"), get(9, "/a")], Fine),
        case(
            "6.2 HEADERS of no stream",
            [get(0, "/wrong")],
            Ended(&[PROTOCOL_ERROR]),
        ),
    ])
    .await;
    assert!(world.app.seen().iter().all(|seen| seen.target != "/wrong"));
}

#[tokio::test]
async fn no_more_streams_run_at_once_than_was_said() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let bearer = format!("Bearer {token}");
    let held = |stream| {
        let block = request("POST", "/held", &[("authorization", &bearer)]);
        frame(HEADERS, END_HEADERS, stream, &block)
    };
    let mut frames = Frames::open(world.address()).await;
    let most = frames.setting(MAX_CONCURRENT_STREAMS);
    let most = most.expect("any number of streams");
    assert!((100..=1000).contains(&most), "{most}");
    let numbers: Vec<_> = (0..=most).map(|n| 2 * n + 1).collect();
    let all: Vec<_> = numbers.iter().map(|stream| held(*stream)).collect();
    frames.write(&all.concat()).await;
    let one_too_many = numbers[numbers.len() - 1];
    let reaction = frames.reaction(one_too_many).await;
    let refused = [REFUSED_STREAM, PROTOCOL_ERROR].map(Reaction::Reset);
    assert!(refused.contains(&reaction), "{reaction:?}");
    // One that ends makes room for one.
    frames.write(&frame(DATA, END_STREAM, 1, b"a")).await;
    let (_, body) = frames.answer(1).await;
    assert_eq!(body, b"POST /held 1 bytes");
    frames.write(&held(one_too_many + 2)).await;
    frames
        .write(&frame(DATA, END_STREAM, one_too_many + 2, b"ab"))
        .await;
    let (_, body) = frames.answer(one_too_many + 2).await;
    assert_eq!(body, b"POST /held 2 bytes");
}

#[tokio::test]
async fn a_stream_that_depends_on_itself_is_at_most_a_fault() {
    let world = World::start().await;
    let with_priority = |on: u32| {
        let block = [&on.to_be_bytes()[..], &[16], &request("GET", "/a", &[])].concat();
        frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &block)
    };
    let after_priority = |on| [priority(1, on), get(1, "/a")].concat();
    for (bytes, on_itself) in [
        (with_priority(0), false),
        (with_priority(1), true),
        (after_priority(0), false),
        (after_priority(1), true),
    ] {
        let mut frames = Frames::open(world.address()).await;
        frames.write(&bytes).await;
        let reaction = frames.reaction(1).await;
        let fault = [
            Reaction::Reset(PROTOCOL_ERROR),
            Reaction::GoneAway(PROTOCOL_ERROR),
        ];
        let right = reaction == Reaction::Answered || on_itself && fault.contains(&reaction);
        assert!(right, "{reaction:?}: {bytes:?}");
    }
}

#[tokio::test]
async fn whoever_says_goodbye_is_answered_first() {
    let world = World::start().await;
    let mut frames = Frames::open(world.address()).await;
    let goodbye = [0_u32, NO_ERROR].map(u32::to_be_bytes).concat();
    let goodbye = frame(GOAWAY, 0, 0, &goodbye);
    frames.write(&[get(1, "/a"), goodbye].concat()).await;
    let (_, body) = frames.answer(1).await;
    assert!(body.starts_with(b"{\"type\":\"urn:wxgate:problem:session_required"));
}

//! §10.5: what costs a client little is not done for it without end, and what it does not take stands
//! in nobody's way.

use crate::h2_conformance::open_to_all;
use crate::support::Setup;
use crate::support::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR, Frame, Frames, HEADERS,
    INITIAL_WINDOW_SIZE, PING, PRIORITY, RST_STREAM, Reaction, SETTINGS, WHOLE, frame, get, post,
    request, settings, window_update,
};

const ENHANCE_YOUR_CALM: u32 = 11;

/// What comes of this, said in one go on a connection of its own.
async fn comes_of(said: &[u8]) -> Reaction {
    let world = open_to_all().await;
    let mut frames = Frames::open(world.address()).await;
    frames.write(said).await;
    // No stream has this number.
    let reaction = frames.reaction(u32::MAX).await;
    // Others notice nothing.
    assert_eq!(world.get("/next").send().await.status, 200);
    reaction
}

/// Says this over and over again, more often than any honest client does.
async fn is_too_much(begin: &[u8], again: &[u8]) {
    let times = 600_000 / again.len();
    let said = [begin, &again.repeat(times)].concat();
    assert_eq!(comes_of(&said).await, Reaction::GoneAway(ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn pings_and_settings_without_end_are_too_much() {
    is_too_much(b"", &frame(PING, 0, 0, &[0; 8])).await;
    is_too_much(b"", &settings(&[])).await;
    is_too_much(b"", &frame(SETTINGS, ACK, 0, &[])).await;
    is_too_much(b"", &frame(PING, ACK, 0, &[0; 8])).await;
}

#[tokio::test]
async fn frames_that_bring_nothing_on_are_too_much_some_time() {
    is_too_much(b"", &frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16])).await;
    is_too_much(b"", &frame(0x16, 0, 0, &[])).await;
    is_too_much(b"", &window_update(0, 1)).await;
    let slow = get(1, "/slow");
    is_too_much(&slow, &window_update(1, 1)).await;
    is_too_much(&post(1, "/a"), &frame(DATA, 0, 1, &[])).await;
    let begun = frame(HEADERS, END_STREAM, 1, &request("GET", "/a", &[]));
    is_too_much(&begun, &frame(CONTINUATION, 0, 1, &[])).await;
}

#[tokio::test]
async fn windows_that_are_set_again_and_again_within_one_frame_are_too_much() {
    // All streams are gone through for each.
    let again = settings(&vec![(INITIAL_WINDOW_SIZE, 1); 2000]);
    assert_eq!(
        comes_of(&again).await,
        Reaction::GoneAway(ENHANCE_YOUR_CALM)
    );
}

#[tokio::test]
async fn header_blocks_that_are_for_nobody_are_too_much_some_time() {
    // The gate has given the stream up. Each block is decoded all the same.
    let begun = [post(1, "/slow"), window_update(1, 0)].concat();
    is_too_much(&begun, &frame(HEADERS, WHOLE, 1, &[0x82])).await;
}

#[tokio::test]
async fn requests_beyond_as_many_as_may_run_at_once_are_too_many_some_time() {
    let all: Vec<_> = (0..10_000).map(|nth| get(2 * nth + 1, "/slow")).collect();
    let reaction = comes_of(&all.concat()).await;
    assert_eq!(reaction, Reaction::GoneAway(ENHANCE_YOUR_CALM));
}

/// The requests of these streams, each with something that makes the gate give it up.
fn made_to_reset(number: u32, with: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let streams = (0..number).map(|nth| 2 * nth + 1);
    streams
        .flat_map(|stream| [post(stream, "/slow"), with(stream)].concat())
        .collect()
}

#[tokio::test]
async fn requests_that_are_taken_back_or_have_to_be_given_up_are_too_much_some_time() {
    let cancelled = made_to_reset(2000, |stream| frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
    let no_window = made_to_reset(2000, |stream| window_update(stream, 0));
    let overflow = made_to_reset(2000, |stream| window_update(stream, (1 << 31) - 1));
    let malformed = made_to_reset(2000, |stream| {
        frame(HEADERS, END_HEADERS, stream, &request("GET", "/a", &[]))
    });
    for said in [cancelled, no_window, overflow, malformed] {
        assert_eq!(comes_of(&said).await, Reaction::GoneAway(ENHANCE_YOUR_CALM));
    }
}

#[tokio::test]
async fn a_stream_that_was_given_up_can_not_be_ended_again_and_again() {
    let given_up = [post(1, "/a"), window_update(1, 0)].concat();
    let ends = frame(DATA, END_STREAM, 1, b"").repeat(20_000);
    let said = [given_up, ends].concat();
    assert_eq!(comes_of(&said).await, Reaction::GoneAway(ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn as_many_requests_as_may_run_at_once_can_be_taken_back() {
    let world = open_to_all().await;
    let mut frames = Frames::open(world.address()).await;
    let cancelled = made_to_reset(128, |stream| frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
    frames.write(&cancelled).await;
    frames.write(&get(1001, "/next")).await;
    assert_eq!(frames.reaction(1001).await, Reaction::Answered);
}

#[tokio::test]
async fn a_block_of_many_references_to_a_large_field_is_refused_with_a_status() {
    let world = open_to_all().await;
    let mut frames = Frames::open(world.address()).await;
    // A field of 3000 bytes that is put into the table, and then said 10 000 times.
    let field = [&b"\x40\x01x\x7f\xb9\x16"[..], &[b'x'; 3000]].concat();
    let block = [request("GET", "/a", &[]), field, vec![0xbe; 10_000]].concat();
    frames.write(&frame(HEADERS, WHOLE, 1, &block)).await;
    let (head, _) = frames.answer(1).await;
    // :status by its name in the static table, and not indexed.
    assert_eq!(&head[..5], b"\x08\x03431");
    // The table is what the client believes it to be.
    let block = [request("GET", "/a", &[]), vec![0xbe]].concat();
    frames.write(&frame(HEADERS, WHOLE, 3, &block)).await;
    assert_eq!(frames.reaction(3).await, Reaction::Answered);
    assert_eq!(world.app.last().header("x")[0].len(), 3000);
}

#[tokio::test]
async fn a_head_that_is_a_little_too_large_is_refused_with_a_problem_document() {
    let setup = Setup {
        server: "limits.max_header_bytes = \"8KiB\"\nlimits.max_headers = 20".to_owned(),
        ..Setup::with("[access]\ndefault = \"public\"")
    };
    let world = setup.start().await;
    let large = "x".repeat(9000);
    let many = vec![("x", "1"); 25];
    for fields in [vec![("x", &*large)], many] {
        let mut frames = Frames::open(world.address()).await;
        let block = request("GET", "/a", &fields);
        frames.write(&frame(HEADERS, WHOLE, 1, &block)).await;
        let (_, body) = frames.answer(1).await;
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains("headers_too_large"), "{body}");
    }
    assert_eq!(world.app.count(), 0);
}

/// Takes so many bytes of answers. Gives the first stream that has ended within them.
async fn take(frames: &mut Frames, mut bytes: u32) -> Option<u32> {
    while bytes > 0 {
        let data = frames.until(|frame| frame.kind == DATA).await;
        if data.ends_stream() {
            return Some(data.stream);
        }
        bytes -= u32::try_from(data.payload.len()).unwrap();
    }
    None
}

#[tokio::test]
async fn a_small_answer_does_not_wait_for_the_end_of_large_ones() {
    const WINDOW: u32 = 65_535;
    let world = open_to_all().await;
    let own = [(INITIAL_WINDOW_SIZE, (1 << 31) - 1)];
    let mut frames = Frames::open_with(world.address(), &own).await;
    let large = [1, 3, 5, 7].map(|stream| get(stream, "/bytes/1000000000"));
    frames.write(&large.concat()).await;
    assert_eq!(take(&mut frames, WINDOW).await, None);
    frames.write(&get(9, "/small")).await;
    // The window is opened again when all has come that it admitted, so that everybody has time.
    for _ in 0..1000 {
        frames.write(&window_update(0, WINDOW)).await;
        if let Some(ended) = take(&mut frames, WINDOW).await {
            assert_eq!(ended, 9);
            return;
        }
    }
    panic!("the small one starves");
}

#[tokio::test]
async fn an_answer_without_a_window_stands_in_nobodys_way() {
    let world = open_to_all().await;
    let mut frames = Frames::open_with(world.address(), &[(INITIAL_WINDOW_SIZE, 0)]).await;
    let streams = (0..50).map(|nth| get(2 * nth + 1, "/bytes/1000"));
    frames.write(&streams.collect::<Vec<_>>().concat()).await;
    frames
        .write(&[get(1001, "/last"), window_update(1001, 1000)].concat())
        .await;
    let (_, body) = frames.answer(1001).await;
    assert_eq!(body, b"GET /last 0 bytes");
    // And every one of them comes when its window opens.
    frames
        .write(&settings(&[(INITIAL_WINDOW_SIZE, 1000)]))
        .await;
    for nth in 0..50 {
        let ended = frames.until(Frame::ends_stream).await;
        assert!(ended.stream < 100, "{nth}: {ended:?}");
    }
}

#[tokio::test]
async fn a_stream_that_ignores_its_window_is_reset_and_its_neighbour_is_not() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let setup = Setup {
        upstream_url: Some(format!("http://{}", listener.local_addr().unwrap())),
        ..Setup::with("[access]\ndefault = \"public\"")
    };
    let world = setup.start().await;
    let mut frames = Frames::open(world.address()).await;
    let piece = frame(DATA, 0, 1, &[b'x'; 16_384]);
    let upload = [post(1, "/upload"), piece.repeat(2000)].concat();
    frames.write(&upload).await;
    let reaction = frames.reaction(1).await;
    let expected = [
        Reaction::Reset(FLOW_CONTROL_ERROR),
        Reaction::GoneAway(FLOW_CONTROL_ERROR),
    ];
    assert!(expected.contains(&reaction), "{reaction:?}");
    drop(listener);
}

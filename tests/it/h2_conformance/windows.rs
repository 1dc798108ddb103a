//! §6.9 windows, and what an HTTP/2 client can do too much of.

use crate::h2_conformance::Expect::{Either, Ended, Fine};
use crate::h2_conformance::{case, check, open_to_all};
use crate::support::Setup;
use crate::support::frames::{
    DATA, FLOW_CONTROL_ERROR, Frames, HEADERS, INITIAL_WINDOW_SIZE, PROTOCOL_ERROR, frame, get,
    post, request, settings, window_update,
};

const LARGEST: u32 = (1 << 31) - 1;

/// The lengths of the next pieces of the answer on this stream.
async fn pieces(frames: &mut Frames, stream: u32, bytes: usize) -> Vec<usize> {
    let mut lengths = Vec::new();
    while lengths.iter().sum::<usize>() < bytes {
        let data = frames.until(|frame| frame.kind == DATA && frame.stream == stream);
        lengths.push(data.await.payload.len());
    }
    lengths
}

#[tokio::test]
async fn a_window_grows_by_something_and_not_beyond_all_bounds() {
    let overflow: &'static [u32] = &[FLOW_CONTROL_ERROR];
    check([
        case(
            "6.9 by nothing",
            [window_update(0, 0)],
            Ended(&[PROTOCOL_ERROR]),
        ),
        case(
            "6.9 by nothing on a stream",
            [post(1, "/a"), window_update(1, 0)],
            Either(1, &[PROTOCOL_ERROR]),
        ),
        case(
            "6.9.1 up to the largest",
            [window_update(0, LARGEST - 65_535)],
            Fine,
        ),
        case(
            "6.9.1 beyond it",
            [window_update(0, LARGEST), window_update(0, LARGEST)],
            Ended(overflow),
        ),
        case(
            "6.9.1 beyond it on a stream",
            [
                post(1, "/a"),
                window_update(1, LARGEST),
                window_update(1, LARGEST),
            ],
            Either(1, overflow),
        ),
        case(
            "6.9.2 beyond it by a setting",
            [
                post(1, "/a"),
                window_update(1, LARGEST - 65_535),
                settings(&[(INITIAL_WINDOW_SIZE, 65_536)]),
            ],
            Ended(overflow),
        ),
    ])
    .await;
}

#[tokio::test]
async fn an_answer_comes_only_as_far_as_its_window() {
    let world = open_to_all().await;
    let mut frames = Frames::open_with(world.address(), &[(INITIAL_WINDOW_SIZE, 1)]).await;
    frames.write(&get(1, "/bytes/100")).await;
    assert_eq!(pieces(&mut frames, 1, 1).await, [1]);
    frames.write(&window_update(1, 3)).await;
    assert_eq!(pieces(&mut frames, 1, 3).await.iter().sum::<usize>(), 3);
    // A setting moves the windows of what is under way by its difference: 1 becomes 11.
    frames.write(&settings(&[(INITIAL_WINDOW_SIZE, 11)])).await;
    assert_eq!(pieces(&mut frames, 1, 10).await.iter().sum::<usize>(), 10);
    // Also below nothing: 11 becomes 0, and the first 11 bytes given only pay that back.
    frames.write(&settings(&[(INITIAL_WINDOW_SIZE, 0)])).await;
    frames.write(&window_update(1, 11 + 5)).await;
    assert_eq!(pieces(&mut frames, 1, 5).await.iter().sum::<usize>(), 5);
    frames.write(&window_update(1, 1000)).await;
    let (_, rest) = frames.answer(1).await;
    assert_eq!(rest.len(), 100 - 1 - 3 - 10 - 5);
}

#[tokio::test]
async fn an_answer_comes_only_as_far_as_the_window_of_its_connection() {
    let world = open_to_all().await;
    let own = [(INITIAL_WINDOW_SIZE, LARGEST)];
    let mut frames = Frames::open_with(world.address(), &own).await;
    frames.write(&get(1, "/bytes/100000")).await;
    let first: usize = pieces(&mut frames, 1, 65_535).await.iter().sum();
    assert_eq!(first, 65_535);
    frames.write(&window_update(0, 100_000)).await;
    let (_, rest) = frames.answer(1).await;
    assert_eq!(rest.len(), 100_000 - 65_535);
}

#[tokio::test]
async fn a_client_that_ignores_the_windows_is_cut_off() {
    // An app server that takes nothing: its head is never read.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let setup = Setup {
        upstream_url: Some(format!("http://{}", listener.local_addr().unwrap())),
        ..Setup::with("[access]\ndefault = \"public\"")
    };
    let world = setup.start().await;
    let mut frames = Frames::open(world.address()).await;
    frames.write(&post(1, "/upload")).await;
    let piece = frame(DATA, 0, 1, &[b'x'; 16_384]);
    let mut sent = 0;
    while frames.try_write(&piece).await.is_ok() {
        sent += 1;
        assert!(sent < 4096, "64 MiB are taken of what nobody reads");
    }
    drop(listener);
}

#[tokio::test]
async fn a_header_block_without_an_end_is_cut_off() {
    use crate::support::frames::CONTINUATION;
    let world = open_to_all().await;
    let mut frames = Frames::open(world.address()).await;
    let begun = request("GET", "/a", &[("x-large", &"x".repeat(10_000))]);
    frames.write(&frame(HEADERS, 1, 1, &begun)).await;
    let more = crate::support::frames::block(&[("x-more", &"x".repeat(16_000))]);
    let more = frame(CONTINUATION, 0, 1, &more);
    let mut sent = 0;
    while frames.try_write(&more).await.is_ok() {
        sent += 1;
        assert!(sent < 4096, "64 MiB of one head are taken");
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn requests_that_are_taken_back_at_once_are_too_many_some_time() {
    use crate::support::frames::RST_STREAM;
    let world = open_to_all().await;
    let mut frames = Frames::open(world.address()).await;
    let mut sent = 0;
    for stream in (1..400_000).step_by(2) {
        let cancelled = [
            get(stream, "/slow"),
            frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]),
        ];
        if frames.try_write(&cancelled.concat()).await.is_err() {
            break;
        }
        sent += 1;
    }
    assert!(sent < 199_999, "never cut off");
    // Others notice nothing.
    assert_eq!(world.get("/next").send().await.status, 200);
}

//! Bodies pass as they come: nothing is collected, nothing waits for an end, and an event stream
//! ends with the session that it hangs on.

use std::time::Duration;

use crate::support::app::until;
use crate::support::events::Events;
use crate::support::pattern;
use crate::support::process::Gate;
use crate::support::raw::Request;
use crate::support::{STUCK, Setup, World};

const MIB: usize = 1024 * 1024;

/// The bodies of the memory tests: large beside what the gate may grow by.
const LARGE: usize = 50 * MIB;

/// What the gate may grow by, in KiB: sockets' worth, not bodies' worth.
const GROWTH: u64 = 16 * 1024;

fn events_of(world: &World, token: &str) -> Request {
    world.get("/events").bearer(token)
}

async fn log_out(world: &World, token: &str, query: &str) {
    let target = format!("/wx/session{query}");
    let answer = world.request("DELETE", &target).bearer(token).send().await;
    assert_eq!(answer.status, 204, "{answer:?}");
}

/// An event goes through at this moment.
async fn goes_on(world: &World, streams: &mut [&mut Events]) {
    world.app.emit("still there");
    for stream in streams {
        assert_eq!(stream.next().await, "still there");
    }
}

#[tokio::test]
async fn fifty_mebibytes_go_up_whole_and_the_gate_does_not_grow() {
    let gate = Gate::start(Setup::default()).await;
    let token = gate.login("alice").await;
    let before = gate.program.memory("VmHWM");
    let request = gate.request("POST", "/pattern/0").bearer(&token);
    let mut connection = request
        .header("Content-Length", &LARGE.to_string())
        .begin()
        .await;
    let mut at = 0;
    while at < LARGE {
        let piece = pattern::piece(at, LARGE - at);
        connection.write(piece).await;
        at += piece.len();
    }
    assert_eq!(connection.answer().await.status, 200);
    let seen = gate.app.last();
    assert_eq!(seen.body_length, LARGE);
    assert!(!seen.off_pattern);
    let grown = gate.program.memory("VmHWM") - before;
    assert!(grown < GROWTH, "by {grown} KiB");
}

#[tokio::test]
async fn fifty_mebibytes_come_down_whole_and_the_gate_does_not_grow() {
    let gate = Gate::start(Setup::default()).await;
    let token = gate.login("alice").await;
    let before = gate.program.memory("VmHWM");
    let request = gate.get(&format!("/pattern/{LARGE}")).bearer(&token);
    let mut connection = request.begin().await;
    let (status, headers) = connection.head().await.unwrap();
    assert_eq!(status, 200);
    let length = ("content-length".to_owned(), LARGE.to_string());
    assert!(headers.contains(&length), "{headers:?}");
    let mut at = 0;
    while at < LARGE {
        // Slower than the app server: what is under way piles up wherever it is let.
        tokio::time::sleep(Duration::from_micros(100)).await;
        let piece = connection.piece().await;
        assert!(!piece.is_empty(), "ended after {at} bytes");
        assert!(pattern::is_at(at, &piece), "wrong bytes after {at}");
        at += piece.len();
    }
    assert_eq!(at, LARGE);
    let grown = gate.program.memory("VmHWM") - before;
    assert!(grown < GROWTH, "by {grown} KiB");
}

#[tokio::test]
async fn the_app_gets_the_first_bytes_before_the_client_has_sent_the_last() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let upload = |name, value| world.post("/upload").bearer(&token).header(name, value);

    let mut sized = upload("Content-Length", "6").begin().await;
    sized.write(b"abc").await;
    until("three bytes arrive", || world.app.received() == 3).await;
    sized.write(b"def").await;
    assert_eq!(sized.answer().await.text(), "POST /upload 6 bytes");

    let mut chunked = upload("Transfer-Encoding", "chunked").begin().await;
    chunked.write(b"2\r\ngh\r\n").await;
    until("two more arrive", || world.app.received() == 8).await;
    chunked.write(b"1\r\ni\r\n0\r\n\r\n").await;
    assert_eq!(chunked.answer().await.text(), "POST /upload 3 bytes");
    assert_eq!(world.app.last().body, b"ghi");
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_not_finished_towards_the_app() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let request = world.post("/upload").bearer(&token);
    let mut connection = request.header("Transfer-Encoding", "chunked").begin().await;
    connection.write(b"3\r\nabc\r\n").await;
    until("it has begun", || world.app.received() == 3).await;
    drop(connection);
    // The app server writes down a request whose body it could not read to the end as well.
    until("the app server sees the end", || world.app.count() == 1).await;
    let seen = world.app.last();
    assert_eq!(seen.body, b"abc");
    let next = world.get("/next").bearer(&token).send().await;
    assert_eq!(next.status, 200);
    assert_eq!(
        world.app.last().nth,
        0,
        "the broken connection was used again"
    );
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let mut events = Events::open(events_of(&world, &token)).await;
    for count in 0..20 {
        // Sent only now, when everything before has arrived.
        let event = format!("event {count}");
        world.app.emit(&event);
        assert_eq!(events.next().await, event);
    }
}

#[tokio::test]
async fn an_event_stream_breaks_within_a_second_of_logout_and_another_users_goes_on() {
    let world = World::start().await;
    let (alice, bob) = (world.login("alice").await, world.login("bob").await);
    let mut of_alice = Events::open(events_of(&world, &alice)).await;
    let mut of_bob = Events::open(events_of(&world, &bob)).await;
    goes_on(&world, &mut [&mut of_alice, &mut of_bob]).await;
    log_out(&world, &alice, "").await;
    of_alice.broken_within_a_second().await;
    until("one listener is left", || world.app.listeners() == 1).await;
    goes_on(&world, &mut [&mut of_bob]).await;
}

#[tokio::test]
async fn an_event_stream_in_which_nothing_ever_flowed_breaks_as_well() {
    let world = World::start().await;
    let alice = world.login("alice").await;
    let events = Events::open(events_of(&world, &alice)).await;
    log_out(&world, &alice, "").await;
    events.broken_within_a_second().await;
}

#[tokio::test]
async fn an_event_stream_that_never_pauses_breaks_as_well() {
    let world = World::start().await;
    let alice = world.login("alice").await;
    let events = Events::open(events_of(&world, &alice)).await;
    let app = world.app.clone();
    let flood = tokio::spawn(async move {
        loop {
            app.emit("on and on");
            tokio::task::yield_now().await;
        }
    });
    log_out(&world, &alice, "").await;
    events.broken_within_a_second().await;
    flood.abort();
}

#[tokio::test]
async fn logout_of_one_session_leaves_the_users_others_and_of_all_ends_them() {
    let world = World::start().await;
    let (phone, tablet) = (world.login("alice").await, world.login("alice").await);
    let third = world.login("alice").await;
    let on_phone = Events::open(events_of(&world, &phone)).await;
    let mut on_tablet = Events::open(events_of(&world, &tablet)).await;
    let mut on_third = Events::open(events_of(&world, &third)).await;
    log_out(&world, &phone, "").await;
    on_phone.broken_within_a_second().await;
    goes_on(&world, &mut [&mut on_tablet, &mut on_third]).await;
    log_out(&world, &tablet, "?all=true").await;
    tokio::join!(
        on_tablet.broken_within_a_second(),
        on_third.broken_within_a_second()
    );
}

#[tokio::test]
async fn an_event_stream_of_a_replaced_session_breaks_when_its_grace_is_over() {
    let world = World::start().await;
    let old = world.login("alice").await;
    let mut before = Events::open(events_of(&world, &old)).await;
    let renewal = world.post("/wx/login").bearer(&old);
    let code = serde_json::json!({ "code": world.code("alice") });
    let answer = renewal.json(&code).send().await;
    let new = answer.json()["token"].as_str().unwrap().to_owned();
    goes_on(&world, &mut [&mut before]).await;

    // The gate sleeps by real time what is left by its clock, so little must be left.
    world.clock.advance(Duration::from_millis(59_500));
    let mut events = Events::open(events_of(&world, &old)).await;
    let mut renewed = Events::open(events_of(&world, &new)).await;
    goes_on(&world, &mut [&mut events, &mut renewed]).await;
    world.clock.advance(Duration::from_millis(600));
    events.broken_within_a_second().await;
    goes_on(&world, &mut [&mut renewed]).await;
}

#[tokio::test]
async fn an_event_stream_breaks_when_its_session_runs_out() {
    let world = Setup::with("[session]\nttl = \"1h\"").start().await;
    let alice = world.login("alice").await;
    world.clock.advance(Duration::from_millis(3_599_500));
    let bob = world.login("bob").await;
    let mut of_alice = Events::open(events_of(&world, &alice)).await;
    let mut of_bob = Events::open(events_of(&world, &bob)).await;
    goes_on(&world, &mut [&mut of_alice, &mut of_bob]).await;
    world.clock.advance(Duration::from_millis(600));
    of_alice.broken_within_a_second().await;
    goes_on(&world, &mut [&mut of_bob]).await;
}

#[tokio::test]
async fn streams_outlive_their_session_where_that_is_configured() {
    let setup = Setup::with("[session]\nclose_streams_on_end = false");
    let world = setup.start().await;
    let alice = world.login("alice").await;
    let mut events = Events::open(events_of(&world, &alice)).await;
    log_out(&world, &alice, "").await;
    assert_eq!(world.get("/me").bearer(&alice).send().await.status, 401);
    goes_on(&world, &mut [&mut events]).await;
}

#[tokio::test]
async fn a_client_that_leaves_an_event_stream_leaves_the_app_as_well() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let events = Events::open(events_of(&world, &token)).await;
    assert_eq!(world.app.listeners(), 1);
    drop(events);
    until("nobody listens", || world.app.listeners() == 0).await;
}

#[tokio::test]
async fn an_answer_passes_before_the_upload_is_over() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let request = world.post("/early").bearer(&token);
    let mut connection = request.header("Content-Length", "1000000").begin().await;
    let head = tokio::time::timeout(STUCK, connection.head()).await;
    assert_eq!(head.expect("stuck").unwrap().0, 413);
}

//! How many connections and requests there may be over HTTP/2, and how long anything may take.

use std::time::Duration;

use futures_util::future::join_all;
use h2::Reason;

use super::{open_to_all, start};
use crate::support::World;
use crate::support::app::until;
use crate::support::h2_app::H2App;
use crate::support::h2_played::{RST_STREAM, Stage};

async fn before(app: &H2App, upstream: &str) -> World {
    let url = format!("http://{}", app.address);
    open_to_all(url, upstream).start().await
}

#[tokio::test]
async fn a_connection_carries_as_many_requests_as_the_app_allows() {
    for (allowed, requests, connections) in [(1, 3, 3), (2, 3, 2), (3, 3, 1)] {
        let app = H2App::allowing(allowed).await;
        let world = before(&app, "").await;
        let mut busy = Vec::new();
        for count in 1..=requests {
            busy.push(world.get("/slow").begin().await);
            until("the app is asked", || app.begun() == count).await;
        }
        assert_eq!(app.connections(), connections, "{allowed}");
    }
}

#[tokio::test]
async fn a_connection_carries_a_hundred_requests_at_most() {
    let (world, app) = start("").await;
    let mut busy = Vec::new();
    for _ in 0..100 {
        busy.push(world.get("/events").begin().await);
    }
    until("all listen", || app.listeners() == 100).await;
    assert_eq!(app.connections(), 1);
    assert_eq!(world.get("/a").send().await.status, 200);
    assert_eq!(app.connections(), 2);
}

#[tokio::test]
async fn requests_wait_for_room_but_only_so_many() {
    let app = H2App::allowing(1).await;
    // One connection of the worker's own and one more: there are never fewer.
    let limits = "max_connections = 1\nmax_pending = 1\nconnect_timeout = \"15s\"";
    let world = before(&app, limits).await;
    let busy = [
        world.get("/slow").begin().await,
        world.get("/slow").begin().await,
    ];
    until("the app is busy", || app.begun() == 2).await;
    let mut one = world.get("/a").begin().await;
    let mut other = world.get("/a").begin().await;
    let (refused, waiting) = tokio::select! {
        answer = one.answer() => (answer, &mut other),
        answer = other.answer() => (answer, &mut one),
    };
    refused.is_refused(503, "overloaded", "retry");
    assert_eq!((app.begun(), app.connections()), (2, 2));
    drop(busy);
    assert_eq!(waiting.answer().await.status, 200);
}

#[tokio::test]
async fn a_request_does_not_wait_for_room_for_ever() {
    let app = H2App::allowing(1).await;
    let world = before(&app, "max_connections = 1\nconnect_timeout = \"500ms\"").await;
    let _busy = [
        world.get("/slow").begin().await,
        world.get("/slow").begin().await,
    ];
    until("the app is busy", || app.begun() == 2).await;
    let answer = world.get("/a").send().await;
    answer.is_refused(503, "overloaded", "retry");
}

#[tokio::test]
async fn those_who_come_while_a_connection_is_made_share_it() {
    let (world, app) = start("max_pending = 0").await;
    let asking = (0..50).map(|_| world.get("/a").send());
    for answer in join_all(asking).await {
        assert_eq!(answer.status, 200);
    }
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_while_a_connection_is_made_leaves_others_theirs() {
    let stage = Stage::open().await;
    let url = format!("http://{}", stage.address());
    let world = open_to_all(url, "connect_timeout = \"15s\"").start().await;
    let leaving = world.get("/left").begin().await;
    let mut first = stage.accept().await;
    first.begun().await;
    let mut waiting = world.get("/a").begin().await;
    drop(leaving);
    let mut app = stage.meet().await;
    let stream = app.request().await;
    app.answer(stream, "served").await;
    assert_eq!(waiting.answer().await.text(), "served");
}

#[tokio::test]
async fn every_worker_has_a_connection_however_few_there_may_be() {
    let app = H2App::start().await;
    let setup = open_to_all(format!("http://{}", app.address), "max_connections = 1");
    let setup = crate::support::Setup {
        server: "workers = 3".to_owned(),
        ..setup
    };
    let world = setup.start().await;
    for _ in 0..3 {
        let asking = (0..30).map(|_| world.get("/a").send());
        for answer in join_all(asking).await {
            assert_eq!(answer.status, 200);
        }
    }
    assert!(app.connections() <= 4, "{}", app.connections());
}

#[tokio::test]
async fn a_connection_that_is_not_used_is_closed_in_time() {
    let (world, app) = start("idle_timeout = \"200ms\"").await;
    for _ in 0..2 {
        assert_eq!(world.get("/a").send().await.status, 200);
        until("the connection is closed", || app.open() == 0).await;
    }
    assert_eq!(app.connections(), 2);
    // One that is used stays.
    let mut listening = world.get("/events").begin().await;
    assert_eq!(listening.head().await.unwrap().0, 200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(app.open(), 1);
}

#[tokio::test]
async fn no_connection_is_kept_when_none_may_be() {
    let (world, app) = start("max_idle = 0").await;
    for count in 1..=3 {
        assert_eq!(world.get("/a").send().await.status, 200);
        until("the connection is closed", || app.open() == 0).await;
        assert_eq!(app.connections(), count);
    }
}

#[tokio::test]
async fn an_app_that_is_too_slow_is_told_and_its_connection_goes_on() {
    let (world, app) = start("response_timeout = \"500ms\"").await;
    for count in 1..=2 {
        let answer = world.get("/slow").send().await;
        answer.is_refused(504, "upstream_timeout", "retry");
        until("the app is told", || app.resets().len() == count).await;
    }
    assert_eq!(app.resets(), [Reason::CANCEL; 2]);
    assert_eq!(world.get("/a").send().await.status, 200);
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn an_app_that_shows_no_sign_of_life_after_a_timeout_is_connected_to_anew() {
    let stage = Stage::open().await;
    let url = format!("http://{}", stage.address());
    let times = "response_timeout = \"500ms\"\nconnect_timeout = \"500ms\"";
    let world = open_to_all(url, times).start().await;
    let dead = async {
        let mut app = stage.meet().await;
        app.alive = false;
        let stream = app.request().await;
        assert_eq!(app.next(&[RST_STREAM]).await.unwrap().stream, stream);
        app.closed().await;
    };
    let (answer, ()) = tokio::join!(world.get("/a").send(), dead);
    answer.is_refused(504, "upstream_timeout", "retry");
    let alive = async {
        let mut app = stage.meet().await;
        let stream = app.request().await;
        app.answer(stream, "served").await;
        app
    };
    let (answer, _app) = tokio::join!(world.get("/a").send(), alive);
    assert_eq!(answer.text(), "served");
}

#[tokio::test]
async fn the_time_for_an_answer_does_not_run_while_the_client_sends() {
    let (world, _app) = start("response_timeout = \"500ms\"").await;
    let mut connection = world
        .post("/upload")
        .header("Content-Length", "3")
        .begin()
        .await;
    for piece in ["a", "b", "c"] {
        // A client this slow is the thing under test: longer than the app server may take.
        tokio::time::sleep(Duration::from_millis(700)).await;
        connection.write(piece.as_bytes()).await;
    }
    assert_eq!(connection.answer().await.text(), "POST /upload 3 bytes");
}

#[tokio::test]
async fn an_answer_that_stalls_is_broken_off_when_its_time_is_over() {
    let (world, app) = start("stream_idle_timeout = \"1s\"").await;
    let answer = world.get("/events").send().await;
    assert_eq!((answer.status, answer.whole), (200, false));
    until("the app is told", || app.resets() == [Reason::CANCEL]).await;
    // One that goes on is not.
    let mut listening = world.get("/events").begin().await;
    assert_eq!(listening.head().await.unwrap().0, 200);
    for number in 0..3 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        app.emit(&format!("event {number}"));
        let piece = String::from_utf8(listening.piece().await).unwrap();
        assert!(piece.contains("event"), "{piece}");
    }
    assert_eq!(app.connections(), 1);
}

//! App servers that are slow, down or starting again: WeChat repeats what was not taken, or the gate
//! does; nothing that was taken arrives again.

use std::time::Duration;

use tokio::time::Instant;
use wxgate::domain::clock::Clock;

use crate::push::app::{App, Then, setup, world};
use crate::push::wechat::{Wechat, message};
use crate::support::app::until;
use crate::support::process::Gate;
use crate::support::raw::Answer;
use crate::support::{STUCK, World};

const FAILS: &str = "HTTP/1.1 500 Failed\r\nContent-Length: 0\r\n\r\n";
const MOVED: &str = "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n";
const BREAKS_OFF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nab";

/// WeChat waits for an answer for that long.
const WECHAT_HANGS_UP_AFTER: Duration = Duration::from_secs(5);

async fn push(world: &World, id: u64) -> Answer {
    let pushed = Wechat::of(world).sealed(&message(false, id), "");
    pushed.to(world).send().await
}

async fn pushed_well(world: &World, id: u64) {
    let answer = push(world, id).await;
    assert_eq!((answer.status, &*answer.text()), (200, "success"));
}

#[tokio::test]
async fn what_an_app_server_does_not_take_wechat_may_repeat_until_it_does() {
    let app = App::start().await;
    let world = world(&app, "safe", "").await;
    for (id, then) in [
        (1, Then::Says(FAILS)),
        (2, Then::Says(MOVED)),
        (3, Then::HangsUp),
    ] {
        app.next([then]);
        push(&world, id)
            .await
            .is_refused(502, "upstream_failed", "retry");
        let arrived = app.count();
        pushed_well(&world, id).await;
        assert_eq!(app.count(), arrived + 1);
        // From now on it is taken.
        pushed_well(&world, id).await;
        assert_eq!(app.count(), arrived + 1);
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_or_no_text_is_no_answer() {
    let long: &'static str = Box::leak(
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n{}",
            "x".repeat(65537)
        )
        .into_boxed_str(),
    );
    let no_text = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsucces\xffs";
    for mode in ["safe", "plain"] {
        for then in [Then::Says(long), Then::SaysBytes(no_text)] {
            let app = App::start().await;
            let world = world(&app, mode, "").await;
            app.next([then]);
            let pushed = Wechat::of(&world).of_mode(mode, &message(false, 1));
            let answer = pushed.to(&world).send().await;
            answer.is_refused(502, "upstream_failed", "retry");
            assert_eq!(pushed.to(&world).send().await.text(), "success");
            assert_eq!(app.count(), 2);
        }
    }
}

#[tokio::test]
async fn a_push_while_the_app_server_starts_again_is_repeated_by_wechat() {
    let app = App::not_yet().await;
    let world = world(&app, "safe", "").await;
    push(&world, 1)
        .await
        .is_refused(502, "upstream_unreachable", "retry");
    app.listen().await;
    pushed_well(&world, 1).await;
    assert_eq!(app.count(), 1);
}

#[tokio::test]
async fn wechat_is_answered_before_it_hangs_up_and_may_repeat_what_took_too_long() {
    let app = App::start().await;
    let world = world(&app, "safe", "").await;
    app.next([Then::Waits]);
    let begun = Instant::now();
    push(&world, 1)
        .await
        .is_refused(504, "upstream_timeout", "retry");
    let took = begun.elapsed();
    assert!(took < WECHAT_HANGS_UP_AFTER, "{took:?}");
    pushed_well(&world, 1).await;
    assert_eq!(app.count(), 2);
}

#[tokio::test]
async fn a_repeat_while_the_first_is_under_way_is_neither_delivered_nor_taken() {
    let app = App::start().await;
    let world = world(&app, "safe", "").await;
    app.next([Then::Waits]);
    let first = Wechat::of(&world).sealed(&message(false, 1), "");
    let mut first = first.to(&world).begin().await;
    until("the first has arrived", || app.count() == 1).await;
    push(&world, 1).await.is_refused(503, "overloaded", "retry");
    // Others are not in each other's way.
    pushed_well(&world, 2).await;
    app.go_on();
    assert_eq!(first.answer().await.text(), "success");
    pushed_well(&world, 1).await;
    assert_eq!(app.count(), 2);
}

#[tokio::test]
async fn a_push_that_its_sender_gives_up_may_come_again() {
    let app = App::start().await;
    let world = world(&app, "safe", "").await;
    app.next([Then::Waits]);
    let first = Wechat::of(&world).sealed(&message(false, 1), "");
    let first = first.to(&world).begin().await;
    until("the first has arrived", || app.count() == 1).await;
    drop(first);
    let again = async { while push(&world, 1).await.status != 200 {} };
    tokio::time::timeout(STUCK, again).await.unwrap();
    assert_eq!(app.count(), 2);
}

#[tokio::test]
async fn an_immediate_answer_waits_for_nobody_and_every_push_arrives_once() {
    let app = App::start().await;
    let world = world(&app, "safe", "ack = \"immediate\"").await;
    app.next([Then::Waits]);
    for _ in 0..3 {
        pushed_well(&world, 1).await;
    }
    until("it has arrived", || app.count() == 1).await;
    app.go_on();
    pushed_well(&world, 2).await;
    until("the second has arrived", || app.count() == 2).await;
    pushed_well(&world, 1).await;
    pushed_well(&world, 2).await;
    // What comes after them has come: had they been delivered again, they would have come first.
    pushed_well(&world, 3).await;
    until("the third has arrived", || app.count() >= 3).await;
    assert_eq!(app.count(), 3);
}

#[tokio::test]
async fn after_an_immediate_answer_the_gate_repeats_what_was_not_taken() {
    let app = App::not_yet().await;
    let world = world(&app, "safe", "ack = \"immediate\"").await;
    app.next([Then::Says(FAILS), Then::SaysAndCloses(BREAKS_OFF)]);
    pushed_well(&world, 1).await;
    app.listen().await;
    until("it was repeated until it was taken", || app.count() == 3).await;
    let arrived = app.arrived();
    assert!(arrived.iter().all(|it| it.body == message(false, 1)));
    let ids: Vec<_> = arrived.iter().map(|it| it.header("x-request-id")).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    pushed_well(&world, 1).await;
    assert_eq!(app.count(), 3);
}

/// WeChat was told that it was taken, and will not repeat it.
#[tokio::test]
async fn a_stop_right_after_an_immediate_answer_loses_no_push() {
    let app = App::start().await;
    app.next([Then::Says(FAILS), Then::Waits]);
    let mut gate = Gate::start(setup(&app, "safe", "ack = \"immediate\"")).await;
    let pushed = Wechat::at(&Clock::System).sealed(&message(false, 1), "");
    let answer = pushed.to_address(gate.address).send().await;
    assert_eq!((answer.status, &*answer.text()), (200, "success"));
    gate.program.signal("TERM").await;
    gate.program.line("draining").await;
    // The first try failed; the second comes a second later, to a gate that nobody is connected to.
    until("it is tried again", || app.count() == 2).await;
    app.go_on();
    assert_eq!(gate.program.ended().await, 0);
    let said = gate.program.said();
    assert!(!said.contains("push lost"), "{said}");
    assert!(app.arrived().iter().all(|it| it.body == message(false, 1)));
}

//! Whoever waits for room or for a window: in what order they go on, and that nothing is kept of those
//! that are over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;

use crate::server::http2::frame::{Half, Kind};
use crate::server::http2::mux::Mux;
use crate::server::http2::past::End;
use crate::server::http2::window::INITIAL;

/// One that waits, and counts how often it is woken.
#[derive(Debug, Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Task {
    fn woken(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn tasks(count: usize) -> Vec<(Arc<Task>, Waker)> {
    let task = |_| {
        let task = Arc::<Task>::default();
        (Arc::clone(&task), Waker::from(task))
    };
    (0..count).map(task).collect()
}

fn woken(tasks: &[(Arc<Task>, Waker)]) -> Vec<usize> {
    tasks.iter().map(|(task, _)| task.woken()).collect()
}

/// A connection with nothing to write, whose client has not opened its window again.
fn shut() -> Mux {
    let mux = Mux::new();
    let stream = mux.open(1, Half::Closed, None);
    let all = vec![0; usize::try_from(INITIAL).unwrap()];
    mux.send(&stream, Bytes::from(all), true);
    mux.close(1, End::Closed);
    written(&mux);
    mux
}

fn written(mux: &Mux) {
    let mut context = Context::from_waker(Waker::noop());
    let mut out = mux.out.borrow_mut();
    let written = out.poll_write(&mut tokio::io::sink(), &mut context);
    assert!(matches!(written, Poll::Ready(Ok(()))));
}

fn full() -> Mux {
    let mux = Mux::new();
    while mux.out.borrow().has_room() {
        mux.out.borrow_mut().add(Kind::Ping, 0, 0, &[0; 8]);
    }
    mux
}

#[test]
fn a_stream_that_is_over_waits_for_nothing_and_leaves_no_memory_behind() {
    for mux in [full(), shut()] {
        for id in (3..2003).step_by(2) {
            let (task, waker) = tasks(1).remove(0);
            let context = Context::from_waker(&waker);
            let stream = mux.open(id, Half::Closed, None);
            assert!(stream.poll_gone(&context).is_pending());
            assert!(mux.poll_window(&stream, 100, &context).is_pending());
            mux.close(id, End::Closed);
            drop((stream, waker));
            assert_eq!(Arc::strong_count(&task), 1, "stream {id}");
        }
    }
}

#[test]
fn large_answers_that_go_on_and_on_do_not_starve_a_small_one() {
    let mux = shut();
    let small = tasks(1);
    let stream = mux.open(3, Half::Closed, None);
    let context = Context::from_waker(&small[0].1);
    assert!(mux.poll_window(&stream, 10, &context).is_pending());
    let large = tasks(4);
    for (_, waker) in &large {
        assert!(mux.give_way(&Context::from_waker(waker)));
    }
    mux.open_window(1_000_000).unwrap();
    assert!(mux.wake_waiting());
    assert_eq!(woken(&small), [1]);
    assert_eq!(woken(&large), [1, 1, 1, 0]);
}

#[test]
fn no_more_are_woken_than_the_window_has_bytes_for() {
    let mux = shut();
    let stream = mux.open(3, Half::Closed, None);
    let for_window = tasks(3);
    for (_, waker) in &for_window {
        let context = Context::from_waker(waker);
        assert!(mux.poll_window(&stream, 10, &context).is_pending());
    }
    assert!(!mux.wake_waiting());
    mux.open_window(1).unwrap();
    let for_room = tasks(4);
    for (_, waker) in &for_room {
        assert!(mux.give_way(&Context::from_waker(waker)));
    }
    assert!(mux.wake_waiting());
    assert_eq!(woken(&for_window), [1, 0, 0]);
    assert_eq!(woken(&for_room), [1, 1, 1, 0]);
}

#[test]
fn nobody_is_woken_while_there_is_no_room() {
    let mux = full();
    let stream = mux.open(3, Half::Closed, None);
    let waiting = tasks(1);
    let context = Context::from_waker(&waiting[0].1);
    assert!(mux.poll_window(&stream, 10, &context).is_pending());
    assert!(!mux.wake_waiting());
    written(&mux);
    assert!(mux.wake_waiting());
    assert_eq!(woken(&waiting), [1]);
}

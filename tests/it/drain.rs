//! SIGTERM: what was begun is finished, nothing is lost, and whoever is in a hurry says it twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::app::until;
use crate::support::events::Events;
use crate::support::process::Gate;
use crate::support::raw::{Answer, Connection, Request};
use crate::support::{STUCK, Setup, pattern};

/// What the clients of a gate that is being stopped know of the moment.
#[derive(Clone, Default)]
struct Moment {
    /// Set just before the signal is sent.
    ordered: Arc<OnceLock<Instant>>,
    answered: Arc<AtomicUsize>,
}

impl Moment {
    /// Sends a request; gives its answer. `None` when it was sent too late and not answered; fails
    /// when one that was sent in time is not answered whole.
    async fn ask(
        &self,
        connection: &mut Connection,
        request: &Request,
        grace: Duration,
    ) -> Option<Answer> {
        connection.write(&request.bytes()).await;
        let in_time = self.ordered.get().is_none_or(|at| at.elapsed() < grace);
        let answer = connection.try_answer("GET").await;
        if in_time {
            let answer = answer.as_ref().expect("a request was lost");
            assert_eq!((answer.status, answer.whole), (200, true), "{answer:?}");
        }
        self.answered.fetch_add(1, Ordering::SeqCst);
        answer
    }
}

/// For so long a kept connection still takes a request that was on its way when the signal came:
/// half of what the gate allows, for a machine that is busy.
const LINGER: Duration = Duration::from_millis(250);

/// Requests on one connection, one after the other, until it is closed.
async fn keep_alive(request: Request, moment: Moment) {
    let mut connection = Connection::open(request.to()).await;
    while let Some(answer) = moment.ask(&mut connection, &request, LINGER).await {
        if answer.header("connection") == Some("close") {
            connection.closed().await;
            return;
        }
    }
}

/// Requests on a connection each, until nobody listens.
async fn one_shot(request: Request, moment: Moment) {
    while let Some(mut connection) = Connection::try_open(request.to()).await {
        if moment
            .ask(&mut connection, &request, Duration::ZERO)
            .await
            .is_none()
        {
            return;
        }
    }
}

#[tokio::test]
async fn a_stop_under_load_loses_nothing_that_was_begun() {
    const LARGE: usize = 20 * 1024 * 1024;
    let mut gate = Gate::start(Setup::default()).await;
    let token = gate.login("alice").await;
    let moment = Moment::default();

    let mut uploads = Vec::new();
    for _ in 0..4 {
        let request = gate.request("POST", "/upload").bearer(&token);
        let mut upload = request.header("Content-Length", "8").begin().await;
        upload.write(b"half").await;
        uploads.push(upload);
    }
    until("the uploads have begun", || gate.app.received() == 16).await;
    let large = gate.get(&format!("/pattern/{LARGE}")).bearer(&token);
    let mut download = large.begin().await;
    assert_eq!(download.head().await.unwrap().0, 200);

    let mut clients = JoinSet::new();
    for _ in 0..6 {
        let request = gate.get("/page").bearer(&token);
        clients.spawn(keep_alive(request.clone(), moment.clone()));
        clients.spawn(one_shot(request, moment.clone()));
    }
    let answered = Arc::clone(&moment.answered);
    until("all are busy", || answered.load(Ordering::SeqCst) > 300).await;
    moment.ordered.set(Instant::now()).unwrap();
    gate.program.signal("TERM").await;
    gate.program.line("\"draining\"").await;

    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    for upload in &mut uploads {
        upload.write(b"done").await;
        let answer = upload.answer().await;
        assert_eq!(answer.text(), "POST /upload 8 bytes");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    let mut at = 0;
    while at < LARGE {
        let piece = download.piece().await;
        assert!(!piece.is_empty(), "the download ended after {at} bytes");
        assert!(pattern::is_at(at, &piece), "wrong bytes after {at}");
        at += piece.len();
    }
    assert_eq!(gate.program.ended().await, 0);
    let said = gate.program.said();
    assert!(said.contains("\"stopped\""), "{said}");
    assert!(!said.contains("after drain_timeout"), "{said}");
}

#[tokio::test]
async fn a_kept_connection_takes_the_request_that_was_on_its_way_and_then_closes() {
    // On a machine that is busy with other tests the request may be too late; not every time.
    for _ in 0..5 {
        let gate = Gate::start(Setup::default()).await;
        let token = gate.login("alice").await;
        let request = gate.get("/page").bearer(&token);
        let mut kept = request.clone().begin().await;
        assert_eq!(kept.answer().await.header("connection"), None);
        let begun = Instant::now();
        gate.program.signal("TERM").await;
        gate.program.line("\"draining\"").await;
        kept.write(&request.bytes()).await;
        if let Some(answer) = kept.try_answer("GET").await {
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("connection"), Some("close"));
            return kept.closed().await;
        }
        assert!(begun.elapsed() > LINGER, "closed at once");
    }
    panic!("never taken");
}

#[tokio::test]
async fn a_request_of_which_half_has_come_is_answered_however_slow_its_client_is() {
    let mut gate = Gate::start(Setup::default()).await;
    let token = gate.login("alice").await;
    let request = gate.get("/page").bearer(&token).bytes();
    let (half, rest) = request.split_at(20);
    let mut fresh = Connection::open(gate.address).await;
    let mut kept = Connection::open(gate.address).await;
    kept.write(&request).await;
    assert_eq!(kept.answer().await.status, 200);
    for connection in [&mut fresh, &mut kept] {
        connection.write(half).await;
    }
    gate.program.signal("TERM").await;
    gate.program.line("\"draining\"").await;
    // Longer than connections without a request are kept.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for connection in [&mut fresh, &mut kept] {
        connection.write(rest).await;
        let answer = connection.answer().await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("connection"), Some("close"));
    }
    assert_eq!(gate.program.ended().await, 0);
}

#[tokio::test]
async fn an_idle_gate_stops_at_once_whatever_connections_are_kept() {
    let mut gate = Gate::start(Setup::default()).await;
    let request = gate.get("/me");
    let mut kept = Connection::open(gate.address).await;
    kept.write(&request.bytes()).await;
    assert_eq!(kept.answer().await.status, 401);
    let mut silent = Connection::open(gate.address).await;
    let begun = Instant::now();
    gate.program.signal("TERM").await;
    kept.closed().await;
    silent.closed().await;
    assert_eq!(gate.program.ended().await, 0);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn an_interrupt_stops_as_well() {
    let mut gate = Gate::start(Setup::default()).await;
    gate.program.signal("INT").await;
    assert_eq!(gate.program.ended().await, 0);
    assert!(gate.program.said().contains("\"stopped\""));
}

#[tokio::test]
async fn a_second_signal_stops_at_once_while_a_stream_hangs() {
    let mut gate = Gate::start(Setup::default()).await;
    let token = gate.login("alice").await;
    let mut events = Events::open(gate.get("/events").bearer(&token)).await;
    gate.program.signal("TERM").await;
    gate.program.line("\"draining\"").await;
    gate.app.emit("still there");
    assert_eq!(events.next().await, "still there");
    let begun = Instant::now();
    gate.program.signal("TERM").await;
    events.broken_within_a_second().await;
    assert_eq!(gate.program.ended().await, 0);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    let said = gate.program.said();
    assert!(said.contains("\"stopped\""), "{said}");
}

#[tokio::test]
async fn a_stream_that_never_ends_is_cut_when_the_time_to_drain_is_over() {
    let setup = Setup {
        server: "drain_timeout = \"300ms\"".to_owned(),
        ..Setup::default()
    };
    let mut gate = Gate::start(setup).await;
    let token = gate.login("alice").await;
    let events = Events::open(gate.get("/events").bearer(&token)).await;
    gate.program.signal("TERM").await;
    gate.program.line("after drain_timeout").await;
    events.broken_within_a_second().await;
    assert_eq!(gate.program.ended().await, 0);
}

/// Over HTTP/1.0 nothing but the end of the connection ends a stream, so a clean end would say that it
/// was whole.
#[tokio::test]
async fn a_stream_over_http1_0_that_is_cut_does_not_end_cleanly() {
    let setup = Setup {
        server: "drain_timeout = \"300ms\"".to_owned(),
        ..Setup::default()
    };
    let gate = Gate::start(setup).await;
    let token = gate.login("alice").await;
    let mut connection = Connection::open(gate.address).await;
    let request =
        format!("GET /events HTTP/1.0\r\nHost: g\r\nAuthorization: Bearer {token}\r\n\r\n");
    connection.write(request.as_bytes()).await;
    assert_eq!(connection.head().await.unwrap().0, 200);
    gate.program.signal("TERM").await;
    let mut rest = Vec::new();
    let end = tokio::time::timeout(STUCK, connection.socket.read_to_end(&mut rest)).await;
    end.expect("stuck").expect_err("a clean end");
}

#[tokio::test]
async fn a_gate_that_waits_to_be_forgotten_is_red_and_serves() {
    let setup = Setup {
        server: "drain_delay = \"1h\"".to_owned(),
        ..Setup::default()
    };
    let mut gate = Gate::start(setup).await;
    let token = gate.login("alice").await;
    assert_eq!(gate.ask_admin("/readyz").await.status, 200);
    gate.program.signal("TERM").await;
    gate.program.line("\"draining\"").await;
    assert_eq!(gate.ask_admin("/readyz").await.status, 503);
    assert_eq!(gate.ask_admin("/healthz").await.status, 200);
    let answer = gate.get("/page").bearer(&token).send().await;
    assert_eq!((answer.status, answer.header("connection")), (200, None));
    gate.program.signal("TERM").await;
    assert_eq!(gate.program.ended().await, 0);
}

#[tokio::test]
async fn a_gate_that_has_waited_to_be_forgotten_drains_and_stops_by_itself() {
    let setup = Setup {
        server: "drain_delay = \"500ms\"".to_owned(),
        ..Setup::default()
    };
    let mut gate = Gate::start(setup).await;
    let token = gate.login("alice").await;
    let upload = gate.request("POST", "/upload").bearer(&token);
    let mut upload = upload.header("Content-Length", "8").begin().await;
    upload.write(b"half").await;
    until("the upload has begun", || gate.app.received() == 4).await;
    gate.program.signal("TERM").await;
    gate.program.line("\"draining\"").await;
    // Until nobody listens any more.
    while let Some(mut connection) = Connection::try_open(gate.address).await {
        connection.write(&gate.get("/me").bytes()).await;
        drop(connection.try_answer("GET").await);
    }
    upload.write(b"done").await;
    assert_eq!(upload.answer().await.text(), "POST /upload 8 bytes");
    assert_eq!(gate.program.ended().await, 0);
}

#[tokio::test]
async fn a_gate_without_a_free_place_still_tells_its_clients_to_leave() {
    let setup = Setup {
        server: "workers = 1\nlimits.max_connections = 2".to_owned(),
        ..Setup::default()
    };
    let gate = Gate::start(setup).await;
    let token = gate.login("alice").await;
    let mut events = Events::open(gate.get("/events").bearer(&token)).await;
    let upload = gate.request("POST", "/upload").bearer(&token);
    let mut busy = upload.header("Content-Length", "8").begin().await;
    busy.write(b"half").await;
    until("the upload has begun", || gate.app.received() == 4).await;
    let _waiting = gate.get("/page").bearer(&token).begin().await;
    // Time for the gate to see the one that waits, and then for its workers to hear of the end.
    for order in [None, Some("TERM")] {
        if let Some(signal) = order {
            gate.program.signal(signal).await;
            gate.program.line("\"draining\"").await;
        }
        for count in 0..20 {
            gate.app.emit(&count.to_string());
            assert_eq!(events.next().await, count.to_string());
        }
    }
    busy.write(b"done").await;
    let answer = busy.answer().await;
    assert_eq!(answer.text(), "POST /upload 8 bytes");
    assert_eq!(answer.header("connection"), Some("close"));
    gate.app.emit("still there");
    assert_eq!(events.next().await, "still there");
}

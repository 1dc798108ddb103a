//! A request that may have reached the app server is never sent twice. GET, HEAD and OPTIONS without
//! a body, on a kept connection that ends before any byte of an answer, are sent once more on a new
//! one; any other request only when no byte of it was written.

use std::sync::Arc;

use parking_lot::Mutex;
use socket2::SockRef;

use crate::support::World;
use crate::support::app::{Seen, until};
use crate::support::played::Played;
use crate::support::raw::Request;
use crate::support::reader::Reader;

/// How a kept connection fails the second request that it carries.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// It has ended before the request comes.
    Stale,
    /// It ends when the head of the request has come.
    Ends,
    /// The same, by a reset.
    Resets,
    /// It ends within the first line of an answer.
    Begins,
    /// It ends after an interim answer.
    Hints,
}

/// What arrived, with the number of the connection.
type Arrived = Arc<Mutex<Vec<(usize, Seen)>>>;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// To HEAD as well.
const EMPTY: &str = "HTTP/1.1 204 No Content\r\n\r\n";

/// Answers the first request, and fails the next one.
async fn fail_second(mut reader: Reader, fault: Fault, arrived: &Arrived) {
    let first = reader.head().await.unwrap();
    arrived.lock().push((0, first));
    reader.say(OK).await;
    if fault == Fault::Stale {
        return reader.linger().await;
    }
    let Some(second) = reader.head().await else {
        return;
    };
    arrived.lock().push((0, second));
    match fault {
        Fault::Stale => {}
        Fault::Ends => reader.linger().await,
        Fault::Resets => {
            let reset = Some(std::time::Duration::ZERO);
            SockRef::from(&reader.socket).set_linger(reset).unwrap();
        }
        Fault::Begins => {
            reader.say("HTTP/1.1 2").await;
            reader.linger().await;
        }
        Fault::Hints => {
            let hint = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
            reader.say(hint).await;
            reader.linger().await;
        }
    }
}

/// Answers everything.
async fn answer(mut reader: Reader, number: usize, arrived: &Arrived) {
    while let Some(mut seen) = reader.head().await {
        if !reader.body(&mut seen).await {
            return;
        }
        arrived.lock().push((number, seen));
        reader.say(EMPTY).await;
    }
}

/// A gate whose first connection to the app server is kept, and will fail.
async fn with_kept(fault: Fault) -> (World, Played, Arrived) {
    let arrived = Arrived::default();
    let to = Arc::clone(&arrived);
    let app = Played::start(move |number, reader| {
        let arrived = Arc::clone(&to);
        async move {
            if number == 0 {
                fail_second(reader, fault, &arrived).await;
            } else {
                answer(reader, number, &arrived).await;
            }
        }
    });
    let app = app.await;
    let world = app.setup("workers = 1", "").start().await;
    assert_eq!(world.get("/first").send().await.status, 200);
    // The end of a connection is known to a worker that has been through other things since.
    for _ in 0..3 {
        assert_eq!(world.get("/wx/session").send().await.status, 401);
    }
    (world, app, arrived)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Body {
    None,
    Empty,
    Short,
    Long,
    Chunked,
}

fn with_body(request: Request, body: Body) -> Request {
    match body {
        Body::None => request,
        Body::Empty => request.header("Content-Length", "0"),
        Body::Short => request.body("hello"),
        Body::Long => request.body(vec![b'x'; 300_000]),
        Body::Chunked => request
            .header("Transfer-Encoding", "chunked")
            .body("5\r\nhello\r\n0\r\n\r\n"),
    }
}

/// Sends the request over the connection that fails; it must be `repeated` or come to nothing.
async fn check(fault: Fault, (method, body): (&str, Body), repeated: bool) {
    let (world, app, arrived) = with_kept(fault).await;
    let request = with_body(world.request(method, "/second"), body);
    let answer = request.send().await;
    let row = format!("{method} {body:?} {fault:?}: {answer:?}");
    let arrived = arrived.lock();
    let on: Vec<_> = arrived[1..].iter().map(|(number, _)| *number).collect();
    let first_try: &[usize] = if fault == Fault::Stale { &[] } else { &[0] };
    if repeated {
        assert_eq!(answer.status, 204, "{row}");
        assert_eq!(on, [first_try, &[1]].concat(), "{row}");
        let (_, last) = &arrived[arrived.len() - 1];
        let sent = match body {
            Body::None | Body::Empty => 0,
            Body::Short | Body::Chunked => 5,
            Body::Long => 300_000,
        };
        assert_eq!((&*last.method, last.body_length), (method, sent), "{row}");
    } else {
        assert_eq!(
            (answer.status, &*answer.problem()),
            (502, "upstream_failed")
        );
        assert_eq!(on, first_try, "{row}");
        assert_eq!(app.accepted(), 1, "{row}");
    }
}

const SAFE: [&str; 3] = ["GET", "HEAD", "OPTIONS"];
const OTHERS: [&str; 6] = ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"];

#[tokio::test]
async fn any_request_takes_a_new_connection_when_the_kept_one_has_ended_before() {
    for method in SAFE.into_iter().chain(OTHERS) {
        check(Fault::Stale, (method, Body::None), true).await;
    }
    for body in [Body::Empty, Body::Short, Body::Long, Body::Chunked] {
        check(Fault::Stale, ("POST", body), true).await;
        check(Fault::Stale, ("GET", body), true).await;
    }
}

#[tokio::test]
async fn only_a_request_that_asks_and_carries_nothing_is_sent_again() {
    for fault in [Fault::Ends, Fault::Resets] {
        for method in SAFE {
            check(fault, (method, Body::None), true).await;
        }
        // Not HEAD, which is answered without a problem document.
        for method in ["GET", "OPTIONS"] {
            check(fault, (method, Body::Short), false).await;
            check(fault, (method, Body::Long), false).await;
            check(fault, (method, Body::Chunked), false).await;
        }
        for method in OTHERS {
            check(fault, (method, Body::None), false).await;
        }
        for body in [Body::Empty, Body::Short, Body::Long, Body::Chunked] {
            check(fault, ("POST", body), false).await;
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_again_once_an_answer_has_begun() {
    for fault in [Fault::Begins, Fault::Hints] {
        for method in ["GET", "OPTIONS", "POST"] {
            check(fault, (method, Body::None), false).await;
        }
        check(fault, ("POST", Body::Short), false).await;
    }
}

#[tokio::test]
async fn a_handshake_is_never_sent_again() {
    let (world, app, arrived) = with_kept(Fault::Ends).await;
    let handshake = world
        .get("/socket")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let answer = handshake.send().await;
    assert_eq!(
        (answer.status, &*answer.problem()),
        (502, "upstream_failed")
    );
    assert_eq!((arrived.lock().len(), app.accepted()), (2, 1));
}

/// Answers one request, and fails the next one if it is one of the first two connections.
async fn fail_once_kept(mut reader: Reader, number: usize, arrived: &Arrived) {
    for served in 0.. {
        let Some(seen) = reader.head().await else {
            return;
        };
        let together = seen.target == "/together";
        arrived.lock().push((number, seen));
        if number < 2 && served > 0 {
            return;
        }
        // Two are under way before either is answered.
        let all = || !together || arrived.lock().len() >= 2;
        until("the other one is there", all).await;
        reader.say(OK).await;
    }
}

#[tokio::test]
async fn a_request_is_sent_again_on_a_new_connection_and_not_on_another_kept_one() {
    let arrived = Arrived::default();
    let to = Arc::clone(&arrived);
    let play = move |number, reader| {
        let arrived = Arc::clone(&to);
        async move { fail_once_kept(reader, number, &arrived).await }
    };
    let app = Played::start(play).await;
    let world = app.setup("workers = 1", "").start().await;
    let together = || world.get("/together").send();
    let (one, other) = tokio::join!(together(), together());
    assert_eq!((one.status, other.status), (200, 200));
    assert_eq!(app.accepted(), 2);
    assert_eq!(world.get("/again").send().await.status, 200);
    let arrived = arrived.lock();
    let on: Vec<_> = arrived[2..].iter().map(|(number, _)| *number).collect();
    assert!(matches!(on[..], [0 | 1, 2]), "{on:?}");
}

//! What is sent again over HTTP/2, and what never is.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::open_to_all;
use crate::support::app::until;
use crate::support::h2_played::{
    END_HEADERS, HEADERS, INTERNAL_ERROR, NO_ERROR, Played, REFUSED_STREAM, Stage,
};
use crate::support::raw::{Answer, Connection};

/// What the app server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Answers `served`.
    Serve,
    /// Says that it did nothing with this one.
    Refuse,
    /// Says that it goes away, and did nothing with this one or later ones.
    GoAway,
    /// Says that it goes away after this one, and answers it.
    GoAwayAfter,
    /// Says that it goes away after this one, and closes.
    GoAwayAndClose,
    /// Closes, and says nothing.
    Close,
    /// Closes after an interim answer.
    CloseAfterInterim,
    /// Says that it did nothing with this one, after an interim answer that it did.
    RefuseAfterInterim,
    /// Says that something went wrong with this one.
    Fail,
}

/// `:status 103`, written out.
const INTERIM: &[u8] = b"\x08\x03103";

/// An app server that does so with its first requests, and serves all others.
#[derive(Clone)]
struct App {
    address: SocketAddr,
    /// Over which connection each request came.
    asked: Arc<Mutex<Vec<usize>>>,
    _stop: Arc<DropGuard>,
}

impl App {
    async fn start(acts: &'static [Act]) -> Self {
        let stage = Stage::open().await;
        let stop = CancellationToken::new();
        let app = Self {
            address: stage.address(),
            asked: Arc::default(),
            _stop: Arc::new(stop.clone().drop_guard()),
        };
        let asked = Arc::clone(&app.asked);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            for number in 0.. {
                let connection = stage.accept().await;
                let serving = serve(connection, (number, Arc::clone(&asked)), acts);
                tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
            }
        }));
        app
    }

    fn asked(&self) -> Vec<usize> {
        self.asked.lock().clone()
    }
}

async fn serve(
    mut app: Played,
    (number, asked): (usize, Arc<Mutex<Vec<usize>>>),
    acts: &'static [Act],
) {
    app.meet().await;
    while let Some(head) = app.next(&[HEADERS]).await {
        let stream = head.stream;
        let nth = asked.lock().len();
        asked.lock().push(number);
        match acts.get(nth).unwrap_or(&Act::Serve) {
            Act::Serve => app.answer(stream, "served").await,
            Act::Refuse => app.reset(stream, REFUSED_STREAM).await,
            Act::GoAway => app.go_away(stream - 1, NO_ERROR).await,
            Act::GoAwayAfter => {
                app.go_away(stream, NO_ERROR).await;
                app.answer(stream, "served").await;
            }
            Act::GoAwayAndClose => return app.go_away(stream, NO_ERROR).await,
            Act::Close => return,
            Act::CloseAfterInterim => {
                return app.send(HEADERS, END_HEADERS, stream, INTERIM).await;
            }
            Act::RefuseAfterInterim => {
                app.send(HEADERS, END_HEADERS, stream, INTERIM).await;
                app.reset(stream, REFUSED_STREAM).await;
            }
            Act::Fail => app.reset(stream, INTERNAL_ERROR).await,
        }
    }
}

/// Sends requests one after the other; gives the last answer, and over which connections the app
/// server was asked.
async fn ask(acts: &'static [Act], requests: &[&str]) -> (Answer, Vec<usize>) {
    let app = App::start(acts).await;
    let world = open_to_all(format!("http://{}", app.address), "")
        .start()
        .await;
    let mut connection = Connection::open(world.address()).await;
    let mut last = None;
    for request in requests {
        let (method, rest) = request.split_once(' ').unwrap();
        let (target, body) = rest.split_once(' ').unwrap_or((rest, ""));
        connection
            .write(&world.request(method, target).body(body).bytes())
            .await;
        last = Some(connection.answer_to(method).await);
    }
    (last.unwrap(), app.asked())
}

#[track_caller]
fn has_failed(answer: &Answer) {
    answer.is_refused(502, "upstream_failed", "retry");
}

#[tokio::test]
async fn a_request_that_failed_in_any_other_way_is_never_sent_again() {
    for request in ["GET /a", "POST /a hello", "DELETE /a", "GET /a hello"] {
        // On a connection that has carried nothing before.
        for acts in [
            &[Act::Fail][..],
            &[Act::Close],
            &[Act::GoAwayAndClose],
            &[Act::CloseAfterInterim],
            &[Act::RefuseAfterInterim],
        ] {
            let (answer, asked) = ask(acts, &[request]).await;
            has_failed(&answer);
            assert_eq!(asked, [0], "{acts:?} {request}");
        }
        // On one that has.
        for acts in [
            &[Act::Serve, Act::Fail][..],
            &[Act::Serve, Act::CloseAfterInterim],
        ] {
            let (answer, asked) = ask(acts, &["GET /b", request]).await;
            has_failed(&answer);
            assert_eq!(asked, [0, 0], "{acts:?} {request}");
        }
    }
}

#[tokio::test]
async fn what_may_have_had_effects_is_not_sent_again_when_a_kept_connection_closes() {
    for request in ["POST /a hello", "DELETE /a", "PUT /a x", "GET /a hello"] {
        for acts in [
            &[Act::Serve, Act::Close][..],
            &[Act::Serve, Act::GoAwayAndClose],
        ] {
            let (answer, asked) = ask(acts, &["GET /b", request]).await;
            has_failed(&answer);
            assert_eq!(asked, [0, 0], "{acts:?} {request}");
        }
    }
}

#[tokio::test]
async fn what_has_no_effects_is_sent_once_more_when_a_kept_connection_closes() {
    for request in ["GET /a", "HEAD /a", "OPTIONS /a"] {
        for acts in [
            &[Act::Serve, Act::Close][..],
            &[Act::Serve, Act::GoAwayAndClose],
        ] {
            let (answer, asked) = ask(acts, &["GET /b", request]).await;
            assert_eq!((answer.status, asked), (200, vec![0, 0, 1]), "{request}");
        }
    }
    let acts = &[Act::Serve, Act::Close, Act::Close];
    let (answer, asked) = ask(acts, &["GET /b", "GET /a"]).await;
    has_failed(&answer);
    assert_eq!(asked, [0, 0, 1]);
}

#[tokio::test]
async fn what_the_app_did_nothing_with_is_sent_once_more() {
    for request in ["GET /a", "DELETE /a", "HEAD /a"] {
        for (acts, expected) in [(&[Act::Refuse][..], [0, 0]), (&[Act::GoAway], [0, 1])] {
            let (answer, asked) = ask(acts, &[request]).await;
            assert_eq!((answer.status, &*asked), (200, &expected[..]), "{acts:?}");
        }
        for (acts, expected) in [
            (&[Act::Refuse, Act::Refuse][..], [0, 0]),
            (&[Act::GoAway, Act::GoAway], [0, 1]),
            (&[Act::Refuse, Act::GoAway], [0, 0]),
            (&[Act::GoAway, Act::Close], [0, 1]),
        ] {
            let (answer, asked) = ask(acts, &[request]).await;
            assert_eq!((answer.status, &*asked), (502, &expected[..]), "{acts:?}");
        }
    }
}

#[tokio::test]
async fn a_body_of_which_something_is_gone_is_not_sent_again() {
    for acts in [&[Act::Refuse][..], &[Act::GoAway]] {
        let (answer, asked) = ask(acts, &["POST /a hello"]).await;
        has_failed(&answer);
        assert_eq!(asked, [0], "{acts:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_still_to_come_goes_along_with_the_second_attempt() {
    for acts in [&[Act::Refuse][..], &[Act::GoAway]] {
        let app = App::start(acts).await;
        let world = open_to_all(format!("http://{}", app.address), "")
            .start()
            .await;
        let upload = world.post("/a").header("Content-Length", "5");
        let mut connection = upload.begin().await;
        until("the app is asked twice", || app.asked().len() == 2).await;
        connection.write(b"hello").await;
        assert_eq!(connection.answer().await.text(), "served");
        assert_eq!(app.asked().len(), 2);
    }
}

#[tokio::test]
async fn what_is_under_way_goes_on_when_the_app_goes_away_and_what_comes_later_goes_elsewhere() {
    let (answer, asked) = ask(&[Act::GoAwayAfter], &["POST /a hello", "POST /b hello"]).await;
    assert_eq!((&*answer.text(), asked), ("served", vec![0, 1]));
}

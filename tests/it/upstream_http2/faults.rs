//! App servers that fail over HTTP/2: nothing that was cut off is passed on as whole, and the log says
//! what it was.

use tokio_util::sync::CancellationToken;

use super::{open_to_all, start};
use crate::support::World;
use crate::support::app::AppServer;
use crate::support::certificates::Authority;
use crate::support::front::{Behind, Files, Front, Terms};
use crate::support::h2_played::{
    CANCEL, DATA, END_HEADERS, END_STREAM, HEADERS, INTERNAL_ERROR, NO_ERROR, OK, PING, Played,
    RST_STREAM, SETTINGS, Stage, frame,
};
use crate::support::process::Gate;
use crate::support::raw::{Answer, Connection, Request};

async fn before(stage: &Stage, upstream: &str) -> World {
    let url = format!("http://{}", stage.address());
    open_to_all(url, upstream).start().await
}

#[track_caller]
fn has_failed(answer: &Answer) {
    answer.is_refused(502, "upstream_failed", "retry");
    let detail = "the app server broke the protocol or the connection";
    assert!(answer.detail().starts_with(detail), "{answer:?}");
}

#[tokio::test]
async fn an_app_that_speaks_http_1_gets_no_request() {
    let stop = CancellationToken::new();
    let app = AppServer::start(stop.clone()).await;
    let gate = Gate::start(open_to_all(format!("http://{}", app.address), "")).await;
    let request = Request::new(gate.address, "POST", "/a").body("hello");
    has_failed(&request.send().await);
    let line = gate.program.line("app server broke the protocol").await;
    assert!(
        line.contains("what the app server speaks is not HTTP/2"),
        "{line}"
    );
    // It has seen how HTTP/2 begins, and no more.
    let targets: Vec<_> = app.seen().iter().map(|seen| seen.target.clone()).collect();
    assert_eq!(targets, ["*"]);
    stop.cancel();
}

#[tokio::test]
async fn an_app_that_does_not_choose_http_2_over_tls_gets_no_request() {
    let (authority, files) = (Authority::new(), Files::new());
    let stop = CancellationToken::new();
    let app = AppServer::start(stop.clone()).await;
    let lines = files.believe(&authority);
    let terms = Terms::with(&authority.vouch());
    let front = Front::start(terms, Behind::App(app.address)).await;
    let world = open_to_all(front.url(), &lines).start().await;
    has_failed(&world.get("/a").send().await);
    // One that says so is not connected to.
    let terms = Terms::with(&authority.vouch()).speaking(&["http/1.1"]);
    let front = Front::start(terms, Behind::App(app.address)).await;
    let world = open_to_all(front.url(), &lines).start().await;
    let answer = world.get("/a").send().await;
    answer.is_refused(502, "upstream_unreachable", "retry");
    assert_eq!(app.count(), 0);
    stop.cancel();
}

#[tokio::test]
async fn an_app_that_never_says_what_it_takes_gets_no_request() {
    let stage = Stage::open().await;
    let world = before(&stage, "connect_timeout = \"200ms\"").await;
    let silent = async {
        let mut played = stage.accept().await;
        let mut kinds = Vec::new();
        played.begun().await;
        while let Some(frame) = played.frame().await {
            kinds.push(frame.kind);
        }
        kinds
    };
    let (answer, kinds) = tokio::join!(world.post("/a").body("x").send(), silent);
    answer.is_refused(502, "upstream_unreachable", "retry");
    assert!(!kinds.contains(&HEADERS), "{kinds:?}");
    assert!(kinds.contains(&SETTINGS), "{kinds:?}");
}

/// What a client gets when the app answers its request like this.
async fn answer_of(play: impl AsyncFnOnce(&mut Played, u32)) -> Answer {
    let stage = Stage::open().await;
    let world = before(&stage, "").await;
    let playing = async {
        let mut played = stage.meet().await;
        let stream = played.request().await;
        play(&mut played, stream).await;
        played
    };
    let (answer, _played) = tokio::join!(world.get("/a").send(), playing);
    answer
}

#[tokio::test]
async fn a_request_that_is_reset_has_failed() {
    for code in [NO_ERROR, INTERNAL_ERROR, CANCEL] {
        has_failed(&answer_of(async |app, stream| app.reset(stream, code).await).await);
    }
}

#[tokio::test]
async fn an_answer_that_is_reset_in_its_middle_is_broken() {
    for code in [NO_ERROR, INTERNAL_ERROR, CANCEL] {
        let answer = answer_of(async |app, stream| {
            let head = frame(HEADERS, END_HEADERS, stream, OK);
            let data = frame(DATA, 0, stream, b"hello");
            let reset = frame(RST_STREAM, 0, stream, &code.to_be_bytes());
            app.write(&[head, data, reset].concat()).await;
        });
        let answer = answer.await;
        assert_eq!((answer.status, answer.whole), (200, false), "{code}");
        assert!("hello".starts_with(&answer.text()), "{answer:?}");
    }
}

#[tokio::test]
async fn an_answer_whose_connection_ends_in_its_middle_is_broken() {
    let stage = Stage::open().await;
    let world = before(&stage, "").await;
    let playing = async {
        let mut played = stage.meet().await;
        let stream = played.request().await;
        let head = frame(HEADERS, END_HEADERS, stream, OK);
        let data = frame(DATA, 0, stream, b"hello");
        played.write(&[head, data].concat()).await;
    };
    let (answer, ()) = tokio::join!(world.get("/a").send(), playing);
    assert_eq!((answer.status, answer.whole), (200, false), "{answer:?}");
}

#[tokio::test]
async fn an_answer_that_is_whole_is_so_whatever_follows() {
    for code in [NO_ERROR, INTERNAL_ERROR] {
        let answer = answer_of(async |app, stream| {
            let head = frame(HEADERS, END_HEADERS, stream, OK);
            let data = frame(DATA, END_STREAM, stream, b"hello");
            let reset = frame(RST_STREAM, 0, stream, &code.to_be_bytes());
            app.write(&[head, data, reset].concat()).await;
        });
        let answer = answer.await;
        assert_eq!((answer.whole, &*answer.text()), (true, "hello"), "{code}");
    }
}

#[tokio::test]
async fn an_answer_before_the_end_of_an_upload_reaches_the_client() {
    let stage = Stage::open().await;
    let world = before(&stage, "").await;
    let playing = async {
        let mut app = stage.meet().await;
        for _ in 0..3 {
            // The whole answer, and then that nothing more is wanted (RFC 9113 §8.1).
            let stream = app.request().await;
            let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, OK);
            let reset = frame(RST_STREAM, 0, stream, &NO_ERROR.to_be_bytes());
            app.write(&[head, reset].concat()).await;
        }
        app
    };
    let uploads = async {
        for _ in 0..3 {
            let upload = world.post("/early").body(vec![b'x'; 300_000]).send().await;
            assert_eq!(upload.status, 200);
        }
    };
    let (_app, ()) = tokio::join!(playing, uploads);
}

#[tokio::test]
async fn an_answer_that_is_unclear_about_its_length_is_not_passed_on() {
    let (world, _app) = start("").await;
    has_failed(&world.get("/two-lengths").send().await);
    let short = world.get("/short").send().await;
    assert!(short.status == 502 || !short.whole, "{short:?}");
}

#[tokio::test]
async fn a_head_that_is_too_large_or_never_final_is_not_taken() {
    let (world, app) = start("").await;
    has_failed(&world.get("/interim/100").send().await);
    has_failed(&world.get("/large-head").send().await);
    assert_eq!(world.get("/a").send().await.status, 200);
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn frames_that_make_no_sense_end_the_connection_and_not_the_gate() {
    let stage = Stage::open().await;
    let world = before(&stage, "").await;
    let nonsense = [
        // Data for a stream that nobody opened, an answer without a status, a length that is wrong.
        frame(DATA, END_STREAM, 99, b"x"),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x86]),
        frame(PING, 0, 0, b"short"),
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
    ];
    for nonsense in nonsense {
        let playing = async {
            let mut played = stage.meet().await;
            played.request().await;
            played.write(&nonsense).await;
            played
        };
        let (answer, played) = tokio::join!(world.get("/a").send(), playing);
        has_failed(&answer);
        drop(played);
    }
    let playing = async {
        let mut played = stage.meet().await;
        let stream = played.request().await;
        played.answer(stream, "fine").await;
        played
    };
    let (answer, _played) = tokio::join!(world.get("/a").send(), playing);
    assert_eq!(answer.text(), "fine");
}

#[tokio::test]
async fn a_request_that_breaks_off_is_reset_and_nothing_is_said_to_be_its_end() {
    let stage = Stage::open().await;
    let world = before(&stage, "").await;
    let mut connection = world
        .post("/upload")
        .header("Content-Length", "9")
        .begin()
        .await;
    let mut played = stage.meet().await;
    played.request().await;
    connection.write(b"part").await;
    let data = played.next(&[DATA]).await.unwrap();
    assert_eq!((&*data.payload, data.flags), (&b"part"[..], 0));
    drop(connection);
    let reset = played.next(&[DATA, RST_STREAM]).await.unwrap();
    assert_eq!(reset.code(), CANCEL);
}

/// RFC 9110 §8.6: a client that believes the length waits for a body that never comes.
#[tokio::test]
async fn an_answer_without_content_says_no_length_whatever_the_app_says() {
    let stage = Stage::open().await;
    let world = before(&stage, "").await;
    let serving = tokio::spawn(async move {
        let mut app = stage.meet().await;
        for _ in 0..2 {
            let stream = app.request().await;
            // `:status 204` and `content-length: 0`, by their places in the static table.
            let head = [0x89, 0x0f, 0x0d, 1, b'0'];
            let flags = END_HEADERS | END_STREAM;
            app.send(HEADERS, flags, stream, &head).await;
        }
        app
    });
    let mut connection = Connection::open(world.address()).await;
    for _ in 0..2 {
        connection.write(&world.get("/a").bytes()).await;
        let answer = connection.answer().await;
        assert_eq!(
            (answer.status, answer.header("content-length")),
            (204, None)
        );
    }
    drop(serving.await.unwrap());
}

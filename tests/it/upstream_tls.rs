//! https to the app server: nobody else is taken for it, and nothing that was cut off for whole.

use rcgen::date_time_ymd;
use rustls::ProtocolVersion;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::app::{AppServer, until};
use crate::support::certificates::{Authority, Pair};
use crate::support::front::{Behind, Files, Front, Terms, vouch_for};
use crate::support::process::Gate;
use crate::support::raw::{Answer, Request};
use crate::support::{Setup, World};

/// A gate, and an app server that it reaches over TLS.
struct Place {
    world: World,
    front: Front,
    app: AppServer,
    _stop: DropGuard,
}

fn open_to_all(url: String, upstream: &str) -> Setup {
    Setup {
        server: "workers = 1".to_owned(),
        upstream: upstream.to_owned(),
        upstream_url: Some(url),
        ..Setup::with("[access]\ndefault = \"public\"")
    }
}

/// What one test needs: an authority, and what it vouches for.
struct Hall {
    authority: Authority,
    files: Files,
}

impl Hall {
    fn new() -> Self {
        Self {
            authority: Authority::new(),
            files: Files::new(),
        }
    }

    fn believe(&self) -> String {
        self.files.believe(&self.authority)
    }

    fn terms(&self) -> Terms {
        Terms::with(&self.authority.vouch())
    }

    /// The usual place with these terms, and these lines beside the authority that is believed.
    async fn open(&self, terms: Terms, lines: &str) -> Place {
        place(terms, &format!("{}{lines}", self.believe())).await
    }
}

async fn place(terms: Terms, lines: &str) -> Place {
    let stop = CancellationToken::new();
    let app = AppServer::start(stop.clone()).await;
    let front = Front::start(terms, Behind::App(app.address)).await;
    Place {
        world: open_to_all(front.url(), lines).start().await,
        front,
        app,
        _stop: stop.drop_guard(),
    }
}

#[track_caller]
fn is_unreachable(answer: &Answer) {
    answer.is_refused(502, "upstream_unreachable", "retry");
    let told = "the app server cannot be connected to";
    assert!(answer.detail().starts_with(told), "{answer:?}");
}

/// An app server with this certificate is not spoken to.
async fn is_not_believed(pair: &Pair, lines: &str) {
    let place = place(Terms::with(pair), lines).await;
    is_unreachable(&place.world.get("/a").send().await);
    let upload = place.world.post("/a").body(vec![b'x'; 300_000]);
    is_unreachable(&upload.send().await);
    until("the app server is told", || place.front.failed().len() == 2).await;
    assert_eq!((place.app.count(), place.app.connections()), (0, 0));
}

#[tokio::test]
async fn an_app_server_that_nobody_believed_vouches_for_is_not_spoken_to() {
    let (hall, other) = (Hall::new(), Authority::new());
    is_not_believed(&other.vouch(), &hall.believe()).await;
    // Nor without a file: the public authorities know nothing of it.
    is_not_believed(&hall.authority.vouch(), "").await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_that_of_the_app_server() {
    let hall = Hall::new();
    for names in [&["other.example"][..], &["127.0.0.2"], &["127.0.0.1"], &[]] {
        let pair = vouch_for(&hall.authority, names, |_params| {});
        is_not_believed(&pair, &hall.believe()).await;
    }
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_not_believed() {
    let hall = Hall::new();
    for (from, to) in [(2019, 2020), (2999, 3000)] {
        let pair = vouch_for(&hall.authority, &["localhost"], |params| {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(to, 1, 1);
        });
        is_not_believed(&pair, &hall.believe()).await;
    }
}

#[tokio::test]
async fn the_log_says_what_the_client_is_not_told() {
    let hall = Hall::new();
    let terms = Terms::with(&Authority::new().vouch());
    let front = Front::start(terms, Behind::Says("")).await;
    let gate = Gate::start(open_to_all(front.url(), &hall.believe())).await;
    let answer = Request::new(gate.address, "GET", "/a").send().await;
    is_unreachable(&answer);
    let line = gate
        .program
        .line("the app server cannot be connected to")
        .await;
    assert!(line.contains("invalid peer certificate"), "{line}");
}

#[tokio::test]
async fn an_address_is_believed_by_a_certificate_for_the_address_only() {
    let hall = Hall::new();
    for (names, status) in [(&["127.0.0.1"][..], 200), (&["localhost"], 502)] {
        let stop = CancellationToken::new();
        let app = AppServer::start(stop.clone()).await;
        let terms = Terms::with(&vouch_for(&hall.authority, names, |_params| {}));
        let front = Front::start(terms, Behind::App(app.address)).await;
        let url = format!("https://{}", front.address);
        let world = open_to_all(url, &hall.believe()).start().await;
        assert_eq!(world.get("/a").send().await.status, status, "{names:?}");
        assert!(front.met().iter().all(|met| met.name.is_none()));
        stop.cancel();
    }
}

#[tokio::test]
async fn an_app_server_that_asks_for_a_certificate_gets_no_request_without_the_right_one() {
    let (hall, other, files) = (Hall::new(), Authority::new(), Files::new());
    for lines in ["", &files.show(&other.vouch())] {
        let terms = || hall.terms().only_known_to(&hall.authority);
        for terms in [terms().only_tls12(), terms().only_tls13()] {
            let place = hall.open(terms, lines).await;
            assert_eq!(place.world.get("/a").send().await.status, 502, "{lines}");
            let upload = place.world.post("/a").body("x").send().await;
            assert_eq!(upload.status, 502, "{lines}");
            assert_eq!(place.app.connections(), 0, "{lines}");
        }
    }
    let lines = files.show(&hall.authority.vouch());
    let terms = hall.terms().only_known_to(&hall.authority);
    let place = hall.open(terms, &lines).await;
    assert_eq!(place.world.get("/a").send().await.text(), "GET /a 0 bytes");
    assert!(place.front.met()[0].with_certificate);
}

#[tokio::test]
async fn an_app_server_in_clear_text_is_not_one_over_tls() {
    let hall = Hall::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let world = open_to_all(url, &hall.believe()).start().await;
    let answering = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let clear = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        socket.write_all(clear).await.unwrap();
        socket
    };
    let (answer, _socket) = tokio::join!(world.get("/a").send(), answering);
    is_unreachable(&answer);
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_over_with_the_time_for_connecting() {
    let hall = Hall::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let lines = format!("{}connect_timeout = \"200ms\"", hall.believe());
    let world = open_to_all(url, &lines).start().await;
    let answer = world.get("/a").send().await;
    answer.is_refused(502, "upstream_unreachable", "retry");
    let late = "the app server did not take the connection in time";
    assert!(answer.detail().starts_with(late), "{answer:?}");
}

/// What a client gets of an answer that ends like this.
async fn answer_of(hall: &Hall, behind: Behind) -> Answer {
    let front = Front::start(hall.terms(), behind).await;
    let world = open_to_all(front.url(), &hall.believe()).start().await;
    world.get("/a").send().await
}

#[tokio::test]
async fn an_answer_that_was_cut_off_is_not_passed_on_as_whole() {
    const LENGTHLESS: &str = "HTTP/1.1 200 OK\r\n\r\nhello";
    let hall = Hall::new();
    for says in [
        LENGTHLESS,
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let answer = answer_of(&hall, Behind::SaysAndBreaks(says)).await;
        assert_eq!((answer.status, &*answer.text()), (200, "hello"), "{says}");
        assert!(!answer.whole, "{says}");
    }
    let answer = answer_of(&hall, Behind::SaysAndBreaks("HTTP/1.1 200 O")).await;
    answer.is_refused(502, "upstream_failed", "retry");
    // The end that is said is one.
    let answer = answer_of(&hall, Behind::Says(LENGTHLESS)).await;
    assert_eq!((answer.whole, &*answer.text()), (true, "hello"));
}

#[tokio::test]
async fn a_request_arrives_as_over_clear_text() {
    let hall = Hall::new();
    let stop = CancellationToken::new();
    let app = AppServer::start(stop.clone()).await;
    let terms = hall.terms().speaking(&["h2", "http/1.1"]);
    let front = Front::start(terms, Behind::App(app.address)).await;
    let setup = Setup {
        toml: String::new(),
        ..open_to_all(front.url(), &hall.believe())
    };
    let world = setup.start().await;
    let token = world.login("alice").await;
    for method in ["GET", "POST"] {
        let answer = world.request(method, "/me").bearer(&token).send().await;
        assert_eq!(answer.text(), format!("{method} /me 0 bytes"));
        assert_eq!(app.last().header("x-wx-openid"), [world.openid("alice")]);
    }
    // Over one connection, of which name and protocol were said.
    assert_eq!(app.last().nth, 1);
    let met = front.met();
    assert_eq!(met.len(), 1);
    assert_eq!(met[0].name.as_deref(), Some("localhost"));
    assert_eq!(met[0].protocol.as_deref(), Some("http/1.1"));
    assert_eq!(met[0].version, ProtocolVersion::TLSv1_3);
    stop.cancel();
}

#[tokio::test]
async fn a_session_of_tls_is_resumed_by_the_next_connection() {
    let hall = Hall::new();
    for (terms, version) in [
        (hall.terms().only_tls12(), ProtocolVersion::TLSv1_2),
        (hall.terms().only_tls13(), ProtocolVersion::TLSv1_3),
    ] {
        let place = hall.open(terms, "max_idle = 0").await;
        for _ in 0..3 {
            assert_eq!(place.world.get("/a").send().await.status, 200);
        }
        let met: Vec<_> = place.front.met();
        let resumed: Vec<_> = met.iter().map(|met| met.resumed).collect();
        assert_eq!(resumed, [false, true, true], "{version:?}");
        assert!(met.iter().all(|met| met.version == version), "{met:?}");
    }
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    const LENGTH: usize = 3_000_000;
    let hall = Hall::new();
    let place = hall.open(hall.terms(), "").await;
    let upload = place.world.post("/upload").body(vec![b'x'; LENGTH]);
    assert_eq!(
        upload.send().await.text(),
        format!("POST /upload {LENGTH} bytes")
    );
    let answer = place.world.get(&format!("/pattern/{LENGTH}")).send().await;
    assert_eq!((answer.whole, answer.body.len()), (true, LENGTH));
    assert!(crate::support::pattern::is_at(0, &answer.body));
}

#[tokio::test]
async fn a_websocket_opens_and_echoes() {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;

    let hall = Hall::new();
    let place = hall.open(hall.terms(), "").await;
    let url = format!("ws://{}/socket", place.world.address());
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(
        socket.next().await.unwrap().unwrap(),
        Message::text("hello")
    );
    socket.close(None).await.unwrap();
    until("the socket ends", || place.app.sockets() == 0).await;
}

#[tokio::test]
async fn a_request_without_effects_is_repeated_when_a_kept_connection_turns_out_closed() {
    let hall = Hall::new();
    let place = hall.open(hall.terms(), "").await;
    assert_eq!(place.world.get("/a").send().await.status, 200);
    assert_eq!(place.world.get("/hangup-reused").send().await.status, 200);
    assert_eq!((place.app.count(), place.front.met().len()), (3, 2));
    // What may have had effects is not.
    let answer = place.world.post("/hangup-reused").body("x").send().await;
    answer.is_refused(502, "upstream_failed", "retry");
    assert_eq!(place.app.count(), 4);
}

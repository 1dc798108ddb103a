//! Clients that send too slowly, take too slowly, or say nothing at all are let go of in time, with
//! all that they held, and nobody else notices.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::support::app::until;
use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, INITIAL_WINDOW_SIZE, PING,
    PREFACE, RST_STREAM, Reaction, block, frame, get, post, request, settings, window_update,
};
use crate::support::played::{Played, hold};
use crate::support::process::Gate;
use crate::support::raw::Connection;
use crate::support::reader::Reader;
use crate::support::{STUCK, Setup, World};

fn open_to_all(server: &str) -> Setup {
    Setup {
        server: server.to_owned(),
        // What is left open at the end is somebody's who should be gone.
        upstream: "max_idle = 0".to_owned(),
        ..Setup::with("[access]\ndefault = \"public\"")
    }
}

/// A gate as a program, and how many sockets it has when nobody is there.
async fn counted(setup: Setup) -> (Gate, usize) {
    let gate = Gate::start(setup).await;
    assert_eq!(gate.get("/a").send().await.status, 200);
    // Those of its listeners alone: the fewest of a while.
    let mut fewest = gate.program.sockets();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        fewest = fewest.min(gate.program.sockets());
    }
    (gate, fewest)
}

async fn nothing_is_left(gate: &Gate, before: usize) {
    let left = || gate.program.sockets() <= before;
    until("every socket is closed", left).await;
}

/// Sends a byte of this now and then, round and round, until the gate has had enough.
async fn trickle(mut socket: TcpStream, begin: &[u8], byte: &[u8]) {
    let (mut reading, mut writing) = socket.split();
    let sent = async {
        drop(writing.write_all(begin).await);
        while writing.write_all(byte).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let mut heard = Vec::new();
    let ended = async {
        tokio::select! {
            () = sent => {}
            _ = reading.read_to_end(&mut heard) => {}
        }
    };
    let ended = tokio::time::timeout(STUCK, ended).await;
    ended.expect("never closed");
}

/// Begins of heads that never end.
const BEGINS: [&[u8]; 4] = [
    b"",
    b"GET /a HT",
    b"GET /a HTTP/1.1\r\nHost: g\r\nX-A: ",
    // HTTP/2 has heads as well: a block that goes on and on, in a frame of its full size.
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\x40\0\x01\x05\0\0\0\x01",
];

/// Begins two hundred heads, which go on byte by byte until the gate has had enough.
async fn two_hundred_slow_heads(gate: &Gate) -> JoinSet<()> {
    let mut slow = JoinSet::new();
    for number in 0..200 {
        let socket = TcpStream::connect(gate.address).await.unwrap();
        slow.spawn(trickle(socket, BEGINS[number % BEGINS.len()], b"x"));
    }
    slow
}

#[tokio::test]
async fn two_hundred_heads_that_never_end_keep_nobody_from_being_served() {
    let (gate, before) = counted(open_to_all("limits.header_timeout = \"1h\"")).await;
    let mut slow = two_hundred_slow_heads(&gate).await;
    for _ in 0..50 {
        assert_eq!(gate.get("/a").send().await.status, 200);
        let mut frames = Frames::open(gate.address).await;
        frames.write(&get(1, "/a")).await;
        assert_eq!(frames.reaction(1).await, Reaction::Answered);
    }
    let held = gate.program.sockets() - before;
    assert!(held >= 200, "{held} sockets: some were cut");
    assert!(slow.try_join_next().is_none(), "some were cut");
    slow.shutdown().await;
    nothing_is_left(&gate, before).await;
}

#[tokio::test]
async fn two_hundred_heads_that_never_end_are_cut() {
    let (gate, before) = counted(open_to_all("limits.header_timeout = \"1s\"")).await;
    let mut slow = two_hundred_slow_heads(&gate).await;
    while let Some(cut) = slow.join_next().await {
        cut.unwrap();
    }
    nothing_is_left(&gate, before).await;
    assert_eq!(gate.get("/a").send().await.status, 200);
}

#[tokio::test]
async fn the_first_bytes_of_a_connection_have_their_time_and_no_more() {
    let (gate, before) = counted(open_to_all("limits.header_timeout = \"300ms\"")).await;
    // Parts of the HTTP/2 preface, which could still become one or the other.
    let begun = [0, 1, 3, 14, 18, 24].map(|length| &PREFACE[..length]);
    let cut = begun.map(async |begun| {
        let mut connection = Connection::open(gate.address).await;
        connection.write(begun).await;
        connection.closed().await;
    });
    join_all(cut).await;
    nothing_is_left(&gate, before).await;
}

#[tokio::test]
async fn an_http2_connection_on_which_nothing_is_asked_is_closed_whatever_else_comes() {
    let limits = "limits.header_timeout = \"300ms\"\nlimits.idle_timeout = \"600ms\"";
    let (gate, before) = counted(open_to_all(limits)).await;
    let opening = [PREFACE, &settings(&[])].concat();
    let used = [&opening[..], &get(1, "/a")].concat();
    let ping = frame(PING, 0, 0, &[0; 8]);
    // A request of which the head is cut into ever more frames.
    let begun = frame(HEADERS, END_STREAM, 3, &request("GET", "/a", &[]));
    let begun = [&used[..], &begun].concat();
    let more = frame(CONTINUATION, 0, 3, &block(&[("x", "1")]));
    let clients = [(&opening, &ping), (&used, &ping), (&begun, &more)];
    let closed = clients.map(async |(begin, on)| {
        let socket = TcpStream::connect(gate.address).await.unwrap();
        trickle(socket, begin, on).await;
    });
    join_all(closed).await;
    nothing_is_left(&gate, before).await;
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed_and_leaves_nothing() {
    let limits = "limits.idle_timeout = \"300ms\"";
    let (gate, before) = counted(open_to_all(limits)).await;
    let mut kept = Vec::new();
    for _ in 0..20 {
        let mut connection = gate.get("/a").begin().await;
        assert_eq!(connection.answer().await.status, 200);
        kept.push(connection);
    }
    let mut frames = Frames::open(gate.address).await;
    frames.write(&get(1, "/a")).await;
    frames.answer(1).await;
    for connection in &mut kept {
        connection.closed().await;
    }
    frames.closed().await;
    nothing_is_left(&gate, before).await;
}

#[tokio::test]
async fn an_upload_that_stops_is_ended_on_both_sides() {
    let app = Played::start(|_, reader| hold(reader)).await;
    let limits = "limits.body_idle_timeout = \"300ms\"";
    let world = app.setup(limits, "max_idle = 0").start().await;
    let uploads = [
        ("Content-Length", "10", "hello"),
        ("Transfer-Encoding", "chunked", "5\r\nhello\r\n"),
        ("Transfer-Encoding", "chunked", "5\r\nhel"),
    ];
    let ended = uploads.map(async |(name, value, begun)| {
        let mut upload = world.post("/upload").header(name, value).begin().await;
        upload.write(begun.as_bytes()).await;
        let answer = upload.answer().await;
        assert_eq!((answer.status, &*answer.problem()), (400, "bad_request"));
        upload.closed().await;
    });
    let by_http2 = async {
        let mut frames = Frames::open(world.address()).await;
        let upload = [post(1, "/upload"), frame(DATA, 0, 1, b"hello")];
        frames.write(&upload.concat()).await;
        let (_, body) = frames.answer(1).await;
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains("\"code\":\"bad_request\""), "{body}");
    };
    tokio::join!(join_all(ended), by_http2);
    assert_eq!(app.accepted(), 4);
    until("the app sees their end", || app.open() == 0).await;
}

#[tokio::test]
async fn an_upload_to_the_gate_itself_that_stops_is_ended() {
    let world = open_to_all("limits.body_idle_timeout = \"300ms\"")
        .start()
        .await;
    let login = world.post("/wx/login").header("Content-Length", "30");
    let mut login = login.begin().await;
    login.write(b"{\"code\":").await;
    let answer = login.answer().await;
    assert_eq!((answer.status, &*answer.problem()), (400, "bad_request"));
    login.closed().await;
}

#[tokio::test]
async fn an_upload_that_goes_on_slowly_is_not_ended() {
    let world = open_to_all("limits.body_idle_timeout = \"1s\"")
        .start()
        .await;
    let mut upload = world
        .post("/a")
        .header("Content-Length", "10")
        .begin()
        .await;
    let mut frames = Frames::open(world.address()).await;
    let sized = request("POST", "/a", &[("content-length", "10")]);
    frames.write(&frame(HEADERS, END_HEADERS, 1, &sized)).await;
    for left in (0..10).rev() {
        // Longer than the limit in all, shorter each time.
        tokio::time::sleep(Duration::from_millis(120)).await;
        upload.write(b"x").await;
        frames
            .write(&frame(DATA, u8::from(left == 0), 1, b"x"))
            .await;
    }
    assert_eq!(upload.answer().await.text(), "POST /a 10 bytes");
    assert_eq!(frames.answer(1).await.1, b"POST /a 10 bytes");
}

/// An app server that sends without end, until it cannot.
async fn endless() -> Played {
    let play = |_, mut reader: Reader| async move {
        reader.head().await;
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n";
        reader.say(head).await;
        while reader.write(&vec![b'x'; 65_536]).await {}
    };
    Played::start(play).await
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_cut_and_so_is_the_app() {
    let app = endless().await;
    let limits = "limits.body_idle_timeout = \"300ms\"";
    let world = app.setup(limits, "max_idle = 0").start().await;
    let deaf = world.get("/endless").begin().await;
    until("the app sends", || app.open() == 1).await;
    until("the app is let go of", || app.open() == 0).await;
    drop(deaf);

    let own = [(INITIAL_WINDOW_SIZE, 100_000)];
    let mut deaf = Frames::open_with(world.address(), &own).await;
    deaf.write(&get(1, "/endless")).await;
    until("the app sends", || app.accepted() == 2).await;
    until("the app is let go of", || app.open() == 0).await;
    assert_eq!(deaf.reaction(1).await, Reaction::Answered);
    // Should it come back to life, it learns that this is not the end of the answer.
    let more = [window_update(0, 1_000_000), window_update(1, 1_000_000)];
    deaf.write(&more.concat()).await;
    let cut = deaf.reaction(1).await;
    assert!(matches!(cut, Reaction::Reset(_)), "a clean end: {cut:?}");
}

#[tokio::test]
async fn a_client_that_takes_its_answer_slowly_gets_it() {
    let world = open_to_all("limits.body_idle_timeout = \"1s\"")
        .start()
        .await;
    // Small buffers, so that the gate feels each piece that is taken.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut socket = socket.connect(world.address()).await.unwrap();
    let length = 8_000_000;
    let request = world.get(&format!("/bytes/{length}"));
    let request = request.header("Connection", "close").bytes();
    socket.write_all(&request).await.unwrap();
    let mut taken = 0;
    let mut piece = vec![0; 1_000_000];
    for _ in 0..12 {
        // Longer than the limit in all, shorter each time.
        tokio::time::sleep(Duration::from_millis(120)).await;
        let read = socket.read_exact(&mut piece[..300_000]);
        taken += tokio::time::timeout(STUCK, read).await.unwrap().unwrap();
    }
    while let length @ 1.. = socket.read(&mut piece).await.unwrap() {
        taken += length;
    }
    assert!(taken > length, "cut after {taken} bytes");
}

#[tokio::test]
async fn a_client_that_takes_its_answer_slowly_over_http2_gets_it() {
    const STEP: u32 = 30_000;
    const STEPS: u32 = 30;
    let world = open_to_all("limits.body_idle_timeout = \"1s\"")
        .start()
        .await;
    let length = usize::try_from(STEP * (STEPS + 1)).unwrap();
    let own = [(INITIAL_WINDOW_SIZE, STEP)];
    let mut frames = Frames::open_with(world.address(), &own).await;
    frames.write(&get(1, &format!("/bytes/{length}"))).await;
    assert_eq!(frames.reaction(1).await, Reaction::Answered);
    for _ in 0..STEPS {
        // Longer than the limit in all, shorter each time.
        tokio::time::sleep(Duration::from_millis(80)).await;
        let more = [window_update(0, STEP), window_update(1, STEP)];
        frames.write(&more.concat()).await;
    }
    let mut taken = 0;
    loop {
        let frame = frames.until(|frame| frame.stream == 1).await;
        assert_eq!(frame.kind, DATA, "cut after {taken} bytes: {frame:?}");
        taken += frame.payload.len();
        if frame.ends_stream() {
            break;
        }
    }
    assert_eq!(taken, length);
}

#[tokio::test]
async fn what_a_kept_http2_connection_says_beside_requests_is_no_head_that_begins() {
    let world = open_to_all("limits.header_timeout = \"200ms\"")
        .start()
        .await;
    let mut frames = Frames::open(world.address()).await;
    for stream in [1, 3, 5] {
        frames.write(&get(stream, "/a")).await;
        assert_eq!(frames.answer(stream).await.1, b"GET /a 0 bytes");
        let said = [frame(PING, 0, 0, &[0; 8]), window_update(0, 1000)];
        frames.write(&said.concat()).await;
        // Longer than a head may take.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    let app = Played::start(|_, reader| hold(reader)).await;
    let world = app
        .setup("", "max_idle = 0\nmax_connections = 1")
        .start()
        .await;
    // While it waits for its answer; while it sends; over HTTP/2, by its connection or its stream.
    for _ in 0..3 {
        let waiting = world.get("/a").begin().await;
        until("the app is asked", || app.open() == 1).await;
        drop(waiting);
        until("the app sees its end", || app.open() == 0).await;
    }
    let upload = world
        .post("/a")
        .header("Content-Length", "10")
        .begin()
        .await;
    until("the app is asked", || app.open() == 1).await;
    drop(upload);
    until("the app sees its end", || app.open() == 0).await;

    let mut frames = Frames::open(world.address()).await;
    frames.write(&get(1, "/a")).await;
    until("the app is asked", || app.open() == 1).await;
    let cancel = frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    frames.write(&cancel).await;
    until("the app sees its end", || app.open() == 0).await;
    frames.write(&get(3, "/a")).await;
    until("the app is asked", || app.open() == 1).await;
    drop(frames);
    until("the app sees its end", || app.open() == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_its_answer_takes_it_along() {
    let app = endless().await;
    let world: World = app.setup("", "max_idle = 0").start().await;
    let mut download = world.get("/endless").begin().await;
    assert_eq!(download.head().await.unwrap().0, 200);
    assert_eq!(app.open(), 1);
    drop(download);
    until("the app is let go of", || app.open() == 0).await;

    let mut frames = Frames::open(world.address()).await;
    frames.write(&get(1, "/endless")).await;
    assert_eq!(frames.reaction(1).await, Reaction::Answered);
    assert_eq!(app.open(), 1);
    let cancel = frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    frames.write(&cancel).await;
    until("the app is let go of", || app.open() == 0).await;
}

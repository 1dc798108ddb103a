//! Large bodies of requests, which the system moves from socket to socket: they arrive as they were
//! sent, end where they end, break off where they break off, and what they took is given back.

use std::net::SocketAddr;
use std::path::Path;

use futures_util::future::join_all;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpStream, UnixListener, UnixStream};

use crate::support::app::until;
use crate::support::certificates::Files;
use crate::support::pattern;
use crate::support::played::Played;
use crate::support::process::{Gate, Program};
use crate::support::raw::{Connection, Request};
use crate::support::reader::Reader;
use crate::support::{Setup, World};

const MIB: usize = 1024 * 1024;

/// From where on a body is moved, and what a pipe holds, each with what lies beside it; and such as
/// nothing divides.
const LENGTHS: [usize; 11] = [
    64 * 1024 - 1,
    64 * 1024,
    64 * 1024 + 1,
    64 * 1024 + 4096,
    128 * 1024 + 1,
    256 * 1024 - 1,
    256 * 1024,
    256 * 1024 + 1,
    320 * 1024 + 1,
    MIB + 17,
    3_000_001,
];

fn open_to_all(server: &str) -> Setup {
    Setup {
        server: format!("workers = 1\n{server}"),
        ..Setup::with("[access]\ndefault = \"public\"")
    }
}

fn sized(request: Request, length: usize) -> Request {
    request.header("Content-Length", &length.to_string())
}

/// The body of this length.
fn body(length: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(length);
    while body.len() < length {
        body.extend_from_slice(pattern::piece(body.len(), length - body.len()));
    }
    body
}

/// Writes without waiting for whoever reads, so that what comes back can be read meanwhile.
fn send_meanwhile<S>(
    connection: Connection<S>,
    bytes: Vec<u8>,
) -> Connection<impl AsyncRead + AsyncWrite + Unpin>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (read, write) = tokio::io::split(connection.socket);
    let mut write = Connection::over(tokio::io::join(tokio::io::empty(), write));
    tokio::spawn(async move {
        write.write(&bytes).await;
        // Kept open: its end would be the end of the connection's.
        std::future::pending::<()>().await;
    });
    Connection::over(tokio::io::join(read, tokio::io::sink()))
}

/// Files that the program has open whose kind begins with this.
fn open(gate: &Gate, kind: &str) -> usize {
    let folder = format!("/proc/{}/fd", gate.program.id());
    let files = std::fs::read_dir(folder).unwrap();
    // Some are closed while one looks.
    let kinds = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    let counted = kinds.filter(|found| found.to_string_lossy().starts_with(kind));
    counted.count()
}

/// Uploads this much; it must arrive.
async fn is_uploaded<S>(gate: &Gate, connection: &mut Connection<S>, length: usize)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = gate.request("POST", "/upload").body(body(length));
    connection.write(&request.bytes()).await;
    let answer = connection.answer().await;
    assert_eq!(answer.text(), format!("POST /upload {length} bytes"));
    let seen = gate.app.last();
    assert_eq!((seen.body_length, seen.off_pattern), (length, false));
}

/// Uploads bodies of all lengths on one connection, the head alone and with some of the body.
async fn all_arrive<S>(world: &World, mut connection: Connection<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for length in LENGTHS {
        for early in [0, 1, 5000] {
            let head = sized(world.post("/upload"), length).bytes();
            let body = body(length);
            let (first, rest) = body.split_at(early);
            connection.write(&[&*head, first].concat()).await;
            let before = world.app.received();
            // Whether it comes with the head or after it is not left to chance.
            if early == 0 {
                connection.write(&rest[..1]).await;
                until("it has begun", || world.app.received() > before).await;
            }
            connection.write(&rest[usize::from(early == 0)..]).await;
            let answer = connection.answer().await;
            assert_eq!(answer.text(), format!("POST /upload {length} bytes"));
            let seen = world.app.last();
            assert_eq!((seen.body_length, seen.off_pattern), (length, false));
        }
    }
}

#[tokio::test]
async fn bodies_of_all_lengths_arrive_byte_for_byte() {
    let world = open_to_all("").start().await;
    all_arrive(&world, Connection::open(world.address()).await).await;
    assert_eq!(world.app.connections(), 1, "whole bodies end no connection");
}

/// Passes on what comes over the unix socket.
async fn relay(listener: UnixListener, to: SocketAddr) {
    loop {
        let (mut from, _) = listener.accept().await.unwrap();
        let mut to = TcpStream::connect(to).await.unwrap();
        tokio::spawn(async move { copy_bidirectional(&mut from, &mut to).await });
    }
}

fn unix(path: &Path) -> String {
    format!("unix:{}", path.display())
}

#[tokio::test]
async fn they_do_so_between_unix_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let (front, back) = (folder.path().join("front"), folder.path().join("back"));
    let listener = UnixListener::bind(&back).unwrap();
    let setup = Setup {
        listen: format!("[\"127.0.0.1:0\", \"{}\"]", unix(&front)),
        upstream_url: Some(unix(&back)),
        ..open_to_all("")
    };
    let world = setup.start().await;
    tokio::spawn(relay(listener, world.app.address));
    let socket = UnixStream::connect(&front).await.unwrap();
    all_arrive(&world, Connection::over(socket)).await;
    all_arrive(&world, Connection::open(world.address()).await).await;
}

#[tokio::test]
async fn what_comes_after_a_body_belongs_to_the_next_request() {
    let world = open_to_all("").start().await;
    let mut bytes = Vec::new();
    for length in LENGTHS {
        bytes.extend(world.post("/upload").body(body(length)).bytes());
    }
    bytes.extend(world.get("/last").bytes());
    let connection = Connection::open(world.address()).await;
    let mut answers = send_meanwhile(connection, bytes);
    for length in LENGTHS {
        let answer = answers.answer().await;
        assert_eq!(answer.text(), format!("POST /upload {length} bytes"));
    }
    assert_eq!(answers.answer().await.text(), "GET /last 0 bytes");
    let seen = world.app.seen();
    let lengths: Vec<_> = seen.iter().map(|seen| seen.body_length).collect();
    assert_eq!(lengths, [&LENGTHS[..], &[0]].concat());
    assert!(seen.iter().all(|seen| !seen.off_pattern));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_finished_towards_the_app() {
    let world = open_to_all("").start().await;
    for begun in [100_000, 300_000] {
        let before = (world.app.received(), world.app.count());
        let mut upload = sized(world.post("/upload"), MIB).begin().await;
        upload.write(&body(begun)).await;
        let arrived = before.0 + begun;
        until("it has begun", || world.app.received() == arrived).await;
        drop(upload);
        // The app server writes down a request whose body it could not read to the end as well.
        until("the app sees the end", || world.app.count() > before.1).await;
        assert_eq!(world.app.last().body_length, begun);
        assert_eq!(world.get("/next").send().await.status, 200);
        let nth = world.app.last().nth;
        assert_eq!(nth, 0, "the broken connection was used again");
    }
}

#[tokio::test]
async fn a_body_that_stops_is_ended_on_both_sides() {
    let world = open_to_all("limits.body_idle_timeout = \"300ms\"")
        .start()
        .await;
    let mut upload = sized(world.post("/upload"), MIB).begin().await;
    upload.write(&body(300_000)).await;
    let answer = upload.answer().await;
    assert_eq!((answer.status, &*answer.problem()), (400, "bad_request"));
    upload.closed().await;
    until("the app sees the end", || world.app.count() == 1).await;
    assert_eq!(world.app.last().body_length, 300_000);
}

#[tokio::test]
async fn a_client_that_waits_for_the_go_ahead_gets_it() {
    let world = open_to_all("").start().await;
    let upload = sized(world.post("/upload"), MIB).header("Expect", "100-continue");
    let mut upload = upload.begin().await;
    assert_eq!(upload.head().await.unwrap().0, 100);
    upload.write(&body(MIB)).await;
    let answer = upload.answer().await;
    assert_eq!(answer.text(), format!("POST /upload {MIB} bytes"));
    assert!(!world.app.last().off_pattern);
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_body_can_be_read() {
    let world = open_to_all("").start().await;
    for _ in 0..10 {
        let connection = Connection::open(world.address()).await;
        let upload = world.post("/early").body(body(MIB)).bytes();
        let mut connection = send_meanwhile(connection, upload);
        assert_eq!(connection.answer().await.status, 413);
    }
    assert_eq!(world.app.connections(), 10, "none of them is used again");
}

/// An app server that reads the head of a request and never more.
async fn deaf() -> Played {
    let play = |_, mut reader: Reader| async move {
        reader.head().await;
        std::future::pending::<()>().await;
    };
    Played::start(play).await
}

#[tokio::test]
async fn an_app_that_stops_reading_is_let_go_of_and_nothing_stays_behind() {
    let app = deaf().await;
    let limits = "workers = 1\nlimits.body_idle_timeout = \"1h\"";
    let gate = Gate::start(app.setup(limits, "response_timeout = \"500ms\"")).await;
    // More than both sides' sockets hold.
    let upload = gate.request("POST", "/upload").body(body(16 * MIB)).bytes();
    let before = (gate.program.sockets(), open(&gate, ""));
    for round in 0..4 {
        let uploads = (0..20).map(async |_| {
            let connection = Connection::open(gate.address).await;
            let mut connection = send_meanwhile(connection, upload.clone());
            let answer = connection.answer().await;
            answer.is_refused(504, "upstream_timeout", "retry");
        });
        join_all(uploads).await;
        assert_eq!(app.accepted(), 20 * (round + 1));
    }
    until("nobody is left", || gate.program.sockets() == before.0).await;
    // Some pipes may have been empty, and are kept: four at most, two files each.
    let kept = open(&gate, "") - before.1;
    assert!(kept <= 8, "{kept} files");
}

#[tokio::test]
async fn an_upload_that_is_under_way_is_finished_when_the_gate_is_to_end() {
    let mut gate = Gate::start(open_to_all("")).await;
    let body = body(MIB);
    let mut upload = sized(gate.request("POST", "/upload"), MIB).begin().await;
    upload.write(&body[..300_000]).await;
    until("it has begun", || gate.app.received() == 300_000).await;
    gate.program.signal("TERM").await;
    gate.program.line("\"draining\"").await;
    upload.write(&body[300_000..]).await;
    let answer = upload.answer().await;
    assert_eq!(answer.text(), format!("POST /upload {MIB} bytes"));
    assert!(!gate.app.last().off_pattern);
    upload.closed().await;
    assert_eq!(gate.program.ended().await, 0);
    let line = gate.program.line("\"bytes_in\":1048576").await;
    assert!(line.contains("\"/upload\""), "{line}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn bodies_are_moved_where_nothing_is_encrypted_and_they_are_large() {
    let files = Files::new();
    let setup = |toml: &str| Setup::with(&format!("[access]\ndefault = \"public\"\n{toml}"));
    let clear = Gate::start(setup("")).await;
    let mut connection = Connection::open(clear.address).await;
    is_uploaded(&clear, &mut connection, 60_000).await;
    let before = open(&clear, "pipe:");
    is_uploaded(&clear, &mut connection, MIB).await;
    assert_eq!(open(&clear, "pipe:"), before + 2);

    let encrypted = Gate::start(setup(&files.table())).await;
    let before = open(&encrypted, "pipe:");
    let mut connection = files.authority.client().connect(encrypted.address).await;
    is_uploaded(&encrypted, &mut connection, MIB).await;
    assert_eq!(open(&encrypted, "pipe:"), before);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_gate_without_descriptors_for_a_pipe_copies() {
    const LIMIT: usize = 64;
    let lines = format!("ulimit -n {LIMIT}; exec \"$@\"");
    let gate = Gate::start_as(open_to_all("limits.body_idle_timeout = \"1h\""), |file| {
        Program::spawn(&mut Program::by_shell(&lines, &["run", "-c", file]))
    });
    let gate = gate.await;
    let pipes = open(&gate, "pipe:");
    // Inherited files may have higher numbers, and those do not count.
    let file = |number| format!("/proc/{}/fd/{number}", gate.program.id());
    let left = || {
        let free = (0..LIMIT).filter(|number| std::fs::symlink_metadata(file(*number)).is_err());
        free.count()
    };
    // A login of which the second half never comes gives no way.
    let half = sized(gate.request("POST", "/wx/login"), 9);
    let mut holders = Vec::new();
    // One for the client, one towards the app server, and one where a pipe takes two.
    while left() > 3 {
        let before = left();
        holders.push(half.clone().begin().await);
        until("it is let in", || left() < before).await;
    }
    let mut connection = Connection::open(gate.address).await;
    is_uploaded(&gate, &mut connection, 3_000_001).await;
    assert_eq!(open(&gate, "pipe:"), pipes);
    drop(holders);
    until("descriptors are free", || left() > LIMIT / 4).await;
    is_uploaded(&gate, &mut connection, 3_000_001).await;
    assert_eq!(open(&gate, "pipe:"), pipes + 2);
}

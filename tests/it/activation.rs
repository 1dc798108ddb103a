//! Listening sockets that somebody else holds open while gates come and go, as systemd does.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::support::Setup;
use crate::support::app::until;
use crate::support::events::Events;
use crate::support::process::{Gate, Program};
use crate::support::raw::{Connection, Request};

/// Makes the shell's standard input the first socket that is passed on, and becomes the program.
const ONE: &str = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
/// The same with standard error for a second one.
const TWO: &str = "exec 3<&0 4<&2 </dev/null 2>&1; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$@\"";

/// How the program is run on these sockets.
fn with_sockets(file: &str, sockets: &[OwnedFd]) -> Command {
    let lines = if sockets.len() == 1 { ONE } else { TWO };
    let mut command = Program::by_shell(lines, &["run", "-c", file]);
    let passed = |index: usize| Stdio::from(sockets[index].try_clone().unwrap());
    command.stdin(passed(0));
    if sockets.len() > 1 {
        command.stderr(passed(1));
    }
    command
}

fn open_to_all() -> Setup {
    Setup {
        // Nobody listens there: the sockets take its place.
        listen: "\"192.0.2.1:1\"".to_owned(),
        ..Setup::with("[access]\ndefault = \"public\"")
    }
}

fn held() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Connects for every request, until told to stop; fails when one is not answered.
async fn one_shot(request: Request, stop: Arc<AtomicBool>, answered: Arc<AtomicUsize>) {
    let request = request.header("Connection", "close");
    while !stop.load(Ordering::SeqCst) {
        let answer = request.clone().send().await;
        assert_eq!((answer.status, answer.whole), (200, true), "{answer:?}");
        answered.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_restart_refuses_and_loses_no_connection() {
    let (held, address) = held();
    let sockets = [held.into()];
    let start = |file: &str| Program::spawn(&mut with_sockets(file, &sockets));
    let mut gate = Gate::start_as(open_to_all(), start).await;
    assert_eq!(gate.address, address);

    let (stop, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::<AtomicUsize>::default(),
    );
    let mut clients = JoinSet::new();
    for _ in 0..6 {
        let request = gate.get("/page");
        clients.spawn(one_shot(request, Arc::clone(&stop), Arc::clone(&answered)));
    }
    let go_on = async || {
        let from = answered.load(Ordering::SeqCst);
        let more = || answered.load(Ordering::SeqCst) > from + 100;
        until("clients are served", more).await;
    };
    for _ in 0..3 {
        go_on().await;
        gate.program.signal("TERM").await;
        assert_eq!(gate.program.ended().await, 0);
        // They connect, and wait.
        gate.program = start(&gate.file());
    }
    go_on().await;
    stop.store(true, Ordering::SeqCst);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
}

#[tokio::test]
async fn who_connects_while_the_gate_drains_waits_for_the_next_one() {
    let (held, address) = held();
    let sockets = [held.try_clone().unwrap().into()];
    let start = |file: &str| Program::spawn(&mut with_sockets(file, &sockets));
    let gate = Gate::start_as(open_to_all(), start).await;
    let mut events = Events::open(gate.get("/events")).await;
    gate.program.signal("TERM").await;
    gate.program.line("\"draining\"").await;
    // Accepting has stopped once a connection is left to wait. Until then it is served.
    let mut waiting = loop {
        let mut connection = Connection::open(address).await;
        connection.write(&gate.get("/page").bytes()).await;
        let answer = connection.try_answer("GET");
        let soon = std::time::Duration::from_millis(200);
        match tokio::time::timeout(soon, answer).await {
            Ok(answer) => assert_eq!(answer.unwrap().status, 200),
            Err(_elapsed) => break connection,
        }
    };
    gate.app.emit("still there");
    assert_eq!(events.next().await, "still there");
    let next = start(&gate.file());
    assert_eq!(waiting.answer().await.status, 200);
    gate.app.emit("still there");
    assert_eq!(events.next().await, "still there");
    drop((next, held));
}

#[tokio::test]
async fn a_unix_socket_that_was_passed_on_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.sock");
    let ((tcp, _), unix) = (held(), UnixListener::bind(&path).unwrap());
    let sockets = [tcp.into(), unix.into()];
    let start = |file: &str| Program::spawn(&mut with_sockets(file, &sockets));
    let mut gate = Gate::start_as(open_to_all(), start).await;
    let line = gate.program.line("gate.sock").await;
    assert!(
        line.contains("\"listening\"") && line.contains("\"inherited\":true"),
        "{line}"
    );
    let request = gate.get("/page").header("Connection", "close").bytes();
    for round in 0..2 {
        // In the second round nobody is there yet.
        let mut socket = UnixStream::connect(&path).await.unwrap();
        socket.write_all(&request).await.unwrap();
        if round > 0 {
            gate.program = start(&gate.file());
        }
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        gate.program.signal("TERM").await;
        assert_eq!(gate.program.ended().await, 0);
        assert!(path.exists());
    }
}

#[tokio::test]
async fn a_socket_at_the_address_of_the_admin_listener_is_for_operators() {
    let ((public, address), (admin, admin_address)) = (held(), held());
    let sockets = [OwnedFd::from(public), admin.into()];
    for sockets in [&sockets[..], &[sockets[1].try_clone().unwrap()]] {
        let listen = match sockets.len() {
            1 => "\"127.0.0.1:0\"".to_owned(),
            _ => "\"192.0.2.1:1\"".to_owned(),
        };
        let setup = Setup {
            listen,
            ..open_to_all()
        };
        let gate = Gate::start_as(setup, |file| {
            let mut command = with_sockets(file, sockets);
            Program::spawn(command.env("WXGATE_ADMIN__LISTEN", admin_address.to_string()))
        })
        .await;
        assert_eq!(gate.admin, admin_address);
        assert_eq!(gate.ask_admin("/readyz").await.text(), "ready\n");
        assert_eq!(gate.address == address, sockets.len() == 2);
        assert_eq!(gate.get("/page").send().await.status, 200);
        assert_eq!(gate.ask_admin("/page").await.status, 404);
    }
}

#[tokio::test]
async fn sockets_that_are_meant_for_somebody_else_are_left_alone() {
    let (held, address) = held();
    let socket = OwnedFd::from(held);
    for lines in [
        "exec 3<&0 </dev/null; LISTEN_PID=1 LISTEN_FDS=1 exec \"$@\"",
        "exec 3<&0 </dev/null; LISTEN_FDS=1 exec \"$@\"",
        "exec 3<&0 </dev/null; LISTEN_PID=$$ exec \"$@\"",
        "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=0 exec \"$@\"",
    ] {
        let setup = Setup {
            listen: "\"127.0.0.1:0\"".to_owned(),
            ..open_to_all()
        };
        let gate = Gate::start_as(setup, |file| {
            let mut command = Program::by_shell(lines, &["run", "-c", file]);
            Program::spawn(command.stdin(Stdio::from(socket.try_clone().unwrap())))
        })
        .await;
        assert_ne!(gate.address, address, "{lines}");
        assert_eq!(gate.get("/page").send().await.status, 200);
    }
}

#[tokio::test]
async fn what_is_no_listening_socket_is_told_and_exits_1() {
    let (held, address) = held();
    let connected = std::net::TcpStream::connect(address).unwrap();
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let file = tempfile::tempfile().unwrap();
    for (passed, told) in [
        (
            OwnedFd::from(connected),
            "does not listen; systemd needs Accept=no",
        ),
        (datagrams.into(), "neither TCP nor unix stream"),
        (file.into(), "neither TCP nor unix stream"),
    ] {
        let mut command = Program::by_shell(ONE, &["run", "-c", "/nowhere.toml"]);
        let mut program = Program::spawn(command.stdin(Stdio::from(passed)));
        assert_eq!(program.ended().await, 1);
        assert!(program.said().contains(told), "{told}: {}", program.said());
    }
    drop(held);
}

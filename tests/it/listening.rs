//! Where the gate listens: kinds of addresses, what clients are then known by, and what becomes of who
//! waits there.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;
use wxgate::server::Listen;

use crate::support::process::{Gate, Program};
use crate::support::raw::Request;
use crate::support::{STUCK, Setup};

/// A gate on a TCP address and a unix socket, open to all.
fn on_both(path: &Path) -> Setup {
    Setup {
        listen: format!("[\"127.0.0.1:0\", \"unix:{}\"]", path.display()),
        ..Setup::with("[access]\ndefault = \"public\"")
    }
}

/// Sends a request and reads what comes until the end; whatever of it comes.
fn ask(mut socket: impl Read + Write, request: &Request) -> String {
    let request = request.clone().header("Connection", "close");
    drop(socket.write_all(&request.bytes()));
    read(socket)
}

fn read(mut socket: impl Read) -> String {
    let mut answer = Vec::new();
    drop(socket.read_to_end(&mut answer));
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_client_on_a_unix_socket_has_no_address_and_is_trusted_only_by_that_name() {
    let folder = tempfile::tempdir().unwrap();
    for (index, (trusted, client)) in [
        ("", "unix:"),
        ("\"127.0.0.0/8\"", "unix:"),
        ("\"unix\"", "192.0.2.9"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = folder.path().join(format!("{index}.sock"));
        let setup = Setup {
            server: format!("trusted_proxies = [{trusted}]"),
            ..on_both(&path)
        };
        let world = setup.start().await;
        let request = world.get("/page").header("X-Forwarded-For", "192.0.2.9");
        let asked =
            tokio::task::spawn_blocking(move || ask(UnixStream::connect(path).unwrap(), &request));
        let answer = asked.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let seen = world.app.last();
        assert_eq!(seen.header("x-real-ip"), [client], "{trusted}");
        assert_eq!(seen.header("x-forwarded-port"), [""; 0]);
    }
}

#[tokio::test]
async fn a_client_has_the_same_address_over_both_families() {
    if TcpListener::bind("[::1]:0").is_err() {
        // Nothing to be seen on a machine without IPv6.
        return;
    }
    let setup = Setup {
        listen: "[\"[::]:0\", \"[::1]:0\", \"127.0.0.1:0\"]".to_owned(),
        server: "trusted_proxies = [\"192.0.2.0/24\"]".to_owned(),
        ..Setup::with("[access]\ndefault = \"public\"")
    };
    let world = setup.start().await;
    let port = |index: usize| match &world.gate.addresses[index] {
        Listen::Tcp(address) => address.port(),
        Listen::Unix(path) => panic!("{}", path.display()),
    };
    for (address, client) in [
        (format!("127.0.0.1:{}", port(0)), "127.0.0.1"),
        (format!("[::1]:{}", port(0)), "::1"),
        (format!("[::1]:{}", port(1)), "::1"),
        (format!("127.0.0.1:{}", port(2)), "127.0.0.1"),
    ] {
        let address: SocketAddr = address.parse().unwrap();
        let answer = Request::new(address, "GET", "/page").send().await;
        assert_eq!(answer.status, 200, "{address}");
        let seen = world.app.last();
        assert_eq!(seen.header("x-forwarded-for"), [client], "{address}");
        assert_eq!(
            seen.header("x-forwarded-port"),
            [address.port().to_string()]
        );
    }
}

#[tokio::test]
async fn who_waits_to_be_accepted_at_sigterm_is_still_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.sock");
    for _ in 0..5 {
        let mut gate = Gate::start(on_both(&path)).await;
        // While it stands still nobody is accepted, and nothing is under way when it goes on.
        gate.program.signal("STOP").await;
        let request = gate.get("/page").header("Connection", "close").bytes();
        let mut over_tcp: Vec<_> = (0..8)
            .map(|_| TcpStream::connect(gate.address).unwrap())
            .collect();
        let mut over_unix: Vec<_> = (0..8)
            .map(|_| UnixStream::connect(&path).unwrap())
            .collect();
        for socket in &mut over_tcp {
            socket.write_all(&request).unwrap();
        }
        for socket in &mut over_unix {
            socket.write_all(&request).unwrap();
        }
        gate.program.signal("TERM").await;
        gate.program.signal("CONT").await;
        let answers = tokio::task::spawn_blocking(move || {
            let answers = over_tcp.into_iter().map(read);
            answers
                .chain(over_unix.into_iter().map(read))
                .collect::<Vec<_>>()
        });
        for answer in tokio::time::timeout(STUCK, answers).await.unwrap().unwrap() {
            assert!(answer.starts_with("HTTP/1.1 200"), "lost: {answer:?}");
        }
        assert_eq!(gate.program.ended().await, 0);
        // The file goes with the gate.
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn a_unix_socket_of_a_gate_that_was_killed_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.sock");
    let gate = Gate::start(on_both(&path)).await;
    drop(gate);
    assert!(path.exists());
    let gate = Gate::start(on_both(&path)).await;
    let request = gate.get("/page");
    let (socket, other) = (path.clone(), gate.file());
    let asked =
        tokio::task::spawn_blocking(move || ask(UnixStream::connect(socket).unwrap(), &request));
    assert!(asked.await.unwrap().starts_with("HTTP/1.1 200"));
    // That of a living one is not.
    let (code, said) = Program::run(&["run", "-c", &other]).await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("gate.sock") && said.contains("in use"),
        "{said}"
    );
    assert!(path.exists());
}

#[tokio::test]
async fn every_address_is_told_in_the_log_and_one_that_is_taken_takes_the_others_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.sock");
    let gate = Gate::start(on_both(&path)).await;
    let line = gate.program.line("gate.sock").await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["msg"], "listening");
    assert_eq!(line["address"], format!("unix:{}", path.display()));
    assert_eq!(line["inherited"], false);

    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let listen = format!("{free},{}", gate.address);
    let mut command = Program::by_shell("exec \"$@\"", &["run", "-c", &gate.file()]);
    let mut other = Program::spawn(command.env("WXGATE_SERVER__LISTEN", listen));
    assert_eq!(other.ended().await, 1);
    let told = format!("cannot listen on {}", gate.address);
    assert!(other.said().contains(&told), "{}", other.said());
    TcpListener::bind(free).unwrap();
}

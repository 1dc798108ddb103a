//! Behind a proxy that passes on connections: it says whose they are, and nobody else may.

use std::net::SocketAddr;
use std::process::Command;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::support::app::Seen;
use crate::support::certificates::{Files, encrypt};
use crate::support::process::Gate;
use crate::support::raw::{Connection, Request};
use crate::support::{STUCK, Setup, World};

/// `PROXY` from 192.0.2.7 to port 443, version 2.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\x80\0\x01\xbb";
/// The same in version 1.
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 127.0.0.1 32768 443\r\n";
/// A proxy that speaks for itself.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn with(server: &str) -> Setup {
    Setup {
        server: format!("proxy_protocol = true\n{server}"),
        ..Setup::with("[access]\ndefault = \"public\"\n")
    }
}

/// A gate that trusts whoever connects in these tests, and nobody of whom they tell.
async fn trusting() -> World {
    with("trusted_proxies = [\"127.0.0.1\"]").start().await
}

/// Sends these bytes; gives what comes back until the end.
async fn raw(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(to).await.unwrap();
    // It may be closed before all is sent.
    drop(socket.write_all(bytes).await);
    let mut answer = Vec::new();
    let read = socket.read_to_end(&mut answer);
    drop(
        tokio::time::timeout(STUCK, read)
            .await
            .expect("it stays open"),
    );
    answer
}

/// Sends a request behind this header; gives what the app server saw of it.
async fn seen_behind(world: &World, header: &[u8], request: Request) -> Seen {
    let request = request.header("Connection", "close");
    let answer = raw(world.address(), &[header, &request.bytes()].concat()).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 200"), "{header:?} {answer}");
    world.app.last()
}

#[track_caller]
fn is_from(seen: &Seen, client: &str, port: &str) {
    for (name, value) in [
        ("x-forwarded-for", client),
        ("x-real-ip", client),
        ("x-original-forwarded-for", client),
        ("x-forwarded-port", port),
    ] {
        assert_eq!(seen.header(name), [value], "{name}");
    }
}

#[tokio::test]
async fn a_header_is_no_request_where_none_is_asked_for() {
    let setup = Setup {
        server: "trusted_proxies = [\"127.0.0.1\"]".to_owned(),
        ..Setup::with("[access]\ndefault = \"public\"")
    };
    let world = setup.start().await;
    for header in [V1, V2, LOCAL] {
        let request = world.get("/page").bytes();
        let answer = raw(world.address(), &[header, &request].concat()).await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{answer:?}");
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn a_connection_without_a_good_header_gets_no_answer() {
    let world = trusting().await;
    let request = world.get("/page").bytes();
    for header in [
        &b""[..],
        b"\r\n",
        b"PROXY\r\n",
        b"PROXY TCP4 192.0.2.7 127.0.0.1 32768\r\n",
        b"PROXY TCP4 192.0.2.7 127.0.0.1 32768 443\n",
        b"PROXY TCP4 192.0.2.7, 127.0.0.1 32768 443\r\n",
        b"proxy TCP4 192.0.2.7 127.0.0.1 32768 443\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\x80\0\x01\xbb",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04\xc0\0\x02\x07",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\xff\xff",
        &[b"PROXY UNKNOWN ", &[b'x'; 107][..], b"\r\n"].concat(),
    ] {
        let answer = raw(world.address(), &[header, &request].concat()).await;
        let shown = String::from_utf8_lossy(&answer);
        assert_eq!(shown, "", "{header:?}");
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn a_stranger_may_not_connect_whatever_it_says() {
    let gate = Gate::start(with("trusted_proxies = [\"192.0.2.0/24\", \"unix\"]")).await;
    let request = gate.get("/page").bytes();
    for header in [V1, V2, LOCAL, b""] {
        assert_eq!(raw(gate.address, &[header, &request].concat()).await, b"");
    }
    let line = gate.program.line("outside trusted_proxies").await;
    assert!(
        line.contains("\"info\"") && line.contains("127.0.0.1"),
        "{line}"
    );
    assert_eq!(gate.app.count(), 0);
}

#[tokio::test]
async fn the_log_says_what_is_wrong_with_a_header() {
    let gate = Gate::start(with("trusted_proxies = [\"127.0.0.1\"]")).await;
    for (sent, wrong) in [
        (
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            "does not begin with a header",
        ),
        (b"PROXY TCP4 x\r\n", "malformed"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\xff\xff", "too long"),
    ] {
        assert_eq!(raw(gate.address, sent).await, b"");
        let line = gate.program.line(wrong).await;
        let event = "\"no proxy protocol header\"";
        assert!(line.contains(event) && line.contains("\"info\""), "{line}");
    }
    // As load balancers look whether somebody listens.
    drop(TcpStream::connect(gate.address).await.unwrap());
    let request = gate.get("/page").header("Connection", "close");
    let answer = raw(gate.address, &[V1, &request.bytes()].concat()).await;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    assert_eq!(gate.program.said().matches("no proxy protocol").count(), 3);
}

#[tokio::test]
async fn the_client_is_whom_the_header_names() {
    let world = trusting().await;
    for header in [V1, V2] {
        is_from(
            &seen_behind(&world, header, world.get("/a")).await,
            "192.0.2.7",
            "443",
        );
    }
    let v6 = b"PROXY TCP6 2001:db8::7 ::1 1 4180\r\n";
    is_from(
        &seen_behind(&world, v6, world.get("/a")).await,
        "2001:db8::7",
        "4180",
    );
    let mapped = b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 4180\r\n";
    is_from(
        &seen_behind(&world, mapped, world.get("/a")).await,
        "192.0.2.7",
        "4180",
    );
}

#[tokio::test]
async fn a_client_behind_a_trusted_proxy_is_not_trusted_itself() {
    let world = trusting().await;
    let lying = || {
        let request = world.get("/a").header("X-Forwarded-For", "198.51.100.66");
        let request = request.header("X-Forwarded-Proto", "https");
        request.header("X-Request-Id", "lie")
    };
    for header in [V1, V2] {
        let seen = seen_behind(&world, header, lying()).await;
        is_from(&seen, "192.0.2.7", "443");
        assert_eq!(seen.header("x-forwarded-proto"), ["http"]);
        assert_ne!(seen.header("x-request-id"), ["lie"]);
    }
}

#[tokio::test]
async fn a_proxy_behind_a_proxy_is_believed_when_it_is_trusted() {
    let trusted = "trusted_proxies = [\"127.0.0.1\", \"192.0.2.0/24\"]";
    let world = with(trusted).start().await;
    for header in [V1, V2] {
        let request = world.get("/a").header("X-Forwarded-For", "198.51.100.9");
        let seen = seen_behind(&world, header, request).await;
        assert_eq!(seen.header("x-forwarded-for"), ["198.51.100.9, 192.0.2.7"]);
        assert_eq!(seen.header("x-real-ip"), ["198.51.100.9"]);
    }
}

#[tokio::test]
async fn who_is_not_named_has_the_address_of_the_proxy_and_is_not_believed() {
    let world = trusting().await;
    let port = world.address().port().to_string();
    let unknown = b"PROXY UNKNOWN\r\n";
    let ignored = b"PROXY UNKNOWN 192.0.2.7 127.0.0.1 1 2\r\n";
    let unix = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8"[..], &[b'/'; 216]].concat();
    for header in [LOCAL, unknown, ignored, &unix] {
        let lying = world.get("/a").header("X-Forwarded-For", "198.51.100.66");
        is_from(
            &seen_behind(&world, header, lying).await,
            "127.0.0.1",
            &port,
        );
    }
}

#[tokio::test]
async fn a_header_may_come_in_pieces_and_counts_for_the_whole_connection() {
    let world = trusting().await;
    for header in [V1, V2] {
        let mut connection = Connection::open(world.address()).await;
        for byte in header {
            connection.write(&[*byte]).await;
        }
        for _ in 0..2 {
            connection.write(&world.get("/a").bytes()).await;
            assert_eq!(connection.answer().await.status, 200);
            is_from(&world.app.last(), "192.0.2.7", "443");
        }
    }
}

#[tokio::test]
async fn a_header_that_stalls_is_cut_and_holds_nobody_up() {
    let server = "trusted_proxies = [\"127.0.0.1\"]\nworkers = 1\n";
    let world = with(&format!("{server}limits.header_timeout = \"200ms\""))
        .start()
        .await;
    for begun in [&b""[..], b"PROXY TCP4 192", &V2[..12], &V2[..20]] {
        let mut stalled = Connection::open(world.address()).await;
        stalled.write(begun).await;
        stalled.closed().await;
    }
    let patient = format!("{server}limits.header_timeout = \"1h\"\nlimits.max_connections = 4");
    let world = with(&patient).start().await;
    let stalled = join_all((0..20).map(async |_| {
        let mut stalled = Connection::open(world.address()).await;
        stalled.write(b"PROXY").await;
        stalled
    }))
    .await;
    is_from(
        &seen_behind(&world, V2, world.get("/a")).await,
        "192.0.2.7",
        "443",
    );
    drop(stalled);
}

#[tokio::test]
async fn a_header_comes_before_tls() {
    let files = Files::new();
    let setup = with("trusted_proxies = [\"127.0.0.1\"]");
    let setup = Setup {
        toml: format!("{}{}", setup.toml, files.table()),
        ..setup
    };
    let world = setup.start().await;
    for header in [V1, V2] {
        let mut socket = TcpStream::connect(world.address()).await.unwrap();
        socket.write_all(header).await.unwrap();
        let connector = files.authority.client().connector();
        let mut connection = Connection::over(encrypt(&connector, socket).await.unwrap());
        connection.write(&world.get("/a").bytes()).await;
        assert_eq!(connection.answer().await.status, 200);
        let seen = world.app.last();
        is_from(&seen, "192.0.2.7", "443");
        assert_eq!(seen.header("x-forwarded-proto"), ["https"]);
    }
    let socket = TcpStream::connect(world.address()).await.unwrap();
    let connector = files.authority.client().connector();
    encrypt(&connector, socket).await.unwrap_err();
}

#[tokio::test]
async fn a_proxy_may_connect_to_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.sock");
    for (trusted, served) in [("\"unix\"", true), ("\"127.0.0.1\"", false)] {
        let setup = Setup {
            listen: format!("[\"127.0.0.1:0\", \"unix:{}\"]", path.display()),
            ..with(&format!("trusted_proxies = [{trusted}]"))
        };
        let world = setup.start().await;
        let mut socket = UnixStream::connect(&path).await.unwrap();
        let request = world.get("/a").header("Connection", "close");
        // It may be closed before all is sent.
        drop(socket.write_all(&[V2, &request.bytes()].concat()).await);
        let mut answer = Vec::new();
        drop(socket.read_to_end(&mut answer).await);
        assert_eq!(answer.starts_with(b"HTTP/1.1 200"), served, "{answer:?}");
        if served {
            is_from(&world.app.last(), "192.0.2.7", "443");
        }
        std::fs::remove_file(&path).unwrap();
    }
}

#[tokio::test]
async fn curl_can_stand_for_the_proxy() {
    let world = trusting().await;
    let url = format!("http://{}/page", world.address());
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--noproxy", "*", "--max-time", "20", version])
            .args(["--haproxy-protocol", &url]);
        let ran = tokio::task::spawn_blocking(move || curl.output()).await;
        let ran = ran.unwrap().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&ran.stdout),
            "GET /page 0 bytes",
            "{ran:?}"
        );
        assert_eq!(world.app.last().header("x-forwarded-for"), ["127.0.0.1"]);
    }
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--noproxy", "*", "--max-time", "20", &url]);
    let ran = tokio::task::spawn_blocking(move || curl.output())
        .await
        .unwrap()
        .unwrap();
    assert!(!ran.status.success(), "{ran:?}");
    assert_eq!(world.app.count(), 2);
}

//! TLS on the gate's own listener: who gets a connection, how long that may take, and that a request
//! over it is like any other.

mod reload;
mod resumption;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use rustls::ProtocolVersion;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_tungstenite::tungstenite::Message;
use wxgate::server::Listen;

use crate::support::app::until;
use crate::support::certificates::{Authority, Client, Files, encrypt, encrypt_and_say, handshake};
use crate::support::process::Gate;
use crate::support::raw::{Connection, Request};
use crate::support::{STUCK, Setup, World};

/// The begin of every client's first record: a handshake, TLS 1.0 as all say, 512 bytes.
const BEGUN: [u8; 5] = [22, 3, 1, 2, 0];

async fn start(tables: &str) -> World {
    Setup::with(tables).start().await
}

/// Runs curl against the gate, by the name that its certificate is for.
async fn curl(files: &Files, port: u16, arguments: &[&str]) -> Output {
    let to = format!("gate.example:{port}:127.0.0.1");
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "--max-time",
        "20",
    ])
    .args(["--resolve", &to, "--cacert"])
    .arg(files.path("ca.pem"))
    .args(arguments);
    let ran = tokio::task::spawn_blocking(move || curl.output()).await;
    ran.unwrap().unwrap()
}

/// Logs somebody in with this code, and gives the token.
async fn log_in(files: &Files, gate: SocketAddr, code: String) -> String {
    let request = Request::new(gate, "POST", "/wx/login");
    let mut connection = files.authority.client().connect(gate).await;
    let request = request.json(&serde_json::json!({ "code": code }));
    connection.write(&request.bytes()).await;
    connection.answer().await.token()
}

/// Sends a request over a connection, and reads the answer.
async fn ask<S>(connection: &mut Connection<S>, request: Request) -> u16
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    connection.write(&request.bytes()).await;
    connection.answer().await.status
}

/// Whether a client gets an answer. It may learn that it does not only when it asks.
async fn is_served(world: &World, client: Client) -> bool {
    let Ok(socket) = handshake(&client.connector(), world.address()).await else {
        return false;
    };
    let mut connection = Connection::over(socket);
    connection.write(&world.get("/me").bytes()).await;
    let answer = connection.try_answer("GET");
    let answer = tokio::time::timeout(STUCK, answer).await.unwrap();
    answer.is_some_and(|answer| answer.status == 401)
}

#[tokio::test]
async fn a_request_in_clear_text_is_not_answered_and_the_log_says_what_it_was() {
    let files = Files::new();
    let gate = Gate::start(Setup::with(&files.table())).await;
    let all = [
        (
            &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
            "HTTP in clear text",
        ),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP in clear text"),
        (
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n",
            "a PROXY protocol header",
        ),
        (b"\r\n\r\n\0\r\nQUIT\n", "a PROXY protocol header"),
        (b"SSH-2.0-x\r\n", "nothing known"),
        (b"\x80\x2e\x01\x00\x02", "nothing known"),
        (b"\0", "nothing known"),
    ];
    let lines = || {
        let said = gate.program.said();
        let lines = said.lines().filter(|line| line.contains("\"not tls\""));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    for (count, (sent, looks_like)) in all.into_iter().enumerate() {
        let mut connection = Connection::open(gate.address).await;
        connection.write(sent).await;
        assert_eq!(connection.piece().await, b"", "{sent:?}");
        until("a line tells", || lines().len() == count + 1).await;
        let line = &lines()[count];
        for told in [looks_like, "info", "127.0.0.1"] {
            assert!(line.contains(&format!(":\"{told}\"")), "{told}: {line}");
        }
    }
    // A check of a load balancer says nothing, and is not worth a line.
    drop(Connection::open(gate.address).await);
    let mut client = files.authority.client().connect(gate.address).await;
    assert_eq!(ask(&mut client, gate.get("/me")).await, 401);
    let said = gate.program.said();
    assert_eq!(lines().len(), all.len(), "{said}");
    assert!(
        !said.contains("\"error\"") && !said.contains("handshake failed"),
        "{said}"
    );
    assert_eq!(gate.app.count(), 0);
}

#[tokio::test]
async fn a_client_that_speaks_neither_version_nor_protocol_of_ours_gets_no_connection() {
    let files = Files::new();
    let gate = Gate::start(Setup::with(&files.table())).await;
    let stranger = files.authority.client().speaking(&["smtp"]).connector();
    handshake(&stranger, gate.address).await.unwrap_err();
    // A ClientHello of TLS 1.1 as it was: two suites, no extensions.
    let hello: Vec<u8> = [22, 3, 1, 0, 47, 1, 0, 0, 43, 3, 2]
        .into_iter()
        .chain([7; 32])
        .chain([0, 0, 4, 0, 47, 0, 53, 1, 0])
        .collect();
    let mut old = Connection::open(gate.address).await;
    old.write(&hello).await;
    let alert = old.piece().await;
    // Fatal (RFC 8446 §6), for whichever of the things that it lacks.
    assert_eq!((alert[0], alert[5]), (21, 2), "{alert:?}");
    old.closed().await;
    let line = gate.program.line("handshake failed").await;
    assert!(line.contains("\"info\""), "{line}");
}

#[tokio::test]
async fn a_client_without_a_certificate_of_the_authority_gets_no_answer() {
    let (files, ours, theirs) = (Files::new(), Authority::new(), Authority::new());
    let world = start(&files.table_for_known_clients(&ours)).await;
    let client = || files.authority.client();
    for versions in [Client::only_tls12, Client::only_tls13] {
        let client = || versions(client());
        assert!(!is_served(&world, client()).await, "without any");
        let other = theirs.vouch();
        assert!(!is_served(&world, client().with(&other)).await, "another's");
        // That authority vouches for servers; of its own certificate it says the same.
        let servers = files.authority.vouch();
        assert!(
            !is_served(&world, client().with(&servers)).await,
            "a server's"
        );
        let over = ours.vouch_for(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
        assert!(!is_served(&world, client().with(&over)).await, "an old one");
        assert!(is_served(&world, client().with(&ours.vouch())).await);
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn a_handshake_that_stalls_is_cut_within_its_time() {
    let files = Files::new();
    let setup = Setup {
        server: "limits.tls_handshake_timeout = \"200ms\"".to_owned(),
        ..Setup::with(&files.table())
    };
    let world = setup.start().await;
    let mut silent = Connection::open(world.address()).await;
    let mut begun = Connection::open(world.address()).await;
    begun.write(&BEGUN).await;
    let mut slow = Connection::open(world.address()).await;
    slow.write(&BEGUN).await;
    let (mut reader, mut writer) = slow.socket.split();
    let drip = async {
        // Until it is cut: a byte now and then is no progress.
        while writer.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(STUCK, drip).await.expect("never cut");
    // That may be a reset: the gate has not read the last byte.
    drop(reader.read(&mut [0]).await);
    silent.closed().await;
    begun.closed().await;
    let client = files.authority.client();
    assert!(is_served(&world, client).await);
}

#[tokio::test]
async fn nobody_waits_for_the_handshake_of_somebody_else() {
    let files = Files::new();
    let setup = Setup {
        server: "workers = 1\nlimits.tls_handshake_timeout = \"1h\"".to_owned(),
        ..Setup::with(&files.table())
    };
    let world = setup.start().await;
    let stalled = join_all((0..50).map(async |count| {
        let mut connection = Connection::open(world.address()).await;
        connection.write(&BEGUN[..count % 5]).await;
        connection
    }))
    .await;
    let served = (0..10).map(|_| is_served(&world, files.authority.client()));
    assert_eq!(join_all(served).await, [true; 10]);
    drop(stalled);
}

#[tokio::test]
async fn a_stalled_handshake_takes_a_place_and_makes_room_for_a_newcomer() {
    let files = Files::new();
    let setup = Setup {
        server: "workers = 1\nlimits.max_connections = 2\nlimits.tls_handshake_timeout = \"1h\""
            .to_owned(),
        ..Setup::with(&files.table())
    };
    let world = setup.start().await;
    let mut stalled = Connection::open(world.address()).await;
    stalled.write(&BEGUN).await;
    let mut first = files.authority.client().connect(world.address()).await;
    assert_eq!(ask(&mut first, world.get("/me")).await, 401);
    // All places are taken, and the stalled one has had its for longest.
    let mut second = files.authority.client().connect(world.address()).await;
    assert_eq!(ask(&mut second, world.get("/me")).await, 401);
    stalled.closed().await;
    assert_eq!(ask(&mut first, world.get("/me")).await, 401);
}

#[tokio::test]
async fn a_handshake_under_way_at_sigterm_is_finished_and_its_request_answered() {
    let files = Files::new();
    let setup = Setup {
        server: "limits.tls_handshake_timeout = \"1h\"\nlimits.header_timeout = \"1h\"".to_owned(),
        ..Setup::with(&files.table())
    };
    let mut gate = Gate::start(setup).await;
    let token = log_in(&files, gate.address, gate.code("alice")).await;
    // Neither one that does not go on nor one that says nothing afterwards must hold up the end.
    let mut stalled = TcpStream::connect(gate.address).await.unwrap();
    stalled.write_all(&BEGUN).await.unwrap();
    let whole = TcpStream::connect(gate.address).await.unwrap();
    let mute = TcpStream::connect(gate.address).await.unwrap();
    gate.program.signal("TERM").await;
    gate.program.line("\"draining\"").await;
    let connector = files.authority.client().connector();
    let mute = encrypt(&connector, mute).await.unwrap();
    let mut client = Connection::over(encrypt(&connector, whole).await.unwrap());
    client
        .write(&gate.get("/page").bearer(&token).bytes())
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"));
    client.closed().await;
    assert_eq!(gate.program.ended().await, 0);
    let said = gate.program.said();
    assert!(!said.contains("after drain_timeout"), "{said}");
    drop((stalled, mute));
}

#[tokio::test]
async fn a_request_over_tls_is_like_any_other_and_says_https() {
    let files = Files::new();
    let world = start(&files.table()).await;
    let client = || files.authority.client();
    for client in [client(), client().only_tls12(), client().only_tls13()] {
        let mut connection = client.connect(world.address()).await;
        let code = serde_json::json!({ "code": world.code("alice") });
        connection
            .write(&world.post("/wx/login").json(&code).bytes())
            .await;
        let token = connection.answer().await.token();
        let asked = world.post("/page").bearer(&token).body("hello");
        connection.write(&asked.bytes()).await;
        assert_eq!(connection.answer().await.text(), "POST /page 5 bytes");
        let seen = world.app.last();
        let port = world.address().port().to_string();
        for (name, value) in [
            ("x-forwarded-proto", "https"),
            ("x-forwarded-port", &*port),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-wx-openid", &*world.openid("alice")),
        ] {
            assert_eq!(seen.header(name), [value], "{name}");
        }
    }
}

#[tokio::test]
async fn a_request_that_has_been_decrypted_already_waits_for_nothing_more_to_come() {
    let files = Files::new();
    let world = start(&format!("{}[access]\ndefault = \"public\"", files.table())).await;
    let connector = files.authority.client().only_tls13().connector();
    // In one piece with the end of the handshake: whoever reads that has read the request.
    let socket = encrypt_and_say(&connector, world.address(), &world.get("/first").bytes()).await;
    let mut connection = Connection::over(socket);
    assert_eq!(connection.answer().await.text(), "GET /first 0 bytes");
    // One record, of which the first read takes a part; and the next request within another one.
    let long = world.post("/second").body("x".repeat(10_000)).bytes();
    connection.write(&long).await;
    assert_eq!(connection.answer().await.text(), "POST /second 10000 bytes");
    let both = [world.get("/third").bytes(), world.get("/fourth").bytes()];
    connection.write(&both.concat()).await;
    for path in ["/third", "/fourth"] {
        let text = connection.answer().await.text();
        assert_eq!(text, format!("GET {path} 0 bytes"));
    }
}

#[tokio::test]
async fn a_client_chooses_the_version_of_http_by_alpn() {
    let files = Files::new();
    let world = start(&files.table()).await;
    for (offered, chosen) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&["smtp", "http/1.1"], Some("http/1.1")),
        (&["http/1.0"], Some("http/1.0")),
        (&[], None),
    ] {
        let client = files.authority.client().speaking(offered).connector();
        let socket = handshake(&client, world.address()).await.unwrap();
        let alpn = socket.get_ref().1.alpn_protocol();
        assert_eq!(alpn, chosen.map(str::as_bytes), "{offered:?}");
    }
}

#[tokio::test]
async fn curl_speaks_every_version_of_tls_and_http_with_it() {
    let files = Files::new();
    let world = start(&files.table()).await;
    let token = log_in(&files, world.address(), world.code("alice")).await;
    let port = world.address().port();
    let url = format!("https://gate.example:{port}/page");
    let bearer = format!("Authorization: Bearer {token}");
    for (arguments, version) in [
        // That is how curl writes 1.0.
        (&["--http1.0"][..], "1"),
        (&["--http1.1"], "1.1"),
        (&["--http2"], "2"),
        (&["--http2-prior-knowledge"], "2"),
        (&["--http1.1", "--tls-max", "1.2"], "1.1"),
        (&["--http2", "--tls-max", "1.2"], "2"),
        (&["--http2", "--tlsv1.3"], "2"),
    ] {
        let told = [
            "--write-out",
            " %{http_code} %{http_version}",
            "-H",
            &bearer,
            &url,
        ];
        let ran = curl(&files, port, &[arguments, &told].concat()).await;
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        let expected = format!("GET /page 0 bytes 200 {version}");
        assert_eq!(said, expected, "{arguments:?} {ran:?}");
        assert_eq!(world.app.last().header("x-forwarded-proto"), ["https"]);
    }
    let clear = format!("http://gate.example:{port}/page");
    let ran = curl(&files, port, &["-H", &bearer, &clear]).await;
    // "The server didn't reply anything", curl(1).
    assert_eq!(
        (ran.status.code(), &ran.stdout[..]),
        (Some(52), &b""[..]),
        "{ran:?}"
    );
}

#[tokio::test]
async fn curl_needs_a_certificate_where_clients_must_have_one() {
    let (files, ours, theirs) = (Files::new(), Authority::new(), Authority::new());
    let world = start(&files.table_for_known_clients(&ours)).await;
    let port = world.address().port();
    let url = format!("https://gate.example:{port}/page");
    let (ours, theirs) = (ours.vouch(), theirs.vouch());
    for (name, pair) in [("ours", &ours), ("theirs", &theirs)] {
        let whole = format!("{}{}", pair.cert, pair.key);
        std::fs::write(files.path(name), whole).unwrap();
    }
    let with = async |name: &str| {
        let path = files.path(name).display().to_string();
        curl(
            &files,
            port,
            &[
                "--cert",
                &path,
                "-w",
                "%{http_code}",
                "-o",
                "/dev/null",
                &url,
            ],
        )
        .await
    };
    let ran = with("ours").await;
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "401", "{ran:?}");
    for ran in [with("theirs").await, curl(&files, port, &[&url]).await] {
        assert!(!ran.status.success(), "{ran:?}");
        assert!(!String::from_utf8_lossy(&ran.stdout).contains("session_required"));
    }
}

#[tokio::test]
async fn a_websocket_works_over_tls_and_ends_with_its_session() {
    let files = Files::new();
    let world = start(&files.table()).await;
    let token = log_in(&files, world.address(), world.code("alice")).await;
    let connector = files.authority.client().connector();
    let socket = handshake(&connector, world.address()).await.unwrap();
    let request = http::Request::builder()
        .uri("wss://gate.example/socket")
        .header("Host", "gate.example")
        .header("Authorization", format!("Bearer {token}"))
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(())
        .unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, socket)
        .await
        .unwrap();
    for text in ["hello", &"x".repeat(200_000)] {
        socket.send(Message::text(text)).await.unwrap();
        let echo = tokio::time::timeout(STUCK, socket.next()).await.unwrap();
        assert_eq!(echo.unwrap().unwrap().to_text().unwrap(), text);
    }
    let mut other = files.authority.client().connect(world.address()).await;
    let end = world.request("DELETE", "/wx/session").bearer(&token);
    assert_eq!(ask(&mut other, end).await, 204);
    let end = tokio::time::timeout(STUCK, socket.next()).await.unwrap();
    assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_tells_a_whole_one_from_a_broken_one() {
    let files = Files::new();
    let world = start(&format!("{}[access]\ndefault = \"public\"", files.table())).await;
    for (target, whole) in [("/chunked/3", true), ("/break-chunked", false)] {
        let connector = files.authority.client().connector();
        let mut socket = handshake(&connector, world.address()).await.unwrap();
        let request = format!("GET {target} HTTP/1.0\r\nHost: x\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let end = tokio::time::timeout(STUCK, socket.read_to_end(&mut answer))
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert!(
            text.starts_with("HTTP/1.0 200") && text.contains("chunk"),
            "{text}"
        );
        match end {
            Ok(_) => assert!(whole, "a clean end: {text}"),
            Err(error) => {
                assert!(!whole, "{error}: {text}");
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
            }
        }
    }
}

#[tokio::test]
async fn a_unix_socket_beside_it_stays_in_clear_text() {
    let files = Files::new();
    let path = files.path("gate.sock");
    let setup = Setup {
        listen: format!("[\"127.0.0.1:0\", \"unix:{}\"]", path.display()),
        ..Setup::with(&files.table())
    };
    let world = setup.start().await;
    assert!(matches!(&world.gate.addresses[1], Listen::Unix(_)));
    let token = log_in(&files, world.address(), world.code("alice")).await;
    let answer = over_unix(&path, world.get("/page").bearer(&token)).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(world.app.last().header("x-forwarded-proto"), ["http"]);
}

async fn over_unix(path: &Path, request: Request) -> String {
    let mut socket = UnixStream::connect(path).await.unwrap();
    let request = request.header("Connection", "close");
    socket.write_all(&request.bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_versions_are_tls_1_2_and_1_3() {
    let files = Files::new();
    let world = start(&files.table()).await;
    let client = || files.authority.client();
    for (client, version) in [
        (client().only_tls12(), ProtocolVersion::TLSv1_2),
        (client(), ProtocolVersion::TLSv1_3),
    ] {
        let socket = handshake(&client.connector(), world.address())
            .await
            .unwrap();
        assert_eq!(socket.get_ref().1.protocol_version(), Some(version));
        let shown = socket.get_ref().1.peer_certificates().unwrap();
        assert_eq!(shown, [files.pair.der()]);
    }
}

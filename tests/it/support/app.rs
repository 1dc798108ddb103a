//! An app server that writes down what it gets and answers as the path asks. It reads raw bytes, so
//! that it sees the spelling of names, the trailers, and how often it is asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::pattern;
use crate::support::reader::Reader;

/// One request as it arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// The target, byte for byte.
    pub(crate) target: String,
    /// Names in the spelling in which they came.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) trailers: Vec<(String, String)>,
    /// At most the first MiB.
    pub(crate) body: Vec<u8>,
    pub(crate) body_length: usize,
    /// Whether the body departs from the pattern of [`pattern`].
    pub(crate) off_pattern: bool,
    /// The how-manieth request on its connection, from 0.
    pub(crate) nth: usize,
}

impl Seen {
    /// All values of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let named = self
            .headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// The app server. What it does is asked for by the path:
///
/// - `/chunked/N`: N chunks of `chunk`
/// - `/bytes/N`: N bytes with a length
/// - `/pattern/N`: N bytes of the pattern; reads its own request body slowly
/// - `/status/N`: that status, without a body
/// - `/events`: an event stream; an event for each call of [`AppServer::emit`]
/// - `/wait/N`: answers after N milliseconds
/// - `/slow`: never answers · `/garbage`: answers with no HTTP · `/break`: breaks off in its body
/// - `/hangup`: closes without an answer · `/hangup-reused`: the same, on a reused connection only
/// - `/early`: answers 413 before the body has come · `/interim`: sends 103 first
/// - `/socket`: a WebSocket that echoes, and closes with N when told `close N`
/// - `/plainsocket`: the same, but chooses no subprotocol
/// - `/badsocket`: a 101 with the wrong accept value · `/deafsocket`: a WebSocket that never ends
/// - `/hook/WHAT`: what [`hook`] says of a login
/// - `/hop`: an answer with connection headers
/// - `/set-cookie`: an answer that sets cookies, some under the name `sid` as servers and browsers read it
/// - `/kept-for-ever`: a connection offered for longer than there is time
/// - `/two-framings`: chunks that say `abcdef`, and a length of three
/// - anything else: 200 with what it saw of the request as text
#[derive(Clone, Debug)]
pub(crate) struct AppServer {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    received: Arc<AtomicUsize>,
    sockets: Arc<AtomicUsize>,
    events: tokio::sync::broadcast::Sender<String>,
}

impl AppServer {
    pub(crate) async fn start(stop: CancellationToken) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            connections: Arc::default(),
            received: Arc::default(),
            sockets: Arc::default(),
            events: tokio::sync::broadcast::Sender::new(64),
        };
        let accepting = server.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (socket, _) = accepted.unwrap();
                        accepting.connections.fetch_add(1, Ordering::SeqCst);
                        tokio::spawn(accepting.clone().serve(socket, stop.clone()));
                    }
                    () = stop.cancelled() => return,
                }
            }
        });
        server
    }

    /// Everything that has arrived.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// What arrived last.
    #[track_caller]
    pub(crate) fn last(&self) -> Seen {
        self.seen
            .lock()
            .last()
            .cloned()
            .expect("nothing reached the app server")
    }

    /// How many requests have arrived.
    pub(crate) fn count(&self) -> usize {
        self.seen.lock().len()
    }

    /// How many of them for this target.
    fn times(&self, target: &str) -> usize {
        let seen = self.seen.lock();
        seen.iter().filter(|seen| seen.target == target).count()
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many bytes of request bodies have arrived, whole or not.
    pub(crate) fn received(&self) -> usize {
        self.received.load(Ordering::SeqCst)
    }

    /// How many WebSockets are open.
    pub(crate) fn sockets(&self) -> usize {
        self.sockets.load(Ordering::SeqCst)
    }

    /// Sends an event to everybody who listens to `/events`.
    pub(crate) fn emit(&self, event: &str) {
        // Nobody listening is fine.
        drop(self.events.send(event.to_owned()));
    }

    /// How many listen to `/events`.
    pub(crate) fn listeners(&self) -> usize {
        self.events.receiver_count()
    }

    async fn serve(self, socket: TcpStream, stop: CancellationToken) {
        tokio::select! {
            () = self.exchange(socket) => {}
            () = stop.cancelled() => {}
        }
    }

    async fn exchange(self, socket: TcpStream) {
        socket.set_nodelay(true).unwrap();
        let mut reader = Reader::new(socket, Arc::clone(&self.received));
        for nth in 0.. {
            let Some(mut seen) = reader.head().await else {
                return;
            };
            seen.nth = nth;
            let path = seen.target.split('?').next().unwrap().to_owned();
            if path == "/early" {
                self.seen.lock().push(seen);
                reader
                    .say("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .await;
                return reader.linger().await;
            }
            if !reader.body(&mut seen).await {
                self.seen.lock().push(seen);
                return;
            }
            self.seen.lock().push(seen.clone());
            if !self.answer(&mut reader, &path, &seen).await {
                return;
            }
        }
    }

    /// Answers; gives whether the connection goes on.
    async fn answer(&self, reader: &mut Reader, path: &str, seen: &Seen) -> bool {
        let number = || path.rsplit('/').next().unwrap().parse::<usize>().unwrap();
        if let Some((text, goes_on)) = fixed(path, seen) {
            return reader.say(text).await && goes_on;
        }
        match path {
            _ if path.starts_with("/bytes/") => {
                let piece = vec![b'x'; 64 * 1024];
                stream(reader, number(), |_, left| &piece[..left.min(piece.len())]).await
            }
            _ if path.starts_with("/pattern/") => stream(reader, number(), pattern::piece).await,
            _ if path.starts_with("/chunked/") => {
                reader
                    .say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .await;
                for _ in 0..number() {
                    reader.say("5\r\nchunk\r\n").await;
                }
                reader.say("0\r\n\r\n").await
            }
            _ if path.starts_with("/status/") => {
                reader
                    .say(&format!("HTTP/1.1 {} Status\r\n\r\n", number()))
                    .await
            }
            _ if path.starts_with("/hook/") => {
                let first = self.times(path) == 1;
                let (status, body) = hook(path, first);
                let length = body.len();
                let head = format!("HTTP/1.1 {status} Status\r\nContent-Length: {length}\r\n\r\n");
                reader.say(&head).await && reader.say(&body).await
            }
            "/events" => self.stream_events(reader).await,
            _ if path.starts_with("/wait/") => {
                tokio::time::sleep(Duration::from_millis(1) * u32::try_from(number()).unwrap())
                    .await;
                reader
                    .say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await
            }
            "/slow" => std::future::pending().await,
            "/deafsocket" => {
                accept(reader, seen, false).await;
                std::future::pending().await
            }
            "/socket" | "/plainsocket" | "/badsocket" => {
                self.sockets.fetch_add(1, Ordering::SeqCst);
                websocket(reader, seen, path == "/badsocket").await;
                self.sockets.fetch_sub(1, Ordering::SeqCst);
                false
            }
            _ => {
                let text = format!("{} {} {} bytes", seen.method, seen.target, seen.body_length);
                let length = text.len();
                reader
                    .say(&format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}"
                    ))
                    .await
            }
        }
    }

    async fn stream_events(&self, reader: &mut Reader) -> bool {
        let mut events = self.events.subscribe();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        if !reader.say(head).await {
            return false;
        }
        let mut byte = [0];
        loop {
            tokio::select! {
                event = events.recv() => {
                    let event = format!("data: {}\n\n", event.unwrap());
                    if !reader.say(&format!("{:x}\r\n{event}\r\n", event.len())).await {
                        return false;
                    }
                }
                // Nothing more is to come from the gate but the end.
                _ = reader.socket.read(&mut byte) => return false,
            }
        }
    }
}

/// What a login hook answers.
fn hook(path: &str, first: bool) -> (u16, String) {
    let welcome = || r#"{"name": "Alice", "big": 12345678901234567890123}"#.to_owned();
    match path {
        "/hook/welcome" => (200, welcome()),
        "/hook/first" => (if first { 200 } else { 403 }, welcome()),
        "/hook/created" => (201, "null".to_owned()),
        "/hook/refuses" => (403, welcome()),
        "/hook/moved" => (302, welcome()),
        "/hook/fails" => (500, welcome()),
        "/hook/empty" => (200, String::new()),
        "/hook/words" => (200, "welcome".to_owned()),
        "/hook/two" => (200, "{} {}".to_owned()),
        "/hook/huge" => (200, format!("\"{}\"", "x".repeat(64 * 1024))),
        other => panic!("{other}"),
    }
}

/// An answer that is always the same, and whether the connection goes on after it.
fn fixed(path: &str, seen: &Seen) -> Option<(&'static str, bool)> {
    Some(match path {
        "/garbage" => ("this is not HTTP\r\n\r\n", false),
        "/break" => (
            "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this",
            false,
        ),
        "/break-chunked" => (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nchunk\r\n",
            false,
        ),
        "/hangup" => ("", false),
        "/hangup-reused" if seen.nth > 0 => ("", false),
        "/interim" => (
            "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            true,
        ),
        "/hop" => (
            "HTTP/1.1 200 OK\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n\
             Keep-Alive: timeout=5\r\nX-App: yes\r\nContent-Length: 2\r\n\r\nok",
            true,
        ),
        "/set-cookie" => (
            "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: sid=fixed; Path=/\r\n\
             set-cookie:  SID = x\r\nSet-Cookie: %73id=x\r\nSet-Cookie: sid\r\nSet-Cookie: b=sid=1\r\n\
             Content-Length: 2\r\n\r\nok",
            true,
        ),
        "/kept-for-ever" => (
            "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=18446744073709551615\r\n\
             Content-Length: 2\r\n\r\nok",
            true,
        ),
        "/two-framings" => (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
             6\r\nabcdef\r\n0\r\n\r\n",
            true,
        ),
        "/slow" | "/socket" | "/plainsocket" | "/badsocket" | "/deafsocket" | "/events" => {
            return None;
        }
        _ if seen.method == "HEAD" && !path.starts_with("/status/") => {
            ("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", true)
        }
        _ => return None,
    })
}

/// Answers with so many bytes, told by their place and how many are left.
async fn stream<'a>(
    reader: &mut Reader,
    length: usize,
    piece: impl Fn(usize, usize) -> &'a [u8],
) -> bool {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    reader.say(&head).await;
    let mut at = 0;
    while at < length {
        let piece = piece(at, length - at);
        if !reader.write(piece).await {
            return false;
        }
        at += piece.len();
    }
    true
}

/// Opens a WebSocket.
async fn accept(reader: &mut Reader, seen: &Seen, wrong: bool) {
    use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

    let key = seen
        .header("sec-websocket-key")
        .first()
        .copied()
        .unwrap_or_default()
        .to_owned();
    let accept = derive_accept_key(if wrong { b"wrong" } else { key.as_bytes() });
    let protocol = seen.header("sec-websocket-protocol");
    let protocol = protocol
        .first()
        .and_then(|offered| offered.split(',').next())
        .filter(|_| !seen.target.starts_with("/plainsocket"));
    let protocol = protocol.map(|chosen| format!("Sec-WebSocket-Protocol: {}\r\n", chosen.trim()));
    reader
        .say(&format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{}\r\n",
            protocol.unwrap_or_default()
        ))
        .await;
}

async fn websocket(reader: &mut Reader, seen: &Seen, wrong: bool) {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::protocol::Role;
    use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

    accept(reader, seen, wrong).await;
    let mut socket =
        tokio_tungstenite::WebSocketStream::from_raw_socket(&mut reader.socket, Role::Server, None)
            .await;
    while let Some(Ok(message)) = socket.next().await {
        if let Ok(Some(code)) = message.to_text().map(|text| text.strip_prefix("close ")) {
            let code = CloseCode::from(code.parse::<u16>().unwrap());
            let reason = "as told".into();
            drop(socket.close(Some(CloseFrame { code, reason })).await);
            continue;
        }
        let echo = message.is_text() || message.is_binary();
        if echo && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// Looks at something again and again until it holds; fails when it never does.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let watched = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(super::STUCK, watched)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

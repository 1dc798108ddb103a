//! An app server over HTTP/2 that writes down what it gets and answers as the path asks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::pattern;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) scheme: String,
    pub(crate) authority: String,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

impl Seen {
    /// All values of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let values = self.headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap()).collect()
    }
}

/// The app server. What it does is asked for by the path:
///
/// - `/bytes/N`: N bytes with a length · `/pattern/N`: N bytes of the pattern, without one
/// - `/status/N`: that status, without a body
/// - `/drops/N`: N pieces of 50 bytes
/// - `/events`: an event stream; an event for each call of [`H2App::emit`]
/// - `/slow`: never answers
/// - `/large-head`: a head of 100 000 bytes · `/short`: fewer bytes than announced · `/two-lengths`: announces twice
/// - `/trailers`: trailers, fit and unfit · `/only-trailers`: as gRPC refuses
/// - `/trailers/N`: N bytes with a length, and then trailers
/// - `/interim/N`: sends 103 so many times first
/// - anything else: 200 with what it saw of the request as text
#[derive(Clone)]
pub(crate) struct H2App {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Requests of which the head has arrived.
    begun: Arc<AtomicUsize>,
    received: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    resets: Arc<Mutex<Vec<Reason>>>,
    events: tokio::sync::broadcast::Sender<String>,
    max_streams: Option<u32>,
    /// Whoever speaks HTTP/1.1 is passed on to there.
    http1: Option<SocketAddr>,
    stop: CancellationToken,
    _stop: Arc<DropGuard>,
}

impl H2App {
    pub(crate) async fn start() -> Self {
        Self::start_as(None, None).await
    }

    /// Allows so many requests at once on a connection.
    pub(crate) async fn allowing(max_streams: u32) -> Self {
        Self::start_as(Some(max_streams), None).await
    }

    /// Passes on whoever speaks HTTP/1.1.
    pub(crate) async fn beside(http1: SocketAddr) -> Self {
        Self::start_as(None, Some(http1)).await
    }

    async fn start_as(max_streams: Option<u32>, http1: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stop = CancellationToken::new();
        let app = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            begun: Arc::default(),
            received: Arc::default(),
            connections: Arc::default(),
            open: Arc::default(),
            resets: Arc::default(),
            events: tokio::sync::broadcast::Sender::new(64),
            max_streams,
            http1,
            stop: stop.clone(),
            _stop: Arc::new(stop.drop_guard()),
        };
        let stop = app.stop.clone();
        let accepting = app.weak();
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                socket.set_nodelay(true).unwrap();
                tokio::spawn(accepting.clone().meet(socket));
            }
        }));
        app
    }

    /// Listens there too.
    pub(crate) fn listen(&self, listener: UnixListener) {
        let accepting = self.weak();
        tokio::spawn(self.stop.clone().run_until_cancelled_owned(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(accepting.clone().serve(socket));
            }
        }));
    }

    /// The same, without keeping it alive.
    fn weak(&self) -> Self {
        Self {
            _stop: Arc::new(CancellationToken::new().drop_guard()),
            ..self.clone()
        }
    }

    /// Everything that has arrived as a whole.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// What arrived last.
    #[track_caller]
    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("nothing reached the app server")
    }

    /// How many requests have arrived, perhaps without their bodies.
    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// How many bytes of request bodies have arrived.
    pub(crate) fn received(&self) -> usize {
        self.received.load(Ordering::SeqCst)
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many of them are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Why requests were given up by the gate.
    pub(crate) fn resets(&self) -> Vec<Reason> {
        self.resets.lock().clone()
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

    async fn meet(self, mut socket: TcpStream) {
        let mut first = [0];
        let Some(http1) = self.http1 else {
            return self.serve(socket).await;
        };
        socket.peek(&mut first).await.unwrap();
        if first == *b"P" {
            return self.serve(socket).await;
        }
        let mut http1 = TcpStream::connect(http1).await.unwrap();
        drop(tokio::io::copy_bidirectional(&mut socket, &mut http1).await);
    }

    async fn serve<S>(self, socket: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.connections.fetch_add(1, Ordering::SeqCst);
        self.open.fetch_add(1, Ordering::SeqCst);
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.accept(socket)).await;
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    async fn accept<S>(&self, socket: S)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut builder = Builder::new();
        if let Some(max) = self.max_streams {
            builder.max_concurrent_streams(max);
        }
        let Ok(mut connection) = builder.handshake(socket).await else {
            return;
        };
        while let Some(Ok((request, respond))) = connection.accept().await {
            self.begun.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(self.weak().answer(request, respond));
        }
    }

    async fn answer(self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let path = request.uri().path().to_owned();
        let number = || path.rsplit('/').next().unwrap().parse::<usize>().unwrap();
        if path.starts_with("/pattern/") {
            let receiving = tokio::spawn(self.clone().receive(request));
            let mut stream = begin(&mut respond, Response::new(()));
            self.stream(&mut stream, number()).await;
            drop(receiving);
            return;
        }
        let Some(seen) = self.clone().receive(request).await else {
            return;
        };
        if path == "/slow" {
            let reset = std::future::poll_fn(|context| respond.poll_reset(context)).await;
            self.resets.lock().extend(reset.ok());
            return;
        }
        if path.starts_with("/interim/") {
            for _ in 0..number() {
                let interim = Response::builder().status(103).header("link", "</x>");
                drop(respond.send_informational(interim.body(()).unwrap()));
            }
        }
        self.answer_seen(&path, &seen, respond).await;
    }

    async fn answer_seen(&self, path: &str, seen: &Seen, mut respond: SendResponse<Bytes>) {
        let number = || path.rsplit('/').next().unwrap().parse::<usize>().unwrap();
        let builder = Response::builder();
        let text = format!("{} {} {} bytes", seen.method, seen.target, seen.body.len());
        match path {
            _ if path.starts_with("/status/") => {
                let response = builder.status(u16::try_from(number()).unwrap());
                respond
                    .send_response(response.body(()).unwrap(), true)
                    .unwrap();
            }
            "/only-trailers" => {
                let response = builder.header("grpc-status", "12").body(()).unwrap();
                respond.send_response(response, true).unwrap();
            }
            "/trailers" => {
                let mut stream = begin(&mut respond, Response::new(()));
                stream.send_data(text.into(), false).unwrap();
                stream.send_trailers(trailers()).unwrap();
            }
            _ if path.starts_with("/trailers/") => {
                let response = builder.header("content-length", number());
                let mut stream = begin(&mut respond, response.body(()).unwrap());
                if number() > 0 {
                    let data = "x".repeat(number());
                    stream.send_data(data.into(), false).unwrap();
                }
                stream.send_trailers(trailers()).unwrap();
            }
            _ if path.starts_with("/bytes/") => {
                let response = builder.header("content-length", number());
                let mut stream = begin(&mut respond, response.body(()).unwrap());
                self.stream(&mut stream, number()).await;
            }
            _ if path.starts_with("/drops/") => {
                let mut stream = begin(&mut respond, Response::new(()));
                drops(&mut stream, number()).await;
            }
            "/large-head" => {
                let response = builder.header("x-large", "x".repeat(100_000));
                respond
                    .send_response(response.body(()).unwrap(), true)
                    .unwrap();
            }
            "/short" => {
                let response = builder.header("content-length", "10").body(()).unwrap();
                let mut stream = begin(&mut respond, response);
                stream.send_data("hello".into(), true).unwrap();
            }
            "/two-lengths" => {
                let response = builder.header("content-length", "5");
                let response = response.header("content-length", "5").body(()).unwrap();
                let mut stream = begin(&mut respond, response);
                stream.send_data("hello".into(), true).unwrap();
            }
            "/events" => {
                let mut stream = begin(&mut respond, Response::new(()));
                self.stream_events(&mut stream).await;
            }
            _ => {
                let response = builder.header("content-length", text.len());
                let mut stream = begin(&mut respond, response.body(()).unwrap());
                // A client that asks with HEAD takes none of it.
                drop(stream.send_data(text.into(), true));
            }
        }
    }

    /// Reads the body, and writes the request down; `None` when it did not come to its end.
    async fn receive(self, request: Request<RecvStream>) -> Option<Seen> {
        let (head, mut body) = request.into_parts();
        let mut seen = Seen {
            method: head.method.to_string(),
            scheme: head.uri.scheme_str().unwrap_or_default().to_owned(),
            authority: head
                .uri
                .authority()
                .map(ToString::to_string)
                .unwrap_or_default(),
            target: head.uri.path_and_query().unwrap().to_string(),
            headers: head.headers,
            body: Vec::new(),
            trailers: HeaderMap::new(),
        };
        while let Some(data) = body.data().await {
            let data = match data {
                Ok(data) => data,
                Err(error) => {
                    self.resets.lock().extend(error.reason());
                    return None;
                }
            };
            body.flow_control().release_capacity(data.len()).unwrap();
            self.received.fetch_add(data.len(), Ordering::SeqCst);
            seen.body.extend_from_slice(&data);
        }
        seen.trailers = body.trailers().await.ok()?.unwrap_or_default();
        self.seen.lock().push(seen.clone());
        Some(seen)
    }

    /// Sends so many bytes of the pattern, as the gate takes them.
    async fn stream(&self, stream: &mut SendStream<Bytes>, length: usize) {
        let mut at = 0;
        while at < length {
            stream.reserve_capacity(length - at);
            if !has_room(stream).await {
                let reset = std::future::poll_fn(|context| stream.poll_reset(context)).await;
                self.resets.lock().extend(reset.ok());
                return;
            }
            let room = stream.capacity();
            let piece = pattern::piece(at, (length - at).min(room));
            at += piece.len();
            drop(stream.send_data(Bytes::copy_from_slice(piece), at == length));
        }
    }

    async fn stream_events(&self, stream: &mut SendStream<Bytes>) {
        let mut events = self.events.subscribe();
        loop {
            tokio::select! {
                event = events.recv() => {
                    let Ok(event) = event else { return };
                    drop(stream.send_data(event.into(), false));
                }
                reset = std::future::poll_fn(|context| stream.poll_reset(context)) => {
                    self.resets.lock().extend(reset.ok());
                    return;
                }
            }
        }
    }
}

/// Waits until something can be sent; `false` when nothing ever can.
async fn has_room(stream: &mut SendStream<Bytes>) -> bool {
    // Room that is there already is told once only.
    if stream.capacity() > 0 {
        return true;
    }
    let room = std::future::poll_fn(|context| stream.poll_capacity(context));
    matches!(room.await, Some(Ok(_)))
}

/// Sends so many small pieces, as the gate takes them.
async fn drops(stream: &mut SendStream<Bytes>, number: usize) {
    for left in (0..number).rev() {
        stream.reserve_capacity(1);
        if !has_room(stream).await {
            return;
        }
        drop(stream.send_data(Bytes::from_static(&[b'x'; 50]), left == 0));
    }
}

fn begin(respond: &mut SendResponse<Bytes>, response: Response<()>) -> SendStream<Bytes> {
    respond.send_response(response, false).unwrap()
}

/// Trailers, of which only the first may reach a client.
fn trailers() -> HeaderMap {
    let all = [
        ("grpc-status", "0"),
        ("x-app", "yes"),
        ("set-cookie", "a=b"),
        ("authorization", "Bearer x"),
        ("content-length", "3"),
        ("content-type", "text/html"),
        ("host", "other"),
        ("trailer", "x"),
        ("proxy-authenticate", "Basic"),
    ];
    let fields = all.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    HeaderMap::from_iter(fields)
}

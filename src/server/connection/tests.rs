//! Promises about the end of connections that wait for something, in which time is the clock's: what
//! comes first is heard, and nobody is waited for without a bound.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::task::Context;

use http::StatusCode;
use http_body_util::Empty;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, DuplexStream, ReadBuf};
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{Instant, sleep};

use super::*;
use crate::domain::fields::HeaderFields;
use crate::domain::limits::DRAIN_REFUSED_FOR;
use crate::domain::peer::{Address, Scheme, TrustedProxies};
use crate::server::capacity::Capacity;
use crate::server::crew::Crew;

/// The client's SETTINGS: none differs from the default.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// The kind of a HEADERS frame (RFC 9113 §6.2).
const HEADERS: u8 = 1;

/// The kind of a GOAWAY frame (RFC 9113 §6.8).
const GOAWAY: u8 = 7;

/// A socket that sends what is written last together with the end, and not before: what a system does
/// in a few milliseconds is never here.
#[derive(Debug)]
struct Holding {
    socket: DuplexStream,
    held: Vec<u8>,
}

impl Socket for Holding {
    const CLOSE_IS_GOODBYE: bool = true;

    fn break_off(&self) {}

    fn poll_write_last(
        &mut self,
        parts: &[IoSlice<'_>],
        _context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let before = self.held.len();
        for part in parts {
            self.held.extend_from_slice(part);
        }
        Poll::Ready(Ok(self.held.len() - before))
    }
}

impl AsyncRead for Holding {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Holding {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, held } = &mut *self;
        while !held.is_empty() {
            let written = ready!(Pin::new(&mut *socket).poll_write(context, held))?;
            held.drain(..written);
        }
        Pin::new(socket).poll_shutdown(context)
    }
}

/// Answers every request with this status, without a look at its body.
struct Answering(StatusCode);

impl Handler for Answering {
    type Body = Empty<Bytes>;

    async fn answer<'a>(
        &'a self,
        _request: Request<RequestBody>,
        _peer: &'a Arc<Peer>,
    ) -> Response<Self::Body> {
        Response {
            request_id: None,
            status: self.0,
            passed: HeaderFields::default(),
            own: Vec::new(),
            body: Empty::new(),
        }
    }

    fn not_http(&self) {}
}

/// Serves a client from its first byte on.
async fn serve_client(
    state: Rc<State>,
    status: StatusCode,
) -> (DuplexStream, impl Future<Output = ()>) {
    let (client, socket) = tokio::io::duplex(64 * 1024);
    let (crew, _seats) = Crew::new(1);
    let place = (Capacity::new(1).take().await, crew.enter(0));
    let service = Rc::new(Service {
        handler: Rc::new(Answering(status)),
        limits: Limits::default(),
        heads: SpareHeads::default(),
        buffers: SpareBuffers::default(),
    });
    let from = Address::from(IpAddr::from(Ipv4Addr::LOCALHOST));
    let peer = Peer::new(from, Scheme::Http, None, &TrustedProxies::default());
    let socket = Holding {
        socket,
        held: Vec::new(),
    };
    let socket = Watched::new(socket, Rc::clone(&state), &service.limits, place);
    (client, serve(socket, Arc::new(peer), state, service))
}

/// The kinds of all frames that come until the connection ends or says GOAWAY.
async fn kinds_until_goaway(client: &mut DuplexStream) -> Vec<u8> {
    let mut kinds = Vec::new();
    let mut head = [0; HEAD_BYTES];
    while !kinds.contains(&GOAWAY) && client.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        client.read_exact(&mut payload).await.unwrap();
        kinds.push(head[3]);
    }
    kinds
}

#[tokio::test(start_paused = true)]
async fn who_is_asked_to_go_before_it_is_known_to_speak_http2_is_told_so_in_http2() {
    let local = LocalSet::new();
    let told = local.run_until(async {
        let state = State::new();
        let (mut client, serving) = serve_client(Rc::clone(&state), StatusCode::OK).await;
        spawn_local(serving);
        let (begun, rest) = PREFACE.split_at(10);
        client.write_all(begun).await.unwrap();
        state.drain();
        // The end is heard here, by somebody who does not know yet in which words to tell it.
        for _ in 0..8 {
            yield_now().await;
        }
        client.write_all(rest).await.unwrap();
        client.write_all(SETTINGS).await.unwrap();
        kinds_until_goaway(&mut client).await
    });
    let kinds = told.await;
    assert_eq!(kinds.last(), Some(&GOAWAY), "{kinds:?}");
}

/// A GET of `/` on this stream, which ends with it (RFC 9113 §6.2, RFC 7541 appendix A).
fn get(stream: u8) -> [u8; HEAD_BYTES + 6] {
    [
        0, 0, 6, HEADERS, 5, 0, 0, 0, stream, 0x82, 0x86, 0x84, 0x41, 1, b'x',
    ]
}

#[tokio::test(start_paused = true)]
async fn an_http2_connection_whose_requests_are_answered_at_once_is_not_taken_for_an_idle_one() {
    let local = LocalSet::new();
    let silence = local.run_until(async {
        let (mut client, serving) = serve_client(State::new()).await;
        spawn_local(serving);
        client.write_all(PREFACE).await.unwrap();
        client.write_all(SETTINGS).await.unwrap();
        let limits = Limits::default();
        let began = Instant::now();
        let mut stream = 1;
        while began.elapsed() < limits.header_timeout + 2 * limits.idle_timeout {
            client.write_all(&get(stream)).await.unwrap();
            stream += 2;
            sleep(limits.header_timeout / 2).await;
        }
        let last = Instant::now();
        let kinds = kinds_until_goaway(&mut client).await;
        let answers = kinds.iter().filter(|kind| **kind == HEADERS).count();
        assert_eq!(answers, usize::from(stream / 2), "{kinds:?}");
        assert_eq!(kinds.last(), Some(&GOAWAY), "{kinds:?}");
        (
            last.elapsed() + limits.header_timeout / 2,
            limits.idle_timeout,
        )
    });
    let (silence, allowed) = silence.await;
    assert!(silence >= allowed, "{silence:?}");
    assert!(silence <= allowed + GOODBYE, "{silence:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_that_goes_on_sending_is_not_listened_to_for_ever() {
    let local = LocalSet::new();
    let listened = local.run_until(async {
        let (mut client, serving) = serve_client(State::new(), StatusCode::UNAUTHORIZED).await;
        let began = Instant::now();
        let over = spawn_local(async move {
            serving.await;
            began.elapsed()
        });
        let head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
        client.write_all(head).await.unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 401");
        // Far less than a refused body may have, and without an end.
        while client.write_all(b"more").await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
        over.await.unwrap()
    });
    let listened = listened.await;
    assert!(listened >= DRAIN_REFUSED_FOR, "{listened:?}");
    assert!(listened <= DRAIN_REFUSED_FOR + 2 * GOODBYE, "{listened:?}");
}

/// All that a client gets for a request of this text.
async fn answer_to(request: &str, state: Rc<State>, status: StatusCode) -> String {
    let local = LocalSet::new();
    let answer = local.run_until(async {
        let (mut client, serving) = serve_client(state, status).await;
        spawn_local(serving);
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    });
    answer.await
}

#[tokio::test(start_paused = true)]
async fn a_last_answer_that_waits_for_the_end_of_its_connection_is_whole_at_once() {
    let began = Instant::now();
    for request in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ] {
        let answer = answer_to(request, State::new(), StatusCode::OK).await;
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    }
    let ahead = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /next HTTP/1.1\r\n";
    let answer = answer_to(ahead, State::new(), StatusCode::OK).await;
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(began.elapsed() <= GOODBYE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_does_not_wait_for_its_end_though_no_other_request_follows() {
    let state = State::new();
    state.drain();
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let answer = answer_to(request, state, StatusCode::SWITCHING_PROTOCOLS).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer:?}");
}

//! An app server over HTTP/2 that the test plays itself, frame by frame.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::STUCK;

/// How every client begins (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames (RFC 9113 §6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;

/// Flags: of `DATA` and `HEADERS`, and of `SETTINGS` and `PING`.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// Codes (RFC 9113 §7).
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;

/// `:status 200`, by its place in the static table (RFC 7541 appendix A).
pub(crate) const OK: &[u8] = &[0x88];

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The code of a `RST_STREAM`.
    pub(crate) fn code(&self) -> u32 {
        assert_eq!(self.kind, RST_STREAM, "{self:?}");
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }
}

/// Where the gate connects to.
#[derive(Debug)]
pub(crate) struct Stage(TcpListener);

/// One connection of the gate.
#[derive(Debug)]
pub(crate) struct Played {
    socket: TcpStream,
    buffer: Vec<u8>,
    /// Whether pings are answered.
    pub(crate) alive: bool,
}

impl Stage {
    pub(crate) async fn open() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Waits for a connection, of which nothing has been read.
    pub(crate) async fn accept(&self) -> Played {
        let accepted = tokio::time::timeout(STUCK, self.0.accept()).await;
        let (socket, _) = accepted.expect("nobody connects").unwrap();
        socket.set_nodelay(true).unwrap();
        Played {
            socket,
            buffer: Vec::new(),
            alive: true,
        }
    }

    /// Waits for a connection, and begins HTTP/2 on it.
    pub(crate) async fn meet(&self) -> Played {
        let mut played = self.accept().await;
        played.meet().await;
        played
    }
}

impl Played {
    /// Reads how the client begins.
    pub(crate) async fn begun(&mut self) {
        assert_eq!(self.bytes(PREFACE.len()).await.unwrap(), PREFACE);
    }

    /// Begins HTTP/2.
    pub(crate) async fn meet(&mut self) {
        self.begun().await;
        self.send(SETTINGS, 0, 0, &[]).await;
    }

    /// So many bytes; `None` when the connection ends before.
    async fn bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        let filled = tokio::time::timeout(STUCK, self.fill(count)).await;
        if !filled.expect("nothing came") {
            return None;
        }
        Some(self.buffer.drain(..count).collect())
    }

    async fn fill(&mut self, count: usize) -> bool {
        while self.buffer.len() < count {
            match self.socket.read_buf(&mut self.buffer).await {
                Ok(1..) => {}
                _ => return false,
            }
        }
        true
    }

    /// The next frame, whatever it is; `None` at the end.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        let head = self.bytes(9).await?;
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |sum, &byte| sum << 8 | u32::from(byte))
        };
        let length = usize::try_from(number(&head[..3])).unwrap();
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: number(&head[5..]),
            payload: self.bytes(length).await?,
        })
    }

    /// The next frame of one of these kinds; `None` at the end. Answers what has to be answered.
    pub(crate) async fn next(&mut self, kinds: &[u8]) -> Option<Frame> {
        loop {
            let frame = self.frame().await?;
            if kinds.contains(&frame.kind) {
                return Some(frame);
            }
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[]).await,
                PING if frame.flags & ACK == 0 && self.alive => {
                    self.send(PING, ACK, 0, &frame.payload).await;
                }
                _ => {}
            }
        }
    }

    /// Waits for the head of a request, and gives its stream.
    pub(crate) async fn request(&mut self) -> u32 {
        let head = self.next(&[HEADERS]).await;
        head.expect("the gate closes").stream
    }

    /// Waits until the gate has closed the connection.
    pub(crate) async fn closed(&mut self) {
        while self.next(&[]).await.is_some() {}
    }

    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let bytes = frame(kind, flags, stream, payload);
        self.write(&bytes).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        // The gate may have closed already.
        drop(self.socket.write_all(bytes).await);
    }

    /// Answers with this text.
    pub(crate) async fn answer(&mut self, stream: u32, text: &str) {
        self.send(HEADERS, END_HEADERS, stream, OK).await;
        self.send(DATA, END_STREAM, stream, text.as_bytes()).await;
    }

    pub(crate) async fn reset(&mut self, stream: u32, code: u32) {
        self.send(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
    }

    /// Goes away; streams up to this one may still be answered.
    pub(crate) async fn go_away(&mut self, last: u32, code: u32) {
        let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
        self.send(GOAWAY, 0, 0, &payload).await;
    }
}

/// A frame as it is written.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

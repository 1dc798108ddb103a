//! An HTTP/1.1 client that sends exactly the bytes it is told to and shows exactly what came back.

use std::fmt;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::STUCK;

/// A request to be sent on a connection of its own.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) to: SocketAddr,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// What came back.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case, in order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its announced end.
    pub(crate) whole: bool,
}

impl Request {
    pub(crate) fn new(to: SocketAddr, method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        Self {
            to,
            method,
            target,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn json(self, value: &Value) -> Self {
        self.header("Content-Type", "application/json")
            .body(value.to_string())
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// To whom it will be sent.
    pub(crate) fn to(&self) -> SocketAddr {
        self.to
    }

    /// The bytes on the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let has = |name: &str| {
            self.headers
                .iter()
                .any(|(n, _)| n.eq_ignore_ascii_case(name))
        };
        if !has("host") {
            text.push_str("Host: gate.example\r\n");
        }
        for (name, value) in &self.headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        if !self.body.is_empty() && !has("content-length") && !has("transfer-encoding") {
            let length = self.body.len().to_string();
            text.extend(["Content-Length: ", &length, "\r\n"]);
        }
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it and reads the whole answer.
    pub(crate) async fn send(self) -> Answer {
        let mut connection = Connection::open(self.to).await;
        connection.write(&self.bytes()).await;
        connection.answer_to(&self.method).await
    }

    /// Sends it and leaves the connection open, nothing read yet.
    pub(crate) async fn begin(self) -> Connection {
        let mut connection = Connection::open(self.to).await;
        connection.write(&self.bytes()).await;
        connection
    }
}

/// Shows the body as text, and of a long one the beginning.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.body[..self.body.len().min(1000)];
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("body", &String::from_utf8_lossy(shown))
            .field("bytes", &self.body.len())
            .field("whole", &self.whole)
            .finish()
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The stable code of a problem document; fails when it is none or not whole.
    #[track_caller]
    pub(crate) fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{self:?}");
        for key in ["type", "title", "detail", "action", "request_id"] {
            assert!(
                problem[key].as_str().is_some_and(|text| !text.is_empty()),
                "{key}: {self:?}"
            );
        }
        assert_eq!(
            self.status == 401,
            self.header("www-authenticate").is_some(),
            "{self:?}"
        );
        problem["code"].as_str().unwrap().to_owned()
    }

    /// Checks that it is the problem of this code, with this status and this advice.
    #[track_caller]
    pub(crate) fn is_refused(&self, status: u16, code: &str, action: &str) {
        assert_eq!(self.problem(), code, "{self:?}");
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.json()["action"], action, "{self:?}");
    }

    /// What a problem says to people.
    #[track_caller]
    pub(crate) fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap().to_owned()
    }

    /// The token of a login that went well.
    #[track_caller]
    pub(crate) fn token(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["token"].as_str().unwrap().to_owned()
    }
}

/// A connection to the gate.
#[derive(Debug)]
pub(crate) struct Connection<S = TcpStream> {
    pub(crate) socket: S,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> Self {
        Self::try_open(to).await.expect("nobody listens")
    }

    /// `None` when nobody listens.
    pub(crate) async fn try_open(to: SocketAddr) -> Option<Self> {
        let socket = TcpStream::connect(to).await.ok()?;
        socket.set_nodelay(true).unwrap();
        Some(Self::over(socket))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Over whatever has come about already.
    pub(crate) fn over(socket: S) -> Self {
        Self {
            socket,
            buffer: Vec::new(),
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        // The other side may have closed already; what it said before tells why.
        drop(self.socket.write_all(bytes).await);
    }

    /// Reads one answer to a request of any method but HEAD.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.answer_to("GET").await
    }

    /// Reads one answer to a request of this method; fails when nothing comes.
    pub(crate) async fn answer_to(&mut self, method: &str) -> Answer {
        let read = self.try_answer(method);
        let answer = tokio::time::timeout(STUCK, read)
            .await
            .expect("the gate is stuck");
        answer.expect("the connection ended before the head of an answer")
    }

    /// Reads one answer; `None` when the connection ends before its head is whole.
    pub(crate) async fn try_answer(&mut self, method: &str) -> Option<Answer> {
        loop {
            let (status, headers) = self.head().await?;
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let mut answer = Answer {
                status,
                headers,
                body: Vec::new(),
                whole: true,
            };
            let bodyless = method == "HEAD" || status == 204 || status == 304 || status == 101;
            if !bodyless {
                self.body(&mut answer).await;
            }
            return Some(answer);
        }
    }

    /// Reads the head of an answer, and nothing of its body.
    pub(crate) async fn head(&mut self) -> Option<(u16, Vec<(String, String)>)> {
        let end = self.find(b"\r\n\r\n").await?;
        let head = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some((status, headers))
    }

    /// Reads the next piece of what comes, whatever it is; empty at the end.
    pub(crate) async fn piece(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() {
            let more = tokio::time::timeout(STUCK, self.more()).await;
            more.expect("nothing came");
        }
        std::mem::take(&mut self.buffer)
    }

    async fn body(&mut self, answer: &mut Answer) {
        if let Some(length) = answer.header("content-length") {
            let length = length.parse().unwrap();
            answer.whole = self.fill(length).await;
            answer.body = self.buffer.drain(..length.min(self.buffer.len())).collect();
        } else if answer.header("transfer-encoding").is_some() {
            answer.whole = self.chunks(&mut answer.body).await;
        } else {
            while self.more().await {}
            answer.body = std::mem::take(&mut self.buffer);
        }
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            let Some(end) = self.find(b"\r\n").await else {
                return false;
            };
            let size = String::from_utf8(self.buffer.drain(..end + 2).collect()).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            if !self.fill(size + 2).await {
                body.append(&mut self.buffer);
                return false;
            }
            body.extend(self.buffer.drain(..size));
            self.buffer.drain(..2);
            if size == 0 {
                return true;
            }
        }
    }

    /// Reads until these bytes have come, and gives where they begin.
    async fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        loop {
            let mut windows = self.buffer.windows(bytes.len());
            if let Some(at) = windows.position(|window| window == bytes) {
                return Some(at);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn fill(&mut self, length: usize) -> bool {
        while self.buffer.len() < length {
            if !self.more().await {
                return false;
            }
        }
        true
    }

    async fn more(&mut self) -> bool {
        // Read in place: a piece in between would make every future here as large as it.
        self.buffer.reserve(16 * 1024);
        let read = self.socket.read_buf(&mut self.buffer).await;
        read.is_ok_and(|length| length > 0)
    }

    /// Waits until the other side has closed the connection.
    pub(crate) async fn closed(&mut self) {
        let closed = async { while self.more().await {} };
        tokio::time::timeout(STUCK, closed)
            .await
            .expect("the connection stays open");
    }
}

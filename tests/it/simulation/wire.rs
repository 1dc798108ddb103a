//! HTTP/1.1 as a stranger reads it, byte by byte and without mercy: nothing of the gate's own code.

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How reading came to an end before there was a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The other side has closed.
    Closed,
    /// The connection broke.
    Reset,
    /// This is no HTTP.
    Malformed(String),
}

/// The first line and the fields of a message.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    pub(super) line: String,
    pub(super) fields: Vec<(String, String)>,
}

impl Head {
    /// The one value of a field; `None` when there is none or there are several.
    pub(super) fn only(&self, name: &str) -> Option<&str> {
        let mut all = self
            .fields
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let first = all.next().map(|(_, value)| value.as_str());
        first.filter(|_| all.next().is_none())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.fields
            .iter()
            .any(|(n, _)| n.eq_ignore_ascii_case(name))
    }

    /// The word of the first line with this number.
    pub(super) fn word(&self, number: usize) -> &str {
        self.line.split(' ').nth(number).unwrap_or_default()
    }

    pub(super) fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or_default()
    }
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Known(usize),
    Chunks,
    UntilClose,
}

/// Messages that come over a connection.
#[derive(Debug)]
pub(super) struct Incoming<S> {
    pub(super) socket: S,
    buffer: Vec<u8>,
    ended: Option<Ended>,
}

impl<S: AsyncRead + Unpin> Incoming<S> {
    pub(super) fn over(socket: S) -> Self {
        Self {
            socket,
            buffer: Vec::new(),
            ended: None,
        }
    }

    /// What has come of a message that did not become one.
    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer
    }

    /// The next head.
    pub(super) async fn head(&mut self) -> Result<Head, Ended> {
        let line = self.line().await?;
        let fields = self.fields().await?;
        Ok(Head { line, fields })
    }

    /// How the body of a message with this head is framed; `otherwise` when nothing says so.
    pub(super) fn length(head: &Head, otherwise: Length) -> Result<Length, Ended> {
        let odd = |what: &str| Err(Ended::Malformed(format!("{what}: {head:?}")));
        match (head.has("content-length"), head.has("transfer-encoding")) {
            (false, false) => Ok(otherwise),
            (true, true) => odd("two lengths"),
            (true, false) => match head.only("content-length").map(str::parse) {
                Some(Ok(length)) => Ok(Length::Known(length)),
                _ => odd("a wrong length"),
            },
            (false, true) => match head.only("transfer-encoding") {
                Some("chunked") => Ok(Length::Chunks),
                _ => odd("a wrong coding"),
            },
        }
    }

    /// Reads a body into `body`, and gives its trailers.
    pub(super) async fn body(
        &mut self,
        length: Length,
        body: &mut Vec<u8>,
    ) -> Result<Vec<(String, String)>, Ended> {
        match length {
            Length::Known(length) => self.take(length, body).await.map(|()| Vec::new()),
            Length::UntilClose => loop {
                body.append(&mut self.buffer);
                match self.more().await {
                    Ok(()) => {}
                    Err(Ended::Closed) => return Ok(Vec::new()),
                    Err(ended) => return Err(ended),
                }
            },
            Length::Chunks => loop {
                let size = self.line().await?;
                let Ok(size) = usize::from_str_radix(&size, 16) else {
                    return Err(Ended::Malformed(format!("a chunk of {size:?}")));
                };
                if size == 0 {
                    return self.fields().await;
                }
                self.take(size, body).await?;
                if !self.line().await?.is_empty() {
                    return Err(Ended::Malformed("a chunk without end".to_owned()));
                }
            },
        }
    }

    async fn take(&mut self, mut length: usize, body: &mut Vec<u8>) -> Result<(), Ended> {
        while length > 0 {
            if self.buffer.is_empty() {
                self.more().await?;
            }
            let taken = length.min(self.buffer.len());
            body.extend_from_slice(&self.buffer[..taken]);
            self.buffer.drain(..taken);
            length -= taken;
        }
        Ok(())
    }

    async fn fields(&mut self) -> Result<Vec<(String, String)>, Ended> {
        let mut fields = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(fields);
            }
            let Some((name, value)) = line.split_once(": ") else {
                return Err(Ended::Malformed(line));
            };
            let is_token = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if name.is_empty() || !name.chars().all(is_token) {
                return Err(Ended::Malformed(line));
            }
            fields.push((name.to_owned(), value.to_owned()));
        }
    }

    async fn line(&mut self) -> Result<String, Ended> {
        let mut searched = 0;
        loop {
            let found = memchr::memchr(b'\n', &self.buffer[searched..]);
            if let Some(end) = found.map(|at| at + searched) {
                let line = String::from_utf8_lossy(&self.buffer[..=end]).into_owned();
                self.buffer.drain(..=end);
                let plain = line
                    .strip_suffix("\r\n")
                    .filter(|line| !line.contains('\r'));
                return plain.map(str::to_owned).ok_or(Ended::Malformed(line));
            }
            searched = self.buffer.len();
            self.more().await?;
        }
    }

    /// Reads more.
    pub(super) async fn more(&mut self) -> Result<(), Ended> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        self.buffer.reserve(4096);
        let ended = match self.socket.read_buf(&mut self.buffer).await {
            Ok(1..) => return Ok(()),
            Ok(0) => Ended::Closed,
            Err(_broken) => Ended::Reset,
        };
        self.ended = Some(ended.clone());
        Err(ended)
    }
}

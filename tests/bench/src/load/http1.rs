//! HTTP/1.1 as a mini program's client speaks it, and no more of it than reading a fixed answer
//! takes.

use std::io;
use std::rc::Rc;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::connect::Connect;
use crate::run::{Outcome, Run};

/// What comes with every request of WeChat's client on a phone, and an identity that is not
/// for clients to send.
pub(crate) const CLIENT_FIELDS: [(&str, &str); 6] = [
    (
        "User-Agent",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like \
         Gecko) Mobile/15E148 MicroMessenger/8.0.50(0x1800323d) NetType/WIFI Language/zh_CN",
    ),
    ("Accept", "*/*"),
    ("Accept-Encoding", "gzip,compress,br,deflate"),
    ("Content-Type", "application/json"),
    (
        "Referer",
        "https://servicewechat.com/wx0123456789abcdef/12/page-frame.html",
    ),
    ("X-WX-OPENID", "forged-by-the-client"),
];

/// The host that all requests name.
pub(crate) const HOST: &str = "api.example.com";

/// Header fields in an answer; those of the measurements have a dozen.
const MAX_HEADERS: usize = 64;

/// Longest head of an answer.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Read at once: large, so that a long answer costs few system calls.
const READ_BYTES: usize = 256 * 1024;

/// What a run asks for.
pub(crate) struct Asked {
    pub(crate) path: String,
    /// Length of the right answer.
    pub(crate) expect: u64,
    /// Sent by POST, unless empty.
    pub(crate) body: Vec<u8>,
    /// Whether each request has a connection of its own.
    pub(crate) fresh: bool,
}

/// A request head but for its token, which stands between the parts.
pub(crate) struct Template {
    before: String,
    after: String,
}

/// What the head of an answer says.
pub(crate) struct AnswerHead {
    pub(crate) status: u16,
    pub(crate) length: u64,
}

/// A connection, and what was read from it and not looked at yet.
pub(crate) struct Connection<S> {
    stream: S,
    input: BytesMut,
}

/// Asks on one connection, or one after the other, until the run is over.
pub(crate) async fn keep_asking<C: Connect>(run: Rc<Run>, connect: C, asked: Asked) {
    let connection = if asked.fresh { "close" } else { "keep-alive" };
    let mut fields = vec![("Connection", connection.to_owned())];
    if !asked.body.is_empty() {
        fields.push(("Content-Length", asked.body.len().to_string()));
    }
    let method = if asked.body.is_empty() { "GET" } else { "POST" };
    let template = Template::new(method, &asked.path, &fields);
    let mut kept = None;
    let mut head = Vec::new();
    while let Some(began) = run.begin() {
        template.fill(&mut head, run.token());
        let outcome = ask(&connect, &mut kept, &head, &asked).await;
        run.note(began, outcome.unwrap_or(Outcome::Failed));
    }
}

async fn ask<C: Connect>(
    connect: &C,
    kept: &mut Option<Connection<C::Stream>>,
    head: &[u8],
    asked: &Asked,
) -> io::Result<Outcome> {
    // Comes back only after a whole answer: a connection that failed is not used again.
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::new(connect.connect().await?),
    };
    connection.send(head).await?;
    if !asked.body.is_empty() {
        connection.send(&asked.body).await?;
    }
    let answer = connection.read_head().await?;
    connection.skip(answer.length).await?;
    if asked.fresh {
        // The proxy closes first, as it was asked to, and this side's port is free again.
        connection.read_to_end().await?;
    } else {
        *kept = Some(connection);
    }
    Ok(if answer.status == 200 && answer.length == asked.expect {
        Outcome::Good
    } else {
        Outcome::Wrong
    })
}

impl Template {
    pub(crate) fn new(method: &str, path: &str, fields: &[(&str, String)]) -> Self {
        let mut after = String::from("\r\n");
        let fixed = CLIENT_FIELDS.iter().map(|(name, value)| (*name, *value));
        let own = fields.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in fixed.chain(own) {
            after.extend([name, ": ", value, "\r\n"]);
        }
        after.push_str("\r\n");
        Self {
            before: format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer "),
            after,
        }
    }

    pub(crate) fn fill(&self, head: &mut Vec<u8>, token: &str) {
        head.clear();
        for part in [&self.before, token, &self.after] {
            head.extend_from_slice(part.as_bytes());
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        // TLS keeps records back until it is flushed.
        self.stream.flush().await
    }

    pub(crate) async fn read_head(&mut self) -> io::Result<AnswerHead> {
        loop {
            if let Some((bytes, head)) = parse(&self.input)? {
                self.input.advance(bytes);
                return Ok(head);
            }
            if self.input.len() > MAX_HEAD_BYTES {
                return Err(bad("a head without an end"));
            }
            self.fill().await?;
        }
    }

    /// Nothing may follow.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }

    /// Exactly so many bytes of what follows.
    pub(crate) async fn read(&mut self, bytes: usize) -> io::Result<Bytes> {
        while self.input.len() < bytes {
            self.fill().await?;
        }
        Ok(self.input.split_to(bytes).freeze())
    }

    pub(crate) async fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let mut left = bytes;
        loop {
            let here =
                usize::try_from(left).map_or(self.input.len(), |left| left.min(self.input.len()));
            self.input.advance(here);
            left -= u64::try_from(here).map_err(bad)?;
            if left == 0 {
                return Ok(());
            }
            self.fill().await?;
        }
    }

    /// Waits for the other side to close, and expects nothing before.
    async fn read_to_end(&mut self) -> io::Result<()> {
        match self.fill().await {
            Ok(()) => Err(bad("more than the answer")),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.input.reserve(READ_BYTES);
        if self.stream.read_buf(&mut self.input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

/// The head at the beginning of the input with its length, once it is whole.
fn parse(input: &[u8]) -> io::Result<Option<(usize, AnswerHead)>> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut answer = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(bytes) = answer.parse(input).map_err(bad)? else {
        return Ok(None);
    };
    let mut fields = answer.headers.iter();
    let length = match fields.find(|field| field.name.eq_ignore_ascii_case("content-length")) {
        Some(field) => std::str::from_utf8(field.value)
            .map_err(bad)?
            .parse()
            .map_err(bad)?,
        None => 0,
    };
    let status = answer.code.unwrap_or_default();
    Ok(Some((bytes, AnswerHead { status, length })))
}

fn bad(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

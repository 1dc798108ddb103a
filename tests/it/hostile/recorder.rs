//! An app server that reads its requests as strictly as they can be read, writes down every one, and
//! whatever is none.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Name and value of a field, byte for byte.
pub(super) type Field = (Vec<u8>, Vec<u8>);

/// What arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    pub(super) line: Vec<u8>,
    pub(super) fields: Vec<Field>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<Field>,
    /// Whether it came to its end.
    pub(super) is_whole: bool,
    /// What of it is no HTTP, or could be read in two ways.
    pub(super) odd: Option<String>,
}

impl Heard {
    /// All values of a field, by its name in any letter case.
    pub(super) fn values(&self, name: &str) -> Vec<&[u8]> {
        let named = |(own, _): &&Field| own.eq_ignore_ascii_case(name.as_bytes());
        let values = self.fields.iter().filter(named);
        values.map(|(_, value)| value.as_slice()).collect()
    }

    /// The words of its first line.
    fn words(&self) -> Vec<&[u8]> {
        self.line.split(|&byte| byte == b' ').collect()
    }

    pub(super) fn target(&self) -> &[u8] {
        self.words().get(1).copied().unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Notes {
    heard: Vec<Heard>,
    /// What the next request is answered with, and whether the connection is closed then.
    says: Option<(Vec<u8>, bool)>,
}

/// The app server. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) address: SocketAddr,
    notes: Arc<Mutex<Notes>>,
    _stop: DropGuard,
}

impl Recorder {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stop = CancellationToken::new();
        let recorder = Self {
            address: listener.local_addr().unwrap(),
            notes: Arc::default(),
            _stop: stop.clone().drop_guard(),
        };
        let notes = Arc::clone(&recorder.notes);
        let accepting = async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                socket.set_nodelay(true).unwrap();
                let ear = Ear {
                    socket,
                    buffer: Vec::new(),
                    notes: Arc::clone(&notes),
                };
                tokio::spawn(ear.listen());
            }
        };
        tokio::spawn(stop.run_until_cancelled_owned(accepting));
        recorder
    }

    /// What the next request is to be answered with.
    pub(super) fn say(&self, says: Option<(Vec<u8>, bool)>) {
        self.notes.lock().says = says;
    }

    /// Takes what has arrived.
    pub(super) fn take(&self) -> Vec<Heard> {
        std::mem::take(&mut self.notes.lock().heard)
    }
}

/// One connection.
struct Ear {
    socket: TcpStream,
    buffer: Vec<u8>,
    notes: Arc<Mutex<Notes>>,
}

impl Ear {
    async fn listen(mut self) {
        while self.request().await == Some(true) {}
    }

    /// Reads a request and answers it. Gives whether the connection goes on.
    async fn request(&mut self) -> Option<bool> {
        let head = self.up_to(b"\r\n\r\n").await?;
        let mut heard = read_head(&head);
        let place = {
            let mut notes = self.notes.lock();
            notes.heard.push(heard.clone());
            notes.heard.len() - 1
        };
        // What was taken meanwhile is somebody else's: a request that is not whole yet.
        let read = self.body(&mut heard).await;
        heard.is_whole = read.is_some();
        let says = {
            let mut notes = self.notes.lock();
            let mine = |noted: &Heard| !noted.is_whole && noted.line == heard.line;
            match notes.heard.get_mut(place).filter(|noted| mine(noted)) {
                Some(noted) => *noted = heard.clone(),
                None => notes.heard.push(heard.clone()),
            }
            read?;
            notes.says.take()
        };
        if heard.odd.is_some() {
            return None;
        }
        let (answer, closes) = says.unwrap_or_else(|| (usual(&heard), false));
        self.socket.write_all(&answer).await.ok()?;
        Some(!closes)
    }

    async fn body(&mut self, heard: &mut Heard) -> Option<()> {
        if let [length] = *heard.values("content-length") {
            let length = std::str::from_utf8(length).ok()?.parse().ok()?;
            heard.body = self.bytes(length).await?;
        }
        if heard.values("transfer-encoding").is_empty() {
            return Some(());
        }
        loop {
            let size = self.up_to(b"\r\n").await?;
            let size = std::str::from_utf8(&size[..size.len() - 2]).ok()?;
            let size = usize::from_str_radix(size, 16).ok()?;
            if size == 0 {
                break;
            }
            heard.body.extend(self.bytes(size).await?);
            if self.bytes(2).await? != b"\r\n" {
                heard.odd = Some("a chunk that does not end".to_owned());
                return Some(());
            }
        }
        loop {
            let line = self.up_to(b"\r\n").await?;
            match field(&line[..line.len() - 2]) {
                Some(field) => heard.trailers.push(field),
                None if line == b"\r\n" => return Some(()),
                None => heard.odd = Some("a trailer that is no field".to_owned()),
            }
        }
    }

    async fn more(&mut self) -> Option<()> {
        self.buffer.reserve(16 * 1024);
        match self.socket.read_buf(&mut self.buffer).await {
            Ok(1..) => Some(()),
            _ => None,
        }
    }

    async fn bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            self.more().await?;
        }
        Some(self.buffer.drain(..count).collect())
    }

    /// Everything up to the end of these bytes.
    async fn up_to(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            let mut windows = self.buffer.windows(end.len());
            if let Some(at) = windows.position(|window| window == end) {
                return Some(self.buffer.drain(..at + end.len()).collect());
            }
            self.more().await?;
        }
    }
}

/// What is answered to a request: its own first line.
fn usual(heard: &Heard) -> Vec<u8> {
    let words = heard.words();
    let text = [words[0], b" ", heard.target()].concat();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
    let body = if words[0] == b"HEAD" { &[] } else { &*text };
    [head.as_bytes(), body].concat()
}

/// A field as the gate writes it: a token, a colon, a space, and text without white space around it.
fn field(line: &[u8]) -> Option<Field> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = line.split_at(colon);
    let value = value
        .strip_prefix(b": ")
        .or_else(|| value.strip_prefix(b":"))?;
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let text = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    let good = !name.is_empty() && name.iter().all(token) && value.iter().all(text);
    good.then(|| (name.to_vec(), value.trim_ascii().to_vec()))
}

fn read_head(head: &[u8]) -> Heard {
    let mut heard = Heard::default();
    let mut rest = &head[..head.len() - 2];
    let mut lines = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    let Some((first, fields)) = lines.split_first() else {
        heard.odd = Some("no line".to_owned());
        return heard;
    };
    heard.line = first.to_vec();
    let words = heard.words();
    if words.len() != 3 || words[1].is_empty() || words[2] != b"HTTP/1.1" {
        heard.odd = Some("a first line that is none".to_owned());
    }
    for line in fields {
        match field(line) {
            Some(field) => heard.fields.push(field),
            None => heard.odd = Some(format!("no field: {}", line.escape_ascii())),
        }
    }
    let framings = ["content-length", "transfer-encoding"].map(|name| heard.values(name).len());
    if framings.iter().sum::<usize>() > 1 {
        heard.odd = Some("framed twice".to_owned());
    }
    if heard.values("host").len() != 1 {
        heard.odd = Some("not one host".to_owned());
    }
    heard
}

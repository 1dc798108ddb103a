//! An HTTP/2 client in clear text that sends exactly the frames it is told to, whether the protocol
//! has them or not, and shows what comes of it. Header blocks are literals that nobody indexes.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::STUCK;

/// What a client says first (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Flags. `ACK` and `END_STREAM` share a bit.
pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const WITH_PRIORITY: u8 = 32;
/// A whole request without a body.
pub(crate) const WHOLE: u8 = END_STREAM | END_HEADERS;

/// Error codes.
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const STREAM_CLOSED: u32 = 5;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const COMPRESSION_ERROR: u32 = 9;

/// Settings.
pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
pub(crate) const ENABLE_PUSH: u16 = 2;
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(crate) const MAX_FRAME_SIZE: u16 = 5;

/// The bytes of a frame, its length told as it is.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A SETTINGS frame.
pub(crate) fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let value = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let payload: Vec<_> = values.iter().flat_map(value).collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// A WINDOW_UPDATE frame.
pub(crate) fn window_update(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

/// A string as HPACK writes it, without Huffman (RFC 7541 §5.1, §5.2).
fn string(text: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(text.len().min(127)).unwrap()];
    if let Some(mut left) = text.len().checked_sub(127) {
        while left >= 128 {
            bytes.push(u8::try_from(left % 128 + 128).unwrap());
            left /= 128;
        }
        bytes.push(u8::try_from(left).unwrap());
    }
    bytes.extend(text);
    bytes
}

/// A literal without indexing, its name written out (RFC 7541 §6.2.2).
pub(crate) fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    [vec![0], string(name), string(value)].concat()
}

/// A header block of literals without indexing, names written out (RFC 7541 §6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let field = |(name, value): &(&str, &str)| literal(name.as_bytes(), value.as_bytes());
    fields.iter().flat_map(field).collect()
}

/// The block of a request with these fields beside the usual ones.
pub(crate) fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut all = vec![
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "gate.example"),
    ];
    all.extend(fields);
    block(&all)
}

/// A whole request without a body, in one frame.
pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &request("GET", path, &[]))
}

/// The begin of a request whose body is to come.
pub(crate) fn post(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &request("POST", path, &[]))
}

/// A frame that came.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The number at this place of the payload.
    pub(crate) fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

/// What a connection or stream came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// The stream was answered.
    Answered,
    /// The connection was closed without a word.
    Closed,
    /// The connection was ended with this code, and then closed.
    GoneAway(u32),
    /// The stream was reset with this code.
    Reset(u32),
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Frames {
    socket: TcpStream,
    buffer: Vec<u8>,
    /// What the other side's first frame said.
    settings: Vec<(u16, u32)>,
}

impl Frames {
    /// Connects and says nothing.
    pub(crate) async fn silent(to: SocketAddr) -> Self {
        let socket = TcpStream::connect(to).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self {
            socket,
            buffer: Vec::new(),
            settings: Vec::new(),
        }
    }

    /// Connects, and settles what there is to settle.
    pub(crate) async fn open(to: SocketAddr) -> Self {
        Self::open_with(to, &[]).await
    }

    /// Connects with these settings of its own.
    pub(crate) async fn open_with(to: SocketAddr, own: &[(u16, u32)]) -> Self {
        let mut frames = Self::silent(to).await;
        frames.write(&[PREFACE, &settings(own)].concat()).await;
        let first = frames.next().await.expect("closed at once");
        assert_eq!((first.kind, first.flags, first.stream), (SETTINGS, 0, 0));
        let value = |six: &[u8]| {
            let number = u32::from_be_bytes(six[2..].try_into().unwrap());
            (u16::from_be_bytes([six[0], six[1]]), number)
        };
        frames.settings = first.payload.chunks(6).map(value).collect();
        frames.write(&frame(SETTINGS, ACK, 0, &[])).await;
        frames
    }

    /// What the other side set.
    pub(crate) fn setting(&self, id: u16) -> Option<u32> {
        let found = self.settings.iter().find(|(known, _)| *known == id);
        found.map(|(_, value)| *value)
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        // The other side may have closed already; what it said before tells why.
        drop(self.try_write(bytes).await);
    }

    /// Gives whether the other side still takes something.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.socket.write_all(bytes).await
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let head = self.take(9).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: stream & 0x7fff_ffff,
            payload: self.take(usize::try_from(length).unwrap()).await?,
        })
    }

    /// The next frame that is wanted; fails when none comes.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        while let Some(frame) = self.next().await {
            if wanted(&frame) {
                return frame;
            }
        }
        panic!("closed before that came");
    }

    /// Waits for the end of the answer on this stream, and gives its first header block.
    pub(crate) async fn answer(&mut self, stream: u32) -> (Vec<u8>, Vec<u8>) {
        let mut head = Vec::new();
        let mut body = Vec::new();
        loop {
            let frame = self.until(|frame| frame.stream == stream).await;
            assert_ne!(frame.kind, RST_STREAM, "reset: {frame:?}");
            match frame.kind {
                HEADERS if head.is_empty() => head.clone_from(&frame.payload),
                DATA => body.extend(&frame.payload),
                _ => {}
            }
            if frame.ends_stream() {
                return (head, body);
            }
        }
    }

    /// What comes next of this stream, or of the whole connection.
    pub(crate) async fn reaction(&mut self, stream: u32) -> Reaction {
        while let Some(frame) = self.next().await {
            match frame.kind {
                GOAWAY => {
                    let code = frame.number(4);
                    self.closed().await;
                    return Reaction::GoneAway(code);
                }
                RST_STREAM if frame.stream == stream => return Reaction::Reset(frame.number(0)),
                HEADERS if frame.stream == stream => return Reaction::Answered,
                _ => {}
            }
        }
        Reaction::Closed
    }

    /// Waits until the other side has closed the connection.
    pub(crate) async fn closed(&mut self) {
        while self.next().await.is_some() {}
    }

    async fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            self.buffer.reserve(16 * 1024);
            let read = self.socket.read_buf(&mut self.buffer);
            let read = tokio::time::timeout(STUCK, read).await;
            match read.expect("nothing came") {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
        Some(self.buffer.drain(..length).collect())
    }
}

//! The app server of the measurements: fixed answers, as cheap as they can be, so that it is the
//! proxy in front that is measured. Knows as much HTTP/1.1 as proxies speak to app servers, and
//! nothing of identity.

use std::io;
use std::net::SocketAddr;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BytesMut};
use clap::Parser;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;

/// Header fields that a proxy may send; those of the measurements have a dozen.
const MAX_HEADERS: usize = 64;

/// Longest request head.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Read at once: large, so that an upload costs few system calls.
const READ_BYTES: usize = 256 * 1024;

/// RFC 6455 §1.3.
const WEBSOCKET_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Longest payload of a frame without an extended length (RFC 6455 §5.2).
const MAX_PAYLOAD_BYTES: usize = 125;

static SMALL: LazyLock<Vec<u8>> = LazyLock::new(|| fixed(100));
static TEN_KIB: LazyLock<Vec<u8>> = LazyLock::new(|| fixed(10 * 1024));
static ONE_MIB: LazyLock<Vec<u8>> = LazyLock::new(|| fixed(1024 * 1024));

/// Answers /10k, /1m, /echo (with the request head), /ws (echoes messages); 100 bytes elsewhere.
#[derive(Parser)]
struct Arguments {
    /// Where it listens
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
}

/// What a request asks for.
enum Wanted {
    Fixed(&'static [u8]),
    Echo(Vec<u8>),
    WebSocket { accept: String },
}

struct Head {
    bytes: usize,
    body_bytes: usize,
    wanted: Wanted,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(arguments.listen)?;
    let listener = socket.listen(BACKLOG)?;
    loop {
        let (stream, _peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A proxy that closes in the middle is found out by the load generator.
            drop(serve(stream).await);
        });
    }
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut input = BytesMut::new();
    loop {
        let Some(head) = read_head(&mut stream, &mut input).await? else {
            return Ok(());
        };
        input.advance(head.bytes);
        discard(&mut stream, &mut input, head.body_bytes).await?;
        match head.wanted {
            Wanted::Fixed(answer) => stream.write_all(answer).await?,
            Wanted::Echo(answer) => stream.write_all(&answer).await?,
            Wanted::WebSocket { accept } => {
                stream.write_all(accept.as_bytes()).await?;
                return echo_messages(stream, input).await;
            }
        }
    }
}

/// Reads more; `false` at the end of the stream.
async fn fill(stream: &mut TcpStream, input: &mut BytesMut) -> io::Result<bool> {
    input.reserve(READ_BYTES);
    Ok(stream.read_buf(input).await? > 0)
}

async fn read_head(stream: &mut TcpStream, input: &mut BytesMut) -> io::Result<Option<Head>> {
    loop {
        if let Some(head) = parse(input)? {
            return Ok(Some(head));
        }
        if input.len() > MAX_HEAD_BYTES {
            return Err(bad("a head without an end"));
        }
        if !fill(stream, input).await? {
            return Ok(None);
        }
    }
}

async fn discard(stream: &mut TcpStream, input: &mut BytesMut, bytes: usize) -> io::Result<()> {
    let mut left = bytes;
    loop {
        let here = left.min(input.len());
        input.advance(here);
        left -= here;
        if left == 0 {
            return Ok(());
        }
        if !fill(stream, input).await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The request head at the beginning of the input, once it is whole.
fn parse(input: &[u8]) -> io::Result<Option<Head>> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(bytes) = request.parse(input).map_err(bad)? else {
        return Ok(None);
    };
    let field = |name: &str| {
        let mut fields = request.headers.iter();
        let found = fields.find(|field| field.name.eq_ignore_ascii_case(name))?;
        Some(found.value)
    };
    if field("transfer-encoding").is_some() {
        return Err(bad(
            "a chunked upload; all of the measurements have a length",
        ));
    }
    let body_bytes = match field("content-length") {
        Some(text) => std::str::from_utf8(text)
            .map_err(bad)?
            .parse()
            .map_err(bad)?,
        None => 0,
    };
    let wanted = match request.path.unwrap_or_default() {
        "/10k" => Wanted::Fixed(&TEN_KIB),
        "/1m" => Wanted::Fixed(&ONE_MIB),
        "/echo" => Wanted::Echo(answer(input.get(..bytes).unwrap_or_default())),
        "/ws" => Wanted::WebSocket {
            accept: upgrade(field("sec-websocket-key").ok_or_else(|| bad("no key"))?),
        },
        _ => Wanted::Fixed(&SMALL),
    };
    Ok(Some(Head {
        bytes,
        body_bytes,
        wanted,
    }))
}

fn bad(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// A whole answer with a body of so many bytes.
fn fixed(bytes: usize) -> Vec<u8> {
    let body = br#"{"items":[1,2,3,4,5,6,7,8,9,0]}"#;
    let body: Vec<u8> = body.iter().copied().cycle().take(bytes).collect();
    answer(&body)
}

fn answer(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: app\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         Content-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// RFC 6455 §4.2.2.
fn upgrade(key: &[u8]) -> String {
    let accept = STANDARD.encode(
        Sha1::new()
            .chain_update(key)
            .chain_update(WEBSOCKET_GUID)
            .finalize(),
    );
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// What stands at the beginning of what was read of a WebSocket.
enum Frame {
    /// A short text or binary message: its first byte, and what it says.
    Message(u8, BytesMut),
    /// One that is not whole yet.
    Part,
    /// Anything else.
    Other,
}

/// Sends every message back, until the other side closes, or sends what is not a short message.
async fn echo_messages(mut stream: TcpStream, mut input: BytesMut) -> io::Result<()> {
    let mut output = Vec::new();
    loop {
        match take_frame(&mut input) {
            Frame::Message(first, payload) => {
                // At most MAX_PAYLOAD_BYTES, so it fits.
                let length = u8::try_from(payload.len()).unwrap_or_default();
                output.extend_from_slice(&[first, length]);
                output.extend_from_slice(&payload);
            }
            Frame::Part => {
                stream.write_all(&output).await?;
                output.clear();
                if !fill(&mut stream, &mut input).await? {
                    return Ok(());
                }
            }
            Frame::Other => return Ok(()),
        }
    }
}

fn take_frame(input: &mut BytesMut) -> Frame {
    let [first, second, ..] = **input else {
        return Frame::Part;
    };
    let length = usize::from(second & 0x7f);
    if !matches!(first, 0x81 | 0x82) || second & 0x80 == 0 || length > MAX_PAYLOAD_BYTES {
        return Frame::Other;
    }
    if input.len() < 6 + length {
        return Frame::Part;
    }
    let mut payload = input.split_to(6 + length);
    payload.advance(2);
    let mask = payload.split_to(4);
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Frame::Message(first, payload)
}

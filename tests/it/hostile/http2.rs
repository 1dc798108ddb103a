//! Cases over HTTP/2. A line is a frame: `HEADERS`, `CONTINUATION`, `DATA` or `RST_STREAM`, then the
//! stream, if it is not 1, and flags: `end` for END_STREAM, `more` where END_HEADERS is missing.
//! Indented below it: fields (`usual METHOD PATH` stands for the four pseudo-header fields), bytes of
//! a body, or a code.

use std::collections::BTreeMap;

use crate::hostile::cases::{Answered, Case, Outcome};
use crate::hostile::gates::Gate;
use crate::hostile::http1::{self, PATIENCE};
use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, NO_ERROR,
    RST_STREAM, frame, get, literal,
};
use crate::support::raw::{Answer, Connection};

/// The stream of the request that follows.
const NEXT: u32 = 1001;

/// RFC 9113 §7, by their numbers.
const CODES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

fn code(number: u32) -> String {
    CODES[usize::try_from(number).unwrap()].to_owned()
}

/// Fields of a header block.
fn fields(line: &str, gate: &Gate) -> Vec<u8> {
    if let Some(usual) = line.strip_prefix("usual ") {
        let (method, path) = usual.split_once(' ').unwrap();
        let all = [
            (":method", method),
            (":scheme", "http"),
            (":path", path),
            (":authority", "gate.example"),
        ];
        let literals = all.map(|(name, value)| literal(name.as_bytes(), &gate.words.bytes(value)));
        return literals.concat();
    }
    let (name, value) = line.split_once(": ").unwrap_or((line, ""));
    literal(&gate.words.bytes(name), &gate.words.bytes(value))
}

/// The frames of a case.
fn bytes(case: &Case, gate: &Gate) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut lines = case.sent.iter().peekable();
    while let Some(line) = lines.next() {
        let mut inner = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with("  ")) {
            inner.push(line[2..].to_owned());
        }
        let mut words = line.split(' ');
        let kind = words.next().unwrap();
        let (mut stream, mut flags) = (1, 0);
        let mut has_more = false;
        for word in words {
            match word {
                "end" => flags |= END_STREAM,
                "more" => has_more = true,
                number => stream = number.parse().unwrap(),
            }
        }
        let last = if has_more { 0 } else { END_HEADERS };
        let (kind, flags, payload) = match kind {
            "HEADERS" | "CONTINUATION" => {
                let block = inner.iter().flat_map(|line| fields(line, gate)).collect();
                let kind = if kind == "HEADERS" {
                    HEADERS
                } else {
                    CONTINUATION
                };
                (kind, flags | last, block)
            }
            "DATA" => (DATA, flags, gate.words.bytes(&inner.concat())),
            "RST_STREAM" => {
                let number = CODES.iter().position(|name| *name == inner[0]).unwrap();
                let number = u32::try_from(number).unwrap();
                (RST_STREAM, 0, number.to_be_bytes().to_vec())
            }
            other => panic!("{}: no such frame: {other}", case.name),
        };
        bytes.extend(frame(kind, flags, stream, &payload));
    }
    bytes
}

/// What has come of a stream.
#[derive(Clone, Debug, Default)]
struct Stream {
    status: u16,
    body: Vec<u8>,
    is_whole: bool,
    reset: Option<u32>,
}

/// What has come of a connection.
#[derive(Debug, Default)]
struct Heard {
    streams: BTreeMap<u32, Stream>,
    gone: Option<u32>,
    is_closed: bool,
}

impl Heard {
    fn take(&mut self, frame: &Frame) {
        let stream = self.streams.entry(frame.stream).or_default();
        match frame.kind {
            HEADERS if stream.status < 200 => stream.status = status(&frame.payload),
            DATA => stream.body.extend(&frame.payload),
            RST_STREAM => stream.reset = Some(frame.number(0)),
            GOAWAY => self.gone = Some(frame.number(4)),
            _ => {}
        }
        stream.is_whole |= frame.ends_stream();
    }

    fn is_over(&self, stream: u32) -> bool {
        let stream = self.streams.get(&stream);
        self.is_closed || stream.is_some_and(|stream| stream.is_whole || stream.reset.is_some())
    }

    /// Listens until all these streams are over.
    async fn listen(&mut self, frames: &mut Frames, streams: &[u32]) {
        while !streams.iter().all(|stream| self.is_over(*stream)) {
            match frames.next().await {
                Some(frame) => self.take(&frame),
                None => self.is_closed = true,
            }
        }
    }

    fn fits(&self, stream: u32, expected: &Outcome) -> bool {
        let of = self.streams.get(&stream).cloned().unwrap_or_default();
        match expected {
            Outcome::Closed => self.is_closed && self.gone.is_none(),
            Outcome::GoneAway(expected) => {
                self.is_closed && self.gone.map(code).as_ref() == Some(expected)
            }
            Outcome::Reset(expected) => {
                of.status == 0 && of.reset.map(code).as_ref() == Some(expected)
            }
            Outcome::Answered(expected) => {
                // A client may be told to send no more of its body.
                of.is_whole && of.reset.is_none_or(|code| code == NO_ERROR) && of.answers(expected)
            }
        }
    }
}

impl Stream {
    fn answers(&self, expected: &Answered) -> bool {
        let answer = Answer {
            status: self.status,
            headers: Vec::new(),
            body: self.body.clone(),
            whole: true,
        };
        http1::fits(&answer, expected)
    }
}

/// The status in a header block, as the gate writes it: by its place in the static table (RFC 7541
/// appendix A), or by its name there.
fn status(block: &[u8]) -> u16 {
    match block {
        [0x88, ..] => 200,
        [0x89, ..] => 204,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x8e, ..] => 500,
        [0x08, 3, digits @ ..] => std::str::from_utf8(&digits[..3]).unwrap().parse().unwrap(),
        other => panic!("no status: {}", other.escape_ascii()),
    }
}

/// Sends a case. Gives the bytes, and what is wrong with what comes back. `then` is asked for next.
pub(super) async fn run(case: &Case, gate: &Gate, then: &str) -> (Vec<u8>, Result<(), String>) {
    let bytes = bytes(case, gate);
    let mut frames = Frames::open(gate.world.address()).await;
    frames.write(&bytes).await;
    let comes = tokio::time::timeout(2 * PATIENCE, comes(case, gate, &mut frames, then)).await;
    let late = |_| Err("it never comes to its end".to_owned());
    (bytes, comes.unwrap_or_else(late))
}

async fn comes(case: &Case, gate: &Gate, frames: &mut Frames, then: &str) -> Result<(), String> {
    let outcomes = case.outcomes();
    let mut heard = Heard::default();
    let mut streams: Vec<_> = outcomes.iter().map(|(stream, _)| *stream).collect();
    heard.listen(frames, &streams).await;
    let ends = outcomes
        .iter()
        .any(|(_, outcome)| matches!(outcome, Outcome::Closed | Outcome::GoneAway(_)));
    if ends {
        frames.closed().await;
        heard.is_closed = true;
        let mut other = Connection::open(gate.world.address()).await;
        http1::follows(&mut other, then).await?;
    } else {
        frames.write(&get(NEXT, then)).await;
        heard.listen(frames, &[NEXT]).await;
        let next = heard.streams.remove(&NEXT).unwrap_or_default();
        if next.status != 200 || next.body != format!("GET {then}").as_bytes() {
            return Err(format!("the next request comes to {next:?}; {heard:?}"));
        }
    }
    if let Some((stream, expected)) = outcomes
        .iter()
        .find(|(stream, outcome)| !heard.fits(*stream, outcome))
    {
        return Err(format!("{heard:?} comes, not {expected:?} of {stream}"));
    }
    streams.push(0);
    match heard.streams.keys().find(|id| !streams.contains(id)) {
        None => Ok(()),
        Some(_) => Err(format!("streams of nobody: {heard:?}")),
    }
}

//! Cases over HTTP/1: bytes go in, as a whole or in pieces, and answers come back.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::hostile::cases::{Answered, Case, Outcome};
use crate::hostile::gates::Gate;
use crate::support::raw::{Answer, Connection};

/// In what pieces a request is sent. No verdict depends on that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pieces {
    Whole,
    Bytes,
}

/// How long an answer may take before a case counts as wrong. Never waited for when all is well.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How many bytes are sent one by one; the rest of a long request comes at once.
const MAX_SINGLE_BYTES: usize = 400;

/// The bytes of a request: each line with its end, unless it says that there is none.
fn bytes(case: &Case, gate: &Gate) -> Vec<u8> {
    let line = |line: &String| {
        let is_open = line.ends_with('\\') && !line.ends_with("\\\\");
        let text = if is_open {
            &line[..line.len() - 1]
        } else {
            line
        };
        let end: &[u8] = if is_open { b"" } else { b"\r\n" };
        [&gate.words.bytes(text), end].concat()
    };
    case.sent.iter().flat_map(line).collect()
}

/// What the app server says to it.
pub(super) fn app_says(case: &Case, gate: &Gate) -> Option<(Vec<u8>, bool)> {
    let (lines, closes) = case.app_says.clone()?;
    let as_sent = Case {
        sent: lines,
        ..case.clone()
    };
    Some((bytes(&as_sent, gate), closes))
}

async fn send(connection: &mut Connection, bytes: &[u8], pieces: Pieces) {
    let single = match pieces {
        Pieces::Whole => 0,
        Pieces::Bytes => bytes.len().min(MAX_SINGLE_BYTES),
    };
    let (single, rest) = bytes.split_at(single);
    for byte in single {
        connection.write(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    connection.write(rest).await;
}

/// Whether an answer is as it must be.
pub(super) fn fits(answer: &Answer, expected: &Answered) -> bool {
    let body = match expected.body.as_deref() {
        None => true,
        Some("bare") => answer.body.is_empty(),
        Some(code) => {
            let problem: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
            problem.is_some_and(|problem| problem["code"] == code)
        }
    };
    let has = |field: &String| {
        let (name, value) = field.split_once(": ").unwrap_or((field, ""));
        let name = name.to_ascii_lowercase();
        let mut named = answer.headers.iter().filter(|(own, _)| *own == name);
        named.next().is_some_and(|(_, own)| own == value) && named.next().is_none()
    };
    let lacks = |name: &String| answer.header(&name.to_ascii_lowercase()).is_none();
    answer.status == expected.status
        && body
        && answer.whole
        && expected.fields.iter().all(has)
        && expected.lacks.iter().all(lacks)
}

/// The answer to the good request that follows.
pub(super) async fn follows(connection: &mut Connection, target: &str) -> Result<(), String> {
    let good = format!("GET {target} HTTP/1.1\r\nHost: gate.example\r\n\r\n");
    connection.write(good.as_bytes()).await;
    match next(connection, "GET").await? {
        Some(answer) if answer.status == 200 && answer.text() == format!("GET {target}") => Ok(()),
        other => Err(format!("the next request is answered with {other:?}")),
    }
}

async fn next(connection: &mut Connection, method: &str) -> Result<Option<Answer>, String> {
    let answer = tokio::time::timeout(PATIENCE, connection.try_answer(method)).await;
    answer.map_err(|_late| "neither an answer nor an end comes".to_owned())
}

/// Sends a case. Gives the bytes, and what is wrong with what comes back. `then` is asked for next.
pub(super) async fn run(
    case: &Case,
    gate: &Gate,
    pieces: Pieces,
    then: &str,
) -> (Vec<u8>, Result<(), String>) {
    let bytes = bytes(case, gate);
    let mut connection = Connection::open(gate.world.address()).await;
    send(&mut connection, &bytes, pieces).await;
    if case.ends {
        drop(connection.socket.shutdown().await);
    }
    let comes = comes(case, gate, &mut connection, (pieces, then)).await;
    (bytes, comes)
}

/// The connection ends, and another one goes on.
async fn ends(gate: &Gate, connection: &mut Connection, then: &str) -> Result<(), String> {
    let more = tokio::time::timeout(PATIENCE, connection.piece()).await;
    let more = more.map_err(|_late| "the connection stays open".to_owned())?;
    if !more.is_empty() {
        return Err(format!("{} comes instead of the end", more.escape_ascii()));
    }
    let mut other = Connection::open(gate.world.address()).await;
    follows(&mut other, then).await
}

async fn comes(
    case: &Case,
    gate: &Gate,
    connection: &mut Connection,
    (pieces, then): (Pieces, &str),
) -> Result<(), String> {
    let mut method = if case.sent[0].starts_with("HEAD ") {
        "HEAD"
    } else {
        "GET"
    };
    let mut says_close = false;
    for (_, outcome) in case.outcomes() {
        match outcome {
            Outcome::Answered(expected) => match next(connection, method).await? {
                Some(answer) if fits(&answer, &expected) => {
                    says_close = answer.header("connection") == Some("close");
                }
                other => return Err(format!("{other:?} comes instead of {expected:?}")),
            },
            Outcome::Closed => return ends(gate, connection, then).await,
            other => panic!("{}: HTTP/1 has no {other:?}", case.name),
        }
        method = "GET";
    }
    // Whoever is refused while its body is still to come cannot be in step any more.
    if says_close && pieces == Pieces::Bytes {
        return ends(gate, connection, then).await;
    }
    follows(connection, then).await
}

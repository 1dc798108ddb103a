//! WebSocket: a short message, sent again each time that it comes back.

use std::io;
use std::rc::Rc;

use crate::connect::Connect;
use crate::http1::{Connection, Template};
use crate::run::{Outcome, Run};

/// What a message says: 64 bytes.
const TEXT: &[u8] = br#"{"op":"move","seq":12345,"room":"abcdef","to":[123,456,78,90]}  "#;

/// A whole text message of that length, masked, as clients send it (RFC 6455 §5.2).
const SENT: [u8; 2] = [0x81, 0x80 | 64];

/// The same, not masked, as servers do.
const ECHOED: [u8; 2] = [0x81, 64];

/// A mask is for caches in between, not for us; any will do (RFC 6455 §5.3).
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// Sends on one WebSocket, or on another when it breaks, until the run is over.
pub(crate) async fn keep_sending<C: Connect>(run: Rc<Run>, connect: C) {
    let masked = TEXT
        .iter()
        .zip(MASK.iter().cycle())
        .map(|(byte, mask)| byte ^ mask);
    let frame: Vec<u8> = SENT.into_iter().chain(MASK).chain(masked).collect();
    let mut kept = None;
    while let Some(began) = run.begin() {
        let sent = send(&run, &connect, &mut kept, &frame).await;
        run.note(began, sent.unwrap_or(Outcome::Failed));
    }
}

async fn send<C: Connect>(
    run: &Run,
    connect: &C,
    kept: &mut Option<Connection<C::Stream>>,
    frame: &[u8],
) -> io::Result<Outcome> {
    // Comes back only after a whole message: a WebSocket that failed is not used again.
    let mut socket = match kept.take() {
        Some(socket) => socket,
        None => open(run, connect).await?,
    };
    socket.send(frame).await?;
    let echo = socket.read(ECHOED.len() + TEXT.len()).await?;
    *kept = Some(socket);
    let right = echo.strip_prefix(&ECHOED) == Some(TEXT);
    Ok(if right { Outcome::Good } else { Outcome::Wrong })
}

async fn open<C: Connect>(run: &Run, connect: &C) -> io::Result<Connection<C::Stream>> {
    let fields = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let fields = fields.map(|(name, value)| (name, value.to_owned()));
    let mut head = Vec::new();
    Template::new("GET", "/ws", &fields).fill(&mut head, run.token());
    let mut connection = Connection::new(connect.connect().await?);
    connection.send(&head).await?;
    match connection.read_head().await?.status {
        101 => Ok(connection),
        status => Err(io::Error::other(format!("answered {status}"))),
    }
}

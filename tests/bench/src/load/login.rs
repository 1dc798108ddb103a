//! Logging users in at a gate whose WeChat is a simulated one, where the code `mock-<name>` is that
//! user's.

use std::io;
use std::ops::Range;

use serde_json::Value;

use crate::connect::Connect;
use crate::http1::{Connection, HOST};

/// Logs all these users in, each once. Gives the tokens in no particular order.
pub(crate) async fn all<C: Connect>(
    connect: C,
    connections: usize,
    users: Range<u64>,
) -> io::Result<Vec<String>> {
    let tasks: Vec<_> = (0..connections)
        .map(|number| {
            let share = users.clone().skip(number).step_by(connections);
            tokio::task::spawn_local(log_in(connect.clone(), share))
        })
        .collect();
    let mut tokens = Vec::new();
    for task in tasks {
        tokens.extend(task.await.map_err(io::Error::other)??);
    }
    Ok(tokens)
}

async fn log_in(
    connect: impl Connect,
    users: impl Iterator<Item = u64>,
) -> io::Result<Vec<String>> {
    let mut connection = Connection::new(connect.connect().await?);
    let mut tokens = Vec::new();
    for user in users {
        let body = format!(r#"{{"code":"mock-u{user}"}}"#);
        let request = format!(
            "POST /wx/login HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.send(request.as_bytes()).await?;
        let head = connection.read_head().await?;
        let length = usize::try_from(head.length).map_err(io::Error::other)?;
        let answer = connection.read(length).await?;
        tokens.push(token(head.status, &answer)?);
    }
    Ok(tokens)
}

fn token(status: u16, answer: &[u8]) -> io::Result<String> {
    let json: Value = serde_json::from_slice(answer)?;
    match json.get("token").and_then(Value::as_str) {
        Some(token) if status == 200 => Ok(token.to_owned()),
        _ => Err(io::Error::other(format!("login answered {status}: {json}"))),
    }
}

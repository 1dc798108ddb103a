//! The app server's side of a connection, read byte by byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::app::Seen;
use crate::support::pattern;

/// A connection that is read by lines and bodies.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) socket: TcpStream,
    buffer: Vec<u8>,
    received: Arc<AtomicUsize>,
}

impl Reader {
    /// Counts the bytes of bodies in `received`.
    pub(crate) fn new(socket: TcpStream, received: Arc<AtomicUsize>) -> Self {
        let buffer = Vec::new();
        Self {
            socket,
            buffer,
            received,
        }
    }

    async fn more(&mut self) -> bool {
        // Read in place: a piece in between would make every future here as large as it.
        self.buffer.reserve(64 * 1024);
        let read = self.socket.read_buf(&mut self.buffer).await;
        read.is_ok_and(|length| length > 0)
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line = self.buffer.drain(..end + 2).collect::<Vec<_>>();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn fields(&mut self) -> Option<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line().await?;
            match line.split_once(':') {
                Some((name, value)) => fields.push((name.to_owned(), value.trim().to_owned())),
                None => return Some(fields),
            }
        }
    }

    pub(crate) async fn head(&mut self) -> Option<Seen> {
        let line = self.line().await?;
        let mut words = line.split(' ');
        let method = words.next()?.to_owned();
        let target = words.next()?.to_owned();
        let headers = self.fields().await?;
        Some(Seen {
            method,
            target,
            headers,
            ..Seen::default()
        })
    }

    /// Reads the body; gives whether it came to its end.
    pub(crate) async fn body(&mut self, seen: &mut Seen) -> bool {
        let length = seen
            .header("content-length")
            .first()
            .map(|length| length.parse().unwrap());
        if let Some(length) = length {
            return self.take(length, seen).await;
        }
        if seen.header("transfer-encoding").is_empty() {
            return true;
        }
        loop {
            let Some(size) = self.line().await else {
                return false;
            };
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            if size == 0 {
                let trailers = self.fields().await;
                let whole = trailers.is_some();
                seen.trailers = trailers.unwrap_or_default();
                return whole;
            }
            if !self.take(size, seen).await || self.line().await.is_none() {
                return false;
            }
        }
    }

    async fn take(&mut self, mut length: usize, seen: &mut Seen) -> bool {
        while length > 0 {
            if self.buffer.is_empty() && !self.more().await {
                return false;
            }
            let taken = length.min(self.buffer.len());
            let kept = taken.min((1024 * 1024_usize).saturating_sub(seen.body.len()));
            seen.body.extend_from_slice(&self.buffer[..kept]);
            seen.off_pattern |= !pattern::is_at(seen.body_length, &self.buffer[..taken]);
            self.buffer.drain(..taken);
            seen.body_length += taken;
            self.received.fetch_add(taken, Ordering::SeqCst);
            length -= taken;
            if seen.target.starts_with("/pattern/") {
                // Slower than anybody sends: what is under way piles up before this place.
                tokio::time::sleep(Duration::from_micros(500)).await;
            }
        }
        true
    }

    /// Reads on after the last word: closing over unread bytes would reset the connection and take
    /// the answer along.
    pub(crate) async fn linger(&mut self) {
        drop(self.socket.shutdown().await);
        while self.more().await {
            self.buffer.clear();
        }
    }

    /// Waits until the other side has ended, and lets go of what it says until then.
    pub(crate) async fn gone(&mut self) {
        while self.more().await {
            self.buffer.clear();
        }
    }

    /// Whether nothing has come beyond what was read.
    pub(crate) fn nothing_yet(&mut self) -> bool {
        let mut byte = [0];
        self.buffer.is_empty() && self.socket.try_read(&mut byte).is_err()
    }

    /// Everything that still comes, up to the end.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.buffer)
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).await.is_ok()
    }

    pub(crate) async fn say(&mut self, text: &str) -> bool {
        self.write(text.as_bytes()).await
    }
}

//! A client of an event stream, which sees how the stream ends.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::STUCK;
use crate::support::raw::{Connection, Request};

/// An open event stream over HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Events {
    connection: Connection,
    text: String,
}

impl Events {
    /// Opens it; the app server listens for events when this returns.
    pub(crate) async fn open(request: Request) -> Self {
        let mut connection = request.begin().await;
        let head = tokio::time::timeout(STUCK, connection.head()).await;
        let (status, headers) = head.expect("the gate is stuck").expect("no answer");
        assert_eq!(status, 200, "{headers:?}");
        Self {
            connection,
            text: String::new(),
        }
    }

    /// The next event.
    pub(crate) async fn next(&mut self) -> String {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                return event.trim_end().split_once("data: ").unwrap().1.to_owned();
            }
            let piece = self.connection.piece().await;
            assert!(!piece.is_empty(), "the stream ended");
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    /// Waits for the end: it must come within a second, and not look like a clean one.
    pub(crate) async fn broken_within_a_second(mut self) {
        let begun = Instant::now();
        loop {
            let piece = self.connection.piece().await;
            if piece.is_empty() {
                break;
            }
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert!(
            !self.text.ends_with("0\r\n\r\n"),
            "a clean end: {:?}",
            self.text
        );
    }
}

//! What clients see of it is in `tests/it/tls`; this is what no client can bring about at will.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use super::*;
use crate::server::Limits;
use crate::server::capacity::Capacity;
use crate::server::crew::Crew;
use crate::server::socket::Socket;
use crate::server::state::State;
use crate::server::watched::Watched;

/// Takes everything and passes nothing on, as encryption does whose client does not read.
struct Withholding;

impl Socket for Withholding {
    const CLOSE_IS_GOODBYE: bool = false;

    fn break_off(&self) {}
}

impl AsyncRead for Withholding {
    fn poll_read(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        _buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Withholding {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_take_what_encryption_holds_back_is_cut() {
    for closing in [false, true] {
        let place = Capacity::new(1).take().await;
        let (crew, _seats) = Crew::new(1);
        let state = State::new();
        let limits = Limits::default();
        let held = (place, crew.enter(0));
        let mut socket = Watched::new(Withholding, Rc::clone(&state), &limits, held);
        // A request is under way, so no other time counts.
        let _busy = state.begin_request();
        let read = tokio::time::timeout(Duration::ZERO, socket.read_u8());
        read.await.unwrap_err();
        let begun = Instant::now();
        socket.write_all(b"an answer").await.unwrap();
        let error = if closing {
            socket.shutdown().await.unwrap_err()
        } else {
            socket.flush().await.unwrap_err()
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let took = begun.elapsed();
        assert!(took >= limits.body_idle_timeout, "{took:?}");
        assert!(took < limits.body_idle_timeout * 2, "{took:?}");
    }
}

#[test]
fn what_is_no_tls_is_told_by_its_first_bytes() {
    for (first, looks) in [
        (&b"GET / HTTP/1"[..], Looks::Http),
        (b"OPTIONS * HT", Looks::Http),
        (b"PROPFIND / H", Looks::Http),
        (b"PRI * HTTP/2", Looks::Http),
        (b"POS", Looks::Http),
        (b"VERSION-CONTROL", Looks::Unknown),
        (b"PROXY TCP4 1", Looks::ProxyHeader),
        (b"PROXY ", Looks::ProxyHeader),
        (b"\r\n\r\n\0\r\nQUI", Looks::ProxyHeader),
        (b"\r\n\r\n", Looks::Unknown),
        (b"SSH-2.0-Open", Looks::Unknown),
        (b"get / http/1", Looks::Unknown),
        (b"G", Looks::Unknown),
        (b"\x80\x2e\x01", Looks::Unknown),
        (b"", Looks::Unknown),
    ] {
        assert_eq!(Looks::of(first), looks, "{first:?}");
    }
}

//! How long the small server waits for a client that does not take what is sent to it. Without an
//! end to that, such a client could keep its connection, and what is buffered for it, for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{self, Sleep};

/// How long a client may take nothing of what waits for it: as long as clients of the app server may
/// by default (`server.limits.body_idle_timeout`).
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_mins(1);

/// A connection whose writes fail when the other side takes nothing for too long. One that takes a
/// little now and then may take as long as it likes.
pub(super) struct Patient<S> {
    stream: S,
    /// Runs from the first write that had to wait to the next one that had not.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            waiting: None,
        }
    }

    /// What became of a write, unless it has been waiting for too long.
    fn bounded<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let begin = || Box::pin(time::sleep(WRITE_TIMEOUT));
        ready!(
            self.waiting
                .get_or_insert_with(begin)
                .as_mut()
                .poll(context)
        );
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.bounded(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.bounded(context, shut)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.bounded(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    const PIECE: usize = 16;

    /// Just before the end of the patience.
    const ALMOST: Duration = WRITE_TIMEOUT.saturating_sub(Duration::from_millis(10));

    async fn take_slowly(client: &mut DuplexStream, pieces: usize) {
        for _ in 0..pieces {
            time::sleep(ALMOST).await;
            client.read_exact(&mut [0; PIECE]).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_waited_for_no_longer_than_the_limit() {
        let (server, _client) = tokio::io::duplex(PIECE);
        let mut server = Patient::new(server);
        let begun = time::Instant::now();
        let written = server.write_all(&[0; 10 * PIECE]).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= WRITE_TIMEOUT && begun.elapsed() < 2 * WRITE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_little_now_and_then_is_waited_for() {
        let (server, mut client) = tokio::io::duplex(PIECE);
        let mut server = Patient::new(server);
        let written = server.write_all(&[0; 10 * PIECE]);
        let (written, ()) = tokio::join!(written, take_slowly(&mut client, 10));
        written.unwrap();
    }
}

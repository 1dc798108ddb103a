//! A WebSocket between client and app server: bytes both ways, until one side ends it. What they
//! say is their business.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::upstream::http1::Wire;
use crate::upstream::socket::Socket;

/// How long one side of a tunnel may go on after the other has ended.
const FINISH: Duration = Duration::from_secs(10);

/// The app server's side of an accepted WebSocket.
#[derive(Debug)]
pub struct Tunnel {
    socket: Socket,
    /// What the app server said right after it accepted.
    early: Bytes,
    idle_timeout: Option<Duration>,
    _place: OwnedSemaphorePermit,
}

impl Tunnel {
    pub(in crate::upstream) fn new(
        wire: Wire,
        idle_timeout: Option<Duration>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let (socket, early) = wire.into_parts();
        Self {
            socket,
            early,
            idle_timeout,
            _place: place,
        }
    }

    /// Passes bytes between the two sides until one of them ends, or until nothing has passed for
    /// `stream_idle_timeout`. Gives the bytes from the client and to it.
    pub async fn run<S>(self, mut client: S) -> io::Result<(u64, u64)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        client.write_all(&self.early).await?;
        let Some(idle_timeout) = self.idle_timeout else {
            return pass_both_ways(client, self.socket).await;
        };
        let last = Cell::new(Instant::now());
        let app_server = Noted {
            socket: self.socket,
            last: &last,
        };
        tokio::select! {
            biased;
            passed = pass_both_ways(client, app_server) => passed,
            () = silence(&last, idle_timeout) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Passes bytes until one side has no more to say; the other then has a moment to finish. A side
/// that never ends by itself would keep the tunnel, and its place, for ever.
async fn pass_both_ways<C, A>(client: C, app_server: A) -> io::Result<(u64, u64)>
where
    C: AsyncRead + AsyncWrite,
    A: AsyncRead + AsyncWrite,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_app_server, mut to_app_server) = tokio::io::split(app_server);
    let mut up = std::pin::pin!(pass(&mut from_client, &mut to_app_server));
    let mut down = std::pin::pin!(pass(&mut from_app_server, &mut to_client));
    tokio::select! {
        biased;
        up = &mut up => Ok((up?, finish(down).await?)),
        down = &mut down => {
            let down = down?;
            Ok((finish(up).await?, down))
        }
    }
}

/// The rest of one direction; nothing when it does not end in time.
async fn finish(rest: impl Future<Output = io::Result<u64>>) -> io::Result<u64> {
    tokio::time::timeout(FINISH, rest).await.unwrap_or(Ok(0))
}

async fn pass<R, W>(from: &mut R, to: &mut W) -> io::Result<u64>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let passed = tokio::io::copy(from, to).await?;
    to.shutdown().await?;
    Ok(passed)
}

/// Waits until nothing has passed for the whole time allowed.
async fn silence(last: &Cell<Instant>, idle_timeout: Duration) {
    loop {
        let until = last.get() + idle_timeout;
        if until <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(until).await;
    }
}

/// A socket that notes when something passes, either way.
struct Noted<'a> {
    socket: Socket,
    last: &'a Cell<Instant>,
}

impl AsyncRead for Noted<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_read(context, buffer);
        if polled.is_ready() {
            self.last.set(Instant::now());
        }
        polled
    }
}

impl AsyncWrite for Noted<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(context, data);
        if polled.is_ready() {
            self.last.set(Instant::now());
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

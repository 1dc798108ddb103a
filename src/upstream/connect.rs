//! New connections to an app server.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Body;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::upstream::request::SendBody;
use crate::upstream::{BoxError, Error, Settings, Target};

/// Whether anything has come from the app server since the last request was begun.
#[derive(Clone, Debug, Default)]
pub(in crate::upstream) struct Heard(Arc<AtomicBool>);

impl Heard {
    pub(in crate::upstream) fn forget(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    pub(in crate::upstream) fn anything(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Connects, within the time allowed, and speaks HTTP/1.1 from then on.
pub(in crate::upstream) async fn connect<B>(
    settings: &Settings,
) -> Result<(SendRequest<SendBody<B>>, Heard), Error>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + 'static,
{
    let heard = Heard::default();
    let connected = async {
        match &settings.target {
            Target::Http { host, port, .. } => {
                let socket = TcpStream::connect((host.as_str(), *port)).await;
                let socket = socket.map_err(Error::Connect)?;
                // Requests are written whole; waiting for more to send would only delay them.
                drop(socket.set_nodelay(true));
                handshake(Listening {
                    socket,
                    heard: heard.clone(),
                })
                .await
            }
            Target::Unix(path) => {
                let socket = UnixStream::connect(path).await.map_err(Error::Connect)?;
                handshake(Listening {
                    socket,
                    heard: heard.clone(),
                })
                .await
            }
        }
    };
    let sender = tokio::time::timeout(settings.connect_timeout, connected).await;
    Ok((sender.map_err(|_elapsed| Error::ConnectTimeout)??, heard))
}

async fn handshake<S, B>(socket: Listening<S>) -> Result<SendRequest<SendBody<B>>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(socket))
        .await
        .map_err(Error::Broken)?;
    tokio::task::spawn_local(async move {
        // What went wrong is told to whoever waits for the answer.
        drop(connection.with_upgrades().await);
    });
    Ok(sender)
}

/// A socket that notes when something comes from it.
struct Listening<S> {
    socket: S,
    heard: Heard,
}

impl<S: AsyncRead + Unpin> AsyncRead for Listening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.heard.0.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listening<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

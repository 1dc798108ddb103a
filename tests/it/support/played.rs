//! An app server of which a test plays every connection, byte by byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::Setup;
use crate::support::reader::Reader;

/// The app server. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    received: Arc<AtomicUsize>,
    _stop: DropGuard,
}

impl Played {
    /// Plays each connection, by its number from 0; it is closed at the end of the play.
    pub(crate) async fn start<F>(play: impl Fn(usize, Reader) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stop = CancellationToken::new();
        let app = Self {
            address: listener.local_addr().unwrap(),
            accepted: Arc::default(),
            open: Arc::default(),
            received: Arc::default(),
            _stop: stop.clone().drop_guard(),
        };
        let counts = [&app.accepted, &app.open, &app.received].map(Arc::clone);
        let accepting = async move { accept(&listener, play, counts).await };
        tokio::spawn(stop.run_until_cancelled_owned(accepting));
        app
    }

    /// How many connections were made.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// How many bytes of request bodies have arrived.
    pub(crate) fn received(&self) -> usize {
        self.received.load(Ordering::SeqCst)
    }

    /// A world of which this is the app server, open to all, with these further keys of `[server]`
    /// and `[upstream]`.
    pub(crate) fn setup(&self, server: &str, upstream: &str) -> Setup {
        Setup {
            server: server.to_owned(),
            upstream: upstream.to_owned(),
            upstream_url: Some(format!("http://{}", self.address)),
            ..Setup::with("[access]\ndefault = \"public\"")
        }
    }
}

/// Plays what comes in; all of it ends with this.
async fn accept<F>(
    listener: &TcpListener,
    play: impl Fn(usize, Reader) -> F,
    [accepted, open, received]: [Arc<AtomicUsize>; 3],
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut plays = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let number = accepted.fetch_add(1, Ordering::SeqCst);
        open.fetch_add(1, Ordering::SeqCst);
        let open = Arc::clone(&open);
        let played = play(number, Reader::new(socket, Arc::clone(&received)));
        plays.spawn(async move {
            played.await;
            open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Reads a request and never answers; over when the gate has closed the connection.
pub(crate) async fn hold(mut reader: Reader) {
    reader.gone().await;
}

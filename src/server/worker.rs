//! One worker: a thread that accepts connections and serves them, sharing nothing with the others
//! but the number of places.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::domain::peer::{Address, Peer, Scheme, TrustedProxies};
use crate::server::Limits;
use crate::server::capacity::Capacity;
use crate::server::connection::{self, Handler};
use crate::server::crew::{Crew, HandedOn, Member, Seat};
use crate::server::listener::Bound;
use crate::server::state::{REST_AFTER, Register, State};
use crate::server::watched::Watched;
use crate::telemetry::event;

/// Connections that a worker still accepts after the order to stop, if they are waiting already.
const MAX_LATE: usize = 1024;

/// After how long a silence a client is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// How long accepting pauses when the system refuses: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What every worker is given.
#[derive(Clone, Debug)]
pub struct Context {
    /// The places for connections.
    pub capacity: Capacity,
    /// The other workers.
    pub crew: Crew,
    /// `[server.limits]`.
    pub limits: Limits,
    /// Whose `X-Forwarded-*` is believed.
    pub trusted: TrustedProxies,
    /// Cancelled when no more connections are to be accepted.
    pub drain: CancellationToken,
}

struct Worker<H> {
    context: Context,
    limits: Rc<Limits>,
    handler: Rc<H>,
    register: Register,
    index: usize,
    /// Connections accepted since the order to stop.
    late: Cell<usize>,
}

/// Runs a worker on this thread until `context.drain` is cancelled; connections then go on as tasks
/// of the thread, asked to end when what is under way is over. Must run inside a local task set.
pub async fn run<H: Handler>(
    context: Context,
    seat: Seat,
    listeners: Vec<Bound>,
    handler: Rc<H>,
) -> io::Result<()> {
    let worker = Rc::new(Worker {
        limits: Rc::new(context.limits.clone()),
        context,
        handler,
        register: Register::default(),
        index: seat.index,
        late: Cell::new(0),
    });
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        let worker = Rc::clone(&worker);
        match listener {
            Bound::Tcp(listener) => {
                let listener = TcpListener::from_std(listener)?;
                accepting.spawn_local(worker.accept_tcp(listener));
            }
            Bound::Unix(listener) => {
                let listener = UnixListener::from_std(listener)?;
                accepting.spawn_local(worker.accept_unix(listener));
            }
        }
    }
    accepting.spawn_local(Rc::clone(&worker).take_handed_on(seat.inbox));
    let shedding = tokio::task::spawn_local(Rc::clone(&worker).shed());
    let resting = tokio::task::spawn_local(Rc::clone(&worker).rest());
    // At once: an accept task may be waiting for a place that only a draining connection can free.
    worker.context.drain.cancelled().await;
    worker.register.drain_all();
    while accepting.join_next().await.is_some() {}
    shedding.abort();
    resting.abort();
    Ok(())
}

impl<H: Handler> Worker<H> {
    async fn accept_tcp(self: Rc<Self>, listener: TcpListener) {
        let local_port = listener.local_addr().ok().map(|address| address.port());
        while let Some((socket, from)) = self.next(|| listener.accept()).await {
            match self.context.crew.relief(self.index) {
                Some(other) => self.hand_on(other, socket, from, local_port).await,
                None => self.serve_tcp(socket, from, local_port).await,
            }
        }
    }

    async fn accept_unix(self: Rc<Self>, listener: UnixListener) {
        while let Some((socket, _from)) = self.next(|| listener.accept()).await {
            self.serve_unix(socket).await;
        }
    }

    /// The next connection; `None` when draining and nobody is waiting any more. Who already waits
    /// when the order to stop comes is still served, up to a limit: closing the socket would reset
    /// them.
    async fn next<T, F: Future<Output = io::Result<T>>>(
        &self,
        accept: impl Fn() -> F,
    ) -> Option<T> {
        loop {
            if self.context.drain.is_cancelled() {
                self.late.set(self.late.get() + 1);
            }
            let accepted = tokio::select! {
                biased;
                accepted = accept(), if self.late.get() < MAX_LATE => accepted,
                () = self.context.drain.cancelled() => return None,
            };
            match accepted {
                Ok(accepted) => return Some(accepted),
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(message = event::ACCEPT_FAILED, %error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn hand_on(
        &self,
        other: &Member,
        socket: TcpStream,
        from: SocketAddr,
        local_port: Option<u16>,
    ) {
        let Ok(socket) = socket.into_std() else {
            return;
        };
        let handed_on = HandedOn {
            socket,
            from,
            local_port,
        };
        if let Err(back) = other.inbox.try_send(handed_on) {
            self.serve_handed_on(back.into_inner()).await;
        }
    }

    async fn take_handed_on(self: Rc<Self>, mut inbox: mpsc::Receiver<HandedOn>) {
        loop {
            tokio::select! {
                biased;
                Some(handed_on) = inbox.recv() => self.serve_handed_on(handed_on).await,
                () = self.context.drain.cancelled() => return,
            }
        }
    }

    async fn serve_handed_on(&self, handed_on: HandedOn) {
        if let Ok(socket) = TcpStream::from_std(handed_on.socket) {
            self.serve_tcp(socket, handed_on.from, handed_on.local_port)
                .await;
        }
    }

    async fn serve_tcp(&self, socket: TcpStream, from: SocketAddr, local_port: Option<u16>) {
        // Answers are written whole; waiting for more to send would only delay them. Keep-alive
        // finds clients that went away without a word during a long silence.
        let options = SockRef::from(&socket);
        drop(options.set_tcp_nodelay(true));
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE / 4);
        drop(options.set_tcp_keepalive(&keepalive));
        self.serve(socket, Address::from(from.ip()), local_port)
            .await;
    }

    async fn serve_unix(&self, socket: UnixStream) {
        self.serve(socket, Address::Unix, None).await;
    }

    /// Waits for a place, which holds up accepting, and starts the connection.
    async fn serve<S>(&self, socket: S, from: Address, local_port: Option<u16>)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let place = self.context.capacity.take().await;
        let state = State::new();
        let live = self.context.crew.enter(self.index);
        let peer = Peer::new(from, Scheme::Http, local_port, &self.context.trusted);
        let socket = Watched::new(socket, Arc::clone(&state), &self.limits, (place, live));
        let registration = self.register.add(Arc::clone(&state));
        if self.context.drain.is_cancelled() {
            state.drain();
        }
        let shared = (Rc::clone(&self.handler), Rc::clone(&self.limits));
        tokio::task::spawn_local(async move {
            connection::serve(socket, peer, state, shared).await;
            drop(registration);
        });
    }

    /// Has connections without a request give their buffers back.
    async fn rest(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(REST_AFTER / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            self.register.rest_idle();
        }
    }

    /// Gives up an idle connection whenever somebody lacks a place.
    async fn shed(self: Rc<Self>) {
        loop {
            self.context.capacity.lacking().await;
            self.register.retire_most_idle();
        }
    }
}

/// Whether accepting failed for the one connection only, which is gone already.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

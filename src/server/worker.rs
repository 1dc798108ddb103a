//! One worker: a thread that accepts connections and serves them, sharing nothing with the others
//! but the number of places.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncRead;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use crate::codec::{SpareBuffers, SpareHeads};
use crate::domain::peer::{Address, Peer, Scheme, TrustedProxies};
use crate::server::Limits;
use crate::server::capacity::Capacity;
use crate::server::connection::{self, Handler, Service};
use crate::server::crew::{Crew, HandedOn, Member, Seat};
use crate::server::entrance::{Ends, Entry};
use crate::server::listener::{Bound, Listener, Owner};
use crate::server::proxy_protocol;
use crate::server::socket::Socket;
use crate::server::starvation::{self, Starvation};
use crate::server::state::{Register, State};
use crate::server::tls::Tls;
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
    /// What was said about connections that the system refuses.
    pub starvation: Starvation,
    /// Whose `X-Forwarded-*` is believed.
    pub trusted: TrustedProxies,
    /// Whether trusted proxies, and nobody else, connect, and say whose connection it is.
    pub proxy_protocol: bool,
    /// How connections over IP are encrypted, if they are.
    pub tls: Option<Tls>,
    /// Cancelled when no more connections are to be accepted.
    pub drain: CancellationToken,
}

/// One worker, whoever brings it its connections.
pub(in crate::server) struct Worker<H> {
    context: Context,
    service: Rc<Service<H>>,
    register: Register,
    index: usize,
    /// Who connected last. As a rule it is the same load balancer over and over.
    last_peer: RefCell<Option<(Ends, Scheme, Arc<Peer>)>>,
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
    let worker = Worker::new(context, &seat, handler);
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        let worker = Rc::clone(&worker);
        let Bound { socket, owner } = listener;
        match socket {
            Listener::Tcp(listener) => {
                set_options_of_connections(&listener);
                let listener = TcpListener::from_std(listener)?;
                accepting.spawn_local(worker.accept_tcp(listener, owner));
            }
            Listener::Unix(listener) => {
                let listener = UnixListener::from_std(listener)?;
                accepting.spawn_local(worker.accept_unix(listener, owner));
            }
        }
    }
    accepting.spawn_local(Rc::clone(&worker).take_handed_on(seat.inbox));
    let shedding = tokio::task::spawn_local(Rc::clone(&worker).shed());
    worker.drained().await;
    while accepting.join_next().await.is_some() {}
    shedding.abort();
    Ok(())
}

impl<H: Handler> Worker<H> {
    pub(in crate::server) fn new(context: Context, seat: &Seat, handler: Rc<H>) -> Rc<Self> {
        Rc::new(Self {
            service: Rc::new(Service {
                handler,
                limits: context.limits.clone(),
                heads: SpareHeads::default(),
                buffers: SpareBuffers::default(),
            }),
            context,
            register: Register::default(),
            index: seat.index,
            last_peer: RefCell::default(),
            late: Cell::new(0),
        })
    }

    /// Waits for the order to stop, and passes it on. At once: an accept task may be waiting for a
    /// place that only a draining connection can free.
    async fn drained(&self) {
        self.context.drain.cancelled().await;
        self.register.drain_all();
    }

    /// What a worker does beside accepting connections, for one that accepts none.
    pub(in crate::server) async fn tend(self: Rc<Self>) {
        tokio::join!(Rc::clone(&self).shed(), self.drained());
    }

    async fn accept_tcp(self: Rc<Self>, listener: TcpListener, owner: Owner) {
        let local_port = listener.local_addr().ok().map(|address| address.port());
        let mut drain = pin!(self.context.drain.cancelled());
        while let Some((socket, from)) = self.next(|| listener.accept(), drain.as_mut()).await {
            match self.context.crew.relief(self.index) {
                Some(other) => self.hand_on(other, socket, from, local_port).await,
                None => self.serve_tcp(socket, from, local_port).await,
            }
        }
        let Some(listener) = late(owner, listener.into_std()) else {
            return;
        };
        while let Some((socket, from)) = self.next_late(|| listener.accept()).await {
            if socket.set_nonblocking(true).is_ok()
                && let Ok(socket) = TcpStream::from_std(socket)
            {
                self.serve_tcp(socket, from, local_port).await;
            }
        }
    }

    async fn accept_unix(self: Rc<Self>, listener: UnixListener, owner: Owner) {
        let mut drain = pin!(self.context.drain.cancelled());
        while let Some((socket, _from)) = self.next(|| listener.accept(), drain.as_mut()).await {
            self.serve_unix(socket).await;
        }
        let Some(listener) = late(owner, listener.into_std()) else {
            return;
        };
        while let Some((socket, _from)) = self.next_late(|| listener.accept()).await {
            if socket.set_nonblocking(true).is_ok()
                && let Ok(socket) = UnixStream::from_std(socket)
            {
                self.serve_unix(socket).await;
            }
        }
    }

    /// The next connection; `None` once the order to stop has come.
    async fn next<T, F: Future<Output = io::Result<T>>>(
        &self,
        accept: impl Fn() -> F,
        mut drain: Pin<&mut WaitForCancellationFuture<'_>>,
    ) -> Option<T> {
        loop {
            let accepted = tokio::select! {
                biased;
                () = drain.as_mut() => return None,
                accepted = accept() => accepted,
            };
            match accepted {
                Ok(accepted) => return Some(accepted),
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => self.pause(&error).await,
            }
        }
    }

    /// The next connection after the order to stop; `None` when nobody is waiting any more. The
    /// system is asked: the runtime may not have heard yet of somebody who waits.
    async fn next_late<T>(&self, accept: impl Fn() -> io::Result<T>) -> Option<T> {
        while self.late.get() < MAX_LATE {
            self.late.set(self.late.get() + 1);
            match accept() {
                Ok(accepted) => return Some(accepted),
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) if starvation::is_for_want(&error) => self.pause(&error).await,
                Err(_nobody) => return None,
            }
        }
        None
    }

    /// The system refuses connections, and will go on to. For want of what connections take it helps
    /// that one goes.
    async fn pause(&self, error: &io::Error) {
        self.context.starvation.report(error);
        if starvation::is_for_want(error) {
            self.register.retire_most_idle();
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }

    async fn hand_on(
        self: &Rc<Self>,
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
                () = self.context.drain.cancelled() => break,
            }
        }
        // Nothing more gets in, and nothing that is in gets lost.
        inbox.close();
        while let Some(handed_on) = inbox.recv().await {
            self.serve_handed_on(handed_on).await;
        }
    }

    async fn serve_handed_on(self: &Rc<Self>, handed_on: HandedOn) {
        if let Ok(socket) = TcpStream::from_std(handed_on.socket) {
            self.serve_tcp(socket, handed_on.from, handed_on.local_port)
                .await;
        }
    }

    async fn serve_tcp(
        self: &Rc<Self>,
        socket: TcpStream,
        from: SocketAddr,
        local_port: Option<u16>,
    ) {
        let ends = Ends::new(Address::from(from.ip()), local_port);
        if !self.admits(ends) {
            return;
        }
        let entry = self.enter().await;
        match self.context.tls.clone() {
            Some(tls) => {
                let worker = Rc::clone(self);
                tokio::task::spawn_local(worker.speak_encrypted(tls, socket, ends, entry));
            }
            None => self.speak_clear(socket, ends, entry),
        }
    }

    async fn serve_unix(self: &Rc<Self>, socket: UnixStream) {
        let ends = Ends::new(Address::Unix, None);
        if self.admits(ends) {
            let entry = self.enter().await;
            self.speak_clear(socket, ends, entry);
        }
    }

    /// Where proxies say whose connection it is, nobody else may say anything.
    fn admits(&self, ends: Ends) -> bool {
        let admits = !self.context.proxy_protocol || self.context.trusted.trusts(&ends.from);
        if !admits {
            tracing::info!(message = event::NO_TRUSTED_PROXY, peer = %ends.from);
        }
        admits
    }

    pub(in crate::server) fn speak_clear<S>(
        self: &Rc<Self>,
        mut socket: S,
        ends: Ends,
        entry: Entry,
    ) where
        S: Socket,
    {
        if !self.context.proxy_protocol {
            return self.speak(socket, self.peer(ends, Scheme::Http), entry);
        }
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move {
            if let Some(ends) = worker.told(&mut socket, ends, &entry).await {
                worker.speak(socket, worker.peer(ends, Scheme::Http), entry);
            }
        });
    }

    /// A task of its own: nobody waits for the handshake of somebody else.
    async fn speak_encrypted(
        self: Rc<Self>,
        tls: Tls,
        mut socket: TcpStream,
        ends: Ends,
        entry: Entry,
    ) {
        let Some(ends) = self.told(&mut socket, ends, &entry).await else {
            return;
        };
        let accept = tls.accept(socket, self.context.limits.tls_handshake_timeout);
        match entry.unless_asked_to_go(accept).await {
            Some(Ok(socket)) => self.speak(socket, self.peer(ends, Scheme::Https), entry),
            Some(Err(error)) => error.report(ends.from),
            None => {}
        }
    }

    /// Between whom a connection is by the word of the proxy, where there is one; `None` when it is
    /// over.
    async fn told<S>(&self, socket: &mut S, ends: Ends, entry: &Entry) -> Option<Ends>
    where
        S: AsyncRead + Unpin,
    {
        if !self.context.proxy_protocol {
            return Some(ends);
        }
        let header = proxy_protocol::read(socket, self.context.limits.header_timeout);
        match entry.unless_asked_to_go(header).await? {
            Ok(told) => Some(ends.told(told)),
            Err(error) => {
                error.report(ends.from);
                None
            }
        }
    }

    fn peer(&self, ends: Ends, scheme: Scheme) -> Arc<Peer> {
        let mut last = self.last_peer.borrow_mut();
        if let Some((same_ends, same_scheme, peer)) = &*last
            && (*same_ends, *same_scheme) == (ends, scheme)
        {
            return Arc::clone(peer);
        }
        let peer = Arc::new(ends.peer(scheme, &self.context.trusted));
        *last = Some((ends, scheme, Arc::clone(&peer)));
        peer
    }

    /// Waits for a place, which holds up accepting.
    pub(in crate::server) async fn enter(&self) -> Entry {
        let place = self.context.capacity.take().await;
        let state = State::new();
        let live = self.context.crew.enter(self.index);
        let registration = self.register.add(Rc::clone(&state));
        if self.context.drain.is_cancelled() {
            state.drain();
        }
        Entry {
            state,
            registration,
            held: (place, live),
        }
    }

    /// Speaks HTTP over a connection, as a task of its own.
    fn speak<S>(&self, socket: S, peer: Arc<Peer>, entry: Entry)
    where
        S: Socket,
    {
        let Entry {
            state,
            registration,
            held,
        } = entry;
        let socket = Watched::new(socket, Rc::clone(&state), &self.context.limits, held);
        let service = Rc::clone(&self.service);
        // On the heap at once: what a task is made of is copied more than once on its way there.
        let serving = Box::pin(connection::serve(socket, peer, state, service));
        tokio::task::spawn_local(async move {
            serving.await;
            drop(registration);
        });
    }

    /// Gives up an idle connection whenever somebody lacks a place.
    async fn shed(self: Rc<Self>) {
        loop {
            self.context.capacity.lacking().await;
            self.register.retire_most_idle();
        }
    }
}

/// Sets what every connection takes over from the socket that it was accepted at: once, instead of with
/// system calls for each. Answers are written whole; waiting for more to send would only delay them.
/// Keep-alive finds clients that went away without a word during a long silence.
fn set_options_of_connections(listener: &std::net::TcpListener) {
    let options = SockRef::from(listener);
    drop(options.set_tcp_nodelay(true));
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE / 4);
    drop(options.set_tcp_keepalive(&keepalive));
}

/// The socket at which somebody may still wait after the order to stop whom closing it would send
/// away.
fn late<L>(owner: Owner, listener: io::Result<L>) -> Option<L> {
    match owner {
        Owner::Gate => listener.ok(),
        Owner::Starter => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_the_options_of_the_socket_that_it_was_accepted_at() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        set_options_of_connections(&listener);
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _from) = listener.accept().unwrap();
        let options = SockRef::from(&accepted);
        assert!(options.tcp_nodelay().unwrap() && options.keepalive().unwrap());
        assert_eq!(options.tcp_keepalive_time().unwrap(), KEEPALIVE);
        assert_eq!(options.tcp_keepalive_interval().unwrap(), KEEPALIVE / 4);
    }
}

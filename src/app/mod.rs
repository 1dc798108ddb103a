//! Puts the parts together: from a configuration to running threads, and back to rest.
//!
//! N workers each have a thread with a runtime of its own and share nothing on the request path; one
//! control thread has everything that does I/O for the whole process.

pub mod dev;
mod drain;
mod egress;
pub mod explain;
mod gauges;
mod greeting;
pub mod manager;
mod process;
pub mod rehearsal;
mod sockets;
mod store;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::{Handle, Runtime};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::admin::{self, Readiness};
use crate::app::egress::Egress;
use crate::app::gauges::Gauges;
use crate::app::sockets::Sockets;
use crate::config::Config;
use crate::domain::clock::Clock;
use crate::gateway::control::Control;
use crate::gateway::desk::Desk;
use crate::gateway::push::{DeferredSlots, KnownPushes};
use crate::gateway::{App, Budgets, Gateway, Inquiries, RouteIds, Shared, SpentTickets, Tickets};
use crate::server::capacity::Capacity;
use crate::server::crew::{Crew, Seat};
use crate::server::inherited::Inherited;
use crate::server::listener::{BindError, Bound};
use crate::server::starvation::Starvation;
use crate::server::tls::{OpenError, Tls};
use crate::server::worker::{self, Context};
use crate::server::{Listen, Settings as ServerSettings};
use crate::store::snapshot;
use crate::telemetry::event;
use crate::telemetry::log::Log;
use crate::telemetry::metrics::{Listener, Metrics, Scrape};
use crate::upstream;
use crate::wechat::access_token::Keepers;
use crate::wechat::client::{Client, SetupError};

/// Why the gate did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address of `admin.listen`.
    #[error("cannot listen on {address} for the admin listener")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The address of `egress.listen`.
    #[error("cannot listen on {address} for the egress listener")]
    Egress {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// `[egress.tls]`: its files have changed since they were checked.
    #[error("cannot use [egress.tls]")]
    EgressTls(#[source] OpenError),
    /// An address of `server.listen`.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// `store.snapshot_file`.
    #[error(transparent)]
    Store(#[from] snapshot::OpenError),
    /// `[server.tls]`: its files have changed since they were checked.
    #[error("cannot use [server.tls]")]
    Tls(#[from] OpenError),
    /// No thread or no runtime to be had.
    #[error("cannot start a thread")]
    Thread(#[from] io::Error),
    /// The client for WeChat.
    #[error("cannot set up the client for WeChat")]
    WeChat(#[from] SetupError),
}

/// A running gate.
#[derive(Debug)]
pub struct Running {
    /// Where it listens, with the ports that the system chose.
    pub addresses: Vec<Listen>,
    /// Where its admin listener is.
    pub admin: Option<SocketAddr>,
    /// Where the app server calls WeChat.
    pub egress: Option<SocketAddr>,
    /// Unix sockets that are to go with it.
    files: Vec<PathBuf>,
    settings: ServerSettings,
    readiness: Readiness,
    tls: Option<Tls>,
    crew: Crew,
    shared: Arc<Shared>,
    /// The workers that accept connections.
    accepting: TaskTracker,
    /// Cancelled: accept no more connections.
    drain: CancellationToken,
    /// Cancelled: stop, whatever is under way.
    halt: CancellationToken,
    threads: Vec<JoinHandle<()>>,
}

/// What a start needs beside the configuration.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The time of day.
    pub clock: Clock,
    /// Where access records go.
    pub log: Option<Log>,
}

/// Starts a gate. When this returns it accepts connections.
pub fn start(config: Config, surroundings: &Surroundings) -> Result<Running, StartError> {
    start_on(Vec::new(), config, surroundings)
}

/// Starts a gate on the sockets that the process was started with, if there are any.
pub fn start_on(
    inherited: Vec<Inherited>,
    config: Config,
    surroundings: &Surroundings,
) -> Result<Running, StartError> {
    let workers = worker_count(config.server.workers);
    let mut sockets = Sockets::open(&config, workers, inherited)?;
    let admin = sockets.admin.take();
    let admin_address = address_of(admin.as_ref());
    let egress_address = address_of(sockets.egress.as_ref());
    let tls = match &config.server.tls {
        Some(settings) => Some(Tls::open(settings, surroundings.clock.clone())?),
        None => None,
    };
    let (wechat, metrics, routes) = counted(&config, &surroundings.clock)?;
    let credentials = config.gateway.apps.iter().map(App::credential);
    let keepers = Keepers::new(&wechat, credentials);
    let egress = (sockets.egress.take(), &config.egress);
    let egress = Egress::prepare(egress, &wechat, &keepers, &surroundings.clock)?;
    let halt = CancellationToken::new();
    // Should a later step fail, what the earlier ones started ends.
    let unfinished = halt.clone().drop_guard();
    let readiness = Readiness::default();

    // Before there is a runtime, which could not be let go of here if this fails.
    let store = store::open(&config, &surroundings.clock)?;
    let control = runtime()?;
    let (shared, attempted) = share(
        &config,
        (workers, store),
        (wechat.clone(), metrics, routes),
        (keepers, control.handle().clone(), &surroundings.clock),
    );
    let scrape = scrape(&config, &shared, wechat, (&tls, &egress));
    let parts = parts(&readiness, &shared, scrape);
    let admin = admin.map(|listener| (listener, parts));
    let mut threads = vec![spawn_control(
        control,
        Arc::clone(&shared),
        (admin, tls.clone()),
        egress,
        halt.clone(),
    )?];

    store::wait(attempted);
    let (crew, seats) = Crew::new(workers);
    let drain = CancellationToken::new();
    let context = context(&config.server, (crew.clone(), tls.clone()), drain.clone());
    let files = sockets.files();
    let accepting = TaskTracker::new();
    for (seat, sockets) in seats.into_iter().zip(sockets.per_worker) {
        let gateway = (Arc::clone(&shared), surroundings.log.clone());
        threads.push(spawn_worker(
            context.clone(),
            (seat, sockets, accepting.token()),
            gateway,
            halt.clone(),
        )?);
    }
    accepting.close();
    announce(&sockets.addresses, sockets.inherited, workers);
    readiness.set(true);
    unfinished.disarm();
    Ok(Running {
        addresses: sockets.addresses,
        files,
        admin: admin_address,
        egress: egress_address,
        settings: config.server,
        readiness,
        tls,
        crew,
        shared,
        accepting,
        drain,
        halt,
        threads,
    })
}

fn parts(readiness: &Readiness, shared: &Arc<Shared>, scrape: Scrape) -> admin::Parts {
    let store = shared.store.clone();
    let usable = Arc::new(move || store.is_usable());
    admin::Parts::new(readiness, usable, scrape, key_set(shared))
}

fn announce(addresses: &[Listen], inherited: bool, workers: usize) {
    for address in addresses {
        tracing::info!(message = event::LISTENING, %address, workers, inherited);
    }
}

fn address_of(listener: Option<&std::net::TcpListener>) -> Option<SocketAddr> {
    listener.and_then(|listener| listener.local_addr().ok())
}

fn context(
    server: &ServerSettings,
    (crew, tls): (Crew, Option<Tls>),
    drain: CancellationToken,
) -> Context {
    Context {
        capacity: Capacity::new(server.limits.max_connections),
        crew,
        limits: server.limits.clone(),
        starvation: Starvation::default(),
        trusted: server.trusted_proxies.clone(),
        proxy_protocol: server.proxy_protocol,
        tls,
        drain,
    }
}

fn worker_count(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn share(
    config: &Config,
    (workers, store): (usize, store::Opened),
    (wechat, metrics, routes): (Client, Metrics, RouteIds),
    (keepers, control, clock): (Keepers, Handle, &Clock),
) -> (Arc<Shared>, Option<Receiver<()>>) {
    let (store, attempted) = store.connected(config, &control, (clock, &metrics));
    let control = Control::new(control);
    let upstreams = config.upstreams.iter().cloned();
    let shared = Arc::new(Shared {
        settings: ArcSwap::from_pointee(config.gateway.clone()),
        known_pushes: KnownPushes::new(store.clone(), &control),
        inquiries: Inquiries::new(control.clone(), wechat.clone(), keepers, metrics.clone()),
        desk: Desk::new(control, wechat, store.clone(), clock.clone()),
        store,
        budgets: Budgets::default(),
        tickets: Tickets::new(config.store.seal_keys.as_ref()),
        spent: SpentTickets::default(),
        deferred_pushes: DeferredSlots::default(),
        metrics,
        routes,
        clock: clock.clone(),
        upstreams: upstreams
            .map(|settings| upstream::Shared::new(settings, workers))
            .collect(),
    });
    (shared, attempted)
}

/// The client for WeChat, and where its calls and all requests are counted.
fn counted(config: &Config, clock: &Clock) -> Result<(Client, Metrics, RouteIds), SetupError> {
    let routes = RouteIds::of(&config.gateway.routes);
    let metrics = Metrics::new(gauges::plan(config, &routes));
    let wechat = Client::new(&config.wechat)?
        .with_clock(clock.clone())
        .with_counts(metrics.calls());
    Ok((wechat, metrics, routes))
}

fn scrape(
    config: &Config,
    shared: &Shared,
    wechat: Client,
    (tls, egress): (&Option<Tls>, &Option<Egress>),
) -> Scrape {
    let server = tls.clone().map(|tls| (Listener::Server, tls));
    let egress = egress.as_ref().and_then(Egress::tls);
    let egress = egress.map(|tls| (Listener::Egress, tls));
    let apps = config.gateway.apps.iter();
    let gauges = Gauges {
        apps: apps.map(|app| app.id.clone()).collect(),
        store: shared.store.clone(),
        keepers: shared.inquiries.keepers().clone(),
        wechat,
        tls: server.into_iter().chain(egress).collect(),
    };
    Scrape::new(shared.metrics.clone(), Arc::new(gauges))
}

/// Of the settings of whenever somebody asks.
fn key_set(shared: &Arc<Shared>) -> admin::AskKeySet {
    let shared = Arc::clone(shared);
    admin::AskKeySet::from_fn(move || {
        let settings = shared.settings.load();
        settings.key_set.as_ref().map(|keys| keys.json().clone())
    })
}

fn spawn_control(
    control: Runtime,
    shared: Arc<Shared>,
    (admin, tls): (Option<(std::net::TcpListener, admin::Parts)>, Option<Tls>),
    egress: Option<Egress>,
    halt: CancellationToken,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || {
            control.block_on(async {
                tokio::spawn(store::tend(shared));
                if let Some((listener, parts)) = admin {
                    tokio::spawn(admin::serve(listener, parts, halt.clone()));
                }
                if let Some(egress) = egress {
                    egress.spawn(halt.clone());
                }
                if let Some(tls) = tls {
                    tokio::spawn(tls.watch());
                }
                halt.cancelled().await;
            });
        })
}

fn spawn_worker(
    context: Context,
    (seat, sockets, accepting): (Seat, Vec<Bound>, TaskTrackerToken),
    (shared, log): (Arc<Shared>, Option<Log>),
    halt: CancellationToken,
) -> io::Result<JoinHandle<()>> {
    let runtime = runtime()?;
    std::thread::Builder::new()
        .name("worker".to_owned())
        .spawn(move || {
            let local = LocalSet::new();
            let work = async {
                let gateway = Rc::new(Gateway::new(shared, log.and_then(|log| log.ring())));
                if let Err(error) = worker::run(context, seat, sockets, gateway).await {
                    tracing::error!(message = event::ACCEPT_FAILED, %error);
                }
                drop(accepting);
                // What is under way goes on until it is over or the time is.
                std::future::pending::<()>().await;
            };
            runtime.block_on(local.run_until(async {
                tokio::select! {
                    () = work => {}
                    () = halt.cancelled() => {}
                }
            }));
        })
}

impl Running {
    /// Looks at the files of `[server.tls]` now, instead of in a moment.
    pub fn look_at_certificates(&self) {
        if let Some(tls) = &self.tls {
            tls.look();
        }
    }
}

/// The address at which this machine reaches a listener: one on all addresses is reached on
/// loopback.
pub fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

/// Asks a gate whether it is alive.
pub async fn ask_health(url: &str, timeout: Duration) -> Result<bool, reqwest::Error> {
    // Somebody else may have chosen it already, and can only have chosen the same.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    // The roots that are compiled in: the client would look for those of the system, and there is no
    // client where there are none, as in an image that holds the gate alone.
    let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned();
    let roots: rustls::RootCertStore = roots.collect();
    let tls = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout)
        .build()?;
    Ok(client.get(url).send().await?.status().is_success())
}

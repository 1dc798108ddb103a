//! Where the gate listens: on addresses of its own, or on what it was started with.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::app::StartError;
use crate::config::Config;
use crate::server::inherited::{self, Inherited};
use crate::server::listener::{self, BindError, Bound, Listeners};
use crate::server::{DEFAULT_PORT, Listen, Settings};

/// Everything that the gate listens on.
#[derive(Debug)]
pub(in crate::app) struct Sockets {
    /// For each worker one socket per address.
    pub(in crate::app) per_worker: Vec<Vec<Bound>>,
    /// The addresses, with the ports that the system chose.
    pub(in crate::app) addresses: Vec<Listen>,
    /// Whether those are of sockets that the gate was started with.
    pub(in crate::app) inherited: bool,
    pub(in crate::app) admin: Option<std::net::TcpListener>,
}

impl Sockets {
    /// Opens them. What the gate was started with takes the place of `admin.listen` if that is its
    /// address, else of `server.listen` as a whole.
    pub(in crate::app) fn open(
        config: &Config,
        workers: usize,
        mut inherited: Vec<Inherited>,
    ) -> Result<Self, StartError> {
        let passed = config.admin.listen;
        let passed = passed.and_then(|address| inherited::take_at(&mut inherited, address));
        let are_inherited = !inherited.is_empty();
        let listeners = if are_inherited {
            listener::share(inherited, workers)?
        } else {
            bind(&config.server, workers)?
        };
        let admin = match (config.admin.listen, passed) {
            (None, _) => None,
            (Some(address), Some(socket)) => Some(non_blocking(address, socket)?),
            (Some(address), None) => Some(bind_admin(address)?),
        };
        Ok(Self {
            per_worker: listeners.per_worker,
            addresses: listeners.addresses,
            inherited: are_inherited,
            admin,
        })
    }

    /// The files of unix sockets that nobody listens on once the gate has gone.
    pub(in crate::app) fn files(&self) -> Vec<PathBuf> {
        let path = |address: &Listen| match address {
            Listen::Unix(path) if !self.inherited => Some(path.clone()),
            Listen::Unix(_) | Listen::Tcp(_) => None,
        };
        self.addresses.iter().filter_map(path).collect()
    }
}

fn bind(settings: &Settings, workers: usize) -> Result<Listeners, BindError> {
    match listener::bind(&settings.listen, workers) {
        Err(error) if settings.listen_fallback && error.is_about_ipv6() => {
            let any = (Ipv4Addr::UNSPECIFIED, DEFAULT_PORT);
            listener::bind(&[Listen::Tcp(any.into())], workers)
        }
        bound => bound,
    }
}

fn bind_admin(address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
    let listener = std::net::TcpListener::bind(address);
    let listener = listener.map_err(|source| StartError::Admin { address, source })?;
    non_blocking(address, listener)
}

fn non_blocking(
    address: SocketAddr,
    listener: std::net::TcpListener,
) -> Result<std::net::TcpListener, StartError> {
    listener
        .set_nonblocking(true)
        .map_err(|source| StartError::Admin { address, source })?;
    Ok(listener)
}

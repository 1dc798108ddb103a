//! Where the gate listens: on addresses of its own, or on what it was started with.

use std::io;
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
    pub(in crate::app) egress: Option<std::net::TcpListener>,
}

impl Sockets {
    /// Opens them. What the gate was started with takes the place of `admin.listen` or
    /// `egress.listen` if that is its address, else of `server.listen` as a whole.
    pub(in crate::app) fn open(
        config: &Config,
        workers: usize,
        mut inherited: Vec<Inherited>,
    ) -> Result<Self, StartError> {
        let mut passed = |address: Option<SocketAddr>| {
            address.and_then(|address| inherited::take_at(&mut inherited, address))
        };
        let admin = config.admin.listen;
        let egress = config.egress.as_ref().map(|egress| egress.listen);
        let (passed_admin, passed_egress) = (passed(admin), passed(egress));
        let are_inherited = !inherited.is_empty();
        let listeners = if are_inherited {
            listener::share(inherited, workers)?
        } else {
            bind(&config.server, workers)?
        };
        let admin = open_one(admin, passed_admin)
            .map_err(|(address, source)| StartError::Admin { address, source })?;
        let egress = open_one(egress, passed_egress)
            .map_err(|(address, source)| StartError::Egress { address, source })?;
        Ok(Self {
            per_worker: listeners.per_worker,
            addresses: listeners.addresses,
            inherited: are_inherited,
            admin,
            egress,
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

/// A listener of the control thread: what was passed for its address, else a new one.
fn open_one(
    address: Option<SocketAddr>,
    passed: Option<std::net::TcpListener>,
) -> Result<Option<std::net::TcpListener>, (SocketAddr, io::Error)> {
    let Some(address) = address else {
        return Ok(None);
    };
    let open = || {
        let listener = passed.map_or_else(|| std::net::TcpListener::bind(address), Ok)?;
        listener.set_nonblocking(true)?;
        Ok(Some(listener))
    };
    open().map_err(|source| (address, source))
}

//! What the service manager is told: that the gate takes requests, and that it is about to stop
//! (sd_notify(3), by hand: each is one datagram). Knows nothing of how the gate was started.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use crate::telemetry::event;

/// How long the manager may keep the gate waiting to be heard. It is told twice in a life.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// How far the gate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It takes requests.
    Ready,
    /// It takes no new connections, or will not in a moment.
    Stopping,
}

impl State {
    fn assignment(self) -> &'static str {
        match self {
            Self::Ready => "READY=1",
            Self::Stopping => "STOPPING=1",
        }
    }
}

/// Whoever started the gate and wants to know how far it is: systemd, with `Type=notify`.
#[derive(Debug)]
pub struct Manager(Option<UnixDatagram>);

impl Manager {
    /// Whoever listens at this address, the value of `NOTIFY_SOCKET`. One that cannot be reached is
    /// logged, and no reason not to serve.
    pub fn at(address: Option<&OsStr>) -> Self {
        let Some(address) = address.filter(|address| !address.is_empty()) else {
            return Self(None);
        };
        let connected = connect(address);
        Self(connected.map_err(|error| not_told(&error)).ok())
    }

    /// Tells it.
    pub fn tell(&self, state: State) {
        let Some(socket) = &self.0 else {
            return;
        };
        if let Err(error) = socket.send(state.assignment().as_bytes()) {
            not_told(&error);
        }
    }
}

fn not_told(error: &io::Error) {
    tracing::warn!(message = event::MANAGER_NOT_TOLD, %error);
}

fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match address.as_bytes() {
        [b'/', ..] => socket.connect(Path::new(address))?,
        [b'@', name @ ..] => connect_abstract(&socket, name)?,
        _ => return Err(io::Error::from(io::ErrorKind::Unsupported)),
    }
    socket.set_write_timeout(Some(MAX_WAIT))?;
    Ok(socket)
}

#[cfg(target_os = "linux")]
fn connect_abstract(socket: &UnixDatagram, name: &[u8]) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;

    socket.connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name)?)
}

#[cfg(not(target_os = "linux"))]
fn connect_abstract(_socket: &UnixDatagram, _name: &[u8]) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

//! `[admin]`: the listener for operators.

use std::net::{Ipv4Addr, SocketAddr};

use crate::admin::{DEFAULT_PORT, Settings};
use crate::config::key::Key;
use crate::config::{address, value};
use crate::server::Listen;

/// Reads `[admin]`. `public` is where clients are listened for.
pub(super) fn read(table: &Key<'_>, public: &[Listen]) -> Settings {
    let key = table.key("listen");
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT));
    let listen = match key.text() {
        None => Some(default),
        Some("") => None,
        Some(text) => address::socket(text).or_else(|| {
            let shown = value::quoted(text);
            key.fault(format!(
                "is {shown}, expected an IP address and a port such as \"127.0.0.1:4189\", or \"\" \
                 for off"
            ));
            None
        }),
    };
    if let Some(address) = listen
        && address.port() != 0
        && public.contains(&Listen::Tcp(address))
    {
        key.fault("is also in server.listen, expected an address that clients do not reach");
    }
    Settings { listen }
}

//! `[server.tls]`: the certificate under which the gate serves, and who may connect. The files are
//! read here to say what is wrong with them, and again at the start.

use std::path::PathBuf;

use crate::config::key::Key;
use crate::domain::clock::Clock;
use crate::server::tls::Settings;
use crate::server::tls::credentials::{Credentials, FileErrors, Validity, Which};

const CERTIFICATE: &str = "a file with the server's certificate and the intermediate ones (PEM)";
const KEY: &str = "a file with the private key of the certificate (PEM, no passphrase)";
const CLIENT_CA: &str = "a file with the certificates that vouch for clients (PEM)";

/// The keys of the table.
struct Keys<'a> {
    cert: Key<'a>,
    key: Key<'a>,
    client_ca: Option<Key<'a>>,
}

/// Reads `[server.tls]`; `None` when there is no such table, or a faulty one.
pub(super) fn read(table: &Key<'_>) -> Option<Settings> {
    read_keys(table, Some(table.key("client_ca_file")))
}

/// Reads a table that says nothing about the certificates of clients.
pub(super) fn read_of_server(table: &Key<'_>) -> Option<Settings> {
    read_keys(table, None)
}

fn read_keys<'a>(table: &Key<'a>, client_ca: Option<Key<'a>>) -> Option<Settings> {
    let keys = Keys {
        cert: table.key("cert_file"),
        key: table.key("key_file"),
        client_ca,
    };
    if !table.is_present() {
        return None;
    }
    let cert_file = read_path(&keys.cert, CERTIFICATE);
    let key_file = read_path(&keys.key, KEY);
    let client_ca = keys.client_ca.as_ref().filter(|key| key.is_present());
    let client_ca_file = client_ca.map(|key| read_path(key, CLIENT_CA));
    let settings = Settings {
        cert_file: cert_file?,
        key_file: key_file?,
        client_ca_file: match client_ca_file {
            Some(path) => Some(path?),
            None => None,
        },
    };
    match Credentials::read(&settings) {
        Ok(credentials) => warn_of_time(&keys.cert, credentials.validity(Clock::System.now())),
        Err(errors) => keys.fault(errors),
    }
    Some(settings)
}

fn read_path(key: &Key<'_>, expected: &str) -> Option<PathBuf> {
    let name = key.required_text(expected)?;
    if name.contains("-----BEGIN") {
        // Not to be repeated as the path of a file that is not there.
        key.fault(format!("holds PEM itself, expected the path of {expected}"));
        return None;
    }
    Some(key.context().directory.join(name))
}

impl Keys<'_> {
    fn fault(&self, errors: FileErrors) {
        for error in errors.0 {
            let (key, expected) = match error.which {
                Which::Certificate => (&self.cert, CERTIFICATE),
                Which::ClientCa => (self.client_ca.as_ref().unwrap_or(&self.cert), CLIENT_CA),
                Which::Key => (&self.key, KEY),
            };
            key.fault(format!("{error}, expected {expected}"));
        }
    }
}

fn warn_of_time(key: &Key<'_>, validity: Validity) {
    match validity {
        Validity::Good => {}
        Validity::Expired => key.warn("has expired: clients will not connect"),
        Validity::NotYet => key.warn("is not valid yet: clients will not connect"),
    }
}

//! `tls.*` of `[upstream]` and `[upstreams.NAME]`: whom an https app server may be, and what the gate
//! shows of itself.

use crate::config::key::{Given, Key, Noted};
use crate::config::pem::{self, Content, Found};
use crate::upstream::tls::{self, Certificates, ClientCertificate, Tls, TlsFault};

const AUTHORITIES: &str = "a file with the certificates that vouch for the app server (PEM)";
const CERTIFICATE: &str = "a file with the gate's own certificate and the intermediate ones (PEM)";
const KEY: &str = "a file with the private key of the certificate (PEM, no passphrase)";

/// The keys of the table.
struct Keys<'a> {
    ca: Key<'a>,
    cert: Key<'a>,
    key: Key<'a>,
}

/// How TLS is spoken to the https app server on this host; `None` when there is a fault.
pub(super) fn read(upstream: &Key<'_>, host: &str) -> Option<Tls> {
    let keys = Keys::of(upstream);
    let (authorities, own) = (keys.authorities(), keys.own());
    match Tls::new(host, authorities.ok()?, own.ok()?) {
        Ok(tls) => Some(tls),
        Err(fault) => {
            keys.fault(&fault, &upstream.key("url"));
            None
        }
    }
}

/// Notes what is wrong with the files of an app server whose url is faulty itself.
pub(super) fn check(upstream: &Key<'_>) {
    let keys = Keys::of(upstream);
    drop((keys.authorities(), keys.own()));
}

/// In clear text none of the keys means anything.
pub(super) fn refuse(upstream: &Key<'_>) {
    let keys = Keys::of(upstream);
    for key in [keys.ca, keys.cert, keys.key] {
        if key.is_present() {
            key.fault("is for https only, and the url is not");
        }
    }
}

impl<'a> Keys<'a> {
    fn of(upstream: &Key<'a>) -> Self {
        let table = upstream.table("tls");
        Self {
            ca: table.key("ca_file"),
            cert: table.key("cert_file"),
            key: table.key("key_file"),
        }
    }

    fn authorities(&self) -> Given<Certificates> {
        let content = Content::Certificates;
        read_one(&self.ca, content, AUTHORITIES, tls::certificates)
    }

    /// Both or neither.
    fn own(&self) -> Given<ClientCertificate> {
        let content = Content::Certificates;
        let chain = read_one(&self.cert, content, CERTIFICATE, tls::certificates);
        let key = read_one(&self.key, Content::PrivateKey, KEY, tls::private_key);
        let (alone, lacking) = match (chain?, key?) {
            (None, None) => return Ok(None),
            (Some(chain), Some(key)) => return Ok(Some((chain, key))),
            (Some(_), None) => (&self.cert, "tls.key_file"),
            (None, Some(_)) => (&self.key, "tls.cert_file"),
        };
        alone.fault(format!(
            "is there without {lacking}, expected both or neither"
        ));
        Err(Noted)
    }

    /// Notes what is wrong with all of it together, at the key that it is about.
    fn fault(&self, fault: &TlsFault, url: &Key<'_>) {
        let (key, expected) = match fault {
            TlsFault::Authority(_) => (&self.ca, AUTHORITIES),
            TlsFault::Certificate(_) | TlsFault::NoCertificate => (&self.cert, CERTIFICATE),
            TlsFault::Broken
            | TlsFault::KeyKind
            | TlsFault::Mismatch
            | TlsFault::NoKey
            | TlsFault::Passphrase => (&self.key, KEY),
            TlsFault::Host | TlsFault::Setup(_) => (url, "a name or an IP address"),
        };
        key.fault(format!("{fault}, expected {expected}"));
    }
}

fn read_one<T>(
    key: &Key<'_>,
    content: Content,
    expected: &str,
    parse: impl FnOnce(&[u8]) -> Result<T, TlsFault>,
) -> Given<T> {
    if !key.is_present() {
        return Ok(None);
    }
    let Found { pem, path } = pem::read(key, content, expected).ok_or(Noted)?;
    parse(&pem).map(Some).map_err(|fault| {
        key.fault(format!("{path} {fault}, expected {expected}"));
        Noted
    })
}

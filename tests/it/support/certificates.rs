//! Authorities of the tests, what they vouch for, and clients that believe them.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::client::{Resumption, Tls12Resumption};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::raw::Connection;

/// The name that certificates of servers are for.
const NAME: &str = "gate.example";

/// Vouches for servers and clients.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for the gate.
    pub(crate) fn vouch(&self) -> Pair {
        self.vouch_for(|_params| {})
    }

    /// A certificate that is somehow special.
    pub(crate) fn vouch_for(&self, special: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params =
            CertificateParams::new([NAME, "localhost", "127.0.0.1"].map(str::to_owned)).unwrap();
        special(&mut params);
        let key = KeyPair::generate().unwrap();
        Pair {
            cert: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A client that believes this authority.
    pub(crate) fn client(&self) -> Client {
        Client {
            roots: vec![self.0.der().clone()],
            ..Client::default()
        }
    }
}

impl Pair {
    /// The certificate, as a handshake shows it.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }

    /// Puts both into files, each of which is never seen half.
    pub(crate) fn write(&self, folder: &Path) {
        replace(&folder.join("cert.pem"), &self.cert);
        replace(&folder.join("key.pem"), &self.key);
    }
}

/// Puts a file in the place of another.
pub(crate) fn replace(path: &Path, content: &str) {
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, path).unwrap();
}

/// Files of `[server.tls]`, and the authority behind them.
pub(crate) struct Files {
    pub(crate) authority: Authority,
    pub(crate) pair: Pair,
    folder: TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        let pair = authority.vouch();
        pair.write(folder.path());
        fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Self {
            authority,
            pair,
            folder,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The files by these names, as configuration.
    pub(crate) fn table_of(&self, cert: &str, key: &str) -> String {
        let path = |name| self.path(name).display().to_string();
        format!(
            "[server.tls]\ncert_file = \"{}\"\nkey_file = \"{}\"\n",
            path(cert),
            path(key)
        )
    }

    pub(crate) fn table(&self) -> String {
        self.table_of("cert.pem", "key.pem")
    }

    /// The same with an authority that must have vouched for clients.
    pub(crate) fn table_for_known_clients(&self, authority: &Authority) -> String {
        fs::write(self.path("clients.pem"), authority.pem()).unwrap();
        let path = self.path("clients.pem");
        format!("{}client_ca_file = \"{}\"\n", self.table(), path.display())
    }
}

/// What a client believes, has and knows. One has one memory of sessions for all its connections.
#[derive(Clone, Default)]
pub(crate) struct Client {
    roots: Vec<CertificateDer<'static>>,
    pair: Option<Pair>,
    versions: Option<&'static SupportedProtocolVersion>,
    alpn: Vec<&'static str>,
    tickets_unknown: bool,
}

impl Client {
    pub(crate) fn with(self, pair: &Pair) -> Self {
        let pair = Some(pair.clone());
        Self { pair, ..self }
    }

    pub(crate) fn only_tls12(self) -> Self {
        let versions = Some(&TLS12);
        Self { versions, ..self }
    }

    pub(crate) fn only_tls13(self) -> Self {
        let versions = Some(&TLS13);
        Self { versions, ..self }
    }

    pub(crate) fn without_tickets(self) -> Self {
        Self {
            tickets_unknown: true,
            ..self
        }
    }

    pub(crate) fn speaking(self, alpn: &[&'static str]) -> Self {
        let alpn = alpn.to_vec();
        Self { alpn, ..self }
    }

    pub(crate) fn connector(self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.roots);
        let versions = self
            .versions
            .map_or_else(|| vec![&TLS13, &TLS12], |one| vec![one]);
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.pair {
            Some(pair) => {
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                builder
                    .with_client_auth_cert(vec![pair.der()], key)
                    .unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self
            .alpn
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        if self.tickets_unknown {
            let sessions = Resumption::in_memory_sessions(8);
            config.resumption = sessions.tls12_resumption(Tls12Resumption::SessionIdOnly);
        }
        TlsConnector::from(Arc::new(config))
    }

    /// Connects, and makes the connection an encrypted one.
    pub(crate) async fn connect(self, to: SocketAddr) -> Connection<TlsStream<TcpStream>> {
        Connection::over(handshake(&self.connector(), to).await.unwrap())
    }
}

/// Connects, and tries to make the connection an encrypted one.
pub(crate) async fn handshake(
    connector: &TlsConnector,
    to: SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(to).await.unwrap();
    encrypt(connector, socket).await
}

/// Tries to make a connection an encrypted one.
pub(crate) async fn encrypt(
    connector: &TlsConnector,
    socket: TcpStream,
) -> std::io::Result<TlsStream<TcpStream>> {
    socket.set_nodelay(true).unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    connector.connect(name, socket).await
}

/// Connects, and makes the connection an encrypted one on which this is said with the end of the
/// handshake.
pub(crate) async fn encrypt_and_say(
    connector: &TlsConnector,
    to: SocketAddr,
    said: &[u8],
) -> TlsStream<TcpStream> {
    let socket = TcpStream::connect(to).await.unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    // What is written before there is a key waits for it.
    let say = |tls: &mut ClientConnection| tls.writer().write_all(said).unwrap();
    connector.connect_with(name, socket, say).await.unwrap()
}

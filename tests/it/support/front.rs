//! TLS in front of an app server of the tests, right or wrong in any way that a test asks for.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use rcgen::CertificateParams;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig};
use rustls::{ServerConnection, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::certificates::{Authority, Pair};

/// A certificate for an app server with these names and addresses that is somehow special.
pub(crate) fn vouch_for(
    authority: &Authority,
    names: &[&str],
    special: impl FnOnce(&mut CertificateParams),
) -> Pair {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let names = CertificateParams::new(names).unwrap().subject_alt_names;
    authority.vouch_for(|params| {
        params.subject_alt_names = names;
        special(params);
    })
}

/// Files of `tls.*`, for as long as this lives.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A line of configuration: whose word is taken.
    pub(crate) fn believe(&self, authority: &Authority) -> String {
        let path = self.write("ca.pem", &authority.pem());
        format!("tls.ca_file = \"{}\"\n", path.display())
    }

    /// Lines of configuration: what the gate shows of itself.
    pub(crate) fn show(&self, pair: &Pair) -> String {
        let cert = self.write("cert.pem", &pair.cert);
        let key = self.write("key.pem", &pair.key);
        format!(
            "tls.cert_file = \"{}\"\ntls.key_file = \"{}\"\n",
            cert.display(),
            key.display()
        )
    }
}

/// How a front meets whoever connects.
pub(crate) struct Terms {
    pair: Pair,
    clients: Option<RootCertStore>,
    versions: Vec<&'static SupportedProtocolVersion>,
    alpn: Vec<&'static str>,
}

impl Terms {
    /// With this certificate; anybody, TLS 1.2 and 1.3, no ALPN.
    pub(crate) fn with(pair: &Pair) -> Self {
        Self {
            pair: pair.clone(),
            clients: None,
            versions: vec![&TLS13, &TLS12],
            alpn: Vec::new(),
        }
    }

    /// Only those that this authority vouches for.
    pub(crate) fn only_known_to(mut self, authority: &Authority) -> Self {
        let certificate = CertificateDer::from_pem_slice(authority.pem().as_bytes());
        let mut roots = RootCertStore::empty();
        roots.add(certificate.unwrap()).unwrap();
        self.clients = Some(roots);
        self
    }

    pub(crate) fn only_tls12(mut self) -> Self {
        self.versions = vec![&TLS12];
        self
    }

    pub(crate) fn only_tls13(mut self) -> Self {
        self.versions = vec![&TLS13];
        self
    }

    pub(crate) fn speaking(mut self, alpn: &[&'static str]) -> Self {
        self.alpn = alpn.to_vec();
        self
    }

    fn acceptor(self) -> TlsAcceptor {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.versions)
            .unwrap();
        let builder = match self.clients {
            None => builder.with_no_client_auth(),
            Some(roots) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .unwrap(),
            ),
        };
        let key = PrivateKeyDer::from_pem_slice(self.pair.key.as_bytes()).unwrap();
        let mut config = builder
            .with_single_cert(vec![self.pair.der()], key)
            .unwrap();
        config.alpn_protocols = self
            .alpn
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// What is behind a front.
#[derive(Clone, Copy)]
pub(crate) enum Behind {
    /// An app server that knows nothing of TLS.
    App(SocketAddr),
    /// These bytes, for every request head; then an end that is said.
    Says(&'static str),
    /// The same with a connection that just ends, as one ends that somebody cuts.
    SaysAndBreaks(&'static str),
}

/// One handshake that went well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Met {
    pub(crate) name: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) version: ProtocolVersion,
    pub(crate) resumed: bool,
    pub(crate) with_certificate: bool,
}

impl Met {
    fn of(connection: &ServerConnection) -> Self {
        let protocol = connection.alpn_protocol();
        Self {
            name: connection.server_name().map(str::to_owned),
            protocol: protocol.map(|name| String::from_utf8(name.to_vec()).unwrap()),
            version: connection.protocol_version().unwrap(),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            with_certificate: connection.peer_certificates().is_some(),
        }
    }
}

/// What is added to from connection to connection.
type List<T> = Arc<Mutex<Vec<T>>>;

/// A listener that speaks TLS.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    met: List<Met>,
    failed: List<String>,
    _stop: Arc<DropGuard>,
}

impl Front {
    pub(crate) async fn start(terms: Terms, behind: Behind) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stop = CancellationToken::new();
        let front = Self {
            address: listener.local_addr().unwrap(),
            met: Arc::default(),
            failed: Arc::default(),
            _stop: Arc::new(stop.clone().drop_guard()),
        };
        let accepting = accept(
            listener,
            terms.acceptor(),
            behind,
            (Arc::clone(&front.met), Arc::clone(&front.failed)),
        );
        tokio::spawn(async move {
            tokio::select! {
                () = accepting => {}
                () = stop.cancelled() => {}
            }
        });
        front
    }

    /// Its url by name.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// Every handshake that went well.
    pub(crate) fn met(&self) -> Vec<Met> {
        self.met.lock().clone()
    }

    /// Why the others did not.
    pub(crate) fn failed(&self) -> Vec<String> {
        self.failed.lock().clone()
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    behind: Behind,
    (met, failed): (List<Met>, List<String>),
) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (met, failed) = (Arc::clone(&met), Arc::clone(&failed));
        let accepting = acceptor.accept(socket);
        tokio::spawn(async move {
            let socket = match accepting.await {
                Ok(socket) => socket,
                Err(error) => return failed.lock().push(error.to_string()),
            };
            met.lock().push(Met::of(socket.get_ref().1));
            serve(socket, behind).await;
        });
    }
}

async fn serve(mut socket: TlsStream<TcpStream>, behind: Behind) {
    let (says, ends) = match behind {
        Behind::App(address) => {
            let mut app = TcpStream::connect(address).await.unwrap();
            // How it ends is told by what arrived.
            drop(tokio::io::copy_bidirectional(&mut socket, &mut app).await);
            return;
        }
        Behind::Says(says) => (says, true),
        Behind::SaysAndBreaks(says) => (says, false),
    };
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        match socket.read_buf(&mut asked).await {
            Ok(1..) => {}
            _ => return,
        }
    }
    socket.write_all(says.as_bytes()).await.unwrap();
    socket.flush().await.unwrap();
    if ends {
        socket.shutdown().await.unwrap();
    }
}

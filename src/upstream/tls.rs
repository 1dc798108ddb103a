//! TLS towards an app server: whose word on its name is taken, and what the gate shows of itself. Made
//! once, from what the configuration names, and shared by all workers. Knows no files.

use std::fmt;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::upstream::Protocol;

/// How PEM says that a key is encrypted: PKCS #8 (RFC 7468 §11), and the older form (RFC 1421).
const ENCRYPTED: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];

/// Why certificates, a key, or TLS with them cannot be used. Repeats nothing of what was given.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// A certificate that vouches for app servers.
    #[error("has a certificate that cannot be used: {0}")]
    Authority(rustls::Error),
    /// What looks like PEM is not.
    #[error("is not PEM from its begin to its end")]
    Broken,
    /// The gate's own certificate.
    #[error("has a certificate that cannot be used: {0}")]
    Certificate(rustls::Error),
    /// Neither a name nor an address.
    #[error("has a host that no certificate can be for")]
    Host,
    /// A key of a kind that is not known.
    #[error("has a private key of a kind that cannot be used")]
    KeyKind,
    /// The key of another certificate.
    #[error("has another key than that of the first certificate in cert_file")]
    Mismatch,
    /// No certificate at all.
    #[error("has no certificate in it")]
    NoCertificate,
    /// No key at all.
    #[error("has no private key in it")]
    NoKey,
    /// There is nobody to type it.
    #[error("has a private key behind a passphrase")]
    Passphrase,
    /// The TLS library does not offer what is needed.
    #[error("cannot be reached over TLS: {0}")]
    Setup(rustls::Error),
}

/// Out of one text, in its order.
pub type Certificates = Vec<CertificateDer<'static>>;

/// A certificate chain, and the key of its first certificate.
pub type ClientCertificate = (Certificates, PrivateKeyDer<'static>);

/// How TLS is spoken to one app server.
#[derive(Clone)]
pub struct Tls {
    name: ServerName<'static>,
    http1: TlsConnector,
    http2: TlsConnector,
}

/// Shows the name only: a private key is behind it.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// To the app server of this name or address. Without `authorities` the public ones are
    /// believed, and else those alone: an app server with an authority of its own must not be
    /// impersonated by somebody with a certificate from another.
    pub fn new(
        host: &str,
        authorities: Option<Certificates>,
        own: Option<ClientCertificate>,
    ) -> Result<Self, TlsFault> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_odd| TlsFault::Host)?;
        let roots = Arc::new(match authorities {
            None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
            Some(authorities) => believe(authorities)?,
        });
        let own = own.map(certify).transpose()?;
        let connector = |alpn| connector(&roots, own.as_ref(), alpn).map_err(TlsFault::Setup);
        Ok(Self {
            name,
            http1: connector(b"http/1.1")?,
            http2: connector(b"h2")?,
        })
    }

    /// Makes a connection an encrypted one, to be spoken over in this protocol.
    pub(in crate::upstream) async fn connect(
        &self,
        socket: TcpStream,
        protocol: Protocol,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let connector = match protocol {
            Protocol::Http1 => &self.http1,
            Protocol::Http2 => &self.http2,
        };
        connector.connect(self.name.clone(), socket).await
    }
}

/// The certificates in a PEM text; at least one.
pub fn certificates(pem: &[u8]) -> Result<Certificates, TlsFault> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(TlsFault::NoCertificate),
        Ok(certificates) => Ok(certificates),
        // The cause would repeat a line of the text.
        Err(_cause) => Err(TlsFault::Broken),
    }
}

/// The private key in a PEM text.
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsFault> {
    let says = |mark: &&[u8]| memchr::memmem::find(pem, mark).is_some();
    if ENCRYPTED.iter().any(says) {
        return Err(TlsFault::Passphrase);
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|cause| match cause {
        pem::Error::NoItemsFound => TlsFault::NoKey,
        _ => TlsFault::Broken,
    })
}

/// One named provider: the process may hold several, and must not be asked.
fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

fn believe(authorities: Certificates) -> Result<RootCertStore, TlsFault> {
    let mut roots = RootCertStore::empty();
    for certificate in authorities {
        roots.add(certificate).map_err(TlsFault::Authority)?;
    }
    Ok(roots)
}

/// Puts chain and key together, if they belong together.
fn certify((chain, key): ClientCertificate) -> Result<Arc<dyn ResolvesClientCert>, TlsFault> {
    let certified = CertifiedKey::from_der(chain, key, &provider());
    let certified = certified.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsFault::Mismatch,
        rustls::Error::InvalidCertificate(_) => TlsFault::Certificate(error),
        _ => TlsFault::KeyKind,
    })?;
    Ok(Arc::new(SingleCertAndKey::from(certified)))
}

/// TLS 1.2 and 1.3, sessions resumed, no early data: that could be replayed.
fn connector(
    roots: &Arc<RootCertStore>,
    own: Option<&Arc<dyn ResolvesClientCert>>,
    alpn: &[u8],
) -> Result<TlsConnector, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(Arc::clone(roots));
    let mut config = match own {
        Some(own) => builder.with_client_cert_resolver(Arc::clone(own)),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

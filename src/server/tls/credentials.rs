//! What the files of `[server.tls]` hold, checked: the certificate chain, its key, and who vouches
//! for clients. Says what is wrong with a file and never what is in it.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::domain::clock::Timestamp;
use crate::server::tls::{Settings, provider};

/// Larger files hold something else. A bundle of all public authorities has a fifth of it.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// After the last moment that a certificate can name, 9999-12-31 (RFC 5280 §4.1.2.5), in seconds
/// since 1970.
const END_OF_TIME: u64 = 253_402_300_800;

/// How PEM says that a key is encrypted: PKCS #8 (RFC 7468 §11), and the older form (RFC 1421).
const ENCRYPTED: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];

/// Which file of `[server.tls]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// `cert_file`.
    Certificate,
    /// `client_ca_file`.
    ClientCa,
    /// `key_file`.
    Key,
}

/// What is wrong with a file. Its text never repeats what is in it.
#[derive(Debug, thiserror::Error)]
#[error("{} {wrong}", path.display())]
pub struct FileError {
    /// Which one it is.
    pub which: Which,
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong with it.
    pub wrong: Wrong,
}

/// What can be wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// What looks like PEM is not.
    #[error("is not PEM from its begin to its end")]
    Broken,
    /// A certificate that cannot be used.
    #[error("has a certificate that cannot be used: {0}")]
    Certificate(rustls::Error),
    /// A key of a kind that is not known.
    #[error("has a private key of a kind that cannot be used")]
    Key,
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
    /// Something else.
    #[error("is larger than 1MiB")]
    TooLarge,
    /// It cannot be opened or read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// Anybody might have put the key there.
    #[error("can be written by its group or by everybody, so anybody might have put the key there")]
    WritableByOthers,
}

/// Everything that is wrong with the files; never nothing.
#[derive(Debug)]
pub struct FileErrors(pub Vec<FileError>);

impl fmt::Display for FileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join("; "))
    }
}

impl std::error::Error for FileErrors {}

/// What the files hold.
pub struct Credentials {
    certified: CertifiedKey,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    content: Content,
}

/// Tells one content of the files from another: the SHA-256 of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::server::tls) struct Content([[u8; 32]; 3]);

/// Shows nothing: a private key is among it.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads and checks the files.
    pub fn read(settings: &Settings) -> Result<Self, FileErrors> {
        let (cert_file, key_file) = (&settings.cert_file, &settings.key_file);
        let chain = read(Which::Certificate, cert_file, certificates);
        let key = read(Which::Key, key_file, private_key);
        let clients = match &settings.client_ca_file {
            Some(path) => read(Which::ClientCa, path, client_verifier).map(Some),
            None => Ok(None),
        };
        match (chain, key, clients) {
            (Ok((chain, cert_digest)), Ok((key, key_digest)), Ok(clients)) => {
                let (clients, ca_digest) = clients.unzip();
                Ok(Self {
                    certified: certify(chain, key, settings)
                        .map_err(|error| FileErrors(vec![error]))?,
                    clients,
                    content: Content([cert_digest, key_digest, ca_digest.unwrap_or_default()]),
                })
            }
            (chain, key, clients) => {
                let errors = [chain.err(), key.err(), clients.err()];
                Err(FileErrors(errors.into_iter().flatten().collect()))
            }
        }
    }

    /// Whether the certificate is of use at this time.
    pub fn validity(&self, now: Timestamp) -> Validity {
        match self.objection(now.as_secs()) {
            Some(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
                Validity::Expired
            }
            Some(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
                Validity::NotYet
            }
            _ => Validity::Good,
        }
    }

    /// When the certificate ends, if that can be told.
    pub fn end(&self) -> Option<Timestamp> {
        match self.objection(END_OF_TIME) {
            Some(CertificateError::ExpiredContext { not_after, .. }) => {
                let end = Duration::from_secs(not_after.as_secs());
                Some(Timestamp::EPOCH.plus(end))
            }
            _ => None,
        }
    }

    /// What is wrong with the certificate at this time, in seconds since 1970. With nobody to vouch
    /// for it no certificate is accepted; but what is said first of one that is too old or too new is
    /// that.
    fn objection(&self, now: u64) -> Option<CertificateError> {
        let certificate = ParsedCertificate::try_from(self.certified.cert.first()?).ok()?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        let nobody = RootCertStore::empty();
        let algorithms = provider().signature_verification_algorithms.all;
        match verify_server_cert_signed_by_trust_anchor(&certificate, &nobody, &[], now, algorithms)
        {
            Err(rustls::Error::InvalidCertificate(error)) => Some(error),
            _ => None,
        }
    }

    pub(in crate::server::tls) fn certified(&self) -> CertifiedKey {
        self.certified.clone()
    }

    pub(in crate::server::tls) fn clients(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        self.clients.clone()
    }

    pub(in crate::server::tls) fn content(&self) -> Content {
        self.content
    }
}

/// Whether a certificate is of use at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Its time is over.
    Expired,
    /// It is, as far as time goes.
    Good,
    /// Its time is still to come.
    NotYet,
}

/// Reads one file, and what it is for out of it.
fn read<T>(
    which: Which,
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, Wrong>,
) -> Result<(T, [u8; 32]), FileError> {
    let read = || {
        let bytes = read_bytes(which, path)?;
        Ok((parse(&bytes)?, Sha256::digest(&*bytes).into()))
    };
    read().map_err(|wrong| FileError {
        which,
        path: path.to_path_buf(),
        wrong,
    })
}

fn read_bytes(which: Which, path: &Path) -> Result<Zeroizing<Vec<u8>>, Wrong> {
    let file = File::open(path).map_err(Wrong::Unreadable)?;
    let metadata = file.metadata().map_err(Wrong::Unreadable)?;
    if which == Which::Key && others_may_write(&metadata) {
        return Err(Wrong::WritableByOthers);
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let mut limited = file.take(MAX_FILE_BYTES + 1);
    limited.read_to_end(&mut bytes).map_err(Wrong::Unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE_BYTES) {
        return Err(Wrong::TooLarge);
    }
    Ok(bytes)
}

fn others_may_write(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o022 != 0
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(Wrong::NoCertificate),
        Ok(certificates) => Ok(certificates),
        // The cause would repeat a line of the file.
        Err(_cause) => Err(Wrong::Broken),
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Wrong> {
    let says = |mark: &&[u8]| pem.windows(mark.len()).any(|window| window == *mark);
    if ENCRYPTED.iter().any(says) {
        return Err(Wrong::Passphrase);
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|cause| match cause {
        pem::Error::NoItemsFound => Wrong::NoKey,
        _ => Wrong::Broken,
    })
}

fn client_verifier(pem: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, Wrong> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(Wrong::Certificate)?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|_no_roots| Wrong::NoCertificate)
}

/// Puts chain and key together, if they belong together.
fn certify(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    settings: &Settings,
) -> Result<CertifiedKey, FileError> {
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
        let (which, path, wrong) = match error {
            rustls::Error::InconsistentKeys(_) => (Which::Key, &settings.key_file, Wrong::Mismatch),
            rustls::Error::InvalidCertificate(_) => {
                let wrong = Wrong::Certificate(error);
                (Which::Certificate, &settings.cert_file, wrong)
            }
            _ => (Which::Key, &settings.key_file, Wrong::Key),
        };
        FileError {
            which,
            path: path.clone(),
            wrong,
        }
    })
}

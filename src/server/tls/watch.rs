//! Whether the files of `[server.tls]` have changed. Certificates are renewed while the gate runs;
//! who renews them may write one file after the other, or point a link somewhere else.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::server::tls::credentials::{Content, Credentials, Validity};
use crate::server::tls::{OpenError, Settings, Tls, server_config};
use crate::telemetry::event;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What is known of the files.
#[derive(Debug)]
pub(in crate::server::tls) struct Watch(Mutex<Seen>);

#[derive(Debug)]
struct Seen {
    stamps: Vec<Option<Stamp>>,
    /// What is in use.
    content: Content,
    /// Whether everything has been said about the files as they are.
    settled: bool,
}

/// What changes about a file when it does: another file by the same name, through whatever links, or
/// another content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// `None` when there is no file.
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    fn of_all(settings: &Settings) -> Vec<Option<Self>> {
        let files = [&settings.cert_file, &settings.key_file];
        let files = files.into_iter().chain(&settings.client_ca_file);
        files.map(|path| Self::of(path)).collect()
    }
}

impl Watch {
    /// Begins to watch, before the files are read: what changes after that is noticed.
    pub(in crate::server::tls) fn begin(settings: &Settings) -> Self {
        Self(Mutex::new(Seen {
            stamps: Stamp::of_all(settings),
            content: Content::default(),
            settled: true,
        }))
    }

    /// Notes what is in use.
    pub(in crate::server::tls) fn took(&self, credentials: &Credentials) {
        self.0.lock().content = credentials.content();
    }
}

impl Tls {
    /// Looks at the files again and again, for ever.
    pub async fn watch(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let tls = self.clone();
            // A file may be on a disk that is slow, or in another country.
            let looked = tokio::task::spawn_blocking(move || tls.look()).await;
            // It does not panic; and if it did, the next look is as good.
            drop(looked);
        }
    }

    /// Looks at the files, and takes another certificate, key or client authority into use if they
    /// fit together; else what is in use goes on. What is wrong is said when the files are still the
    /// same at the next look: they may be about to be whole.
    pub fn look(&self) {
        let mut seen = self.0.watch.0.lock();
        let stamps = Stamp::of_all(&self.0.settings);
        let same = stamps == seen.stamps;
        if same && seen.settled {
            return;
        }
        seen.stamps = stamps;
        match self.take_over(seen.content) {
            Ok(content) => {
                seen.content = content;
                seen.settled = true;
            }
            Err(error) => {
                if same {
                    tracing::error!(message = event::CERTIFICATE_NOT_RELOADED, %error);
                }
                seen.settled = same;
            }
        }
    }

    /// Uses what the files hold from now on, and gives it.
    fn take_over(&self, in_use: Content) -> Result<Content, OpenError> {
        let credentials = Credentials::read(&self.0.settings)?;
        let content = credentials.content();
        if content != in_use {
            let config = server_config(&credentials, &self.0.resumption, self.0.alpn)?;
            self.0.config.store(Arc::new(config));
            self.0.end.store(credentials.end().map(Arc::new));
            let file = self.0.settings.cert_file.display();
            tracing::info!(message = event::CERTIFICATE_RELOADED, %file);
            if credentials.validity(self.0.clock.now()) != Validity::Good {
                tracing::warn!(message = event::CERTIFICATE_OUT_OF_DATE, %file);
            }
        }
        Ok(content)
    }
}

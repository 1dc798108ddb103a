//! Files with certificates or a private key. Says what is wrong with one and never what is in it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::config::key::Key;
use crate::config::secret;

/// Larger files hold something else. A bundle of all public authorities has a fifth of it.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What a file is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Certificates,
    PrivateKey,
}

/// What was found in a file, and how it is called in a message.
pub(super) struct Found {
    pub(super) pem: Zeroizing<Vec<u8>>,
    pub(super) path: String,
}

/// Reads the file that a key names. `expected` says what should be in it.
pub(super) fn read(key: &Key<'_>, content: Content, expected: &str) -> Option<Found> {
    let name = key.required_text(expected)?;
    if name.contains("-----BEGIN") {
        // Not to be repeated as the path of a file that is not there.
        key.fault(format!("holds PEM itself, expected the path of {expected}"));
        return None;
    }
    let path = key.context().directory.join(name);
    let shown = path.display().to_string();
    match read_file(&path, content) {
        Ok(pem) => Some(Found { pem, path: shown }),
        Err(wrong) => {
            key.fault(format!("{shown} {wrong}, expected {expected}"));
            None
        }
    }
}

fn read_file(path: &Path, content: Content) -> Result<Zeroizing<Vec<u8>>, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if content == Content::PrivateKey && secret::others_may_write(&metadata) {
        return Err(
            "can be written by its group or by everybody, so anybody might have put the key there"
                .to_owned(),
        );
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let mut limited = file.take(MAX_FILE_BYTES + 1);
    limited.read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE_BYTES) {
        return Err("is larger than 1MiB".to_owned());
    }
    Ok(bytes)
}

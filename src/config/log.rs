//! `[log]`: what is logged, and under which hash users appear.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::key::{Key, Noted};
use crate::config::secret;
use crate::domain::secret::AppSecret;
use crate::telemetry::{Format, Level, LogKey, Settings, UserField};

/// Shorter keys can be guessed.
const MIN_KEY_BYTES: usize = 16;
/// Says what the derived key is for, so that it is never the key of anything else.
const LABEL: &[u8] = b"wxgate log user key v1";

/// The choices of `user`.
#[derive(Clone, Copy)]
enum User {
    Hash,
    OpenId,
    Off,
}

/// Reads `[log]`. `first` is the secret of the first app.
pub(super) fn read(table: &Key<'_>, first: Option<&AppSecret>) -> Option<Settings> {
    let level = table.key("level").choice(
        Level::Info,
        &[
            ("error", Level::Error),
            ("warn", Level::Warn),
            ("info", Level::Info),
            ("debug", Level::Debug),
        ],
    );
    let formats = [
        ("auto", Format::Auto),
        ("json", Format::Json),
        ("text", Format::Text),
    ];
    let format = table.key("format").choice(Format::Auto, &formats);
    let access = table.key("access").flag(true);
    let users = [
        ("hash", User::Hash),
        ("openid", User::OpenId),
        ("off", User::Off),
    ];
    let user = table.key("user").choice(User::Hash, &users);
    let key = read_key(table, first);
    Some(Settings {
        level,
        format,
        access,
        user: match user {
            User::Hash => UserField::Hash(key?),
            User::OpenId => UserField::OpenId,
            User::Off => UserField::Off,
        },
    })
}

fn read_key(table: &Key<'_>, first: Option<&AppSecret>) -> Option<LogKey> {
    match secret::read(table, "user_key") {
        Ok(None) => derive(first?),
        Err(Noted) => None,
        Ok(Some(bytes)) if bytes.len() < MIN_KEY_BYTES => {
            table.key("user_key").fault(format!(
                "is shorter than {MIN_KEY_BYTES} bytes and could be guessed, expected a long random text"
            ));
            None
        }
        Ok(Some(bytes)) => Some(LogKey::new(bytes.to_vec())),
    }
}

/// A key that all replicas have in common without being told.
fn derive(secret: &AppSecret) -> Option<LogKey> {
    // Exposed to a one-way function: the derived key does not lead back.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(LABEL);
    Some(LogKey::new(mac.finalize().into_bytes().to_vec()))
}

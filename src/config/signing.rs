//! `[identity.jwt]` and `[identity.hmac]`: the keys by which identities are signed. The files are read
//! here, once.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::config::key::{Given, Key, Noted};
use crate::config::pem::{self, Content};
use crate::config::{secret, value};
use crate::domain::identity::Signers;
use crate::gateway::signing::{Assertions, KeySet, Proofs, SigningKey};

/// The headers, unless that is said.
pub(super) const ASSERTION: &str = "X-WX-Assertion";
pub(super) const PROOF: &str = "X-WX-Proof";

const ISSUER: &str = "wxgate";
const TTL: Duration = Duration::from_mins(1);

/// Below, clocks that differ a little make assertions that are over before they arrive; above, one
/// outlives the session that it is about for too long.
const TTL_RANGE: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_hours(1);

/// As many bytes as the hash has (RFC 2104 §3): a shorter key is the weakest part.
const MIN_KEY_BYTES: usize = 32;

const SIGNING_KEY: &str = "a file with a private key, Ed25519 or P-256 (PEM, PKCS #8, no passphrase), \
                           such as `openssl genpkey -algorithm ed25519` makes";
const PREVIOUS_KEY: &str =
    "the file with the private key before or after that one (PEM, PKCS #8, no passphrase)";
const RANDOM_TEXT: &str = "a random text such as `openssl rand -base64 32` makes";

/// By whom identities are signed, and what is published of that.
#[derive(Default)]
pub(super) struct Signing {
    pub(super) signers: Signers,
    pub(super) key_set: Option<KeySet>,
}

/// Reads both tables. Of one that is faulty nothing is read.
pub(super) fn read(jwt: &Key<'_>, hmac: &Key<'_>) -> Signing {
    let mut signing = Signing::default();
    if let Some((assertions, key_set)) = read_jwt(jwt) {
        signing.signers.assertion = Some(Arc::new(assertions));
        signing.key_set = Some(key_set);
    }
    if let Some(proofs) = read_hmac(hmac) {
        signing.signers.proof = Some(Arc::new(proofs));
    }
    signing
}

/// Nothing when there is no such table.
fn read_jwt(table: &Key<'_>) -> Option<(Assertions, KeySet)> {
    let [key, previous] = ["key_file", "previous_key_file"].map(|name| table.key(name));
    let issuer = read_name(&table.key("issuer"));
    let audience = read_name(&table.key("audience"));
    let ttl = table.key("ttl");
    let ttl_read = ttl.duration(TTL);
    if !TTL_RANGE.contains(&ttl_read) {
        ttl.fault("is out of range, expected a duration from 10s to 1h");
    }
    if !table.is_present() {
        return None;
    }
    let previous = previous.is_present().then(|| {
        let read = read_key(&previous, PREVIOUS_KEY);
        (previous, read)
    });
    let current = read_key(&key, SIGNING_KEY)?;
    let previous = match previous {
        Some((at, read)) => {
            let read = read?;
            if read.public() == current.public() {
                at.warn(
                    "is the same key as identity.jwt.key_file, so there is nothing to change over",
                );
            }
            Some(read)
        }
        None => None,
    };
    let key_set = KeySet::of(&current, previous.as_ref());
    let issuer = issuer.unwrap_or_else(|| ISSUER.to_owned());
    Some((
        Assertions::new(current, issuer, audience, ttl_read),
        key_set,
    ))
}

fn read_key(key: &Key<'_>, expected: &str) -> Option<SigningKey> {
    let found = pem::read(key, Content::PrivateKey, expected)?;
    match SigningKey::from_pem(&found.pem) {
        Ok(signing_key) => Some(signing_key),
        Err(wrong) => {
            key.fault(format!("{} {wrong}, expected {expected}", found.path));
            None
        }
    }
}

/// The name of somebody in a claim.
fn read_name(key: &Key<'_>) -> Option<String> {
    let text = key.text()?;
    if text.is_empty() || text.trim() != text || text.contains(char::is_control) {
        let shown = value::quoted(text);
        key.fault(format!(
            "is {shown}, expected a name that verifiers compare, such as \"wxgate\""
        ));
        return None;
    }
    Some(text.to_owned())
}

/// Nothing when there is no such table.
fn read_hmac(table: &Key<'_>) -> Option<Proofs> {
    let current = read_secret(table, "key");
    // The gate signs with one key, and the app server takes both: it is read here so that both may be
    // told the same, and that what is wrong with it is found.
    let previous = read_secret(table, "previous_key");
    if !table.is_present() {
        return None;
    }
    if matches!((&current, &previous), (Ok(Some(a)), Ok(Some(b))) if a == b) {
        let at = table.key("previous_key");
        at.warn("is the same as identity.hmac.key, so there is nothing to change over");
    }
    match current {
        Ok(Some(current)) => Some(Proofs::new(&current)),
        Ok(None) => {
            table.key("key").fault(format!(
                "missing, expected exactly one of {} with {RANDOM_TEXT}",
                secret::forms_of("key")
            ));
            None
        }
        Err(Noted) => None,
    }
}

fn read_secret(table: &Key<'_>, name: &str) -> Given<Zeroizing<Vec<u8>>> {
    let Some(bytes) = secret::read(table, name)? else {
        return Ok(None);
    };
    let wrong = if bytes.len() < MIN_KEY_BYTES {
        format!("is shorter than {MIN_KEY_BYTES} bytes and could be guessed")
    } else if !bytes.iter().all(u8::is_ascii_graphic) {
        // A verifier that reads it in another way would have another key.
        "has a space, a line break or another character than printable ASCII".to_owned()
    } else {
        return Ok(Some(bytes));
    };
    table
        .key(name)
        .fault(format!("{wrong}, expected {RANDOM_TEXT}"));
    Err(Noted)
}

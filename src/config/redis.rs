//! `[store.redis]`: the Redis in which several gates share their sessions.

use std::time::Duration;

use crate::config::key::{Given, Key, Noted};
use crate::config::pem::{self, Content, Found};
use crate::store::redis::{Server, ServerFault, Settings};

/// A longer one says nothing more and is in every key.
const MAX_PREFIX_BYTES: usize = 64;

const TIMEOUT: Duration = Duration::from_millis(500);
const LOCAL_CACHE_TTL: Duration = Duration::from_secs(10);
const OUTAGE_GRACE: Duration = Duration::from_mins(5);

const AUTHORITIES: &str = "a file with the certificates that vouch for Redis (PEM)";
const EXPECTED: &str = "expected such as \"redis://user:password@host:6379/0\", \
                        \"rediss://host\", \"redis+unix:///run/redis.sock\", \
                        \"redis+sentinel://host,host/name\" or \"redis-cluster://host,host\"";

/// Reads `[store.redis]`. Nothing when no url is given.
pub(super) fn read(table: &Key<'_>) -> Given<Settings> {
    let server = read_server(table);
    let key_prefix = read_prefix(&table.key("key_prefix"));
    let timeout = table.key("timeout").duration(TIMEOUT);
    let or_zero = |name: &str, default| {
        let read = table.key(name).duration_or_off(Some(default));
        read.unwrap_or(Duration::ZERO)
    };
    let local_cache_ttl = or_zero("local_cache_ttl", LOCAL_CACHE_TTL);
    let outage_grace = or_zero("outage_grace", OUTAGE_GRACE);
    let settings = |server| Settings {
        server,
        key_prefix,
        timeout,
        local_cache_ttl,
        outage_grace,
    };
    Ok(server?.map(settings))
}

/// The url may hold a password: no message shows it.
fn read_server(table: &Key<'_>) -> Given<Server> {
    let (url, ca) = (table.key("url"), table.key("ca_file"));
    let authorities = if ca.is_present() {
        Some(pem::read(&ca, Content::Certificates, AUTHORITIES).ok_or(Noted)?)
    } else {
        None
    };
    if !url.is_present() {
        return Ok(None);
    }
    let text = url.text().ok_or(Noted)?;
    let pem = authorities.as_ref().map(|Found { pem, .. }| pem.as_slice());
    Server::parse(text, pem).map(Some).map_err(|fault| {
        match fault {
            ServerFault::Authority => ca.fault(format!("{fault}, expected {AUTHORITIES}")),
            ServerFault::AuthorityUnused => ca.fault(fault.to_string()),
            _ => url.fault(format!("{fault}, {EXPECTED}")),
        }
        Noted
    })
}

fn read_prefix(key: &Key<'_>) -> String {
    const DEFAULT: &str = "wxgate:";
    let Some(text) = key.text() else {
        return DEFAULT.to_owned();
    };
    // Braces would be taken for a hash tag.
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}');
    if text.len() > MAX_PREFIX_BYTES || !text.bytes().all(plain) {
        key.fault(
            "is no prefix of keys, expected up to 64 characters of ASCII without spaces and braces",
        );
    }
    text.to_owned()
}

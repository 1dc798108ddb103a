//! `[store.redis]`: which Redis, and that no fault repeats its password.

use super::*;

const REDIS: &str = "[store]\nkind = \"redis\"\n\
                     seal_key = \"JVPZFZKcXCuF3YeNFV+mm5cMLMYuhhwwyUFx3Gd/R0Q=\"\n";

#[test]
fn redis_needs_a_url_and_a_key_to_seal_under_and_both_are_missed_at_once() {
    let found = faults("[store]\nkind = \"redis\"\n");
    let lines: Vec<_> = found.lines().collect();
    let [key, url] = lines[..] else {
        panic!("{found}")
    };
    let missing = "missing beside kind = \"redis\", expected";
    assert!(key.contains(&format!("store.seal_key: {missing}")), "{key}");
    assert!(
        url.contains(&format!("store.redis.url: {missing}")),
        "{url}"
    );
}

#[test]
fn a_snapshot_file_beside_redis_is_a_fault() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sessions");
    let lines = format!("{REDIS}snapshot_file = \"{}\"\n", file.display());
    let found = faults(&format!("{lines}[store.redis]\nurl = \"redis://host\"\n"));
    let expected = "wxgate.toml:4: store.snapshot_file: is for kind = \"memory\"";
    assert!(found.starts_with(expected), "{found}");
}

#[test]
fn a_url_that_is_none_is_a_fault_and_is_not_repeated() {
    for url in [
        PLANTED,
        "http://planted@host",
        "redis://:planted@",
        "redis://:planted@host:x",
        "redis://:planted@host/x",
        "redis://:planted@host?x",
        "redis+unix://planted",
        "redis+sentinel://:planted@host",
        "redis-cluster://:planted@host,",
    ] {
        let found = faults(&format!("{REDIS}[store.redis]\nurl = \"{url}\"\n"));
        assert!(
            found.starts_with("wxgate.toml:5: store.redis.url: "),
            "{found}"
        );
        assert!(!found.contains("planted"), "{found}");
    }
}

#[test]
fn an_authority_without_tls_is_a_fault() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    fs::write(&file, upstream_tls::pair().0).unwrap();
    let lines = |scheme: &str| {
        let file = file.display();
        format!("{REDIS}[store.redis]\nurl = \"{scheme}://host\"\nca_file = \"{file}\"\n")
    };
    let found = faults(&lines("redis"));
    assert!(
        found.starts_with("wxgate.toml:6: store.redis.ca_file: is for rediss://"),
        "{found}"
    );
    shortest_with(&lines("rediss"));
}

#[test]
fn braces_in_a_prefix_are_a_fault() {
    for prefix in ["{x}", "a b", "微"] {
        let table = "[store.redis]\nurl = \"redis://host\"";
        let found = faults(&format!("{REDIS}{table}\nkey_prefix = \"{prefix}\"\n"));
        assert!(
            found.starts_with("wxgate.toml:6: store.redis.key_prefix: "),
            "{found}"
        );
    }
}

#[test]
fn a_url_alone_gets_all_defaults_and_zero_is_strict() {
    let table = "[store.redis]\nurl = \"redis://host\"\n";
    let redis = shortest_with(&format!("{REDIS}{table}"))
        .store
        .redis
        .unwrap();
    assert_eq!(redis.key_prefix, "wxgate:");
    assert_eq!(redis.timeout, Duration::from_millis(500));
    assert_eq!(redis.local_cache_ttl, Duration::from_secs(10));
    assert_eq!(redis.outage_grace, Duration::from_mins(5));
    let strict = format!("{REDIS}{table}outage_grace = \"0\"\nlocal_cache_ttl = \"0\"\n");
    let redis = shortest_with(&strict).store.redis.unwrap();
    assert_eq!(redis.outage_grace, Duration::ZERO);
    assert_eq!(redis.local_cache_ttl, Duration::ZERO);
}

#[test]
fn what_is_said_of_redis_beside_memory_is_looked_at_and_not_used() {
    let config = shortest_with("[store.redis]\nurl = \"redis://host\"\n");
    assert!(config.store.redis.is_none());
    let found = faults("[store.redis]\nurl = \"redis://\"\n");
    assert!(found.contains("has no host"), "{found}");
}

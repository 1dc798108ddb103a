//! The ways in which Redis is reached: over TLS, by a user of an ACL, by a unix socket.

use std::fs;

use tempfile::TempDir;

use crate::stores::overloaded;
use crate::support::certificates::Authority;
use crate::support::redis::{RedisServer, free_port, table};
use crate::support::{Setup, World};

/// A Redis that is reached over TLS, and what vouches for it.
pub(in crate::stores) struct Encrypted {
    /// By its other port, for the test itself.
    redis: RedisServer,
    port: u16,
    folder: TempDir,
}

impl Encrypted {
    pub(in crate::stores) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        authority.vouch().write(folder.path());
        fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        fs::write(folder.path().join("other.pem"), Authority::new().pem()).unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let port = free_port();
        let arguments = [
            "--tls-port".to_owned(),
            port.to_string(),
            "--tls-cert-file".to_owned(),
            path("cert.pem"),
            "--tls-key-file".to_owned(),
            path("key.pem"),
            "--tls-ca-cert-file".to_owned(),
            path("ca.pem"),
            "--tls-auth-clients".to_owned(),
            "no".to_owned(),
        ];
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let redis = RedisServer::start_with(&arguments).await;
        Self {
            redis,
            port,
            folder,
        }
    }

    /// `[store]` for gates that come as a user who may do no more than they have to.
    pub(in crate::stores) fn guarded_table(&self) -> String {
        let rules = shown_rules();
        self.redis.ask::<()>(&format!("ACL SETUSER wxgate {rules}"));
        let url = format!("rediss://wxgate:password@localhost:{}", self.port);
        table(&url, &self.believing("ca.pem"))
    }

    fn believing(&self, authority: &str) -> String {
        let path = self.folder.path().join(authority);
        format!("ca_file = \"{}\"", path.display())
    }
}

/// What the docs say that the user of the gates has to be allowed.
fn shown_rules() -> String {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/redis.md");
    let docs = fs::read_to_string(docs).unwrap();
    let (_, shown) = docs.split_once("`user wxgate ").unwrap();
    let (rules, _) = shown.split_once('`').unwrap();
    rules.to_owned()
}

/// Logs in at a gate with this store, and uses the session at another.
async fn works(toml: &str) {
    let world = Setup::with(toml).start().await;
    let other = world.beside(toml).await;
    let token = world.login("alice").await;
    assert_eq!(other.taken(&token).await, 200);
    assert_eq!(other.log_out("/wx/logout", &token).await.status, 204);
    world.becomes(&token, 401).await;
}

/// A gate with this store never gets to it.
async fn stays_away(world: &World, toml: &str) {
    let gate = world.beside(toml).await;
    gate.sees_redis(false).await;
    overloaded(&gate.redeem(&world.code("alice")).await);
}

#[tokio::test]
async fn over_tls_a_redis_is_who_its_certificate_says_or_nobody() {
    let encrypted = Encrypted::start().await;
    let believing = encrypted.believing("ca.pem");
    let url = format!("rediss://localhost:{}", encrypted.port);
    works(&table(&url, &believing)).await;
    works(&table(
        &format!("rediss://127.0.0.1:{}/1", encrypted.port),
        &believing,
    ))
    .await;
    let world = World::start().await;
    let other = encrypted.believing("other.pem");
    stays_away(&world, &table(&url, &other)).await;
    // No public authority vouches for it.
    stays_away(&world, &table(&url, "")).await;
    // Its certificate is for another name.
    let by_another_name = format!("rediss://127.0.0.2:{}", encrypted.port);
    stays_away(&world, &table(&by_another_name, &believing)).await;
    // Somebody who speaks no TLS is nobody.
    let plain = format!("rediss://localhost:{}", encrypted.redis.port());
    stays_away(&world, &table(&plain, &believing)).await;
}

#[tokio::test]
async fn the_acl_that_the_docs_show_is_enough_and_less_is_not() {
    let rules = shown_rules();
    let redis = RedisServer::start().await;
    let url = format!("redis://wxgate:password@127.0.0.1:{}", redis.port());
    redis.ask::<()>(&format!("ACL SETUSER wxgate {rules}"));
    works(&table(&url, "")).await;
    let world = World::start().await;
    for less in [
        "-publish",
        "-set",
        "-subscribe",
        "resetchannels",
        "resetkeys",
    ] {
        redis.ask::<()>("ACL DELUSER wxgate");
        redis.ask::<()>(&format!("ACL SETUSER wxgate {rules} {less}"));
        let gate = world.beside(&table(&url, "")).await;
        overloaded(&gate.redeem(&world.code("alice")).await);
    }
}

#[tokio::test]
async fn a_redis_on_a_unix_socket_works_as_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock").display().to_string();
    let _redis = RedisServer::start_with(&["--unixsocket", &socket]).await;
    works(&table(&format!("redis+unix://{socket}"), "")).await;
}

#[tokio::test]
async fn two_prefixes_in_one_redis_are_two_stores() {
    let redis = RedisServer::start().await;
    let world = Setup::with(&table(&redis.url(), "key_prefix = \"a:\""))
        .start()
        .await;
    let other = world
        .beside(&table(&redis.url(), "key_prefix = \"b:\""))
        .await;
    let token = world.login("alice").await;
    assert_eq!(other.taken(&token).await, 401);
    assert_eq!(world.taken(&token).await, 200);
}

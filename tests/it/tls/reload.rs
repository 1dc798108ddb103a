//! Another certificate while the gate runs: new connections get it, nobody notices otherwise, and
//! files that cannot be used change nothing.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls::pki_types::CertificateDer;
use tokio::task::JoinSet;

use crate::support::app::until;
use crate::support::certificates::{Authority, Client, Files, Pair, handshake, replace};
use crate::support::process::Gate;
use crate::support::raw::Request;
use crate::support::{STUCK, Setup, World};
use crate::tls::{ask, is_served, log_in, start};

/// The certificate that a new client is shown.
async fn shown(client: Client, to: std::net::SocketAddr) -> CertificateDer<'static> {
    let socket = handshake(&client.connector(), to).await.unwrap();
    socket.get_ref().1.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

/// Waits until new clients are shown this one: the gate has looked at its files by itself.
async fn until_shown(files: &Files, to: std::net::SocketAddr, pair: &Pair) {
    let shows = async {
        while shown(files.authority.client(), to).await != pair.der() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(STUCK, shows)
        .await
        .expect("never shown");
}

/// Points a link somewhere else at one go, as Kubernetes does with `..data`.
fn point(link: &Path, to: &str) {
    let new = link.with_file_name("..new");
    symlink(to, &new).unwrap();
    fs::rename(new, link).unwrap();
}

/// Clients that go on until told to stop, each request of which must be answered.
#[derive(Default)]
struct Load {
    shared: Shared,
    clients: JoinSet<()>,
}

#[derive(Clone, Default)]
struct Shared {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

impl Shared {
    /// Asks so many times on each connection.
    async fn ask(self, client: Client, request: Request, per_connection: usize) {
        while !self.stop.load(Ordering::SeqCst) {
            let mut connection = client.clone().connect(request.to()).await;
            for _ in 0..per_connection {
                assert_eq!(ask(&mut connection, request.clone()).await, 200);
                self.answered.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

impl Load {
    fn start(world: &World, files: &Files, token: &str) -> Self {
        let mut load = Self::default();
        let request = world.get("/page").bearer(token);
        for per_connection in [1, 1, 1, 50, 50, 50] {
            let (shared, client) = (load.shared.clone(), files.authority.client());
            let asking = shared.ask(client, request.clone(), per_connection);
            load.clients.spawn(asking);
        }
        load
    }

    async fn goes_on(&self) {
        let from = self.shared.answered.load(Ordering::SeqCst);
        let more = || self.shared.answered.load(Ordering::SeqCst) > from + 60;
        until("they are all busy", more).await;
    }

    /// Fails when a request was lost.
    async fn stop(mut self) {
        self.goes_on().await;
        self.shared.stop.store(true, Ordering::SeqCst);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
    }
}

#[tokio::test]
async fn a_new_certificate_under_load_costs_no_request_and_no_connection() {
    let files = Files::new();
    let world = start(&files.table()).await;
    let token = log_in(&files, world.address(), world.code("alice")).await;
    let load = Load::start(&world, &files, &token);
    load.goes_on().await;
    let mut old = files.authority.client().connect(world.address()).await;
    for _ in 0..2 {
        let new = files.authority.vouch();
        // One after the other: in between they do not fit.
        replace(&files.path("cert.pem"), &new.cert);
        load.goes_on().await;
        replace(&files.path("key.pem"), &new.key);
        until_shown(&files, world.address(), &new).await;
        load.goes_on().await;
    }
    assert_eq!(ask(&mut old, world.get("/page").bearer(&token)).await, 200);
    load.stop().await;
}

#[tokio::test]
async fn a_secret_that_is_swapped_behind_a_link_is_noticed_under_load() {
    let files = Files::new();
    let folder = files.path("");
    let put = |name: &str, pair: &Pair| {
        fs::create_dir(folder.join(name)).unwrap();
        pair.write(&folder.join(name));
    };
    // As kubelet lays out a mounted Secret.
    put("..1", &files.pair);
    point(&folder.join("..data"), "..1");
    symlink("..data/cert.pem", folder.join("tls.crt")).unwrap();
    symlink("..data/key.pem", folder.join("tls.key")).unwrap();
    let world = start(&files.table_of("tls.crt", "tls.key")).await;
    let token = log_in(&files, world.address(), world.code("alice")).await;
    let load = Load::start(&world, &files, &token);
    for name in ["..2", "..3"] {
        let new = files.authority.vouch();
        put(name, &new);
        point(&folder.join("..data"), name);
        until_shown(&files, world.address(), &new).await;
        load.goes_on().await;
    }
    load.stop().await;
}

#[tokio::test]
async fn files_that_cannot_be_used_together_change_nothing() {
    let files = Files::new();
    let world = start(&files.table()).await;
    let (other, stranger) = (files.authority.vouch(), files.authority.vouch());
    let (cert, key) = (files.path("cert.pem"), files.path("key.pem"));
    let spoil: [(&str, &dyn Fn()); 7] = [
        ("another key", &|| replace(&key, &stranger.key)),
        ("no PEM", &|| replace(&key, "no PEM at all")),
        ("half a key", &|| replace(&key, &other.key[..100])),
        ("no key", &|| fs::remove_file(&key).unwrap()),
        ("a key that all may write", &|| {
            replace(&key, &other.key);
            fs::set_permissions(&key, fs::Permissions::from_mode(0o666)).unwrap();
        }),
        ("half a certificate", &|| {
            replace(&key, &other.key);
            replace(&cert, &other.cert[..100]);
        }),
        ("no certificate", &|| fs::remove_file(&cert).unwrap()),
    ];
    replace(&cert, &other.cert);
    for (how, spoil) in spoil {
        spoil();
        for _ in 0..3 {
            world.gate.look_at_certificates();
            let now = shown(files.authority.client(), world.address()).await;
            assert_eq!(now, files.pair.der(), "{how}");
        }
    }
    replace(&cert, &other.cert);
    world.gate.look_at_certificates();
    let now = shown(files.authority.client(), world.address()).await;
    assert_eq!(now, other.der());
}

#[tokio::test]
async fn a_change_that_cannot_be_used_is_complained_of_once() {
    let files = Files::new();
    let gate = Gate::start(Setup::with(&files.table())).await;
    let complaints = || gate.program.said().matches("cannot be used").count();
    let (other, stranger) = (files.authority.vouch(), files.authority.vouch());
    let key = files.path("key.pem");
    replace(&key, &stranger.key);
    until("it complains", || complaints() == 1).await;
    replace(&key, "no PEM at all");
    until("it complains again", || complaints() == 2).await;
    other.write(&files.path(""));
    until_shown(&files, gate.address, &other).await;
    gate.program.line("\"certificate reloaded\"").await;
    let said = gate.program.said();
    assert_eq!(complaints(), 2, "{said}");
    let line = said.lines().find(|line| line.contains("cannot be used"));
    let line = line.unwrap();
    for told in ["\"error\"", "key.pem", "another key"] {
        assert!(line.contains(told), "{told}: {line}");
    }
    for pair in [&files.pair, &other, &stranger] {
        for line in pair.key.lines().filter(|line| !line.starts_with('-')) {
            assert!(!said.contains(line), "the key is in the log: {said}");
        }
    }
}

#[tokio::test]
async fn another_authority_of_clients_counts_for_new_connections() {
    let (files, before, after) = (Files::new(), Authority::new(), Authority::new());
    let world = start(&files.table_for_known_clients(&before)).await;
    let old = files.authority.client().with(&before.vouch());
    let new = files.authority.client().with(&after.vouch());
    assert!(is_served(&world, old.clone()).await);
    assert!(!is_served(&world, new.clone()).await);
    let mut live = old.clone().connect(world.address()).await;
    assert_eq!(ask(&mut live, world.get("/me")).await, 401);
    replace(&files.path("clients.pem"), &after.pem());
    world.gate.look_at_certificates();
    assert!(is_served(&world, new).await);
    assert!(!is_served(&world, old).await);
    assert_eq!(ask(&mut live, world.get("/me")).await, 401);
}

#[tokio::test]
async fn an_expired_certificate_is_used_and_warned_of() {
    let files = Files::new();
    let gate = Gate::start(Setup::with(&files.table())).await;
    let old = files
        .authority
        .vouch_for(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    old.write(files.path("").as_path());
    let line = gate.program.line("\"certificate is out of date\"").await;
    assert!(
        line.contains("\"warn\"") && line.contains("cert.pem"),
        "{line}"
    );
}

//! A client that comes back is spared the whole handshake, unless it has to prove who it is.

use futures_util::{StreamExt, stream};
use rustls::{HandshakeKind, ProtocolVersion};
use tokio_rustls::TlsConnector;

use crate::support::certificates::{Authority, Client, Files, handshake};
use crate::support::raw::Connection;
use crate::support::{Setup, World};
use crate::tls::{ask, start};

/// How the handshake of one more connection went.
async fn came_back(connector: &TlsConnector, world: &World) -> HandshakeKind {
    let socket = handshake(connector, world.address()).await.unwrap();
    let mut connection = Connection::over(socket);
    // Tickets of TLS 1.3 come with the first answer at the latest.
    assert_eq!(ask(&mut connection, world.get("/me")).await, 401);
    connection.socket.get_ref().1.handshake_kind().unwrap()
}

#[tokio::test]
async fn a_client_that_comes_back_goes_on_with_its_session() {
    let files = Files::new();
    let client = || files.authority.client();
    for workers in 1..=2 {
        let setup = Setup {
            server: format!("workers = {workers}"),
            ..Setup::with(&files.table())
        };
        let world = setup.start().await;
        for client in [
            client().only_tls13(),
            client().only_tls12(),
            client().only_tls12().without_tickets(),
        ] {
            let connector = client.connector();
            assert_eq!(came_back(&connector, &world).await, HandshakeKind::Full);
            // Over so many connections every worker gets some.
            let again = stream::iter(0..8).then(|_| came_back(&connector, &world));
            let all_resumed = again.all(async |kind| kind == HandshakeKind::Resumed);
            assert!(all_resumed.await, "{workers} workers");
        }
    }
}

#[tokio::test]
async fn sessions_survive_a_new_certificate() {
    let files = Files::new();
    let world = start(&files.table()).await;
    let client = || files.authority.client();
    let connectors = [
        client().only_tls13().connector(),
        client().only_tls12().connector(),
        client().only_tls12().without_tickets().connector(),
    ];
    for connector in &connectors {
        assert_eq!(came_back(connector, &world).await, HandshakeKind::Full);
    }
    let new = files.authority.vouch();
    new.write(files.path("").as_path());
    world.gate.look_at_certificates();
    for connector in &connectors {
        assert_eq!(came_back(connector, &world).await, HandshakeKind::Resumed);
    }
    let fresh = handshake(&client().connector(), world.address())
        .await
        .unwrap();
    assert_eq!(fresh.get_ref().1.peer_certificates().unwrap(), [new.der()]);
}

#[tokio::test]
async fn a_session_of_one_gate_is_none_of_another() {
    let files = Files::new();
    let (one, other) = (start(&files.table()).await, start(&files.table()).await);
    for client in [Client::only_tls12, Client::only_tls13] {
        let connector = client(files.authority.client()).connector();
        assert_eq!(came_back(&connector, &one).await, HandshakeKind::Full);
        assert_eq!(came_back(&connector, &other).await, HandshakeKind::Full);
    }
}

#[tokio::test]
async fn a_client_that_must_have_a_certificate_shows_it_every_time() {
    let (files, ours) = (Files::new(), Authority::new());
    let world = start(&files.table_for_known_clients(&ours)).await;
    let pair = ours.vouch();
    for (client, version) in [
        (
            files.authority.client().only_tls12(),
            ProtocolVersion::TLSv1_2,
        ),
        (
            files.authority.client().only_tls13(),
            ProtocolVersion::TLSv1_3,
        ),
    ] {
        let connector = client.with(&pair).connector();
        for _ in 0..3 {
            let kind = came_back(&connector, &world).await;
            assert_eq!(kind, HandshakeKind::Full, "{version:?}");
        }
    }
}

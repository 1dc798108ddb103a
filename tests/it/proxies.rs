//! What proxies say about a client counts only when the gate was told to trust them.

use crate::support::raw::{Connection, Request};
use crate::support::{Setup, World};

/// All that a proxy may say, each with a lie.
const LIES: [(&str, &str); 16] = [
    ("X-Forwarded-For", "192.0.2.66"),
    ("X_Forwarded_For", "192.0.2.66"),
    ("X-Forwarded-Proto", "lie"),
    ("X.Forwarded.Proto", "lie"),
    ("X-Forwarded-Host", "lie"),
    ("X-Forwarded-Port", "666"),
    ("X-Forwarded-Prefix", "lie"),
    ("X-Forwarded-User", "lie"),
    ("Forwarded", "for=192.0.2.66"),
    ("X-Real-IP", "192.0.2.66"),
    ("X_Real_IP", "192.0.2.66"),
    ("X-Original-URL", "/lie"),
    ("X-Original-Forwarded-For", "192.0.2.66"),
    ("X-Rewrite-URL", "/lie"),
    ("X-Request-Id", "lie"),
    ("X_Request_Id", "lie"),
];

fn with_lies(request: Request) -> Request {
    let lie = |request: Request, &(name, value): &(&str, &str)| request.header(name, value);
    LIES.iter().fold(request, lie)
}

async fn open_to_all(server: &str) -> World {
    let setup = Setup {
        server: server.to_owned(),
        ..Setup::with("[access]\ndefault = \"public\"")
    };
    setup.start().await
}

#[tokio::test]
async fn a_stranger_says_nothing_about_where_a_request_came_from() {
    let world = open_to_all("").await;
    let answer = with_lies(world.get("/a")).send().await;
    let seen = world.app.last();
    for lie in ["lie", "192.0.2.66", "\"666\""] {
        assert!(!format!("{seen:?}").contains(lie), "{seen:?}");
    }
    let port = world.address().port().to_string();
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "gate.example"),
        ("x-forwarded-port", port.as_str()),
        ("x-real-ip", "127.0.0.1"),
        ("x-original-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(seen.header(name), [value], "{name}");
    }
    let id = answer.header("x-request-id").unwrap();
    assert_eq!(seen.header("x-request-id"), [id]);
}

#[tokio::test]
async fn a_peer_outside_the_trusted_networks_is_a_stranger() {
    let world = open_to_all("trusted_proxies = [\"10.0.0.0/8\", \"::1/128\"]").await;
    with_lies(world.get("/a")).send().await;
    let seen = world.app.last();
    assert_eq!(seen.header("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.header("x-forwarded-proto"), ["http"]);
    assert!(seen.header("forwarded").is_empty());
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_up_to_the_rightmost_address_that_is_not_one() {
    let world = open_to_all("trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]").await;
    for (chain, client) in [
        ("192.0.2.66, 198.51.100.7", "198.51.100.7"),
        ("192.0.2.66, 198.51.100.7, 10.1.2.3", "198.51.100.7"),
        ("192.0.2.66, unknown, 10.1.2.3", "10.1.2.3"),
        ("192.0.2.66, [2001:db8::7]:443, 10.1.2.3", "2001:db8::7"),
        ("unknown", "127.0.0.1"),
    ] {
        let request = world.get("/a").header("X-Forwarded-For", chain);
        request.send().await;
        let seen = world.app.last();
        assert_eq!(seen.header("x-real-ip"), [client], "{chain}");
        assert_eq!(seen.header("x-original-forwarded-for"), [client]);
        let whole = format!("{chain}, 127.0.0.1");
        assert_eq!(seen.header("x-forwarded-for"), [whole]);
    }
}

#[tokio::test]
async fn two_lines_of_a_chain_are_one_chain() {
    let world = open_to_all("trusted_proxies = [\"127.0.0.0/8\"]").await;
    let request = world
        .get("/a")
        .header("X-Forwarded-For", "192.0.2.66")
        .header("X-Forwarded-For", "198.51.100.7");
    request.send().await;
    let seen = world.app.last();
    assert_eq!(seen.header("x-real-ip"), ["198.51.100.7"]);
    let whole = "192.0.2.66, 198.51.100.7, 127.0.0.1";
    assert_eq!(seen.header("x-forwarded-for"), [whole]);
}

#[tokio::test]
async fn a_trusted_proxy_tells_scheme_host_port_and_request_id() {
    let world = open_to_all("trusted_proxies = [\"127.0.0.0/8\"]").await;
    let request = world
        .get("/a")
        .header("X-Forwarded-Proto", "https")
        .header("X_Forwarded_Proto", "lie")
        .header("X-Forwarded-Host", "shop.example")
        .header("X-Forwarded-Port", "443")
        .header("X-Real-IP", "192.0.2.66")
        .header("X-Request-Id", "abc-123");
    let answer = request.send().await;
    assert_eq!(answer.header("x-request-id"), Some("abc-123"));
    let seen = world.app.last();
    assert_eq!(seen.header("x-forwarded-proto"), ["https"]);
    assert!(seen.header("x_forwarded_proto").is_empty());
    assert_eq!(seen.header("x-forwarded-host"), ["shop.example"]);
    assert_eq!(seen.header("x-forwarded-port"), ["443"]);
    assert_eq!(seen.header("x-request-id"), ["abc-123"]);
    // Nobody checked that one: a client may have sent it through the proxy.
    assert_eq!(seen.header("x-real-ip"), ["127.0.0.1"]);
}

#[tokio::test]
async fn a_chain_with_bytes_that_are_no_text_still_tells_the_client() {
    let world = open_to_all("trusted_proxies = [\"127.0.0.0/8\"]").await;
    let mut connection = Connection::open(world.address()).await;
    let head = b"GET /a HTTP/1.1\r\nHost: gate.example\r\n\
                 X-Forwarded-For: \xff, 203.0.113.9\r\n\r\n";
    connection.write(head).await;
    assert_eq!(connection.answer().await.status, 200);
    let seen = world.app.last();
    assert_eq!(seen.header("x-real-ip"), ["203.0.113.9"]);
    assert_eq!(seen.header("x-original-forwarded-for"), ["203.0.113.9"]);
}

#[tokio::test]
async fn a_connection_header_does_not_take_away_what_a_trusted_proxy_says() {
    let world = open_to_all("trusted_proxies = [\"127.0.0.0/8\"]").await;
    let request = world
        .get("/a")
        .header("Connection", "X-Forwarded-For, x-forwarded-proto")
        .header("X-Forwarded-For", "203.0.113.9")
        .header("X-Forwarded-Proto", "https");
    request.send().await;
    let seen = world.app.last();
    assert_eq!(seen.header("x-real-ip"), ["203.0.113.9"]);
    assert_eq!(seen.header("x-forwarded-for"), ["203.0.113.9, 127.0.0.1"]);
    assert_eq!(seen.header("x-forwarded-proto"), ["https"]);
}

#[tokio::test]
async fn what_would_replace_the_target_or_tell_another_client_is_dropped_from_everybody() {
    for trusted in ["", "trusted_proxies = [\"127.0.0.0/8\"]"] {
        let world = open_to_all(trusted).await;
        let lies = [
            ("Forwarded", "for=192.0.2.66;proto=https"),
            ("X-Original-URL", "/lie"),
            ("X-Rewrite-URL", "/lie"),
            ("X_Original_URL", "/lie"),
            ("x.rewrite.url", "/lie"),
        ];
        let lie = |request: Request, &(name, value): &(&str, &str)| request.header(name, value);
        let request = lies.iter().fold(world.get("/a"), lie);
        let request = request.header("X-Forwarded-For", "203.0.113.9");
        assert_eq!(request.send().await.status, 200);
        let seen = world.app.last();
        for lie in ["192.0.2.66", "/lie"] {
            assert!(!format!("{seen:?}").contains(lie), "{trusted}: {seen:?}");
        }
    }
}

#[tokio::test]
async fn forwarded_tells_the_client_where_the_proxy_writes_no_other_list() {
    let world = open_to_all("trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]").await;
    for (forwarded, client, chain) in [
        (
            "for=192.0.2.66, for=198.51.100.7",
            "198.51.100.7",
            "192.0.2.66, 198.51.100.7, ",
        ),
        (
            "for=\"[2001:db8::7]:443\", for=10.1.2.3",
            "2001:db8::7",
            "2001:db8::7, 10.1.2.3, ",
        ),
        (
            "for=192.0.2.66, for=unknown, for=10.1.2.3",
            "10.1.2.3",
            "10.1.2.3, ",
        ),
        (
            "for=\"192.0.2.66, for=198.51.100.7",
            "198.51.100.7",
            "198.51.100.7, ",
        ),
        ("for=192.0.2.66, for=_hidden", "127.0.0.1", ""),
    ] {
        let forwarded = format!("{forwarded};proto=https;host=\"shop.example:8443\"");
        let request = world.get("/a").header("Forwarded", &forwarded);
        assert_eq!(request.send().await.status, 200);
        let seen = world.app.last();
        assert_eq!(seen.header("x-real-ip"), [client], "{forwarded}");
        let chain = format!("{chain}127.0.0.1");
        assert_eq!(seen.header("x-forwarded-for"), [chain], "{forwarded}");
        assert_eq!(seen.header("x-forwarded-proto"), ["https"]);
        assert_eq!(seen.header("x-forwarded-host"), ["shop.example:8443"]);
        assert!(seen.header("forwarded").is_empty());
    }
}

#[tokio::test]
async fn a_scheme_said_twice_is_not_believed() {
    let world = open_to_all("trusted_proxies = [\"127.0.0.0/8\"]").await;
    for pair in [["https", "http"], ["https", "https"]] {
        let request = world.get("/a").header("X-Forwarded-Proto", pair[0]);
        let request = request.header("X-Forwarded-Proto", pair[1]);
        assert_eq!(request.send().await.status, 200);
        let seen = world.app.last();
        assert_eq!(seen.header("x-forwarded-proto"), ["http"], "{pair:?}");
    }
}

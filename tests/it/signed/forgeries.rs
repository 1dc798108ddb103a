//! What a client signs, or claims to be signed, reaches no app server; and who is nobody is not signed.

use bytes::Bytes;
use http::HeaderMap;

use crate::signed::{Keys, hmac, signing};
use crate::support::app::Seen;
use crate::support::raw::Request;
use crate::support::{Setup, World};

const FORGED: &str = "v1;t=1;s=forged";

/// Spellings that some server folds onto the header of a signature.
const SPELLINGS: [&str; 14] = [
    "X-WX-Assertion",
    "x-wx-assertion",
    "X_WX_ASSERTION",
    "X-WX_Assertion",
    "x.wx.assertion",
    "x!wx~assertion",
    "x|wx`assertion",
    "X-WX-Proof",
    "x-wx-proof",
    "X_WX_PROOF",
    "x_wx-proof",
    "x.wx.proof",
    "x*wx+proof",
    "x'wx^proof",
];

/// No prefix protects anything here: the names alone do.
const RULES: &str = r#"
[[access.rules]]
path = "/public/**"
require = "public"
[[access.rules]]
path = "/optional/**"
require = "optional"
"#;

async fn without_prefixes(tables: &str) -> World {
    Setup::with(&format!("[identity]\nstrip_prefixes = []\n{tables}{RULES}"))
        .start()
        .await
}

fn forge_all(request: Request) -> Request {
    let forge = |request: Request, name: &&str| request.header(name, FORGED);
    SPELLINGS.iter().fold(request, forge)
}

/// How many assertions and proofs there are, in any spelling.
fn signatures(seen: &Seen) -> usize {
    let headers = seen.headers.iter().chain(&seen.trailers);
    let folded = |name: &str| {
        let dash = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        name.to_ascii_lowercase()
            .chars()
            .map(dash)
            .collect::<String>()
    };
    let names = headers.map(|(name, _)| folded(name));
    names
        .filter(|name| ["x-wx-assertion", "x-wx-proof"].contains(&name.as_str()))
        .count()
}

#[track_caller]
fn is_clean(seen: &Seen, expected: usize) {
    assert!(!format!("{seen:?}").contains(FORGED), "{seen:?}");
    assert_eq!(signatures(seen), expected, "{seen:?}");
}

async fn no_spelling_passes(world: &World, target: &str, token: &str, signatures: usize) {
    for name in SPELLINGS {
        let request = world.get(target).header(name, FORGED).bearer(token);
        assert_eq!(request.send().await.status, 200, "{name}");
        is_clean(&world.app.last(), signatures);
    }
}

#[tokio::test]
async fn no_forged_signature_reaches_the_app_whether_anything_is_signed_or_not() {
    let keys = Keys::new();
    for (tables, signed) in [(String::new(), 0), (hmac(""), 1), (keys.tables(), 2)] {
        let world = without_prefixes(&tables).await;
        let token = world.login("alice").await;
        for (target, expected) in [("/public/x", 0), ("/optional/x", signed), ("/me", signed)] {
            no_spelling_passes(&world, target, &token, expected).await;
        }
    }
}

#[tokio::test]
async fn who_is_nobody_is_not_signed() {
    let world = without_prefixes(&Keys::new().tables()).await;
    let token = world.login("alice").await;
    for request in [
        world.get("/optional/x"),
        world.get("/public/x"),
        world.get("/public/x").bearer(&token),
        forge_all(world.get("/optional/x")),
    ] {
        assert_eq!(request.send().await.status, 200);
        is_clean(&world.app.last(), 0);
    }
}

#[tokio::test]
async fn trailers_and_a_connection_header_bring_and_remove_no_signature() {
    let world = without_prefixes(&Keys::new().tables()).await;
    let token = world.login("alice").await;
    let forged = SPELLINGS.iter().map(|name| format!("{name}: {FORGED}\r\n"));
    let trailers: String = forged.collect();
    let request = world
        .post("/me")
        .bearer(&token)
        .header("Connection", "x-wx-proof, X-WX-Assertion, x-request-id")
        .header("Transfer-Encoding", "chunked")
        .header("Trailer", "Content-Digest, X-WX-Proof, x_wx_assertion")
        .body(format!(
            "1\r\na\r\n0\r\nContent-Digest: 7\r\n{trailers}\r\n"
        ));
    assert_eq!(request.send().await.status, 200);
    let seen = world.app.last();
    is_clean(&seen, 2);
    assert_eq!(seen.trailers.len(), 1, "{seen:?}");
    assert_eq!(seen.header("x-request-id").len(), 1);
}

#[tokio::test]
async fn a_websocket_brings_no_signature_of_its_own_and_has_the_gates() {
    let world = without_prefixes(&Keys::new().tables()).await;
    let token = world.login("alice").await;
    let upgrade = |target: &str| {
        forge_all(world.get(target))
            .header("Connection", "Upgrade, x-wx-proof")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    assert_eq!(upgrade("/socket").bearer(&token).send().await.status, 101);
    is_clean(&world.app.last(), 2);
    assert_eq!(upgrade("/socket").send().await.status, 401);
}

#[tokio::test]
async fn http2_brings_no_signature_either() {
    let world = without_prefixes(&Keys::new().tables()).await;
    let token = world.login("alice").await;
    for (target, expected) in [("/public/h2", 0), ("/optional/h2", 2), ("/h2", 2)] {
        let uri = format!("http://gate.example{target}");
        let mut request =
            http::Request::post(uri).header("authorization", format!("Bearer {token}"));
        let mut trailers = HeaderMap::new();
        for name in SPELLINGS {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            request = request.header(&name, FORGED);
            trailers.append(name, FORGED.parse().unwrap());
        }
        let socket = tokio::net::TcpStream::connect(world.address())
            .await
            .unwrap();
        let (sender, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        let mut sender = sender.ready().await.unwrap();
        let request = request.body(()).unwrap();
        let (answer, mut body) = sender.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"hello"), false).unwrap();
        body.send_trailers(trailers).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
        is_clean(&world.app.last(), expected);
    }
}

#[tokio::test]
async fn names_of_ones_own_are_guarded_and_go_out_as_they_are_spelt() {
    let keys = Keys::new();
    let tables = keys.jwt("current", "header = \"X-My_ASSERTION\"") + &hmac("header = \"x-pRoof\"");
    let world = without_prefixes(&tables).await;
    let token = world.login("alice").await;
    let forged = [
        "X_My_Assertion",
        "x-my-assertion",
        "X-PROOF",
        "x_proof",
        "X.Proof",
    ];
    let request = forged
        .iter()
        .fold(world.get("/me").bearer(&token), |request, name| {
            request.header(name, FORGED)
        });
    assert_eq!(request.send().await.status, 200);
    let seen = world.app.last();
    is_clean(&seen, 0);
    for name in ["X-My_ASSERTION", "x-pRoof"] {
        let named = seen.headers.iter().filter(|(other, _)| other == name);
        assert_eq!(named.count(), 1, "{name}: {seen:?}");
    }
}

#[tokio::test]
async fn what_is_forged_is_counted_as_every_other_forged_identity() {
    let world = signing("").await;
    let request = forge_all(world.get("/me"));
    request
        .send()
        .await
        .is_refused(401, "session_required", "relogin");
    let stripped = f64::from(u8::try_from(SPELLINGS.len()).unwrap());
    world
        .counts("wxgate_headers_stripped_total", &[], stripped)
        .await;
}

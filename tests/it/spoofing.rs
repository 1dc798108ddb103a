//! Nobody but the gate says to the app server who a request is from, or where it came from.

use std::net::SocketAddr;

use bytes::Bytes;
use http::HeaderMap;

use crate::support::app::Seen;
use crate::support::raw::{Connection, Request};
use crate::support::{APPID, Setup, World};

const FORGED: &str = "oForged";

/// Spellings that some server folds onto an identity header, or that lie under its prefix.
const SPELLINGS: [&str; 24] = [
    "X-WX-OPENID",
    "x-wx-openid",
    "X-Wx-OpenId",
    "X_WX_OPENID",
    "x_wx-openid",
    "X-WX_OPENID",
    "x.wx.openid",
    "X.WX-OPENID",
    "x!wx!openid",
    "x#wx#openid",
    "x$wx$openid",
    "x%wx%openid",
    "x&wx&openid",
    "x'wx'openid",
    "x*wx*openid",
    "x+wx+openid",
    "x^wx^openid",
    "x`wx`openid",
    "x|wx|openid",
    "x~wx~openid",
    "X-WX-UNIONID",
    "x_wx_appid",
    "X-WX_SOURCE",
    "X-WX-From-Openid",
];

const RULES: &str = r#"
[[access.rules]]
path = "/public/**"
require = "public"
[[access.rules]]
path = "/optional/**"
require = "optional"
"#;

/// A name as CGI, WSGI and PHP know it.
fn folded(name: &str) -> String {
    let dash = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    name.to_ascii_lowercase().chars().map(dash).collect()
}

/// What the app server was told of who sent the request, names folded, in order.
fn identity(seen: &Seen) -> Vec<(String, String)> {
    let headers = seen.headers.iter().chain(&seen.trailers);
    let mut found: Vec<_> = headers
        .map(|(name, value)| (folded(name), value.clone()))
        .filter(|(name, _)| name.starts_with("x-wx-"))
        .collect();
    found.sort_unstable();
    found
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// What an app server is told of a user, and nothing else.
fn identity_of(world: &World, user: &str) -> Vec<(String, String)> {
    let unionid = world.app.last().header("x-wx-unionid").join(" + ");
    assert!(unionid.starts_with('o') && unionid != FORGED, "{unionid}");
    vec![
        pair("x-wx-appid", APPID),
        pair("x-wx-openid", &world.openid(user)),
        pair("x-wx-source", "wx_client"),
        pair("x-wx-unionid", &unionid),
    ]
}

fn forge_all(request: Request) -> Request {
    let forge = |request: Request, name: &&str| request.header(name, FORGED);
    SPELLINGS.iter().fold(request, forge)
}

#[tokio::test]
async fn no_forged_spelling_reaches_the_app_on_a_route_that_asks_for_nothing() {
    let world = Setup::with(RULES).start().await;
    let mut connection = Connection::open(world.address()).await;
    for target in ["/public/x", "/optional/x"] {
        for name in SPELLINGS {
            let request = world.get(target).header(name, FORGED);
            connection.write(&request.bytes()).await;
            assert_eq!(connection.answer().await.status, 200, "{name}");
            let seen = world.app.last();
            assert_eq!(identity(&seen), [], "{name} on {target}");
            assert!(!format!("{seen:?}").contains(FORGED), "{name} on {target}");
        }
    }
}

#[tokio::test]
async fn a_forged_identity_is_no_session() {
    let world = World::start().await;
    let answer = forge_all(world.get("/me")).send().await;
    assert_eq!(
        (answer.status, &*answer.problem()),
        (401, "session_required")
    );
    let answer = forge_all(world.get("/wx/session")).send().await;
    assert_eq!(
        (answer.status, &*answer.problem()),
        (401, "session_required")
    );
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn an_identified_request_carries_exactly_one_of_each_identity_header() {
    let world = Setup::with(RULES).start().await;
    let token = world.login("alice").await;
    for target in ["/me", "/optional/me"] {
        for request in [world.get(target), forge_all(world.get(target))] {
            request.bearer(&token).send().await;
            let seen = world.app.last();
            assert_eq!(identity(&seen), identity_of(&world, "alice"), "{target}");
        }
    }
}

#[tokio::test]
async fn a_public_route_tells_the_app_nothing_even_with_a_token() {
    let world = Setup::with(RULES).start().await;
    let token = world.login("alice").await;
    let answer = world.get("/public/x").bearer(&token).send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(identity(&world.app.last()), []);
}

#[tokio::test]
async fn a_forged_identity_does_not_change_whose_login_it_is() {
    let world = World::start().await;
    let code = serde_json::json!({ "code": world.code("alice"), "openid": FORGED });
    let answer = forge_all(world.post("/wx/login")).json(&code).send().await;
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(world.app.count(), 0, "a login is never forwarded");
    world.get("/me").bearer(&token).send().await;
    assert_eq!(identity(&world.app.last()), identity_of(&world, "alice"));
}

#[tokio::test]
async fn trailers_bring_no_identity_but_others_pass() {
    let world = Setup::with(RULES).start().await;
    let names = [
        "Authorization",
        "Cookie",
        "Host",
        "Content-Length",
        "X-Forwarded-For",
        "X_Real_IP",
        "X-Request-Id",
    ];
    let names: Vec<_> = SPELLINGS.into_iter().chain(names).collect();
    let listed = format!("Content-Digest, {}", names.join(", "));
    let forged = names.iter().map(|name| format!("{name}: {FORGED}\r\n"));
    let trailers: String = forged.collect();
    let body = format!("5\r\nhello\r\n0\r\nContent-Digest: 7\r\n{trailers}\r\n");
    let answer = world
        .post("/public/upload")
        .header("Transfer-Encoding", "chunked")
        .header("Trailer", &listed)
        .body(body)
        .send()
        .await;
    assert_eq!(answer.status, 200);
    let seen = world.app.last();
    assert_eq!(seen.body, b"hello");
    let left: Vec<_> = seen
        .trailers
        .iter()
        .map(|(n, v)| (folded(n), v.as_str()))
        .collect();
    assert_eq!(left, [("content-digest".to_owned(), "7")]);
}

/// Who merges trailers into headers folds their names as well.
#[tokio::test]
async fn trailers_bring_nothing_that_a_server_may_take_for_what_frames_a_message() {
    let world = Setup::with(RULES).start().await;
    let request = world.post("/public/upload");
    let request = request.header("Transfer-Encoding", "chunked");
    let trailers = "Content_Length: 9\r\nTransfer_Encoding: chunked\r\nContent_Type: a/b\r\n\
                    Proxy: http://evil.example\r\nProxy_Connection: x\r\nContent-Digest: 7\r\n";
    let body = format!("5\r\nhello\r\n0\r\n{trailers}\r\n");
    assert_eq!(request.body(body).send().await.status, 200);
    assert_eq!(world.app.last().trailers, [pair("content-digest", "7")]);
}

#[tokio::test]
async fn a_websocket_upgrade_brings_no_identity_of_its_own() {
    let world = Setup::with("[access]\ndefault = \"optional\"")
        .start()
        .await;
    let token = world.login("alice").await;
    let upgrade = || {
        forge_all(world.get("/socket"))
            .header("Connection", "Upgrade, x-wx-openid")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    assert_eq!(upgrade().send().await.status, 101);
    assert_eq!(identity(&world.app.last()), []);
    assert_eq!(upgrade().bearer(&token).send().await.status, 101);
    assert_eq!(identity(&world.app.last()), identity_of(&world, "alice"));
}

/// Over HTTP/2 a value may stand in white space, which every HTTP/1 server takes away.
#[tokio::test]
async fn a_token_in_white_space_is_a_token_over_http2_as_well() {
    let world = Setup::with(RULES).start().await;
    let token = world.login("alice").await;
    for (before, after) in [(" ", ""), ("", " "), ("\t", "\t ")] {
        let bearer = format!("{before}Bearer {token}{after}");
        let request = http::Request::post("http://gate.example/h2");
        let request = request.header("authorization", bearer).body(()).unwrap();
        let status = upload_by_http2(world.address(), request, HeaderMap::new()).await;
        assert_eq!(status, 200);
        let seen = world.app.last();
        assert_eq!(seen.header("authorization"), [""; 0]);
        assert_eq!(identity(&seen), identity_of(&world, "alice"));
    }
}

/// Sends an upload over HTTP/2, gives the status.
async fn upload_by_http2(
    to: SocketAddr,
    request: http::Request<()>,
    trailers: HeaderMap,
) -> http::StatusCode {
    let socket = tokio::net::TcpStream::connect(to).await.unwrap();
    let (sender, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let (answer, mut body) = sender.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"hello"), false).unwrap();
    body.send_trailers(trailers).unwrap();
    answer.await.unwrap().status()
}

/// CGI makes `HTTP_PROXY` of it, and programs let that tell them which proxy to use.
#[tokio::test]
async fn no_client_names_a_proxy_for_the_app_server() {
    let world = Setup::with(RULES).start().await;
    let request = world
        .get("/public/a")
        .header("Proxy", "http://evil.example");
    assert_eq!(request.send().await.status, 200);
    assert_eq!(world.app.last().header("proxy"), [""; 0]);
}

/// CGI and WSGI fold it onto the name of the real one, and some servers listen to that.
#[tokio::test]
async fn nothing_that_a_server_may_take_for_a_length_or_coding_gets_by() {
    let world = Setup::with(RULES).start().await;
    for name in [
        "Content_Length",
        "content_length",
        "CONTENT.LENGTH",
        "Transfer_Encoding",
        "transfer!encoding",
    ] {
        let request = world.post("/public/a").header(name, "5").body("hello");
        let answer = request.send().await;
        assert_eq!(
            (answer.status, answer.problem()),
            (400, "bad_request".to_owned()),
            "{name}"
        );

        let request = http::Request::post("http://gate.example/public/a");
        let request = request.header(name, "5").body(()).unwrap();
        let status = upload_by_http2(world.address(), request, HeaderMap::new()).await;
        assert_eq!(status, 400, "{name}");
    }
    assert_eq!(world.app.count(), 0);
    // What only resembles it is nobody's length.
    let request = world.get("/public/a").header("Content-Lengths", "5");
    assert_eq!(request.send().await.status, 200);
}

#[tokio::test]
async fn http2_brings_no_identity_either() {
    let world = Setup::with(RULES).start().await;
    let token = world.login("alice").await;
    for target in ["/public/h2", "/optional/h2", "/h2"] {
        let uri = format!("http://gate.example{target}");
        let mut request = http::Request::post(uri).header("trailer", "content-digest, x_wx_openid");
        let mut trailers = HeaderMap::new();
        for name in SPELLINGS {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            request = request.header(&name, FORGED);
            trailers.append(name, FORGED.parse().unwrap());
        }
        trailers.append("content-digest", "7".parse().unwrap());
        request = match target {
            "/h2" => request.header("authorization", format!("Bearer {token}")),
            _ => request,
        };
        let request = request.body(()).unwrap();
        assert_eq!(
            upload_by_http2(world.address(), request, trailers).await,
            200
        );
        let seen = world.app.last();
        let known = target == "/h2";
        let expected = if known {
            identity_of(&world, "alice")
        } else {
            Vec::new()
        };
        assert_eq!(identity(&seen), expected, "{target}");
        assert_eq!(seen.trailers, [pair("content-digest", "7")]);
        assert_eq!(seen.header("host"), ["gate.example"]);
    }
}

#[tokio::test]
async fn a_connection_header_removes_nothing_that_the_gate_says() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let listed = "x-wx-openid, X-WX-APPID, x-wx-source, x-wx-unionid, x-forwarded-for, x-real-ip, \
                  x-request-id, traceparent, authorization, host";
    let request = world.get("/me").bearer(&token).header("Connection", listed);
    assert_eq!(request.send().await.status, 200);
    let seen = world.app.last();
    assert_eq!(identity(&seen), identity_of(&world, "alice"));
    for name in ["x-forwarded-for", "x-real-ip"] {
        assert_eq!(seen.header(name), ["127.0.0.1"], "{name}");
    }
    assert_eq!(seen.header("host"), ["gate.example"]);
    assert_eq!(seen.header("x-request-id").len(), 1);
}

#[tokio::test]
async fn names_of_ones_own_are_guarded_like_the_usual_ones() {
    let config = r#"
[identity]
strip_prefixes = ["x-wx-", "x-my-"]
keep = ["X-My-Theme"]
headers = { openid = "X-User", unionid = "X-Union", appid = "X-App", source = "X-From", env = "X-Env" }
env = "prod-1"
[access]
default = "optional"
"#;
    let world = Setup::with(config).start().await;
    let token = world.login("alice").await;
    let forged = [
        "X_User", "x.user", "X-USER", "X_Union", "x~app", "x|from", "X_ENV", "X_My_Id",
    ];
    let forge = |request: Request, name: &&str| request.header(name, FORGED);
    let request = || {
        forged
            .iter()
            .fold(forge_all(world.get("/me")), forge)
            .header("X_My-Theme", "1")
    };
    request().send().await;
    assert!(!format!("{:?}", world.app.last()).contains(FORGED));
    request().bearer(&token).send().await;
    let seen = world.app.last();
    assert!(!format!("{seen:?}").contains(FORGED));
    assert_eq!(identity(&seen), []);
    assert_eq!(seen.header("x-user"), [world.openid("alice")]);
    assert_eq!(seen.header("x-app"), [APPID]);
    assert_eq!(seen.header("x-from"), ["wx_client"]);
    assert_eq!(seen.header("x-env"), ["prod-1"]);
    assert_eq!(seen.header("x_my-theme"), ["1"]);
}

#[tokio::test]
async fn the_presets_guard_the_name_that_they_use() {
    for (preset, name) in [
        ("remote-user", "remote-user"),
        ("x-forwarded-user", "x-forwarded-user"),
    ] {
        let config = format!(
            "[identity]\npreset = \"{preset}\"\n[access]\ndefault = \"optional\"\n\
             [session]\ntoken_from = [\"header:X-Session\"]"
        );
        let world = Setup::with(&config).start().await;
        let token = world.login("alice").await;
        let request = || {
            let spellings = [name.to_owned(), name.to_uppercase(), name.replace('-', "_")];
            let forge = |request: Request, name: &String| request.header(name, FORGED);
            spellings.iter().fold(world.get("/me"), forge)
        };
        request().send().await;
        assert!(
            !format!("{:?}", world.app.last()).contains(FORGED),
            "{preset}"
        );
        request().header("X-Session", &token).send().await;
        assert!(
            !format!("{:?}", world.app.last()).contains(FORGED),
            "{preset}"
        );
        assert_eq!(world.app.last().header(name), [world.openid("alice")]);
    }
}

#[tokio::test]
async fn a_trailer_brings_no_other_method() {
    let world = Setup::with("[access]\ndefault = \"public\"").start().await;
    let request = world
        .post("/a")
        .header("Transfer-Encoding", "chunked")
        .header("Trailer", "X-HTTP-Method-Override, Content-Digest");
    let body = "3\r\nabc\r\n0\r\nX-HTTP-Method-Override: DELETE\r\n\
                X_Method_Override: DELETE\r\nX-HTTP-Method: DELETE\r\nContent-Digest: 1\r\n\r\n";
    assert_eq!(request.body(body).send().await.status, 200);
    let seen = world.app.last();
    assert_eq!(seen.body, b"abc");
    assert_eq!(seen.trailers, [pair("content-digest", "1")]);
    assert!(!format!("{seen:?}").contains("DELETE"), "{seen:?}");
}

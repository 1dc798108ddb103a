//! What `wxgate dev` prints: where everything is, and lines that work when pasted.

use std::net::SocketAddr;

/// The mini program of `wxgate dev`.
pub(in crate::app) const APPID: &str = "wx0123456789abcdef";

const WHERE: &str = "\
wxgate dev: a gate, a simulated WeChat and an app server, all on this machine

  gate      {gate}
  app       {app}
  WeChat    {wechat}  (simulated)

";

const LOG_IN: &str = r#"Log in as alice and keep the token:
  TOKEN=$(curl -s {gate}/wx/login -H 'Content-Type: application/json' -d '{"code":"mock-alice"}' | sed 's/.*"token":"\([^"]*\).*/\1/')

"#;

const DEMO: &str = r#"Ask the app who you are; it has no line of WeChat code:
  curl -s -w '\n' {gate}/me -H "Authorization: Bearer $TOKEN"

Save a profile:
  curl -s -w '\n' {gate}/saveUserInfo -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{"nickName":"Alice"}'

"#;

const THE_REST: &str = r#"Have data encrypted as WeChat would, and decrypt it through the gate:
  DATA=$(curl -s {wechat}/_mock/userdata -H 'Content-Type: application/json' -d '{"appid":"{appid}","user":"alice"}')
  curl -s -w '\n' {gate}/wx/decrypt -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d "$DATA"

Tap the phone button, and have its code answered with a phone number:
  CODE=$(curl -s {wechat}/_mock/phone_code -H 'Content-Type: application/json' -d '{"appid":"{appid}","user":"alice"}')
  curl -s -w '\n' {gate}/wx/phone -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d "$CODE"

Without the token, the answer says what to do:
  curl -s -w '\n' {gate}/me

Log out:
  curl -s -X DELETE {gate}/wx/session -H "Authorization: Bearer $TOKEN" -w '%{http_code}\n'

Code mock-<name> logs in as that user; any other code, such as the developer tools
send, logs in as user devtools. Nothing is kept when this stops. Stop with Ctrl-C.
"#;

const NOT_LOOPBACK: &str = "
WARNING: {address} can be reached from other machines, and anybody who reaches it can
log in as anybody. From a phone in the same network: http://{lan}
In the developer tools tick (详情 → 本地设置):
  不校验合法域名、web-view（业务域名）、TLS 版本以及 HTTPS 证书
";

/// Everything a developer is told at the start.
pub(in crate::app) fn tell(
    gate: SocketAddr,
    wechat: SocketAddr,
    demo: Option<SocketAddr>,
) -> String {
    let host = match gate {
        _ if gate.ip().is_unspecified() => format!("localhost:{}", gate.port()),
        _ => gate.to_string(),
    };
    let app = demo.map_or_else(
        || "your own".to_owned(),
        |demo| format!("http://{demo}  (a small demo app)"),
    );
    let mut text = WHERE.to_owned() + LOG_IN;
    if demo.is_some() {
        text += DEMO;
    }
    text += THE_REST;
    if !gate.ip().is_loopback() {
        text += NOT_LOOPBACK;
    }
    text.replace("{gate}", &format!("http://{host}"))
        .replace("{app}", &app)
        .replace("{wechat}", &format!("http://{wechat}"))
        .replace("{appid}", APPID)
        .replace("{address}", &gate.to_string())
        .replace("{lan}", &lan_address(gate).to_string())
}

/// The address at which a phone in the same network reaches a gate that listens on all of them: the
/// one this machine would itself use towards the network. Nothing is sent to find it out.
fn lan_address(gate: SocketAddr) -> SocketAddr {
    if !gate.ip().is_unspecified() {
        return gate;
    }
    let ours = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        // A documentation address (RFC 5737): connecting a datagram socket only picks a route.
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    ours.map_or(gate, |ours| SocketAddr::new(ours.ip(), gate.port()))
}

//! Tokens in a cookie: for web pages, which a browser sends along whoever asks it to.

mod cross_site;
mod forwarded;
mod kept;

use crate::support::raw::{Answer, Request};
use crate::support::{Setup, World};

/// A cookie `sid`, beside the header.
const COOKIE: &str = r#"
[session]
token_from = ["authorization", "cookie:sid"]
[session.cookie]
name = "sid"
[[access.rules]]
path = "/public/**"
require = "public"
[[access.rules]]
path = "/optional/**"
require = "optional"
"#;

/// Of the shape of a token, and nobody's.
const UNKNOWN: &str = "wxg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What has a browser forget the cookie.
const FORGOTTEN: &str = "sid=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Lax";

async fn world() -> World {
    Setup::with(COOKIE).start().await
}

/// As a browser sends it from a page of the gate.
fn with_cookie(request: Request, token: &str) -> Request {
    let request = request.header("Cookie", &format!("a=1; sid={token}; b=2"));
    request.header("Sec-Fetch-Site", "same-origin")
}

/// All cookies that an answer sets.
fn set_by(answer: &Answer) -> Vec<&str> {
    let set = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie");
    set.map(|(_, value)| value.as_str()).collect()
}

/// A handshake as plain bytes.
fn handshake(world: &World, target: &str) -> Request {
    let request = world.get(target).header("Connection", "Upgrade");
    let request = request.header("Upgrade", "websocket");
    let request = request.header("Sec-WebSocket-Version", "13");
    request.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

//! Tickets: what a session lends for a moment to what can set no header.

mod handed_over;
mod lent;
mod log;
mod shared;
mod worth;

use serde_json::json;

use crate::support::raw::{Answer, Request};
use crate::support::{Setup, World};

/// Tickets, with a cookie to exchange them for.
const TICKETS: &str = r#"
[paths]
ticket = "/wx/ticket"
[session]
token_from = ["authorization", "cookie:sid"]
[session.cookie]
name = "sid"
[[access.rules]]
path = "/files/public/**"
require = "public"
[[access.rules]]
path = "/files/optional/**"
require = "optional"
"#;

async fn world() -> World {
    Setup::with(TICKETS).start().await
}

impl World {
    /// Asks for a ticket.
    async fn lend(&self, token: &str, path: &str) -> Answer {
        let request = self.post("/wx/ticket").bearer(token);
        request.json(&json!({ "path": path })).send().await
    }

    /// A ticket for this pattern.
    async fn ticket(&self, token: &str, path: &str) -> String {
        let answer = self.lend(token, path).await;
        assert_eq!(answer.status, 200, "{path} {answer:?}");
        answer.json()["ticket"].as_str().unwrap().to_owned()
    }

    /// Opens the address by which a web-view takes a session over.
    fn open(&self, ticket: &str, to: &str) -> Request {
        self.get(&format!("/wx/ticket/{ticket}?to={to}"))
    }
}

/// A handshake as plain bytes.
fn handshake(world: &World, target: &str) -> Request {
    let request = world.get(target).header("Connection", "Upgrade");
    let request = request.header("Upgrade", "websocket");
    let request = request.header("Sec-WebSocket-Version", "13");
    request.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

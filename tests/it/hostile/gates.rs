//! The gates that the cases stand in front of: one worker each, so that whatever a case leaves behind
//! on the way to the app server meets the next request.

use crate::hostile::cases::Words;
use crate::hostile::recorder::Recorder;
use crate::support::{Setup, World};

const GUARDED: &str = r#"
[session]
token_from = ["authorization", "header:X-Session", "query:token", "websocket-protocol"]
[apps.push]
token = "AAAAA"
encoding_aes_key = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
[push]
forward_to = "/hooks/push"
[access]
default = "session"
[[access.rules]]
path = "/public/**"
require = "public"
[[access.rules]]
path = "/optional/**"
require = "optional"
"#;

const RULES: &str = r#"
[apps.push]
token = "AAAAA"
encoding_aes_key = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
[push]
forward_to = "/hooks/push"
[login]
hook = "/hooks/login"
[access]
default = "public"
[[access.rules]]
path = "/admin/**"
require = "session"
[[access.rules]]
path = "/items/**"
methods = ["DELETE"]
require = "session"
"#;

const SMALL: &str = "workers = 1\n\
                     limits = { max_header_bytes = \"8KiB\", max_headers = 20, max_uri_bytes = 256, \
                     max_body_bytes = 64 }";

const PROXIED: &str = "workers = 1\ntrusted_proxies = [\"127.0.0.1/32\", \"10.0.0.0/8\"]";

/// A gate, and what is behind it.
pub(super) struct Gate {
    pub(super) world: World,
    pub(super) recorder: Recorder,
    pub(super) words: Words,
}

impl Gate {
    /// The one of this name.
    pub(super) async fn start(name: &str) -> Self {
        let recorder = Recorder::start().await;
        let (toml, server) = match name {
            "open" => ("[access]\ndefault = \"public\"", "workers = 1"),
            "proxied" => ("[access]\ndefault = \"public\"", PROXIED),
            "small" => ("[access]\ndefault = \"public\"", SMALL),
            "guarded" => (GUARDED, "workers = 1"),
            "rules" => (RULES, "workers = 1"),
            other => panic!("no gate is called {other}"),
        };
        let setup = Setup {
            server: server.to_owned(),
            upstream_url: Some(format!("http://{}", recorder.address)),
            ..Setup::with(toml)
        };
        let world = setup.start().await;
        let words = if name == "rules" {
            // The app server would be asked about a login.
            Words::default()
        } else {
            let (token, bob) = (world.login("alice").await, world.login("bob").await);
            Words(vec![
                ("token-tail", token[1..].to_owned()),
                ("token", token),
                ("bob", bob),
                ("openid", world.openid("alice")),
            ])
        };
        Self {
            world,
            recorder,
            words,
        }
    }
}

//! `wxgate dev`: a simulated WeChat, a gate and an app server in one process, for somebody who has
//! none of them. And `wxgate mock-wechat`, which is the first alone.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::greeting::{self, APPID};
use crate::app::{self, Running, StartError, Surroundings};
use crate::config::{self, Faults};
use crate::gateway::AppHints;
use crate::server::Listen;
use crate::sim::demo::DemoApp;
use crate::sim::wechat::{Apps, Codes, MockWechat, Options};

/// Why `wxgate dev` did not start.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// What was given on the command line does not make a configuration.
    #[error("{0}")]
    Config(Faults),
    /// A port of this machine.
    #[error("cannot listen on a port of this machine")]
    Listen(#[from] io::Error),
    /// The gate.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Everything that `wxgate dev` runs.
#[derive(Debug)]
pub struct Dev {
    /// The gate.
    pub gate: Running,
    /// Where the simulated WeChat listens.
    pub wechat: SocketAddr,
    /// Where the demo app listens, when it runs.
    pub demo: Option<SocketAddr>,
    stop: CancellationToken,
}

/// Starts everything. Must run inside a runtime, which serves the simulator and the demo app.
pub async fn start(
    listen: SocketAddr,
    upstream: Option<&str>,
    surroundings: &Surroundings,
) -> Result<Dev, DevError> {
    let stop = CancellationToken::new();
    let wechat = TcpListener::bind("127.0.0.1:0").await?;
    let wechat_address = wechat.local_addr()?;
    let options = Options {
        codes: Codes::Lenient,
        apps: Apps::Any,
        clock: surroundings.clock.clone(),
    };
    tokio::spawn(MockWechat::new(options).serve(wechat, stop.clone()));
    let mut demo = None;
    let upstream = if let Some(url) = upstream {
        url.to_owned()
    } else {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        demo = Some(address);
        tokio::spawn(DemoApp::new().serve(listener, stop.clone()));
        format!("http://{address}")
    };
    let text = configuration(listen, &upstream, wechat_address);
    let loaded = config::parse(&text, Path::new("wxgate dev"), []).map_err(DevError::Config)?;
    let mut config = loaded.config;
    // The developer tools say the appid of whatever project is open.
    config.gateway.login.app_hints = AppHints::Ignored;
    let gate = app::start(config, surroundings)?;
    Ok(Dev {
        gate,
        wechat: wechat_address,
        demo,
        stop,
    })
}

/// What `wxgate dev` runs with, as a configuration file would say it.
fn configuration(listen: SocketAddr, upstream: &str, wechat: SocketAddr) -> String {
    // TOML's basic strings escape as JSON's do.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        r#"
[server]
listen = "{listen}"
drain_timeout = "2s"
[upstream]
url = {upstream}
[[apps]]
appid = "{APPID}"
secret = "the-secret-of-a-mini-program-that-does-not-exist"
[wechat]
base_url = "http://{wechat}"
[paths]
decrypt = ["/wx/decrypt", "/decryptData"]
[[access.rules]]
path = "/"
require = "public"
[[access.rules]]
path = "/public/**"
require = "public"
[admin]
listen = ""
"#,
        upstream = quoted(upstream),
    )
}

impl Dev {
    /// Stops everything.
    pub async fn stop(self, hurry: impl Future<Output = ()>) {
        // Nothing is to outlive it.
        let _not_saved = self.gate.stop(hurry).await;
        self.stop.cancel();
    }

    /// What a developer is told: where everything is, and lines to paste.
    pub fn greeting(&self) -> String {
        let address = self.gate.addresses.iter().find_map(|listen| match listen {
            Listen::Tcp(address) => Some(*address),
            Listen::Unix(_) => None,
        });
        address
            .map(|gate| greeting::tell(gate, self.wechat, self.demo))
            .unwrap_or_default()
    }
}

/// Serves the simulated WeChat alone, until told to stop.
pub async fn mock_wechat(
    listener: TcpListener,
    surroundings: &Surroundings,
    stop: CancellationToken,
) {
    let options = Options {
        codes: Codes::Strict,
        apps: Apps::Any,
        clock: surroundings.clock.clone(),
    };
    MockWechat::new(options).serve(listener, stop).await;
}

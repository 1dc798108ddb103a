//! A whole gate between a simulated WeChat and a recording app server, in one process, over real
//! sockets, with a clock that moves only when told to.

pub(crate) mod app;
pub(crate) mod certificates;
pub(crate) mod events;
pub(crate) mod frames;
pub(crate) mod front;
pub(crate) mod h2_app;
pub(crate) mod h2_played;
pub(crate) mod pattern;
pub(crate) mod played;
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod reader;
pub(crate) mod redis;
pub(crate) mod scrape;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wxgate::app::{Running, Surroundings};
use wxgate::domain::clock::{Clock, HeldClock};
use wxgate::domain::id::AppId;
use wxgate::domain::secret::AppSecret;
use wxgate::server::Listen;
use wxgate::sim::wechat::{Apps, Codes, MockWechat, Options, UserName};

use crate::support::app::AppServer;
use crate::support::raw::{Answer, Request};

/// The mini program of most tests.
pub(crate) const APPID: &str = "wx0123456789abcdef";
/// A second one.
pub(crate) const APPID2: &str = "wxfedcba9876543210";
/// Their AppSecrets.
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const SECRET2: &str = "fedcba9876543210fedcba9876543210";

/// How long anything may take before a test calls it stuck. Never waited for when all is well.
pub(crate) const STUCK: Duration = Duration::from_secs(20);

/// An appid that is known to be one.
pub(crate) fn appid(id: &str) -> AppId {
    AppId::parse(id).unwrap()
}

/// A person, by name.
pub(crate) fn person(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

/// The configuration beside `[upstream]`, `[[apps]]` and `[wechat]`, which every world has.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Tables of the configuration, as the file would say them.
    pub(crate) toml: String,
    /// `listen` of `[server]`, as TOML.
    pub(crate) listen: String,
    /// Keys of `[server]` beside it.
    pub(crate) server: String,
    /// Keys of `[upstream]` beside `url`.
    pub(crate) upstream: String,
    /// Keys of `[wechat]` beside `base_url`.
    pub(crate) wechat: String,
    /// `secret` of the first `[[apps]]`, as TOML.
    pub(crate) secret: String,
    /// Whether a second mini program is configured.
    pub(crate) two_apps: bool,
    /// Where `[upstream] url` points instead of at the recording app server.
    pub(crate) upstream_url: Option<String>,
    /// Where `[wechat] base_url` points instead of at the simulator.
    pub(crate) wechat_url: Option<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            toml: String::new(),
            listen: "\"127.0.0.1:0\"".to_owned(),
            server: String::new(),
            upstream: String::new(),
            wechat: String::new(),
            secret: format!("secret = \"{SECRET}\""),
            two_apps: false,
            upstream_url: None,
            wechat_url: None,
        }
    }
}

impl Setup {
    /// The usual world with these tables of configuration.
    pub(crate) fn with(toml: &str) -> Self {
        Self {
            toml: toml.to_owned(),
            ..Self::default()
        }
    }

    fn config(&self, app: SocketAddr, wechat: SocketAddr) -> String {
        let upstream_url = self
            .upstream_url
            .clone()
            .unwrap_or_else(|| format!("http://{app}"));
        let wechat_url = self
            .wechat_url
            .clone()
            .unwrap_or_else(|| format!("http://{wechat}"));
        let second = format!("[[apps]]\nappid = \"{APPID2}\"\nsecret = \"{SECRET2}\"\n");
        let second = if self.two_apps { second } else { String::new() };
        format!(
            "[server]\nlisten = {}\n{}\n\
             [upstream]\nurl = \"{upstream_url}\"\n{}\n\
             [[apps]]\nappid = \"{APPID}\"\n{}\n{second}\n\
             [wechat]\nbase_url = \"{wechat_url}\"\n{}\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n{}\n",
            self.listen, self.server, self.upstream, self.secret, self.wechat, self.toml
        )
    }

    /// Starts the world.
    pub(crate) async fn start(self) -> World {
        let held = HeldClock::at(Clock::System.now());
        let clock = Clock::Held(held.clone());
        let stop = CancellationToken::new();
        let app = AppServer::start(stop.clone()).await;
        let (wechat, wechat_address) = start_wechat(clock.clone(), stop.clone()).await;
        let text = self.config(app.address, wechat_address);
        let loaded = wxgate::config::parse(&text, std::path::Path::new("test.toml"), [])
            .unwrap_or_else(|faults| panic!("{faults}\n{text}"));
        let surroundings = Surroundings { clock, log: None };
        let gate = wxgate::app::start(loaded.config, &surroundings).unwrap();
        World {
            gate: Arc::new(gate),
            app,
            wechat,
            wechat_address,
            clock: held,
            stop,
        }
    }
}

/// A simulated WeChat that knows both mini programs.
async fn start_wechat(clock: Clock, stop: CancellationToken) -> (MockWechat, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let known = [(APPID, SECRET), (APPID2, SECRET2)]
        .map(|(id, secret)| (AppId::parse(id).unwrap(), AppSecret::new(secret.to_owned())));
    let options = Options {
        codes: Codes::Strict,
        apps: Apps::Only(known.to_vec()),
        clock,
    };
    let wechat = MockWechat::new(options);
    tokio::spawn(wechat.clone().serve(listener, stop));
    (wechat, address)
}

/// A gate between its neighbours. Everything ends when it is dropped.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) gate: Arc<Running>,
    pub(crate) app: AppServer,
    pub(crate) wechat: MockWechat,
    wechat_address: SocketAddr,
    pub(crate) clock: HeldClock,
    stop: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    /// The usual one.
    pub(crate) async fn start() -> Self {
        Setup::default().start().await
    }

    /// Where the gate listens.
    pub(crate) fn address(&self) -> SocketAddr {
        match &self.gate.addresses[0] {
            Listen::Tcp(address) => *address,
            Listen::Unix(path) => panic!("listens on {}", path.display()),
        }
    }

    /// Where the simulated WeChat listens, for another gate to ask it too.
    pub(crate) fn wechat_url(&self) -> String {
        format!("http://{}", self.wechat_address)
    }

    /// A request to the gate, on a connection of its own.
    pub(crate) fn request(&self, method: &str, target: &str) -> Request {
        Request::new(self.address(), method, target)
    }

    pub(crate) fn get(&self, target: &str) -> Request {
        self.request("GET", target)
    }

    pub(crate) fn post(&self, target: &str) -> Request {
        self.request("POST", target)
    }

    /// A code for this user of the first mini program, from the simulated WeChat.
    pub(crate) fn code(&self, user: &str) -> String {
        self.code_of(APPID, user)
    }

    pub(crate) fn code_of(&self, app: &str, user: &str) -> String {
        self.wechat.issue_code(&appid(app), &person(user))
    }

    /// The openid of this user of the first mini program.
    pub(crate) fn openid(&self, user: &str) -> String {
        self.openid_in(APPID, user)
    }

    pub(crate) fn openid_in(&self, app: &str, user: &str) -> String {
        let openid = self.wechat.openid_of(&appid(app), &person(user));
        openid.as_str().to_owned()
    }

    /// Sends a code to the login route.
    pub(crate) async fn redeem(&self, code: &str) -> Answer {
        self.post("/wx/login")
            .json(&serde_json::json!({ "code": code }))
            .send()
            .await
    }

    /// Logs a user of the first mini program in, and gives the token.
    pub(crate) async fn login(&self, user: &str) -> String {
        self.redeem(&self.code(user)).await.token()
    }
}

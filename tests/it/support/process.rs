//! The real program as a child of the test, which never outlives it.

use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use wxgate::domain::clock::Clock;
use wxgate::sim::wechat::MockWechat;

use crate::support::app::{AppServer, until};
use crate::support::raw::{Answer, Request};
use crate::support::scrape::Scrape;
use crate::support::{APPID, STUCK, Setup, appid, person, start_wechat};

const PROGRAM: &str = env!("CARGO_BIN_EXE_wxgate");

/// A running `wxgate`, and all that it has said.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    said: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Program {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        Self::spawn(&mut command)
    }

    /// How to run it by way of a shell, whose lines have it as `"$@"`.
    pub(crate) fn by_shell(lines: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", lines, "sh", env!("CARGO_BIN_EXE_wxgate")])
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let said = Arc::<Mutex<String>>::default();
        let mut readers = vec![listen(child.stdout.take().unwrap(), Arc::clone(&said))];
        if let Some(errors) = child.stderr.take() {
            readers.push(listen(errors, Arc::clone(&said)));
        }
        Self {
            child,
            said,
            readers,
        }
    }

    /// Runs it to its end: the exit code, and all that it said.
    pub(crate) async fn run(arguments: &[&str]) -> (i32, String) {
        let mut program = Self::start(arguments);
        let code = program.ended().await;
        (code, program.said())
    }

    /// All that it has said so far, on either output.
    pub(crate) fn said(&self) -> String {
        self.said.lock().clone()
    }

    /// Waits until it says this, and gives the line.
    pub(crate) async fn line(&self, with: &str) -> String {
        let find = || {
            let said = self.said();
            let whole = said.rsplit_once('\n').map_or("", |(whole, _begun)| whole);
            let line = whole.lines().find(|line| line.contains(with));
            line.map(str::to_owned)
        };
        until(&format!("{with:?} in {}", self.said()), || find().is_some()).await;
        find().unwrap()
    }

    /// Sends it a signal such as `TERM`.
    pub(crate) async fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let sent =
            tokio::task::spawn_blocking(|| Command::new("bash").arg("-c").arg(kill).status());
        assert!(sent.await.unwrap().unwrap().success());
    }

    /// Ends it without a word.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().unwrap();
        until("the program is gone", || {
            self.child.try_wait().unwrap().is_some()
        })
        .await;
    }

    /// Waits until it has ended, and gives the exit code.
    pub(crate) async fn ended(&mut self) -> i32 {
        until("the program ends", || {
            self.child.try_wait().unwrap().is_some()
        })
        .await;
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        let status = self.child.wait().unwrap();
        status
            .code()
            .unwrap_or_else(|| panic!("{status}: {}", self.said()))
    }

    /// How many sockets it has open.
    pub(crate) fn sockets(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        // One that is closed meanwhile is none.
        let open = open.filter_map(|open| std::fs::read_link(open.unwrap().path()).ok());
        open.filter(|file| file.to_string_lossy().starts_with("socket:"))
            .count()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the kernel tells of it in this file.
    pub(crate) fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    /// A field of the kernel's account of its memory, in KiB.
    pub(crate) fn memory(&self, field: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        let number = line.split_whitespace().nth(1).unwrap();
        number.parse().unwrap()
    }
}

fn listen(mut output: impl Read + Send + 'static, said: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = output.read(&mut piece) {
            let text = String::from_utf8_lossy(&piece[..length]);
            said.lock().push_str(&text);
        }
    })
}

/// Where its admin listener is, and where it listens.
async fn addresses(program: &Program) -> (SocketAddr, SocketAddr) {
    let address = |line: String| {
        let line: Value = serde_json::from_str(&line).unwrap();
        line["address"].as_str().unwrap().parse().unwrap()
    };
    (
        address(program.line("admin listener is up").await),
        address(program.line("\"listening\"").await),
    )
}

/// `wxgate run` between a recording app server and a simulated WeChat.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) program: Program,
    pub(crate) app: AppServer,
    pub(crate) wechat: MockWechat,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where its admin listener is.
    pub(crate) admin: SocketAddr,
    folder: TempDir,
    stop: CancellationToken,
    _stopping: DropGuard,
}

impl Gate {
    pub(crate) async fn start(setup: Setup) -> Self {
        Self::start_as(setup, |file| Program::start(&["run", "-c", file])).await
    }

    /// Starts the program, which is given the configuration file, in some other way.
    pub(crate) async fn start_as(setup: Setup, start: impl FnOnce(&str) -> Program) -> Self {
        let stop = CancellationToken::new();
        let app = AppServer::start(stop.clone()).await;
        let (wechat, wechat_address) = start_wechat(Clock::System, stop.clone()).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gate.toml");
        std::fs::write(&file, setup.config(app.address, wechat_address)).unwrap();
        let program = start(file.to_str().unwrap());
        let (admin, address) = addresses(&program).await;
        Self {
            program,
            app,
            wechat,
            address,
            admin,
            folder,
            stop: stop.clone(),
            _stopping: stop.drop_guard(),
        }
    }

    /// Starts the program once more, after it has ended.
    pub(crate) async fn start_again(&mut self) {
        self.program = Program::start(&["run", "-c", &self.file()]);
        (self.admin, self.address) = addresses(&self.program).await;
    }

    /// Its configuration file.
    pub(crate) fn file(&self) -> String {
        self.folder.path().join("gate.toml").display().to_string()
    }

    /// Takes app server and WeChat away.
    pub(crate) async fn stop_neighbours(&self) {
        self.stop.cancel();
        let app = self.app.address;
        let gone = || std::net::TcpStream::connect(app).is_err();
        until("the app server is gone", gone).await;
    }

    pub(crate) fn request(&self, method: &str, target: &str) -> Request {
        Request::new(self.address, method, target)
    }

    pub(crate) fn get(&self, target: &str) -> Request {
        self.request("GET", target)
    }

    /// Asks the admin listener.
    pub(crate) async fn ask_admin(&self, target: &str) -> Answer {
        let request = Request::new(self.admin, "GET", target);
        request.header("Host", "localhost").send().await
    }

    /// Waits until the gate has noticed that Redis is away, or there again.
    pub(crate) async fn sees_redis(&self, connected: bool) {
        let expected = Some(if connected { 1.0 } else { 0.0 });
        let begun = tokio::time::Instant::now();
        let found = async || {
            let scrape = Scrape::read(&self.ask_admin("/metrics").await.text());
            scrape.sum("wxgate_redis_connected", &[])
        };
        while found().await != expected {
            assert!(begun.elapsed() < STUCK, "never {connected}");
        }
    }

    /// A code for this user, from the simulated WeChat.
    pub(crate) fn code(&self, user: &str) -> String {
        self.wechat.issue_code(&appid(APPID), &person(user))
    }

    /// Logs a user in, and gives the token.
    pub(crate) async fn login(&self, user: &str) -> String {
        let body = serde_json::json!({ "code": self.code(user) });
        let answer = self.request("POST", "/wx/login").json(&body).send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["token"].as_str().unwrap().to_owned()
    }
}

//! A Redis of a test's own: a real server as a child of the test, which never outlives it.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use redis::{Client, Cmd, Connection, FromRedisValue, ScriptInvocation};
use tempfile::TempDir;

use crate::support::app::until;

/// As `openssl rand -base64 32` makes them.
pub(crate) const SEAL_KEY: &str = "JVPZFZKcXCuF3YeNFV+mm5cMLMYuhhwwyUFx3Gd/R0Q=";
pub(crate) const OTHER_SEAL_KEY: &str = "MJZ33XnZSqFc2CVzkqLKYnQXHPEJzW8mLWe8hSeSWCM=";

/// Keeps nothing on disk.
const IN_MEMORY: [&str; 4] = ["--save", "", "--appendonly", "no"];

/// A running `redis-server`. A cheap handle; it ends with the last one.
#[derive(Clone, Debug)]
pub(crate) struct RedisServer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    port: u16,
    arguments: Vec<String>,
    /// Of a Sentinel, which writes into it.
    config: Option<String>,
    child: Mutex<Option<Child>>,
    folder: TempDir,
}

impl Drop for Inner {
    fn drop(&mut self) {
        end(self.child.lock().take());
    }
}

/// With a signal that also ends what is stopped.
fn end(child: Option<Child>) {
    if let Some(mut child) = child {
        // It may have ended by itself.
        drop(child.kill());
        drop(child.wait());
    }
}

/// A port that nobody listens on at this moment.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

impl RedisServer {
    /// A usual one, with everything switched on.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// One with further arguments.
    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let server = Self::prepared(arguments);
        server.run().await;
        server
    }

    /// One that is not running yet.
    pub(crate) fn prepared(arguments: &[&str]) -> Self {
        Self::made_of(arguments, None)
    }

    /// A Sentinel that looks after this master under the name `main`, with one other.
    pub(crate) async fn start_sentinel(master: &Self) -> Self {
        let config = format!(
            "sentinel monitor main 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 2000\n",
            master.port()
        );
        let server = Self::made_of(&[], Some(config));
        server.run().await;
        server
    }

    fn made_of(arguments: &[&str], config: Option<String>) -> Self {
        Self(Arc::new(Inner {
            port: free_port(),
            arguments: arguments.iter().map(|&it| it.to_owned()).collect(),
            config,
            child: Mutex::default(),
            folder: tempfile::tempdir().unwrap(),
        }))
    }

    /// Starts it, where it was before.
    pub(crate) async fn run(&self) {
        let inner = &self.0;
        let port = inner.port.to_string();
        let mut command = Command::new("redis-server");
        match &inner.config {
            Some(config) => {
                let file = inner.folder.path().join("sentinel.conf");
                std::fs::write(&file, config).unwrap();
                command.arg(file).arg("--sentinel")
            }
            None => command.args(IN_MEMORY),
        };
        let child = command
            .args(["--bind", "127.0.0.1", "--port", &port])
            .args(["--dir", &inner.folder.path().display().to_string()])
            .args(&inner.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is not installed");
        *inner.child.lock() = Some(child);
        until("redis answers", || {
            let answered = self.try_ask::<String>(&redis::cmd("PING"));
            // One that wants a password is there too.
            answered.is_ok() || answered.is_err_and(|error| !error.is_io_error())
        })
        .await;
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&self) {
        end(self.0.child.lock().take());
    }

    /// Stops it where it is: connections stay open, and nothing is answered.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    /// Has it go on.
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let id = self.0.child.lock().as_ref().unwrap().id();
        let kill = format!("kill -{name} {id}");
        let sent = Command::new("bash").args(["-c", &kill]).status();
        assert!(sent.unwrap().success());
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.0.port)
    }

    /// `[store]` for gates that share it.
    pub(crate) fn table(&self) -> String {
        table(&self.url(), "")
    }

    fn connection(&self) -> redis::RedisResult<Connection> {
        Client::open(self.url())?.get_connection()
    }

    pub(crate) fn try_ask<T: FromRedisValue>(&self, command: &Cmd) -> redis::RedisResult<T> {
        command.query(&mut self.connection()?)
    }

    /// What it answers to a command, words between spaces.
    pub(crate) fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut asked = redis::cmd(words.next().unwrap());
        for word in words {
            asked.arg(word);
        }
        let answer = self.try_ask(&asked);
        answer.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// What a script gives.
    pub(crate) fn run_script<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> T {
        let mut connection = self.connection().unwrap();
        script.invoke(&mut connection).unwrap()
    }

    /// Everything that is in it, keys and values, as it could be read by whoever breaks in.
    pub(crate) fn dump(&self) -> Vec<Vec<u8>> {
        let mut connection = self.connection().unwrap();
        let mut all = Vec::new();
        let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
        for key in keys {
            let kind: String = redis::cmd("TYPE").arg(&key).query(&mut connection).unwrap();
            let values: Vec<Vec<u8>> = match kind.as_str() {
                "hash" => redis::cmd("HGETALL").arg(&key).query(&mut connection),
                _ => redis::cmd("GET")
                    .arg(&key)
                    .query(&mut connection)
                    .map(|it| vec![it]),
            }
            .unwrap();
            all.push(key);
            all.extend(values);
        }
        all
    }
}

/// `[store]` with sessions in this Redis, and further keys of `[store.redis]`.
pub(crate) fn table(url: &str, keys: &str) -> String {
    format!(
        "[store]\nkind = \"redis\"\nseal_key = \"{SEAL_KEY}\"\n[store.redis]\nurl = \"{url}\"\n{keys}\n"
    )
}

//! Programs under `tests/paths` that say what they make of a target, and nginx. Each is started on a free
//! port, asked, and ended.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::path_policy::View;
use crate::support::STUCK;

/// Where the programs are.
pub(super) const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/paths");

/// Questions to a program at once.
const AT_ONCE: usize = 8;

/// Somebody else may take a port between its choice and its use.
const PORTS_TRIED: usize = 3;

/// A running program. It ends when it is dropped.
pub(super) struct Program {
    child: Child,
    address: SocketAddr,
    /// What it reads and writes.
    _folder: TempDir,
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Program {
    /// Starts what is made for a port and a folder.
    pub(super) async fn start(command: impl Fn(u16, &TempDir) -> Command) -> Self {
        for _ in 0..PORTS_TRIED {
            let folder = tempfile::tempdir().unwrap();
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            let mut command = command(address.port(), &folder);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            let child = command.spawn().unwrap();
            let mut program = Self {
                child,
                address,
                _folder: folder,
            };
            let listens = tokio::time::timeout(STUCK * 3, program.listens()).await;
            if listens.expect("it does not listen") {
                return program;
            }
        }
        panic!("it ends instead of listening");
    }

    /// Waits until it accepts connections; false when it has ended instead.
    async fn listens(&mut self) -> bool {
        loop {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if TcpStream::connect(self.address).await.is_ok() {
                return true;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// What it makes of each of these targets.
    pub(super) async fn views(&self, targets: impl Iterator<Item = &str>) -> Vec<Vec<View>> {
        let asked = futures_util::stream::iter(targets.map(|target| self.ask(target)));
        let all = asked.buffered(AT_ONCE).collect();
        tokio::time::timeout(STUCK * 3, all)
            .await
            .expect("it is stuck")
    }

    /// The request is the one that the gate would forward, but for its fields.
    async fn ask(&self, target: &str) -> Vec<View> {
        let path = match target.strip_prefix("http://gate.example") {
            Some("") => "/",
            Some(path) => path,
            None => target,
        };
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: gate.example\r\nConnection: close\r\n\r\n");
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // One that refuses may do so by a reset.
        drop(socket.read_to_end(&mut answer).await);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1."), "{target}: {answer:?}");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        body.lines().filter_map(view).collect()
    }
}

/// A line of an answer: `path` and `file` in hexadecimal, `text` as it is.
fn view(line: &str) -> Option<View> {
    let (kind, said) = line.split_once(' ')?;
    let bytes = || {
        let pairs = said.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        pairs.map(byte).collect::<Vec<_>>()
    };
    match kind {
        "path" => Some(View::read(bytes())),
        "file" => Some(View::alias(bytes())),
        "text" => Some(View::read(said)),
        // A page that says what was wrong.
        _ => None,
    }
}

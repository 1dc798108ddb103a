//! A WeChat that is played: it gives the answers of a list, one per request, and keeps the requests.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::domain::clock::{Clock, HeldClock, Timestamp};
use crate::domain::id::AppId;
use crate::domain::secret::AppSecret;
use crate::wechat::client::Client;
use crate::wechat::{Credential, Settings};

pub(super) const APPID: &str = "wx0123456789abcdef";
pub(super) const SECRET: &str = "planted-secret";
pub(super) const PREVIOUS: &str = "planted-previous";

/// When every test begins.
pub(super) const BEGIN: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// The server, and a clock that moves only when told to.
pub(super) struct Played {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<VecDeque<String>>>,
    pub(super) held: HeldClock,
}

impl Played {
    pub(super) async fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let played = Self {
            port: listener.local_addr().unwrap().port(),
            requests: Arc::default(),
            answers: Arc::default(),
            held: HeldClock::at(BEGIN),
        };
        played.then(answers);
        let (requests, answers) = (Arc::clone(&played.requests), Arc::clone(&played.answers));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&requests), Arc::clone(&answers)));
            }
        });
        played
    }

    /// What will be answered after what there is. A number is an HTTP status, `hang` no answer.
    pub(super) fn then(&self, answers: &[&str]) {
        let owned = answers.iter().map(|&answer| answer.to_owned());
        self.answers.lock().extend(owned);
    }

    pub(super) fn clock(&self) -> Clock {
        Clock::Held(self.held.clone())
    }

    pub(super) fn client(&self) -> Client {
        let settings = Settings {
            base_url: format!("http://127.0.0.1:{}", self.port),
            timeout: Duration::from_secs(2),
            ..Settings::default()
        };
        Client::new(&settings).unwrap().with_clock(self.clock())
    }

    /// How many requests there were.
    pub(super) fn count(&self) -> usize {
        self.requests.lock().len()
    }

    /// The request of this number, head and body.
    pub(super) fn request(&self, number: usize) -> String {
        self.requests.lock()[number].clone()
    }
}

pub(super) fn credential() -> Credential {
    Credential {
        app: AppId::parse(APPID).unwrap(),
        secret: AppSecret::new(SECRET.to_owned()),
        previous_secret: None,
    }
}

pub(super) fn with_previous() -> Credential {
    Credential {
        previous_secret: Some(AppSecret::new(PREVIOUS.to_owned())),
        ..credential()
    }
}

async fn serve(
    mut stream: TcpStream,
    requests: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<VecDeque<String>>>,
) {
    let Some(request) = read(&mut stream).await else {
        return;
    };
    requests.lock().push(request);
    let answer = answers
        .lock()
        .pop_front()
        .unwrap_or_else(|| "599".to_owned());
    let (status, body) = match answer.as_str() {
        "hang" => std::future::pending().await,
        number if number.len() == 3 => (number, ""),
        body => ("200", body),
    };
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} Played\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    // Who gave up waiting does not see it.
    drop(stream.write_all(text.as_bytes()).await);
}

async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(bytes).unwrap();
    let lower = head.to_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + std::str::from_utf8(&body).unwrap())
}

//! An app server that answers pushes as it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::push::wechat::{KEY, OLD_KEY, TOKEN};
use crate::support::reader::Reader;
use crate::support::{Setup, World};

/// What the app server does next.
pub(crate) enum Then {
    /// Answers so.
    Says(&'static str),
    /// Answers so, with bytes that are no text.
    SaysBytes(&'static [u8]),
    /// Answers so, and closes.
    SaysAndCloses(&'static str),
    /// Closes without an answer.
    HangsUp,
    /// Takes it when it is told to go on.
    Waits,
}

/// One push as it reached the app server.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Arrived {
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let named = self
            .headers
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// An app server that takes pushes with `success` unless it is told otherwise.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    then: Arc<Mutex<VecDeque<Then>>>,
    going_on: Arc<Semaphore>,
}

impl App {
    /// Nobody listens there yet.
    pub(crate) async fn not_yet() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            arrived: Arc::default(),
            then: Arc::default(),
            going_on: Arc::new(Semaphore::new(0)),
        }
    }

    pub(crate) async fn start() -> Self {
        let app = Self::not_yet().await;
        app.listen().await;
        app
    }

    pub(crate) async fn listen(&self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let app = self.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(app.clone().serve(Reader::new(socket, Arc::default())));
            }
        });
    }

    /// Does these for the next pushes, one each.
    pub(crate) fn next(&self, then: impl IntoIterator<Item = Then>) {
        self.then.lock().extend(then);
    }

    /// Lets one that waits go on.
    pub(crate) fn go_on(&self) {
        self.going_on.add_permits(1);
    }

    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.arrived.lock().len()
    }

    async fn serve(self, mut reader: Reader) {
        const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nsuccess";
        while let Some(mut seen) = reader.head().await {
            if !reader.body(&mut seen).await {
                return;
            }
            self.arrived.lock().push(Arrived {
                line: format!("{} {}", seen.method, seen.target),
                headers: seen.headers.clone(),
                body: String::from_utf8(seen.body).unwrap(),
            });
            let then = self.then.lock().pop_front();
            let says = match then {
                None => TAKEN.as_bytes(),
                Some(Then::Says(says)) => says.as_bytes(),
                Some(Then::SaysBytes(says)) => says,
                Some(Then::SaysAndCloses(says)) => {
                    reader.say(says).await;
                    return;
                }
                Some(Then::HangsUp) => return,
                Some(Then::Waits) => {
                    self.going_on.acquire().await.unwrap().forget();
                    TAKEN.as_bytes()
                }
            };
            if !reader.write(says).await {
                return;
            }
        }
    }
}

/// A world whose mini program has pushes of this mode, with these further lines of `[push]`.
pub(crate) async fn world(app: &App, mode: &str, push: &str) -> World {
    setup(app, mode, push).start().await
}

pub(crate) fn setup(app: &App, mode: &str, push: &str) -> Setup {
    Setup {
        upstream_url: Some(format!("http://{}", app.address)),
        ..Setup::with(&format!(
            "[apps.push]\ntoken = \"{TOKEN}\"\nencoding_aes_key = \"{KEY}\"\n\
             previous_encoding_aes_key = \"{OLD_KEY}\"\nmode = \"{mode}\"\n\
             [access]\ndefault = \"public\"\n\
             [push]\nforward_to = \"/pushed\"\n{push}\n"
        ))
    }
}

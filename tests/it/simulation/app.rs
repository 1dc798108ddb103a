//! An app server that is played: it says of every request which it was and whose, in its own time and
//! way; and closes, breaks off and keeps silent whenever it likes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::spawn_local;
use wxgate::played::{Connecting, Connection, Dialer};

use crate::simulation::dice::Dice;
use crate::simulation::ledger::{Ledger, identity_fields};
use crate::simulation::net::{self, End, Gauge, Weather};
use crate::simulation::wire::{Ended, Head, Incoming, Length};

/// Longer than the gate waits for anything here.
const FOR_EVER: Duration = Duration::from_mins(10);

/// What the app server is like in a story.
#[derive(Clone, Debug)]
pub(super) struct Temper {
    /// How many of a hundred connections are not taken.
    pub(super) refuses: usize,
    /// How many of a hundred requests come to no good.
    pub(super) fails: usize,
    /// How many of a hundred answers come late.
    pub(super) slow: usize,
    /// How many of a hundred connections are closed soon after an answer, without a word.
    pub(super) closes: usize,
}

impl Temper {
    pub(super) fn any(dice: &mut Dice) -> Self {
        Self {
            refuses: dice.pick(&[0, 0, 5]),
            fails: dice.pick(&[0, 5, 25]),
            slow: dice.pick(&[0, 10, 40]),
            closes: dice.pick(&[0, 20, 60]),
        }
    }
}

/// What a story needs to have app servers.
#[derive(Clone)]
struct House {
    dice: Arc<Mutex<Dice>>,
    temper: Temper,
    ledger: Arc<Mutex<Ledger>>,
    gauge: Arc<Gauge>,
}

/// Starts app servers, and gives the way to them.
pub(super) fn start(
    dice: Dice,
    temper: Temper,
    (ledger, gauge): (&Arc<Mutex<Ledger>>, &Arc<Gauge>),
) -> Dialer {
    let (door, arrivals) = unbounded_channel();
    let house = House {
        dice: Arc::new(Mutex::new(dice)),
        temper,
        ledger: Arc::clone(ledger),
        gauge: Arc::clone(gauge),
    };
    spawn_local(welcome(house.clone(), arrivals));
    Dialer::new(move || -> Connecting { Box::pin(dial(house.clone(), door.clone())) })
}

async fn dial(
    house: House,
    door: UnboundedSender<(End, usize)>,
) -> io::Result<Box<dyn Connection>> {
    let (mut dice, refuses) = {
        let mut dice = house.dice.lock();
        (dice.fork(), dice.chance(house.temper.refuses))
    };
    if refuses && dice.chance(30) {
        tokio::time::sleep(FOR_EVER).await;
    }
    tokio::time::sleep(dice.millis(20)).await;
    if refuses {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let weather = Weather::any(&mut dice);
    let (end, gate, tap) = net::connection(&mut dice, weather, &house.gauge);
    let number = {
        let mut ledger = house.ledger.lock();
        ledger.taps.push(tap);
        ledger.taps.len() - 1
    };
    drop(door.send((end, number)));
    Ok(Box::new(gate))
}

async fn welcome(house: House, mut arrivals: UnboundedReceiver<(End, usize)>) {
    while let Some((end, number)) = arrivals.recv().await {
        let dice = house.dice.lock().fork();
        let server = Server {
            house: house.clone(),
            dice,
            number,
            incoming: Incoming::over(end),
        };
        spawn_local(server.serve());
    }
}

/// One connection of an app server.
struct Server {
    house: House,
    dice: Dice,
    number: usize,
    incoming: Incoming<End>,
}

/// When something goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    /// Before anything is read or said.
    AtOnce,
    /// When the request is read.
    Unanswered,
    /// Nothing is said for ever.
    Silence,
    /// No HTTP is said.
    Gibberish,
    WithinHead,
    WithinBody,
}

/// The request under way.
struct Request {
    tag: usize,
    head: Head,
    length: Length,
    /// What came of its body, when all of it has.
    body: Option<Vec<u8>>,
}

impl Server {
    async fn serve(mut self) {
        loop {
            let Some(head) = self.next().await else {
                return;
            };
            let checked = self.house.ledger.lock().check_head(&head);
            let tag = match checked {
                Ok(tag) => tag,
                Err(text) => return self.house.ledger.lock().fail(text),
            };
            let length = match Incoming::<End>::length(&head, Length::Known(0)) {
                Ok(length) => length,
                Err(ended) => return self.house.ledger.lock().fail(format!("{ended:?}")),
            };
            let number = self.number;
            let note = || format!("{tag}: is at the app server, on {number}, {length:?}");
            self.house.ledger.lock().note(note);
            let request = Request {
                tag,
                head,
                length,
                body: None,
            };
            if !self.answer(request).await {
                return;
            }
        }
    }

    /// The next request; `None` when there is none, or this server closes first.
    async fn next(&mut self) -> Option<Head> {
        let head = if self.dice.chance(self.house.temper.closes) {
            let soon = Duration::from_millis(self.dice.pick(&[0, 1, 5, 50, 500, 3000]));
            tokio::time::timeout(soon, self.incoming.head())
                .await
                .ok()?
        } else {
            self.incoming.head().await
        };
        match head {
            Ok(head) => Some(head),
            Err(Ended::Closed | Ended::Reset) => None,
            Err(Ended::Malformed(text)) => {
                self.house
                    .ledger
                    .lock()
                    .fail(format!("the gate sent {text:?}"));
                None
            }
        }
    }

    /// Answers a request; gives whether the connection goes on.
    async fn answer(&mut self, mut request: Request) -> bool {
        let trouble = self.trouble();
        if trouble == Trouble::AtOnce {
            return self.end(false);
        }
        let early = self.dice.chance(12);
        if !early && !self.read(&mut request).await {
            return self.end(false);
        }
        if self.dice.chance(self.house.temper.slow) {
            let late = self.dice.pick(&[50, 500, 4000]);
            tokio::time::sleep(self.dice.millis(late)).await;
        }
        match trouble {
            Trouble::Unanswered => return self.end(true),
            Trouble::Silence => {
                while self.incoming.more().await.is_ok() {}
                return false;
            }
            _ => {}
        }
        let goes_on = self.say(&request, trouble).await;
        if early && goes_on && !self.dice.chance(30) {
            // It answered before it had read; some read on after that.
            return self.read(&mut request).await;
        }
        goes_on && !early
    }

    fn trouble(&mut self) -> Trouble {
        if !self.dice.chance(self.house.temper.fails) {
            return Trouble::None;
        }
        self.dice.pick(&[
            Trouble::AtOnce,
            Trouble::Unanswered,
            Trouble::Silence,
            Trouble::Gibberish,
            Trouble::WithinHead,
            Trouble::WithinBody,
        ])
    }

    /// Ends the connection, cleanly or not.
    fn end(&mut self, may_be_clean: bool) -> bool {
        if !may_be_clean || self.dice.chance(50) {
            self.incoming.socket.break_off();
        }
        false
    }

    /// Reads the body of a request; gives whether it came to its end.
    async fn read(&mut self, request: &mut Request) -> bool {
        let mut body = Vec::new();
        let trailers = match self.incoming.body(request.length, &mut body).await {
            Ok(trailers) => trailers,
            Err(Ended::Closed | Ended::Reset) => return false,
            Err(Ended::Malformed(text)) => {
                self.house
                    .ledger
                    .lock()
                    .fail(format!("the gate sent {text:?}"));
                return false;
            }
        };
        let mut ledger = self.house.ledger.lock();
        let tag = request.tag;
        if ledger.asks[tag].body != body {
            ledger.fail(format!("{tag}: another body arrived"));
        }
        if !identity_fields(&trailers).is_empty() {
            ledger.fail(format!("{tag}: identity in trailers: {trailers:?}"));
        }
        drop(ledger);
        request.body = Some(body);
        true
    }

    /// Says an answer; gives whether the connection goes on.
    async fn say(&mut self, request: &Request, trouble: Trouble) -> bool {
        let tag = request.tag;
        self.house.ledger.lock().asks[tag].begun = true;
        if trouble == Trouble::Gibberish {
            drop(
                self.incoming
                    .socket
                    .write_all(b"SSH-2.0-OpenSSH\r\n\r\n")
                    .await,
            );
            return self.end(true);
        }
        let framing = self.dice.below(10);
        let closes = self.dice.chance(10) || framing == 9;
        let body = self.body_of(request);
        let mut text = String::new();
        if self.dice.chance(8) {
            text.push_str("HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\n\r\n");
        }
        text.push_str("HTTP/1.1 200 OK\r\n");
        let openid = request.head.only("x-wx-openid").unwrap_or("-");
        text.push_str(&format!("X-Tag: {tag}\r\nX-Openid: {openid}\r\n"));
        if closes {
            text.push_str("Connection: close\r\n");
        }
        let is_head = request.head.word(0) == "HEAD";
        match framing {
            _ if is_head => text.push_str("Content-Length: 77\r\n"),
            0..=5 => text.push_str(&format!("Content-Length: {}\r\n", body.len())),
            6..=8 => text.push_str("Transfer-Encoding: chunked\r\n"),
            _ => {}
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        let head = bytes.len();
        if !is_head {
            self.frame(&mut bytes, &body, (6..=8).contains(&framing));
        }
        let cut = match trouble {
            Trouble::WithinHead => Some(1 + self.dice.below(head - 1)),
            Trouble::WithinBody if bytes.len() > head => {
                Some(head + self.dice.below(bytes.len() - head))
            }
            _ => None,
        };
        let whole = self.write(&bytes[..cut.unwrap_or(bytes.len())]).await;
        if cut.is_some() {
            // An end of the connection would be that of the answer, where nothing else is.
            return self.end(framing != 9);
        }
        whole && !closes
    }

    /// What is said of a request, and then bytes that only its answer has.
    fn body_of(&mut self, request: &Request) -> Vec<u8> {
        let got = request.body.as_ref().map(Vec::len);
        let got = got.map_or_else(|| "-".to_owned(), |got| got.to_string());
        let mut body = format!("{} {got}\n", request.tag).into_bytes();
        let more = self.dice.pick(&[0, 0, 10, 300, 3000, 40_000]);
        body.extend_from_slice(&pattern(request.tag, self.dice.below(more + 1)));
        body
    }

    fn frame(&mut self, bytes: &mut Vec<u8>, body: &[u8], chunked: bool) {
        if !chunked {
            return bytes.extend_from_slice(body);
        }
        let most = self.dice.pick(&[7, 200, 10_000]).max(body.len() / 20);
        let mut rest = body;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(rest.len().min(1 + self.dice.below(most)));
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
            rest = after;
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
    }

    async fn write(&mut self, bytes: &[u8]) -> bool {
        let pause = self.dice.chance(10);
        let (now, later) = bytes.split_at(if pause { bytes.len() / 2 } else { bytes.len() });
        if self.incoming.socket.write_all(now).await.is_err() {
            return false;
        }
        if pause {
            tokio::time::sleep(self.dice.millis(300)).await;
        }
        self.incoming.socket.write_all(later).await.is_ok()
    }
}

/// Bytes that bodies with this number have and others have not, or not there.
pub(super) fn pattern(number: usize, length: usize) -> Vec<u8> {
    const LETTERS: &[u8; 29] = b"abcdefghijklmnopqrstuvwxyz-_.";
    let skipped = number * 7 % LETTERS.len();
    let mut bytes = LETTERS.repeat(length / LETTERS.len() + 2);
    bytes.drain(..skipped);
    bytes.truncate(length);
    bytes
}

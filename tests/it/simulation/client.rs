//! A client that is played: it asks for one thing or several at once, over connections that it keeps
//! or lets go, gives up in the middle, waits, and reads every answer to its end.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};

use crate::simulation::app::pattern;
use crate::simulation::asking::{Composed, compose};
use crate::simulation::dice::Dice;
use crate::simulation::ledger::About;
use crate::simulation::net::{End, Weather};
use crate::simulation::streams;
use crate::simulation::wire::{Ended, Head, Incoming, Length};
use crate::simulation::world::{Scene, jump};

/// Longer than any answer may take.
pub(super) const STUCK: Duration = Duration::from_mins(6);

pub(super) struct Client {
    number: usize,
    dice: Dice,
    scene: Scene,
    from: SocketAddr,
    /// The sessions whose tokens it got.
    own: Vec<usize>,
    line: Option<Line>,
}

/// A connection to the gate.
struct Line {
    incoming: Incoming<ReadHalf<End>>,
    outgoing: WriteHalf<End>,
    weather: Weather,
    fresh: bool,
}

/// An answer as far as it came.
pub(super) struct Answer {
    pub(super) head: Head,
    pub(super) body: Vec<u8>,
    /// Why it has no end.
    pub(super) broken: Option<Ended>,
}

impl Client {
    pub(super) fn new(number: usize, mut dice: Dice, scene: Scene) -> Self {
        let host = u8::try_from(dice.below(3)).unwrap();
        Self {
            number,
            scene,
            from: SocketAddr::from(([9, 9, 9, host], 4000)),
            own: Vec::new(),
            line: None,
            dice,
        }
    }

    pub(super) async fn live(mut self) {
        let begin = self.dice.millis(2000);
        tokio::time::sleep(begin).await;
        for _ in 0..3 + self.dice.below(8) {
            match self.dice.below(100) {
                0..14 => self.wait().await,
                14..18 => self.leave(),
                18..20 => jump(Duration::from_secs(10) + self.dice.millis(60_000)),
                20..24 => self.scene.gate.sweep(),
                24..40 => self.ask_over_http2().await,
                _ => self.ask().await,
            }
            if self.scene.ledger.lock().violation.is_some() {
                break;
            }
        }
        self.leave();
    }

    async fn wait(&mut self) {
        let most = self.dice.pick(&[50, 1000, 5000, 30_000, 100_000]);
        let time = self.dice.millis(most);
        tokio::time::sleep(time).await;
    }

    /// Lets go of the connection, cleanly or not.
    fn leave(&mut self) {
        if let Some(line) = self.line.take() {
            let end = line.incoming.socket.unsplit(line.outgoing);
            if self.dice.chance(30) {
                end.reset();
            }
        }
    }

    /// Asks for one thing or several at once, and reads the answers.
    async fn ask(&mut self) {
        let mut line = match self.line.take() {
            Some(line) => line,
            None => self.connect(),
        };
        let count = self.dice.pick(&[1, 1, 1, 2, 4]);
        let mut asked = Vec::new();
        let mut bytes = Vec::new();
        for _ in 0..count {
            let mut composed = compose(&mut self.dice, &self.scene, &self.own);
            bytes.extend(composed.write(&mut self.dice));
            asked.push(composed);
        }
        let cut = self.dice.chance(12).then(|| self.dice.below(bytes.len()));
        let number = self.number;
        let note = || format!("client {number} sends {count}, cut at {cut:?}");
        self.scene.ledger.lock().note(note);
        bytes.truncate(cut.unwrap_or(bytes.len()));
        let mut writing = self.dice.fork();
        let patience = self.dice.millis(3000);
        let mut answered = 0;
        let (ended, written) = {
            let mut written = false;
            let write = async {
                written = send(&mut writing, &mut line.outgoing, &bytes).await;
                lose_patience(cut.map(|_| patience)).await;
            };
            let read = read_all(&mut line.incoming, (&self.scene, &asked), &mut answered);
            let ended = tokio::select! {
                biased;
                ended = read => ended,
                () = write => After::Cut,
            };
            (ended, written)
        };
        for composed in &asked[..answered] {
            self.learn(composed);
        }
        for composed in &asked[answered..] {
            let mut ledger = self.scene.ledger.lock();
            ledger.give_up(composed.tag, &format!("{ended:?}"));
        }
        let next = asked.get(answered).map(|composed| composed.tag);
        let excused = next.is_some_and(|tag| self.scene.ledger.lock().asks[tag].begun);
        self.explain(&ended, (answered, excused || cut.is_some()), &line);
        line.fresh = false;
        self.line = Some(line);
        if ended != After::Next || !written || cut.is_some() {
            self.leave();
        }
    }

    async fn ask_over_http2(&mut self) {
        let (from, own) = (self.from, self.own.clone());
        let asked = streams::ask(&mut self.dice, &self.scene, (from, &own)).await;
        for composed in &asked {
            self.learn(composed);
        }
    }

    fn connect(&mut self) -> Line {
        let weather = Weather::any(&mut self.dice);
        let end = self.scene.connect(&mut self.dice, weather, self.from);
        let (read, outgoing) = tokio::io::split(end);
        Line {
            incoming: Incoming::over(read),
            outgoing,
            weather,
            fresh: true,
        }
    }

    /// Keeps the token of a login that went well.
    fn learn(&mut self, composed: &Composed) {
        let ledger = self.scene.ledger.lock();
        if let About::Login { code } = &ledger.asks[composed.tag].about
            && let Some(session) = ledger.sessions.of_code(code)
            && ledger.sessions.token(session).is_some()
            && !self.own.contains(&session)
        {
            self.own.push(session);
        }
    }

    /// Fails when there is no answer and no reason for that.
    fn explain(&self, ended: &After, (answered, excused): (usize, bool), line: &Line) {
        let text = match ended {
            After::Stuck => format!("client {} is stuck", self.number),
            After::Failed(Ended::Malformed(text)) => format!("the gate answered {text:?}"),
            After::Failed(ended) => {
                // An idle connection, and only that, may be closed at any time.
                let strange = line.fresh && line.weather.stalls == 0 && !self.scene.crowded;
                if excused || !strange {
                    return;
                }
                format!("client {}: {answered} answers, then {ended:?}", self.number)
            }
            After::Next | After::Close | After::Cut => return,
        };
        self.scene.ledger.lock().fail(text);
    }
}

/// What comes after the answers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum After {
    Next,
    Close,
    /// The client has given up.
    Cut,
    Stuck,
    Failed(Ended),
}

/// Waits for as long as a client does; for ever when it never gives up.
async fn lose_patience(after: Option<Duration>) {
    match after {
        Some(after) => tokio::time::sleep(after).await,
        None => std::future::pending().await,
    }
}

/// Writes in one piece or several; gives whether all of it was taken.
async fn send(dice: &mut Dice, outgoing: &mut WriteHalf<End>, bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        let whole = dice.chance(70);
        let length = if whole {
            rest.len()
        } else {
            1 + dice.below(rest.len())
        };
        let (piece, after) = rest.split_at(length);
        if outgoing.write_all(piece).await.is_err() {
            return false;
        }
        rest = after;
        if !whole {
            tokio::time::sleep(dice.millis(400)).await;
        }
    }
    true
}

async fn read_all(
    incoming: &mut Incoming<ReadHalf<End>>,
    (scene, asked): (&Scene, &[Composed]),
    answered: &mut usize,
) -> After {
    for composed in asked {
        let read = read_answer(incoming, composed.method);
        let Ok(read) = tokio::time::timeout(STUCK, read).await else {
            return After::Stuck;
        };
        let answer = match read {
            Ok(answer) => answer,
            Err(ended) => return After::Failed(ended),
        };
        *answered += 1;
        check_answer(scene, composed, &answer);
        if let Some(broken) = answer.broken {
            scene.ledger.lock().counts.broken += 1;
            // That it broke off is seen.
            return match broken {
                Ended::Malformed(_) => After::Failed(broken),
                Ended::Closed | Ended::Reset => After::Close,
            };
        }
        if answer.head.only("connection") == Some("close") {
            return After::Close;
        }
    }
    After::Next
}

async fn read_answer(
    incoming: &mut Incoming<ReadHalf<End>>,
    method: &str,
) -> Result<Answer, Ended> {
    let head = loop {
        let head = incoming.head().await?;
        if head.word(0) != "HTTP/1.1" {
            return Err(Ended::Malformed(head.line));
        }
        if head.status() >= 200 {
            break head;
        }
    };
    let length = match head.status() {
        204 | 304 => Length::Known(0),
        _ if method == "HEAD" => Length::Known(0),
        _ => Incoming::<End>::length(&head, Length::UntilClose)?,
    };
    let mut body = Vec::new();
    let broken = incoming.body(length, &mut body).await.err();
    Ok(Answer { head, body, broken })
}

/// Holds an answer against what was asked.
pub(super) fn check_answer(scene: &Scene, composed: &Composed, answer: &Answer) {
    let mut ledger = scene.ledger.lock();
    let tag = composed.tag;
    let Some(told) = answer.head.only("x-tag") else {
        let text = String::from_utf8_lossy(&answer.body);
        if answer.broken.is_some() {
            return ledger.give_up(tag, "broken off");
        }
        let problem: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let code = problem["code"].as_str().unwrap_or_default();
        return ledger.answered(tag, answer.head.status(), code, &text);
    };
    let openid = answer.head.only("x-openid").unwrap_or_default();
    ledger.note(|| {
        format!(
            "{tag}: answered, {} bytes, {:?}",
            answer.body.len(),
            answer.broken
        )
    });
    ledger.served(tag, told, openid);
    if composed.method != "HEAD" && !is_right(composed, answer) {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        ledger.fail(format!("{tag}: a wrong body: {text:?}"));
    }
}

/// Whether a body is what the app server says to this request, as far as it came.
fn is_right(composed: &Composed, answer: &Answer) -> bool {
    let end = answer.body.iter().position(|byte| *byte == b'\n');
    let Some(end) = end else {
        // Not even the first line.
        return answer.broken.is_some();
    };
    let line = String::from_utf8_lossy(&answer.body[..end]);
    let known = format!("{} {}", composed.tag, composed.body.len());
    let unknown = format!("{} -", composed.tag);
    let rest = &answer.body[end + 1..];
    (line == known || line == unknown) && pattern(composed.tag, rest.len()) == rest
}

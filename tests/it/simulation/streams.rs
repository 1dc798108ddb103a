//! What a client asks over HTTP/2: many things at once over one connection, of which it takes some
//! back.

use std::future::poll_fn;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::{HeaderMap, HeaderValue, Request};
use tokio::task::{JoinSet, spawn_local};

use crate::simulation::asking::{Composed, compose};
use crate::simulation::client::{Answer, STUCK, check_answer};
use crate::simulation::dice::Dice;
use crate::simulation::net::Weather;
use crate::simulation::wire::{Ended, Head};
use crate::simulation::world::Scene;

/// Asks for some things over a connection of their own; gives what was asked.
pub(super) async fn ask(
    dice: &mut Dice,
    scene: &Scene,
    (from, own): (SocketAddr, &[usize]),
) -> Vec<Composed> {
    let weather = Weather::any(dice);
    let end = scene.connect(dice, weather, from);
    let calm = weather.stalls == 0 && !scene.crowded;
    let Ok(Ok((send, connection))) = tokio::time::timeout(STUCK, h2::client::handshake(end)).await
    else {
        return Vec::new();
    };
    let driver = spawn_local(connection);
    let mut asked = Vec::new();
    for _ in 0..1 + dice.below(3) {
        let mut streams = JoinSet::new();
        for _ in 0..dice.pick(&[1, 2, 5]) {
            let composed = compose(dice, scene, own);
            asked.push(composed.clone());
            let stream = Stream {
                scene: scene.clone(),
                dice: dice.fork(),
                composed,
                calm,
            };
            streams.spawn_local(stream.play(send.clone()));
        }
        while let Some(ended) = streams.join_next().await {
            if let Err(panicked) = ended {
                scene.ledger.lock().fail(format!("a stream: {panicked}"));
            }
        }
    }
    drop(send);
    // Whatever is under way yet goes with the connection.
    driver.abort();
    asked
}

/// One request over HTTP/2.
struct Stream {
    scene: Scene,
    dice: Dice,
    composed: Composed,
    /// Whether there is no reason not to be answered.
    calm: bool,
}

impl Stream {
    async fn play(mut self, send: SendRequest<Bytes>) {
        let begun = async {
            let mut send = send.ready().await.ok()?;
            let ends = self.composed.body.is_empty();
            send.send_request(request(&mut self.dice, &self.composed), ends)
                .ok()
        };
        let Ok(Some((response, out))) = tokio::time::timeout(STUCK, begun).await else {
            return self.no_answer("not sent");
        };
        let cut = self.dice.chance(12);
        self.calm &= !cut;
        let mut writing = self.dice.fork();
        let body = Bytes::from(self.composed.body.clone());
        let write = async {
            let out = send_body(&mut writing, out, body, cut).await;
            if cut {
                tokio::time::sleep(writing.millis(300)).await;
                return;
            }
            std::future::pending::<()>().await;
            drop(out);
        };
        let answer = tokio::select! {
            biased;
            answer = tokio::time::timeout(STUCK, read(response)) => answer,
            () = write => return self.scene.ledger.lock().give_up(self.composed.tag, "taken back"),
        };
        match answer {
            Err(_elapsed) => self
                .scene
                .ledger
                .lock()
                .fail("a stream is stuck".to_owned()),
            Ok(Err(error)) => self.no_answer(&error.to_string()),
            Ok(Ok(answer)) => {
                self.scene.ledger.lock().counts.over_http2 += 1;
                check_answer(&self.scene, &self.composed, &answer);
            }
        }
    }

    /// Fails when there is no reason for that.
    fn no_answer(&self, why: &str) {
        let tag = self.composed.tag;
        let mut ledger = self.scene.ledger.lock();
        ledger.give_up(tag, why);
        if self.calm && !ledger.asks[tag].begun {
            ledger.fail(format!("{tag}: no answer over HTTP/2: {why}"));
        }
    }
}

fn request(dice: &mut Dice, composed: &Composed) -> Request<()> {
    let mut request = Request::builder()
        .method(composed.method)
        .uri(format!("http://app.example{}", composed.target));
    for (name, value) in &composed.fields {
        request = request.header(name, value);
    }
    if dice.chance(50) && (!composed.body.is_empty() || composed.method == "POST") {
        request = request.header("content-length", composed.body.len());
    }
    request.body(()).unwrap()
}

/// Sends a body, or the beginning of one that is taken back then.
async fn send_body(
    dice: &mut Dice,
    mut out: SendStream<Bytes>,
    mut body: Bytes,
    cut: bool,
) -> SendStream<Bytes> {
    let left = if cut { dice.below(body.len() + 1) } else { 0 };
    let had_body = !body.is_empty();
    while body.len() > left {
        out.reserve_capacity(body.len().min(1 + dice.below(5000)));
        let Some(Ok(room)) = poll_fn(|context| out.poll_capacity(context)).await else {
            return out;
        };
        let piece = body.split_to(room.min(body.len() - left));
        if out.send_data(piece, false).is_err() {
            return out;
        }
    }
    if cut {
        out.send_reset(Reason::CANCEL);
    } else if had_body && dice.chance(30) {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-wx-openid", HeaderValue::from_static("oForged"));
        drop(out.send_trailers(trailers));
    } else if had_body {
        drop(out.send_data(Bytes::new(), true));
    }
    out
}

async fn read(response: ResponseFuture) -> Result<Answer, h2::Error> {
    let response = response.await?;
    let (parts, mut stream) = response.into_parts();
    let fields = parts.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        (name.to_string(), value.into_owned())
    });
    let mut answer = Answer {
        head: Head {
            line: format!("HTTP/2 {}", parts.status.as_u16()),
            fields: fields.collect(),
        },
        body: Vec::new(),
        broken: None,
    };
    while let Some(piece) = stream.data().await {
        match piece {
            Ok(piece) => {
                answer.body.extend_from_slice(&piece);
                drop(stream.flow_control().release_capacity(piece.len()));
            }
            Err(_reset) => {
                answer.broken = Some(Ended::Reset);
                break;
            }
        }
    }
    Ok(answer)
}

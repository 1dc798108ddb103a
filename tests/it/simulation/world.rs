//! One story from its seed to its end: everybody in it, and what must be true when it is over.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::Instant;
use wxgate::app::rehearsal::Rehearsal;
use wxgate::config::Config;
use wxgate::domain::clock::{Clock, Timestamp};
use wxgate::upstream::Target;

use crate::simulation::client::Client;
use crate::simulation::dice::Dice;
use crate::simulation::ledger::{Counts, Ledger};
use crate::simulation::net::{self, End, Gauge, Weather};
use crate::simulation::sessions::Terms;
use crate::simulation::wire::{Ended, Head, Incoming, Length};
use crate::simulation::{app, wechat};
use crate::support::{APPID, SECRET};

/// Longer than any story may take, in its own time.
const TOO_LONG: Duration = Duration::from_hours(2);

/// Longer than anything may go on after the last client has gone.
const QUIET: Duration = Duration::from_mins(3);

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
    static JUMPED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The time of day in the story that runs on this thread.
pub(super) fn wall() -> Timestamp {
    let began = BEGAN.get().unwrap_or_else(Instant::now);
    Timestamp::from_millis(1_700_000_000_000).plus(began.elapsed() + JUMPED.get())
}

/// Somebody puts the clock forward.
pub(super) fn jump(by: Duration) {
    JUMPED.set(JUMPED.get() + by);
}

/// What every client knows of its story.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) gate: Rc<Rehearsal>,
    pub(super) users: usize,
    /// Whether an idle connection may be closed for want of places.
    pub(super) crowded: bool,
    gauge: Arc<Gauge>,
    doors: Rc<[UnboundedSender<(End, SocketAddr)>]>,
}

impl Scene {
    /// A new connection to the gate.
    pub(super) fn connect(&self, dice: &mut Dice, weather: Weather, from: SocketAddr) -> End {
        let (end, gate, _tap) = net::connection(dice, weather, &self.gauge);
        drop(dice.pick(&self.doors).send((gate, from)));
        end
    }
}

/// How a story ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) violation: Option<String>,
    pub(super) trace: Vec<String>,
    pub(super) counts: Counts,
}

/// Plays the story of a seed; `traced` tells all of it.
pub(super) fn play(seed: u64, traced: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let local = LocalSet::new();
    let ledger = local.block_on(&runtime, story(seed, traced));
    // What is left of the gate goes before its runtime does.
    drop(local);
    drop(runtime);
    let mut ledger = ledger.lock();
    Outcome {
        violation: ledger.violation.take(),
        trace: ledger.trace.take().unwrap_or_default(),
        counts: ledger.counts,
    }
}

async fn story(seed: u64, traced: bool) -> Arc<Mutex<Ledger>> {
    BEGAN.set(Some(Instant::now()));
    JUMPED.set(Duration::ZERO);
    let mut dice = Dice::new(seed);
    let (mut config, terms) = configure(&mut dice);
    let ledger = Arc::new(Mutex::new(Ledger::new(terms, traced)));
    let gauge = Arc::new(Gauge::default());
    let temper = app::Temper::any(&mut dice);
    ledger
        .lock()
        .note(|| format!("{terms:?} {temper:?} {:?}", config.server.limits));
    let dialer = app::start(dice.fork(), temper, (&ledger, &gauge));
    config.upstreams[0].target = Target::Played(dialer);
    let faults = dice.pick(&[0, 20, 60]);
    let wechat = wechat::played(dice.fork(), faults, &ledger);
    let workers = dice.pick(&[1, 1, 2]);
    let gate = Rehearsal::start(&config, workers, &Clock::Played(wall), wechat).unwrap();
    let gate = Rc::new(gate);
    let scene = Scene {
        ledger: Arc::clone(&ledger),
        users: 1 + dice.below(3),
        crowded: config.server.limits.max_connections < 100,
        gauge: Arc::clone(&gauge),
        doors: (0..workers).map(|worker| open(&gate, worker)).collect(),
        gate,
    };
    let mut clients = JoinSet::new();
    for number in 0..2 + dice.below(5) {
        let client = Client::new(number, dice.fork(), scene.clone());
        clients.spawn_local(client.live());
    }
    let all = async {
        while let Some(ended) = clients.join_next().await {
            if let Err(panicked) = ended {
                ledger.lock().fail(format!("a client: {panicked}"));
            }
        }
    };
    if tokio::time::timeout(TOO_LONG, all).await.is_err() {
        ledger.lock().fail("the story does not end".to_owned());
    }
    close(&scene).await;
    drop(scene);
    ledger
}

/// A worker's listening socket, so to say.
fn open(gate: &Rc<Rehearsal>, worker: usize) -> UnboundedSender<(End, SocketAddr)> {
    let (door, mut arrivals) = unbounded_channel();
    let gate = Rc::clone(gate);
    spawn_local(async move {
        while let Some((end, from)) = arrivals.recv().await {
            gate.take(worker, end, from).await;
        }
    });
    door
}

/// What the gate is told in this story.
fn configure(dice: &mut Dice) -> (Config, Terms) {
    let seconds = |dice: &mut Dice, from: &[u64]| Duration::from_secs(dice.pick(from));
    let mut config = base();
    let terms = Terms {
        ttl: seconds(dice, &[60, 120, 600]),
        idle: dice.chance(50).then(|| seconds(dice, &[20, 60])),
        max_per_user: dice.pick(&[None, Some(1), Some(2), Some(3)]),
    };
    config.gateway.session.lifetimes.ttl = terms.ttl;
    config.gateway.session.lifetimes.idle_ttl = terms.idle;
    config.gateway.session.max_per_user = terms.max_per_user;
    config.server.limits.max_connections = dice.pick(&[2, 4, 1000, 1000]);
    config.server.limits.idle_timeout = seconds(dice, &[6, 20]);
    config.gateway.limits = config.server.limits.clone();
    let upstream = &mut config.upstreams[0];
    upstream.max_connections = dice.pick(&[1, 2, 4, 100]);
    upstream.max_idle = dice.pick(&[0, 1, 8, 8]);
    upstream.max_pending = dice.pick(&[1, 4, 100]);
    upstream.idle_timeout = seconds(dice, &[1, 4]);
    upstream.stream_idle_timeout = dice.pick(&[None, Some(Duration::from_secs(2))]);
    (config, terms)
}

/// What is the same in all stories.
fn base() -> Config {
    thread_local! {
        static BASE: Config = {
            let text = format!(
                "[upstream]\nurl = \"http://127.0.0.1:1\"\nconnect_timeout = \"1s\"\nresponse_timeout = \"3s\"\n\
                 [[apps]]\nappid = \"{APPID}\"\nsecret = \"{SECRET}\"\n\
                 [[access.rules]]\npath = \"/public/**\"\nrequire = \"public\"\n\
                 [[access.rules]]\npath = \"/optional/**\"\nrequire = \"optional\"\n\
                 [login]\nexpose = [\"openid\"]\n\
                 [wechat]\nbase_url = \"http://127.0.0.1:1\"\ntimeout = \"2s\"\n\
                 [server.limits]\nheader_timeout = \"8s\"\nbody_idle_timeout = \"8s\"\n"
            );
            let loaded = wxgate::config::parse(&text, Path::new("story.toml"), []);
            loaded.unwrap_or_else(|faults| panic!("{faults}")).config
        };
    }
    BASE.with(Config::clone)
}

/// The end: nothing is left of anything, and everything that was sent to the app server was right.
async fn close(scene: &Scene) {
    let fail = |text: &str| scene.ledger.lock().fail(text.to_owned());
    scene.gate.drain();
    tokio::time::sleep(QUIET).await;
    if scene.gate.connections() > 0 {
        fail("a connection of a client is left");
    }
    if scene.gauge.open.load(Ordering::Relaxed) > 0 {
        fail("a connection of the gate is left");
    }
    if tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
        > 0
    {
        fail("a login is left");
    }
    if scene.gauge.panicked.load(Ordering::Relaxed) {
        fail("a task of the gate panicked");
    }
    jump(Duration::from_hours(1));
    for _ in 0..64 {
        scene.gate.sweep();
    }
    if scene.gate.sessions() > 0 {
        fail("a session outlives its time");
    }
    let mut ledger = scene.ledger.lock();
    let written = check_written(&mut ledger);
    ledger.hold(written);
    ledger.counts.evicted = ledger.sessions.evicted;
    ledger.counts.ran_out = ledger.sessions.ran_out;
}

/// One sending of a request.
#[derive(Clone, Copy)]
struct Sending {
    /// Whether nothing was sent on its connection before.
    is_first: bool,
    /// Whether nothing came back for it.
    unheard: bool,
}

/// Looks at all that the gate wrote to app servers, whether it arrived or not.
fn check_written(ledger: &mut Ledger) -> Result<(), String> {
    let mut sendings: Vec<Vec<Sending>> = vec![Vec::new(); ledger.asks.len()];
    for tap in ledger.taps.clone() {
        let written = tap.written_by_gate();
        let mut incoming = Incoming::over(&written[..]);
        loop {
            let place = written.len() - incoming.socket.len() - incoming.rest().len();
            let sending = Sending {
                is_first: place == 0,
                unheard: tap.is_silent_since(place),
            };
            let read = incoming.head().now_or_never();
            let head = match read.unwrap_or(Err(Ended::Closed)) {
                Ok(head) => head,
                Err(Ended::Malformed(text)) => return Err(format!("the gate wrote {text:?}")),
                // A part of a head, from which the tag can be read as a rule.
                Err(_ended) => {
                    let rest = String::from_utf8_lossy(incoming.rest()).into_owned();
                    let cut = begun(&rest).and_then(|tag| sendings.get_mut(tag));
                    cut.into_iter().for_each(|sendings| sendings.push(sending));
                    break;
                }
            };
            let tag = ledger.check_head(&head)?;
            sendings[tag].push(sending);
            if !check_body(ledger, tag, &head, &mut incoming)? {
                break;
            }
        }
    }
    for (tag, sendings) in sendings.iter().enumerate() {
        check_sendings(ledger, tag, sendings)?;
    }
    Ok(())
}

/// The tag of a head of which the beginning was written.
fn begun(rest: &str) -> Option<usize> {
    let target = rest.split(' ').nth(1)?;
    // Cut off within its number it would be another's.
    rest.contains(" HTTP")
        .then(|| crate::simulation::ledger::tag_of(target))?
}

/// Checks that what was written of a body is what the client sends; gives whether that was all of it.
fn check_body(
    ledger: &Ledger,
    tag: usize,
    head: &Head,
    incoming: &mut Incoming<&[u8]>,
) -> Result<bool, String> {
    let length = Incoming::<&[u8]>::length(head, Length::Known(0)).map_err(|e| format!("{e:?}"))?;
    let mut body = Vec::new();
    let read = incoming.body(length, &mut body).now_or_never();
    let sent = &ledger.asks[tag].body;
    match read.unwrap_or(Err(Ended::Closed)) {
        Ok(_trailers) if body == *sent => Ok(true),
        Ok(_trailers) => Err(format!("{tag}: another body was written")),
        Err(Ended::Malformed(text)) => Err(format!("{tag}: the gate wrote {text:?}")),
        Err(_ended) if sent.starts_with(&body) => Ok(false),
        Err(_ended) => Err(format!("{tag}: the begin of another body was written")),
    }
}

/// A request is sent once; once more if that is harmless, and a kept connection was closed in its face.
fn check_sendings(ledger: &mut Ledger, tag: usize, sendings: &[Sending]) -> Result<(), String> {
    match sendings {
        [] | [_] => Ok(()),
        [first, _again] if ledger.is_harmless(tag) && !first.is_first && first.unheard => {
            ledger.counts.repeated += 1;
            Ok(())
        }
        _ => Err(format!("{tag}: sent {} times", sendings.len())),
    }
}

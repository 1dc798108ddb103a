//! What all connections of a run share: when to stop, whose turn it is, and what has come of it.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// Latencies are kept to three digits, up to a minute.
const LONGEST_NANOS: u64 = 60_000_000_000;

/// A run with so many failures has nothing to measure, and ends.
const MAX_FAILURES: u64 = 10_000;

/// When a run ends.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    Requests(u64),
    Seconds { warm: f64, measured: f64 },
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The right answer.
    Good,
    /// An answer of another status or length.
    Wrong,
    /// No whole answer.
    Failed,
}

pub(crate) struct Run {
    tokens: Vec<String>,
    /// How far on in the tokens the next turn is.
    stride: usize,
    turn: Cell<usize>,
    begun: Cell<u64>,
    max_requests: u64,
    measured_from: Instant,
    until: Instant,
    tally: RefCell<Tally>,
}

struct Tally {
    good: u64,
    wrong: u64,
    failed: u64,
    nanos: Histogram<u64>,
    last: Instant,
}

/// Reads a file of tokens, one a line.
pub(crate) fn read_tokens(path: &Path) -> io::Result<Vec<String>> {
    let tokens: Vec<String> = fs::read_to_string(path)?
        .lines()
        .map(str::to_owned)
        .collect();
    if tokens.is_empty() {
        let why = format!("{} has no token", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(tokens)
}

impl Run {
    pub(crate) fn new(limit: Limit, tokens: Vec<String>) -> Rc<Self> {
        let now = Instant::now();
        // Long enough not to end a run by number, short enough for the clock.
        let no_end = Duration::from_hours(24);
        let (warm, measured, max_requests) = match limit {
            Limit::Requests(requests) => (Duration::ZERO, no_end, requests),
            Limit::Seconds { warm, measured } => (
                Duration::from_secs_f64(warm),
                Duration::from_secs_f64(measured),
                u64::MAX,
            ),
        };
        Rc::new(Self {
            stride: stride(tokens.len()),
            tokens,
            turn: Cell::new(0),
            begun: Cell::new(0),
            max_requests,
            measured_from: now + warm,
            until: now + warm + measured,
            tally: RefCell::new(Tally::new(now)),
        })
    }

    /// The moment at which a request begins, unless there are to be no more.
    pub(crate) fn begin(&self) -> Option<Instant> {
        let now = Instant::now();
        let over = self.begun.get() >= self.max_requests
            || now >= self.until
            || self.tally.borrow().failed >= MAX_FAILURES;
        if over {
            return None;
        }
        self.begun.set(self.begun.get() + 1);
        Some(now)
    }

    /// The token whose turn it is. Turns are far apart in the file, so that a proxy does not find
    /// each session beside the last one.
    pub(crate) fn token(&self) -> &str {
        let turn = self.turn.get();
        self.turn.set((turn + self.stride) % self.tokens.len());
        self.tokens.get(turn).map_or("", String::as_str)
    }

    pub(crate) fn note(&self, began: Instant, outcome: Outcome) {
        let mut tally = self.tally.borrow_mut();
        match outcome {
            Outcome::Good => tally.good += 1,
            Outcome::Wrong => tally.wrong += 1,
            Outcome::Failed => tally.failed += 1,
        }
        let now = Instant::now();
        tally.last = now;
        if began >= self.measured_from {
            let nanos = u64::try_from((now - began).as_nanos()).unwrap_or(LONGEST_NANOS);
            tally.nanos.saturating_record(nanos);
        }
    }

    /// Waits for all connections, and a while at most for the last answers.
    pub(crate) async fn end(&self, tasks: Vec<JoinHandle<()>>, patience: Duration) {
        let deadline = self.until + patience;
        for task in tasks {
            if timeout_at(deadline, task).await.is_err() {
                self.tally.borrow_mut().failed += 1;
            }
        }
    }

    /// All that was counted, in one line of JSON.
    pub(crate) fn report(&self) -> Value {
        let tally = self.tally.borrow();
        let seconds = (tally.last - self.measured_from.min(tally.last)).as_secs_f64();
        let micros = |quantile: f64| {
            let nanos = tally.nanos.value_at_quantile(quantile);
            Duration::from_nanos(nanos).as_secs_f64() * 1e6
        };
        json!({
            "good": tally.good,
            "wrong": tally.wrong,
            "failed": tally.failed,
            "measured": tally.nanos.len(),
            "seconds": seconds,
            "p50_us": micros(0.5),
            "p99_us": micros(0.99),
        })
    }
}

impl Tally {
    #[expect(
        clippy::expect_used,
        reason = "the bounds are constants, and good ones"
    )]
    fn new(now: Instant) -> Self {
        Self {
            good: 0,
            wrong: 0,
            failed: 0,
            nanos: Histogram::new_with_bounds(1, LONGEST_NANOS, 3).expect("good bounds"),
            last: now,
        }
    }
}

/// A step through so many places, of about two fifths of them, that comes to every place.
fn stride(places: usize) -> usize {
    let coprime = |step: &usize| gcd(*step, places) == 1;
    (places * 2 / 5..places).find(coprime).unwrap_or(1).max(1)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

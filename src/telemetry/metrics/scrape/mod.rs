//! One look at everything that is counted, as text.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::id::AppId;
use crate::telemetry::metrics::count::{Counter, Distribution};
use crate::telemetry::metrics::exposition::{Exposition, Samples};
use crate::telemetry::metrics::label::{
    DecryptResult, Failure, KeyAge, Label, Method, Outcome, Said,
};
use crate::telemetry::metrics::worker::{Block, Requests};
use crate::telemetry::metrics::{ByApp, Inner, Metrics, family};

/// The label of WeChat among the servers that the gate asks. No app server is called that.
const WECHAT: &str = "wechat";

/// Whose certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// That for the app server's calls.
    Egress,
    /// That for clients.
    Server,
}

/// What is known of the snapshots of sessions.
#[derive(Clone, Copy, Debug)]
pub struct Snapshots {
    /// When the last one was written.
    pub last: Option<Timestamp>,
    /// How many could not be written.
    pub failed: u64,
    /// Endings of sessions that could not be written down.
    pub endings_not_saved: u64,
}

/// What the system knows of this process; nothing of what it does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process {
    /// Time on processors, in milliseconds.
    pub cpu_millis: Option<u64>,
    /// Memory that it has now.
    pub resident_bytes: Option<u64>,
    /// File descriptors that are open.
    pub open_fds: Option<u64>,
    /// As many as may be.
    pub max_fds: Option<u64>,
    /// When it started, in milliseconds since 1970.
    pub start_millis: Option<u64>,
}

/// What is not counted but looked up: whoever knows it tells.
pub trait Gauges: Send + Sync {
    /// The sessions that are kept, by mini program.
    fn sessions(&self) -> Vec<(AppId, u64)>;

    /// Sessions that went for want of room.
    fn sessions_evicted(&self) -> u64;

    /// Whether there is a connection to Redis, and how many endings it has not confirmed. Nothing where
    /// sessions are in memory.
    fn redis(&self) -> Option<(bool, usize)>;

    /// What is known of snapshots, where there are any.
    fn snapshots(&self) -> Option<Snapshots>;

    /// What the system knows of this process.
    fn process(&self) -> Process;

    /// How long ago the access tokens that are kept were asked for.
    fn access_token_ages(&self) -> Vec<(AppId, Duration)>;

    /// Seconds by which this machine's clock is ahead of WeChat's, once that is known.
    fn clock_skew(&self) -> Option<i64>;

    /// When the certificates in use end.
    fn certificate_ends(&self) -> Vec<(Listener, Timestamp)>;
}

/// Everything that a scrape shows. A cheap handle.
#[derive(Clone)]
pub struct Scrape {
    metrics: Metrics,
    gauges: Arc<dyn Gauges>,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape(..)")
    }
}

impl Scrape {
    /// Of these.
    pub fn new(metrics: Metrics, gauges: Arc<dyn Gauges>) -> Self {
        Self { metrics, gauges }
    }

    /// What there is at this moment.
    pub fn text(&self) -> String {
        let mut out = Exposition::default();
        let inner = &self.metrics.0;
        let blocks = inner.blocks.lock().clone();
        served(&mut out, inner, &blocks);
        asked(&mut out, inner, &blocks);
        events(&mut out, inner, &blocks);
        self.sessions(&mut out, &blocks);
        self.redis(&mut out);
        self.snapshots(&mut out);
        self.surroundings(&mut out);
        process(&mut out, self.gauges.process());
        out.into_text()
    }

    fn sessions(&self, out: &mut Exposition, blocks: &[Arc<Block>]) {
        let mut sessions = out.family(&family::SESSIONS);
        for (app, count) in self.gauges.sessions() {
            sessions.sample(&[("appid", app.as_str())], count);
        }
        let evicted = self.gauges.sessions_evicted();
        out.family(&family::SESSIONS_EVICTED).sample(&[], evicted);
        let not_http: u64 = blocks.iter().map(|it| it.not_http.get()).sum();
        out.family(&family::NOT_HTTP).sample(&[], not_http);
        let unknown: u64 = blocks.iter().map(|it| it.sessions_unknown.get()).sum();
        out.family(&family::SESSIONS_UNKNOWN).sample(&[], unknown);
    }

    fn redis(&self, out: &mut Exposition) {
        let redis = self.gauges.redis();
        let counts = redis.is_some().then(|| &self.metrics.0.redis);
        let mut requests = out.family(&family::REDIS_REQUESTS);
        for (operation, result, count) in counts.iter().flat_map(|counts| counts.all()) {
            let labels = [("operation", operation.name()), ("result", result.name())];
            requests.sample(&labels, count);
        }
        let mut emptied = out.family(&family::REDIS_EMPTIED);
        if let Some(counts) = counts {
            emptied.sample(&[], counts.times_emptied());
        }
        let mut connected = out.family(&family::REDIS_CONNECTED);
        if let Some((is_connected, _)) = redis {
            connected.sample(&[], u8::from(is_connected));
        }
        let mut unconfirmed = out.family(&family::REDIS_UNCONFIRMED_ENDINGS);
        if let Some((_, endings)) = redis {
            unconfirmed.sample(&[], endings);
        }
    }

    fn snapshots(&self, out: &mut Exposition) {
        let snapshots = self.gauges.snapshots();
        let mut last = out.family(&family::SNAPSHOT_LAST);
        if let Some(written) = snapshots.and_then(|snapshots| snapshots.last) {
            last.sample(&[], written.as_secs());
        }
        let mut failures = out.family(&family::SNAPSHOT_FAILURES);
        if let Some(snapshots) = snapshots {
            failures.sample(&[], snapshots.failed);
        }
        let mut not_saved = out.family(&family::ENDINGS_NOT_SAVED);
        if let Some(snapshots) = snapshots {
            not_saved.sample(&[], snapshots.endings_not_saved);
        }
    }

    fn surroundings(&self, out: &mut Exposition) {
        let mut ages = out.family(&family::ACCESS_TOKEN_AGE);
        for (app, age) in self.gauges.access_token_ages() {
            ages.sample(&[("appid", app.as_str())], age.as_secs());
        }
        let mut skew = out.family(&family::CLOCK_SKEW);
        if let Some(seconds) = self.gauges.clock_skew() {
            skew.sample(&[], seconds);
        }
        let mut expiry = out.family(&family::CERTIFICATE_EXPIRY);
        for (listener, end) in self.gauges.certificate_ends() {
            let listener = match listener {
                Listener::Egress => "egress",
                Listener::Server => "server",
            };
            expiry.sample(&[("listener", listener)], end.as_secs());
        }
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        out.family(&family::BUILD_INFO).sample(&version, 1);
    }
}

/// Under the names that Prometheus' own libraries give them.
fn process(out: &mut Exposition, process: Process) {
    let whole = [
        (&family::PROCESS_RESIDENT_MEMORY, process.resident_bytes),
        (&family::PROCESS_OPEN_FDS, process.open_fds),
        (&family::PROCESS_MAX_FDS, process.max_fds),
    ];
    for (family, value) in whole {
        let mut samples = out.family(family);
        if let Some(value) = value {
            samples.sample(&[], value);
        }
    }
    let seconds = [
        (&family::PROCESS_CPU, process.cpu_millis),
        (&family::PROCESS_START, process.start_millis),
    ];
    for (family, millis) in seconds {
        let mut samples = out.family(family);
        if let Some(millis) = millis {
            let (seconds, millis) = (millis / 1000, millis % 1000);
            samples.sample(&[], format_args!("{seconds}.{millis:03}"));
        }
    }
}

/// Requests by place, method and outcome.
type Sums = BTreeMap<(usize, Method, Outcome), Distribution>;

fn sum<'a>(blocks: impl Iterator<Item = &'a Requests>) -> Sums {
    let mut sums = Sums::new();
    for requests in blocks {
        let places = requests.chunks(Method::ALL.len()).enumerate();
        let chains = places.flat_map(|(place, chains)| {
            let by_method = Method::ALL.iter().zip(chains);
            by_method.map(move |(method, chain)| (place, *method, chain))
        });
        for (place, method, chain) in chains {
            for (outcome, histogram) in chain.iter() {
                let sum = sums.entry((place, method, outcome)).or_default();
                sum.add(histogram);
            }
        }
    }
    sums
}

fn served(out: &mut Exposition, inner: &Inner, blocks: &[Arc<Block>]) {
    let mut samples = out.family(&family::SERVED);
    let sums = sum(blocks.iter().map(|block| &block.served));
    for ((route, method, outcome), distribution) in sums {
        let Some(route) = inner.plan.routes.get(route) else {
            continue;
        };
        let labels = [
            ("http_request_method", method.name()),
            ("http_response_status_code", &status(outcome)),
            ("http_route", route),
        ];
        samples.histogram(&labels, &distribution);
    }
}

fn asked(out: &mut Exposition, inner: &Inner, blocks: &[Arc<Block>]) {
    let mut samples = out.family(&family::ASKED);
    let mut sums = sum(blocks.iter().map(|block| &block.asked));
    // After the last app server.
    let wechat = inner.plan.upstreams.len();
    for (method, outcome, histogram) in inner.calls.took() {
        let sum = sums.entry((wechat, method, outcome)).or_default();
        sum.add(histogram);
    }
    for ((server, method, outcome), distribution) in sums {
        let server = inner.plan.upstreams.get(server);
        let error = match outcome {
            Outcome::Failure(failure) => failure.name(),
            Outcome::Status(_) | Outcome::Other => "",
        };
        let labels = [
            ("error_type", error),
            ("http_request_method", method.name()),
            ("http_response_status_code", &status(outcome)),
            ("server_address", server.map_or(WECHAT, String::as_str)),
        ];
        samples.histogram(&labels, &distribution);
    }
}

fn status(outcome: Outcome) -> String {
    match outcome {
        Outcome::Status(status) => status.to_string(),
        Outcome::Failure(_) => String::new(),
        Outcome::Other => "_OTHER".to_owned(),
    }
}

fn events(out: &mut Exposition, inner: &Inner, blocks: &[Arc<Block>]) {
    by_app(out.family(&family::LOGINS), inner, &inner.logins);
    let mut samples = out.family(&family::WECHAT);
    for (api, said, count) in inner.calls.counts() {
        let errcode = errcode(said);
        samples.sample(&[("api", api), ("errcode", &errcode)], count);
    }
    decrypts(out.family(&family::DECRYPTS), blocks);
    by_app(out.family(&family::KEY_CHECKS), inner, &inner.key_checks);
    by_app(out.family(&family::PUSHES), inner, &inner.pushes);
    let stripped: u64 = blocks.iter().map(|it| it.headers_stripped.get()).sum();
    out.family(&family::HEADERS_STRIPPED).sample(&[], stripped);
}

/// Also of what has not happened yet: that is how one sees a first time.
fn by_app<L: Label>(mut samples: Samples<'_>, inner: &Inner, counters: &ByApp<L>) {
    for (place, app) in inner.plan.apps.iter().enumerate() {
        for result in L::ALL {
            let Some(counter) = counters.of(place, *result) else {
                continue;
            };
            let labels = [("appid", app.as_str()), ("result", result.name())];
            samples.sample(&labels, counter.get());
        }
    }
}

fn decrypts(mut samples: Samples<'_>, blocks: &[Arc<Block>]) {
    let results = DecryptResult::ALL.iter();
    let pairs = results.flat_map(|result| KeyAge::ALL.iter().map(move |age| (*result, *age)));
    for (place, (result, age)) in pairs.enumerate() {
        if (result == DecryptResult::Ok) == (age == KeyAge::None) {
            // What opened, a key opened; and what did not, none.
            continue;
        }
        let counters = blocks.iter().filter_map(|block| block.decrypts.get(place));
        let labels = [("result", result.name()), ("key_age", age.name())];
        samples.sample(&labels, counters.map(Counter::get).sum::<u64>());
    }
}

fn errcode(said: Said) -> String {
    match said {
        Said::Errcode(number) => number.to_string(),
        Said::Failure(failure) => Failure::name(failure).to_owned(),
        Said::Other => "other".to_owned(),
    }
}

#[cfg(test)]
mod tests;

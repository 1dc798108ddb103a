//! What the gate counts, and how Prometheus is told. Workers count on their own and are summed when
//! somebody asks; what happens seldom is counted where all threads see it.
//!
//! Names are in `family`, values of labels in `label`. Refuses to know what is counted: others tell,
//! in words that are defined here.

mod calls;
mod count;
mod exposition;
mod family;
mod label;
mod redis;
mod scrape;
mod worker;

pub use calls::{ApiId, Calls};
pub use exposition::CONTENT_TYPE;
pub use label::{
    DecryptResult, Failure, KeyAge, KeyCheck, LoginResult, Method, Outcome, PushResult,
    RedisOperation, RedisResult, Said,
};
pub use redis::RedisCounts;
pub use scrape::{Gauges, Listener, Process, Scrape, Snapshots};
pub use worker::{RouteId, UpstreamId, Worker};

use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::id::AppId;
use crate::telemetry::metrics::count::Counter;
use crate::telemetry::metrics::label::Label;
use crate::telemetry::metrics::worker::Block;

/// The labels that the configuration decides.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The mini programs.
    pub apps: Vec<AppId>,
    /// The lines of the route table, each once.
    pub routes: Vec<String>,
    /// The app servers.
    pub upstreams: Vec<String>,
    /// The paths of WeChat's APIs that are called.
    pub apis: Vec<String>,
}

/// All counts of one gate. A cheap handle.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    plan: Plan,
    blocks: Mutex<Vec<Arc<Block>>>,
    calls: Calls,
    logins: ByApp<LoginResult>,
    key_checks: ByApp<KeyCheck>,
    pushes: ByApp<PushResult>,
    redis: RedisCounts,
}

/// Counters by mini program and result.
#[derive(Debug)]
struct ByApp<L> {
    counters: Box<[Counter]>,
    label: std::marker::PhantomData<L>,
}

impl<L: Label> ByApp<L> {
    fn new(apps: usize) -> Self {
        let counters = std::iter::repeat_with(Counter::default);
        Self {
            counters: counters.take(apps * L::ALL.len()).collect(),
            label: std::marker::PhantomData,
        }
    }

    fn of(&self, app: usize, value: L) -> Option<&Counter> {
        self.counters.get(app * L::ALL.len() + value.place())
    }
}

impl Metrics {
    /// Everything at nothing.
    pub fn new(plan: Plan) -> Self {
        Self(Arc::new(Inner {
            blocks: Mutex::default(),
            calls: Calls::new(plan.apis.clone()),
            logins: ByApp::new(plan.apps.len()),
            key_checks: ByApp::new(plan.apps.len()),
            pushes: ByApp::new(plan.apps.len()),
            redis: RedisCounts::default(),
            plan,
        }))
    }

    /// For one worker, on its thread.
    pub fn worker(&self) -> Worker {
        let worker = Worker::new(self.0.plan.routes.len(), self.0.plan.upstreams.len());
        self.0.blocks.lock().push(worker.block());
        worker
    }

    /// For requests to WeChat.
    pub fn calls(&self) -> Calls {
        self.0.calls.clone()
    }

    /// For sessions in Redis.
    pub fn redis(&self) -> RedisCounts {
        self.0.redis.clone()
    }

    /// Somebody wanted to log in.
    pub fn logged_in(&self, app: &AppId, result: LoginResult) {
        self.0.count(&self.0.logins, app, result);
    }

    /// After a failed decryption WeChat was asked about the key, and said this.
    pub fn key_checked(&self, app: &AppId, key: KeyCheck) {
        self.0.count(&self.0.key_checks, app, key);
    }

    /// WeChat pushed something, and this became of it.
    pub fn pushed(&self, app: &AppId, result: PushResult) {
        self.0.count(&self.0.pushes, app, result);
    }
}

impl Inner {
    fn count<L: Label>(&self, counters: &ByApp<L>, app: &AppId, value: L) {
        let app = self.plan.apps.iter().position(|known| known == app);
        if let Some(counter) = app.and_then(|app| counters.of(app, value)) {
            counter.add(1);
        }
    }
}

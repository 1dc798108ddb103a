//! What one worker counts, in memory that no other thread writes. No lock, no hashing, and no
//! allocation but for the first request of its kind.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::telemetry::metrics::count::{Chain, Counter, Histogram};
use crate::telemetry::metrics::label::{DecryptResult, KeyAge, Label, Method, Outcome};

/// Under which line of the route table a request is counted: its place among the labels of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteId(u16);

/// An app server: its place among their labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamId(u16);

impl RouteId {
    /// The route at this place. More than 65536 count together with the last.
    pub fn at(place: usize) -> Self {
        Self(u16::try_from(place).unwrap_or(u16::MAX))
    }
}

impl UpstreamId {
    /// The app server at this place. More than 65536 count together with the last.
    pub fn at(place: usize) -> Self {
        Self(u16::try_from(place).unwrap_or(u16::MAX))
    }
}

/// Requests by method and outcome, for each of some places.
pub(super) type Requests = Box<[Chain<Outcome, Histogram>]>;

/// The counts of one worker.
#[derive(Debug)]
pub(super) struct Block {
    /// By route.
    pub(super) served: Requests,
    /// By app server.
    pub(super) asked: Requests,
    /// By result and key age.
    pub(super) decrypts: Box<[Counter]>,
    pub(super) not_http: Counter,
    pub(super) sessions_unknown: Counter,
    pub(super) headers_stripped: Counter,
}

impl Block {
    fn new(routes: usize, upstreams: usize) -> Self {
        let requests = |places: usize| {
            let chains = std::iter::repeat_with(Chain::default);
            chains.take(places * Method::ALL.len()).collect()
        };
        let decrypts = std::iter::repeat_with(Counter::default);
        Self {
            served: requests(routes),
            asked: requests(upstreams),
            decrypts: decrypts
                .take(DecryptResult::ALL.len() * KeyAge::ALL.len())
                .collect(),
            not_http: Counter::default(),
            sessions_unknown: Counter::default(),
            headers_stripped: Counter::default(),
        }
    }
}

/// Counts for one worker. Stays on its thread: that nobody else writes is what makes it cheap.
pub struct Worker {
    block: Arc<Block>,
    stays_here: PhantomData<*const ()>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Worker(..)")
    }
}

impl Worker {
    pub(super) fn new(routes: usize, upstreams: usize) -> Self {
        Self {
            block: Arc::new(Block::new(routes, upstreams)),
            stays_here: PhantomData,
        }
    }

    pub(super) fn block(&self) -> Arc<Block> {
        Arc::clone(&self.block)
    }

    /// A request of a client is over; status 0 when there was no answer.
    pub fn served(&self, route: RouteId, method: Method, status: u16, took: Duration) {
        let outcome = Outcome::Status(status);
        observe(&self.block.served, route.0, method, (outcome, took));
    }

    /// An app server has answered, or will not.
    pub fn asked(&self, upstream: UpstreamId, method: Method, outcome: Outcome, took: Duration) {
        observe(&self.block.asked, upstream.0, method, (outcome, took));
    }

    /// Somebody wanted something decrypted.
    pub fn decrypted(&self, result: DecryptResult, age: KeyAge) {
        let place = result.place() * KeyAge::ALL.len() + age.place();
        if let Some(counter) = self.block.decrypts.get(place) {
            counter.add_alone(1);
        }
    }

    /// Something came that is no request.
    pub fn not_http(&self) {
        self.block.not_http.add_alone(1);
    }

    /// A token came of which no live session is kept.
    pub fn session_unknown(&self) {
        self.block.sessions_unknown.add_alone(1);
    }

    /// So many identity headers came from a client.
    pub fn headers_stripped(&self, headers: usize) {
        if let Ok(headers @ 1..) = u64::try_from(headers) {
            self.block.headers_stripped.add_alone(headers);
        }
    }
}

fn observe(requests: &Requests, place: u16, method: Method, (outcome, took): (Outcome, Duration)) {
    let last = requests.len() / Method::ALL.len();
    let place = usize::from(place).min(last.saturating_sub(1));
    if let Some(chain) = requests.get(place * Method::ALL.len() + method.place()) {
        chain.of(outcome, Outcome::Other).observe_alone(took);
    }
}

//! What is counted of the requests to WeChat. Off the request path, so threads share the counters.

use std::sync::Arc;
use std::time::Duration;

use crate::telemetry::metrics::count::{Chain, Counter, Histogram};
use crate::telemetry::metrics::label::{Label, Method, Outcome, Said};

/// Counts requests to WeChat. A cheap handle; by default one that nobody reads.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// In order.
    apis: Vec<Api>,
    other: Chain<Said, Counter>,
    /// By method.
    took: [Chain<Outcome, Histogram>; Method::ALL.len()],
}

#[derive(Debug)]
struct Api {
    path: String,
    said: Chain<Said, Counter>,
}

/// An API: its place among those that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiId(Option<usize>);

impl Calls {
    /// For the APIs at these paths. All others count together.
    pub(super) fn new(mut paths: Vec<String>) -> Self {
        paths.sort_unstable();
        paths.dedup();
        let api = |path| Api {
            path,
            said: Chain::default(),
        };
        Self(Arc::new(Inner {
            apis: paths.into_iter().map(api).collect(),
            ..Inner::default()
        }))
    }

    /// The API at this path.
    pub fn api(&self, path: &str) -> ApiId {
        let place = self
            .0
            .apis
            .binary_search_by(|api| api.path.as_str().cmp(path));
        ApiId(place.ok())
    }

    /// A request is over. `status` is there when an answer was.
    pub fn answered(
        &self,
        (api, method): (ApiId, Method),
        status: Option<u16>,
        said: Said,
        took: Duration,
    ) {
        let known = api.0.and_then(|place| self.0.apis.get(place));
        let chain = known.map_or(&self.0.other, |api| &api.said);
        chain.of(said, Said::Other).add(1);
        let outcome = match (status, said) {
            (Some(status), _) => Outcome::Status(status),
            (None, Said::Failure(failure)) => Outcome::Failure(failure),
            (None, Said::Errcode(_) | Said::Other) => Outcome::Other,
        };
        if let Some(chain) = self.0.took.get(method.place()) {
            chain.of(outcome, Outcome::Other).observe(took);
        }
    }

    /// Every count: of which API, and what it said.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&str, Said, u64)> {
        let apis = self.0.apis.iter().map(|api| (api.path.as_str(), &api.said));
        let all = apis.chain([("other", &self.0.other)]);
        all.flat_map(|(path, said)| {
            said.iter()
                .map(move |(said, counter)| (path, said, counter.get()))
        })
    }

    /// How long they took.
    pub(super) fn took(&self) -> impl Iterator<Item = (Method, Outcome, &Histogram)> {
        let by_method = Method::ALL.iter().zip(&self.0.took);
        by_method.flat_map(|(method, chain)| {
            chain
                .iter()
                .map(move |(outcome, histogram)| (*method, outcome, histogram))
        })
    }
}

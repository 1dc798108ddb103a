//! What is counted of sessions in Redis. All at nothing where they are in memory.

use std::sync::Arc;

use crate::telemetry::metrics::count::Counter;
use crate::telemetry::metrics::label::{Label, RedisOperation, RedisResult};

const RESULTS: usize = RedisResult::ALL.len();

/// Counts of one gate. A cheap handle.
#[derive(Clone, Debug, Default)]
pub struct RedisCounts(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    asked: [[Counter; RESULTS]; RedisOperation::ALL.len()],
    emptied: Counter,
}

impl RedisCounts {
    /// Redis was asked for something, and this came of it.
    pub fn asked(&self, operation: RedisOperation, result: RedisResult) {
        let results = self.0.asked.get(operation.place());
        if let Some(counter) = results.and_then(|results| results.get(result.place())) {
            counter.add(1);
        }
    }

    /// Redis has lost what it had.
    pub fn emptied(&self) {
        self.0.emptied.add(1);
    }

    /// How often it has.
    pub(super) fn times_emptied(&self) -> u64 {
        self.0.emptied.get()
    }

    /// Everything that was asked for.
    pub(super) fn all(&self) -> impl Iterator<Item = (RedisOperation, RedisResult, u64)> {
        let rows = RedisOperation::ALL.iter().zip(&self.0.asked);
        rows.flat_map(|(operation, row)| {
            let results = RedisResult::ALL.iter().zip(row);
            results.map(|(result, counter)| (*operation, *result, counter.get()))
        })
    }
}

//! Where numbers are kept: counters, histograms, and series that begin when they are first needed.
//! Says nothing about what is counted.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const NANOS_PER_MICRO: u64 = 1000;
const MICROS_PER_SECOND: u64 = 1_000_000;

/// The buckets of durations: how a scrape writes the upper end, and the same in nanoseconds. From
/// what an app server on the same machine takes to what no client waits for.
pub(super) const BUCKETS: [(&str, u64); 18] = [
    ("0.0001", 100_000),
    ("0.00025", 250_000),
    ("0.0005", 500_000),
    ("0.001", 1_000_000),
    ("0.0025", 2_500_000),
    ("0.005", 5_000_000),
    ("0.01", 10_000_000),
    ("0.025", 25_000_000),
    ("0.05", 50_000_000),
    ("0.1", 100_000_000),
    ("0.25", 250_000_000),
    ("0.5", 500_000_000),
    ("1", NANOS_PER_SECOND),
    ("2.5", 2_500_000_000),
    ("5", 5 * NANOS_PER_SECOND),
    ("10", 10 * NANOS_PER_SECOND),
    ("30", 30 * NANOS_PER_SECOND),
    ("60", 60 * NANOS_PER_SECOND),
];

/// Values of one label that a chain keeps apart. An app server may answer with any status, also with
/// one that a client asked it for; real ones use fewer than that.
const MAX_LINKS: usize = 64;

/// A number that goes up.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// For a counter that only this thread writes: no other is kept from its memory.
    pub(super) fn add_alone(&self, more: u64) {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before.wrapping_add(more), Ordering::Relaxed);
    }

    /// For a counter that several threads write.
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// What it has come to.
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long something took, by buckets. On cache lines of its own, for workers write side by side.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Histogram {
    buckets: [Counter; BUCKETS.len() + 1],
    /// All of them together. Nanoseconds would be used up within days of many long streams.
    micros: Counter,
}

impl Histogram {
    /// For a histogram that only this thread writes.
    pub(super) fn observe_alone(&self, duration: Duration) {
        self.observe_by(duration, Counter::add_alone);
    }

    /// For a histogram that several threads write.
    pub(super) fn observe(&self, duration: Duration) {
        self.observe_by(duration, Counter::add);
    }

    fn observe_by(&self, duration: Duration, add: impl Fn(&Counter, u64)) {
        let seconds = duration.as_secs().wrapping_mul(NANOS_PER_SECOND);
        let nanos = seconds.wrapping_add(duration.subsec_nanos().into());
        let bucket = BUCKETS.iter().position(|&(_, end)| nanos <= end);
        if let Some(bucket) = self.buckets.get(bucket.unwrap_or(BUCKETS.len())) {
            add(bucket, 1);
        }
        add(&self.micros, nanos / NANOS_PER_MICRO);
    }
}

/// Histograms added up.
#[derive(Clone, Debug, Default)]
pub(super) struct Distribution {
    buckets: [u64; BUCKETS.len() + 1],
    micros: u64,
}

impl Distribution {
    pub(super) fn add(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum = sum.wrapping_add(bucket.get());
        }
        self.micros = self.micros.wrapping_add(histogram.micros.get());
    }

    /// Each bucket's upper end, and how many took no longer than that.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let ends = BUCKETS.iter().map(|&(end, _)| end).chain(["+Inf"]);
        let mut below: u64 = 0;
        ends.zip(&self.buckets).map(move |(end, bucket)| {
            below = below.wrapping_add(*bucket);
            (end, below)
        })
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, it| sum.wrapping_add(*it))
    }

    /// How long they took together: seconds, and microseconds beside.
    pub(super) fn sum(&self) -> (u64, u64) {
        (
            self.micros / MICROS_PER_SECOND,
            self.micros % MICROS_PER_SECOND,
        )
    }
}

/// Series that differ in one label. Each begins when it is first needed, and then stays; after so
/// many, further ones count together. Made for few: they are looked through one after the other.
#[derive(Debug)]
pub(super) struct Chain<K, V>(OnceLock<Box<Link<K, V>>>);

#[derive(Debug)]
struct Link<K, V> {
    key: K,
    value: V,
    next: Chain<K, V>,
}

impl<K, V> Default for Chain<K, V> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<K: Copy + Eq, V: Default> Chain<K, V> {
    /// The series of this key; of `beyond` when there is no place for another.
    pub(super) fn of(&self, key: K, beyond: K) -> &V {
        let mut link = self.begin(key);
        for place in 1..=MAX_LINKS {
            if link.key == key {
                return &link.value;
            }
            link = link
                .next
                .begin(if place < MAX_LINKS { key } else { beyond });
        }
        &link.value
    }

    fn begin(&self, key: K) -> &Link<K, V> {
        self.0.get_or_init(|| {
            Box::new(Link {
                key,
                value: V::default(),
                next: Self::default(),
            })
        })
    }

    /// All that have begun.
    pub(super) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        let links = std::iter::successors(self.0.get(), |link| link.next.0.get());
        links.map(|link| (link.key, &link.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        // What is less than a microsecond is cut off of each.
        let histogram = Histogram::default();
        for nanos in [0, 100_000, 100_001, 59_999_999_999, 60_000_000_001] {
            histogram.observe_alone(Duration::from_nanos(nanos));
        }
        histogram.observe(Duration::from_hours(1));
        let mut sum = Distribution::default();
        sum.add(&histogram);
        let cumulative: Vec<_> = sum.cumulative().collect();
        assert_eq!(cumulative[..2], [("0.0001", 2), ("0.00025", 3)]);
        assert_eq!(cumulative[16..], [("30", 3), ("60", 4), ("+Inf", 6)]);
        assert_eq!(sum.count(), 6);
        assert_eq!(sum.sum(), (3720, 199));
    }

    #[test]
    fn the_text_of_a_bucket_is_its_upper_end_and_ends_go_up() {
        for (text, nanos) in BUCKETS {
            let end = Duration::from_secs_f64(text.parse().unwrap());
            assert_eq!(end, Duration::from_nanos(nanos), "{text}");
        }
        assert!(BUCKETS.is_sorted_by(|one, next| one.1 < next.1));
    }

    #[test]
    fn a_chain_keeps_so_many_apart_and_loses_none() {
        let chain = Chain::<usize, Counter>::default();
        for _ in 0..2 {
            for key in 0..1000 {
                chain.of(key, usize::MAX).add_alone(1);
            }
        }
        let series: Vec<_> = chain
            .iter()
            .map(|(key, value)| (key, value.get()))
            .collect();
        assert_eq!(series.len(), MAX_LINKS + 1);
        assert_eq!(series[..2], [(0, 2), (1, 2)]);
        assert_eq!(series[MAX_LINKS], (usize::MAX, 2 * (1000 - 64)));
    }
}

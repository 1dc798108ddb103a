//! The whole gate in stories that chance writes: clients, an app server, WeChat and the clock in one
//! thread, over a network that delays, cuts up and breaks off. Everything comes out of one number, so a
//! story that goes wrong can be played again, with all its steps told:
//!
//! ```text
//! WXGATE_SEED=4711 cargo test --test it simulation
//! ```
//!
//! `WXGATE_SEEDS=100000` plays that many.

mod app;
mod asking;
mod client;
mod dice;
mod ledger;
mod net;
mod sessions;
mod streams;
mod wechat;
mod wire;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::simulation::ledger::Counts;

/// Stories in an ordinary run, and in one with `tests/run --long`.
const SEEDS: u64 = 1500;
const SEEDS_OF_A_LONG_RUN: u64 = 100_000;

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn seeds() -> std::ops::Range<u64> {
    if let Some(seed) = number_of("WXGATE_SEED") {
        return seed..seed + 1;
    }
    let long = std::env::var_os("WXGATE_TESTS_LONG").is_some();
    let usual = if long { SEEDS_OF_A_LONG_RUN } else { SEEDS };
    0..number_of("WXGATE_SEEDS").unwrap_or(usual)
}

/// Plays a story again that went wrong, and tells it.
fn tell(seed: u64, text: &str) -> String {
    let again = world::play(seed, true);
    let same = again.violation.as_deref() == Some(text);
    format!(
        "{}\nseed {seed}: {text}{}\nplay it again: WXGATE_SEED={seed} cargo test --test it simulation",
        again.trace.join("\n"),
        if same { "" } else { " (not the second time)" },
    )
}

#[test]
fn whatever_happens_identity_is_true_and_nothing_is_sent_twice_mixed_up_or_left() {
    let seeds = seeds();
    let next = AtomicU64::new(seeds.start);
    let (counts, wrong) = (Mutex::new(Counts::default()), Mutex::new(None));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let play_on = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) || wrong.lock().is_some() {
                return;
            }
            let outcome = world::play(seed, false);
            *counts.lock() += outcome.counts;
            if let Some(text) = outcome.violation {
                wrong.lock().get_or_insert((seed, text));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(play_on);
        }
    });
    if let Some((seed, text)) = wrong.into_inner() {
        panic!("{}", tell(seed, &text));
    }
    if seeds.end - seeds.start >= SEEDS {
        let counts = counts.into_inner();
        let rare = [
            counts.served,
            counts.identified,
            counts.refused,
            counts.logins,
            counts.same_again,
            counts.failed,
            counts.broken,
            counts.gone,
            counts.repeated,
            counts.evicted,
            counts.ran_out,
            counts.logouts,
            counts.over_http2,
        ];
        // Stories in which nothing happens would show nothing.
        assert!(rare.into_iter().all(|count| count > 20), "{counts:?}");
    }
}

#[test]
fn a_story_is_the_same_whenever_it_is_played() {
    for seed in 0..20 {
        let (first, second) = (world::play(seed, true), world::play(seed, true));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert!(!first.trace.is_empty());
    }
}

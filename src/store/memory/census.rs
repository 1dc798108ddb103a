//! How many sessions each mini program has, without looking at them all: it is asked again and again.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::domain::id::AppId;

/// Counts by mini program. Grows to one for each that has ever had a session, which are those that
/// are configured.
#[derive(Debug, Default)]
pub(in crate::store) struct Census(RwLock<Vec<(AppId, AtomicU64)>>);

impl Census {
    /// A session of this mini program has come.
    pub(in crate::store) fn came(&self, app: &AppId) {
        let counts = self.0.read();
        if let Some(count) = find(&counts, app) {
            count.fetch_add(1, Ordering::Relaxed);
            return;
        }
        drop(counts);
        let mut counts = self.0.write();
        // Somebody may have been quicker.
        match find(&counts, app) {
            Some(count) => drop(count.fetch_add(1, Ordering::Relaxed)),
            None => counts.push((app.clone(), AtomicU64::new(1))),
        }
    }

    /// A session of this mini program has gone.
    pub(in crate::store) fn went(&self, app: &AppId) {
        if let Some(count) = find(&self.0.read(), app) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many there are.
    pub(in crate::store) fn take(&self) -> Vec<(AppId, u64)> {
        let counts = self.0.read();
        let counts = counts.iter();
        counts
            .map(|(app, count)| (app.clone(), count.load(Ordering::Relaxed)))
            .collect()
    }
}

fn find<'a>(counts: &'a [(AppId, AtomicU64)], app: &AppId) -> Option<&'a AtomicU64> {
    let known = counts.iter().find(|(known, _)| known == app);
    known.map(|(_, count)| count)
}

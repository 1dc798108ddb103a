//! A map that keeps the most recently used entries and forgets the others: what strangers can fill
//! must have an end. Knows nothing of what it keeps.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// At most so many entries, those used last.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    max: usize,
    /// Grows with every use.
    uses: u64,
    /// Each entry with its last use.
    entries: HashMap<K, (u64, V)>,
    /// The keys by last use: has exactly those of `entries`.
    by_use: BTreeMap<u64, K>,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            uses: 0,
            entries: HashMap::new(),
            by_use: BTreeMap::new(),
        }
    }

    /// The entry, if it is still there.
    pub(super) fn get<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let (last, value) = self.entries.get_mut(key)?;
        self.uses += 1;
        if let Some(key) = self.by_use.remove(last) {
            self.by_use.insert(self.uses, key);
        }
        *last = self.uses;
        Some(value)
    }

    /// The entry, made when it is not there.
    pub(super) fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        self.uses += 1;
        match self.entries.get(&key) {
            Some((last, _value)) => {
                self.by_use.remove(last);
            }
            None => self.make_room(),
        }
        self.by_use.insert(self.uses, key.clone());
        let (last, value) = self.entries.entry(key).or_insert_with(|| (0, make()));
        *last = self.uses;
        value
    }

    fn make_room(&mut self) {
        while self.entries.len() >= self.max
            && let Some((_use, oldest)) = self.by_use.pop_first()
        {
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_used_longest_ago_makes_room() {
        let mut recent = Recent::new(2);
        recent.get_or_insert_with("a", || 1);
        recent.get_or_insert_with("b", || 2);
        assert_eq!(recent.get("a"), Some(&mut 1));
        recent.get_or_insert_with("c", || 3);
        assert_eq!(recent.get("a"), Some(&mut 1));
        assert_eq!(recent.get("b"), None);
        assert_eq!(recent.get("c"), Some(&mut 3));
        assert_eq!((recent.entries.len(), recent.by_use.len()), (2, 2));
    }

    #[test]
    fn an_entry_that_is_there_is_not_made_again() {
        let mut recent = Recent::new(2);
        *recent.get_or_insert_with("a", || 1) += 1;
        assert_eq!(recent.get_or_insert_with("a", || 7), &mut 2);
    }
}

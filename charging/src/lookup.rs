//! A table that is asked for single keys: hashed, since each step down a tree of strings is a wait for memory.
//!
//! Invariant: the order in which it holds its rows shows nowhere, so replicas with other hash seeds do the same. Who
//! wants all rows says what he does with them in any order, or has them sorted.

use foldhash::fast::RandomState;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Lookup<K, V> {
    /// Seeded anew in each process: nobody can choose ids that meet.
    rows: HashMap<K, V, RandomState>,
}

impl<K, V> Default for Lookup<K, V> {
    fn default() -> Lookup<K, V> {
        Lookup { rows: HashMap::default() }
    }
}

impl<K: Hash + Eq + Ord, V> Lookup<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.rows.get(key)
    }

    pub(crate) fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.rows.get_mut(key)
    }

    pub(crate) fn contains_key<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.rows.contains_key(key)
    }

    pub(crate) fn insert(&mut self, key: K, row: V) -> Option<V> {
        self.rows.insert(key, row)
    }

    pub(crate) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.rows.remove(key)
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
    }

    /// All rows by their keys' order. Takes time in proportion to them.
    pub(crate) fn sorted(&self) -> impl Iterator<Item = &V> {
        let mut rows: Vec<(&K, &V)> = self.rows.iter().collect();
        rows.sort_unstable_by_key(|(key, _)| *key);
        rows.into_iter().map(|(_, row)| row)
    }

    /// What becomes of all rows, where their order does not matter: a count, a sum that cannot overflow.
    pub(crate) fn fold_unordered<T>(&self, start: T, step: impl FnMut(T, &V) -> T) -> T {
        self.rows.values().fold(start, step)
    }
}

impl<K: Hash + Eq, V> FromIterator<(K, V)> for Lookup<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(rows: I) -> Lookup<K, V> {
        Lookup { rows: rows.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_and_come_in_the_order_of_their_keys() {
        let mut table: Lookup<Box<str>, u32> =
            (0..100).rev().map(|number| (format!("{number:03}").into(), number)).collect();
        assert_eq!((table.len(), table.get("042"), table.get("100")), (100, Some(&42), None));
        assert_eq!(table.sorted().copied().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
        assert_eq!(table.fold_unordered(0, |sum, number| sum + number), 4_950);
        assert_eq!(table.remove("042"), Some(42));
        assert!(!table.contains_key("042"));
        assert_eq!(table.insert("042".into(), 7), None);
        *table.get_mut("042").expect("just inserted") += 1;
        assert_eq!(table.get("042"), Some(&8));
    }
}

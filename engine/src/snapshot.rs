//! A view of the store that never changes, for any thread but the shard's own.
//!
//! Invariants: two reads of one snapshot agree, whatever is written, flushed or compacted meanwhile;
//! what a snapshot refers to stays on disk until the last clone of it is gone.

use crate::entry::Entry;
use crate::error::Error;
use crate::memtable::MemRun;
use crate::merge::{LevelIter, Merge, Source};
use crate::options::LEVELS;
use crate::table::{Direction, Found, KeyRange, internal_key};
use crate::version::Version;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

/// A consistent view of the whole store. Cloning it costs a reference count.
#[derive(Clone)]
pub struct Snapshot {
    inner: Arc<Inner>,
}

struct Inner {
    mark: u64,
    keyspaces: u8,
    /// Newest first.
    runs: Vec<Arc<MemRun>>,
    version: Arc<Version>,
}

impl Snapshot {
    pub(crate) fn new(
        mark: u64,
        keyspaces: u8,
        runs: Vec<Arc<MemRun>>,
        version: Arc<Version>,
    ) -> Snapshot {
        Snapshot { inner: Arc::new(Inner { mark, keyspaces, runs, version }) }
    }

    /// Up to which entry of the log this view is complete.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.inner.mark
    }

    fn check(&self, keyspace: u8) -> Result<(), Error> {
        let count = self.inner.keyspaces;
        if keyspace < count { Ok(()) } else { Err(Error::KeyspaceUnknown { keyspace, count }) }
    }

    /// The value of a key. May read files: not for a shard's thread.
    ///
    /// # Errors
    /// When a file cannot be read, a block is damaged, or there is no such keyspace.
    pub fn get(&self, ks: u8, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.check(ks)?;
        let inner = &*self.inner;
        for run in &inner.runs {
            if let Some(value) = run.map(ks).and_then(|map| map.get(key)) {
                return Ok(value.clone());
            }
        }
        let key = internal_key(ks, key);
        let level0 = inner.version.level(0).iter();
        let below = (1..LEVELS).filter_map(|level| inner.version.holder(level, &key));
        for table in level0.chain(below) {
            match table.get(&key)? {
                Found::Entry(hit) => {
                    return Ok(match hit.entry() {
                        Entry::Put { value, .. } => Some(value.to_vec()),
                        _ => None,
                    });
                }
                Found::Covered => return Ok(None),
                Found::Absent => {}
            }
        }
        Ok(None)
    }

    /// Keys from `from`, to and without `to`, in order. May read files: not for a shard's thread.
    /// An unknown keyspace is an error in the first item; an error ends the scan.
    #[must_use]
    pub fn range(&self, ks: u8, from: &[u8], to: Option<&[u8]>) -> Range<'_> {
        self.scan(ks, from, to, Direction::Forward)
    }

    /// As [`Snapshot::range`], from the last key to the first.
    #[must_use]
    pub fn range_rev(&self, ks: u8, from: &[u8], to: Option<&[u8]>) -> Range<'_> {
        self.scan(ks, from, to, Direction::Backward)
    }

    /// Keys that begin with `prefix`, in order.
    #[must_use]
    pub fn prefix(&self, ks: u8, prefix: &[u8]) -> Range<'_> {
        self.range(ks, prefix, prefix_end(prefix).as_deref())
    }

    /// Keys that begin with `prefix`, from the last to the first.
    #[must_use]
    pub fn prefix_rev(&self, ks: u8, prefix: &[u8]) -> Range<'_> {
        self.range_rev(ks, prefix, prefix_end(prefix).as_deref())
    }

    fn scan(&self, ks: u8, from: &[u8], to: Option<&[u8]>, direction: Direction) -> Range<'_> {
        if let Err(error) = self.check(ks) {
            return Range { merge: Merge::new(Vec::new(), direction), refused: Some(error) };
        }
        // A range that ends before it begins is empty; the maps would panic on it.
        if to.is_some_and(|to| to <= from) {
            return Range { merge: Merge::new(Vec::new(), direction), refused: None };
        }
        let inner = &*self.inner;
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        let mut sources: Vec<Source<'_>> = Vec::new();
        for map in inner.runs.iter().filter_map(|run| run.map(ks)) {
            let entries = map.range::<[u8], _>(bounds);
            sources.push(Source::Memory { keyspace: ks, entries });
        }
        let keyspace_end = || ks.checked_add(1).map(|next| vec![next]);
        let to = to.map(|to| internal_key(ks, to)).or_else(keyspace_end);
        let range = Arc::new(KeyRange { from: internal_key(ks, from), to });
        for table in inner.version.level(0).iter().filter(|table| range.touches(table.meta())) {
            sources.push(Source::Table(table.iter(Arc::clone(&range), direction, true)));
        }
        for level in 1..LEVELS {
            let tables = inner.version.touched(level, &range);
            if !tables.is_empty() {
                let range = Arc::clone(&range);
                sources.push(Source::Level(LevelIter::new(tables, range, direction, true)));
            }
        }
        Range { merge: Merge::new(sources, direction), refused: None }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("mark", &self.inner.mark).finish_non_exhaustive()
    }
}

/// The first key past all those that begin with `prefix`; none when there is no such key.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

/// A scan: keys and values, newest versions only, deleted keys left out. Ends after the first error.
pub struct Range<'a> {
    merge: Merge<'a>,
    refused: Option<Error>,
}

impl Iterator for Range<'_> {
    type Item = Result<(Vec<u8>, Vec<u8>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.refused.take() {
            return Some(Err(error));
        }
        loop {
            match self.merge.next()? {
                Ok(entry) => {
                    if let Some(value) = entry.value().map(<[u8]>::to_vec) {
                        return Some(Ok((entry.into_key(), value)));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl fmt::Debug for Range<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Range").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_first_key_past_it() {
        assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_end(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(prefix_end(b"\xff\xff"), None);
        assert_eq!(prefix_end(b""), None);
    }
}

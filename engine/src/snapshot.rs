//! A view of the store that never changes, for any thread.
//!
//! Invariants: two reads of one snapshot agree, whatever is written, flushed or compacted meanwhile;
//! what a snapshot refers to stays on disk until the last clone of it is gone.

use crate::entry::{BlobRef, Entry};
use crate::error::Error;
use crate::lookup::{Files, Step, look_up};
use crate::memtable::MemRun;
use crate::merge::{Merge, Rules, Source, Verdict};
use crate::options::{Compaction, LEVELS, Options};
use crate::resident::{Fetch, Fetches, Resident};
use crate::table::{Direction, KeyRange, internal_key};
use crate::version::Version;
use std::fmt;
use std::sync::Arc;

/// A consistent view of the whole store. Cloning it costs a reference count.
#[derive(Clone)]
pub struct Snapshot {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) mark: u64,
    /// By which entries expire.
    pub(crate) clock_s: u64,
    pub(crate) options: Arc<Options>,
    /// Newest first.
    pub(crate) runs: Vec<Arc<MemRun>>,
    pub(crate) version: Arc<Version>,
    /// What look-ups without files are having fetched.
    pub(crate) fetches: Fetches,
}

impl Snapshot {
    pub(crate) fn new(inner: Inner) -> Snapshot {
        Snapshot { inner: Arc::new(inner) }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Up to which entry of the log this view is complete.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.inner.mark
    }

    /// The clock by which keys expire in this view.
    #[must_use]
    pub fn time_s(&self) -> u64 {
        self.inner.clock_s
    }

    fn check(&self, keyspace: u8) -> Result<(), Error> {
        let count = self.inner.options.keyspaces;
        if keyspace < count { Ok(()) } else { Err(Error::KeyspaceUnknown { keyspace, count }) }
    }

    /// The value of a key. May read files: not for a shard's thread.
    ///
    /// # Errors
    /// When a file cannot be read, a block is damaged, or there is no such keyspace.
    pub fn get(&self, ks: u8, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.check(ks)?;
        match look_up(&self.inner, ks, key, Files::Read)? {
            Step::Done(value) => Ok(value),
            Step::Older | Step::Need => Ok(None),
        }
    }

    /// As [`Snapshot::get`], for a thread that may not wait for files: reads none, and says what to fetch where that
    /// does not do. After [`Fetch::run`], on any thread, the same question to the same view has its answer for as long
    /// as the [`Fetch`] lives, however small the cache.
    ///
    /// # Errors
    /// When a block is damaged, or there is no such keyspace.
    pub fn get_resident(&self, ks: u8, key: &[u8]) -> Result<Resident, Error> {
        self.check(ks)?;
        if let Some(answer) = self.inner.fetches.answer(ks, key) {
            return Ok(answer.map_or(Resident::Absent, Resident::Value));
        }
        Ok(match look_up(&self.inner, ks, key, Files::LeaveAlone)? {
            Step::Done(Some(value)) => Resident::Value(value),
            Step::Done(None) | Step::Older => Resident::Absent,
            Step::Need => Resident::Need(Fetch::new(self, ks, key)),
        })
    }

    /// The values of many keys, in the order of the keys. May read files: not for a shard's thread.
    ///
    /// # Errors
    /// As [`Snapshot::get`], of the first key that has one.
    pub fn multi_get<K: AsRef<[u8]>>(
        &self,
        ks: u8,
        keys: &[K],
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        self.check(ks)?;
        // Neighbours share blocks: in key order each is found in the cache by the next.
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_by(|&a, &b| keys[a].as_ref().cmp(keys[b].as_ref()));
        let mut values = vec![None; keys.len()];
        for at in order {
            values[at] = self.get(ks, keys[at].as_ref())?;
        }
        Ok(values)
    }

    /// Keys from `from`, to and without `to`, in order. May read files: not for a shard's thread.
    /// An unknown keyspace is an error in the first item; an error ends the scan.
    #[must_use]
    pub fn range(&self, ks: u8, from: &[u8], to: Option<&[u8]>) -> Range<'_> {
        self.scan(ks, from, to, Direction::Forward, None)
    }

    /// As [`Snapshot::range`], from the last key to the first.
    #[must_use]
    pub fn range_rev(&self, ks: u8, from: &[u8], to: Option<&[u8]>) -> Range<'_> {
        self.scan(ks, from, to, Direction::Backward, None)
    }

    /// As [`Snapshot::range`], for a keyspace in windows: the keys of those windows alone that hold any of the times
    /// from `time_from`, to and without `time_to`. Tables of other windows are not read. In a keyspace in
    /// levels, all keys of the range.
    #[must_use]
    pub fn range_in_time(
        &self,
        ks: u8,
        from: &[u8],
        to: Option<&[u8]>,
        time_from: u64,
        time_to: u64,
    ) -> Range<'_> {
        let window = self.inner.options.compaction(ks).window().unwrap_or(1).max(1);
        let last = time_to.saturating_sub(1) / window;
        let windows = if time_from < time_to { (time_from / window, last) } else { (1, 0) };
        self.scan(ks, from, to, Direction::Forward, Some(windows))
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

    fn scan(
        &self,
        ks: u8,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction,
        windows: Option<(u64, u64)>,
    ) -> Range<'_> {
        let inner = &*self.inner;
        let refused = self.check(ks).err();
        if refused.is_some() || to.is_some_and(|to| to <= from) {
            return Range::new(inner, ks, Vec::new(), direction, refused);
        }
        let keyspace_end = || ks.checked_add(1).map(|next| vec![next]);
        let end = to.map(|to| internal_key(ks, to)).or_else(keyspace_end);
        let range = Arc::new(KeyRange { from: internal_key(ks, from), to: end });
        let mut sources: Vec<Source<'_>> = Vec::new();
        for run in &inner.runs {
            sources.push(Source::memory(run, run.cursor(ks, from, to, direction)));
        }
        if let Compaction::TimeWindow { .. } = inner.options.compaction(ks) {
            let (first, last) = windows.unwrap_or((0, u64::MAX));
            for (window, tables) in inner.version.windows_of(ks, first, last) {
                let touched = tables.iter().filter(|ranked| range.touches(ranked.table.meta()));
                sources.extend(touched.map(|ranked| {
                    let table = std::slice::from_ref(&ranked.table);
                    Source::tables(table, &range, direction, true).in_window(window)
                }));
            }
        }
        for table in inner.version.level(0).iter().filter(|table| range.touches(table.meta())) {
            sources.push(Source::tables(std::slice::from_ref(table), &range, direction, true));
        }
        for level in 1..LEVELS {
            let tables = inner.version.touched(level, &range);
            if !tables.is_empty() {
                sources.push(Source::tables(tables, &range, direction, true));
            }
        }
        let windows = windows.filter(|_| inner.options.compaction(ks).window().is_some());
        Range { windows, ..Range::new(inner, ks, sources, direction, None) }
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

/// Where the value of a scan's item is.
#[derive(Clone, Copy)]
enum At {
    Source,
    Buffer,
}

/// A key and its value.
pub type KeyValue<'a> = (&'a [u8], &'a [u8]);

/// A scan: keys and values as they are now; deleted and expired keys are left out. Ends after the first error.
pub struct Range<'a> {
    inner: &'a Inner,
    merge: Merge<'a>,
    keyspace: u8,
    /// Keys of other windows do not show: what there is of them in tables was not looked at.
    windows: Option<(u64, u64)>,
    buffer: Vec<u8>,
    at: At,
    refused: Option<Error>,
}

impl<'a> Range<'a> {
    fn new(
        inner: &'a Inner,
        keyspace: u8,
        sources: Vec<Source<'a>>,
        direction: Direction,
        refused: Option<Error>,
    ) -> Range<'a> {
        let merge = Merge::new(sources, direction, Some(keyspace));
        Range { inner, merge, keyspace, windows: None, buffer: Vec::new(), at: At::Source, refused }
    }

    /// Steps to the next key that has a value; false at the end.
    fn step(&mut self) -> Result<bool, Error> {
        if let Some(error) = self.refused.take() {
            return Err(error);
        }
        let inner = self.inner;
        let rules = Rules { options: &inner.options, clock_s: inner.clock_s };
        while self.merge.advance()? {
            if let Some((first, last)) = self.windows {
                let window = inner.options.compaction(self.keyspace).window_of(self.merge.key());
                if window.is_some_and(|window| window < first || window > last) {
                    continue;
                }
            }
            let keyspace = self.keyspace;
            let read_blob = |at: BlobRef, key: &[u8]| {
                inner.version.blob(at.file)?.get(&at, &internal_key(keyspace, key))
            };
            match self.merge.resolve(&rules, true, read_blob, &mut self.buffer)? {
                Verdict::Absent => continue,
                Verdict::Folded | Verdict::Operands => self.at = At::Buffer,
                Verdict::Newest => {
                    self.at = At::Source;
                    if let Entry::Blob { at, .. } = self.merge.newest() {
                        self.buffer.clear();
                        self.buffer.extend_from_slice(&read_blob(at, self.merge.key())?);
                        self.at = At::Buffer;
                    }
                }
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// The next key and value, borrowed until the next call: for who looks and goes on. None at the end.
    pub fn next_entry(&mut self) -> Option<Result<KeyValue<'_>, Error>> {
        match self.step() {
            Ok(true) => {
                let value = match self.at {
                    At::Source => match self.merge.newest() {
                        Entry::Put { value, .. } => value,
                        _ => &[],
                    },
                    At::Buffer => &self.buffer,
                };
                Some(Ok((self.merge.key(), value)))
            }
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

impl Iterator for Range<'_> {
    type Item = Result<(Vec<u8>, Vec<u8>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let owned = |(key, value): KeyValue<'_>| (key.to_vec(), value.to_vec());
        self.next_entry().map(|item| item.map(owned))
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

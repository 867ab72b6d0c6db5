//! One key through all runs of a view, from the newest to the oldest, until one decides.
//!
//! Invariant: with [`Files::LeaveAlone`] nothing here touches a file.

use crate::entry::{BlobRef, Entry};
use crate::error::Error;
use crate::merge::fold;
use crate::options::LEVELS;
use crate::snapshot::Inner;
use crate::table::filter;
use crate::table::{Found, Probe, Table, internal_key};
use std::sync::Arc;

/// Whether a look-up may read files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Files {
    Read,
    LeaveAlone,
}

/// What a run adds to a look-up.
#[derive(Debug)]
pub(crate) enum Step {
    /// Older runs decide.
    Older,
    Done(Option<Vec<u8>>),
    /// A file would have to be read.
    Need,
}

/// What is known of a key on the way from newer runs to older ones.
struct LookUp<'a> {
    inner: &'a Inner,
    keyspace: u8,
    key: &'a [u8],
    files: Files,
    /// Newest first.
    operands: Vec<Vec<u8>>,
}

impl LookUp<'_> {
    /// Takes in what a run says of the key; `is_cut`: the run deletes the key in older ones.
    fn take(&mut self, entry: Option<Entry<'_>>, is_cut: bool) -> Result<Step, Error> {
        match entry {
            None if is_cut => self.done(None),
            None => Ok(Step::Older),
            Some(Entry::Merge { operand }) => {
                self.operands.push(operand.to_vec());
                if is_cut { self.done(None) } else { Ok(Step::Older) }
            }
            Some(entry) if entry.expires().is_due(self.inner.clock_s) => self.done(None),
            Some(Entry::Tombstone) => self.done(None),
            Some(Entry::Put { value, .. }) => self.done(Some(value)),
            Some(Entry::Blob { at, .. }) => self.take_blob(at),
        }
    }

    fn take_blob(&mut self, at: BlobRef) -> Result<Step, Error> {
        let blob = self.inner.version.blob(at.file)?;
        if self.files == Files::Read {
            let value = blob.get(&at, &internal_key(self.keyspace, self.key))?;
            return self.done(Some(&value));
        }
        match blob.get_resident(&at) {
            Some(value) => self.done(Some(&value)),
            None => Ok(Step::Need),
        }
    }

    /// Lays the operands over what they apply to.
    fn done(&self, base: Option<&[u8]>) -> Result<Step, Error> {
        if self.operands.is_empty() {
            return Ok(Step::Done(base.map(<[u8]>::to_vec)));
        }
        let keyspace = self.keyspace;
        let operator = self.inner.options.merge_operator(keyspace);
        let operator = operator.ok_or(Error::MergeOperatorMissing { keyspace })?;
        Ok(Step::Done(Some(fold(operator, self.key, base, &self.operands))))
    }

    fn take_memory(&mut self) -> Result<Step, Error> {
        let inner = self.inner;
        for run in &inner.runs {
            let is_cut = run.ranges().covers(self.keyspace, self.key);
            let step = self.take(run.get(self.keyspace, self.key), is_cut)?;
            if !matches!(step, Step::Older) {
                return Ok(step);
            }
        }
        Ok(Step::Older)
    }

    fn take_table(
        &mut self,
        table: &Arc<Table>,
        internal: &[u8],
        hash: u64,
    ) -> Result<Step, Error> {
        let found = match self.files {
            Files::Read => table.get_hashed(internal, hash)?,
            Files::LeaveAlone => match table.get_resident_hashed(internal, hash)? {
                Probe::Found(found) => found,
                Probe::Need(_) => return Ok(Step::Need),
            },
        };
        match found {
            Found::Absent => Ok(Step::Older),
            Found::Covered => self.take(None, true),
            Found::Entry(hit) => {
                let entry = hit.entry();
                // The table is open by now: its range deletes are in memory.
                let is_cut = matches!(entry, Entry::Merge { .. })
                    && table.meta().ranges > 0
                    && table.ranges()?.iter().any(|range| range.covers(internal));
                self.take(Some(entry), is_cut)
            }
        }
    }

    fn take_tables(&mut self) -> Result<Step, Error> {
        let inner = self.inner;
        let internal = internal_key(self.keyspace, self.key);
        let hash = filter::hash(&internal);
        let window = inner.options.compaction(self.keyspace).window_of(self.key);
        let window = window.map_or(&[][..], |window| inner.version.window(self.keyspace, window));
        let level0 = inner.version.level(0).iter();
        let below = (1..LEVELS).filter_map(|level| inner.version.holder(level, &internal));
        for table in window.iter().map(|ranked| &ranked.table).chain(level0).chain(below) {
            let step = self.take_table(table, &internal, hash)?;
            if !matches!(step, Step::Older) {
                return Ok(step);
            }
        }
        // No run is left: what there is to merge is merged into nothing.
        self.done(None)
    }
}

/// Looks a key up. Never ends with [`Step::Older`].
pub(crate) fn look_up(
    inner: &Inner,
    keyspace: u8,
    key: &[u8],
    files: Files,
) -> Result<Step, Error> {
    let mut look_up = LookUp { inner, keyspace, key, files, operands: Vec::new() };
    match look_up.take_memory()? {
        Step::Older => look_up.take_tables(),
        step => Ok(step),
    }
}

//! Reads all of a table and checks what the checksums do not: order, counts, filters, hash indexes, extents.
//!
//! Invariants: every damaged block is a finding of its own, and the rest is checked all the same; what only shows
//! in the table as a whole is looked at when every block was whole.

use super::block::{BlockCursor, Layout};
use super::cache::Partition;
use super::props::{Props, last_before};
use super::reader::{Loaded, Table};
use super::{BlockRef, filter};
use crate::entry::{Entry, Expires};
use crate::error::Error;
use std::collections::BTreeMap;

/// What a check of one table found.
#[derive(Debug, Default)]
pub(crate) struct TableCheck {
    /// Data blocks found whole.
    pub(crate) blocks: u64,
    /// Entries in them.
    pub(crate) entries: u64,
    pub(crate) problems: Vec<Error>,
}

/// Findings of one table: more say nothing new, and a report has a bound.
const PROBLEMS_MAX: usize = 1000;

/// Counts while walking over the table.
struct Walk<'a> {
    table: &'a Table,
    loaded: &'a Loaded,
    counted: Props,
    blobs: BTreeMap<u64, u64>,
    last_key: Vec<u8>,
    next_offset: u64,
    report: TableCheck,
}

impl Table {
    /// Reads everything, past the cache.
    pub(crate) fn check(&self) -> TableCheck {
        let loaded = match self.loaded() {
            Ok(loaded) => loaded,
            Err(error) => return TableCheck { problems: vec![error], ..TableCheck::default() },
        };
        let counted = Props {
            expires_min: Expires::NEVER.0,
            expires_max: Expires::NEVER.0,
            ..Props::default()
        };
        let mut walk = Walk {
            table: self,
            loaded,
            counted,
            blobs: BTreeMap::new(),
            last_key: Vec::new(),
            next_offset: 0,
            report: TableCheck::default(),
        };
        for at in 0..loaded.root.len() {
            if walk.report.problems.len() >= PROBLEMS_MAX {
                break;
            }
            if let Err(error) = walk.part(at) {
                walk.report.problems.push(error);
            }
        }
        if walk.report.problems.is_empty()
            && let Err(what) = walk.whole()
        {
            walk.report.problems.push(self.damage(0, what));
        }
        walk.report
    }
}

impl Walk<'_> {
    fn part(&mut self, part_at: usize) -> Result<(), Error> {
        let (table, loaded) = (self.table, self.loaded);
        let refs = loaded.root.reference(part_at);
        let offset = refs.map_or(0, |refs| refs.filter.offset);
        let part = table.read_part(loaded, part_at);
        // Where the next partition's blocks begin is known, whether this one can be read or not.
        let start = std::mem::replace(
            &mut self.next_offset,
            refs.and_then(|refs| refs.index.end()).unwrap_or(u64::MAX),
        );
        let (_, part) = part?;
        if part.index.refs().first().map(|block| block.offset) != Some(start) {
            return Err(table.damage_part(loaded, part_at, offset, "data blocks leave a gap"));
        }
        let last = part.index.len().saturating_sub(1);
        if part.index.key(last) != loaded.root.key(part_at) {
            return Err(table.damage_part(loaded, part_at, offset, "partition ends elsewhere"));
        }
        let mut stored = Vec::new();
        let mut raw = Vec::new();
        for at in 0..part.index.len() {
            match self.read(&part, part_at, at, &mut stored, &mut raw) {
                Ok(()) => self.report.blocks += 1,
                Err(error) => self.report.problems.push(error),
            }
            if self.report.problems.len() >= PROBLEMS_MAX {
                break;
            }
        }
        Ok(())
    }

    fn read(
        &mut self,
        part: &Partition,
        part_at: usize,
        at: usize,
        stored: &mut Vec<u8>,
        raw: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let (table, loaded) = (self.table, self.loaded);
        let block: BlockRef = table.block_ref(loaded, part, (part_at, at))?;
        stored.resize(block.len as usize, 0);
        table.read_bytes(loaded.file.as_ref(), block.offset, stored)?;
        let layout = table.open_block(loaded, stored, block, raw);
        let walked = layout.and_then(|layout| {
            let before = at
                .checked_sub(1)
                .map_or(table.part_start(loaded, part_at), |before| part.index.key(before));
            // The smallest key of a table is in its first block; all others lie past what comes before.
            let is_first = (part_at, at) == (0, 0);
            let bounds = Bounds { before, is_first, last: part.index.key(at) };
            self.block(part, &layout, raw, &bounds)
        });
        walked.map_err(|what| table.damage_block(loaded, part, (part_at, at), what))
    }

    fn block(
        &mut self,
        part: &Partition,
        layout: &Layout,
        raw: &[u8],
        bounds: &Bounds<'_>,
    ) -> Result<(), &'static str> {
        let mut cursor = BlockCursor::default();
        let mut entries = 0u64;
        while cursor.next(layout, raw)? {
            let key = cursor.key();
            if key <= self.last_key.as_slice() && self.counted.entries > 0 {
                return Err("keys do not rise across blocks");
            }
            let below = if bounds.is_first { key < bounds.before } else { key <= bounds.before };
            if below || key > bounds.last {
                return Err("block holds a key that the index seeks elsewhere");
            }
            if key.first() != bounds.last.first() {
                return Err("block holds keys of two keyspaces");
            }
            let hash = filter::hash(key);
            if !part.filter.may_hold(hash) {
                return Err("filter denies a key of the table");
            }
            if layout.find(raw, key, hash)?.is_none() {
                return Err("hash index denies a key of the block");
            }
            self.count(key, &cursor.decoded().entry(raw));
            entries += 1;
        }
        if entries == 0 {
            return Err("block holds nothing");
        }
        self.report.entries += entries;
        Ok(())
    }

    fn count(&mut self, key: &[u8], entry: &Entry<'_>) {
        let counted = &mut self.counted;
        counted.count_expiry(entry.expires());
        if counted.entries == 0 {
            counted.smallest = key.to_vec();
        }
        counted.entries += 1;
        match entry {
            Entry::Put { .. } => {}
            Entry::Tombstone => counted.tombstones += 1,
            Entry::Merge { .. } => counted.merges += 1,
            Entry::Blob { at, .. } => {
                let bytes = self.blobs.entry(at.file).or_default();
                *bytes = bytes.saturating_add(u64::from(at.stored_len));
            }
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
    }

    /// What the properties and the manifest say of the table, against what is there.
    fn whole(&mut self) -> Result<(), &'static str> {
        let (props, counted) = (&self.loaded.props, &mut self.counted);
        let (mut smallest, mut largest) = (counted.smallest.clone(), self.last_key.clone());
        if let (Some(first), Some(last)) = (self.loaded.ranges.first(), self.loaded.ranges.last()) {
            if counted.entries == 0 || first.from < smallest {
                smallest.clone_from(&first.from);
            }
            largest = largest.max(last_before(&last.to));
        }
        if (&smallest, &largest) != (&props.smallest, &props.largest) {
            return Err("keys do not reach as far as the manifest says");
        }
        let numbers = |props: &Props| [props.entries, props.tombstones, props.merges];
        if numbers(counted) != numbers(props) || self.report.blocks != props.data_blocks {
            return Err("entries are not as many as counted");
        }
        if (counted.expires_min, counted.expires_max) != (props.expires_min, props.expires_max) {
            return Err("expiries are not those counted");
        }
        if !self.blobs.iter().map(|(file, bytes)| (*file, *bytes)).eq(props.blobs.iter().copied()) {
            return Err("blobs are not those counted");
        }
        Ok(())
    }
}

/// Between what keys a block's own must lie.
struct Bounds<'a> {
    before: &'a [u8],
    is_first: bool,
    last: &'a [u8],
}

//! Many sorted sources become one sorted stream of keys, each with all that the sources say of it.
//!
//! Invariants: sources are given newest first, and so come the entries of a key; what a newer source's range delete
//! covers does not show; nothing is copied on the way; after an error the stream ends.

use crate::entry::{BlobRef, Entry};
use crate::error::Error;
use crate::memtable::MemRun;
use crate::memtable::run::Cursor;
use crate::options::{MergeOperator, Options};
use crate::ranges::RangeSet;
use crate::table::{Direction, KeyRange, Table, TableCursor};
use std::cmp::Ordering;
use std::sync::Arc;

/// A sorted source.
pub(crate) enum Source<'a> {
    /// A part of one keyspace of a run in memory.
    Memory { cursor: Cursor<'a>, ranges: &'a Arc<RangeSet>, started: bool },
    /// Tables side by side, in key order; often one.
    Tables(Box<LevelCursor<'a>>),
}

impl<'a> Source<'a> {
    pub(crate) fn memory(run: &'a MemRun, cursor: Cursor<'a>) -> Source<'a> {
        Source::Memory { cursor, ranges: run.ranges(), started: false }
    }

    /// `cached`: blocks go through the cache; merging tables reads past it, since it reads each block once.
    pub(crate) fn tables(
        tables: &'a [Arc<Table>],
        range: &Arc<KeyRange>,
        direction: Direction,
        cached: bool,
    ) -> Source<'a> {
        let range = Arc::clone(range);
        let tables = tables.iter();
        let level = LevelCursor { tables, open: None, range, direction, cached, window: None };
        Source::Tables(Box::new(level))
    }

    /// Says that its range deletes act within this window alone: other windows hold copies of their own.
    pub(crate) fn in_window(mut self, window: u64) -> Source<'a> {
        if let Source::Tables(level) = &mut self {
            level.window = Some(window);
        }
        self
    }

    fn window(&self) -> Option<u64> {
        match self {
            Source::Memory { .. } => None,
            Source::Tables(level) => level.window,
        }
    }

    /// Steps to the next entry; false at the end.
    fn next(&mut self) -> Result<bool, Error> {
        match self {
            Source::Memory { cursor, started, .. } => {
                if std::mem::replace(started, true) {
                    cursor.advance();
                }
                Ok(cursor.key().is_some())
            }
            Source::Tables(level) => level.next(),
        }
    }

    /// The key that it stands on, without the keyspace where `strip` is 1.
    fn key(&self, strip: usize) -> &[u8] {
        match self {
            Source::Memory { cursor, .. } => cursor.key().unwrap_or_default(),
            Source::Tables(level) => level.key().get(strip..).unwrap_or_default(),
        }
    }

    fn entry(&self) -> Entry<'_> {
        match self {
            Source::Memory { cursor, .. } => cursor.entry().unwrap_or(Entry::Tombstone),
            Source::Tables(level) => {
                level.open.as_ref().map_or(Entry::Tombstone, TableCursor::entry)
            }
        }
    }

    /// What it deletes in older sources; none when that is nothing.
    fn ranges(&self) -> Result<Option<Arc<RangeSet>>, Error> {
        let set = match self {
            Source::Memory { ranges, .. } => Arc::clone(ranges),
            Source::Tables(level) => Arc::new(ranges_of(level.tables.as_slice())?),
        };
        Ok((!set.is_empty()).then_some(set))
    }
}

/// The range deletes of tables, together. Reads files.
pub(crate) fn ranges_of(tables: &[Arc<Table>]) -> Result<RangeSet, Error> {
    let mut ranges = Vec::new();
    for table in tables.iter().filter(|table| table.meta().ranges > 0) {
        ranges.extend(table.ranges()?);
    }
    Ok(RangeSet::union(ranges))
}

/// Scans tables that lie side by side, opening one at a time.
pub(crate) struct LevelCursor<'a> {
    tables: std::slice::Iter<'a, Arc<Table>>,
    open: Option<TableCursor>,
    range: Arc<KeyRange>,
    direction: Direction,
    cached: bool,
    window: Option<u64>,
}

impl LevelCursor<'_> {
    fn next(&mut self) -> Result<bool, Error> {
        loop {
            if let Some(open) = &mut self.open
                && open.next()?
            {
                return Ok(true);
            }
            let table = match self.direction {
                Direction::Forward => self.tables.next(),
                Direction::Backward => self.tables.next_back(),
            };
            let Some(table) = table else { return Ok(false) };
            let range = Arc::clone(&self.range);
            self.open = Some(table.cursor(range, self.direction, self.cached));
        }
    }

    fn key(&self) -> &[u8] {
        self.open.as_ref().map_or(&[], TableCursor::key)
    }
}

/// What the entries of one key come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Deleted or expired.
    Absent,
    /// The newest entry stands as it is: a value, here or in a blob file.
    Newest,
    /// The value that was folded into the buffer.
    Folded,
    /// Operands, combined in the buffer, for a value in some older run.
    Operands,
}

/// By what rules entries are put together.
pub(crate) struct Rules<'a> {
    pub(crate) options: &'a Options,
    /// By which entries expire.
    pub(crate) clock_s: u64,
}

/// Where the stream is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fresh,
    Running,
    Ended,
}

/// The merged stream. Stands on a key once [`Merge::advance`] has said so.
pub(crate) struct Merge<'a> {
    sources: Vec<Source<'a>>,
    /// Sources that stand on an entry, as a heap: the next key first, of equal ones the newest.
    heap: Vec<usize>,
    /// Sources that stand on the key at hand, newest first.
    group: Vec<usize>,
    /// How many of the group show.
    visible: usize,
    /// A range delete hides all that is older than the visible ones.
    is_cut: bool,
    /// Sources with range deletes, newest first.
    covers: Vec<(usize, Arc<RangeSet>)>,
    direction: Direction,
    /// In a scan of one keyspace, which; keys then come without it.
    keyspace: Option<u8>,
    phase: Phase,
}

impl<'a> Merge<'a> {
    /// `sources` are newest first. Where one is a run in memory, `keyspace` is that of all.
    pub(crate) fn new(
        sources: Vec<Source<'a>>,
        direction: Direction,
        keyspace: Option<u8>,
    ) -> Merge<'a> {
        Merge {
            heap: Vec::with_capacity(sources.len()),
            group: Vec::with_capacity(sources.len()),
            sources,
            visible: 0,
            is_cut: false,
            covers: Vec::new(),
            direction,
            keyspace,
            phase: Phase::Fresh,
        }
    }

    fn key_of(&self, source: usize) -> &[u8] {
        self.sources[source].key(usize::from(self.keyspace.is_some()))
    }

    /// True when source `a` comes before source `b`.
    fn is_before(&self, a: usize, b: usize) -> bool {
        let order = self.key_of(a).cmp(self.key_of(b));
        let order = if self.direction == Direction::Forward { order } else { order.reverse() };
        order.then(a.cmp(&b)) == Ordering::Less
    }

    fn push(&mut self, source: usize) {
        self.heap.push(source);
        let mut at = self.heap.len() - 1;
        while at > 0 {
            let above = (at - 1) / 2;
            if !self.is_before(self.heap[at], self.heap[above]) {
                break;
            }
            self.heap.swap(at, above);
            at = above;
        }
    }

    fn pop(&mut self) -> Option<usize> {
        if self.heap.is_empty() {
            return None;
        }
        let top = self.heap.swap_remove(0);
        let mut at = 0;
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            if left >= self.heap.len() {
                return Some(top);
            }
            let below =
                if right < self.heap.len() && self.is_before(self.heap[right], self.heap[left]) {
                    right
                } else {
                    left
                };
            if !self.is_before(self.heap[below], self.heap[at]) {
                return Some(top);
            }
            self.heap.swap(at, below);
            at = below;
        }
    }

    /// Steps to the next key of which something shows; false at the end.
    pub(crate) fn advance(&mut self) -> Result<bool, Error> {
        let moved = self.step_to_visible();
        if !matches!(moved, Ok(true)) {
            self.phase = Phase::Ended;
        }
        moved
    }

    fn step_to_visible(&mut self) -> Result<bool, Error> {
        match self.phase {
            Phase::Ended => return Ok(false),
            Phase::Running => {}
            Phase::Fresh => {
                self.phase = Phase::Running;
                for source in 0..self.sources.len() {
                    if let Some(ranges) = self.sources[source].ranges()? {
                        self.covers.push((source, ranges));
                    }
                    if self.sources[source].next()? {
                        self.push(source);
                    }
                }
            }
        }
        loop {
            while let Some(source) = self.group.pop() {
                if self.sources[source].next()? {
                    self.push(source);
                }
            }
            let Some(newest) = self.pop() else { return Ok(false) };
            self.group.push(newest);
            while let Some(&older) = self.heap.first()
                && self.key_of(older) == self.key_of(newest)
            {
                self.pop();
                self.group.push(older);
            }
            self.look_for_cover();
            if self.visible > 0 {
                return Ok(true);
            }
        }
    }

    /// Finds out what of the group a range delete hides: all from sources older than its own.
    fn look_for_cover(&mut self) {
        (self.visible, self.is_cut) = (self.group.len(), false);
        if self.covers.is_empty() {
            return;
        }
        let key = self.key();
        let covers = |(source, set): &&(usize, Arc<RangeSet>)| {
            // A key lies in one window, and what deletes it there came with that window's tables.
            let window = self.sources[*source].window();
            let acts = window.is_none()
                || self.group.iter().any(|&member| self.sources[member].window() == window);
            acts && match self.keyspace {
                Some(keyspace) => set.covers(keyspace, key),
                None => set.covers_internal(key),
            }
        };
        if let Some(&(floor, _)) = self.covers.iter().find(covers) {
            self.visible = self.group.iter().filter(|&&source| source <= floor).count();
            self.is_cut = true;
        }
    }

    /// The key at hand: without its keyspace in a scan of one.
    pub(crate) fn key(&self) -> &[u8] {
        self.group.first().map_or(&[], |&source| self.key_of(source))
    }

    /// The newest entry of the key at hand.
    pub(crate) fn newest(&self) -> Entry<'_> {
        self.group.first().map_or(Entry::Tombstone, |&source| self.sources[source].entry())
    }

    /// Puts the entries of the key at hand together. `is_complete`: no older run says anything of it. `read_blob` is
    /// given the key as it comes. A value that is made on the way comes to lie in `buffer`.
    pub(crate) fn resolve(
        &self,
        rules: &Rules<'_>,
        is_complete: bool,
        read_blob: impl Fn(BlobRef, &[u8]) -> Result<Arc<[u8]>, Error>,
        buffer: &mut Vec<u8>,
    ) -> Result<Verdict, Error> {
        let newest = self.newest();
        match newest {
            Entry::Put { expires, .. } | Entry::Blob { expires, .. } => {
                let due = expires.is_due(rules.clock_s);
                return Ok(if due { Verdict::Absent } else { Verdict::Newest });
            }
            Entry::Tombstone => return Ok(Verdict::Absent),
            Entry::Merge { .. } => {}
        }
        let (keyspace, key) = match self.keyspace {
            Some(keyspace) => (keyspace, self.key()),
            None => self.key().split_first().map_or((0, self.key()), |(first, key)| (*first, key)),
        };
        let operator = rules.options.merge_operator(keyspace);
        let operator = operator.ok_or(Error::MergeOperatorMissing { keyspace })?;
        let (mut operands, mut blob, mut base) = (Vec::new(), None, None);
        let mut is_met = self.is_cut || is_complete;
        for &source in self.group.iter().take(self.visible) {
            let entry = self.sources[source].entry();
            if let Entry::Merge { operand } = entry {
                operands.push(operand);
                continue;
            }
            is_met = true;
            match entry {
                _ if entry.expires().is_due(rules.clock_s) => {}
                Entry::Put { value, .. } => base = Some(value),
                Entry::Blob { at, .. } => blob = Some(read_blob(at, self.key())?),
                Entry::Tombstone | Entry::Merge { .. } => {}
            }
            break;
        }
        if is_met {
            *buffer = fold(operator, key, blob.as_deref().or(base), &operands);
            return Ok(Verdict::Folded);
        }
        *buffer = combine(operator, key, &operands);
        Ok(Verdict::Operands)
    }
}

/// The value that `operands`, newest first, make of `base`.
pub(crate) fn fold<T: AsRef<[u8]>>(
    operator: &dyn MergeOperator,
    key: &[u8],
    base: Option<&[u8]>,
    operands: &[T],
) -> Vec<u8> {
    let mut value: Option<Vec<u8>> = None;
    for operand in operands.iter().rev() {
        value = Some(operator.merge(key, value.as_deref().or(base), operand.as_ref()));
    }
    value.or_else(|| base.map(<[u8]>::to_vec)).unwrap_or_default()
}

/// The one operand that does what `operands`, newest first, do.
fn combine(operator: &dyn MergeOperator, key: &[u8], operands: &[&[u8]]) -> Vec<u8> {
    let mut oldest_first = operands.iter().rev();
    let mut whole = oldest_first.next().map(|operand| operand.to_vec()).unwrap_or_default();
    for newer in oldest_first {
        whole = operator.combine(key, &whole, newer);
    }
    whole
}

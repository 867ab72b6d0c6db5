//! What the cold tier reads of the hot one: a view that never changes.
//!
//! Invariants of the hot store that are relied on: keys of chunks are series u64, first stamp u64,
//! big-endian, and for chunks of late ticks some bytes more; chunks without those do not overlap one
//! another; chunks with them lie within one day.

use crate::day::Day;
use crate::error::ColdError;
use crate::stretch::Stretch;
use novax_engine::{Range, Snapshot};
use novax_model::Timestamp;
use novax_tsdb::cold::Window;
use novax_tsdb::{Chunk, Remark};
use std::collections::BTreeSet;

/// Bytes of the key of a chunk that is not of late ticks.
const BASE_KEY_BYTES: usize = 16;

/// A row of the hot store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotChunk {
    /// Its key.
    pub key: Vec<u8>,
    /// A chunk.
    pub bytes: Vec<u8>,
}

/// A consistent view of the rows of one partition that are not cold. It reads files: for threads
/// that may wait.
pub trait RowSource: Send + Sync {
    /// The smallest series of at least `from` that has rows.
    ///
    /// # Errors
    /// [`ColdError::Hot`] when the store cannot be read.
    fn next_series(&self, from: u64) -> Result<Option<u64>, ColdError>;

    /// The rows of a series in a window.
    ///
    /// # Errors
    /// [`ColdError::Hot`] when the store cannot be read, or what is read is damaged.
    fn stretch(&self, series: u64, window: Window) -> Result<Stretch, ColdError>;

    /// The days that may have rows; none that has any is left out.
    ///
    /// # Errors
    /// [`ColdError::Hot`] when the store cannot be read.
    fn days(&self) -> Result<BTreeSet<Day>, ColdError>;
}

/// What a mover takes: rows, and the sealed chunks that they are kept in.
pub trait HotSource: RowSource {
    /// Up to which entry of the log the view is complete.
    fn mark(&self) -> u64;

    /// All chunks of a series that may have ticks of a window, by key.
    ///
    /// # Errors
    /// [`ColdError::Hot`] when the store cannot be read.
    fn chunks(&self, series: u64, window: Window) -> Result<Vec<HotChunk>, ColdError>;
}

/// The rows of chunks in a window. Chunks of late ticks were written after those they were late for.
///
/// # Errors
/// [`ColdError::Hot`] when a chunk is damaged.
pub fn merge_chunks(
    series: u64,
    mut chunks: Vec<HotChunk>,
    window: Window,
) -> Result<Stretch, ColdError> {
    chunks.sort_by(|a, b| age(&a.key).cmp(&age(&b.key)));
    let mut all = Stretch::empty(series);
    for HotChunk { key, bytes } in &chunks {
        let damaged = |error| damaged_key(key, error);
        let chunk = Chunk::open(bytes).map_err(damaged)?;
        if chunk.first() >= window.to || chunk.last() < window.from {
            continue;
        }
        let ticks = chunk.ticks().map_err(damaged)?;
        let remarks: Vec<Remark> = chunk.remarks().map_err(damaged)?;
        let stretch = Stretch { series, ticks, remarks };
        if !stretch.is_sound() {
            return Err(ColdError::hot(format!("the chunk of key {} is out of order", hex(key))));
        }
        all = all.merge(&stretch.within(window));
    }
    Ok(all)
}

/// Orders keys of one series by what was written first: the bytes behind the stamp, then the stamp.
fn age(key: &[u8]) -> (&[u8], &[u8]) {
    let (base, sequence) = key.split_at(key.len().min(BASE_KEY_BYTES));
    (sequence, base)
}

fn damaged_key(key: &[u8], error: novax_tsdb::Error) -> ColdError {
    ColdError::hot(format!("the chunk of key {}: {error}", hex(key)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hot chunks in a snapshot of the store.
#[derive(Clone)]
pub struct SnapshotSource {
    snapshot: Snapshot,
    keyspace: u8,
}

impl std::fmt::Debug for SnapshotSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotSource").field("mark", &self.snapshot.mark()).finish()
    }
}

impl SnapshotSource {
    /// The chunks that a keyspace holds.
    #[must_use]
    pub fn new(snapshot: Snapshot, keyspace: u8) -> Self {
        Self { snapshot, keyspace }
    }

    /// The days before `day` that have rows. Where the keyspace is kept by time, only tables of that time are read:
    /// a chunk lies where it begins, so none that begins later has ticks of such a day.
    ///
    /// # Errors
    /// [`ColdError::Hot`] when the store cannot be read, or what is read is damaged.
    pub fn days_before(&self, day: Day) -> Result<BTreeSet<Day>, ColdError> {
        let until = day.window().from.0;
        let chunks = self.snapshot.range_in_time(self.keyspace, &[], None, 0, until);
        let mut days = days_of(chunks)?;
        days.retain(|of| *of < day);
        Ok(days)
    }
}

fn key(series: u64, at: Timestamp) -> [u8; BASE_KEY_BYTES] {
    (u128::from(series) << 64 | u128::from(at.0)).to_be_bytes()
}

fn series_of(key: &[u8]) -> Result<u64, ColdError> {
    if key.len() < BASE_KEY_BYTES {
        return Err(ColdError::hot(format!("a key of {} bytes", key.len())));
    }
    let head = key.first_chunk().copied().unwrap_or_default();
    Ok(u64::from_be_bytes(head))
}

impl RowSource for SnapshotSource {
    fn next_series(&self, from: u64) -> Result<Option<u64>, ColdError> {
        let from = key(from, Timestamp::ZERO);
        let first = self.snapshot.range(self.keyspace, &from, None).next();
        first.map(|entry| series_of(&entry.map_err(ColdError::hot)?.0)).transpose()
    }

    fn stretch(&self, series: u64, window: Window) -> Result<Stretch, ColdError> {
        merge_chunks(series, self.chunks(series, window)?, window)
    }

    fn days(&self) -> Result<BTreeSet<Day>, ColdError> {
        days_of(self.snapshot.range(self.keyspace, &[], None))
    }
}

/// The days that have ticks of these chunks.
fn days_of(chunks: Range<'_>) -> Result<BTreeSet<Day>, ColdError> {
    let mut days = BTreeSet::new();
    for entry in chunks {
        let (key, bytes) = entry.map_err(ColdError::hot)?;
        let chunk = Chunk::open(&bytes).map_err(|error| damaged_key(&key, error))?;
        let (first, last) = (Day::of(chunk.first()), Day::of(chunk.last()));
        days.extend([first, last]);
        if first != last {
            let stamps = chunk.stamps().map_err(|error| damaged_key(&key, error))?;
            days.extend(stamps.into_iter().map(Day::of));
        }
    }
    Ok(days)
}

impl HotSource for SnapshotSource {
    fn mark(&self) -> u64 {
        self.snapshot.mark()
    }

    fn chunks(&self, series: u64, window: Window) -> Result<Vec<HotChunk>, ColdError> {
        let (least, from) = (key(series, Timestamp::ZERO), key(series, window.from));
        let mut chunks = Vec::new();
        // What began before the window may reach into it: of those that do not overlap one another
        // the last alone.
        for entry in self.snapshot.range_rev(self.keyspace, &least, Some(&from)) {
            let (key, bytes) = entry.map_err(ColdError::hot)?;
            let is_base = key.len() == BASE_KEY_BYTES;
            chunks.push(HotChunk { key, bytes });
            if is_base {
                break;
            }
        }
        chunks.reverse();
        let to = key(series, window.to);
        for entry in self.snapshot.range(self.keyspace, &from, Some(&to)) {
            let (key, bytes) = entry.map_err(ColdError::hot)?;
            chunks.push(HotChunk { key, bytes });
        }
        let reaches = |chunk: &HotChunk| match Chunk::open(&chunk.bytes) {
            Ok(open) => open.last() >= window.from,
            // Whoever decodes it says what is wrong with it.
            Err(_) => true,
        };
        chunks.retain(reaches);
        Ok(chunks)
    }
}

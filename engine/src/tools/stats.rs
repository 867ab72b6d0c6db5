//! A store in numbers, from its manifest alone: no table is opened.

use super::view::View;
use crate::disk::Disk;
use crate::engine::Stats;
use crate::entry::Expires;
use crate::error::Error;
use crate::options::LEVELS;
use crate::table::TableMeta;
use crate::version::Place;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Some tables, summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSums {
    /// How many.
    pub tables: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Entries, tombstones and operands included.
    pub entries: u64,
    /// Deletions of single keys.
    pub tombstones: u64,
    /// Deletions of ranges of keys.
    pub ranges: u64,
    /// Merge operands.
    pub merges: u64,
    /// The earliest second at which an entry expires.
    pub expires_min_s: Option<u64>,
    /// Stored bytes of values beside the tables that they refer to.
    pub blob_bytes: u64,
}

impl TableSums {
    const ZERO: TableSums = TableSums {
        tables: 0,
        bytes: 0,
        entries: 0,
        tombstones: 0,
        ranges: 0,
        merges: 0,
        expires_min_s: None,
        blob_bytes: 0,
    };

    fn add(&mut self, meta: &TableMeta) {
        self.tables += 1;
        self.bytes += meta.bytes;
        self.entries += meta.entries;
        self.tombstones += meta.tombstones;
        self.ranges += meta.ranges;
        self.merges += meta.merges;
        self.blob_bytes += meta.blobs.iter().map(|(_, bytes)| bytes).sum::<u64>();
        if meta.expires_min != Expires::NEVER {
            let earliest = self.expires_min_s.unwrap_or(u64::MAX);
            self.expires_min_s = Some(earliest.min(meta.expires_min.0));
        }
    }
}

/// Windows of a keyspace that is kept by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowStats {
    /// The keyspace.
    pub keyspace: u8,
    /// The window's number: time divided by the width of a window.
    pub window: u64,
    /// Its tables.
    pub sums: TableSums,
}

/// A store in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreStats {
    /// Up to which mark it is complete.
    pub mark: u64,
    /// How many keyspaces it has.
    pub keyspaces: u8,
    /// Level 0 first.
    pub levels: Vec<TableSums>,
    /// By keyspace and window.
    pub windows: Vec<WindowStats>,
    /// Blob files and their bytes.
    pub blob_files: u64,
    /// See `blob_files`.
    pub blob_file_bytes: u64,
    /// The most files that one look-up may have to ask: every table of level 0 or of a window, and one of
    /// each level below. Filters spare nearly all of those that do not hold the key.
    pub read_amplification_max: u64,
    /// Bytes of all tables in thousandths of those of the lowest level in use: what old versions and
    /// deletions take. 1000 is none.
    pub space_amplification_milli: u64,
}

impl StoreStats {
    fn groups(&self) -> impl Iterator<Item = &TableSums> {
        self.levels.iter().chain(self.windows.iter().map(|window| &window.sums))
    }

    /// Bytes of tables and blob files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.groups().map(|sums| sums.bytes).sum::<u64>() + self.blob_file_bytes
    }

    /// Entries of all tables.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.groups().map(|sums| sums.entries).sum()
    }

    /// Tables, wherever they are.
    #[must_use]
    pub fn tables(&self) -> u64 {
        self.groups().map(|sums| sums.tables).sum()
    }
}

/// Sums up the store in `dir`, which may be open: only the manifest is read.
///
/// # Errors
/// When the manifest is missing or damaged.
pub fn store_stats(disk: &Arc<dyn Disk>, dir: &Path) -> Result<StoreStats, Error> {
    let view = View::open(disk, dir)?;
    let mut levels = vec![TableSums::ZERO; LEVELS];
    let mut windows: BTreeMap<(u8, u64), TableSums> = BTreeMap::new();
    for placed in &view.tables {
        let sums = match placed.place {
            Place::Level(level) => levels.get_mut(level),
            Place::Window { keyspace, window, .. } => {
                Some(windows.entry((keyspace, window)).or_insert(TableSums::ZERO))
            }
        };
        // The manifest has checked its levels.
        sums.into_iter().for_each(|sums| sums.add(placed.table.meta()));
    }
    let deep = levels.iter().skip(1).filter(|level| level.tables > 0).count() as u64;
    let widest_window = windows.values().map(|sums| sums.tables).max().unwrap_or_default();
    let level0 = levels.first().map_or(0, |level| level.tables);
    let read_amplification_max = level0.max(widest_window) + deep;
    let bottom = levels.iter().rev().find(|level| level.tables > 0).map_or(0, |level| level.bytes);
    let leveled: u64 = levels.iter().map(|level| level.bytes).sum();
    let window = |((keyspace, window), sums)| WindowStats { keyspace, window, sums };
    Ok(StoreStats {
        mark: view.mark,
        keyspaces: view.keyspaces,
        levels,
        windows: windows.into_iter().map(window).collect(),
        blob_files: view.blobs.len() as u64,
        blob_file_bytes: view.blobs.values().map(|blob| blob.meta().bytes).sum(),
        read_amplification_max,
        space_amplification_milli: per_mille(leveled, bottom),
    })
}

fn per_mille(part: u64, whole: u64) -> u64 {
    part.saturating_mul(1000).checked_div(whole).unwrap_or(1000)
}

/// How often each byte that was flushed has been written since the store was opened, in thousandths: 1000 is once.
#[must_use]
pub fn write_amplification_milli(stats: &Stats) -> u64 {
    per_mille(stats.bytes_flushed.saturating_add(stats.bytes_compacted), stats.bytes_flushed)
}

/// Thousandths as people read them.
struct Milli(u64);

impl fmt::Display for Milli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 1000, self.0 % 1000 / 10)
    }
}

impl fmt::Display for StoreStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "mark {}, {} keyspaces, {} bytes", self.mark, self.keyspaces, self.bytes())?;
        let (read, space) = (self.read_amplification_max, Milli(self.space_amplification_milli));
        writeln!(
            f,
            "a look-up asks at most {read} tables; tables take {space} of the lowest level"
        )?;
        writeln!(f, "{:<24}{:>8}{:>14}{:>12}{:>12}", "", "tables", "bytes", "entries", "deleted")?;
        let mut line = |name: String, sums: &TableSums| {
            let TableSums { tables, bytes, entries, tombstones, .. } = sums;
            writeln!(f, "{name:<24}{tables:>8}{bytes:>14}{entries:>12}{tombstones:>12}")
        };
        for (level, sums) in self.levels.iter().enumerate().filter(|(_, sums)| sums.tables > 0) {
            line(format!("level {level}"), sums)?;
        }
        for WindowStats { keyspace, window, sums } in &self.windows {
            line(format!("keyspace {keyspace} window {window}"), sums)?;
        }
        writeln!(f, "blob files {}, {} bytes", self.blob_files, self.blob_file_bytes)
    }
}

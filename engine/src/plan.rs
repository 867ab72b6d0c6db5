//! Which tables to compact next. Leveled: a level that holds too much gives tables to the one below. Where
//! none does, tables that are mostly tombstones sink until they meet what they delete: a keyspace that is
//! used as a queue would otherwise leave a trail of dead keys for every scan to wade through.

use crate::jobs::Compaction;
use crate::options::{LEVELS, Options};
use crate::table::{KeyRange, Table};
use crate::version::Version;
use std::sync::Arc;

/// Chooses compactions and remembers, level by level, up to which key it has come, so that each part of
/// a level has its turn.
#[derive(Debug)]
pub(crate) struct Planner {
    cursors: Vec<Vec<u8>>,
}

impl Planner {
    pub(crate) fn new() -> Planner {
        Planner { cursors: vec![Vec::new(); LEVELS] }
    }

    /// The level that is furthest past its limit, if one is. Scores are in thousandths.
    fn fullest(version: &Version, options: &Options) -> Option<usize> {
        let score = |level: usize| -> u64 {
            let (held, limit) = if level == 0 {
                (version.level(0).len() as u64, options.level0_tables_max as u64)
            } else {
                // A level at its limit is full, not past it.
                let limit = options.level_bytes_max(level);
                (version.level_bytes(level).saturating_sub(1), limit)
            };
            held.saturating_mul(1000) / limit.max(1)
        };
        // The last level has nowhere to give tables to.
        let levels = (0..LEVELS - 1).map(|level| (score(level), LEVELS - level));
        let (score, rank) = levels.max()?;
        (score >= 1000).then_some(LEVELS - rank)
    }

    /// The next compaction, or none when every level is within its limit and no table is mostly
    /// tombstones.
    pub(crate) fn next(&mut self, version: &Arc<Version>, options: &Options) -> Option<Compaction> {
        let (level, inputs) = match Self::fullest(version, options) {
            // All of them: a newer table must never sink below an older one.
            Some(0) => (0, version.level(0).to_vec()),
            Some(level) => (level, vec![self.turn(version, level)?]),
            None => Self::mostly_dead(version)?,
        };
        let range = extent(&inputs)?;
        let overlaps = version.touched(level + 1, &range).to_vec();
        let version = Arc::clone(version);
        Some(Compaction { level, inputs, overlaps, version, built: None })
    }

    /// A table more than half of which is tombstones, deepest first: those sink soonest to the bottom.
    fn mostly_dead(version: &Version) -> Option<(usize, Vec<Arc<Table>>)> {
        (1..LEVELS - 1).rev().find_map(|level| {
            let is_dead = |table: &&Arc<Table>| table.meta().tombstones > table.meta().entries / 2;
            version.level(level).iter().find(is_dead).map(|table| (level, vec![Arc::clone(table)]))
        })
    }

    /// The table of `level` whose turn it is.
    fn turn(&mut self, version: &Version, level: usize) -> Option<Arc<Table>> {
        let tables = version.level(level);
        let cursor = self.cursors.get_mut(level)?;
        let next = tables.iter().find(|table| table.meta().smallest > *cursor);
        let table = next.or(tables.first())?;
        cursor.clone_from(&table.meta().largest);
        Some(Arc::clone(table))
    }
}

/// The keys from the smallest to the largest of `tables`.
fn extent(tables: &[Arc<Table>]) -> Option<KeyRange> {
    let from = tables.iter().map(|table| &table.meta().smallest).min()?.clone();
    let mut to = tables.iter().map(|table| &table.meta().largest).max()?.clone();
    // The first key past the largest.
    to.push(0);
    Some(KeyRange { from, to: Some(to) })
}

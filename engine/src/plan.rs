//! Which tables to compact next. Leveled: a level that holds too much gives tables to the one below.

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

    /// The next compaction, or none when every level is within its limit.
    pub(crate) fn next(&mut self, version: &Arc<Version>, options: &Options) -> Option<Compaction> {
        let level = Self::fullest(version, options)?;
        let inputs: Vec<Arc<Table>> = if level == 0 {
            // All of them: a newer table must never sink below an older one.
            version.level(0).to_vec()
        } else {
            vec![self.turn(version, level)?]
        };
        let range = extent(&inputs)?;
        let overlaps = version.touched(level + 1, &range).to_vec();
        let version = Arc::clone(version);
        Some(Compaction { level, inputs, overlaps, version, built: None })
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

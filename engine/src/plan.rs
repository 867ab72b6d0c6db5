//! Which tables to compact next. Leveled: a level that holds too much gives tables to the one below. Where
//! none does, tables that are mostly tombstones sink until they meet what they delete: a keyspace that is
//! used as a queue would otherwise leave a trail of dead keys for every scan to wade through. Windows: tables of
//! like size become one, and so do those of level 0 that a damaged table keeps from sinking.
//!
//! Invariants: two compactions that run at once share no table and write no keys of the same level; none touches a
//! table that was found damaged, and no key gets past an older entry of its own in one; one place is kept for what
//! makes room in level 0, which the others must not starve.

use crate::jobs::{Compaction, DropWindows, Target};
use crate::options::{LEVELS, Options};
use crate::table::{KeyRange, Table};
use crate::version::{Place, Ranked, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// As many tables of like size become one, in a window or in a level 0 that cannot sink.
const TABLES_MAX: usize = 4;
/// With so many tables there, all become one, whatever their size.
const TABLES_LIMIT: usize = 12;

/// Header and footer of a small file are no garbage.
const BLOB_BYTES_SPARED: u64 = 256;

/// Level 0, newest first.
struct Level0 {
    /// May sink.
    sinking: Vec<Arc<Table>>,
    /// Has to stay, and may become one: all of it is newer than any damaged table of the level.
    staying: Vec<Arc<Table>>,
}

/// What runs now.
#[derive(Debug)]
pub(crate) struct Running {
    id: u64,
    tables: BTreeSet<u64>,
    /// None for tables that only leave.
    target: Option<Target>,
    /// The keys between its inputs' smallest and largest.
    range: KeyRange,
    from_level0: bool,
}

/// Chooses compactions and remembers, level by level, up to which key it has come, so that each part of
/// a level has its turn.
#[derive(Debug)]
pub(crate) struct Planner {
    cursors: Vec<Vec<u8>>,
    next_id: u64,
    running: Vec<Running>,
    /// Blob files that are mostly garbage.
    garbage: Arc<BTreeSet<u64>>,
    /// Tables found damaged: they are left alone.
    quarantined: BTreeSet<u64>,
    /// Tables of windows that are to go: they are not compacted meanwhile.
    leaving: BTreeSet<u64>,
}

impl Planner {
    pub(crate) fn new() -> Planner {
        Planner {
            cursors: vec![Vec::new(); LEVELS],
            next_id: 1,
            running: Vec::new(),
            garbage: Arc::default(),
            quarantined: BTreeSet::new(),
            leaving: BTreeSet::new(),
        }
    }

    /// A compaction has ended, or was not started after all.
    pub(crate) fn finish(&mut self, id: u64) {
        let before = self.running.len();
        self.running.retain(|running| running.id != id);
        assert_eq!(self.running.len() + 1, before, "compaction {id} was running");
    }

    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// Leaves a damaged table alone from now on.
    pub(crate) fn quarantine(&mut self, number: u64) {
        self.quarantined.insert(number);
    }

    pub(crate) fn quarantined(&self) -> &BTreeSet<u64> {
        &self.quarantined
    }

    /// How many tables of level 0 wait to sink, or to become one, and can.
    pub(crate) fn level0_waiting(&self, version: &Version) -> usize {
        if self.quarantined.is_empty() {
            return version.level(0).len();
        }
        let Level0 { sinking, staying } = self.part_level0(version);
        sinking.len() + staying.len().saturating_sub(TABLES_LIMIT)
    }

    /// Level 0 and what may become of it. What overlaps a damaged table that is older must stay above it, and so must
    /// what overlaps one that stays; nor can anything get past a damaged table of level 1.
    fn part_level0(&self, version: &Version) -> Level0 {
        let tables = version.level(0);
        if self.quarantined.is_empty() {
            return Level0 { sinking: tables.to_vec(), staying: Vec::new() };
        }
        let (mut sinking, mut staying) = (Vec::new(), Vec::new());
        let bars = version.level(1).iter().filter(|table| self.is_damaged(table));
        let mut bars: Vec<&Arc<Table>> = bars.collect();
        for table in tables.iter().rev() {
            if self.is_damaged(table) {
                // What is older than this one gets no newer companions.
                staying.clear();
                bars.push(table);
            } else if bars.iter().any(|bar| share_keys(bar, table)) {
                staying.push(Arc::clone(table));
                bars.push(table);
            } else {
                sinking.push(Arc::clone(table));
            }
        }
        sinking.reverse();
        staying.reverse();
        Level0 { sinking, staying }
    }

    fn is_damaged(&self, table: &Table) -> bool {
        self.quarantined.contains(&table.meta().number)
    }

    fn is_free(&self, table: &Table) -> bool {
        let number = table.meta().number;
        let is_busy = self.running.iter().any(|running| running.tables.contains(&number));
        !is_busy && !self.quarantined.contains(&number) && !self.leaving.contains(&number)
    }

    /// Tables that `seen` had too, of windows of `keyspace` that end at or before `time`, are to go.
    pub(crate) fn ask_drop(
        &mut self,
        version: &Version,
        seen: &Version,
        keyspace: u8,
        time: u64,
        width: u64,
    ) {
        for (window, tables) in version.windows_of(keyspace, 0, u64::MAX) {
            if window.saturating_add(1).saturating_mul(width) > time {
                break;
            }
            let known = seen.window(keyspace, window);
            let is_known = |table: &Arc<Table>| known.iter().any(|k| Arc::ptr_eq(&k.table, table));
            let leaving = oldest_while(tables, is_known);
            self.leaving.extend(leaving.iter().map(|ranked| ranked.table.meta().number));
        }
    }

    /// The job that lets the tables of windows go that are to go, those of all keyspaces at once. One that is being
    /// compacted stays, in the shape of what becomes of it.
    pub(crate) fn next_drop(&mut self, version: &Version) -> Option<DropWindows> {
        if self.leaving.is_empty() {
            return None;
        }
        let leaving = std::mem::take(&mut self.leaving);
        let leaves = |table: &Arc<Table>| {
            let number = &table.meta().number;
            leaving.contains(number) && !self.running.iter().any(|r| r.tables.contains(number))
        };
        let windows = version.windows().values();
        let due = windows.flat_map(|tables| oldest_while(tables, leaves));
        let tables: Vec<Arc<Table>> = due.map(|ranked| Arc::clone(&ranked.table)).collect();
        let range = extent(&tables)?;
        let numbers = tables.iter().map(|table| table.meta().number).collect();
        let id = self.start(numbers, None, range, false);
        Some(DropWindows { id, tables })
    }

    /// The next compaction, or none when nothing is due that may run beside what runs already. `is_quiet`: no newer
    /// table of level 0 is in the making.
    pub(crate) fn next(
        &mut self,
        version: &Arc<Version>,
        options: &Options,
        clock_s: u64,
        is_quiet: bool,
    ) -> Option<Compaction> {
        if self.running.len() >= options.compactions_max {
            return None;
        }
        self.look_for_garbage(version);
        let level0_runs = self.running.iter().any(|running| running.from_level0);
        let mut level0_waits = false;
        if !level0_runs && version.level(0).len() >= options.level0_tables_max.min(TABLES_MAX) {
            let level0 = self.part_level0(version);
            level0_waits = level0.sinking.len() >= options.level0_tables_max;
            if level0_waits && let Some(job) = self.upper(version, options, &level0, clock_s) {
                return Some(job);
            }
            if is_quiet && let Some(job) = self.within_level0(version, &level0, clock_s) {
                return Some(job);
            }
        }
        // The last place is for level 0.
        let places = if level0_runs { 0 } else { usize::from(options.compactions_max > 1) };
        if self.running.len() + places >= options.compactions_max {
            return None;
        }
        let window = self.window(version, clock_s);
        if window.is_some() {
            return window;
        }
        if level0_waits {
            // It waits for tables of level 1 that others work on: no more of them begin.
            return self.full_level(version, options, clock_s, 2..LEVELS - 1);
        }
        self.full_level(version, options, clock_s, 1..LEVELS - 1)
            .or_else(|| self.mostly_dead(version, clock_s))
            .or_else(|| self.expired(version, clock_s))
            .or_else(|| self.with_garbage(version, clock_s))
    }

    /// What makes room in level 0, which has too many tables. All of level 1 is written again when it sinks: where
    /// level 1 is further past its limit, it comes first, or it would grow as long as level 0 is in need.
    fn upper(
        &mut self,
        version: &Arc<Version>,
        options: &Options,
        level0: &Level0,
        clock_s: u64,
    ) -> Option<Compaction> {
        let (held, limit) = (self.held_bytes(version, 1), options.level_bytes_max(1));
        let (sinking, max) = (level0.sinking.len() as u128, options.level0_tables_max as u128);
        if held > limit
            && u128::from(held) * max > sinking * u128::from(limit)
            && let Some(job) = self.full_level(version, options, clock_s, 1..2)
        {
            return Some(job);
        }
        self.level0(version, level0, clock_s)
    }

    /// Finds the blob files of which more is garbage than not.
    fn look_for_garbage(&mut self, version: &Version) {
        if version.blobs().is_empty() && self.garbage.is_empty() {
            return;
        }
        let live = version.blob_bytes_live();
        let blobs = version.blobs().iter();
        let mostly = blobs.filter(|(number, blob)| {
            let live = live.get(number).copied().unwrap_or_default();
            live.saturating_mul(2).saturating_add(BLOB_BYTES_SPARED) < blob.meta().bytes
        });
        self.garbage = Arc::new(mostly.map(|(number, _)| *number).collect());
    }

    /// A table that refers to a blob file that is mostly garbage: it is written again where it is, with the values it
    /// still has there.
    fn with_garbage(&mut self, version: &Arc<Version>, clock_s: u64) -> Option<Compaction> {
        if self.garbage.is_empty() {
            return None;
        }
        let places: Vec<(Place, Arc<Table>)> =
            version.places().map(|(place, table)| (place, Arc::clone(table))).collect();
        places.into_iter().find_map(|(place, table)| {
            let refers = |(blob, _): &(u64, u64)| self.garbage.contains(blob);
            if !table.meta().blobs.iter().any(refers) || !self.is_free(&table) {
                return None;
            }
            let target = match place {
                // Its number says where in level 0 it belongs: it has to wait.
                Place::Level(0) => return None,
                Place::Level(level) => Target::Level(level),
                Place::Window { keyspace, window, rank } => {
                    let oldest = version.window(keyspace, window).last();
                    let is_oldest = oldest.is_some_and(|oldest| oldest.rank == rank);
                    Target::Window { keyspace, window, rank, is_oldest }
                }
            };
            self.job(version, vec![vec![table]], target, clock_s, false)
        })
    }

    /// Makes the job of some runs, unless it would touch what another does.
    fn job(
        &mut self,
        version: &Arc<Version>,
        sources: Vec<Vec<Arc<Table>>>,
        target: Target,
        clock_s: u64,
        from_level0: bool,
    ) -> Option<Compaction> {
        let inputs = || sources.iter().flatten();
        let range = extent(inputs())?;
        let meets =
            |running: &Running| running.target == Some(target) && overlap(&running.range, &range);
        if inputs().any(|table| !self.is_free(table)) || self.running.iter().any(meets) {
            return None;
        }
        let tables = inputs().map(|table| table.meta().number).collect();
        let id = self.start(tables, Some(target), range, from_level0);
        let is_move = is_move(&sources, target, from_level0, clock_s);
        let version = Arc::clone(version);
        let rewrites = Arc::clone(&self.garbage);
        let (number, built) = (None, None);
        Some(Compaction { id, sources, target, is_move, version, clock_s, rewrites, number, built })
    }

    fn start(
        &mut self,
        tables: BTreeSet<u64>,
        target: Option<Target>,
        range: KeyRange,
        from_level0: bool,
    ) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.running.push(Running { id, tables, target, range, from_level0 });
        id
    }

    /// All of level 0 that may sink: a newer table must never come to lie below an older one. Where a damaged table
    /// of level 1 lies in between, those on one side of it.
    fn level0(
        &mut self,
        version: &Arc<Version>,
        level0: &Level0,
        clock_s: u64,
    ) -> Option<Compaction> {
        let range = extent(&level0.sinking)?;
        let is_barred = version.touched(1, &range).iter().any(|table| self.is_damaged(table));
        let parts = if is_barred { apart(&level0.sinking) } else { vec![level0.sinking.clone()] };
        parts.into_iter().find_map(|inputs| {
            let range = extent(&inputs)?;
            let mut sources: Vec<Vec<_>> = inputs.into_iter().map(|table| vec![table]).collect();
            sources.push(version.touched(1, &range).to_vec());
            self.job(version, sources, Target::Level(1), clock_s, true)
        })
    }

    /// Tables of level 0 that cannot sink become one, so that they do not pile up.
    fn within_level0(
        &mut self,
        version: &Arc<Version>,
        level0: &Level0,
        clock_s: u64,
    ) -> Option<Compaction> {
        let sizes = level0.staying.iter().map(|table| table.meta().bytes);
        let chosen = level0.staying.get(..like_sized(sizes, TABLES_MAX)?)?;
        let sources = chosen.iter().map(|table| vec![Arc::clone(table)]).collect();
        self.job(version, sources, Target::Level(0), clock_s, true)
    }

    /// Gives a table of that of `levels` which is furthest past its limit to the one below.
    fn full_level(
        &mut self,
        version: &Arc<Version>,
        options: &Options,
        clock_s: u64,
        levels: Range<usize>,
    ) -> Option<Compaction> {
        assert!(levels.start > 0 && levels.end < LEVELS);
        let mut full: Vec<(u64, usize)> = levels
            .filter_map(|level| {
                let (held, limit) =
                    (self.held_bytes(version, level), options.level_bytes_max(level));
                // A level at its limit is full, not past it.
                (held > limit).then(|| (held.saturating_mul(1000) / limit.max(1), level))
            })
            .collect();
        full.sort_by_key(|&(score, level)| (std::cmp::Reverse(score), level));
        for (_, level) in full {
            for table in self.turns(version, level) {
                let largest = table.meta().largest.clone();
                if let Some(job) = self.sink(version, level, table, clock_s) {
                    self.cursors[level] = largest;
                    return Some(job);
                }
            }
        }
        None
    }

    /// What a level holds, less what is on its way down already.
    fn held_bytes(&self, version: &Version, level: usize) -> u64 {
        version.level_bytes(level) - self.sinking_bytes(version, level)
    }

    /// How much of a level running compactions take to the one below.
    fn sinking_bytes(&self, version: &Version, level: usize) -> u64 {
        let down = |running: &&Running| running.target == Some(Target::Level(level + 1));
        let numbers = self.running.iter().filter(down).flat_map(|running| &running.tables);
        let numbers: BTreeSet<&u64> = numbers.collect();
        if numbers.is_empty() {
            return 0;
        }
        let tables = version.level(level).iter().map(|table| table.meta());
        tables.filter(|meta| numbers.contains(&meta.number)).map(|meta| meta.bytes).sum()
    }

    /// The job that lets one table go down a level.
    fn sink(
        &mut self,
        version: &Arc<Version>,
        level: usize,
        table: Arc<Table>,
        clock_s: u64,
    ) -> Option<Compaction> {
        assert!(level > 0 && level + 1 < LEVELS);
        let range = extent([&table])?;
        let below = version.touched(level + 1, &range).to_vec();
        self.job(version, vec![vec![table], below], Target::Level(level + 1), clock_s, false)
    }

    /// The free tables of `level`, that whose turn it is first.
    fn turns(&self, version: &Version, level: usize) -> Vec<Arc<Table>> {
        let tables = version.level(level);
        let cursor = &self.cursors[level];
        let start = tables.partition_point(|table| table.meta().smallest <= *cursor);
        let (before, from) = tables.split_at(start);
        from.iter().chain(before).filter(|table| self.is_free(table)).cloned().collect()
    }

    /// A table more than half of which is tombstones, deepest first: those sink soonest to the bottom.
    fn mostly_dead(&mut self, version: &Arc<Version>, clock_s: u64) -> Option<Compaction> {
        for level in (1..LEVELS).rev() {
            for table in version.level(level) {
                let meta = table.meta();
                let is_dead = meta.tombstones > meta.entries / 2 || meta.ranges > meta.entries;
                if !is_dead || !self.is_free(table) {
                    continue;
                }
                let table = Arc::clone(table);
                let job = if level + 1 < LEVELS {
                    self.sink(version, level, table, clock_s)
                } else {
                    // Nothing lies below the last level: there they go.
                    self.job(version, vec![vec![table]], Target::Level(level), clock_s, false)
                };
                if job.is_some() {
                    return job;
                }
            }
        }
        None
    }

    /// A table of which all has expired: it is written again where it is, as the few tombstones it still needs.
    fn expired(&mut self, version: &Arc<Version>, clock_s: u64) -> Option<Compaction> {
        for level in 1..LEVELS {
            for table in version.level(level) {
                if table.meta().expires_max.is_due(clock_s) && self.is_free(table) {
                    let sources = vec![vec![Arc::clone(table)]];
                    let job = self.job(version, sources, Target::Level(level), clock_s, false);
                    if job.is_some() {
                        return job;
                    }
                }
            }
        }
        None
    }

    /// Tables of like size in one window; in one that is past, any two of like size.
    fn window(&mut self, version: &Arc<Version>, clock_s: u64) -> Option<Compaction> {
        let mut newest: BTreeMap<u8, u64> = BTreeMap::new();
        for (keyspace, window) in version.windows().keys() {
            newest.insert(*keyspace, *window);
        }
        for (&(keyspace, window), tables) in version.windows() {
            let is_past = newest.get(&keyspace).is_some_and(|newest| window < *newest);
            let limit = if is_past { 2 } else { TABLES_MAX };
            // Never across one that is damaged: what is newer must not come to lie under it.
            let free = tables.iter().take_while(|ranked| self.is_free(&ranked.table)).count();
            let free = tables.get(..free).unwrap_or_default();
            let sizes = free.iter().map(|ranked| ranked.table.meta().bytes);
            let Some(chosen) = like_sized(sizes, limit).and_then(|count| free.get(..count)) else {
                continue;
            };
            let rank = chosen.iter().map(|ranked| ranked.rank).max().unwrap_or_default();
            let is_oldest =
                chosen.last().map(|ranked| ranked.rank) == tables.last().map(|ranked| ranked.rank);
            let sources = chosen.iter().map(|ranked| vec![Arc::clone(&ranked.table)]).collect();
            let target = Target::Window { keyspace, window, rank, is_oldest };
            if let Some(job) = self.job(version, sources, target, clock_s, false) {
                return Some(job);
            }
        }
        None
    }
}

/// How many of the newest tables are to become one: as far as each is no more than twice as big as all newer ones
/// together. None where these are fewer than `limit`.
fn like_sized(sizes: impl ExactSizeIterator<Item = u64>, limit: usize) -> Option<usize> {
    if sizes.len() >= TABLES_LIMIT {
        return Some(sizes.len());
    }
    let (mut chosen, mut bytes) = (0, 0u64);
    for size in sizes {
        if chosen > 0 && size > bytes.saturating_mul(2) {
            break;
        }
        (chosen, bytes) = (chosen + 1, bytes.saturating_add(size));
    }
    (chosen >= limit).then_some(chosen)
}

fn share_keys(a: &Table, b: &Table) -> bool {
    let (a, b) = (a.meta(), b.meta());
    a.smallest <= b.largest && b.smallest <= a.largest
}

/// Parts that share no keys with each other, each in the order of `tables`.
fn apart(tables: &[Arc<Table>]) -> Vec<Vec<Arc<Table>>> {
    let mut order: Vec<usize> = (0..tables.len()).collect();
    order.sort_by(|&a, &b| tables[a].meta().smallest.cmp(&tables[b].meta().smallest));
    let mut parts: Vec<(&[u8], Vec<usize>)> = Vec::new();
    for at in order {
        let meta = tables[at].meta();
        match parts.last_mut() {
            Some((end, part)) if *end >= &meta.smallest[..] => {
                part.push(at);
                *end = (*end).max(&meta.largest);
            }
            _ => parts.push((&meta.largest, vec![at])),
        }
    }
    let part = |(_, mut part): (&[u8], Vec<usize>)| {
        part.sort_unstable();
        part.into_iter().map(|at| Arc::clone(&tables[at])).collect()
    };
    parts.into_iter().map(part).collect()
}

/// The oldest tables of a window up to the first that does not pass: with an older one left below, what a newer one
/// has overwritten or deleted would show again.
fn oldest_while(tables: &[Ranked], passes: impl Fn(&Arc<Table>) -> bool) -> &[Ranked] {
    let newest = tables.iter().rposition(|ranked| !passes(&ranked.table)).map_or(0, |at| at + 1);
    tables.get(newest..).unwrap_or_default()
}

/// Tables with nothing of their key range in the next level only change their level, unless they have something to
/// lose on the way. Those of level 0 do so where they do not overlap each other either.
fn is_move(sources: &[Vec<Arc<Table>>], target: Target, from_level0: bool, clock_s: u64) -> bool {
    let Target::Level(_) = target else { return false };
    let Some((below, above)) = sources.split_last() else { return false };
    if above.is_empty() || !below.is_empty() || (!from_level0 && above.len() > 1) {
        return false;
    }
    let mut tables: Vec<&Arc<Table>> = above.iter().flatten().collect();
    tables.sort_by(|a, b| a.meta().smallest.cmp(&b.meta().smallest));
    let apart = tables.windows(2).all(|pair| match pair {
        [left, right] => left.meta().largest < right.meta().smallest,
        _ => true,
    });
    apart
        && tables.iter().all(|table| {
            let meta = table.meta();
            meta.tombstones == 0 && meta.ranges == 0 && !meta.expires_min.is_due(clock_s)
        })
}

fn overlap(a: &KeyRange, b: &KeyRange) -> bool {
    let before = |a: &KeyRange, b: &KeyRange| a.to.as_ref().is_some_and(|to| *to <= b.from);
    !before(a, b) && !before(b, a)
}

/// The keys from the smallest to the largest of `tables`.
fn extent<'a>(tables: impl IntoIterator<Item = &'a Arc<Table>> + Clone) -> Option<KeyRange> {
    let from = tables.clone().into_iter().map(|table| &table.meta().smallest).min()?.clone();
    let mut to = tables.into_iter().map(|table| &table.meta().largest).max()?.clone();
    // The first key past the largest.
    to.push(0);
    Some(KeyRange { from, to: Some(to) })
}

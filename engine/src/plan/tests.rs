//! The planner under load, in counted steps: tables are lists of keys, bytes are counted, no clock and no file.

use super::*;
use crate::entry::Expires;
use crate::table::TableContext;
use crate::table::TableMeta;
use crate::table::cache::BlockCache;
use crate::trash::Trash;
use novax_log::RealDisk;

const ENTRY_BYTES: u64 = 1 << 10;
/// Keys of a flush, and of a table that a compaction makes.
const TABLE_KEYS: usize = 32;
/// As in `engine`: with so many times its limit in level 0, the owner writes less.
const STALL_FACTOR: usize = 4;

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

/// A compaction under way.
struct Job {
    plan: Compaction,
    bytes: u64,
    left: u64,
}

struct Sim {
    options: Options,
    context: Arc<TableContext>,
    planner: Planner,
    version: Arc<Version>,
    /// Keys and when they were written, by number of table.
    tables: BTreeMap<u64, BTreeMap<u32, u32>>,
    /// When each key was written last.
    model: BTreeMap<u32, u32>,
    next_file: u64,
    jobs: Vec<Job>,
    rng: Rng,
    now: u32,
    compacted_bytes: u64,
    job_bytes_max: u64,
    level0_max: usize,
}

impl Sim {
    fn new(compactions_max: usize) -> Sim {
        let table_bytes = TABLE_KEYS as u64 * ENTRY_BYTES;
        let options = Options {
            table_bytes_max: table_bytes,
            level0_tables_max: 4,
            level1_bytes_max: 8 * table_bytes,
            compactions_max,
            ..Options::default()
        };
        let context = Arc::new(TableContext {
            disk: Arc::new(RealDisk),
            dir: "/nowhere".into(),
            cache: Arc::new(BlockCache::new(0)),
            trash: Arc::new(Trash::default()),
        });
        Sim {
            options,
            context,
            planner: Planner::new(),
            version: Arc::new(Version::new([], []).unwrap()),
            tables: BTreeMap::new(),
            model: BTreeMap::new(),
            next_file: 1,
            jobs: Vec::new(),
            rng: Rng(7),
            now: 0,
            compacted_bytes: 0,
            job_bytes_max: 0,
            level0_max: 0,
        }
    }

    fn table(&mut self, number: u64, keys: BTreeMap<u32, u32>) -> Arc<Table> {
        let internal = |key: &u32| [&[0][..], &key.to_be_bytes()].concat();
        let meta = TableMeta {
            number,
            bytes: keys.len() as u64 * ENTRY_BYTES,
            entries: keys.len() as u64,
            tombstones: 0,
            footer_crc: 0,
            smallest: internal(keys.first_key_value().unwrap().0),
            largest: internal(keys.last_key_value().unwrap().0),
            ranges: 0,
            merges: 0,
            expires_min: Expires::NEVER,
            expires_max: Expires::NEVER,
            blobs: Vec::new(),
        };
        self.tables.insert(number, keys);
        Arc::new(Table::new(meta, Arc::clone(&self.context)))
    }

    fn new_number(&mut self) -> u64 {
        self.next_file += 1;
        self.next_file - 1
    }

    /// A table of random keys between `from` and `to` comes into level 0.
    fn flush(&mut self, from: u32, to: u32) {
        self.now += 1;
        let mut keys = BTreeMap::new();
        while keys.len() < TABLE_KEYS {
            keys.insert(from + self.rng.below(u64::from(to - from)) as u32, self.now);
        }
        self.model.extend(&keys);
        let number = self.new_number();
        let table = self.table(number, keys);
        self.version = Arc::new(self.version.edited(&[], &[(Place::Level(0), table)], &[]));
        self.level0_max = self.level0_max.max(self.version.level(0).len());
    }

    fn is_stalled(&self) -> bool {
        let waiting = self.planner.level0_waiting(&self.version);
        waiting > self.options.level0_tables_max * STALL_FACTOR
    }

    fn plan(&mut self, is_quiet: bool) {
        while let Some(mut plan) = self.planner.next(&self.version, &self.options, 0, is_quiet) {
            if plan.target == Target::Level(0) {
                assert!(is_quiet);
                plan.number = Some(self.new_number());
            }
            let bytes = plan.inputs().map(|table| table.meta().bytes).sum();
            let left = if plan.is_move { 0 } else { bytes };
            self.job_bytes_max = self.job_bytes_max.max(left);
            self.jobs.push(Job { plan, bytes, left });
        }
        assert!(self.jobs.len() <= self.options.compactions_max);
    }

    /// Compactions write so much, in turn.
    fn work(&mut self, mut bytes: u64) {
        loop {
            let is_quiet = self.rng.below(2) == 0;
            self.plan(is_quiet);
            while let Some(at) = self.jobs.iter().position(|job| job.left == 0) {
                let job = self.jobs.remove(at);
                self.finish(&job);
                self.plan(is_quiet);
            }
            if bytes < ENTRY_BYTES || self.jobs.is_empty() {
                return;
            }
            for job in &mut self.jobs {
                let step = job.left.min(8 * ENTRY_BYTES).min(bytes);
                (job.left, bytes) = (job.left - step, bytes - step);
            }
        }
    }

    fn finish(&mut self, job: &Job) {
        let Job { plan, bytes, .. } = job;
        let removed: Vec<_> = plan.inputs().cloned().collect();
        let mut added = Vec::new();
        let Target::Level(level) = plan.target else { panic!("there are no windows") };
        if plan.is_move {
            added.extend(removed.iter().map(|table| (Place::Level(level), Arc::clone(table))));
        } else {
            self.compacted_bytes += bytes;
            let mut keys = BTreeMap::new();
            // Newest first: the first to name a key is right.
            for table in &removed {
                for (key, at) in self.tables.remove(&table.meta().number).unwrap() {
                    keys.entry(key).or_insert(at);
                }
            }
            let tables_of = if level == 0 { usize::MAX } else { TABLE_KEYS };
            let mut number = plan.number;
            while !keys.is_empty() {
                let cut = keys.keys().nth(tables_of.min(keys.len())).copied();
                let rest = cut.map_or_else(BTreeMap::new, |cut| keys.split_off(&cut));
                let number = number.take().unwrap_or_else(|| self.new_number());
                let table = self.table(number, std::mem::replace(&mut keys, rest));
                added.push((Place::Level(level), table));
            }
        }
        self.planner.finish(plan.id);
        self.version = Arc::new(self.version.edited(&removed, &added, &[]));
    }

    /// Every key is found where a look-up finds it first.
    fn check(&self) {
        let mut found = BTreeMap::new();
        for level in 0..LEVELS {
            for table in self.version.level(level) {
                for (key, at) in &self.tables[&table.meta().number] {
                    found.entry(*key).or_insert(*at);
                }
            }
        }
        assert!(found == self.model, "an older entry hides a newer one");
    }
}

/// What compactions write for each flush in the long run.
fn amplification_bytes(flushes: u32) -> u64 {
    let mut sim = Sim::new(1);
    for _ in 0..flushes {
        sim.flush(0, u32::MAX);
        sim.work(u64::MAX);
    }
    sim.check();
    sim.compacted_bytes / u64::from(flushes)
}

#[test]
fn at_a_sustainable_rate_level_0_stays_in_bounds_and_nobody_is_held_back() {
    let flushes = 1_200;
    // A quarter more than it takes in the long run.
    let budget = amplification_bytes(flushes) * 5 / 4;
    for compactions_max in 1..=4 {
        let mut sim = Sim::new(compactions_max);
        for flush in 0..flushes {
            sim.flush(0, u32::MAX);
            assert!(!sim.is_stalled(), "{compactions_max} at once: held back at flush {flush}");
            sim.work(budget);
            // The work is spread: no level saves it up for later.
            for level in 1..LEVELS - 1 {
                let (held, limit) =
                    (sim.version.level_bytes(level), sim.options.level_bytes_max(level));
                assert!(held <= 4 * limit, "{compactions_max} at once: {held} in level {level}");
            }
        }
        sim.check();
        assert!(sim.version.level_bytes(3) > 0, "deep enough to mean something");
        // A job is no more than level 1 at its most, and level 0 on top of it.
        let job_tables_max = 8 * 4 + sim.options.level0_tables_max as u64 * STALL_FACTOR as u64;
        assert!(sim.job_bytes_max <= job_tables_max * sim.options.table_bytes_max);
    }
}

impl Sim {
    /// Finds a table of `level` damaged, one that no compaction is at work on.
    fn damage(&mut self, level: usize) -> Option<u64> {
        let busy: BTreeSet<u64> =
            self.jobs.iter().flat_map(|job| job.plan.inputs()).map(|t| t.meta().number).collect();
        let tables = self.version.level(level).iter().map(|table| table.meta().number);
        let free: Vec<u64> = tables.filter(|number| !busy.contains(number)).collect();
        let number = *free.get(free.len() / 2)?;
        self.planner.quarantine(number);
        Some(number)
    }

    fn level0_without(&self, from: u32, to: u32) -> usize {
        let tables = self.version.level(0).iter().map(|table| &self.tables[&table.meta().number]);
        tables.filter(|keys| keys.range(from..to).next().is_none()).count()
    }
}

const BUDGET_BYTES: u64 = 60 * TABLE_KEYS as u64 * ENTRY_BYTES;

#[test]
fn above_a_damaged_table_level_0_does_not_grow_without_bound() {
    for level in [0, 1] {
        for compactions_max in [1, 3] {
            let mut sim = Sim::new(compactions_max);
            for _ in 0..30 {
                sim.flush(0, u32::MAX);
                sim.work(BUDGET_BYTES);
            }
            sim.flush(0, u32::MAX);
            sim.damage(level).unwrap();
            for _ in 0..600 {
                sim.flush(0, u32::MAX);
                sim.work(BUDGET_BYTES);
                assert!(!sim.is_stalled());
                let tables = sim.version.level(0).len();
                assert!(tables <= 2 * TABLES_LIMIT, "{tables} above damage in level {level}");
            }
            sim.check();
        }
    }
}

#[test]
fn what_shares_no_keys_with_a_damaged_table_sinks_past_it() {
    for level in [0, 1] {
        let mut sim = Sim::new(2);
        let (half, narrow) = (1 << 16, 1 << 8);
        for _ in 0..9 {
            sim.flush(half, half + narrow);
            sim.work(if level == 0 { 0 } else { BUDGET_BYTES });
        }
        sim.work(u64::MAX);
        sim.flush(half, half + narrow);
        sim.damage(level).unwrap();
        for _ in 0..100 {
            // On both sides of it, and on it.
            sim.flush(0, half);
            sim.flush(half + narrow, 2 * half);
            sim.flush(half, half + narrow);
            sim.work(BUDGET_BYTES);
        }
        sim.check();
        let elsewhere = sim.level0_without(half, half + narrow);
        assert!(elsewhere < 2 * sim.options.level0_tables_max, "{elsewhere} stay in level 0");
        assert!(sim.version.level_bytes(2) > 0, "the others went down");
        assert!(sim.version.level(0).len() <= 2 * TABLES_LIMIT);
    }
}

#[test]
fn whatever_is_damaged_no_older_entry_comes_to_hide_a_newer_one() {
    for seed in 0..30 {
        let mut sim = Sim::new(1 + seed as usize % 4);
        sim.rng = Rng(seed);
        let mut damaged = BTreeSet::new();
        for flush in 0..150 {
            let from = sim.rng.below(1 << 12) as u32;
            let width = 1 << (6 + sim.rng.below(8));
            sim.flush(from, from + width);
            let budget = sim.rng.below(BUDGET_BYTES);
            sim.work(budget);
            if damaged.len() < 6 && sim.rng.below(20) == 0 {
                let level = sim.rng.below(4) as usize;
                damaged.extend(sim.damage(level));
            }
            if flush % 10 == 0 {
                sim.check();
            }
            let is_left_alone = |number| sim.tables.contains_key(number);
            assert!(damaged.iter().all(is_left_alone), "a damaged table stays where it is");
        }
        sim.work(u64::MAX);
        sim.check();
        assert!(sim.level0_max < 100, "{}", sim.level0_max);
    }
}

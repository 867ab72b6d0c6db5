//! What the worker does for a store: flushes, compactions, dropping windows, and sweeping the trash. All I/O
//! after start-up happens here.
//!
//! Invariants: a table's file and name are durable before the manifest names it, and its file is removed
//! only after the manifest, durably, no longer does; a job that failed can be run again, and
//! then does not write twice what is written already.

use crate::disk::Disk;
use crate::entry::{BlobRef, Entry, Expires};
use crate::error::Error;
use crate::ingest::Ingest;
use crate::manifest::{Edit, Manifest, State, write_whole};
use crate::memtable::{Frozen, MemRun, merge_frozen};
use crate::merge::{Merge, Rules, Source, Verdict, ranges_of};
use crate::options::{LEVELS, Options};
use crate::output::{Output, Written};
use crate::pacer::Pacer;
use crate::ranges::RangeSet;
use crate::sorted::SortedRun;
use crate::table::{Direction, KeyRange, Table, TableContext};
use crate::version::{Place, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

/// Called when a job is done and `poll` has something to install.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// What an engine and its jobs share.
pub(crate) struct Shared {
    pub(crate) options: Arc<Options>,
    pub(crate) manifest: Mutex<Manifest>,
    pub(crate) next_file: AtomicU64,
    pub(crate) context: Arc<TableContext>,
    /// Of compactions.
    pub(crate) pacer: Pacer,
    pub(crate) wake: Mutex<Option<Wake>>,
    pub(crate) done: SyncSender<Done>,
}

/// A finished job on its way back to the engine.
pub(crate) enum Done {
    Flush(Box<Flush>, Result<(), Error>),
    Compaction(Box<Compaction>, Result<(), Error>),
    Drop(Box<DropWindows>, Result<(), Error>),
    Checkpoint(Box<Checkpoint>, Result<(), Error>),
    Ingest(Box<Ingest>, Result<(), Error>),
    Sweep,
}

/// What a flush writes.
#[derive(Clone)]
pub(crate) enum FlushRun {
    /// What was in memory.
    Frozen(Frozen),
    /// What never was in the memtable.
    Sorted(Arc<SortedRun>),
}

impl FlushRun {
    /// As one run.
    fn whole(&self, options: &Options) -> WholeRun {
        match self {
            FlushRun::Frozen(runs) => WholeRun::Memory(merge_frozen(runs, options)),
            FlushRun::Sorted(run) => WholeRun::Sorted(Arc::clone(run)),
        }
    }
}

/// What a flush writes, as one run.
enum WholeRun {
    Memory(Arc<MemRun>),
    Sorted(Arc<SortedRun>),
}

impl WholeRun {
    /// What it deletes in older runs.
    fn ranges(&self) -> RangeSet {
        match self {
            WholeRun::Memory(run) => run.ranges().as_ref().clone(),
            WholeRun::Sorted(_) => RangeSet::default(),
        }
    }

    /// Passes the entries of a keyspace on, their keys rising.
    fn each<'a>(
        &'a self,
        keyspace: u8,
        mut take: impl FnMut(&'a [u8], Entry<'a>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match self {
            WholeRun::Memory(run) => {
                let mut cursor = run.cursor(keyspace, &[], None, Direction::Forward);
                while let (Some(key), Some(entry)) = (cursor.key(), cursor.entry()) {
                    take(key, entry)?;
                    cursor.advance();
                }
                Ok(())
            }
            WholeRun::Sorted(run) => {
                run.entries(keyspace).try_for_each(|(key, entry)| take(key, entry))
            }
        }
    }
}

/// A run on its way to level 0 and to the windows of its keys.
pub(crate) struct Flush {
    pub(crate) run: FlushRun,
    pub(crate) mark: u64,
    /// At the mark.
    pub(crate) clock_s: u64,
    /// What was there before: says which windows a range delete has to reach.
    pub(crate) version: Arc<Version>,
    /// The output, once it is written; it may not be in the manifest yet.
    pub(crate) built: Option<Written>,
}

/// Where the output of a compaction goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Level(usize),
    Window {
        keyspace: u8,
        window: u64,
        /// Of the newest input.
        rank: u64,
        /// The oldest table of the window is among the inputs.
        is_oldest: bool,
    },
}

/// Tables that become new ones.
pub(crate) struct Compaction {
    /// Names the job among those that run.
    pub(crate) id: u64,
    /// Runs, newest first: each some tables that do not overlap, in key order.
    pub(crate) sources: Vec<Vec<Arc<Table>>>,
    pub(crate) target: Target,
    /// The inputs only change their level.
    pub(crate) is_move: bool,
    /// What the plan was made on: says what lies deeper. Nothing there that shares keys with the inputs
    /// changes meanwhile: the planner keeps compactions apart.
    pub(crate) version: Arc<Version>,
    /// The clock as the manifest has it: what expires by it is expired after a crash as well.
    pub(crate) clock_s: u64,
    /// Blob files that are mostly garbage: values in them are written anew.
    pub(crate) rewrites: Arc<BTreeSet<u64>>,
    /// Of the output in level 0, taken while no newer table was in the making; none for other targets.
    pub(crate) number: Option<u64>,
    pub(crate) built: Option<Written>,
}

/// Tables of windows that leave.
pub(crate) struct DropWindows {
    /// Names the job among those that run.
    pub(crate) id: u64,
    pub(crate) tables: Vec<Arc<Table>>,
}

/// A whole store on its way into another folder.
pub(crate) struct Checkpoint {
    pub(crate) dir: PathBuf,
    pub(crate) version: Arc<Version>,
    pub(crate) mark: u64,
    pub(crate) clock_s: u64,
}

impl Compaction {
    /// All tables that leave.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.sources.iter().flatten()
    }

    /// True when runs older than the inputs may hold `key`.
    fn is_below(&self, key: &[u8]) -> bool {
        match self.target {
            Target::Level(0) | Target::Window { is_oldest: false, .. } => true,
            Target::Level(level) => self.version.is_below(level, key),
            Target::Window { .. } => {
                let mut to = key.to_vec();
                to.push(0);
                self.version.is_in_levels(&KeyRange { from: key.to_vec(), to: Some(to) })
            }
        }
    }

    /// True when runs older than the inputs may hold keys of `range`.
    fn is_range_below(&self, range: &KeyRange) -> bool {
        match self.target {
            Target::Level(0) => true,
            Target::Level(level) => self.version.is_range_below(level, range),
            // What a keyspace in windows still has in levels is deleted by tables there.
            Target::Window { is_oldest, .. } => !is_oldest,
        }
    }

    /// The range deletes that the output has to carry on.
    fn ranges_kept(&self) -> Result<RangeSet, Error> {
        let mut all = Vec::new();
        for run in &self.sources {
            all.extend(ranges_of(run)?.iter().cloned());
        }
        all.retain(|range| {
            let to = Some(range.to.clone());
            self.is_range_below(&KeyRange { from: range.from.clone(), to })
        });
        Ok(RangeSet::union(&all))
    }
}

impl Shared {
    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.context.disk
    }

    /// Runs a flush and sends it back.
    pub(crate) fn run_flush(&self, mut job: Box<Flush>) {
        let result = guarded("flush", || self.flush(&mut job));
        self.report(Done::Flush(job, result));
    }

    /// Runs a compaction and sends it back.
    pub(crate) fn run_compaction(&self, mut job: Box<Compaction>) {
        let result = guarded("compaction", || self.compact(&mut job));
        self.report(Done::Compaction(job, result));
    }

    /// Lets windows go and sends the job back.
    pub(crate) fn run_drop(&self, job: Box<DropWindows>) {
        let result = guarded("drop", || {
            let removed = job.tables.iter().map(|table| table.meta().number).collect();
            self.commit(Edit { removed, ..Edit::default() })?;
            job.tables.iter().for_each(|table| table.set_obsolete());
            Ok(())
        });
        self.report(Done::Drop(job, result));
    }

    /// Makes a checkpoint and sends it back.
    pub(crate) fn run_checkpoint(&self, job: Box<Checkpoint>) {
        let result = guarded("checkpoint", || self.checkpoint(&job));
        self.report(Done::Checkpoint(job, result));
    }

    /// Empties the trash.
    pub(crate) fn run_sweep(&self) {
        // A panic here would be one of the disk's; the files are found again at the next start.
        drop(catch_unwind(AssertUnwindSafe(|| self.context.trash.sweep(self.disk()))));
        self.report(Done::Sweep);
    }

    pub(crate) fn report(&self, done: Done) {
        // There is room for all that may be in flight, so this never waits; and a failure means that the
        // engine is gone, which has no use for the news.
        drop(self.done.send(done));
        let wake = self.wake.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(wake) = wake {
            wake();
        }
    }

    /// Links the files of a version into another folder and begins a manifest there, last of all.
    fn checkpoint(&self, job: &Checkpoint) -> Result<(), Error> {
        let (disk, from) = (self.disk(), self.context.dir());
        disk.create_dir(&job.dir).map_err(Error::io("create", &job.dir))?;
        let there = disk.list(&job.dir).map_err(Error::io("list", &job.dir))?;
        if let Some((name, _)) = there.first() {
            let file = job.dir.join(name);
            let source = std::io::ErrorKind::AlreadyExists.into();
            return Err(Error::Io { action: "make a checkpoint beside", file, source });
        }
        let (uses, keyspaces) = {
            let manifest = self.manifest.lock().unwrap_or_else(PoisonError::into_inner);
            (manifest.state().uses.clone(), self.options.keyspaces)
        };
        let tables = job.version.places().map(|(place, table)| {
            let meta = table.meta();
            (meta.number, (place, meta.clone()))
        });
        let state = State {
            edit: 1,
            mark: job.mark,
            clock_s: job.clock_s,
            next_file: self.next_file.load(Ordering::Acquire),
            tables: tables.collect(),
            blobs: job.version.blobs().iter().map(|(n, blob)| (*n, *blob.meta())).collect(),
            uses,
        };
        for name in state.file_names() {
            let target = job.dir.join(&name);
            disk.link(&from.join(&name), &target).map_err(Error::io("link", &target))?;
        }
        disk.sync_dir(&job.dir).map_err(Error::io("sync folder", &job.dir))?;
        write_whole(disk, &job.dir, keyspaces, &state).map(drop)
    }

    fn flush(&self, job: &mut Flush) -> Result<(), Error> {
        let built = match job.built.take() {
            Some(built) => built,
            None => self.write_run(job)?,
        };
        let built = job.built.insert(built);
        let (mark, clock_s) = (Some(job.mark), Some(job.clock_s));
        self.commit(Edit { mark, clock_s, ..built.edit() })
    }

    /// Writes a run as one table of level 0, or none if it holds nothing for it, and one for each window.
    fn write_run(&self, job: &Flush) -> Result<Written, Error> {
        let run = job.run.whole(&self.options);
        let mut output = Output::new(self, u64::MAX, None);
        let result = self.write_levels(job, &run, &mut output).and_then(|()| {
            let in_windows = |keyspace: &u8| self.options.compaction(*keyspace).window().is_some();
            let mut keyspaces = (0..self.options.keyspaces).filter(in_windows);
            keyspaces.try_for_each(|keyspace| self.write_windows(job, &run, keyspace, &mut output))
        });
        output.close(result)
    }

    fn write_levels(
        &self,
        job: &Flush,
        run: &WholeRun,
        output: &mut Output<'_>,
    ) -> Result<(), Error> {
        output.begin(Target::Level(0), run.ranges());
        let mut internal = Vec::new();
        for keyspace in 0..self.options.keyspaces {
            if self.options.compaction(keyspace).window().is_some() {
                continue;
            }
            run.each(keyspace, |key, entry| {
                put_internal(&mut internal, keyspace, key);
                output.add(&internal, self.as_flushed(entry, job.clock_s))
            })?;
        }
        output.end()
    }

    /// What has expired is kept as short as can be.
    fn as_flushed<'a>(&self, entry: Entry<'a>, clock_s: u64) -> Entry<'a> {
        if entry.expires().is_due(clock_s) { Entry::Tombstone } else { entry }
    }

    /// Writes one keyspace window by window.
    fn write_windows(
        &self,
        job: &Flush,
        run: &WholeRun,
        keyspace: u8,
        output: &mut Output<'_>,
    ) -> Result<(), Error> {
        let compaction = self.options.compaction(keyspace);
        let mut windows: BTreeMap<u64, Vec<(&[u8], Entry<'_>)>> = BTreeMap::new();
        run.each(keyspace, |key, entry| {
            let window = compaction.window_of(key).unwrap_or_default();
            windows.entry(window).or_default().push((key, entry));
            Ok(())
        })?;
        let end = keyspace.checked_add(1).map(|next| vec![next]);
        let ranges = RangeSet::union(&run.ranges().clipped(&[keyspace], end.as_deref()));
        if !ranges.is_empty() {
            // A range delete reaches every window that is there.
            for (window, _) in job.version.windows_of(keyspace, 0, u64::MAX) {
                windows.entry(window).or_default();
            }
        }
        let mut internal = Vec::new();
        for (window, items) in windows {
            let is_there = !job.version.window(keyspace, window).is_empty();
            let ranges = if is_there { ranges.clone() } else { RangeSet::default() };
            let target = Target::Window { keyspace, window, rank: u64::MAX, is_oldest: !is_there };
            output.begin(target, ranges);
            for (key, entry) in items {
                put_internal(&mut internal, keyspace, key);
                output.add(&internal, self.as_flushed(entry, job.clock_s))?;
            }
            output.end()?;
        }
        Ok(())
    }

    fn compact(&self, job: &mut Compaction) -> Result<(), Error> {
        assert!(job.inputs().next().is_some());
        let built = match job.built.take() {
            Some(built) => built,
            None if job.is_move => {
                let Target::Level(level) = job.target else { panic!("windows do not move") };
                assert!(level < LEVELS);
                let moved = job.inputs().map(|table| (Place::Level(level), Arc::clone(table)));
                Written { tables: moved.collect(), blobs: Vec::new() }
            }
            None => self.merge(job)?,
        };
        let removed = job.inputs().map(|table| table.meta().number).collect();
        let built = job.built.insert(built);
        self.commit(Edit { removed, ..built.edit() })?;
        if !job.is_move {
            // Durably out of the manifest: the files go with their last reader.
            job.inputs().for_each(|table| table.set_obsolete());
        }
        Ok(())
    }

    /// Merges the tables of a job into new ones.
    fn merge(&self, job: &Compaction) -> Result<Written, Error> {
        let all = KeyRange::all();
        let forward = Direction::Forward;
        let runs = job.sources.iter().filter(|run| !run.is_empty());
        let sources = runs.map(|run| Source::tables(run, &all, forward, false)).collect();
        let bytes_max = match job.target {
            Target::Level(0) | Target::Window { .. } => u64::MAX,
            Target::Level(_) => self.options.table_bytes_max,
        };
        assert_eq!(job.number.is_some(), job.target == Target::Level(0), "its age is its number");
        let mut output = Output::new(self, bytes_max, Some(&self.pacer));
        output.set_number(job.number);
        let result = job.ranges_kept().and_then(|ranges| {
            output.begin(job.target, ranges);
            self.merge_into(job, Merge::new(sources, forward, None), &mut output)?;
            output.end()
        });
        output.close(result)
    }

    fn merge_into(
        &self,
        job: &Compaction,
        mut merge: Merge<'_>,
        output: &mut Output<'_>,
    ) -> Result<(), Error> {
        let rules = Rules { options: &self.options, clock_s: job.clock_s };
        let mut buffer = Vec::new();
        let never = Expires::NEVER;
        while merge.advance()? {
            let key = merge.key();
            let newest = merge.newest();
            // Looking below is for those that need it: most are plain values.
            let is_plain = matches!(newest, Entry::Put { .. } | Entry::Blob { .. });
            let is_below = match newest {
                _ if is_plain && !newest.expires().is_due(job.clock_s) => true,
                _ => job.is_below(key),
            };
            let read_blob = |at: BlobRef, key: &[u8]| job.version.blob(at.file)?.get(&at, key);
            match merge.resolve(&rules, !is_below, read_blob, &mut buffer)? {
                Verdict::Newest => match newest {
                    Entry::Blob { at, expires } if job.rewrites.contains(&at.file) => {
                        job.version.blob(at.file)?.read_into(&at, key, &mut buffer)?;
                        output.add(key, Entry::Put { value: &buffer, expires })?;
                    }
                    newest => output.add(key, newest)?,
                },
                Verdict::Absent if is_below => output.add(key, Entry::Tombstone)?,
                Verdict::Absent => {}
                Verdict::Folded => {
                    output.add(key, Entry::Put { value: &buffer, expires: never })?;
                }
                Verdict::Operands => output.add(key, Entry::Merge { operand: &buffer })?,
            }
        }
        Ok(())
    }

    pub(crate) fn commit(&self, edit: Edit) -> Result<(), Error> {
        let next_file = self.next_file.load(Ordering::Acquire);
        let mut manifest = self.manifest.lock().unwrap_or_else(PoisonError::into_inner);
        manifest.commit(Edit { next_file, ..edit })
    }
}

impl Written {
    /// The edit that adds it.
    fn edit(&self) -> Edit {
        let added = self.tables.iter().map(|(place, table)| (*place, table.meta().clone()));
        let blobs_added = self.blobs.iter().map(|blob| *blob.meta()).collect();
        Edit { added: added.collect(), blobs_added, ..Edit::default() }
    }
}

fn put_internal(out: &mut Vec<u8>, keyspace: u8, key: &[u8]) {
    out.clear();
    out.push(keyspace);
    out.extend_from_slice(key);
}

/// A panic in a job becomes an error, so that the engine that waits for it hears of it.
pub(crate) fn guarded(
    job: &'static str,
    run: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(Error::JobPanicked { job }))
}

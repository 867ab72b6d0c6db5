//! Questions to the cold tier of one partition.
//!
//! Invariants: an answer is of one manifest; a file that has gone since then makes the reader take
//! the next manifest and begin again, not skip. What is damaged is an error that names it, and
//! questions about other days and series go on being answered.

use crate::cache::Caches;
use crate::catalog::Catalog;
use crate::day::Day;
use crate::error::ColdError;
use crate::file::{FileCursor, Files, Question};
use crate::hot::RowSource;
use crate::manifest::Manifest;
use crate::stretch::Stretch;
use crate::tiers::DayCursor;
use novax_model::{Measurand, PartitionId, Timestamp};
use novax_tsdb::cold::Window;
use novax_tsdb::{Aggregate, Column, Columns};
use object_store::ObjectStore;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// How often a question begins anew because files went while it was answered.
const BEGINNINGS_MAX: u32 = 4;

/// What is asked.
#[derive(Debug, Clone)]
pub struct ColdQuery {
    /// Ascending series; `None` for all.
    pub series: Option<Arc<[u64]>>,
    /// The first stamp wanted.
    pub from: Timestamp,
    /// The first stamp no longer wanted.
    pub to: Timestamp,
    /// Which columns. Stamps come in any case.
    pub columns: Columns,
}

impl ColdQuery {
    /// Every row of all series.
    #[must_use]
    pub fn all() -> Self {
        Self { series: None, from: Timestamp::ZERO, to: Timestamp::MAX, columns: Columns::ALL }
    }

    /// What of it lies in a day.
    fn of_day(&self, day: Day) -> Option<Question> {
        let window = day.window();
        let window = Window { from: window.from.max(self.from), to: window.to.min(self.to) };
        (window.from < window.to).then(|| Question {
            series: self.series.clone(),
            window,
            columns: self.columns.and(Columns::STAMPS),
        })
    }
}

/// Goes through one day of a partition that has no cold tier, as [`ColdReader::day`] does.
pub(crate) fn hot_day(
    day: Day,
    query: &ColdQuery,
    hot: Option<Arc<dyn RowSource>>,
) -> Result<Option<DayCursor>, ColdError> {
    query.of_day(day).map(|question| DayCursor::of_hot(hot, question)).transpose()
}

/// Reads the cold tier of one partition. Cheap to clone; clones share manifest and caches.
#[derive(Debug, Clone)]
pub struct ColdReader {
    catalog: Catalog,
    files: Files,
    manifest: Arc<Mutex<Arc<Manifest>>>,
    known: Arc<Mutex<Option<KnownSeries>>>,
}

/// All series of a generation.
type KnownSeries = (u64, Arc<BTreeSet<u64>>);

impl ColdReader {
    /// Opens a partition with the manifest that is in force.
    ///
    /// # Errors
    /// When the store does not answer, or the manifest is damaged.
    pub async fn open(
        objects: Arc<dyn ObjectStore>,
        partition: PartitionId,
        caches: Arc<Caches>,
    ) -> Result<Self, ColdError> {
        let catalog = Catalog::new(Arc::clone(&objects), partition);
        let manifest = Arc::new(Mutex::new(Arc::new(catalog.newest().await?)));
        let files = Files { objects, partition, caches: Some(caches) };
        Ok(Self { catalog, files, manifest, known: Arc::default() })
    }

    /// The manifest that questions are answered from.
    #[must_use]
    pub fn manifest(&self) -> Arc<Manifest> {
        Arc::clone(&self.manifest.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the manifest that is in force now.
    ///
    /// # Errors
    /// As [`open`](Self::open); the one before stays then.
    pub async fn refresh(&self) -> Result<Arc<Manifest>, ColdError> {
        let newest = self.catalog.newest().await?;
        let mut held = self.manifest.lock().unwrap_or_else(PoisonError::into_inner);
        // Another refresh may have been faster with a later one.
        if newest.generation > held.generation {
            *held = Arc::new(newest);
        }
        Ok(Arc::clone(&held))
    }

    /// The days that have files and something of a time.
    #[must_use]
    pub fn days(&self, from: Timestamp, to: Timestamp) -> Vec<Day> {
        if from >= to {
            return Vec::new();
        }
        let (first, last) = (Day::of(from), Day::of(Timestamp(to.0 - 1)));
        self.manifest().days.range(first..=last).map(|(day, _)| *day).collect()
    }

    /// Goes through one day, cold rows and those of a hot source merged.
    ///
    /// # Errors
    /// When a tier cannot be read, or an index is damaged.
    pub async fn day(
        &self,
        day: Day,
        query: &ColdQuery,
        hot: Option<Arc<dyn RowSource>>,
    ) -> Result<Option<DayCursor>, ColdError> {
        let Some(question) = query.of_day(day) else { return Ok(None) };
        for _ in 1..BEGINNINGS_MAX {
            let manifest = self.manifest();
            let (files, entries) = (&self.files, manifest.of_day(day));
            match DayCursor::open(files, day, entries, hot.clone(), question.clone()).await {
                Err(error) if error.is_missing() => self.after_missing(&manifest, error).await?,
                opened => return opened.map(Some),
            }
        }
        let manifest = self.manifest();
        DayCursor::open(&self.files, day, manifest.of_day(day), hot, question).await.map(Some)
    }

    /// All series that have rows of a day.
    ///
    /// # Errors
    /// When the store does not answer, or an index is damaged.
    pub async fn series_of(&self, day: Day) -> Result<BTreeSet<u64>, ColdError> {
        self.again(|| async {
            let mut all = BTreeSet::new();
            for entry in self.manifest().of_day(day) {
                let index = self.files.index(day, entry).await?;
                all.extend(index.series().map(|one| one.series));
            }
            Ok(all)
        })
        .await
    }

    /// All series that have rows of any day.
    ///
    /// # Errors
    /// When the store does not answer, or an index is damaged.
    pub async fn all_series(&self) -> Result<Arc<BTreeSet<u64>>, ColdError> {
        let generation = self.manifest().generation;
        if let Some((of, known)) = &*self.known.lock().unwrap_or_else(PoisonError::into_inner)
            && *of == generation
        {
            return Ok(Arc::clone(known));
        }
        let mut all = BTreeSet::new();
        for day in self.days(Timestamp::ZERO, Timestamp::MAX) {
            all.extend(self.series_of(day).await?);
        }
        let all = Arc::new(all);
        let known = Some((generation, Arc::clone(&all)));
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(all)
    }

    /// A time not before `from`, and not after the first row of a series at or after it. `None` when
    /// there are no more.
    ///
    /// # Errors
    /// When the store does not answer, or an index is damaged.
    pub async fn next_row_time(
        &self,
        series: u64,
        from: Timestamp,
    ) -> Result<Option<Timestamp>, ColdError> {
        self.again(|| async {
            for day in self.days(from, Timestamp::MAX) {
                let mut first: Option<Timestamp> = None;
                for entry in self.manifest().of_day(day) {
                    if series < entry.series_first || entry.series_last < series {
                        continue;
                    }
                    let index = self.files.index(day, entry).await?;
                    let own = index.series().filter(|one| one.series == series && one.last >= from);
                    first = own.map(|one| one.first.max(from)).chain(first).min();
                }
                if first.is_some() {
                    return Ok(first);
                }
            }
            Ok(None)
        })
        .await
    }

    /// A file was not there. Fine when the manifest has moved on; loss when it has not.
    async fn after_missing(&self, was: &Manifest, error: ColdError) -> Result<(), ColdError> {
        let now = self.refresh().await?;
        if now.generation > was.generation {
            return Ok(());
        }
        Err(ColdError::damaged("a cold file", format!("the manifest names it: {error}")))
    }

    /// All rows of a question, by series and day. For ranges that fit into memory.
    ///
    /// # Errors
    /// When the store does not answer, or something is damaged.
    pub async fn rows(&self, query: &ColdQuery) -> Result<Vec<Stretch>, ColdError> {
        self.again(|| self.rows_once(query)).await
    }

    async fn rows_once(&self, query: &ColdQuery) -> Result<Vec<Stretch>, ColdError> {
        let mut all: BTreeMap<u64, Stretch> = BTreeMap::new();
        for day in self.days(query.from, query.to) {
            let Some(mut cursor) = self.day(day, query, None).await? else { continue };
            while let Some(stretch) = cursor.next().await? {
                let before = all.remove(&stretch.series);
                let before = before.unwrap_or_else(|| Stretch::empty(stretch.series));
                all.insert(stretch.series, before.merge(&stretch));
            }
        }
        Ok(all.into_values().collect())
    }

    /// Asks anew while files go because a later manifest has replaced them.
    async fn again<T, F>(&self, ask: impl Fn() -> F) -> Result<T, ColdError>
    where
        F: Future<Output = Result<T, ColdError>>,
    {
        for _ in 1..BEGINNINGS_MAX {
            let manifest = self.manifest();
            match ask().await {
                Err(error) if error.is_missing() => self.after_missing(&manifest, error).await?,
                answer => return answer,
            }
        }
        ask().await
    }

    /// Count, extremes, sum, first and last of one column, for each series that has values.
    ///
    /// Columns are added up as they were decoded; only series with rows in more than one file of a
    /// day are merged row by row.
    ///
    /// # Errors
    /// When the store does not answer, or something is damaged.
    pub async fn aggregate(
        &self,
        query: &ColdQuery,
        measurand: Measurand,
    ) -> Result<BTreeMap<u64, Aggregate>, ColdError> {
        self.again(|| self.aggregate_once(query, measurand)).await
    }

    async fn aggregate_once(
        &self,
        query: &ColdQuery,
        measurand: Measurand,
    ) -> Result<BTreeMap<u64, Aggregate>, ColdError> {
        let query = ColdQuery { columns: Columns::of(measurand), ..query.clone() };
        let mut sums = BTreeMap::new();
        for day in self.days(query.from, query.to) {
            let Some(question) = query.of_day(day) else { continue };
            self.aggregate_day(day, &question, measurand, &mut sums).await?;
        }
        Ok(sums)
    }

    async fn aggregate_day(
        &self,
        day: Day,
        question: &Question,
        measurand: Measurand,
        sums: &mut BTreeMap<u64, Aggregate>,
    ) -> Result<(), ColdError> {
        let manifest = self.manifest();
        let mut seen = BTreeSet::new();
        let mut twice = BTreeSet::new();
        let mut cursors = Vec::new();
        for entry in manifest.of_day(day).iter().filter(|entry| question.touches(entry)) {
            let cursor = FileCursor::open(&self.files, day, entry, question).await?;
            twice.extend(cursor.todo().filter(|series| !seen.insert(*series)));
            cursors.push(cursor);
        }
        for cursor in &mut cursors {
            while let Some(group) = cursor.next_group().await? {
                let column = group.scratch.column(measurand);
                let stamps = group.scratch.stamps();
                let once = |series| question.wants(series) && !twice.contains(&series);
                for rows in group.rows.iter().filter(|rows| once(rows.series)) {
                    let sum = aggregate_rows(stamps, column, rows.rows.clone(), question.window);
                    add(sums, rows.series, sum);
                }
            }
        }
        if twice.is_empty() {
            return Ok(());
        }
        let question = Question { series: Some(twice.into_iter().collect()), ..question.clone() };
        let entries = manifest.of_day(day);
        let mut cursor = DayCursor::open(&self.files, day, entries, None, question).await?;
        while let Some(stretch) = cursor.next().await? {
            let values =
                stretch.ticks.iter().filter_map(|tick| Some((tick.at, tick.get(measurand)?)));
            for (at, value) in values {
                add(sums, stretch.series, Some(Aggregate::of(at, value)));
            }
        }
        Ok(())
    }

    /// Count, extremes, sum, first and last of one column over all series, whole days of it from
    /// the indexes alone.
    ///
    /// # Errors
    /// When the store does not answer, or something is damaged.
    pub async fn aggregate_total(
        &self,
        from: Timestamp,
        to: Timestamp,
        measurand: Measurand,
    ) -> Result<Option<Aggregate>, ColdError> {
        self.again(|| self.total_once(from, to, measurand)).await
    }

    async fn total_once(
        &self,
        from: Timestamp,
        to: Timestamp,
        measurand: Measurand,
    ) -> Result<Option<Aggregate>, ColdError> {
        let query = ColdQuery { series: None, from, to, columns: Columns::of(measurand) };
        let mut total = None;
        for day in self.days(from, to) {
            let Some(question) = query.of_day(day) else { continue };
            let manifest = self.manifest();
            if question.window == day.window() && are_apart(manifest.of_day(day)) {
                for entry in manifest.of_day(day) {
                    let index = self.files.index(day, entry).await?;
                    let plans = index.plan(&novax_tsdb::cold::Wanted {
                        series: None,
                        from: question.window.from,
                        to: question.window.to,
                        columns: question.columns,
                    });
                    for plan in plans {
                        total =
                            Aggregate::merged(total, index.group_aggregate(plan.group, measurand));
                    }
                }
                continue;
            }
            let mut sums = BTreeMap::new();
            self.aggregate_day(day, &question, measurand, &mut sums).await?;
            total = sums.into_values().fold(total, |all, one| Aggregate::merged(all, Some(one)));
        }
        Ok(total)
    }
}

/// Whether no series can be in two of the files.
fn are_apart(entries: &[crate::manifest::FileEntry]) -> bool {
    let mut ranges: Vec<(u64, u64)> =
        entries.iter().map(|entry| (entry.series_first, entry.series_last)).collect();
    ranges.sort_unstable();
    ranges.is_sorted_by(|one, next| one.1 < next.0)
}

fn add(sums: &mut BTreeMap<u64, Aggregate>, series: u64, sum: Option<Aggregate>) {
    let Some(sum) = sum else { return };
    sums.entry(series).and_modify(|all| all.merge(&sum)).or_insert(sum);
}

/// Adds up the rows of one series that lie in a window.
fn aggregate_rows(
    stamps: &[Timestamp],
    column: &Column,
    rows: std::ops::Range<usize>,
    window: Window,
) -> Option<Aggregate> {
    let own = stamps.get(rows.clone())?;
    let from = rows.start + own.partition_point(|at| *at < window.from);
    let to = rows.start + own.partition_point(|at| *at < window.to);
    if from >= to || column.is_absent() {
        return None;
    }
    if column.is_full() {
        let values = column.values().get(from..to)?;
        let (first, last) = (*values.first()?, *values.last()?);
        let (mut min, mut max, mut sum) = (first, first, 0_i128);
        // Blocks whose sum cannot leave 64 bits add up without wide arithmetic.
        for part in values.chunks(1024) {
            let low = part.iter().copied().min().unwrap_or(first);
            let high = part.iter().copied().max().unwrap_or(first);
            (min, max) = (min.min(low), max.max(high));
            const NARROW: i64 = i64::MAX >> 10;
            sum += if -NARROW <= low && high <= NARROW {
                i128::from(part.iter().fold(0_i64, |sum, value| sum.wrapping_add(*value)))
            } else {
                part.iter().copied().map(i128::from).sum()
            };
        }
        let (first, last) = ((*stamps.get(from)?, first), (*stamps.get(to - 1)?, last));
        return Some(Aggregate { count: (to - from) as u64, min, max, sum, first, last });
    }
    (from..to).fold(None, |all, row| {
        let one = column.get(row).zip(stamps.get(row));
        Aggregate::merged(all, one.map(|(value, at)| Aggregate::of(*at, value)))
    })
}

/// The same questions for threads that have no runtime of their own, and may wait.
#[derive(Debug, Clone)]
pub struct BlockingReader {
    reader: ColdReader,
    runtime: tokio::runtime::Handle,
}

impl BlockingReader {
    /// A reader whose requests run on a runtime. Its methods must not be called on that runtime's
    /// own threads: they would wait for themselves.
    #[must_use]
    pub fn new(reader: ColdReader, runtime: tokio::runtime::Handle) -> Self {
        Self { reader, runtime }
    }

    /// The reader itself, for code that may await.
    #[must_use]
    pub fn reader(&self) -> &ColdReader {
        &self.reader
    }

    /// [`ColdReader::rows`].
    ///
    /// # Errors
    /// As that.
    pub fn rows(&self, query: &ColdQuery) -> Result<Vec<Stretch>, ColdError> {
        self.runtime.block_on(self.reader.rows(query))
    }

    /// [`ColdReader::aggregate`].
    ///
    /// # Errors
    /// As that.
    pub fn aggregate(
        &self,
        query: &ColdQuery,
        measurand: Measurand,
    ) -> Result<BTreeMap<u64, Aggregate>, ColdError> {
        self.runtime.block_on(self.reader.aggregate(query, measurand))
    }

    /// [`ColdReader::all_series`].
    ///
    /// # Errors
    /// As that.
    pub fn all_series(&self) -> Result<Arc<BTreeSet<u64>>, ColdError> {
        self.runtime.block_on(self.reader.all_series())
    }

    /// [`ColdReader::next_row_time`].
    ///
    /// # Errors
    /// As that.
    pub fn next_row_time(
        &self,
        series: u64,
        from: Timestamp,
    ) -> Result<Option<Timestamp>, ColdError> {
        self.runtime.block_on(self.reader.next_row_time(series, from))
    }

    /// [`ColdReader::day`].
    ///
    /// # Errors
    /// As that.
    pub fn day(
        &self,
        day: Day,
        query: &ColdQuery,
        hot: Option<Arc<dyn RowSource>>,
    ) -> Result<Option<BlockingDay>, ColdError> {
        let cursor = self.runtime.block_on(self.reader.day(day, query, hot))?;
        Ok(cursor.map(|cursor| BlockingDay { cursor, runtime: self.runtime.clone() }))
    }
}

/// A [`DayCursor`] for threads that may wait.
#[derive(Debug)]
pub struct BlockingDay {
    cursor: DayCursor,
    runtime: tokio::runtime::Handle,
}

impl Iterator for BlockingDay {
    type Item = Result<Stretch, ColdError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.runtime.block_on(self.cursor.next()).transpose()
    }
}

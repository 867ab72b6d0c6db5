//! Questions to series: ranges merged from overlapping chunks, last values, windows with gaps filled,
//! what a counter counted, and one series as of another. Pure functions, integers only.
//!
//! Chunks of one series overlap where ticks came late, and where one was moved to a colder tier while
//! another was kept. Whoever reads merges them by stamp; of equal stamps, each value is that of the
//! stretch with the lowest [`Rank`] that has one.

use std::collections::VecDeque;

use novax_model::{Measurand, MeterTick, Timestamp};

use crate::aggregate::Aggregate;
use crate::chunk::{Chunk, chunk_bounds};
use crate::clean::{Limits, Row};
use crate::error::Error;
use crate::head::{decode_rows, insert};
use crate::rows::Scratch;

/// Whose values stand where stretches have the same stamp: the lowest's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(pub u64);

impl Rank {
    /// Ticks that came in time.
    pub const BASE: Rank = Rank(0);
    /// Late ticks that are still open: nothing came after them.
    pub const OPEN_LATE: Rank = Rank(u64::MAX);

    /// A sealed chunk of late ticks, by its number.
    #[must_use]
    pub fn late(sequence: u32) -> Rank {
        Rank(u64::from(sequence) + 1)
    }
}

/// Ticks of one series from one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    first: Timestamp,
    last: Timestamp,
    rank: Rank,
    body: Body,
}

/// A part of a series that overlaps no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A chunk as it is stored.
    Chunk(Vec<u8>),
    /// Rows, stamps increasing.
    Rows(Vec<Row>),
}

impl Body {
    /// Its rows.
    ///
    /// # Errors
    /// [`Error`] when a chunk cannot be read.
    pub fn into_rows(self) -> Result<Vec<Row>, Error> {
        match self {
            Body::Chunk(bytes) => decode_rows(&bytes),
            Body::Rows(rows) => Ok(rows),
        }
    }
}

impl Stretch {
    /// A stored chunk.
    ///
    /// # Errors
    /// [`Error`] when the bytes are no chunk.
    pub fn chunk(rank: Rank, bytes: Vec<u8>) -> Result<Stretch, Error> {
        let (first, last, _) = chunk_bounds(&bytes)?;
        Ok(Stretch { first, last, rank, body: Body::Chunk(bytes) })
    }

    /// Rows whose stamps increase; `None` when there are none.
    ///
    /// # Panics
    /// When stamps do not increase.
    #[must_use]
    pub fn rows(rank: Rank, rows: Vec<Row>) -> Option<Stretch> {
        assert!(rows.is_sorted_by(|a, b| a.tick.at < b.tick.at), "stamps increase");
        let (first, last) = (rows.first()?.tick.at, rows.last()?.tick.at);
        Some(Stretch { first, last, rank, body: Body::Rows(rows) })
    }

    /// Its first stamp.
    #[must_use]
    pub fn first(&self) -> Timestamp {
        self.first
    }

    /// Its last stamp.
    #[must_use]
    pub fn last(&self) -> Timestamp {
        self.last
    }

    /// Whether it may have ticks of `from..=until`.
    #[must_use]
    pub fn touches(&self, from: Timestamp, until: Timestamp) -> bool {
        self.first <= until && from <= self.last
    }
}

/// What went wrong at a place that ticks come from.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// A place that ticks of many series come from: the store, or a colder tier. Readers ask all places and
/// merge.
pub trait SeriesSource: Send + Sync {
    /// The lowest series from `from` on that has ticks.
    ///
    /// # Errors
    /// When the place cannot be read.
    fn next_series(&self, from: u64) -> Result<Option<u64>, SourceError>;

    /// A time not before `from`, and not after the first tick at or after `from`: where to look on.
    /// `None` when there are no more.
    ///
    /// # Errors
    /// When the place cannot be read.
    fn next_time(&self, series: u64, from: Timestamp) -> Result<Option<Timestamp>, SourceError>;

    /// All stretches that have ticks of `from..=until`; callers ask for a day at most.
    ///
    /// # Errors
    /// When the place cannot be read.
    fn stretches(
        &self,
        series: u64,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Stretch>, SourceError>;
}

/// Stretches of one series in the order of time, merged where they overlap. A chunk that overlaps
/// nothing comes as it is, so that whoever needs one column decodes only that.
#[derive(Debug, Clone)]
pub struct Runs {
    left: VecDeque<Stretch>,
}

impl Runs {
    /// Of stretches in any order.
    #[must_use]
    pub fn new(mut stretches: Vec<Stretch>) -> Runs {
        stretches.sort_by_key(|stretch| (stretch.first, stretch.rank));
        Runs { left: stretches.into() }
    }
}

impl Iterator for Runs {
    type Item = Result<Body, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let one = self.left.pop_front()?;
        let mut end = one.last;
        let mut group = vec![one];
        while let Some(next) = self.left.pop_front_if(|next| next.first <= end) {
            end = end.max(next.last);
            group.push(next);
        }
        if group.len() == 1 {
            return group.pop().map(|alone| Ok(alone.body));
        }
        Some(merge(group).map(Body::Rows))
    }
}

/// All rows of stretches, each stamp once.
fn merge(mut stretches: Vec<Stretch>) -> Result<Vec<Row>, Error> {
    stretches.sort_by_key(|stretch| stretch.rank);
    let mut all: Vec<Row> = Vec::new();
    for stretch in stretches {
        all.extend(stretch.body.into_rows()?);
    }
    // Stable: of equal stamps, the lower rank stays first.
    all.sort_by_key(|row| row.tick.at);
    let mut merged: Vec<Row> = Vec::with_capacity(all.len());
    let mut same: Vec<Row> = Vec::with_capacity(1);
    for row in all {
        if same.first().is_some_and(|known| known.tick.at != row.tick.at) {
            merged.append(&mut same);
        }
        insert(&mut same, row);
    }
    merged.append(&mut same);
    Ok(merged)
}

/// The rows of `from..=until`, by stamp, each once.
///
/// # Errors
/// [`Error`] when a chunk cannot be read.
pub fn range(
    stretches: Vec<Stretch>,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<Row>, Error> {
    let touching = stretches.into_iter().filter(|stretch| stretch.touches(from, until)).collect();
    let mut rows = Vec::new();
    for run in Runs::new(touching) {
        let inside = |row: &Row| (from..=until).contains(&row.tick.at);
        rows.extend(run?.into_rows()?.into_iter().filter(inside));
    }
    Ok(rows)
}

/// The newest value of a measurand at or before `until`.
///
/// # Errors
/// [`Error`] when a chunk cannot be read.
pub fn last_value(
    mut stretches: Vec<Stretch>,
    measurand: Measurand,
    until: Timestamp,
) -> Result<Option<(Timestamp, i64)>, Error> {
    stretches.retain(|stretch| stretch.first <= until);
    stretches.sort_by_key(|stretch| std::cmp::Reverse(stretch.last));
    let mut best: Option<(Timestamp, Rank, i64)> = None;
    for stretch in stretches {
        let Stretch { last, rank, .. } = stretch;
        if best.is_some_and(|(at, ..)| at > last) {
            break;
        }
        let rows = stretch.body.into_rows()?;
        let newest = rows.iter().rev().filter(|row| row.tick.at <= until);
        let found = newest.filter_map(|row| Some((row.tick.at, row.tick.get(measurand)?))).next();
        if let Some((at, value)) = found
            && best.is_none_or(|(of, by, _)| {
                (of, std::cmp::Reverse(by)) < (at, std::cmp::Reverse(rank))
            })
        {
            best = Some((at, rank, value));
        }
    }
    Ok(best.map(|(at, _, value)| (at, value)))
}

/// Count, extremes, sum, first and last of a measurand's values in `from..to`. Chunks that overlap
/// nothing are summed up without making rows of them.
///
/// # Errors
/// [`Error`] when a chunk cannot be read.
pub fn aggregate(
    stretches: Vec<Stretch>,
    measurand: Measurand,
    from: Timestamp,
    to: Timestamp,
    scratch: &mut Scratch,
) -> Result<Option<Aggregate>, Error> {
    let touching = |stretch: &Stretch| stretch.first < to && from <= stretch.last;
    let touching = stretches.into_iter().filter(touching).collect();
    let mut all = None;
    for run in Runs::new(touching) {
        let part = match run? {
            Body::Chunk(bytes) => Chunk::open(&bytes)?.aggregate(measurand, from, to, scratch)?,
            Body::Rows(rows) => {
                let inside = rows.iter().filter(|row| (from..to).contains(&row.tick.at));
                let each = inside
                    .filter_map(|row| Some(Aggregate::of(row.tick.at, row.tick.get(measurand)?)));
                each.fold(None, |all, one| Aggregate::merged(all, Some(one)))
            }
        };
        all = Aggregate::merged(all, part);
    }
    Ok(all)
}

/// What is asked of each window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// The smallest value.
    Min,
    /// The largest.
    Max,
    /// All together.
    Sum,
    /// How many.
    Count,
    /// The sum by the count, rounded towards zero.
    Mean,
    /// The oldest.
    First,
    /// The newest.
    Last,
}

impl Measure {
    fn of(self, all: &Aggregate) -> i128 {
        match self {
            Measure::Min => all.min.into(),
            Measure::Max => all.max.into(),
            Measure::Sum => all.sum,
            Measure::Count => all.count.into(),
            Measure::Mean => all.sum / i128::from(all.count.max(1)),
            Measure::First => all.first.1.into(),
            Measure::Last => all.last.1.into(),
        }
    }
}

/// What stands in a window without values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Nothing: the window is left out.
    Skip,
    /// The window, without a value.
    Null,
    /// The value of the window before.
    Previous,
    /// Between the windows before and after, in proportion to the distance.
    Linear,
}

/// Windows over time: one begins every `step`, each is `window` long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// When the first begins.
    pub from: Timestamp,
    /// None begins at or after this.
    pub to: Timestamp,
    /// How long each is, in microseconds.
    pub window_us: u64,
    /// From the start of one to that of the next, in microseconds.
    pub step_us: u64,
    /// What stands in those without values.
    pub fill: Fill,
}

/// The most windows of one question.
pub const WINDOWS_MAX: u64 = 1_000_000;

/// More windows than [`WINDOWS_MAX`], or windows of no length. Whoever asked is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("windows have a length and a step, and there are at most a million of them")]
pub struct TooManyWindows;

/// A window's start, and its value.
pub type Windowed = (Timestamp, Option<i128>);

/// One value for each window. `values` have increasing stamps.
///
/// # Errors
/// [`TooManyWindows`].
pub fn windowed(
    windows: &Windows,
    measure: Measure,
    values: &[(Timestamp, i64)],
) -> Result<Vec<Windowed>, TooManyWindows> {
    let value = |inside: &[(Timestamp, i64)]| {
        let each = inside.iter().map(|(at, value)| Aggregate::of(*at, *value));
        let all = each.fold(None, |all, one| Aggregate::merged(all, Some(one)));
        all.map(|all| measure.of(&all))
    };
    windows.over(values, |(at, _)| *at, value)
}

/// What a counter counted in each window, from the reading before it to the last in it: resets and
/// rollovers understood, what cannot be left out. `readings` have increasing stamps and may begin
/// before the first window.
///
/// # Errors
/// [`TooManyWindows`].
pub fn counted(
    windows: &Windows,
    limits: &Limits,
    readings: &[(Timestamp, i64)],
) -> Result<Vec<Windowed>, TooManyWindows> {
    let pairs = readings.iter().zip(readings.iter().skip(1));
    let steps: Vec<(Timestamp, i64)> =
        pairs.map(|(before, after)| (after.0, limits.energy(*before, *after))).collect();
    let value = |inside: &[(Timestamp, i64)]| {
        let sum = inside.iter().map(|(_, grown)| i128::from(*grown)).sum();
        (!inside.is_empty()).then_some(sum)
    };
    windows.over(&steps, |(at, _)| *at, value)
}

impl Windows {
    fn over<T>(
        &self,
        items: &[T],
        at: impl Fn(&T) -> Timestamp,
        value: impl Fn(&[T]) -> Option<i128>,
    ) -> Result<Vec<Windowed>, TooManyWindows> {
        debug_assert!(items.is_sorted_by_key(&at), "stamps increase");
        let span = self.to.0.saturating_sub(self.from.0);
        if self.step_us == 0 || self.window_us == 0 || span.div_ceil(self.step_us) > WINDOWS_MAX {
            return Err(TooManyWindows);
        }
        let starts = (0..span.div_ceil(self.step_us)).map(|n| self.from.0 + n * self.step_us);
        let each = starts.map(|start| {
            let end = start.saturating_add(self.window_us);
            let (low, high) = (
                items.partition_point(|item| at(item).0 < start),
                items.partition_point(|item| at(item).0 < end),
            );
            (Timestamp(start), items.get(low..high).and_then(&value))
        });
        Ok(fill(self.fill, each.collect()))
    }
}

/// Puts what is asked for into windows without values.
fn fill(how: Fill, mut windows: Vec<Windowed>) -> Vec<Windowed> {
    match how {
        Fill::Skip => windows.retain(|(_, value)| value.is_some()),
        Fill::Null => {}
        Fill::Previous => {
            let mut before = None;
            for (_, value) in &mut windows {
                *value = value.or(before);
                before = *value;
            }
        }
        Fill::Linear => fill_linear(&mut windows),
    }
    windows
}

fn fill_linear(windows: &mut [Windowed]) {
    let known: Vec<(usize, i128)> =
        windows.iter().enumerate().filter_map(|(n, (_, value))| Some((n, (*value)?))).collect();
    for (before, after) in known.iter().zip(known.iter().skip(1)) {
        let ((from, low), (to, high)) = (*before, *after);
        let width = (to - from) as i128;
        let gap = windows.iter_mut().enumerate().take(to).skip(from + 1);
        for (n, (_, value)) in gap {
            // Values are sums of a million 64-bit numbers at most: the product cannot overflow.
            *value = Some(low + (high - low) * (n - from) as i128 / width);
        }
    }
}

/// For each row of `left`, the newest of `right` that is not newer, and not older than `tolerance_us`
/// before it. Both by increasing stamps.
#[must_use]
pub fn as_of<'a>(
    left: &'a [MeterTick],
    right: &'a [MeterTick],
    tolerance_us: u64,
) -> Vec<(&'a MeterTick, Option<&'a MeterTick>)> {
    debug_assert!(left.is_sorted_by_key(|tick| tick.at), "stamps increase");
    debug_assert!(right.is_sorted_by_key(|tick| tick.at), "stamps increase");
    let mut next = right.iter().peekable();
    let mut newest = None;
    let join = |tick: &'a MeterTick| {
        while let Some(found) = next.next_if(|other| other.at <= tick.at) {
            newest = Some(found);
        }
        let near = |other: &&MeterTick| tick.at.0 - other.at.0 <= tolerance_us;
        (tick, newest.filter(near))
    };
    left.iter().map(join).collect()
}

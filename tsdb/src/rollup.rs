//! Rollups: what a series did in each minute, quarter of an hour and hour.
//!
//! They are written as chunks are sealed, one row for each resolution and chunk. Where chunks meet within
//! a bucket, each has a part of it, and readers merge the parts in the order in which they were
//! written. Late ticks make parts that say so: minimum, maximum, sum and count can be merged, but only
//! the ticks themselves tell what energy flowed, and whether a tick was there already.
//! `docs/formats/rollup.md` has the bytes.

use std::collections::BTreeMap;

use novax_model::{MEASURANDS, Measurand, MeterTick, Timestamp};

use crate::bytes::{self, Reader};
use crate::chunk::CHUNK_TICKS_MAX;
use crate::clean::Limits;
use crate::error::Error;
use crate::pack;

const VERSION: u8 = 1;

/// How long a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Resolution {
    /// 1 minute.
    Minute = 0,
    /// 15 minutes.
    Quarter = 1,
    /// 1 hour.
    Hour = 2,
}

impl Resolution {
    /// All, finest first.
    pub const ALL: [Resolution; 3] = [Resolution::Minute, Resolution::Quarter, Resolution::Hour];

    /// Microseconds of a bucket.
    #[must_use]
    pub const fn micros(self) -> u64 {
        match self {
            Resolution::Minute => 60_000_000,
            Resolution::Quarter => 900_000_000,
            Resolution::Hour => 3_600_000_000,
        }
    }

    /// As people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Resolution::Minute => "1m",
            Resolution::Quarter => "15m",
            Resolution::Hour => "1h",
        }
    }

    /// When the bucket of `at` begins.
    #[must_use]
    pub const fn start(self, at: Timestamp) -> Timestamp {
        Timestamp(at.0 - at.0 % self.micros())
    }
}

/// The values of one measurand in a bucket; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// How many.
    pub count: u32,
    /// The smallest.
    pub min: i64,
    /// The largest.
    pub max: i64,
    /// Of all.
    pub sum: i128,
    /// The one of the newest tick.
    pub last: i64,
}

impl Stat {
    fn of(value: i64) -> Stat {
        Stat { count: 1, min: value, max: value, sum: value.into(), last: value }
    }

    /// Takes in what came after.
    pub fn merge(&mut self, later: &Stat) {
        self.count = self.count.saturating_add(later.count);
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.sum = self.sum.saturating_add(later.sum);
        self.last = later.last;
    }
}

/// What happened in one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// When it begins.
    pub start: Timestamp,
    /// By measurand; none where no tick had a value.
    pub stats: [Option<Stat>; 6],
    /// What flowed up to its readings since the reading before each, in Wh.
    pub energy_wh: i64,
}

impl Bucket {
    /// One in which nothing happened yet.
    #[must_use]
    pub fn empty(start: Timestamp) -> Bucket {
        Bucket { start, stats: [None; 6], energy_wh: 0 }
    }

    /// Takes in a part of the same bucket that came after.
    ///
    /// # Panics
    /// When it is another bucket's.
    pub fn merge(&mut self, later: &Bucket) {
        assert_eq!(self.start, later.start, "parts of one bucket are merged");
        for (known, later) in self.stats.iter_mut().zip(&later.stats) {
            match (known.as_mut(), later) {
                (Some(known), Some(later)) => known.merge(later),
                (None, later) => *known = *later,
                (Some(_), None) => {}
            }
        }
        self.energy_wh = self.energy_wh.saturating_add(later.energy_wh);
    }

    /// One measurand.
    #[must_use]
    pub fn stat(&self, measurand: Measurand) -> Option<&Stat> {
        self.stats[measurand as usize].as_ref()
    }
}

/// The buckets of ticks in the order of their stamps. `before` is the last register read before them,
/// and when.
#[must_use]
pub fn buckets(
    resolution: Resolution,
    limits: &Limits,
    before: Option<(Timestamp, i64)>,
    ticks: impl IntoIterator<Item = MeterTick>,
) -> Vec<Bucket> {
    let mut buckets: Vec<Bucket> = Vec::new();
    let mut register = before;
    for tick in ticks {
        let start = resolution.start(tick.at);
        if buckets.last().is_none_or(|bucket| bucket.start != start) {
            buckets.push(Bucket::empty(start));
        }
        let Some(bucket) = buckets.last_mut() else { continue };
        for (stat, value) in bucket.stats.iter_mut().zip(tick.values) {
            let Some(value) = value else { continue };
            let one = Stat::of(value);
            stat.get_or_insert(Stat { count: 0, sum: 0, ..one }).merge(&one);
        }
        if let Some(value) = tick.get(Measurand::Energy) {
            let reading = (tick.at, value);
            let flowed = register.map_or(0, |register| limits.energy(register, reading));
            bucket.energy_wh = bucket.energy_wh.saturating_add(flowed);
            register = Some(reading);
        }
    }
    buckets
}

/// The buckets of a coarser resolution, from those of a finer one.
#[must_use]
pub fn coarser(resolution: Resolution, finer: &[Bucket]) -> Vec<Bucket> {
    let mut coarse: Vec<Bucket> = Vec::new();
    for bucket in finer {
        let part = Bucket { start: resolution.start(bucket.start), ..*bucket };
        match coarse.last_mut() {
            Some(last) if last.start == part.start => last.merge(&part),
            _ => coarse.push(part),
        }
    }
    coarse
}

/// One stored row: the buckets of one chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollup {
    /// How long they are.
    pub resolution: Resolution,
    /// Whether they are of late ticks: then what is wanted exactly has to be worked out from ticks.
    pub is_late: bool,
    /// By their starts.
    pub buckets: Vec<Bucket>,
}

/// Writes a row.
///
/// # Panics
/// When there are no buckets, more than ticks in a chunk, or their starts do not increase by whole
/// buckets.
#[must_use]
pub fn encode_rollup(rollup: &Rollup) -> Vec<u8> {
    let Rollup { resolution, is_late, buckets } = rollup;
    let micros = resolution.micros();
    assert!(buckets.len() <= CHUNK_TICKS_MAX, "buckets are bounded");
    assert!(buckets.is_sorted_by(|a, b| a.start < b.start), "buckets follow one another");
    assert!(buckets.iter().all(|bucket| bucket.start.0.is_multiple_of(micros)), "whole buckets");
    let [first, ..] = buckets.as_slice() else { panic!("a rollup has buckets") };
    let mut out = vec![VERSION, *resolution as u8, u8::from(*is_late)];
    let count = u16::try_from(buckets.len()).expect("buckets are bounded");
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&first.start.0.to_le_bytes());
    let next = buckets.iter().skip(1);
    let steps = buckets.iter().zip(next).map(|(a, b)| (b.start.0 - a.start.0) / micros);
    pack::put(&mut out, &steps.map(u64::cast_signed).collect::<Vec<_>>());
    pack::put(&mut out, &buckets.iter().map(|bucket| bucket.energy_wh).collect::<Vec<_>>());
    for measurand in MEASURANDS {
        put_stats(&mut out, buckets.iter().map(|bucket| bucket.stat(measurand)));
    }
    bytes::seal(&mut out);
    out
}

fn put_stats<'a>(out: &mut Vec<u8>, stats: impl Iterator<Item = Option<&'a Stat>> + Clone) {
    let counts: Vec<i64> = stats.clone().map(|s| s.map_or(0, |s| i64::from(s.count))).collect();
    pack::put(out, &counts);
    let there: Vec<&Stat> = stats.flatten().collect();
    let mut column = |value: &dyn Fn(&Stat) -> i64| {
        pack::put(out, &there.iter().map(|stat| value(stat)).collect::<Vec<_>>());
    };
    column(&|stat| stat.min);
    column(&|stat| stat.max.wrapping_sub(stat.min));
    column(&|stat| stat.last.wrapping_sub(stat.min));
    column(&|stat| low(above_min(stat)));
    column(&|stat| low(above_min(stat) >> 64));
}

/// What the sum is above as many times the smallest.
fn above_min(stat: &Stat) -> i128 {
    stat.sum - i128::from(stat.count) * i128::from(stat.min)
}

fn low(value: i128) -> i64 {
    let bytes = value.to_le_bytes();
    let (low, _) = bytes.split_first_chunk::<8>().expect("sixteen bytes have eight");
    i64::from_le_bytes(*low)
}

/// Reads a row.
///
/// # Errors
/// [`Error`] when the bytes are no rollup.
pub fn decode_rollup(bytes: &[u8]) -> Result<Rollup, Error> {
    let mut reader = Reader::new(bytes::open(bytes)?);
    let version = reader.u8()?;
    if version != VERSION {
        return Err(Error::UnknownVersion(version));
    }
    let number = reader.u8()?;
    let resolution = Resolution::ALL.into_iter().find(|found| *found as u8 == number);
    let resolution = resolution.ok_or(Error::Invalid("unknown resolution"))?;
    let is_late = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return Err(Error::Invalid("neither late nor in time")),
    };
    let count = usize::from(reader.u16()?);
    let mut start = reader.u64()?;
    if !(1..=CHUNK_TICKS_MAX).contains(&count) || !start.is_multiple_of(resolution.micros()) {
        return Err(Error::Invalid("a rollup has 1 to 1024 whole buckets"));
    }
    let mut buckets = Vec::with_capacity(count);
    buckets.push(Bucket::empty(Timestamp(start)));
    for step in pack::get(&mut reader, count - 1)? {
        let step = u64::try_from(step).ok().filter(|step| *step > 0);
        let next = step.and_then(|step| start.checked_add(step.checked_mul(resolution.micros())?));
        start = next.ok_or(Error::Invalid("buckets do not follow one another"))?;
        buckets.push(Bucket::empty(Timestamp(start)));
    }
    for (bucket, energy_wh) in buckets.iter_mut().zip(pack::get(&mut reader, count)?) {
        bucket.energy_wh = energy_wh;
    }
    for measurand in MEASURANDS {
        get_stats(&mut reader, &mut buckets, measurand)?;
    }
    reader.finish()?;
    Ok(Rollup { resolution, is_late, buckets })
}

fn get_stats(
    reader: &mut Reader<'_>,
    buckets: &mut [Bucket],
    measurand: Measurand,
) -> Result<(), Error> {
    let counts = pack::get(reader, buckets.len())?;
    let there = counts.iter().filter(|count| **count != 0).count();
    let mut column = || pack::get(reader, there).map(Vec::into_iter);
    let (mut min, mut width, mut last) = (column()?, column()?, column()?);
    let (mut low, mut high) = (column()?, column()?);
    for (bucket, count) in buckets.iter_mut().zip(counts) {
        if count == 0 {
            continue;
        }
        let next = |column: &mut std::vec::IntoIter<i64>| {
            column.next().ok_or(Error::Invalid("columns of different length"))
        };
        let count = u32::try_from(count).map_err(|_| Error::Invalid("a count of ticks"))?;
        let min = next(&mut min)?;
        let max = min.wrapping_add(next(&mut width)?);
        let last = min.wrapping_add(next(&mut last)?);
        let low = i128::from(next(&mut low)?.cast_unsigned());
        let above = i128::from(next(&mut high)?) << 64 | low;
        let widest = i128::from(count) * (i128::from(max) - i128::from(min));
        if !(min..=max).contains(&last) || !(0..=widest).contains(&above) {
            return Err(Error::Invalid("values of a bucket that cannot be"));
        }
        let sum = i128::from(count) * i128::from(min) + above;
        bucket.stats[measurand as usize] = Some(Stat { count, min, max, sum, last });
    }
    Ok(())
}

/// How long ticks and their rollups are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Ticks as they came.
    pub ticks_days: u32,
    /// Rollups, by resolution.
    pub rollups_days: [u32; 3],
}

impl Default for Retention {
    /// Ticks for 90 days, minutes for a year, quarters for three and hours for ten.
    fn default() -> Self {
        Retention { ticks_days: 90, rollups_days: [366, 3 * 366, 10 * 366] }
    }
}

impl Retention {
    /// Before when rollups of a resolution may be dropped; ticks when none is given.
    #[must_use]
    pub fn expired(&self, resolution: Option<Resolution>, now: Timestamp) -> Timestamp {
        let days = resolution.map_or(self.ticks_days, |found| self.rollups_days[found as usize]);
        let kept = u64::from(days) * crate::head::DAY_US;
        crate::head::day_of(Timestamp(now.0.saturating_sub(kept)))
    }
}

/// Merges stored rows of one resolution, each with its number, into buckets by their starts. The last value
/// is that of the ticks that came in time, where there are any.
#[must_use]
pub fn merge_rollups(mut parts: Vec<(u32, Rollup)>) -> Vec<Bucket> {
    parts.sort_by_key(|(sequence, rollup)| (!rollup.is_late, *sequence));
    let mut all: BTreeMap<Timestamp, Bucket> = BTreeMap::new();
    for bucket in parts.iter().flat_map(|(_, rollup)| &rollup.buckets) {
        all.entry(bucket.start).or_insert(Bucket::empty(bucket.start)).merge(bucket);
    }
    all.into_values().collect()
}

/// Whether buckets worked out from ticks have no less in them than those merged from the parts that came in
/// time: otherwise some ticks are no longer kept.
#[must_use]
pub fn covers(exact: &[Bucket], in_time: &[Bucket]) -> bool {
    let exact: BTreeMap<Timestamp, &Bucket> = exact.iter().map(|b| (b.start, b)).collect();
    let counts = |bucket: &Bucket| bucket.stats.map(|stat| stat.map_or(0, |stat| stat.count));
    in_time.iter().all(|wanted| {
        exact.get(&wanted.start).is_some_and(|found| {
            counts(found).iter().zip(counts(wanted)).all(|(found, wanted)| *found >= wanted)
        })
    })
}

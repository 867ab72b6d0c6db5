//! One series as memory has it: the cleaner, the open head, and open heads of late ticks; and the rows
//! that all this becomes.
//!
//! Invariants: a chunk's row is written once, under a key no other chunk has; everything open is
//! written out by [`OpenSeries::snapshot`], and [`OpenSeries::restore`] goes on from there as if it had
//! never stopped; at most [`LATE_DAYS_MAX`] days of late ticks are open.

use novax_model::{Duration, Measurand, MeterTick, Timestamp};
use std::collections::BTreeMap;

use crate::bytes::{self, Reader, put_varint};
use crate::clean::{Cleaner, Limits, Row};
use crate::error::Error;
use crate::head::{DAY_US, HEAD_TICKS, Head, Pushed, day_of, decode_rows, encode_rows, insert};
use crate::remark::Flags;
use crate::rollup::{Bucket, Resolution, Rollup, buckets, coarser, encode_rollup};

/// So many days can have late ticks open; when one more is needed, the fullest is sealed.
pub const LATE_DAYS_MAX: usize = 2;
/// Late ticks are sealed when none of their day came for so long.
const LATE_QUIET: Duration = Duration::from_secs(60 * 60);
/// How long after midnight the head of the day before is kept open.
const DAY_GRACE_US: u64 = 3_600_000_000;
const STATE_VERSION: u8 = 1;
/// A series has fewer sealed chunks: one a second for 60 years.
const SEQUENCE_MAX: u32 = u32::MAX / 2;

/// A row of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeriesRow {
    /// A finished chunk.
    Chunk {
        /// Its first stamp.
        first: Timestamp,
        /// Late ticks: which of the series' sealed chunks it is. Of equal stamps, a chunk without
        /// number is believed first, then the lower number.
        sequence: Option<u32>,
        /// The chunk.
        bytes: Vec<u8>,
    },
    /// The buckets of a finished chunk.
    Rollup {
        /// How long they are.
        resolution: Resolution,
        /// When the first begins.
        first: Timestamp,
        /// Which of the series' sealed chunks they are of.
        sequence: u32,
        /// The row.
        bytes: Vec<u8>,
    },
    /// Something open; without bytes it is there no longer.
    Open(OpenPart, Option<Vec<u8>>),
}

/// What of a series' open end a row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpenPart {
    /// What it remembers.
    State,
    /// A piece of the head, by its first stamp.
    Piece(Timestamp),
    /// Late ticks of the day that begins then.
    Late(Timestamp),
}

/// Late ticks of one day.
#[derive(Debug, Clone, Default)]
struct Late {
    rows: Vec<Row>,
    is_dirty: bool,
    is_stored: bool,
    /// When the last came, by the log's time.
    touched: Timestamp,
}

/// What became of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kept {
    /// It is in the head.
    Head(Pushed),
    /// It is among the late ticks of its day.
    Late,
    /// It is older than what is kept.
    TooOld,
}

/// The open end of one series.
#[derive(Debug, Clone, Default)]
pub struct OpenSeries {
    cleaner: Cleaner,
    head: Head,
    late: BTreeMap<Timestamp, Late>,
    /// The number of the next sealed chunk.
    sequence: u32,
    /// The last register of the sealed chunks, and when.
    register: Option<(Timestamp, i64)>,
    is_dirty: bool,
}

impl OpenSeries {
    /// A series that has no ticks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A series of which the store has chunks up to `last`, and nothing else is known. Its state is
    /// written with the next snapshot, so that this is known from then on.
    #[must_use]
    pub fn after(last: Timestamp) -> Self {
        let head = Head::from_floor(Timestamp(last.0.saturating_add(1)));
        Self { head, is_dirty: true, ..Self::default() }
    }

    /// Goes on from the rows of its open end. `now` is the log's time.
    ///
    /// # Errors
    /// [`Error`] when they are not what [`snapshot`](Self::snapshot) wrote.
    pub fn restore(
        now: Timestamp,
        rows: impl IntoIterator<Item = (OpenPart, Vec<u8>)>,
    ) -> Result<Self, Error> {
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_by_key(|(part, _)| *part);
        let mut series = None;
        let (mut floor, mut pieces) = (Timestamp::ZERO, Vec::new());
        for (part, bytes) in rows {
            match (part, &mut series) {
                (OpenPart::State, series @ None) => {
                    let (state, at) = Self::get_state(&bytes)?;
                    (*series, floor) = (Some(state), at);
                }
                (OpenPart::Piece(_), Some(_)) => pieces.push(bytes),
                (OpenPart::Late(day), Some(series)) => {
                    let rows = decode_rows(&bytes)?;
                    if rows.len() >= HEAD_TICKS || rows.iter().any(|r| day_of(r.tick.at) != day) {
                        return Err(Error::Invalid("late ticks that are not of their day"));
                    }
                    let late = Late { rows, is_dirty: false, is_stored: true, touched: now };
                    series.late.insert(day, late);
                }
                _ => return Err(Error::Invalid("an open series without a state")),
            }
        }
        let mut series = series.ok_or(Error::Invalid("an open series without a state"))?;
        series.head = Head::from_pieces(floor, pieces)?;
        Ok(series)
    }

    /// Cleans a tick that the log took at `now` and keeps it. Rows of chunks that it filled are added to
    /// `out`.
    pub fn take(
        &mut self,
        limits: &Limits,
        now: Timestamp,
        tick: MeterTick,
        out: &mut Vec<SeriesRow>,
    ) -> Kept {
        let Some(row) = self.cleaner.clean(limits, now, tick) else { return Kept::TooOld };
        self.is_dirty = true;
        if self.head.is_past(row.tick.at) {
            self.seal_head(limits, out);
        }
        let kept = match self.head.push(row) {
            Ok(pushed) => Kept::Head(pushed),
            Err(row) => self.take_late(limits, now, row, out),
        };
        if self.head.is_full() {
            self.seal_head(limits, out);
        }
        kept
    }

    fn take_late(
        &mut self,
        limits: &Limits,
        now: Timestamp,
        mut row: Row,
        out: &mut Vec<SeriesRow>,
    ) -> Kept {
        row.flag(Flags::LATE);
        let day = day_of(row.tick.at);
        if !self.late.contains_key(&day) && self.late.len() >= LATE_DAYS_MAX {
            let fullest = self.late.iter().max_by_key(|(_, late)| late.rows.len());
            if let Some(fullest) = fullest.map(|(day, _)| *day) {
                self.seal_late(limits, fullest, out);
            }
        }
        let late = self.late.entry(day).or_default();
        let (pushed, changed) = insert(&mut late.rows, row);
        late.is_dirty |= changed;
        late.touched = now;
        if late.rows.len() >= HEAD_TICKS {
            self.seal_late(limits, day, out);
        }
        if pushed == Pushed::Duplicate { Kept::Head(pushed) } else { Kept::Late }
    }

    /// Whether late ticks are open.
    #[must_use]
    pub fn has_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// Whether something changed since it was last written out.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.is_dirty || self.head.is_dirty() || self.late.values().any(|late| late.is_dirty)
    }

    /// Seals what is over at `now`: a head whose day has passed, late ticks of which no more came.
    pub fn seal_past(&mut self, limits: &Limits, now: Timestamp, out: &mut Vec<SeriesRow>) {
        let end = |first: Timestamp| day_of(first).0.saturating_add(DAY_US + DAY_GRACE_US);
        if self.head.first().is_some_and(|first| end(first) <= now.0) {
            self.seal_head(limits, out);
        }
        let quiet = |late: &Late| now.since(late.touched) >= LATE_QUIET;
        let over: Vec<_> =
            self.late.iter().filter(|(_, l)| quiet(l)).map(|(day, _)| *day).collect();
        for day in over {
            self.seal_late(limits, day, out);
        }
    }

    /// Seals all late ticks, to make room for those of others.
    pub fn seal_all_late(&mut self, limits: &Limits, out: &mut Vec<SeriesRow>) {
        while let Some(day) = self.late.first_key_value().map(|(day, _)| *day) {
            self.seal_late(limits, day, out);
        }
    }

    /// Rows of all that is open and changed since the last call.
    pub fn snapshot(&mut self) -> Vec<SeriesRow> {
        if !self.is_dirty() {
            return Vec::new();
        }
        let mut out = Vec::new();
        for (first, bytes) in self.head.snapshot() {
            out.push(SeriesRow::Open(OpenPart::Piece(first), Some(bytes)));
        }
        for (day, late) in self.late.iter_mut().filter(|(_, late)| late.is_dirty) {
            out.push(SeriesRow::Open(OpenPart::Late(*day), Some(encode_rows(&late.rows))));
            (late.is_dirty, late.is_stored) = (false, true);
        }
        // After the head was written: its floor may have risen by that.
        out.push(SeriesRow::Open(OpenPart::State, Some(self.put_state())));
        self.is_dirty = false;
        out
    }

    fn seal_head(&mut self, limits: &Limits, out: &mut Vec<SeriesRow>) {
        let Some(sealed) = self.head.seal() else { return };
        self.is_dirty = true;
        let gone = |first| SeriesRow::Open(OpenPart::Piece(first), None);
        out.extend(sealed.replaces.into_iter().map(gone));
        let ticks = || sealed.rows.iter().map(|row| row.tick);
        let before = self.register;
        let sequence = self.next_sequence();
        let minutes = buckets(Resolution::Minute, limits, before, ticks());
        put_rollups(minutes, false, sequence, out);
        let reading = |tick: MeterTick| Some((tick.at, tick.get(Measurand::Energy)?));
        self.register = ticks().rev().find_map(reading).or(before);
        let (first, bytes) = (sealed.first, sealed.bytes);
        out.push(SeriesRow::Chunk { first, sequence: None, bytes });
    }

    fn seal_late(&mut self, limits: &Limits, day: Timestamp, out: &mut Vec<SeriesRow>) {
        let Some(late) = self.late.remove(&day) else { return };
        let Some(first) = late.rows.first().map(|row| row.tick.at) else { return };
        self.is_dirty = true;
        if late.is_stored {
            out.push(SeriesRow::Open(OpenPart::Late(day), None));
        }
        let sequence = self.next_sequence();
        let ticks = late.rows.iter().map(|row| row.tick);
        let mut minutes = buckets(Resolution::Minute, limits, None, ticks);
        // What flowed between a late tick and its neighbours only they can tell together.
        minutes.iter_mut().for_each(|bucket| bucket.energy_wh = 0);
        put_rollups(minutes, true, sequence, out);
        let bytes = encode_rows(&late.rows);
        out.push(SeriesRow::Chunk { first, sequence: Some(sequence), bytes });
    }

    fn next_sequence(&mut self) -> u32 {
        let sequence = self.sequence;
        self.sequence = sequence.checked_add(1).expect("a series has fewer chunks than that");
        sequence
    }

    fn put_state(&self) -> Vec<u8> {
        let mut out = vec![STATE_VERSION];
        out.extend_from_slice(&self.sequence.to_le_bytes());
        put_varint(&mut out, self.head.floor().0);
        self.cleaner.put(&mut out);
        match self.register {
            None => out.push(0),
            Some((at, value)) => {
                out.push(1);
                put_varint(&mut out, at.0);
                bytes::put_signed(&mut out, value);
            }
        }
        bytes::seal(&mut out);
        out
    }

    fn get_state(bytes: &[u8]) -> Result<(Self, Timestamp), Error> {
        let mut reader = Reader::new(bytes::open(bytes)?);
        let version = reader.u8()?;
        if version != STATE_VERSION {
            return Err(Error::UnknownVersion(version));
        }
        let (low, high) = (reader.u16()?, reader.u16()?);
        let sequence = u32::from(high) << 16 | u32::from(low);
        if sequence > SEQUENCE_MAX {
            return Err(Error::Invalid("more chunks than a series can have"));
        }
        let floor = Timestamp(reader.varint()?);
        let cleaner = Cleaner::get(&mut reader)?;
        let register = match reader.u8()? {
            0 => None,
            1 => Some((Timestamp(reader.varint()?), reader.signed()?)),
            _ => return Err(Error::Invalid("neither there nor not there")),
        };
        reader.finish()?;
        Ok((Self { cleaner, sequence, register, ..Self::default() }, floor))
    }
}

/// The last register before the open head, from the row of a series' state.
///
/// # Errors
/// [`Error`] when the bytes are no state.
pub fn register_before(state: &[u8]) -> Result<Option<(Timestamp, i64)>, Error> {
    OpenSeries::get_state(state).map(|(series, _)| series.register)
}

/// Adds the rows of all resolutions.
fn put_rollups(minutes: Vec<Bucket>, is_late: bool, sequence: u32, out: &mut Vec<SeriesRow>) {
    let mut finer = minutes;
    for resolution in Resolution::ALL {
        if resolution != Resolution::Minute {
            finer = coarser(resolution, &finer);
        }
        let rollup = Rollup { resolution, is_late, buckets: finer };
        let Some(first) = rollup.buckets.first().map(|bucket| bucket.start) else { return };
        let bytes = encode_rollup(&rollup);
        out.push(SeriesRow::Rollup { resolution, first, sequence, bytes });
        finer = rollup.buckets;
    }
}

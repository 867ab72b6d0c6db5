//! The open end of each series, and the rows it becomes.
//!
//! Ticks are cleaned and gather in memory; a full head becomes a chunk row with its rollups, an open
//! one is written when the store asks for it ([`State::seal_heads`]). Ticks too late for the head gather
//! by day and become chunks of their own: a finished chunk is never changed, and no tick is lost
//! for coming late unless it is older than `ticks_late_max`, which is counted.
//!
//! What is kept here is no part of the state hash, so nothing hashed may depend on it.

use crate::rows::{Keyspace, head_key, numbered_series_key, series_key};
use crate::state::State;
use crate::writes::RowWrites;
use novax_model::{MeterTick, Timestamp};
use novax_tsdb::open::Kept;
use novax_tsdb::{Error, OpenPart, OpenSeries, SeriesRow};

/// So many series may have late ticks open: about 60 MB of them at most.
const LATE_SERIES_MAX: usize = 2_048;

fn write(series: u64, row: &SeriesRow, out: &mut RowWrites) {
    match row {
        SeriesRow::Chunk { first, sequence: None, bytes } => {
            out.write(Keyspace::Series, &series_key(series, *first), Some(bytes));
        }
        SeriesRow::Chunk { first, sequence: Some(sequence), bytes } => {
            let key = numbered_series_key(series, *first, *sequence);
            out.write(Keyspace::Series, &key, Some(bytes));
        }
        SeriesRow::Rollup { resolution, first, sequence, bytes } => {
            let key = numbered_series_key(series, *first, *sequence);
            out.write(Keyspace::rollups(*resolution), &key, Some(bytes));
        }
        SeriesRow::Open(part, value) => {
            out.write(Keyspace::Heads, &head_key(series, *part), value.as_deref());
        }
    }
}

impl State {
    /// Takes a tick into its series.
    pub(crate) fn keep_tick(&mut self, series: u64, tick: MeterTick) {
        let (limits, now) = (self.config.limits(), self.now());
        let open = self.series.entry(series).or_default();
        let mut rows = Vec::new();
        match open.take(&limits, now, tick, &mut rows) {
            Kept::TooOld => self.counters.ticks_late += 1,
            Kept::Late if open.has_late() => {
                self.late_series.insert(series);
            }
            _ => {}
        }
        self.append_series(series, &rows);
        if self.late_series.len() > LATE_SERIES_MAX {
            self.make_room_for_late(series);
        }
    }

    /// Seals the late ticks of a series other than `series`.
    fn make_room_for_late(&mut self, series: u64) {
        let other = self.late_series.iter().copied().find(|other| *other != series);
        let Some(other) = other else { return };
        self.late_series.remove(&other);
        let limits = self.config.limits();
        let mut rows = Vec::new();
        if let Some(open) = self.series.get_mut(&other) {
            open.seal_all_late(&limits, &mut rows);
        }
        self.append_series(other, &rows);
    }

    fn append_series(&mut self, series: u64, rows: &[SeriesRow]) {
        for row in rows {
            write(series, row, &mut self.appended);
        }
    }

    /// Rows of all that is open and changed since it was last written, and of what time has closed.
    pub(crate) fn seal_heads(&mut self) -> RowWrites {
        let (limits, now) = (self.config.limits(), self.now());
        let mut written = RowWrites::default();
        for (series, open) in &mut self.series {
            let mut rows = Vec::new();
            open.seal_past(&limits, now, &mut rows);
            rows.append(&mut open.snapshot());
            rows.iter().for_each(|row| write(*series, row, &mut written));
        }
        let series = &self.series;
        self.late_series.retain(|late| series.get(late).is_some_and(OpenSeries::has_late));
        written
    }

    /// Goes on with the open end of a series.
    ///
    /// # Errors
    /// When the rows are not those of an open end.
    pub(crate) fn restore_series(
        &mut self,
        series: u64,
        rows: Vec<(OpenPart, Vec<u8>)>,
    ) -> Result<(), Error> {
        let open = OpenSeries::restore(self.now(), rows)?;
        if open.has_late() {
            self.late_series.insert(series);
        }
        self.series.insert(series, open);
        Ok(())
    }

    /// Goes on after the newest chunk of a series that has no open end.
    pub(crate) fn restore_series_after(&mut self, series: u64, last: Timestamp) {
        self.series.entry(series).or_insert_with(|| OpenSeries::after(last));
    }
}

//! The seam to `novax_tsdb::query`: a cold tier as one of the places that queries merge, and any such
//! place as rows for an export.

use crate::day::Day;
use crate::error::ColdError;
use crate::hot::RowSource;
use crate::reader::{BlockingReader, ColdQuery};
use crate::stretch::Stretch;
use novax_model::Timestamp;
use novax_tsdb::clean::Row;
use novax_tsdb::cold::Window;
use novax_tsdb::query::{self, Rank, SeriesSource, SourceError};
use novax_tsdb::{Columns, Remark};
use std::collections::BTreeSet;

/// What is cold was written before all that is still hot: its rank is the lowest, and readers name
/// it before the store.
impl SeriesSource for BlockingReader {
    fn next_series(&self, from: u64) -> Result<Option<u64>, SourceError> {
        Ok(self.all_series()?.range(from..).next().copied())
    }

    fn next_time(&self, series: u64, from: Timestamp) -> Result<Option<Timestamp>, SourceError> {
        Ok(self.next_row_time(series, from)?)
    }

    fn stretches(
        &self,
        series: u64,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<query::Stretch>, SourceError> {
        let to = Timestamp(until.0.saturating_add(1));
        let wanted = Some([series].into());
        let query = ColdQuery { series: wanted, from, to, columns: Columns::ALL };
        let stretches = self.rows(&query)?.into_iter();
        Ok(stretches.filter_map(|one| query::Stretch::rows(Rank::BASE, rows_of(one))).collect())
    }
}

/// Each tick with what was remarked on it.
fn rows_of(stretch: Stretch) -> Vec<Row> {
    let mut rows: Vec<Row> = stretch.ticks.into_iter().map(Row::plain).collect();
    for remark in stretch.remarks {
        if let Some(row) = rows.get_mut(remark.row as usize) {
            row.remark = Some(Box::new(Remark { row: 0, ..remark }));
        }
    }
    rows
}

/// A place that queries know, as rows for an export: with the open ends of series, where that place
/// has them.
#[derive(Debug, Clone)]
pub struct SeriesRows<S>(pub S);

fn failed(error: SourceError) -> ColdError {
    ColdError::hot(error)
}

impl<S: SeriesSource> RowSource for SeriesRows<S> {
    fn next_series(&self, from: u64) -> Result<Option<u64>, ColdError> {
        self.0.next_series(from).map_err(failed)
    }

    fn stretch(&self, series: u64, window: Window) -> Result<Stretch, ColdError> {
        let until = Timestamp(window.to.0 - 1);
        let stretches = self.0.stretches(series, window.from, until).map_err(failed)?;
        let rows = query::range(stretches, window.from, until).map_err(ColdError::hot)?;
        let mut all = Stretch::empty(series);
        for (place, row) in rows.into_iter().enumerate() {
            all.ticks.push(row.tick);
            let place = u32::try_from(place).map_err(ColdError::hot)?;
            all.remarks.extend(row.remark.map(|remark| Remark { row: place, ..*remark }));
        }
        Ok(all)
    }

    fn days(&self) -> Result<BTreeSet<Day>, ColdError> {
        let mut days = BTreeSet::new();
        let mut next = self.next_series(0)?;
        while let Some(series) = next {
            let mut from = Some(Timestamp::ZERO);
            while let Some(at) = from
                && let Some(at) = self.0.next_time(series, at).map_err(failed)?
            {
                days.insert(Day::of(at));
                from = Day::of(at).next().map(|day| day.window().from);
            }
            next = match series.checked_add(1) {
                Some(after) => self.next_series(after)?,
                None => None,
            };
        }
        Ok(days)
    }
}

//! The open end of each series: ticks since the last full chunk.
//!
//! A full head becomes a chunk row. An open one is written when the store asks for it
//! ([`State::seal_heads`]) and is written again, longer, under the same key. Ticks too old for the
//! head are dropped and counted: a finished chunk is never changed.

use crate::command::RowWrite;
use crate::rows::{Keyspace, series_key};
use crate::state::State;
use novax_model::{MeterTick, Timestamp};
use novax_tsdb::{Head, Pushed};

fn chunk_row(series: u64, (first, chunk): (Timestamp, Vec<u8>)) -> RowWrite {
    let key = series_key(series, first).to_vec();
    RowWrite { keyspace: Keyspace::Series, key, value: Some(chunk) }
}

impl State {
    /// Takes a tick into its series.
    pub(crate) fn keep_tick(&mut self, series: u64, tick: MeterTick) {
        let head = self.series.entry(series).or_default();
        if head.push(tick) == Pushed::TooLate {
            self.counters.ticks_late += 1;
        }
        if head.is_full()
            && let Some(sealed) = head.seal()
        {
            let row = chunk_row(series, sealed);
            self.append(row.keyspace, row.key, row.value);
        }
    }

    /// Rows of all open heads that changed since they were last written.
    pub(crate) fn seal_heads(&mut self) -> Vec<RowWrite> {
        let dirty = self.series.iter_mut().filter(|(_, head)| head.is_dirty());
        dirty.filter_map(|(series, head)| Some(chunk_row(*series, head.snapshot()?))).collect()
    }

    /// Goes on with the newest chunk of a series.
    ///
    /// # Errors
    /// When the bytes are no chunk.
    pub(crate) fn restore_series(
        &mut self,
        series: u64,
        newest: &[u8],
    ) -> Result<(), novax_tsdb::Error> {
        self.series.insert(series, Head::from_chunk(newest)?);
        Ok(())
    }
}

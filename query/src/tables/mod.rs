//! The tables people query, and what a scan of one is asked for.
//!
//! **Invariants**
//! * A scan builds at most [`BATCH_ROWS_MAX`] rows at a time, and reads at most
//!   [`STEP_ENTRIES_MAX`] entries of the store before it gives its thread back.
//! * A scan reads the snapshots it was given and nothing else.
//! * Filters a table takes are applied exactly.

mod rates;
mod reading;
mod rollups;
mod rows;
mod series;
mod spec;
pub(crate) mod telemetry;
pub(crate) mod totals;

use crate::cells::Kind;
use crate::error::Error;
use crate::filter::{Pushable, Pushed};
use crate::source::Tally;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use novax_engine::Snapshot;
use novax_model::PartitionId;
use novax_tsdb::query::SeriesSource;
use novax_tsdb::rollup::Resolution;
use std::fmt::Debug;
use std::sync::Arc;

/// The most rows of one batch.
pub(crate) const BATCH_ROWS_MAX: usize = 8_192;
/// The most store entries read between two yields.
pub(crate) const STEP_ENTRIES_MAX: usize = 8_192;

/// A column as people see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColumnInfo {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Whether it can be NULL.
    pub(crate) nullable: bool,
}

/// A table over the snapshots.
pub(crate) trait Table: Debug + Send + Sync + 'static {
    fn name(&self) -> &'static str;
    /// A sentence for `\d+`.
    fn comment(&self) -> &'static str;
    fn columns(&self) -> Vec<ColumnInfo>;
    fn pushable(&self) -> Pushable;
    /// Whether open series heads have to be written out first.
    fn wants_series(&self) -> bool {
        false
    }
    /// Starts a scan.
    fn cursor(&self, scan: Scan) -> Box<dyn Cursor>;
}

/// What is asked of one scan.
#[derive(Clone)]
pub(crate) struct Scan {
    /// The columns wanted, as positions in [`Table::columns`].
    pub(crate) projection: Vec<usize>,
    /// The schema of those columns.
    pub(crate) schema: SchemaRef,
    pub(crate) pushed: Pushed,
    /// No more than this many rows.
    pub(crate) limit: usize,
    pub(crate) snapshots: Vec<(PartitionId, Snapshot)>,
    /// Colder tiers of the series of each of `snapshots`.
    pub(crate) colder: Vec<Vec<Arc<dyn SeriesSource>>>,
    pub(crate) tally: Tally,
}

/// A scan under way. Moves between threads, each step on a blocking one.
pub(crate) trait Cursor: Send {
    /// Reads on.
    fn step(&mut self) -> Result<Step, Error>;
}

/// How far a step came.
#[derive(Debug)]
pub(crate) enum Step {
    /// Some rows.
    Rows(RecordBatch),
    /// None yet, but the store was read for long enough.
    Working,
    /// All was read.
    Done,
}

/// The Arrow schema of a table.
pub(crate) fn schema_of(table: &dyn Table) -> SchemaRef {
    let fields = table
        .columns()
        .into_iter()
        .map(|column| Field::new(column.name, column.kind.data_type(), column.nullable));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// All tables, in the order people meet them.
pub(crate) fn all() -> Vec<Arc<dyn Table>> {
    let mut tables = spec::all();
    tables.push(Arc::new(telemetry::Telemetry));
    tables.push(Arc::new(rates::TaxRates));
    for resolution in Resolution::ALL {
        tables.push(Arc::new(rollups::Rollups(resolution)));
    }
    tables.sort_by_key(|table| table.name());
    tables
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_what_can_be_pushed_exists() {
        let mut names = BTreeSet::new();
        for table in all() {
            assert!(names.insert(table.name()), "{}", table.name());
            let columns = table.columns();
            let unique: BTreeSet<&str> = columns.iter().map(|column| column.name).collect();
            assert_eq!(unique.len(), columns.len(), "{}", table.name());
            let pushable = table.pushable();
            for pushed in pushable.key.into_iter().chain(pushable.time) {
                assert!(unique.contains(pushed), "{}.{pushed}", table.name());
            }
            assert!(table.comment().ends_with('.'), "{}", table.name());
        }
    }
}

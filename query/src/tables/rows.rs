//! Tables whose rows are the rows of a keyspace, one to one.

use super::{BATCH_ROWS_MAX, ColumnInfo, Cursor, STEP_ENTRIES_MAX, Scan, Step, Table};
use crate::cells::{Builder, Cell, Kind};
use crate::error::Error;
use crate::filter::Pushable;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use novax_charging::Keyspace;
use novax_charging::rows::CorruptRow;
use novax_model::PartitionId;
use std::collections::VecDeque;

/// A row with where it came from.
pub(crate) struct Found<T> {
    pub(crate) partition: PartitionId,
    pub(crate) key: Vec<u8>,
    pub(crate) row: T,
}

/// A column of a [`RowTable`].
pub(crate) struct Column<T> {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) nullable: bool,
    pub(crate) cell: for<'a> fn(&'a Found<T>) -> Cell<'a>,
}

/// A text column whose values lead to keys of the store.
#[derive(Clone, Copy)]
pub(crate) struct KeyColumn {
    pub(crate) name: &'static str,
    /// The keys `[from, to)` of the rows with this value; `None` when no row can have it.
    pub(crate) range: fn(&str) -> Option<KeyRange>,
}

/// Keys from one (inclusive) to another (exclusive); `None` is to the end of the keyspace.
pub(crate) type KeyRange = (Vec<u8>, Option<Vec<u8>>);

/// A table over one keyspace.
pub(crate) struct RowTable<T: 'static> {
    pub(crate) name: &'static str,
    pub(crate) comment: &'static str,
    pub(crate) keyspace: Keyspace,
    /// All rows of the table.
    pub(crate) range: fn() -> KeyRange,
    pub(crate) key: Option<KeyColumn>,
    pub(crate) read: fn(&[u8]) -> Result<T, CorruptRow>,
    pub(crate) columns: &'static [Column<T>],
}

impl<T> std::fmt::Debug for RowTable<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowTable").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Table for &'static RowTable<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn comment(&self) -> &'static str {
        self.comment
    }

    fn columns(&self) -> Vec<ColumnInfo> {
        let info = |column: &Column<T>| ColumnInfo {
            name: column.name,
            kind: column.kind,
            nullable: column.nullable,
        };
        self.columns.iter().map(info).collect()
    }

    fn pushable(&self) -> Pushable {
        Pushable { key: self.key.map(|key| key.name), time: None }
    }

    fn cursor(&self, scan: Scan) -> Box<dyn Cursor> {
        let ranges: Vec<KeyRange> = match (&scan.pushed.keys, self.key) {
            (Some(keys), Some(column)) => {
                keys.iter().filter_map(|key| (column.range)(key)).collect()
            }
            (Some(_), None) => unreachable!("no key was offered to push"),
            (None, _) => vec![(self.range)()],
        };
        let todo = (0..scan.snapshots.len())
            .flat_map(|at| ranges.iter().map(move |range| (at, range.clone())))
            .collect();
        Box::new(RowCursor { table: self, left: scan.limit, scan, todo })
    }
}

struct RowCursor<T: 'static> {
    table: &'static RowTable<T>,
    scan: Scan,
    /// What is left to read: position in the snapshots, and keys.
    todo: VecDeque<(usize, KeyRange)>,
    /// How many rows may still be given.
    left: usize,
}

impl<T: Send + 'static> RowCursor<T> {
    fn push(&self, builders: &mut [Builder], found: &Found<T>) -> Result<(), Error> {
        for (builder, position) in builders.iter_mut().zip(&self.scan.projection) {
            let cell = (self.table.columns[*position].cell)(found);
            builder.push(self.table.name, cell)?;
        }
        Ok(())
    }

    fn corrupt(&self, error: &CorruptRow) -> Error {
        Error::Corrupt { table: self.table.name, message: error.to_string() }
    }
}

impl<T: Send + 'static> Cursor for RowCursor<T> {
    fn step(&mut self) -> Result<Step, Error> {
        let Some((at, (from, to))) = self.todo.pop_front() else { return Ok(Step::Done) };
        if self.left == 0 {
            self.todo.clear();
            return Ok(Step::Done);
        }
        let mut builders: Vec<Builder> = self
            .scan
            .projection
            .iter()
            .map(|position| Builder::new(self.table.columns[*position].kind))
            .collect();
        let rows_max = BATCH_ROWS_MAX.min(STEP_ENTRIES_MAX).min(self.left);
        let (partition, snapshot) = &self.scan.snapshots[at];
        let mut rows = 0;
        let mut last = None;
        for entry in snapshot.range(self.table.keyspace as u8, &from, to.as_deref()) {
            let (key, value) = entry?;
            rows += 1;
            self.scan.tally.entry();
            if builders.is_empty() {
                last = Some(key);
            } else {
                let row = (self.table.read)(&value).map_err(|error| self.corrupt(&error))?;
                let found = Found { partition: *partition, key, row };
                self.push(&mut builders, &found)?;
                last = Some(found.key);
            }
            if rows == rows_max {
                break;
            }
        }
        self.left -= rows;
        if rows == rows_max {
            // There may be more in this range: go on right behind the last key.
            let mut next = last.expect("a full batch has a last row");
            next.push(0);
            self.todo.push_front((at, (next, to)));
        }
        self.scan.tally.rows(rows);
        if rows == 0 {
            return Ok(Step::Working);
        }
        let columns = builders.iter_mut().map(Builder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = self.scan.schema.clone();
        Ok(Step::Rows(RecordBatch::try_new_with_options(schema, columns, &options)?))
    }
}

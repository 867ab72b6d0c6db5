//! The tax rates this build knows: a table that is the same on every node, with no rows in a store.

use super::{ColumnInfo, Cursor, Scan, Step, Table};
use crate::cells::{Builder, Cell, Kind};
use crate::error::Error;
use crate::filter::Pushable;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use novax_settlement::tax_table::RatePeriod;
use novax_settlement::{TaxLine, TaxTable};

/// One tax of a place from a day on.
struct Rate<'a> {
    place: &'a str,
    period: &'a RatePeriod,
    line: &'a TaxLine,
}

/// A column of the table.
struct RateColumn {
    name: &'static str,
    kind: Kind,
    cell: for<'a> fn(&'a Rate<'a>) -> Cell<'a>,
}

const COLUMNS: [RateColumn; 6] = [
    RateColumn { name: "jurisdiction", kind: Kind::Text, cell: |rate| Cell::text(rate.place) },
    RateColumn { name: "tax", kind: Kind::Text, cell: |rate| Cell::text(&rate.line.name) },
    RateColumn {
        name: "percent",
        kind: Kind::Decimal(19, 4),
        cell: |rate| Cell::Decimal(rate.line.ppm.into()),
    },
    RateColumn { name: "valid_from", kind: Kind::Time, cell: |rate| Cell::time(rate.period.from) },
    RateColumn { name: "rule", kind: Kind::Text, cell: |rate| Cell::text(&rate.period.id) },
    RateColumn { name: "source", kind: Kind::Text, cell: |rate| Cell::text(&rate.period.source) },
];

/// `tax_rates`
#[derive(Debug)]
pub(super) struct TaxRates;

impl Table for TaxRates {
    fn name(&self) -> &'static str {
        "tax_rates"
    }

    fn comment(&self) -> &'static str {
        "Tax rates by place and time, with the law or publication that says so."
    }

    fn columns(&self) -> Vec<ColumnInfo> {
        let nullable = |column: &RateColumn| column.name == "valid_from";
        let info = |column: &RateColumn| ColumnInfo {
            name: column.name,
            kind: column.kind,
            nullable: nullable(column),
        };
        COLUMNS.iter().map(info).collect()
    }

    fn pushable(&self) -> Pushable {
        Pushable { key: None, time: None }
    }

    fn cursor(&self, scan: Scan) -> Box<dyn Cursor> {
        Box::new(RateCursor { scan, done: false })
    }
}

struct RateCursor {
    scan: Scan,
    done: bool,
}

impl Cursor for RateCursor {
    /// All at once: a few hundred rows.
    fn step(&mut self) -> Result<Step, Error> {
        if std::mem::replace(&mut self.done, true) {
            return Ok(Step::Done);
        }
        let table = TaxTable::built_in();
        let rates = table.rates().flat_map(|(place, period)| {
            period.lines.iter().map(move |line| Rate { place, period, line })
        });
        let columns: Vec<&RateColumn> =
            self.scan.projection.iter().map(|position| &COLUMNS[*position]).collect();
        let mut builders: Vec<Builder> =
            columns.iter().map(|column| Builder::new(column.kind)).collect();
        let mut rows = 0;
        for rate in rates.take(self.scan.limit) {
            rows += 1;
            for (builder, column) in builders.iter_mut().zip(&columns) {
                builder.push("tax_rates", (column.cell)(&rate))?;
            }
        }
        self.scan.tally.rows(rows);
        let columns = builders.iter_mut().map(Builder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = self.scan.schema.clone();
        Ok(Step::Rows(RecordBatch::try_new_with_options(schema, columns, &options)?))
    }
}

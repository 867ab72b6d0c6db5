//! The columns of an export, and rows as Parquet.
//!
//! Units stand in the names. Values with decimals are `DECIMAL(18, n)`, which Parquet keeps as 64-bit
//! integers; `at` is in microseconds of UTC. The same rows give the same bytes, always.

use crate::error::ColdError;
use crate::stretch::Stretch;
use arrow::array::{
    ArrayRef, Decimal128Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use novax_model::{Measurand, Timestamp};
use novax_tsdb::{Columns, Remark};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use std::sync::Arc;

/// Rows that become a batch at once.
const BATCH_ROWS: usize = 16_384;
/// Digits of a decimal: the most that Parquet keeps as a 64-bit integer.
const DIGITS: u8 = 18;
/// What no longer fits: such a value cannot have been measured.
const DECIMAL_END: i64 = 1_000_000_000_000_000_000;
const ZSTD_LEVEL: i32 = 3;
/// The most stations a row group is thought to have, for its bloom filter.
const GROUP_STATIONS_MAX: u64 = 1_000;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    At,
    Station,
    Evse,
    Connector,
    Value(Measurand),
    Flags,
    RawAt,
    Raw(Measurand),
}

const COLUMNS: [(&str, Content); 18] = [
    ("at", Content::At),
    ("station", Content::Station),
    ("evse", Content::Evse),
    ("connector", Content::Connector),
    ("voltage_v", Content::Value(Measurand::Voltage)),
    ("current_a", Content::Value(Measurand::Current)),
    ("power_w", Content::Value(Measurand::Power)),
    ("energy_wh", Content::Value(Measurand::Energy)),
    ("temperature_c", Content::Value(Measurand::Temperature)),
    ("soc_percent", Content::Value(Measurand::Soc)),
    ("flags", Content::Flags),
    ("raw_at", Content::RawAt),
    ("raw_voltage_v", Content::Raw(Measurand::Voltage)),
    ("raw_current_a", Content::Raw(Measurand::Current)),
    ("raw_power_w", Content::Raw(Measurand::Power)),
    ("raw_energy_wh", Content::Raw(Measurand::Energy)),
    ("raw_temperature_c", Content::Raw(Measurand::Temperature)),
    ("raw_soc_percent", Content::Raw(Measurand::Soc)),
];

/// Digits behind the point.
fn decimals(measurand: Measurand) -> i8 {
    match measurand {
        Measurand::Voltage | Measurand::Temperature | Measurand::Soc => 1,
        Measurand::Current => 2,
        Measurand::Power | Measurand::Energy => 0,
    }
}

impl Content {
    fn data_type(self) -> DataType {
        match self {
            Content::At | Content::RawAt => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
            Content::Station => DataType::Utf8,
            Content::Evse | Content::Connector | Content::Flags => DataType::Int32,
            Content::Value(measurand) | Content::Raw(measurand) => match decimals(measurand) {
                0 => DataType::Int64,
                scale => DataType::Decimal128(DIGITS, scale),
            },
        }
    }

    fn is_nullable(self) -> bool {
        matches!(self, Content::Value(_) | Content::RawAt | Content::Raw(_))
    }
}

/// Which columns an export has, in the order of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Content)>,
}

impl Table {
    /// The columns named; all when none is. `at`, `station`, `evse` and `connector` come in any case:
    /// rows without them say nothing.
    pub(crate) fn new(names: &[String]) -> Result<Table, ColdError> {
        let unknown = names.iter().find(|name| COLUMNS.iter().all(|(known, _)| known != name));
        if let Some(name) = unknown {
            let known: Vec<&str> = COLUMNS.iter().map(|(known, _)| *known).collect();
            let known = known.join(", ");
            return Err(ColdError::Export(format!("there is no column {name}; there are {known}")));
        }
        let is_key = |content| {
            matches!(content, Content::At | Content::Station | Content::Evse | Content::Connector)
        };
        let is_wanted = |(name, content): &(&str, Content)| {
            names.is_empty() || is_key(*content) || names.iter().any(|wanted| wanted == name)
        };
        Ok(Table { columns: COLUMNS.into_iter().filter(is_wanted).collect() })
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.columns.iter().map(|(name, _)| *name).collect()
    }

    /// What must be read for it.
    pub(crate) fn source_columns(&self) -> Columns {
        self.columns.iter().fold(Columns::STAMPS, |all, (_, content)| match content {
            Content::Value(measurand) | Content::Raw(measurand) => all.and(Columns::of(*measurand)),
            _ => all,
        })
    }

    fn schema(&self) -> SchemaRef {
        let field = |(name, content): &(&str, Content)| {
            Field::new(*name, content.data_type(), content.is_nullable())
        };
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    fn properties(&self, row_group_rows: usize) -> Result<WriterProperties, ColdError> {
        let mut properties = WriterProperties::builder()
            .set_created_by("Nova-X".to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
            .set_max_row_group_row_count(Some(row_group_rows));
        for (name, content) in &self.columns {
            let path = ColumnPath::from(*name);
            properties = match content {
                Content::Station => properties
                    .set_column_bloom_filter_enabled(path.clone(), true)
                    .set_column_bloom_filter_max_ndv(path, GROUP_STATIONS_MAX),
                // Neighbours are close to one another: differences pack better than a dictionary.
                Content::At | Content::Value(_) => properties
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
                _ => properties,
            };
        }
        Ok(properties.build())
    }
}

/// Whose rows they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) station: &'a str,
    pub(crate) evse: u16,
    pub(crate) connector: u16,
}

/// One Parquet file, made in memory.
pub(crate) struct Part {
    table: Table,
    schema: SchemaRef,
    writer: ArrowWriter<Vec<u8>>,
    rows: u64,
    out_of_range: u64,
}

impl Part {
    pub(crate) fn new(table: &Table, row_group_rows: usize) -> Result<Part, ColdError> {
        let schema = table.schema();
        let options = ArrowWriterOptions::new()
            .with_properties(table.properties(row_group_rows)?)
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&schema), options)?;
        Ok(Part { table: table.clone(), schema, writer, rows: 0, out_of_range: 0 })
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds rows of one series: those from `from` on, at most so many. Answers how many.
    pub(crate) fn add(
        &mut self,
        place: Place<'_>,
        stretch: &Stretch,
        from: usize,
        rows_max: usize,
    ) -> Result<usize, ColdError> {
        let end = stretch.ticks.len().min(from.saturating_add(rows_max));
        let mut at = from;
        while at < end {
            let next = end.min(at + BATCH_ROWS);
            let batch = self.batch(place, stretch, at..next)?;
            self.writer.write(&batch)?;
            at = next;
        }
        let added = end.saturating_sub(from);
        self.rows += added as u64;
        Ok(added)
    }

    fn batch(
        &mut self,
        place: Place<'_>,
        stretch: &Stretch,
        rows: std::ops::Range<usize>,
    ) -> Result<RecordBatch, ColdError> {
        let remarks = remarks_of(stretch, &rows);
        let mut columns = Vec::with_capacity(self.table.columns.len());
        for (_, content) in self.table.columns.clone() {
            let ticks = stretch.ticks.get(rows.clone()).unwrap_or_default();
            let of_remarks = |get: &dyn Fn(&Remark) -> Option<i64>| -> Vec<Option<i64>> {
                remarks.iter().map(|remark| remark.as_ref().and_then(get)).collect()
            };
            let array: ArrayRef = match content {
                Content::At => stamps(ticks.iter().map(|tick| Some(micros(tick.at)))),
                Content::Station => {
                    let mut builder = StringBuilder::new();
                    ticks.iter().for_each(|_| builder.append_value(place.station));
                    Arc::new(builder.finish())
                }
                Content::Evse => repeat(ticks.len(), place.evse),
                Content::Connector => repeat(ticks.len(), place.connector),
                Content::Value(measurand) => {
                    let values: Vec<Option<i64>> =
                        ticks.iter().map(|tick| tick.get(measurand)).collect();
                    self.values(measurand, &values)?
                }
                Content::Flags => {
                    let mut builder = Int32Builder::with_capacity(ticks.len());
                    for remark in &remarks {
                        builder.append_value(remark.map_or(0, |remark| i32::from(remark.flags.0)));
                    }
                    Arc::new(builder.finish())
                }
                Content::RawAt => {
                    stamps(of_remarks(&|remark| remark.raw_at.map(micros)).into_iter())
                }
                Content::Raw(measurand) => {
                    let values = of_remarks(&|remark| remark.raw[measurand as usize]);
                    self.values(measurand, &values)?
                }
            };
            columns.push(array);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn values(
        &mut self,
        measurand: Measurand,
        values: &[Option<i64>],
    ) -> Result<ArrayRef, ColdError> {
        let scale = decimals(measurand);
        if scale == 0 {
            let mut builder = Int64Builder::with_capacity(values.len());
            values.iter().for_each(|value| builder.append_option(*value));
            return Ok(Arc::new(builder.finish()));
        }
        let mut builder = Decimal128Builder::with_capacity(values.len())
            .with_precision_and_scale(DIGITS, scale)?;
        for value in values {
            let fits = |value: &i64| -DECIMAL_END < *value && *value < DECIMAL_END;
            let fitting = value.filter(fits);
            self.out_of_range += u64::from(value.is_some() && fitting.is_none());
            builder.append_option(fitting.map(i128::from));
        }
        Ok(Arc::new(builder.finish()))
    }

    /// The file, and how many values did not fit their column and were left out.
    pub(crate) fn finish(self) -> Result<(Vec<u8>, u64), ColdError> {
        Ok((self.writer.into_inner()?, self.out_of_range))
    }
}

/// A remark or none for each of some rows.
fn remarks_of(stretch: &Stretch, rows: &std::ops::Range<usize>) -> Vec<Option<Remark>> {
    let mut all = vec![None; rows.len()];
    let first = stretch.remarks.partition_point(|remark| (remark.row as usize) < rows.start);
    for remark in stretch.remarks.iter().skip(first) {
        let Some(slot) = all.get_mut(remark.row as usize - rows.start) else { break };
        *slot = Some(*remark);
    }
    all
}

fn micros(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

fn stamps(stamps: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    let mut builder = TimestampMicrosecondBuilder::new();
    stamps.for_each(|at| builder.append_option(at));
    Arc::new(builder.finish().with_timezone("UTC"))
}

fn repeat(rows: usize, value: u16) -> ArrayRef {
    let mut builder = Int32Builder::with_capacity(rows);
    (0..rows).for_each(|_| builder.append_value(i32::from(value)));
    Arc::new(builder.finish())
}

//! One value of a row on its way into a column.

use crate::error::Error;
use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Decimal128Builder, Int32Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use novax_model::{Amount, Timestamp};
use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;

/// The type of a column, one for each SQL type we emit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// `boolean`
    Bool,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `text`
    Text,
    /// `numeric(precision, scale)`
    Decimal(u8, i8),
    /// `timestamp with time zone`
    Time,
}

/// Amounts in minor units: all digits an Arrow decimal has.
pub(crate) const AMOUNT: Kind = Kind::Decimal(38, 0);
/// A scaled 64-bit measurand: 19 digits hold every value.
pub(crate) const TENTHS: Kind = Kind::Decimal(19, 1);
/// A scaled 64-bit measurand with two decimals.
pub(crate) const HUNDREDTHS: Kind = Kind::Decimal(19, 2);

impl Kind {
    pub(crate) fn data_type(self) -> DataType {
        match self {
            Kind::Bool => DataType::Boolean,
            Kind::Int4 => DataType::Int32,
            Kind::Int8 => DataType::Int64,
            Kind::Text => DataType::Utf8,
            Kind::Decimal(precision, scale) => DataType::Decimal128(precision, scale),
            Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        }
    }
}

/// A value, or none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Text(Cow<'a, str>),
    Decimal(i128),
    Time(i64),
    /// The stored value does not fit the column.
    Unfit(&'static str),
}

impl<'a> Cell<'a> {
    pub(crate) fn text(text: &'a str) -> Cell<'a> {
        Cell::Text(Cow::Borrowed(text))
    }

    /// Empty text is "not known" in our rows.
    pub(crate) fn filled(text: &'a str) -> Cell<'a> {
        if text.is_empty() { Cell::Null } else { Cell::text(text) }
    }

    pub(crate) fn show(value: impl Display) -> Cell<'static> {
        Cell::Text(Cow::Owned(value.to_string()))
    }

    pub(crate) fn int(value: impl Into<i64>) -> Cell<'static> {
        Cell::Int(value.into())
    }

    pub(crate) fn count(value: u64) -> Cell<'static> {
        i64::try_from(value).map_or(Cell::Unfit("a counter above 2^63"), Cell::Int)
    }

    pub(crate) fn amount(value: Amount) -> Cell<'static> {
        const TOO_LARGE: u128 = 10_u128.pow(38);
        match i128::try_from(value) {
            Ok(fitting) if value < TOO_LARGE => Cell::Decimal(fitting),
            _ => Cell::Unfit("an amount of more than 38 digits"),
        }
    }

    /// The epoch is "not yet" in our rows, the end of time is "never".
    pub(crate) fn time(at: Timestamp) -> Cell<'static> {
        match i64::try_from(at.0) {
            Ok(0) | Err(_) => Cell::Null,
            Ok(micros) => Cell::Time(micros),
        }
    }

    pub(crate) fn of<T>(value: Option<T>, cell: impl FnOnce(T) -> Cell<'a>) -> Cell<'a> {
        value.map_or(Cell::Null, cell)
    }
}

/// A column being filled.
#[derive(Debug)]
pub(crate) enum Builder {
    Bool(BooleanBuilder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Text(StringBuilder),
    Decimal(Decimal128Builder),
    Time(TimestampMicrosecondBuilder),
}

impl Builder {
    pub(crate) fn new(kind: Kind) -> Builder {
        match kind {
            Kind::Bool => Builder::Bool(BooleanBuilder::new()),
            Kind::Int4 => Builder::Int4(Int32Builder::new()),
            Kind::Int8 => Builder::Int8(Int64Builder::new()),
            Kind::Text => Builder::Text(StringBuilder::new()),
            Kind::Decimal(..) => {
                Builder::Decimal(Decimal128Builder::new().with_data_type(kind.data_type()))
            }
            Kind::Time => {
                Builder::Time(TimestampMicrosecondBuilder::new().with_data_type(kind.data_type()))
            }
        }
    }

    /// Adds a value. Panics when the table's code gives a cell of another type than its column has;
    /// the tests scan every column of every table.
    pub(crate) fn push(&mut self, table: &'static str, cell: Cell<'_>) -> Result<(), Error> {
        if let Cell::Unfit(what) = cell {
            return Err(Error::Corrupt { table, message: format!("{what} has no SQL value") });
        }
        match (self, cell) {
            (Builder::Bool(column), Cell::Bool(value)) => column.append_value(value),
            (Builder::Int4(column), Cell::Int(value)) => {
                let value = i32::try_from(value).map_err(|_| Error::Corrupt {
                    table,
                    message: format!("{value} does not fit an integer column"),
                })?;
                column.append_value(value);
            }
            (Builder::Int8(column), Cell::Int(value)) => column.append_value(value),
            (Builder::Text(column), Cell::Text(value)) => column.append_value(value),
            (Builder::Decimal(column), Cell::Decimal(value)) => column.append_value(value),
            (Builder::Time(column), Cell::Time(value)) => column.append_value(value),
            (column, Cell::Null) => column.push_null(),
            (column, cell) => unreachable!("table {table}: {cell:?} for {column:?}"),
        }
        Ok(())
    }

    fn push_null(&mut self) {
        match self {
            Builder::Bool(column) => column.append_null(),
            Builder::Int4(column) => column.append_null(),
            Builder::Int8(column) => column.append_null(),
            Builder::Text(column) => column.append_null(),
            Builder::Decimal(column) => column.append_null(),
            Builder::Time(column) => column.append_null(),
        }
    }

    pub(crate) fn finish(&mut self) -> ArrayRef {
        match self {
            Builder::Bool(column) => Arc::new(column.finish()),
            Builder::Int4(column) => Arc::new(column.finish()),
            Builder::Int8(column) => Arc::new(column.finish()),
            Builder::Text(column) => Arc::new(column.finish()),
            Builder::Decimal(column) => Arc::new(column.finish()),
            Builder::Time(column) => Arc::new(column.finish()),
        }
    }
}

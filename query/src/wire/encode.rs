//! Arrow values as PostgreSQL clients read them, as text and in binary.

use crate::datetime::{
    PG_EPOCH_DAYS, PG_EPOCH_US, date_text, interval_text, time_text, timestamp_text,
};
use crate::error::Error;
use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float64Type, Int64Type, IntervalMonthDayNanoType,
    IntervalUnit, Schema, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::{FieldFormat, FieldInfo};
use pgwire::messages::data::DataRow;
use std::fmt::Write;
use std::sync::Arc;

/// How a value is written. Arrow's many widths come down to these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Text,
    Bytes,
    Date,
    Time,
    Timestamp {
        zoned: bool,
    },
    Interval,
    /// What has no counterpart is shown as text.
    Shown,
}

impl Shape {
    fn of(data_type: &DataType) -> Shape {
        match data_type {
            DataType::Boolean => Shape::Bool,
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => Shape::Int2,
            DataType::Int32 | DataType::UInt16 => Shape::Int4,
            DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Shape::Int8,
            DataType::Float16 | DataType::Float32 => Shape::Float4,
            DataType::Float64 => Shape::Float8,
            DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) => {
                Shape::Numeric
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
                Shape::Text
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Shape::Bytes,
            DataType::Date32 => Shape::Date,
            DataType::Date64 => Shape::Timestamp { zoned: false },
            DataType::Time32(_) | DataType::Time64(_) => Shape::Time,
            DataType::Timestamp(_, zone) => Shape::Timestamp { zoned: zone.is_some() },
            DataType::Interval(_) | DataType::Duration(_) => Shape::Interval,
            DataType::Dictionary(_, values) => Shape::of(values),
            _ => Shape::Shown,
        }
    }

    /// The one Arrow type of a shape that is written; others are cast to it first.
    fn canonical(self, data_type: &DataType) -> DataType {
        match self {
            Shape::Bool => DataType::Boolean,
            Shape::Int2 | Shape::Int4 | Shape::Int8 => DataType::Int64,
            Shape::Float4 | Shape::Float8 => DataType::Float64,
            Shape::Numeric => match data_type {
                DataType::Decimal32(_, scale)
                | DataType::Decimal64(_, scale)
                | DataType::Decimal128(_, scale) => DataType::Decimal128(38, *scale),
                other => other.clone(),
            },
            Shape::Text => DataType::Utf8,
            Shape::Bytes => DataType::Binary,
            Shape::Date => DataType::Date32,
            Shape::Time => DataType::Time64(TimeUnit::Microsecond),
            Shape::Timestamp { zoned } => {
                DataType::Timestamp(TimeUnit::Microsecond, zoned.then(|| "+00:00".into()))
            }
            Shape::Interval => match data_type {
                // Arrow casts no duration to an interval: counted in microseconds instead.
                DataType::Duration(_) => DataType::Duration(TimeUnit::Microsecond),
                _ => DataType::Interval(IntervalUnit::MonthDayNano),
            },
            Shape::Shown => data_type.clone(),
        }
    }

    fn pg_type(self) -> Type {
        match self {
            Shape::Bool => Type::BOOL,
            Shape::Int2 => Type::INT2,
            Shape::Int4 => Type::INT4,
            Shape::Int8 => Type::INT8,
            Shape::Float4 => Type::FLOAT4,
            Shape::Float8 => Type::FLOAT8,
            Shape::Numeric => Type::NUMERIC,
            Shape::Text | Shape::Shown => Type::TEXT,
            Shape::Bytes => Type::BYTEA,
            Shape::Date => Type::DATE,
            Shape::Time => Type::TIME,
            Shape::Timestamp { zoned: true } => Type::TIMESTAMPTZ,
            Shape::Timestamp { zoned: false } => Type::TIMESTAMP,
            Shape::Interval => Type::INTERVAL,
        }
    }

    fn size(self) -> i16 {
        match self {
            Shape::Bool => 1,
            Shape::Int2 => 2,
            Shape::Int4 | Shape::Float4 | Shape::Date => 4,
            Shape::Int8 | Shape::Float8 | Shape::Time | Shape::Timestamp { .. } => 8,
            Shape::Interval => 16,
            Shape::Numeric | Shape::Text | Shape::Bytes | Shape::Shown => -1,
        }
    }
}

/// The elements of a list, when they are of a type PostgreSQL has arrays of.
fn element(data_type: &DataType) -> Option<(Shape, Type)> {
    let (DataType::List(field) | DataType::LargeList(field)) = data_type else { return None };
    let shape = Shape::of(field.data_type());
    let array = match shape {
        Shape::Bool => Type::BOOL_ARRAY,
        Shape::Int2 => Type::INT2_ARRAY,
        Shape::Int4 => Type::INT4_ARRAY,
        Shape::Int8 => Type::INT8_ARRAY,
        Shape::Float8 => Type::FLOAT8_ARRAY,
        Shape::Numeric => Type::NUMERIC_ARRAY,
        Shape::Text => Type::TEXT_ARRAY,
        Shape::Timestamp { zoned: true } => Type::TIMESTAMPTZ_ARRAY,
        _ => return None,
    };
    Some((shape, array))
}

/// The PostgreSQL type of an Arrow type.
pub(super) fn pg_type(data_type: &DataType) -> Type {
    element(data_type).map_or_else(|| Shape::of(data_type).pg_type(), |(_, array)| array)
}

/// What a client is told of the columns of a result.
pub(super) fn fields(schema: &Schema, names: &[Option<String>], format: &Format) -> Vec<FieldInfo> {
    let field = |(at, field): (usize, &Arc<Field>)| {
        let data_type = field.data_type();
        let name = names.get(at).cloned().flatten().unwrap_or_else(|| field.name().clone());
        let format = match format {
            Format::Individual(codes) => {
                codes.get(at).map_or(FieldFormat::Text, |code| FieldFormat::from(*code))
            }
            other => other.format_for(at),
        };
        let modifier = match data_type {
            DataType::Decimal128(precision, scale) if *scale >= 0 => {
                (i32::from(*precision) << 16 | i32::from(*scale)) + 4
            }
            _ => -1,
        };
        let size = if element(data_type).is_some() { -1 } else { Shape::of(data_type).size() };
        FieldInfo::new(name, None, None, pg_type(data_type), format)
            .with_type_size(size)
            .with_type_modifier(modifier)
    };
    schema.fields().iter().enumerate().map(field).collect()
}

/// A column ready to be written value by value.
struct Column {
    values: ArrayRef,
    shape: Shape,
    /// The shape of the elements, when the values are lists.
    element: Option<Shape>,
    format: FieldFormat,
}

impl Column {
    fn new(values: &ArrayRef, told: &DataType, format: FieldFormat) -> Result<Column, Error> {
        // Nothing is known of a column of NULLs; if it got values they are sent as text.
        let told = if *told == DataType::Null { &DataType::Utf8 } else { told };
        let target = match element(told) {
            Some((shape, _)) => {
                let (DataType::List(field) | DataType::LargeList(field)) = told else {
                    return Err(Error::Internal("elements without a list".into()));
                };
                let inner = shape.canonical(field.data_type());
                DataType::List(Arc::new(Field::new("item", inner, true)))
            }
            None => Shape::of(told).canonical(told),
        };
        let values =
            if *values.data_type() == target { values.clone() } else { cast(values, &target)? };
        let element = element(told).map(|(shape, _)| shape);
        Ok(Column { values, shape: Shape::of(told), element, format })
    }

    /// Appends the length and the value of a row.
    fn write(&self, row: usize, out: &mut BytesMut) -> Result<(), Error> {
        if self.values.is_null(row) {
            out.put_i32(-1);
            return Ok(());
        }
        let start = out.len();
        out.put_i32(0);
        match (self.element, self.format) {
            (Some(shape), FieldFormat::Text) => write_list_text(&self.values, shape, row, out)?,
            (Some(shape), FieldFormat::Binary) => write_list_binary(&self.values, shape, row, out)?,
            (None, FieldFormat::Text) => {
                out.extend_from_slice(text(&self.values, self.shape, row)?.as_bytes());
            }
            (None, FieldFormat::Binary) => binary(&self.values, self.shape, row, out)?,
        }
        put_length(out, start)
    }
}

/// Fills in the length that was left open at `start`.
fn put_length(out: &mut BytesMut, start: usize) -> Result<(), Error> {
    let too_long = || Error::OutOfRange("a value of more than 1 GiB".into());
    let length = i32::try_from(out.len() - start - 4).map_err(|_| too_long())?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// The rows of a batch as messages. `told` is what the client was told of the columns' types.
pub(super) fn rows(
    batch: &RecordBatch,
    told: &Schema,
    fields: &[FieldInfo],
) -> Result<Vec<DataRow>, Error> {
    assert_eq!(batch.num_columns(), fields.len(), "a result has the columns it was said to have");
    let columns: Vec<Column> = batch
        .columns()
        .iter()
        .zip(told.fields())
        .zip(fields)
        .map(|((values, told), field)| Column::new(values, told.data_type(), field.format()))
        .collect::<Result<_, Error>>()?;
    let count = i16::try_from(columns.len())
        .map_err(|_| Error::NotSupported("more than 32767 columns".into()))?;
    let mut buffer = BytesMut::with_capacity(batch.num_rows() * columns.len() * 16);
    let row = |row: usize| {
        for column in &columns {
            column.write(row, &mut buffer)?;
        }
        Ok(DataRow::new(buffer.split(), count))
    };
    (0..batch.num_rows()).map(row).collect()
}

/// A duration or interval as months, days and microseconds.
fn interval(values: &ArrayRef, row: usize) -> (i32, i32, i64) {
    if let DataType::Duration(_) = values.data_type() {
        use datafusion::arrow::datatypes::DurationMicrosecondType;
        return (0, 0, values.as_primitive::<DurationMicrosecondType>().value(row));
    }
    let value = values.as_primitive::<IntervalMonthDayNanoType>().value(row);
    (value.months, value.days, value.nanoseconds / 1_000)
}

fn text(values: &ArrayRef, shape: Shape, row: usize) -> Result<String, Error> {
    Ok(match shape {
        Shape::Bool => if values.as_boolean().value(row) { "t" } else { "f" }.to_owned(),
        Shape::Int2 | Shape::Int4 | Shape::Int8 => {
            values.as_primitive::<Int64Type>().value(row).to_string()
        }
        Shape::Float4 | Shape::Float8 => {
            let value = values.as_primitive::<Float64Type>().value(row);
            if shape == Shape::Float4 {
                // Narrowed back to what it was before it was widened: prints its own digits.
                float_text(&format!("{:?}", value as f32))
            } else {
                float_text(&format!("{value:?}"))
            }
        }
        Shape::Numeric => {
            let column = values.as_primitive::<Decimal128Type>();
            decimal_text(column.value(row), column.scale())
        }
        Shape::Text => values.as_string::<i32>().value(row).to_owned(),
        Shape::Bytes => {
            let mut hex = String::from("\\x");
            for byte in values.as_binary::<i32>().value(row) {
                write!(hex, "{byte:02x}").expect("writing to a string");
            }
            hex
        }
        Shape::Date => date_text(values.as_primitive::<Date32Type>().value(row).into()),
        Shape::Time => time_text(values.as_primitive::<Time64MicrosecondType>().value(row)),
        Shape::Timestamp { zoned } => {
            timestamp_text(values.as_primitive::<TimestampMicrosecondType>().value(row), zoned)
        }
        Shape::Interval => {
            let (months, days, us) = interval(values, row);
            interval_text(months, days, us)
        }
        Shape::Shown => {
            let options = FormatOptions::default();
            ArrayFormatter::try_new(values, &options)?.value(row).to_string()
        }
    })
}

/// Rust's shortest digits in PostgreSQL's dress.
fn float_text(debug: &str) -> String {
    match debug {
        "inf" => "Infinity".into(),
        "-inf" => "-Infinity".into(),
        _ => match debug.split_once('e') {
            Some((digits, exponent)) => {
                let digits = digits.strip_suffix(".0").unwrap_or(digits);
                let (sign, power) =
                    exponent.strip_prefix('-').map_or(("+", exponent), |p| ("-", p));
                format!("{digits}e{sign}{power:0>2}")
            }
            None => debug.strip_suffix(".0").unwrap_or(debug).to_owned(),
        },
    }
}

fn decimal_text(value: i128, scale: i8) -> String {
    let digits = value.unsigned_abs().to_string();
    let sign = if value < 0 { "-" } else { "" };
    match usize::try_from(scale) {
        Ok(0) => format!("{sign}{digits}"),
        Ok(scale) => {
            let padded = format!("{digits:0>width$}", width = scale + 1);
            let (whole, part) = padded.split_at(padded.len() - scale);
            format!("{sign}{whole}.{part}")
        }
        Err(_) if value == 0 => "0".into(),
        Err(_) => format!("{sign}{digits}{}", "0".repeat(usize::from(scale.unsigned_abs()))),
    }
}

fn binary(values: &ArrayRef, shape: Shape, row: usize, out: &mut BytesMut) -> Result<(), Error> {
    let unfit = || Error::OutOfRange("a value does not fit its type".into());
    match shape {
        Shape::Bool => out.put_u8(values.as_boolean().value(row).into()),
        Shape::Int2 => {
            let value = values.as_primitive::<Int64Type>().value(row);
            out.put_i16(value.try_into().map_err(|_| unfit())?);
        }
        Shape::Int4 => {
            let value = values.as_primitive::<Int64Type>().value(row);
            out.put_i32(value.try_into().map_err(|_| unfit())?);
        }
        Shape::Int8 => out.put_i64(values.as_primitive::<Int64Type>().value(row)),
        Shape::Float4 => out.put_f32(values.as_primitive::<Float64Type>().value(row) as f32),
        Shape::Float8 => out.put_f64(values.as_primitive::<Float64Type>().value(row)),
        Shape::Numeric => {
            let column = values.as_primitive::<Decimal128Type>();
            decimal_binary(column.value(row), column.scale(), out);
        }
        Shape::Bytes => out.extend_from_slice(values.as_binary::<i32>().value(row)),
        Shape::Date => {
            let days = values.as_primitive::<Date32Type>().value(row);
            out.put_i32(days.checked_sub(PG_EPOCH_DAYS).ok_or_else(unfit)?);
        }
        Shape::Time => out.put_i64(values.as_primitive::<Time64MicrosecondType>().value(row)),
        Shape::Timestamp { .. } => {
            let us = values.as_primitive::<TimestampMicrosecondType>().value(row);
            out.put_i64(us.checked_sub(PG_EPOCH_US).ok_or_else(unfit)?);
        }
        Shape::Interval => {
            let (months, days, us) = interval(values, row);
            out.put_i64(us);
            out.put_i32(days);
            out.put_i32(months);
        }
        Shape::Text | Shape::Shown => out.extend_from_slice(text(values, shape, row)?.as_bytes()),
    }
    Ok(())
}

/// PostgreSQL's numeric: digits to the base of 10 000, their weight, sign and decimals shown.
fn decimal_binary(value: i128, scale: i8, out: &mut BytesMut) {
    let shown = u16::try_from(scale.max(0)).expect("not negative");
    // Whole groups of four decimals, so that the point falls between two digits.
    let groups_after = shown.div_ceil(4);
    let digits = value.unsigned_abs().to_string();
    let zeros = match usize::try_from(scale) {
        Ok(scale) => usize::from(groups_after) * 4 - scale,
        Err(_) => usize::from(scale.unsigned_abs()),
    };
    let all = format!("{digits}{}", "0".repeat(zeros));
    let padded = format!("{all:0>width$}", width = all.len().div_ceil(4) * 4);
    let mut groups: Vec<i16> = padded
        .as_bytes()
        .chunks(4)
        .map(|four| four.iter().fold(0, |sum, digit| sum * 10 + i16::from(digit - b'0')))
        .collect();
    let mut weight = i16::try_from(groups.len()).expect("few groups")
        - i16::try_from(groups_after).expect("few groups")
        - 1;
    let leading = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..leading);
    weight -= i16::try_from(leading).expect("few groups");
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    out.put_i16(i16::try_from(groups.len()).expect("few groups"));
    out.put_i16(weight);
    out.put_u16(if value < 0 { 0x4000 } else { 0 });
    out.put_u16(shown);
    for group in groups {
        out.put_i16(group);
    }
}

fn write_list_text(
    values: &ArrayRef,
    shape: Shape,
    row: usize,
    out: &mut BytesMut,
) -> Result<(), Error> {
    let list = values.as_list::<i32>().value(row);
    out.put_u8(b'{');
    for at in 0..list.len() {
        if at > 0 {
            out.put_u8(b',');
        }
        if list.is_null(at) {
            out.extend_from_slice(b"NULL");
            continue;
        }
        let item = text(&list, shape, at)?;
        let plain = !item.is_empty()
            && !item.eq_ignore_ascii_case("null")
            && !item
                .contains(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | ',' | '"' | '\\'));
        if plain {
            out.extend_from_slice(item.as_bytes());
        } else {
            let escaped = item.replace('\\', "\\\\").replace('"', "\\\"");
            out.extend_from_slice(format!("\"{escaped}\"").as_bytes());
        }
    }
    out.put_u8(b'}');
    Ok(())
}

fn write_list_binary(
    values: &ArrayRef,
    shape: Shape,
    row: usize,
    out: &mut BytesMut,
) -> Result<(), Error> {
    let list = values.as_list::<i32>().value(row);
    let too_long = |_| Error::OutOfRange("a list of more than 2^31 elements".into());
    out.put_i32(i32::from(!list.is_empty()));
    out.put_i32(i32::from(list.null_count() > 0));
    out.put_u32(shape.pg_type().oid());
    if !list.is_empty() {
        out.put_i32(i32::try_from(list.len()).map_err(too_long)?);
        out.put_i32(1);
    }
    for at in 0..list.len() {
        if list.is_null(at) {
            out.put_i32(-1);
            continue;
        }
        let start = out.len();
        out.put_i32(0);
        binary(&list, shape, at, out)?;
        put_length(out, start)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::decode::numeric_text;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn floats_are_written_as_postgresql_writes_them() {
        for (value, expected) in [
            (1.0, "1"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1e300, "1e+300"),
            (1.5e-9, "1.5e-09"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
        ] {
            assert_eq!(float_text(&format!("{value:?}")), expected);
        }
    }

    #[test]
    fn decimals_keep_their_zeros() {
        assert_eq!(decimal_text(0, 0), "0");
        assert_eq!(decimal_text(2_310, 1), "231.0");
        assert_eq!(decimal_text(-5, 2), "-0.05");
        assert_eq!(decimal_text(7, -2), "700");
        assert_eq!(decimal_text(0, -2), "0");
        assert_eq!(decimal_text(i128::MIN, 0), i128::MIN.to_string());
    }

    #[test]
    fn numeric_bytes_are_those_of_postgresql() {
        let check = |value, scale, expected: &[u16]| {
            let mut out = BytesMut::new();
            decimal_binary(value, scale, &mut out);
            let words: Vec<u16> =
                out.chunks(2).map(|two| u16::from_be_bytes([two[0], two[1]])).collect();
            assert_eq!(words, expected, "{value} / {scale}");
        };
        // As `select numeric_send(..)` of PostgreSQL 15 answers.
        check(0, 0, &[0, 0, 0, 0]);
        check(12_345, 0, &[2, 1, 0, 0, 1, 2_345]);
        check(-5, 2, &[1, 0xffff, 0x4000, 2, 500]);
        check(2_310, 1, &[1, 0, 0, 1, 231]);
        check(10_000, 0, &[1, 1, 0, 0, 1]);
        check(1_234_567, 3, &[2, 0, 0, 3, 1_234, 5_670]);
    }

    proptest! {
        #[test]
        fn numeric_bytes_read_back_as_the_text(value in any::<i128>(), scale in -5_i8..38) {
            let mut out = BytesMut::new();
            decimal_binary(value, scale, &mut out);
            prop_assert_eq!(numeric_text(&out).unwrap(), decimal_text(value, scale));
        }
    }
}

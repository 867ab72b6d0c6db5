//! Parameters as clients send them, as text and in binary, to values of the planner.

use super::encode::pg_type;
use crate::datetime::{PG_EPOCH_DAYS, PG_EPOCH_US};
use crate::error::Error;
use bytes::Bytes;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use pgwire::api::Type;
use std::collections::BTreeMap;

/// The types a client is told its parameters have.
pub(super) fn types(parameters: &BTreeMap<usize, Option<DataType>>) -> Vec<Type> {
    let count = parameters.keys().next_back().copied().unwrap_or(0);
    let of = |number| match parameters.get(&number) {
        Some(Some(data_type)) => pg_type(data_type),
        _ => Type::TEXT,
    };
    (1..=count).map(of).collect()
}

/// A parameter: its bytes (NULL when there are none), its format, the type the client said it is of,
/// and the type the plan wants.
#[derive(Debug)]
pub(super) struct Parameter<'a> {
    pub(super) number: usize,
    pub(super) bytes: Option<&'a Bytes>,
    pub(super) binary: bool,
    pub(super) said: Option<&'a Type>,
    pub(super) wanted: Option<&'a DataType>,
}

/// Reads a parameter.
pub(super) fn value(parameter: &Parameter<'_>) -> Result<ScalarValue, Error> {
    let number = parameter.number;
    let bad = |what: &str| Error::InvalidValue(format!("parameter ${number}: {what}"));
    let said = match (parameter.said, parameter.wanted) {
        (Some(said), _) if *said != Type::UNKNOWN => said.clone(),
        (_, Some(wanted)) => pg_type(wanted),
        _ => Type::TEXT,
    };
    let natural = arrow_type(&said)
        .ok_or_else(|| Error::NotSupported(format!("parameter ${number} of type {said}")))?;
    let wanted = parameter.wanted.unwrap_or(&natural);
    let Some(bytes) = parameter.bytes else {
        return Ok(ScalarValue::try_new_null(wanted)?);
    };
    let value = if parameter.binary {
        from_binary(&said, bytes).ok_or_else(|| bad(&format!("no {said} in binary format")))?
    } else {
        let text = std::str::from_utf8(bytes).map_err(|_| bad("not UTF-8"))?;
        from_text(text, &natural).map_err(|error| bad(&error.to_string()))?
    };
    if value.data_type() == *wanted {
        return Ok(value);
    }
    value.cast_to(wanted).map_err(|error| bad(&error.to_string()))
}

fn from_text(text: &str, data_type: &DataType) -> Result<ScalarValue, Error> {
    let trimmed = text.trim();
    match data_type {
        DataType::Utf8 => Ok(ScalarValue::Utf8(Some(text.to_owned()))),
        DataType::Boolean => match trimmed.to_ascii_lowercase().as_str() {
            "t" | "true" | "on" | "yes" | "1" => Ok(ScalarValue::Boolean(Some(true))),
            "f" | "false" | "off" | "no" | "0" => Ok(ScalarValue::Boolean(Some(false))),
            _ => Err(Error::InvalidValue(format!("{text:?} is no boolean"))),
        },
        DataType::Decimal128(..) => decimal(trimmed)
            .ok_or_else(|| Error::InvalidValue(format!("{text:?} is no numeric of 38 digits"))),
        other => Ok(ScalarValue::try_from_string(trimmed.to_owned(), other)?),
    }
}

/// A decimal with as many decimals as are written.
fn decimal(text: &str) -> Option<ScalarValue> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{part}");
    if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let significant = all.trim_start_matches('0');
    if significant.len() > 38 || part.len() > 38 {
        return None;
    }
    let value: i128 = if significant.is_empty() { 0 } else { significant.parse().ok()? };
    Some(ScalarValue::Decimal128(Some(sign * value), 38, i8::try_from(part.len()).ok()?))
}

/// The Arrow type that values of a PostgreSQL type are read as.
fn arrow_type(said: &Type) -> Option<DataType> {
    Some(match *said {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 | Type::OID => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::NUMERIC => DataType::Decimal128(38, 10),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => DataType::Utf8,
        Type::BYTEA => DataType::Binary,
        Type::DATE => DataType::Date32,
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        _ => return None,
    })
}

fn from_binary(said: &Type, bytes: &[u8]) -> Option<ScalarValue> {
    Some(match *said {
        Type::BOOL => ScalarValue::Boolean(Some(<[u8; 1]>::try_from(bytes).ok()? != [0])),
        Type::INT2 => ScalarValue::Int16(Some(i16::from_be_bytes(bytes.try_into().ok()?))),
        Type::INT4 => ScalarValue::Int32(Some(i32::from_be_bytes(bytes.try_into().ok()?))),
        Type::INT8 => ScalarValue::Int64(Some(i64::from_be_bytes(bytes.try_into().ok()?))),
        Type::OID => ScalarValue::Int64(Some(u32::from_be_bytes(bytes.try_into().ok()?).into())),
        Type::FLOAT4 => ScalarValue::Float32(Some(f32::from_be_bytes(bytes.try_into().ok()?))),
        Type::FLOAT8 => ScalarValue::Float64(Some(f64::from_be_bytes(bytes.try_into().ok()?))),
        Type::NUMERIC => decimal(&numeric_text(bytes)?)?,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => {
            ScalarValue::Utf8(Some(std::str::from_utf8(bytes).ok()?.to_owned()))
        }
        Type::BYTEA => ScalarValue::Binary(Some(bytes.to_vec())),
        Type::DATE => {
            let days = i32::from_be_bytes(bytes.try_into().ok()?);
            ScalarValue::Date32(Some(days.checked_add(PG_EPOCH_DAYS)?))
        }
        Type::TIMESTAMP => ScalarValue::TimestampMicrosecond(Some(microseconds(bytes)?), None),
        Type::TIMESTAMPTZ => {
            ScalarValue::TimestampMicrosecond(Some(microseconds(bytes)?), Some("+00:00".into()))
        }
        _ => return None,
    })
}

fn microseconds(bytes: &[u8]) -> Option<i64> {
    i64::from_be_bytes(bytes.try_into().ok()?).checked_add(PG_EPOCH_US)
}

/// PostgreSQL's binary numeric as text; `None` when it is none, or no finite number.
pub(super) fn numeric_text(bytes: &[u8]) -> Option<String> {
    let mut words = bytes.chunks_exact(2).map(|two| u16::from_be_bytes([two[0], two[1]]));
    let (count, weight, sign, shown) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let weight = i32::from(weight.cast_signed());
    if bytes.len() != 8 + usize::from(count) * 2 || !matches!(sign, 0 | 0x4000) {
        return None;
    }
    // No numeric we can hold has more digits; nobody gets to ask for gigabytes of zeros.
    if !(-20..=20).contains(&weight) || count > 40 || shown > 80 {
        return None;
    }
    let groups: Vec<u16> = words.collect();
    if groups.iter().any(|group| *group > 9_999) {
        return None;
    }
    let group = |place: i32| {
        usize::try_from(weight - place).ok().and_then(|at| groups.get(at)).copied().unwrap_or(0)
    };
    let whole: String = (0..=weight.max(0)).rev().map(|p| format!("{:04}", group(p))).collect();
    let places = i32::from(shown.div_ceil(4));
    let part: String = (1..=places).map(|place| format!("{:04}", group(-place))).collect();
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if sign == 0 { "" } else { "-" };
    if shown == 0 {
        return Some(format!("{sign}{whole}"));
    }
    Some(format!("{sign}{whole}.{}", &part[..usize::from(shown)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(
        said: Option<&Type>,
        wanted: Option<&DataType>,
        text: &str,
    ) -> Result<ScalarValue, Error> {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        value(&Parameter { number: 1, bytes: Some(&bytes), binary: false, said, wanted })
    }

    #[test]
    fn text_is_read_as_the_type_the_plan_wants() {
        let amount = DataType::Decimal128(38, 0);
        assert_eq!(read(None, Some(&DataType::Int32), "7").unwrap(), ScalarValue::Int32(Some(7)));
        assert_eq!(
            read(None, Some(&amount), "1200").unwrap(),
            ScalarValue::Decimal128(Some(1200), 38, 0)
        );
        assert_eq!(
            read(Some(&Type::INT4), Some(&DataType::Int64), " 7").unwrap(),
            ScalarValue::Int64(Some(7))
        );
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        assert_eq!(
            read(None, Some(&zoned), "2026-11-22T13:14:24Z").unwrap(),
            ScalarValue::TimestampMicrosecond(Some(1_795_353_264_000_000), Some("+00:00".into()))
        );
        for (wanted, text) in
            [(DataType::Int32, "x"), (DataType::Boolean, "maybe"), (amount, "1e5")]
        {
            assert_eq!(read(None, Some(&wanted), text).unwrap_err().sqlstate(), "22P02", "{text}");
        }
    }

    #[test]
    fn null_has_the_type_wanted() {
        let wanted = DataType::Int64;
        let parameter =
            Parameter { number: 1, bytes: None, binary: true, said: None, wanted: Some(&wanted) };
        assert_eq!(value(&parameter).unwrap(), ScalarValue::Int64(None));
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            for said in [Type::NUMERIC, Type::INT4, Type::TIMESTAMPTZ, Type::TEXT, Type::DATE, Type::BOOL] {
                let _ = from_binary(&said, &bytes);
            }
        }
    }
}

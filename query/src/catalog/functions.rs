//! The functions that PostgreSQL clients call on catalogs.

use super::{OWNER, format_type, tables, version};
use crate::database::DATABASE;
use crate::error::Error;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use std::sync::Arc;

/// What a function does with its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Body {
    Text(&'static str),
    Bool(bool),
    /// NULL of a text type: the thing asked for does not exist here.
    Nothing,
    /// NULL of bigint.
    NoNumber,
    Version,
    FormatType,
    Comment,
    RelationName,
    QuoteIdent,
    SizePretty,
}

/// Name, arguments (fewest and most), body.
const FUNCTIONS: [(&str, usize, usize, Body); 34] = [
    ("version", 0, 0, Body::Version),
    ("current_schema", 0, 0, Body::Text("public")),
    ("current_database", 0, 0, Body::Text(DATABASE)),
    ("current_catalog", 0, 0, Body::Text(DATABASE)),
    ("pg_table_is_visible", 1, 1, Body::Bool(true)),
    ("pg_type_is_visible", 1, 1, Body::Bool(true)),
    ("pg_function_is_visible", 1, 1, Body::Bool(true)),
    ("has_table_privilege", 2, 3, Body::Bool(true)),
    ("has_schema_privilege", 2, 3, Body::Bool(true)),
    ("has_database_privilege", 2, 3, Body::Bool(true)),
    ("has_column_privilege", 3, 4, Body::Bool(true)),
    ("has_any_column_privilege", 2, 3, Body::Bool(true)),
    ("pg_is_in_recovery", 0, 0, Body::Bool(false)),
    ("pg_is_other_temp_schema", 1, 1, Body::Bool(false)),
    ("pg_relation_is_publishable", 1, 1, Body::Bool(false)),
    ("pg_get_userbyid", 1, 1, Body::Text(OWNER)),
    ("pg_encoding_to_char", 1, 1, Body::Text("UTF8")),
    ("pg_get_expr", 2, 3, Body::Nothing),
    ("pg_get_constraintdef", 1, 2, Body::Nothing),
    ("pg_get_indexdef", 1, 3, Body::Nothing),
    ("pg_get_viewdef", 1, 2, Body::Nothing),
    ("pg_get_partkeydef", 1, 1, Body::Nothing),
    ("pg_get_function_result", 1, 1, Body::Nothing),
    ("pg_get_function_arguments", 1, 1, Body::Nothing),
    ("col_description", 2, 2, Body::Nothing),
    ("shobj_description", 2, 2, Body::Nothing),
    ("pg_table_size", 1, 1, Body::NoNumber),
    ("pg_relation_size", 1, 2, Body::NoNumber),
    ("pg_total_relation_size", 1, 1, Body::NoNumber),
    ("pg_size_pretty", 1, 1, Body::SizePretty),
    ("format_type", 2, 2, Body::FormatType),
    ("obj_description", 1, 2, Body::Comment),
    (RELATION_NAME, 1, 1, Body::RelationName),
    ("quote_ident", 1, 1, Body::QuoteIdent),
];

/// What a cast to `regclass` becomes, when it is shown.
pub(super) const RELATION_NAME: &str = "novax_relation_name";

/// Adds the functions to a session.
pub(crate) fn register(state: &mut SessionState) -> Result<(), Error> {
    for (name, fewest, most, body) in FUNCTIONS {
        let arities = (fewest..=most).map(|count| match count {
            0 => TypeSignature::Nullary,
            count => TypeSignature::Any(count),
        });
        let signature = Signature::one_of(arities.collect(), Volatility::Immutable);
        state.register_udf(Arc::new(ScalarUDF::from(Function { name, signature, body })))?;
    }
    // What people who come from time-series databases call it.
    let bin = datafusion::functions::datetime::date_bin();
    state.register_udf(Arc::new(bin.as_ref().clone().with_aliases(["time_bucket"])))?;
    Ok(())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    name: &'static str,
    signature: Signature,
    body: Body,
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.body {
            Body::Bool(_) => DataType::Boolean,
            Body::NoNumber => DataType::Int64,
            _ => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = |text: &str| Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(text.into()))));
        match self.body {
            Body::Text(text) => constant(text),
            Body::Version => constant(&version()),
            Body::Bool(value) => all_rows(&call, value),
            Body::Nothing => Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None))),
            Body::NoNumber => Ok(ColumnarValue::Scalar(ScalarValue::Int64(None))),
            Body::QuoteIdent => map_text(&call, quote_ident),
            Body::SizePretty => map_numbers(&call, |numbers| Some(size_pretty(numbers[0]?))),
            Body::FormatType => {
                map_numbers(&call, |numbers| Some(format_type(numbers[0]?, numbers[1])))
            }
            Body::Comment => {
                let tables = tables::user_tables();
                map_numbers(&call, |numbers| {
                    let found = tables.iter().find(|(oid, _)| Some(*oid) == numbers[0])?;
                    Some(found.1.comment().to_owned())
                })
            }
            Body::RelationName => {
                let tables = tables::user_tables();
                map_numbers(&call, |numbers| {
                    let found = tables.iter().find(|(oid, _)| Some(*oid) == numbers[0]);
                    let name = found.map(|(_, table)| table.name().to_owned());
                    Some(name.unwrap_or_else(|| numbers[0].unwrap_or(0).to_string()))
                })
            }
        }
    }
}

fn all_rows(call: &ScalarFunctionArgs, value: bool) -> Result<ColumnarValue> {
    if call.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_))) {
        return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(value))));
    }
    let column = BooleanArray::from(vec![value; call.number_rows]);
    Ok(ColumnarValue::Array(Arc::new(column)))
}

/// Runs over the arguments as numbers, in which a text that is none is NULL; at most two count.
fn map_numbers(
    call: &ScalarFunctionArgs,
    row: impl Fn([Option<i64>; 2]) -> Option<String>,
) -> Result<ColumnarValue> {
    let columns = columns(call, &DataType::Int64)?;
    let number = |column: usize, at: usize| {
        let column = columns.get(column)?.as_primitive::<Int64Type>();
        column.is_valid(at).then(|| column.value(at))
    };
    let texts: StringArray =
        (0..call.number_rows).map(|at| row([number(0, at), number(1, at)])).collect();
    Ok(ColumnarValue::Array(Arc::new(texts)))
}

fn map_text(call: &ScalarFunctionArgs, row: impl Fn(&str) -> String) -> Result<ColumnarValue> {
    let columns = columns(call, &DataType::Utf8)?;
    let texts: StringArray =
        columns[0].as_string::<i32>().iter().map(|text| text.map(&row)).collect();
    Ok(ColumnarValue::Array(Arc::new(texts)))
}

fn columns(call: &ScalarFunctionArgs, data_type: &DataType) -> Result<Vec<ArrayRef>> {
    call.args
        .iter()
        .map(|argument| Ok(cast(&argument.to_array(call.number_rows)?, data_type)?))
        .collect()
}

fn quote_ident(name: &str) -> String {
    let plain = name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn size_pretty(bytes: i64) -> String {
    let mut size = bytes;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if size.abs() < 10_240 {
            return format!("{size} {unit}");
        }
        size /= 1_024;
    }
    format!("{size} TB")
}

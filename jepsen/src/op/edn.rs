//! A line of a history in EDN, as Elle and Knossos read it.
//!
//! Names of functions and fields become keywords; a name that is none is written as a text.

use super::{Op, Process, Value};
use std::fmt::{self, Write as _};

pub(super) fn write(op: &Op, to: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(to, "{{:index {}, :time {}, :type :{}, ", op.index, op.time_ns, op.kind.word())?;
    match op.process {
        Process::Client(number) => write!(to, ":process {number}")?,
        Process::Nemesis => to.write_str(":process :nemesis")?,
    }
    to.write_str(", :f ")?;
    keyword(&op.f, to)?;
    to.write_str(", :value ")?;
    value(&op.value, to)?;
    if let Some(error) = &op.error {
        to.write_str(", :error ")?;
        text(error, to)?;
    }
    to.write_char('}')
}

fn keyword(name: &str, to: &mut fmt::Formatter<'_>) -> fmt::Result {
    let is_symbol = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*+!?".contains(&byte);
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    if begins && name.bytes().all(is_symbol) { write!(to, ":{name}") } else { text(name, to) }
}

fn value(of: &Value, to: &mut fmt::Formatter<'_>) -> fmt::Result {
    match of {
        Value::Nil => to.write_str("nil"),
        Value::Bool(yes) => write!(to, "{yes}"),
        Value::Int(number) => write!(to, "{number}"),
        Value::Text(content) => text(content, to),
        Value::List(items) => {
            to.write_char('[')?;
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    to.write_char(' ')?;
                }
                value(item, to)?;
            }
            to.write_char(']')
        }
        Value::Map(fields) => {
            to.write_char('{')?;
            for (number, (name, field)) in fields.iter().enumerate() {
                if number > 0 {
                    to.write_str(", ")?;
                }
                keyword(name, to)?;
                to.write_char(' ')?;
                value(field, to)?;
            }
            to.write_char('}')
        }
    }
}

/// EDN knows fewer escapes than JSON: what it has no escape for is written as a Unicode escape of characters.
fn text(content: &str, to: &mut fmt::Formatter<'_>) -> fmt::Result {
    to.write_char('"')?;
    for character in content.chars() {
        match character {
            '"' => to.write_str("\\\"")?,
            '\\' => to.write_str("\\\\")?,
            '\n' => to.write_str("\\n")?,
            '\r' => to.write_str("\\r")?,
            '\t' => to.write_str("\\t")?,
            other if other.is_control() => write!(to, "\\u{:04x}", u32::from(other))?,
            other => to.write_char(other)?,
        }
    }
    to.write_char('"')
}

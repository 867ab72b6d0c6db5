//! Which filters a scan applies itself, exactly: equality on a table's key text and bounds on its
//! time. Whatever is not understood here completely is left to DataFusion.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use std::collections::BTreeSet;
use std::fmt;

/// The columns of a table that filters can be pushed down on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pushable {
    /// A text column whose values are keys of the store.
    pub(crate) key: Option<&'static str>,
    /// A time stamp column that bounds what is read.
    pub(crate) time: Option<&'static str>,
}

/// The conjunction of all filters that were pushed down to a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pushed {
    /// Only these keys; `None` is all.
    pub(crate) keys: Option<BTreeSet<String>>,
    /// Not before, in microseconds since the epoch.
    pub(crate) from_us: i64,
    /// Not after, in microseconds since the epoch.
    pub(crate) until_us: i64,
}

impl Default for Pushed {
    fn default() -> Self {
        Pushed { keys: None, from_us: i64::MIN, until_us: i64::MAX }
    }
}

impl Pushed {
    /// Whether a time lies within the bounds.
    pub(crate) fn has_time(&self, at_us: i64) -> bool {
        self.from_us <= at_us && at_us <= self.until_us
    }

    fn keep_keys(&mut self, wanted: BTreeSet<String>) {
        self.keys = Some(match self.keys.take() {
            Some(before) => before.intersection(&wanted).cloned().collect(),
            None => wanted,
        });
    }

    fn keep_times(&mut self, from_us: i64, until_us: i64) {
        self.from_us = self.from_us.max(from_us);
        self.until_us = self.until_us.min(until_us);
    }
}

impl fmt::Display for Pushed {
    /// What EXPLAIN shows, with a leading comma for each filter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(keys) = &self.keys {
            write!(f, ", keys={keys:?}")?;
        }
        if self.from_us != i64::MIN {
            write!(f, ", from={}", crate::datetime::timestamp_text(self.from_us, true))?;
        }
        if self.until_us != i64::MAX {
            write!(f, ", until={}", crate::datetime::timestamp_text(self.until_us, true))?;
        }
        Ok(())
    }
}

/// Adds a filter; `false` (and `pushed` unchanged) when it cannot be applied exactly.
pub(crate) fn push(filter: &Expr, pushable: Pushable, pushed: &mut Pushed) -> bool {
    let mut next = pushed.clone();
    let understood = push_into(filter, pushable, &mut next);
    if understood {
        *pushed = next;
    }
    understood
}

fn push_into(filter: &Expr, pushable: Pushable, pushed: &mut Pushed) -> bool {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            push_into(left, pushable, pushed) && push_into(right, pushable, pushed)
        }
        Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }) | Expr::InList(_) => {
            let Some(keys) = keys_of(filter, pushable) else { return false };
            pushed.keep_keys(keys);
            true
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            push_comparison(left, *op, right, pushable, pushed)
                || op.swap().is_some_and(|op| push_comparison(right, op, left, pushable, pushed))
        }
        Expr::Between(between) if !between.negated => {
            let (expr, low, high) = (&between.expr, &between.low, &between.high);
            push_comparison(expr, Operator::GtEq, low, pushable, pushed)
                && push_comparison(expr, Operator::LtEq, high, pushable, pushed)
        }
        _ => false,
    }
}

/// The keys an expression allows: IN, or equalities joined by OR, as the planner writes short INs.
fn keys_of(expr: &Expr, pushable: Pushable) -> Option<BTreeSet<String>> {
    match expr {
        Expr::InList(InList { expr, list, negated: false }) if is_key(expr, pushable) => {
            list.iter().map(text).collect()
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let mut keys = keys_of(left, pushable)?;
            keys.append(&mut keys_of(right, pushable)?);
            Some(keys)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let key = if is_key(left, pushable) {
                text(right)?
            } else if is_key(right, pushable) {
                text(left)?
            } else {
                return None;
            };
            Some(BTreeSet::from([key]))
        }
        _ => None,
    }
}

fn push_comparison(
    column: &Expr,
    op: Operator,
    value: &Expr,
    pushable: Pushable,
    pushed: &mut Pushed,
) -> bool {
    if op == Operator::Eq && is_key(column, pushable) {
        let Some(key) = text(value) else { return false };
        pushed.keep_keys(BTreeSet::from([key]));
        return true;
    }
    if !is_time(column, pushable) {
        return false;
    }
    let Some(nanos) = nanoseconds(value) else { return false };
    // Rows have whole microseconds; a bound between two of them is moved to the next inside.
    let down = i64::try_from(nanos.div_euclid(1_000)).expect("an i64 of any unit, divided");
    let up = if nanos.rem_euclid(1_000) == 0 { down } else { down.saturating_add(1) };
    match op {
        Operator::GtEq => pushed.keep_times(up, i64::MAX),
        Operator::Gt => pushed.keep_times(down.saturating_add(1), i64::MAX),
        Operator::LtEq => pushed.keep_times(i64::MIN, down),
        Operator::Lt => pushed.keep_times(i64::MIN, up.saturating_sub(1)),
        // Not a whole microsecond: `up` is above `down`, and nothing is within.
        Operator::Eq => pushed.keep_times(up, down),
        _ => return false,
    }
    true
}

fn is_key(expr: &Expr, pushable: Pushable) -> bool {
    match expr {
        Expr::Column(column) => pushable.key == Some(column.name.as_str()),
        // A cast between text types changes no value.
        Expr::Cast(cast) if is_text(cast.field.data_type()) => is_key(&cast.expr, pushable),
        _ => false,
    }
}

fn is_time(expr: &Expr, pushable: Pushable) -> bool {
    match expr {
        Expr::Column(column) => pushable.time == Some(column.name.as_str()),
        // Coarser units would round, other zones are not compared as instants of this one.
        Expr::Cast(cast) => {
            let DataType::Timestamp(unit, zone) = cast.field.data_type() else { return false };
            let fine = matches!(unit, TimeUnit::Microsecond | TimeUnit::Nanosecond);
            fine && zone.as_deref().is_some_and(is_utc) && is_time(&cast.expr, pushable)
        }
        _ => false,
    }
}

fn is_utc(zone: &str) -> bool {
    matches!(zone, "UTC" | "+00:00" | "+00" | "Z" | "Etc/UTC")
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(
            ScalarValue::Utf8(Some(text))
            | ScalarValue::LargeUtf8(Some(text))
            | ScalarValue::Utf8View(Some(text)),
            _,
        ) => Some(text.clone()),
        _ => None,
    }
}

fn nanoseconds(expr: &Expr) -> Option<i128> {
    let Expr::Literal(value, _) = expr else { return None };
    let (value, nanos, zone) = match value {
        ScalarValue::TimestampSecond(Some(v), zone) => (*v, 1_000_000_000, zone),
        ScalarValue::TimestampMillisecond(Some(v), zone) => (*v, 1_000_000, zone),
        ScalarValue::TimestampMicrosecond(Some(v), zone) => (*v, 1_000, zone),
        ScalarValue::TimestampNanosecond(Some(v), zone) => (*v, 1, zone),
        _ => return None,
    };
    // Values are instants whatever the zone; without one, the planner has not compared instants.
    zone.as_deref()?;
    let nanos = i128::from(value) * nanos;
    // Bounds that no row's stamp can reach stay with DataFusion.
    i64::try_from(nanos.div_euclid(1_000)).ok().map(|_| nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::logical_expr::{cast, col, lit};

    const BOTH: Pushable = Pushable { key: Some("station"), time: Some("at") };

    fn us(value: i64) -> Expr {
        lit(ScalarValue::TimestampMicrosecond(Some(value), Some("UTC".into())))
    }

    fn ns(value: i64) -> Expr {
        lit(ScalarValue::TimestampNanosecond(Some(value), Some("+00:00".into())))
    }

    fn check(filter: &Expr, keys: Option<&[&str]>, from_us: i64, until_us: i64) {
        let mut pushed = Pushed::default();
        assert!(push(filter, BOTH, &mut pushed), "{filter}");
        let keys = keys.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect());
        assert_eq!(pushed, Pushed { keys, from_us, until_us }, "{filter}");
    }

    #[test]
    fn bounds_on_time_are_inclusive_whole_microseconds() {
        let (low, high) = (i64::MIN, i64::MAX);
        check(&col("at").gt_eq(us(5)), None, 5, high);
        check(&col("at").gt(us(5)), None, 6, high);
        check(&col("at").lt(us(5)), None, low, 4);
        check(&us(5).lt_eq(col("at")), None, 5, high);
        check(&col("at").between(us(3), us(5)), None, 3, 5);
        check(&col("at").eq(us(5)), None, 5, 5);
        check(&col("at").gt_eq(ns(5_001)), None, 6, high);
        check(&col("at").lt(ns(5_001)), None, low, 5);
        check(&col("at").lt(ns(-1)), None, low, -1);
        check(&col("at").eq(ns(5_001)), None, 6, 5);
    }

    #[test]
    fn keys_are_intersected() {
        let two = col("station").in_list(vec![lit("a"), lit("b")], false);
        check(&two.clone().and(col("station").eq(lit("b"))), Some(&["b"]), i64::MIN, i64::MAX);
        check(&two.and(lit("c").eq(col("station"))), Some(&[]), i64::MIN, i64::MAX);
        let either = col("station").eq(lit("a")).or(lit("b").eq(col("station")));
        check(&either, Some(&["a", "b"]), i64::MIN, i64::MAX);
    }

    #[test]
    fn what_is_not_exact_is_refused_whole() {
        let seconds = DataType::Timestamp(TimeUnit::Second, Some("UTC".into()));
        let no_zone = lit(ScalarValue::TimestampMicrosecond(Some(5), None));
        for filter in [
            col("at").not_eq(us(5)),
            col("at").gt(no_zone),
            cast(col("at"), seconds).eq(us(5)),
            col("station").gt(lit("a")),
            col("station").in_list(vec![lit("a")], true),
            col("station").in_list(vec![lit("a"), col("site")], false),
            col("station").eq(lit("a")).or(col("at").gt(us(5))),
            col("station").eq(lit("a")).and(col("site").eq(lit("x"))),
            col("site").eq(lit("x")),
        ] {
            let mut pushed = Pushed::default();
            assert!(!push(&filter, BOTH, &mut pushed), "{filter}");
            assert_eq!(pushed, Pushed::default(), "{filter}");
        }
    }
}

//! Aggregates over telemetry are worked out where the chunks are read.
//!
//! A rule on physical plans: where the first of two stages of an aggregation stands right on a scan of
//! all ticks that pass its filters, and all that is grouped by and told is understood here, the scan
//! gives what that stage would give. The second stage stays and merges. Anything else stays as it is.

use crate::cells::Kind;
use crate::scan::ScanExec;
use crate::tables::telemetry;
use crate::tables::totals::{Group, Told, Totals};
use datafusion::arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, IsNotNullExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use std::any::Any;
use std::sync::Arc;

/// The rule. It comes before all others, while aggregations still stand on their scans.
#[derive(Debug)]
pub(crate) struct PushAggregates;

impl PhysicalOptimizerRule for PushAggregates {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let pushed = plan.transform_up(|node| match summed(&*node) {
            Some(scan) => Ok(Transformed::yes(Arc::new(scan) as Arc<dyn ExecutionPlan>)),
            None => Ok(Transformed::no(node)),
        });
        Ok(pushed?.data)
    }

    fn name(&self) -> &'static str {
        "PushAggregates"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The scan that gives what a node would; `None` when there is none.
fn summed(node: &dyn ExecutionPlan) -> Option<ScanExec> {
    let stage = (node as &dyn Any).downcast_ref::<AggregateExec>()?;
    let scan = (&**stage.input() as &dyn Any).downcast_ref::<ScanExec>()?;
    let groups = stage.group_expr();
    let is_plain = *stage.mode() == AggregateMode::Partial
        && (groups.is_single() || groups.is_empty())
        && stage.limit_options().is_none();
    if !is_plain || scan.whole_table() != Some(telemetry::NAME) {
        return None;
    }
    let input = scan.schema();
    let mut by = Vec::new();
    let mut named = Vec::new();
    for (expr, name) in groups.expr() {
        by.push(group(&**expr, &input)?);
        named.push(name.as_str());
    }
    let mut told = Vec::new();
    let mut told_names = Vec::new();
    for (aggregate, filter) in stage.aggr_expr().iter().zip(stage.filter_expr()) {
        let (of, kind) = tell(aggregate, filter.as_ref(), &input)?;
        told.push((of, kind, aggregate.state_fields().ok()?.len()));
        told_names.push(aggregate.human_display().unwrap_or_else(|| aggregate.name()));
    }
    let (named, told_names) = (named.join(", "), told_names.join(", "));
    let shown = format!("groups=[{named}], aggregates=[{told_names}]");
    let schema = stage.schema();
    let totals = Totals::new(by, told, &schema, shown)?;
    Some(scan.summed(totals, schema))
}

/// The name of the column an expression is.
fn column<'a>(expr: &dyn PhysicalExpr, input: &'a Schema) -> Option<&'a str> {
    let column = (expr as &dyn Any).downcast_ref::<Column>()?;
    Some(input.fields().get(column.index())?.name())
}

fn literal(expr: &dyn PhysicalExpr) -> Option<&ScalarValue> {
    Some((expr as &dyn Any).downcast_ref::<Literal>()?.value())
}

fn group(expr: &dyn PhysicalExpr, input: &Schema) -> Option<Group> {
    if let Some(name) = column(expr, input) {
        return match name {
            "station" => Some(Group::Station),
            "evse" => Some(Group::Evse),
            "connector" => Some(Group::Connector),
            "partition" => Some(Group::Partition),
            _ => None,
        };
    }
    let call = (expr as &dyn Any).downcast_ref::<ScalarFunctionExpr>()?;
    let [width, at] = call.args() else { return None };
    let (at, is_nanos) = without_nanos(at);
    if column(&**at, input) != Some("at") {
        return None;
    }
    let width_us = match call.fun().name() {
        "date_bin" => interval_us(literal(&**width)?)?,
        "date_trunc" => unit_us(literal(&**width)?)?,
        _ => return None,
    };
    (width_us > 0).then_some(Group::Bucket { width_us, is_nanos })
}

/// How long an interval is, if that is the same at all times, in whole microseconds.
fn interval_us(interval: &ScalarValue) -> Option<i64> {
    const DAY_NS: i64 = 86_400_000_000_000;
    let (days, rest_ns) = match interval {
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
            (interval.days, interval.nanoseconds)
        }
        ScalarValue::IntervalDayTime(Some(interval)) => {
            (interval.days, i64::from(interval.milliseconds).checked_mul(1_000_000)?)
        }
        _ => return None,
    };
    let all_ns = i64::from(days).checked_mul(DAY_NS)?.checked_add(rest_ns)?;
    (all_ns % 1_000 == 0).then_some(all_ns / 1_000)
}

/// How long a unit of `date_trunc` is, where all begin at multiples of it in UTC.
fn unit_us(unit: &ScalarValue) -> Option<i64> {
    let unit = unit.try_as_str()??.to_lowercase();
    match unit.as_str() {
        "second" => Some(1_000_000),
        "minute" => Some(60_000_000),
        "hour" => Some(3_600_000_000),
        "day" => Some(86_400_000_000),
        _ => None,
    }
}

/// What an aggregate tells, and the type of the values it tells it of.
fn tell(
    aggregate: &AggregateFunctionExpr,
    filter: Option<&Arc<dyn PhysicalExpr>>,
    input: &Schema,
) -> Option<(Told, Option<Kind>)> {
    let arguments = aggregate.expressions();
    let [argument] = arguments.as_slice() else { return None };
    let name = aggregate.fun().name();
    let argument = if name == "avg" { without_float(argument) } else { argument };
    if let Some(filter) = filter {
        // The one filter that is understood: only ticks that have the value.
        let present = (&**filter as &dyn Any).downcast_ref::<IsNotNullExpr>()?;
        let filtered = telemetry::measurand(column(&**present.arg(), input)?)?;
        if telemetry::measurand(column(&**argument, input)?) != Some(filtered) {
            return None;
        }
    }
    if aggregate.is_distinct() {
        return None;
    }
    if name == "count" {
        return tell_count(&**argument, input);
    }
    if let ("min" | "max", Some("at")) = (name, column(&**argument, input)) {
        return Some((if name == "min" { Told::FirstAt } else { Told::LastAt }, None));
    }
    let (of, kind) = telemetry::measurand(column(&**argument, input)?)?;
    let told = match name {
        "min" => Told::Min(of),
        "max" => Told::Max(of),
        "sum" => Told::Sum(of),
        "avg" => Told::Mean(of),
        "first_value" | "last_value" => {
            let skips_nulls = aggregate.ignore_nulls() || filter.is_some();
            if (name == "last_value") == is_descending(aggregate, input)? {
                Told::First { of, skips_nulls }
            } else {
                Told::Last { of, skips_nulls }
            }
        }
        _ => return None,
    };
    Some((told, Some(kind)))
}

/// Whether an aggregate takes ticks from the newest to the oldest; `None` when neither so nor the other
/// way round.
fn is_descending(aggregate: &AggregateFunctionExpr, input: &Schema) -> Option<bool> {
    let [order] = aggregate.order_bys() else { return None };
    let is_by_time = column(&*order.expr, input) == Some("at");
    is_by_time.then_some(order.options.descending)
}

fn tell_count(argument: &dyn PhysicalExpr, input: &Schema) -> Option<(Told, Option<Kind>)> {
    if let Some(value) = literal(argument) {
        return (!value.is_null()).then_some((Told::Rows, None));
    }
    let name = column(argument, input)?;
    if let Some((of, kind)) = telemetry::measurand(name) {
        return Some((Told::Count(of), Some(kind)));
    }
    let is_nullable = input.field_with_name(name).ok()?.is_nullable();
    (!is_nullable).then_some((Told::Rows, None))
}

/// What is averaged as a float.
fn without_float(argument: &Arc<dyn PhysicalExpr>) -> &Arc<dyn PhysicalExpr> {
    match (&**argument as &dyn Any).downcast_ref::<CastExpr>() {
        Some(cast) if *cast.cast_type() == DataType::Float64 => cast.expr(),
        _ => argument,
    }
}

/// A stamp in its own unit, and whether the expression has it in nanoseconds.
fn without_nanos(at: &Arc<dyn PhysicalExpr>) -> (&Arc<dyn PhysicalExpr>, bool) {
    match (&**at as &dyn Any).downcast_ref::<CastExpr>() {
        Some(cast) if matches!(cast.cast_type(), DataType::Timestamp(TimeUnit::Nanosecond, _)) => {
            (cast.expr(), true)
        }
        _ => (at, false),
    }
}

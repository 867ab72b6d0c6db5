//! Who led which partition: a row each, and in words when a fault began.

use super::{Axis, escape, open_svg, units};
use crate::op::{FaultSpan, LeadSpan};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const ROW: u64 = 14;
/// Rows drawn at most.
const ROWS_MAX: usize = 64;
/// Spans drawn at most.
const SPANS_MAX: usize = 10_000;
/// Nodes whose colours are not the same.
const COLOURS: u64 = 6;

pub(super) fn write(leads: &[LeadSpan], faults: &[FaultSpan], end_ns: u64, html: &mut String) {
    if leads.is_empty() {
        return;
    }
    let partitions: BTreeSet<u64> = leads.iter().map(|span| span.partition).collect();
    let rows: BTreeMap<u64, u64> = partitions.into_iter().take(ROWS_MAX).zip(0..).collect();
    let nodes: BTreeSet<u64> = leads.iter().map(|span| span.node).collect();
    *html += "<h2>Who led</h2>\n<p class=\"key\">a row is a partition: ";
    for node in nodes {
        let colour = node % COLOURS;
        let _ = write!(
            html,
            "<svg style=\"display:inline;width:.8em;height:.8em\" viewBox=\"0 0 8 8\"><rect class=\"led{colour}\" \
             width=\"8\" height=\"8\"></rect></svg> n{node} "
        );
    }
    *html += "</p>\n";
    let height = u64::try_from(rows.len()).unwrap_or(1) * ROW;
    let axis = Axis { end_ns };
    open_svg(height, html);
    axis.write(faults, height, html);
    for (partition, row) in &rows {
        let _ = writeln!(html, "<text x=\"0\" y=\"{}\">{partition}</text>", row * ROW + 11);
    }
    for span in leads.iter().take(SPANS_MAX) {
        let Some(row) = rows.get(&span.partition) else { continue };
        let (from, to) = (axis.x(span.from_ns), axis.x(span.to_ns.unwrap_or(end_ns)));
        let _ = writeln!(
            html,
            "<rect class=\"led{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>partition {}: n{}\
             </title></rect>",
            span.node % COLOURS,
            units(from),
            row * ROW + 3,
            units((to - from).max(10)),
            ROW - 6,
            span.partition,
            span.node,
        );
    }
    *html += "</svg>\n";
}

/// A cell that says who led at a time; none when nobody watched.
pub(super) fn cell(leads: &[LeadSpan], at_ns: u64) -> String {
    if leads.is_empty() {
        return String::new();
    }
    let mut by_node: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for span in leads {
        if span.from_ns <= at_ns && span.to_ns.is_none_or(|to| at_ns < to) {
            by_node.entry(span.node).or_default().push(span.partition.to_string());
        }
    }
    let words: Vec<String> =
        by_node.iter().map(|(node, of)| format!("n{node}: {}", of.join(" "))).collect();
    format!("<td>{}</td>", escape(&words.join(", ")))
}

//! Calls as bars, a row a lane of processes.

use super::{Axis, escape, open_svg, units};
use crate::op::{Call, End, FaultSpan};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Bars drawn at most.
const BARS_MAX: usize = 4_000;
/// Rows drawn at most: processes beyond share rows.
const ROWS_MAX: u64 = 40;
const ROW: u64 = 14;

/// Which calls are drawn: all that did not go well, and as many of the others as there is room for, evenly.
fn drawn(calls: &[Call]) -> Vec<&Call> {
    let went_well = |call: &&Call| matches!(call.end, End::Ok(_));
    let mut drawn: Vec<&Call> =
        calls.iter().filter(|call| !went_well(call)).take(BARS_MAX).collect();
    let well: Vec<&Call> = calls.iter().filter(went_well).collect();
    let room = BARS_MAX - drawn.len();
    if room > 0 {
        drawn.extend(well.iter().step_by(well.len().div_ceil(room).max(1)));
    }
    drawn.sort_by_key(|call| call.invoked);
    drawn
}

/// A row of each process. A lane goes on as another process after what is not known: a process takes the row of
/// one that ended before it began.
fn rows(calls: &[&Call]) -> BTreeMap<u64, u64> {
    let mut rows: BTreeMap<u64, u64> = BTreeMap::new();
    // When each row is free, and whose it is.
    let mut busy: Vec<(u64, u64)> = Vec::new();
    for call in calls {
        let until = call.completed.unwrap_or(u64::MAX);
        if let Some(&row) = rows.get(&call.process) {
            if let Some(slot) = usize::try_from(row).ok().and_then(|row| busy.get_mut(row)) {
                *slot = (until, call.process);
            }
            continue;
        }
        let ended = |process: u64| {
            let mut later = calls.iter().filter(|other| other.process == process);
            !later.any(|other| other.invoked > call.invoked)
        };
        let free = busy.iter().position(|&(free, whose)| free < call.invoked && ended(whose));
        let row = free.unwrap_or_else(|| {
            busy.push((0, 0));
            busy.len() - 1
        });
        busy[row] = (until, call.process);
        rows.insert(call.process, u64::try_from(row).unwrap_or(u64::MAX) % ROWS_MAX);
    }
    rows
}

pub(super) fn write(calls: &[Call], faults: &[FaultSpan], end_ns: u64, html: &mut String) {
    let axis = Axis { end_ns };
    let shown = drawn(calls);
    let rows = rows(&shown);
    let count = rows.values().max().map_or(1, |row| row + 1);
    let height = count * ROW;
    open_svg(height, html);
    axis.write(faults, height, html);
    for call in &shown {
        let (class, word) = match &call.end {
            End::Ok(_) => ("ok", String::new()),
            End::Fail(error) => ("fail", format!(": {error}")),
            End::Unknown(error) => ("unknown", format!(": {error}")),
        };
        let from = axis.x(call.invoked_ns);
        // Of what never ended only the beginning is known.
        let to = axis.x(call.completed_ns.unwrap_or(call.invoked_ns));
        let row = rows.get(&call.process).copied().unwrap_or(0);
        let _ = writeln!(
            html,
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{} {} {}{}</title></rect>",
            units(from),
            row * ROW + 1,
            units((to - from).max(10)),
            ROW - 3,
            call.process,
            escape(&call.f),
            class,
            escape(&word.chars().take(200).collect::<String>()),
        );
    }
    *html += "</svg>\n";
    if shown.len() < calls.len() {
        let _ = writeln!(
            html,
            "<p class=\"key\">{} of {} calls are drawn: all others went well too.</p>",
            shown.len(),
            calls.len()
        );
    }
}

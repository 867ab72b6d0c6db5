//! Curves over time: how long calls took, and how many there were.

use super::{Axis, LEFT, WIDTH, open_svg, units};
use crate::op::{Call, End, FaultSpan};
use std::fmt::Write as _;

const HEIGHT: u64 = 160;
/// Points of a curve at most.
const POINTS_MAX: u64 = 400;
/// The scale of latencies: powers of ten from this, in nanoseconds.
const SCALE: [(u64, &str); 6] = [
    (100_000, "0.1 ms"),
    (1_000_000, "1 ms"),
    (10_000_000, "10 ms"),
    (100_000_000, "100 ms"),
    (1_000_000_000, "1 s"),
    (10_000_000_000, "10 s"),
];

/// So long is a point of a curve: a second, or more of a long run.
fn step_ns(end_ns: u64) -> u64 {
    (end_ns / POINTS_MAX).max(1_000_000_000)
}

/// Calls by the point they began in.
fn by_point<'a>(calls: &'a [Call], end_ns: u64) -> Vec<Vec<&'a Call>> {
    let step = step_ns(end_ns);
    let points = usize::try_from(end_ns / step).unwrap_or(0) + 1;
    let mut by_point: Vec<Vec<&'a Call>> = vec![Vec::new(); points];
    for call in calls {
        let at = usize::try_from(call.invoked_ns / step).unwrap_or(usize::MAX);
        if let Some(point) = by_point.get_mut(at) {
            point.push(call);
        }
    }
    by_point
}

/// Height of a latency: a decade is a fifth, whole numbers all the way.
fn height(ns: u64) -> u64 {
    let decade = HEIGHT * 10 / 5;
    let mut up = 0;
    for pair in SCALE.windows(2) {
        if let [(low, _), (high, _)] = pair
            && ns > *low
        {
            // Within a decade in ten steps of equal ratio: 10^(n/10) in thousandths.
            let ratio = ns.min(*high) * 1_000 / low;
            let steps = STEPS.iter().filter(|&&step| step <= ratio).count();
            up += decade * u64::try_from(steps).unwrap_or(0) / 20;
        }
    }
    HEIGHT * 10 - up.min(HEIGHT * 10)
}

/// 10 to the power of n/20, in thousandths, from n = 1.
const STEPS: [u64; 20] = [
    1_122, 1_259, 1_413, 1_585, 1_778, 1_995, 2_239, 2_512, 2_818, 3_162, 3_548, 3_981, 4_467,
    5_012, 5_623, 6_310, 7_079, 7_943, 8_913, 10_000,
];

pub(super) fn latency(calls: &[Call], faults: &[FaultSpan], end_ns: u64, html: &mut String) {
    let axis = Axis { end_ns };
    open_svg(HEIGHT, html);
    axis.write(faults, HEIGHT, html);
    for (ns, word) in SCALE {
        let y = units(height(ns));
        let _ = writeln!(
            html,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y}\" x2=\"{WIDTH}\" y2=\"{y}\"/><text x=\"0\" y=\"{y}\" \
             dy=\"4\">{word}</text>"
        );
    }
    let step = step_ns(end_ns);
    let mut curves = [("p50", 500, String::new()), ("p99", 990, String::new())];
    for (number, point) in (0_u64..).zip(by_point(calls, end_ns)) {
        let answered = point.iter().filter(|call| !matches!(call.end, End::Unknown(_)));
        let mut taken: Vec<u64> = answered
            .filter_map(|call| Some(call.completed_ns?.saturating_sub(call.invoked_ns)))
            .collect();
        taken.sort_unstable();
        let Some(last) = taken.len().checked_sub(1) else { continue };
        for (_, per_mille, points) in &mut curves {
            let ns = taken[(last * *per_mille).div_ceil(1_000)];
            let x = units(axis.x(number * step + step / 2));
            let _ = write!(points, "{x},{} ", units(height(ns)));
        }
    }
    for (class, _, points) in curves {
        let _ = writeln!(html, "<polyline class=\"{class}\" points=\"{}\"/>", points.trim_end());
    }
    *html += "</svg>\n";
}

pub(super) fn rate(calls: &[Call], faults: &[FaultSpan], end_ns: u64, html: &mut String) {
    let axis = Axis { end_ns };
    open_svg(HEIGHT, html);
    axis.write(faults, HEIGHT, html);
    let points = by_point(calls, end_ns);
    let most = points.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let step = step_ns(end_ns);
    let a_second = u128::from(step) * 10;
    let rate =
        u64::try_from(u128::try_from(most).unwrap_or(0) * 10_000_000_000 / a_second).unwrap_or(0);
    let _ =
        writeln!(html, "<text x=\"0\" y=\"10\">{rate}</text><text x=\"0\" y=\"{HEIGHT}\">0</text>");
    let tall = |count: usize| {
        let tenths = u64::try_from(count).unwrap_or(0) * HEIGHT * 10;
        tenths / u64::try_from(most).unwrap_or(1)
    };
    for (number, point) in (0_u64..).zip(points) {
        let of = |wanted: fn(&End) -> bool| point.iter().filter(|call| wanted(&call.end)).count();
        let parts = [
            ("ok", of(|end| matches!(end, End::Ok(_)))),
            ("fail", of(|end| matches!(end, End::Fail(_)))),
            ("unknown", of(|end| matches!(end, End::Unknown(_)))),
        ];
        let (from, to) = (axis.x(number * step), axis.x((number + 1) * step));
        let mut base = HEIGHT * 10;
        for (class, count) in parts.into_iter().filter(|(_, count)| *count > 0) {
            base = base.saturating_sub(tall(count));
            let _ = writeln!(
                html,
                "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{count} {class}\
                 </title></rect>",
                units(from),
                units(base),
                units(to.saturating_sub(from + 2).max(5)),
                units(tall(count)),
            );
        }
    }
    *html += "</svg>\n";
}

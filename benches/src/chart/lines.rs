//! Something over time, on a logarithmic scale: latencies span four powers of ten.

use super::{Svg, WIDTH, pixels_of, readable};

/// Lines over the same seconds.
#[derive(Debug)]
pub(crate) struct LineChart {
    pub(crate) title: &'static str,
    pub(crate) note: String,
    pub(crate) unit: &'static str,
    /// A line across that ours should stay below.
    pub(crate) goal: Option<f64>,
    pub(crate) lines: Vec<Line>,
}

/// A value for each second.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) label: &'static str,
    pub(crate) values: Vec<f64>,
}

const LEFT: u32 = 64;
const TOP: u32 = 84;
const HEIGHT: u32 = 260;
const LENGTH: u32 = WIDTH - LEFT - 24;
/// As many as there are colours.
const LINES_MAX: usize = 3;

/// Draws the chart.
pub(crate) fn lines(chart: &LineChart) -> String {
    assert!(chart.lines.len() <= LINES_MAX, "each line has a colour of its own");
    let all = || chart.lines.iter().flat_map(|line| line.values.iter().copied()).chain(chart.goal);
    let least = all().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min).min(1.0);
    let most = all().fold(1.0, f64::max);
    let (low, high) = (least.log10().floor(), most.log10().ceil().max(least.log10().floor() + 1.0));
    let y_of = |value: f64| {
        let part = (value.max(10_f64.powf(low)).log10() - low) / (high - low);
        TOP + HEIGHT - pixels_of(part.clamp(0.0, 1.0), 1.0, HEIGHT)
    };
    let mut svg = Svg::new(chart.title);
    svg.text(16, 46, "small", "start", &chart.note);
    let mut power = low;
    while power <= high {
        let y = y_of(10_f64.powf(power));
        svg.rule((LEFT, y), (LEFT + LENGTH, y), "rule");
        svg.text(LEFT - 6, y + 4, "small", "end", &readable(10_f64.powf(power)));
        power += 1.0;
    }
    svg.text(LEFT, TOP - 8, "small", "start", chart.unit);
    if let Some(goal) = chart.goal {
        let y = y_of(goal);
        svg.rule((LEFT, y), (LEFT + LENGTH, y), "goal");
        let words = format!("at most {}", readable(goal));
        svg.text(LEFT + LENGTH, y - 4, "goaltext", "end", &words);
    }
    let seconds = chart.lines.iter().map(|line| line.values.len()).max().unwrap_or(0);
    draw_lines(&mut svg, chart, seconds, &y_of);
    let bottom = TOP + HEIGHT;
    svg.text(LEFT, bottom + 18, "small", "start", "0 s");
    svg.text(LEFT + LENGTH, bottom + 18, "small", "end", &format!("{seconds} s"));
    svg.finish(bottom + 48)
}

fn draw_lines(svg: &mut Svg, chart: &LineChart, seconds: usize, y_of: &dyn Fn(f64) -> u32) {
    let steps = u32::try_from(seconds.saturating_sub(1).max(1)).expect("a short run");
    let mut legend_x = LEFT;
    for (place, line) in chart.lines.iter().enumerate() {
        let x_of = |n: u32| f64::from(LEFT) + f64::from(LENGTH) * f64::from(n) / f64::from(steps);
        let values = (0_u32..).zip(&line.values);
        let points: Vec<_> = values.map(|(n, value)| (x_of(n), f64::from(y_of(*value)))).collect();
        svg.polyline(&points, &format!("l{place}"));
        svg.text(legend_x, TOP + HEIGHT + 38, &format!("t{place}"), "start", line.label);
        legend_x += 230;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_of_ten_is_a_step_of_its_own() {
        let line = Line { label: "ours", values: vec![0.1, 1.0, 10.0, 100.0] };
        let (note, lines_of) = (String::new(), vec![line]);
        let chart = LineChart { title: "t", note, unit: "ms", goal: Some(20.0), lines: lines_of };
        let picture = lines(&chart);
        let steps = ["64.0,344.0", "288.0,257.0", "512.0,171.0", "736.0,84.0"].join(" ");
        assert!(picture.contains(&steps), "{picture}");
        assert!(picture.contains("at most 20.0"));
    }
}

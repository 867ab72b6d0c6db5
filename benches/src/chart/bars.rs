//! Figures as bars, ours beside those of the peers, and where the project's own bar stands.

use super::{Svg, WIDTH, pixels_of, readable};

/// One figure of several systems.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    /// What we ask of ourselves, in the reader's words: at most or at least.
    pub(crate) goal: Option<(&'static str, f64)>,
    pub(crate) bars: Vec<Bar>,
}

/// One system's figure.
#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) label: &'static str,
    pub(crate) value: f64,
    pub(crate) is_ours: bool,
}

const LABELS: u32 = 190;
const LENGTH: u32 = 420;
const ROW: u32 = 22;

/// Draws panels below each other. One without bars is left out.
pub(crate) fn bars(title: &str, note: &str, panels: &[Panel]) -> String {
    let mut svg = Svg::new(title);
    svg.text(16, 46, "small", "start", note);
    let mut y = 62;
    for panel in panels.iter().filter(|panel| !panel.bars.is_empty()) {
        y = draw(&mut svg, panel, y);
    }
    svg.finish(y + 6)
}

/// Draws a panel from `top` on; returns where it ends.
fn draw(svg: &mut Svg, panel: &Panel, top: u32) -> u32 {
    let values = panel.bars.iter().map(|bar| bar.value);
    let most = values.chain(panel.goal.map(|(_, goal)| goal)).fold(f64::MIN_POSITIVE, f64::max);
    svg.rule((16, top), (WIDTH - 16, top), "rule");
    svg.text(16, top + 20, "panel", "start", panel.title);
    svg.text(WIDTH - 16, top + 20, "small", "end", panel.unit);
    let mut y = top + 34;
    let rows_top = y;
    let length_of = |bar: &Bar| pixels_of(bar.value, most, LENGTH).max(1);
    for bar in &panel.bars {
        let length = length_of(bar);
        svg.text(LABELS - 8, y + 13, "", "end", bar.label);
        svg.bar(LABELS, y, length, ROW - 5, if bar.is_ours { "ours" } else { "peer" });
        y += ROW;
    }
    if let Some((words, goal)) = panel.goal {
        let x = LABELS + pixels_of(goal, most, LENGTH);
        svg.rule((x, rows_top - 4), (x, y + 2), "goal");
        svg.text(x, y + 13, "goaltext", "middle", &format!("{words} {}", readable(goal)));
    }
    // Numbers last: the goal's line may pass behind them.
    for (row, bar) in (0..).zip(&panel.bars) {
        let (x, y) = (LABELS + length_of(bar) + 6, rows_top + row * ROW + 13);
        svg.text(x, y, "value", "start", &readable(bar.value));
    }
    y += if panel.goal.is_some() { 18 } else { 0 };
    y + 10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel() -> Panel {
        let ours = Bar { label: "Nova-X", value: 3.5, is_ours: true };
        let peer = Bar { label: "other", value: 7.0, is_ours: false };
        let goal = Some(("at most", 4.0));
        Panel { title: "put", unit: "us of CPU", goal, bars: vec![ours, peer] }
    }

    #[test]
    fn the_longest_bar_fills_the_chart_and_others_are_in_proportion() {
        let picture = bars("Engine", "a note", &[panel()]);
        assert!(
            picture.contains("width=\"420\" height=\"17\" rx=\"2\" class=\"peer\""),
            "{picture}"
        );
        assert!(
            picture.contains("width=\"210\" height=\"17\" rx=\"2\" class=\"ours\""),
            "{picture}"
        );
        assert!(picture.contains("at most 4.00"));
    }

    #[test]
    fn the_same_figures_give_the_same_bytes() {
        assert_eq!(bars("a", "b", &[panel()]), bars("a", "b", &[panel()]));
    }

    #[test]
    fn a_panel_without_bars_is_left_out() {
        let empty = Panel { bars: Vec::new(), ..panel() };
        assert!(!bars("a", "b", &[empty]).contains("us of CPU"));
    }
}

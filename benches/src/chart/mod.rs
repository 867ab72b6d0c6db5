//! Charts of figures as SVG: small, the same bytes for the same figures, readable on light and dark pages.
//!
//! `bars` sets a figure beside those of its peers, `lines` shows something over time; what both draw with
//! stands here.

mod bars;
mod lines;

pub(crate) use bars::{Bar, Panel, bars};
pub(crate) use lines::{Line, LineChart, lines};

use std::fmt::Write as _;

/// All charts are so wide; they grow downwards.
const WIDTH: u32 = 760;

/// Colours by role, so that a dark page swaps them at once.
const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;font-size:13px;fill:#1f2328}
.title{font-size:16px;font-weight:600}.panel{font-weight:600}.small{font-size:11px;fill:#59636e}
.value{paint-order:stroke;stroke:#ffffff;stroke-width:4px;stroke-linejoin:round}
.back{fill:#ffffff}.ours{fill:#0969da}.peer{fill:#9aa4af}.rule{stroke:#d1d9e0}.goal{stroke:#cf222e;stroke-dasharray:4 3}
.goaltext{font-size:11px;fill:#cf222e}
.l0{stroke:#0969da;fill:none}.l1{stroke:#1a7f37;fill:none}.l2{stroke:#9a6700;fill:none}
.t0{fill:#0969da}.t1{fill:#1a7f37}.t2{fill:#9a6700}
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.value{stroke:#0d1117}
.small{fill:#9198a1}.back{fill:#0d1117}.ours{fill:#4493f8}
.peer{fill:#656c76}.rule{stroke:#3d444d}.goal{stroke:#f85149}.goaltext{fill:#f85149}
.l0{stroke:#4493f8}.l1{stroke:#3fb950}.l2{stroke:#d29922}.t0{fill:#4493f8}.t1{fill:#3fb950}.t2{fill:#d29922}}
";

/// A picture in the making.
struct Svg {
    body: String,
    title: String,
}

impl Svg {
    fn new(title: &str) -> Svg {
        let mut svg = Svg { body: String::new(), title: escaped(title) };
        svg.text(16, 28, "title", "start", title);
        svg
    }

    fn text(&mut self, x: u32, y: u32, class: &str, anchor: &str, text: &str) {
        let text = escaped(text);
        let written = writeln!(
            self.body,
            r#"<text x="{x}" y="{y}" class="{class}" text-anchor="{anchor}">{text}</text>"#
        );
        written.expect("a string grows");
    }

    fn bar(&mut self, x: u32, y: u32, width: u32, height: u32, class: &str) {
        let written = writeln!(
            self.body,
            r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="2" class="{class}"/>"#
        );
        written.expect("a string grows");
    }

    fn rule(&mut self, from: (u32, u32), to: (u32, u32), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let written = writeln!(
            self.body,
            r#"<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{class}"/>"#
        );
        written.expect("a string grows");
    }

    fn polyline(&mut self, points: &[(f64, f64)], class: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        let written = writeln!(
            self.body,
            r#"<polyline points="{points}" class="{class}" stroke-width="1.6"/>"#
        );
        written.expect("a string grows");
    }

    fn finish(self, height: u32) -> String {
        let Svg { body, title } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\" aria-label=\"{title}\">\n<style>{STYLE}</style>\n\
             <rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\"/>\n{body}</svg>\n"
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A number as people read it: three digits that count, and a comma at the thousands.
fn readable(value: f64) -> String {
    assert!(value.is_finite() && value >= 0.0, "figures are counts and times");
    if value < 1_000.0 {
        let digits = if value < 1.0 {
            3
        } else if value < 10.0 {
            2
        } else {
            usize::from(value < 100.0)
        };
        return format!("{value:.digits$}");
    }
    if value >= 1e6 {
        let millions = value / 1e6;
        return format!("{millions:.digits$} M", digits = usize::from(millions < 100.0));
    }
    let whole = format!("{value:.0}");
    let (thousands, rest) = whole.split_at(whole.len() - 3);
    format!("{thousands},{rest}")
}

/// A length in the picture: `value` of `most` is `pixels`.
fn pixels_of(value: f64, most: f64, pixels: u32) -> u32 {
    assert!(value >= 0.0 && value <= most && most > 0.0, "{value} of {most}");
    let exact = (value / most * f64::from(pixels)).round();
    // Below `pixels`, which is small: the loop is over whole numbers that f64 has exactly.
    (0..=pixels).rev().find(|whole| f64::from(*whole) <= exact).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_count() {
        let numbers = [0.5312, 4.0, 12.34, 523.4, 18_439.2, 123_456.0, 5_300_000.0, 312_000_000.0];
        let read = ["0.531", "4.00", "12.3", "523", "18,439", "123,456", "5.3 M", "312 M"];
        assert_eq!(numbers.map(readable), read);
    }

    #[test]
    fn lengths_are_in_proportion_and_never_past_the_edge() {
        assert_eq!([0.0, 0.5, 1.0].map(|value| pixels_of(value, 1.0, 300)), [0, 150, 300]);
    }

    #[test]
    fn text_cannot_break_out() {
        let mut svg = Svg::new("a < b & \"c\"");
        svg.text(0, 0, "small", "start", "<script>");
        let picture = svg.finish(10);
        assert!(picture.contains("a &lt; b &amp; &quot;c&quot;") && !picture.contains("<script>"));
    }
}

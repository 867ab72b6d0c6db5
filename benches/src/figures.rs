//! Figures and the percentiles behind them.

use std::fmt;

/// What a benchmark found.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<Figure>);

/// One line of it.
#[derive(Debug)]
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
}

impl Figures {
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        let name = name.into();
        assert!(value.is_finite(), "{name} was measured");
        assert!(self.get(&name).is_none(), "{name} is given once");
        let figure = Figure { name, value, unit };
        // A long run shows how far it is, and one that fails later what it found.
        eprintln!("bench: {} {} {unit}", figure.name, figure.digits());
        self.0.push(figure);
    }

    /// The figure of this name, if it was measured.
    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }

    /// The same figures as a table in a document.
    pub(crate) fn to_markdown(&self) -> String {
        let mut table = String::from("| figure | value | unit |\n|---|---|---|\n");
        for figure in &self.0 {
            let Figure { name, unit, .. } = figure;
            table.push_str(&format!("| `{name}` | {} | {unit} |\n", figure.digits()));
        }
        table
    }
}

impl Figure {
    /// Small figures keep three digits, large ones need none.
    fn digits(&self) -> String {
        let digits = if self.value.abs() < 100.0 { 3 } else { 0 };
        format!("{:.digits$}", self.value)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for figure in &self.0 {
            writeln!(f, "figure {} {} {}", figure.name, figure.digits(), figure.unit)?;
        }
        Ok(())
    }
}

/// The smallest sample that so many of a thousand samples do not exceed (nearest rank).
pub(crate) fn per_mille(sorted: &[u32], per_mille: usize) -> u32 {
    assert!(!sorted.is_empty() && (1..=1_000).contains(&per_mille));
    let rank = (sorted.len() * per_mille).div_ceil(1_000);
    *sorted.get(rank - 1).expect("a rank is at most the length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        let samples: Vec<u32> = (1..=1_000).collect();
        assert_eq!([500, 990, 999, 1_000].map(|p| per_mille(&samples, p)), [500, 990, 999, 1_000]);
        assert_eq!([1, 500, 1_000].map(|p| per_mille(&[7], p)), [7, 7, 7]);
        assert_eq!(per_mille(&[1, 2, 3], 500), 2);
    }

    #[test]
    fn figures_are_lines_of_four_words() {
        let mut figures = Figures::default();
        figures.add("a_tps", 12_345.6, "1/s");
        figures.add("a_ms", 1.23456, "ms");
        assert_eq!(figures.to_string(), "figure a_tps 12346 1/s\nfigure a_ms 1.235 ms\n");
        assert_eq!((figures.get("a_ms"), figures.get("b_ms")), (Some(1.23456), None));
        assert!(
            figures.to_markdown().ends_with("| `a_tps` | 12346 | 1/s |\n| `a_ms` | 1.235 | ms |\n")
        );
    }
}

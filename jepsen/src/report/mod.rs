//! What came of a run, and a page about it: what was called, what was broken, how long answers took. One
//! file, no scripts, nothing loaded from anywhere.
//!
//! **Invariants**
//! * The same run makes the same page, byte for byte.
//! * What comes from a history is escaped.
//! * The page is bounded: of many calls that were done only a sample is drawn, evenly; those that failed or
//!   of which nothing is known are drawn first.

mod chart;
mod leads;
mod timeline;

use crate::check::gaps::Gap;
use crate::op::{Call, FaultSpan, LeadSpan};
use crate::verdict::Verdict;
use serde::Serialize;
use std::fmt::Write as _;

/// How much was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Calls that were done.
    pub ok: u64,
    /// That certainly were not.
    pub fail: u64,
    /// Of which nothing is known.
    pub unknown: u64,
    /// What was done beside the lanes.
    pub background: u64,
    /// Faults that were in force.
    pub installed: u64,
    /// That were not tried.
    pub skipped: u64,
    /// Of which nobody knows.
    pub indeterminate: u64,
    /// Half of the calls took no longer, in microseconds.
    pub latency_p50_us: u64,
    /// Of a hundred calls all but one took no longer.
    pub latency_p99_us: u64,
}

/// A run's outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The workload.
    pub workload: String,
    /// The faults.
    pub faults: Vec<String>,
    /// How many nodes there were.
    pub nodes: u64,
    /// The seed of the plan.
    pub seed: u64,
    /// How it went.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How much was done.
    pub counts: Counts,
    /// For how long nothing was served, fault by fault.
    pub gaps: Vec<Gap>,
}

/// What a page is made of.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// The outcome.
    pub report: &'a Report,
    /// The history.
    pub calls: &'a [Call],
    /// The faults in it.
    pub faults: &'a [FaultSpan],
    /// Who led when; empty of a node alone.
    pub leads: &'a [LeadSpan],
}

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #667; --paper: #fff; --line: #d8dce2;
  --ok: #2f7d4f; --fail: #c07a00; --unknown: #b3261e; --band: #b3261e22; --p50: #2b6cb0; --p99: #8a3ab9; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --dim: #9aa3ad; --paper: #14171b;
  --line: #333a42; --ok: #57b37c; --fail: #e0a030; --unknown: #f0776c; --band: #f0776c2a;
  --p50: #6fb1f0; --p99: #c58af0; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1200px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .2rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .4rem; }
p.sub { color: var(--dim); margin: 0 0 1rem; }
.verdict { display: inline-block; padding: .1rem .7rem; border-radius: 1rem; color: #fff; }
.passed { background: #2f7d4f; } .failed { background: #b3261e; } .broken { background: #c07a00; }
table { border-collapse: collapse; } td, th { padding: .15rem 1.2rem .15rem 0; text-align: left;
  border-bottom: 1px solid var(--line); } td.n { text-align: right; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--dim); font-size: 11px; }
.grid { stroke: var(--line); stroke-width: 1; } .band { fill: var(--band); }
.ok { fill: var(--ok); } .fail { fill: var(--fail); } .unknown { fill: var(--unknown); }
.led1 { fill: #2b6cb0; } .led2 { fill: #c07a00; } .led3 { fill: #2f7d4f; } .led4 { fill: #8a3ab9; }
.led5 { fill: #b3261e; } .led0 { fill: #667788; }
.p50 { stroke: var(--p50); } .p99 { stroke: var(--p99); } polyline { fill: none; stroke-width: 1.5; }
li { margin: .2rem 0; overflow-wrap: anywhere; } .key { color: var(--dim); }
.key b { font-weight: 600; } .swatch { display: inline-block; width: .8em; height: .8em; }
";

/// The page as HTML.
#[must_use]
pub fn render(page: &Page<'_>) -> String {
    let report = page.report;
    let title = format!("{} while {}", report.workload, under(report));
    let mut html = String::new();
    let _ = write!(
        html,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title><style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n",
        title = escape(&title),
    );
    let _ = writeln!(
        html,
        "<p class=\"sub\">{} node{}, seed {}</p>",
        report.nodes,
        if report.nodes == 1 { "" } else { "s" },
        report.seed
    );
    write_verdict(&report.verdict, &mut html);
    write_counts(report, &mut html);
    let end_ns = end_ns(page);
    html += "<h2>Operations by process</h2>\n";
    html += KEY;
    timeline::write(page.calls, page.faults, end_ns, &mut html);
    leads::write(page.leads, page.faults, end_ns, &mut html);
    html += "<h2>Latency</h2>\n<p class=\"key\"><b class=\"swatch\" style=\"background:var(--p50)\"></b> half of \
             the calls <b class=\"swatch\" style=\"background:var(--p99)\"></b> 99 of 100 took no longer, by the \
             second they began in</p>\n";
    chart::latency(page.calls, page.faults, end_ns, &mut html);
    html += "<h2>Calls a second, by how they ended</h2>\n";
    chart::rate(page.calls, page.faults, end_ns, &mut html);
    write_faults(page, &mut html);
    html + "</body></html>\n"
}

const KEY: &str = "<p class=\"key\"><b class=\"swatch\" style=\"background:var(--ok)\"></b> ok \
                   <b class=\"swatch\" style=\"background:var(--fail)\"></b> fail \
                   <b class=\"swatch\" style=\"background:var(--unknown)\"></b> unknown \
                   <b class=\"swatch\" style=\"background:var(--band)\"></b> a fault</p>\n";

fn under(report: &Report) -> String {
    match report.faults.len() {
        0 => "nothing breaks".to_owned(),
        1..=4 => report.faults.join(", "),
        many => format!("{many} faults come and go"),
    }
}

/// The end of the last thing that happened.
fn end_ns(page: &Page<'_>) -> u64 {
    let calls = page.calls.iter().map(|call| call.completed_ns.unwrap_or(call.invoked_ns));
    let faults = page.faults.iter().map(|fault| fault.to_ns.unwrap_or(fault.from_ns));
    calls.chain(faults).max().unwrap_or(0).max(1)
}

fn write_verdict(verdict: &Verdict, html: &mut String) {
    let (word, texts) = match verdict {
        Verdict::Passed => ("passed", &[][..]),
        Verdict::Failed { findings } => ("failed", findings.as_slice()),
        Verdict::Broken { reason } => ("broken", std::slice::from_ref(reason)),
    };
    let _ = writeln!(html, "<p><span class=\"verdict {word}\">{word}</span></p>");
    if !texts.is_empty() {
        *html += "<ul>\n";
        for text in texts {
            let _ = writeln!(html, "<li>{}</li>", escape(text));
        }
        *html += "</ul>\n";
    }
}

fn write_counts(report: &Report, html: &mut String) {
    let counts = &report.counts;
    let rows = [
        ("calls done", counts.ok),
        ("certainly not done", counts.fail),
        ("not known", counts.unknown),
        ("done beside the lanes", counts.background),
        ("faults in force", counts.installed),
        ("faults skipped", counts.skipped),
        ("faults of which nobody knows", counts.indeterminate),
        ("latency, half, µs", counts.latency_p50_us),
        ("latency, 99 of 100, µs", counts.latency_p99_us),
    ];
    *html += "<table>\n";
    for (name, count) in rows {
        let _ = writeln!(html, "<tr><th>{name}</th><td class=\"n\">{count}</td></tr>");
    }
    *html += "</table>\n";
}

fn write_faults(page: &Page<'_>, html: &mut String) {
    if page.faults.is_empty() {
        return;
    }
    let led = if page.leads.is_empty() { "" } else { "<th>who led</th>" };
    let _ = writeln!(
        html,
        "<h2>Faults</h2>\n<table>\n<tr><th>from</th><th>to</th><th>fault</th><th>what</th>{led}\
         <th>nothing served for</th></tr>"
    );
    for (number, fault) in page.faults.iter().enumerate() {
        let to = fault.to_ns.map_or("never".to_owned(), |to| format!("{} s", tenths(to)));
        let gap = page.report.gaps.get(number).and_then(|gap| gap.unavailable_ms);
        let gap = gap.map_or("no answer after it".to_owned(), |ms| format!("{ms} ms"));
        let _ = writeln!(
            html,
            "<tr><td class=\"n\">{} s</td><td class=\"n\">{to}</td><td>{}</td><td>{}</td>{}<td class=\"n\">{gap}\
             </td></tr>",
            tenths(fault.from_ns),
            escape(&fault.name),
            escape(&fault.detail),
            leads::cell(page.leads, fault.from_ns),
        );
    }
    *html += "</table>\n";
}

/// Seconds with a tenth, cut off.
fn tenths(ns: u64) -> String {
    let tenths = ns / 100_000_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// A text as HTML shows it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            other => escaped.push(other),
        }
    }
    escaped
}

/// Where things are on a drawing: time from left to right.
#[derive(Debug, Clone, Copy)]
struct Axis {
    end_ns: u64,
}

/// Width of all drawings, and of the room for words on their left.
const WIDTH: u64 = 1_160;
const LEFT: u64 = 60;

impl Axis {
    /// In tenths of a unit: whole numbers, so that a page is the same everywhere.
    fn x(self, ns: u64) -> u64 {
        let span = u128::from((WIDTH - LEFT) * 10);
        let at = u128::from(ns.min(self.end_ns)) * span / u128::from(self.end_ns);
        LEFT * 10 + u64::try_from(at).unwrap_or(0)
    }

    /// Bands of the faults and lines of time, from top to bottom.
    fn write(self, faults: &[FaultSpan], height: u64, html: &mut String) {
        for fault in faults {
            let (from, to) = (self.x(fault.from_ns), self.x(fault.to_ns.unwrap_or(self.end_ns)));
            let _ = writeln!(
                html,
                "<rect class=\"band\" x=\"{}\" y=\"0\" width=\"{}\" height=\"{height}\"><title>{} {}</title></rect>",
                units(from),
                units((to - from).max(10)),
                escape(&fault.name),
                escape(&fault.detail),
            );
        }
        let seconds = self.end_ns / 1_000_000_000;
        let step = [1, 2, 5, 10, 30, 60, 300, 600, 3_600]
            .into_iter()
            .find(|step| seconds / step <= 12)
            .unwrap_or(36_000);
        for second in (0..=seconds).step_by(usize::try_from(step).unwrap_or(1)) {
            let x = units(self.x(second * 1_000_000_000));
            let _ = writeln!(
                html,
                "<line class=\"grid\" x1=\"{x}\" y1=\"0\" x2=\"{x}\" y2=\"{height}\"/>\
                 <text x=\"{x}\" y=\"{}\">{second} s</text>",
                height + 14
            );
        }
    }
}

/// Tenths as a decimal.
fn units(tenths: u64) -> String {
    if tenths.is_multiple_of(10) {
        (tenths / 10).to_string()
    } else {
        format!("{}.{}", tenths / 10, tenths % 10)
    }
}

fn open_svg(height: u64, html: &mut String) {
    let _ = writeln!(
        html,
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" preserveAspectRatio=\"xMidYMin meet\">",
        height + 20
    );
}

#[cfg(test)]
mod tests;

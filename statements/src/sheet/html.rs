//! HTML of a sheet: one self-contained page, made to be printed to PDF. Every text is escaped; no
//! script, no picture, nothing is loaded from anywhere.

use super::plain::local;
use super::words::word;
use super::{Cell, Language, Sheet, Table};
use std::fmt::Write as _;

const STYLE: &str = "\
@page{size:A4;margin:18mm 16mm 20mm;@bottom-right{content:counter(page) \" / \" counter(pages)}}\
body{font:10pt/1.4 system-ui,sans-serif;color:#111;margin:0 auto;max-width:180mm}\
h1{font-size:16pt;margin:0 0 4mm}h2{font-size:11pt;margin:6mm 0 2mm}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:0 4mm;margin:0}\
dt{color:#555}dd{margin:0;white-space:pre-line}\
table{border-collapse:collapse;width:100%}thead{display:table-header-group}\
tr{break-inside:avoid}th{text-align:left;border-bottom:1px solid #111;font-weight:600}\
th,td{padding:.6mm 1.5mm;vertical-align:top}td{border-bottom:1px solid #ddd}\
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
tfoot td{border-top:1px solid #111;border-bottom:0;font-weight:600}\
p{margin:3mm 0 0}@media print{body{max-width:none}}";

impl Sheet {
    /// The page, in a language.
    #[must_use]
    pub fn html(&self, language: Language) -> String {
        let mut page = String::with_capacity(4096);
        let title = format!("{} {}", word(self.kind, language), self.name);
        let code = if language == Language::De { "de" } else { "en" };
        let title = escape(title.trim());
        page.push_str("<!DOCTYPE html>\n");
        let _ = write!(page, "<html lang=\"{code}\"><head><meta charset=\"utf-8\">");
        page.push_str("<meta http-equiv=\"Content-Security-Policy\" ");
        page.push_str("content=\"default-src 'none'; style-src 'unsafe-inline'\">");
        let _ = write!(page, "<title>{title}</title><style>{STYLE}</style></head>\n<body>");
        let _ = write!(page, "<h1>{title}</h1>\n<dl>");
        for (key, cell) in &self.head {
            if !matches!(cell, Cell::Blank) {
                let (label, value) = (word(key, language), self.shown(cell, language));
                let _ = writeln!(page, "<dt>{}</dt><dd>{}</dd>", escape(label), escape(&value));
            }
        }
        page.push_str("</dl>\n");
        let filled = self.tables.iter().filter(|table| !table.rows.is_empty());
        filled.for_each(|table| self.table(&mut page, table, language));
        for note in &self.notes {
            let _ = writeln!(page, "<p>{}</p>", escape(&self.shown(note, language)));
        }
        page.push_str("</body></html>\n");
        page
    }

    fn table(&self, page: &mut String, table: &Table, language: Language) {
        let _ = write!(page, "<h2>{}</h2>\n<table><thead><tr>", escape(word(table.name, language)));
        for (i, column) in table.columns.iter().enumerate() {
            let cells = || table.rows.iter().filter_map(|row| row.get(i));
            let number = cells().any(Cell::is_number);
            let class = if number { " class=\"n\"" } else { "" };
            let _ = write!(page, "<th{class}>{}</th>", escape(word(column, language)));
        }
        page.push_str("</tr></thead>\n<tbody>\n");
        table.rows.iter().for_each(|row| self.row(page, row, language));
        page.push_str("</tbody>");
        if let Some(total) = &table.total {
            page.push_str("<tfoot>");
            self.row(page, total, language);
            page.push_str("</tfoot>");
        }
        page.push_str("</table>\n");
    }

    fn row(&self, page: &mut String, row: &[Cell], language: Language) {
        page.push_str("<tr>");
        for cell in row {
            let class = if cell.is_number() { " class=\"n\"" } else { "" };
            let _ = write!(page, "<td{class}>{}</td>", escape(&self.shown(cell, language)));
        }
        page.push_str("</tr>\n");
    }

    /// A value as people read it.
    fn shown(&self, cell: &Cell, language: Language) -> String {
        let plain = self.plain(cell);
        let number = |plain: &str| match language {
            Language::En => plain.to_owned(),
            Language::De => plain.replace('.', ","),
        };
        match (cell, language) {
            (Cell::Word(key), _) => word(key, language).to_owned(),
            (Cell::Money(_), _) => format!("{} {}", number(&plain), self.currency.code()),
            (Cell::Energy(_), _) => format!("{} kWh", number(&plain)),
            (Cell::Percent(_), _) => format!("{} %", number(&plain)),
            (Cell::Micros(_), _) => number(&plain),
            (Cell::Time(at), Language::En) => local(*at, &self.zone, "%Y-%m-%d %H:%M"),
            (Cell::Time(at), Language::De) => local(*at, &self.zone, "%d.%m.%Y %H:%M"),
            (Cell::Day(at), Language::De) => local(*at, &self.zone, "%d.%m.%Y"),
            _ => plain,
        }
    }
}

/// A text that can stand in an element or an attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Control characters are no part of HTML; line ends are kept.
            c if c.is_control() && c != '\n' => {}
            c => escaped.push(c),
        }
    }
    escaped
}

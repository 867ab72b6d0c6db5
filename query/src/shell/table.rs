//! Rows on their way to the screen.
//!
//! A table needs to know its widths before its first line: it looks at the first rows, and
//! keeps those widths for the rest, so that no result has to fit in memory.

use super::Format;
use std::io::{self, Write};

/// Rows that decide the widths of a table.
const ROWS_AHEAD_MAX: usize = 1_000;

/// A row as it came.
pub(super) type Row = Vec<Option<String>>;

/// Writes one result.
#[derive(Debug)]
pub(super) struct Printer {
    format: Format,
    columns: Vec<String>,
    /// Rows not yet shown, while the widths are open.
    ahead: Vec<Row>,
    widths: Option<Vec<(usize, bool)>>,
    rows: u64,
}

impl Printer {
    pub(super) fn new(format: Format, columns: Vec<String>) -> Self {
        Printer { format, columns, ahead: Vec::new(), widths: None, rows: 0 }
    }

    pub(super) fn row(&mut self, row: Row, out: &mut dyn Write) -> io::Result<()> {
        self.rows += 1;
        match self.format {
            Format::Csv => {
                if self.rows == 1 {
                    self.csv_header(out)?;
                }
                let line: Vec<String> =
                    row.iter().map(|value| csv(value.as_deref().unwrap_or(""))).collect();
                write!(out, "{}\r\n", line.join(","))
            }
            Format::Json => {
                let members: Vec<String> = self
                    .columns
                    .iter()
                    .zip(&row)
                    .map(|(name, value)| {
                        let value = value.as_deref().map_or_else(|| "null".to_owned(), json);
                        format!("{}:{value}", json(name))
                    })
                    .collect();
                writeln!(out, "{{{}}}", members.join(","))
            }
            Format::Vertical => self.vertical(&row, out),
            Format::Table if self.widths.is_some() => self.line(&row, out),
            Format::Table => {
                self.ahead.push(row);
                if self.ahead.len() == ROWS_AHEAD_MAX { self.open_table(out) } else { Ok(()) }
            }
        }
    }

    /// Ends the result; answers how many rows it had.
    pub(super) fn finish(mut self, out: &mut dyn Write) -> io::Result<u64> {
        match self.format {
            Format::Csv if self.rows == 0 => self.csv_header(out)?,
            Format::Table => {
                if self.widths.is_none() {
                    self.open_table(out)?;
                }
                let plural = if self.rows == 1 { "" } else { "s" };
                writeln!(out, "({} row{plural})", self.rows)?;
            }
            Format::Vertical if self.rows == 0 => writeln!(out, "(0 rows)")?,
            _ => {}
        }
        out.flush()?;
        Ok(self.rows)
    }

    fn csv_header(&self, out: &mut dyn Write) -> io::Result<()> {
        let header: Vec<String> = self.columns.iter().map(|name| csv(name)).collect();
        write!(out, "{}\r\n", header.join(","))
    }

    fn vertical(&self, row: &Row, out: &mut dyn Write) -> io::Result<()> {
        let width = self.columns.iter().map(|name| display_width(name)).max().unwrap_or(0);
        writeln!(out, "-[ RECORD {} ]{}", self.rows, "-".repeat(width))?;
        for (name, value) in self.columns.iter().zip(row) {
            let pad = " ".repeat(width - display_width(name));
            writeln!(out, "{name}{pad} | {}", value.as_deref().unwrap_or(""))?;
        }
        Ok(())
    }

    /// Decides the widths and shows the header and the rows gathered so far.
    fn open_table(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let widths: Vec<(usize, bool)> = (0..self.columns.len())
            .map(|column| {
                let values = || self.ahead.iter().filter_map(|row| row[column].as_deref());
                let widest = values().flat_map(str::lines).map(display_width).max().unwrap_or(0);
                let numbers = values().next().is_some() && values().all(is_number);
                (widest.max(display_width(&self.columns[column])), numbers)
            })
            .collect();
        let header: Vec<String> = self
            .columns
            .iter()
            .zip(&widths)
            .map(|(name, (width, _))| {
                let space = width - display_width(name);
                format!(" {}{name}{} ", " ".repeat(space / 2), " ".repeat(space - space / 2))
            })
            .collect();
        let rule: Vec<String> = widths.iter().map(|(width, _)| "-".repeat(width + 2)).collect();
        writeln!(out, "{}", header.join("|").trim_end())?;
        writeln!(out, "{}", rule.join("+"))?;
        self.widths = Some(widths);
        for row in std::mem::take(&mut self.ahead) {
            self.line(&row, out)?;
        }
        Ok(())
    }

    fn line(&self, row: &Row, out: &mut dyn Write) -> io::Result<()> {
        let widths = self.widths.as_deref().unwrap_or_default();
        // A value of several lines makes a row of several lines.
        let cells: Vec<Vec<&str>> =
            row.iter().map(|value| value.as_deref().unwrap_or("").split('\n').collect()).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(1);
        for level in 0..height {
            let line: Vec<String> = cells
                .iter()
                .zip(widths)
                .map(|(lines, (width, right))| {
                    let text = lines.get(level).copied().unwrap_or("");
                    let pad = " ".repeat(width.saturating_sub(display_width(text)));
                    let more = if level + 1 < lines.len() { "+" } else { " " };
                    if *right {
                        format!(" {pad}{text}{more}")
                    } else {
                        format!(" {text}{pad}{more}")
                    }
                })
                .collect();
            writeln!(out, "{}", line.join("|").trim_end())?;
        }
        Ok(())
    }
}

/// Columns a text takes on a terminal: wide East Asian characters take two, combining marks none.
fn display_width(text: &str) -> usize {
    text.chars()
        .map(|c| match u32::from(c) {
            0x300..=0x36f | 0x200b..=0x200f => 0,
            0x1100..=0x115f
            | 0x2e80..=0xa4cf
            | 0xac00..=0xd7a3
            | 0xf900..=0xfaff
            | 0xfe30..=0xfe6f
            | 0xff00..=0xff60
            | 0xffe0..=0xffe6
            | 0x1f300..=0x1faff
            | 0x20000..=0x3fffd => 2,
            _ => 1,
        })
        .sum()
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-'))
        && digits.matches('-').count() <= 1
        // Ids of hexadecimal digits can look like numbers, but are not read as such.
        && digits.len() < 32
}

fn csv(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn json(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if u32::from(c) < 0x20 => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(format: Format, columns: &[&str], rows: &[&[Option<&str>]]) -> String {
        let mut out = Vec::new();
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        let mut printer = Printer::new(format, columns);
        for row in rows {
            printer
                .row(row.iter().map(|value| value.map(str::to_owned)).collect(), &mut out)
                .unwrap();
        }
        assert_eq!(printer.finish(&mut out).unwrap(), rows.len() as u64);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn tables_align_numbers_right_and_text_left() {
        let rows: &[&[Option<&str>]] =
            &[&[Some("CP-1"), Some("7")], &[Some("充电"), Some("-12.5")], &[Some("x"), None]];
        let expected = " station | power_w\n---------+---------\n CP-1    |       7\n 充电    |   -12.5\n x       |\n(3 rows)\n";
        assert_eq!(show(Format::Table, &["station", "power_w"], rows), expected);
    }

    #[test]
    fn lines_in_a_value_stay_in_its_column() {
        let rows: &[&[Option<&str>]] = &[&[Some("a\nbc"), Some("1")]];
        assert_eq!(
            show(Format::Table, &["t", "n"], rows),
            " t  | n\n----+---\n a +| 1\n bc |\n(1 row)\n"
        );
    }

    #[test]
    fn csv_and_json_escape() {
        let rows: &[&[Option<&str>]] = &[&[Some("a,\"b\""), None]];
        assert_eq!(show(Format::Csv, &["x", "y"], rows), "x,y\r\n\"a,\"\"b\"\"\",\r\n");
        assert_eq!(show(Format::Csv, &["x"], &[]), "x\r\n");
        assert_eq!(show(Format::Json, &["x", "y"], rows), "{\"x\":\"a,\\\"b\\\"\",\"y\":null}\n");
    }

    #[test]
    fn vertical_shows_a_column_a_line() {
        let rows: &[&[Option<&str>]] = &[&[Some("1"), None]];
        assert_eq!(
            show(Format::Vertical, &["id", "reason"], rows),
            "-[ RECORD 1 ]------\nid     | 1\nreason |\x20\n"
        );
    }
}

//! JSON and CSV of a sheet: for machines. Amounts are decimals in text, times are UTC, names of
//! columns never change.

use super::{Cell, Sheet, Table};
use crate::decimal::{decimal, money};
use crate::json::Json;
use jiff::tz::TimeZone;
use novax_model::Timestamp;

impl Sheet {
    /// One JSON object: `kind`, `name`, `currency`, `head`, a list for each table, `totals`,
    /// `notes`.
    #[must_use]
    pub fn json(&self) -> String {
        let mut json = Json::default();
        json.item(|json| {
            json.text("kind", self.kind);
            json.text("name", &self.name);
            json.text("currency", self.currency.code());
            json.object("head", |json| {
                self.head.iter().for_each(|(key, cell)| self.member(json, key, cell));
            });
            for table in &self.tables {
                json.array(table.name, |json| {
                    for row in &table.rows {
                        json.item(|json| self.members(json, table, row));
                    }
                });
            }
            json.object("totals", |json| {
                for table in &self.tables {
                    if let Some(total) = &table.total {
                        json.object(table.name, |json| self.members(json, table, total));
                    }
                }
            });
            json.array("notes", |json| {
                self.notes.iter().for_each(|note| json.text_item(&self.plain(note)));
            });
        });
        json.finish()
    }

    /// The names of the tables, the main one first.
    pub fn tables(&self) -> impl Iterator<Item = &'static str> {
        self.tables.iter().map(|table| table.name)
    }

    /// The main table by RFC 4180, its columns named in the first line. Totals are left out, so
    /// that a sum over a column is the total.
    #[must_use]
    pub fn csv(&self) -> String {
        self.tables.first().map_or_else(String::new, |table| self.csv_of_table(table))
    }

    /// Another table; `None` when the sheet has none of that name.
    #[must_use]
    pub fn csv_of(&self, name: &str) -> Option<String> {
        let table = self.tables.iter().find(|table| table.name == name)?;
        Some(self.csv_of_table(table))
    }

    fn csv_of_table(&self, table: &Table) -> String {
        let mut text = table.columns.join(",");
        text.push_str("\r\n");
        for row in &table.rows {
            let fields: Vec<_> = row.iter().map(|cell| self.field(cell)).collect();
            text.push_str(&fields.join(","));
            text.push_str("\r\n");
        }
        text
    }

    fn field(&self, cell: &Cell) -> String {
        let mut text = self.plain(cell);
        // A spreadsheet takes a text that begins so for a formula; names come from outside.
        let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
        if formula && matches!(cell, Cell::Text(_)) {
            text.insert(0, '\'');
        }
        if text.contains([',', '"', '\r', '\n']) || text.starts_with(' ') || text.ends_with(' ') {
            return format!("\"{}\"", text.replace('"', "\"\""));
        }
        text
    }

    fn members(&self, json: &mut Json, table: &Table, row: &[Cell]) {
        assert_eq!(table.columns.len(), row.len(), "a row has a cell for each column");
        for (column, cell) in table.columns.iter().zip(row) {
            self.member(json, column, cell);
        }
    }

    fn member(&self, json: &mut Json, key: &str, cell: &Cell) {
        match cell {
            Cell::Blank => json.null(key),
            Cell::Count(count) => json.number(key, i128::from(*count), 0),
            _ => json.text(key, &self.plain(cell)),
        }
    }

    /// A value as machines read it.
    pub(crate) fn plain(&self, cell: &Cell) -> String {
        match cell {
            Cell::Blank => String::new(),
            Cell::Text(text) => text.to_string(),
            Cell::Word(key) => (*key).to_owned(),
            Cell::Money(amount) => money(*amount, self.currency),
            Cell::Energy(wh) => decimal(*wh, 3, false),
            Cell::Count(count) => count.to_string(),
            Cell::Time(at) => at.to_rfc3339(),
            Cell::Day(at) => local(*at, &self.zone, "%Y-%m-%d"),
            Cell::Percent(ppm) => decimal(i128::from(*ppm), 4, true),
            Cell::Micros(micros) => decimal(micros.0, 6, true),
        }
    }
}

/// A moment as the clock on the wall shows it.
pub(crate) fn local(at: Timestamp, zone: &TimeZone, format: &str) -> String {
    let moment = i64::try_from(at.0).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
    match moment {
        Some(moment) => moment.to_zoned(zone.clone()).strftime(format).to_string(),
        // Past the year 9999: no calendar has it.
        None => at.to_rfc3339(),
    }
}

//! Which heads, tables and columns each document has. Columns are only ever added at the end.

use crate::error::StatementError;
use crate::facts::{Dimension, DocumentFacts, EntryKind, LegalParty};
use crate::invoice::{Invoice, InvoiceItem, InvoiceKind, InvoiceLine, TaxCode};
use crate::report::{GroupBy, RevenueReport, RevenueRow};
use crate::settlement::SettlementStatement;
use crate::sheet::{Cell, Printed, Sheet, Table, zone};

impl Printed for RevenueReport {
    fn sheet(&self) -> Result<Sheet, StatementError> {
        let name = match self.by {
            GroupBy::Operator => "operator",
            GroupBy::Site => "site",
            GroupBy::Party => "party",
        };
        let shares = self.by == GroupBy::Party;
        let amounts: &[&str] = if shares { &["share"] } else { &["net", "tax", "gross"] };
        let mut columns = vec![name, "sessions", "corrections", "energy_kwh"];
        columns.extend(amounts);
        let cells = |row: &RevenueRow| {
            let mut cells = vec![
                Cell::text(row.name.clone()),
                Cell::Count(row.sessions),
                Cell::Count(row.corrections),
                Cell::Energy(row.energy_wh),
                Cell::Money(row.net),
            ];
            if !shares {
                cells.extend([Cell::Money(row.tax), Cell::Money(row.gross)]);
            }
            cells
        };
        let mut total = cells(&self.total);
        if shares {
            // Parties share sessions: their counts do not add up to anything.
            total.splice(1..4, [Cell::Blank, Cell::Blank, Cell::Blank]);
        }
        let rows = self.rows.iter().map(cells).collect();
        Ok(Sheet {
            kind: "revenue_report",
            name: String::new(),
            currency: self.currency,
            zone: zone(&self.period.zone)?,
            head: vec![
                ("period_from", Cell::Time(self.period.from)),
                ("period_until", Cell::Time(self.period.until)),
            ],
            tables: vec![Table { name: "entries", columns, rows, total: Some(total) }],
            notes: Vec::new(),
        })
    }
}

impl Printed for SettlementStatement {
    fn sheet(&self) -> Result<Sheet, StatementError> {
        let mut head = document_head(&self.document);
        head.push(("account", Cell::text(self.party.clone())));
        head.push(("opening", Cell::Money(self.opening)));
        head.push(("closing", Cell::Money(self.closing)));
        Ok(Sheet {
            kind: "settlement_statement",
            name: self.document.full_number(),
            currency: self.document.currency,
            zone: zone(&self.document.period.zone)?,
            head,
            tables: vec![self.session_table(), self.entry_table(), self.sum_table()],
            notes: note(&self.document),
        })
    }
}

impl SettlementStatement {
    fn session_table(&self) -> Table {
        let row = |row: &crate::settlement::PartnerSession| {
            vec![
                Cell::text(row.cdr.clone()),
                Cell::text(row.site.clone()),
                Cell::Time(row.booked),
                Cell::Energy(row.energy_wh.into()),
                Cell::Money(row.net),
                Cell::Money(row.share),
            ]
        };
        let total = vec![
            Cell::Blank,
            Cell::Blank,
            Cell::Blank,
            Cell::Energy(self.sessions.iter().map(|row| i128::from(row.energy_wh)).sum()),
            Cell::Money(self.sessions.iter().map(|row| row.net).sum()),
            Cell::Money(self.sessions.iter().map(|row| row.share).sum()),
        ];
        Table {
            name: "sessions",
            columns: vec!["cdr", "site", "booked", "energy_kwh", "net", "share"],
            rows: self.sessions.iter().map(row).collect(),
            total: Some(total),
        }
    }

    fn entry_table(&self) -> Table {
        let row = |entry: &crate::facts::EntryFacts| {
            vec![
                Cell::Count(entry.number),
                Cell::Time(entry.booked),
                Cell::Word(kind_word(entry.kind)),
                Cell::text(entry.reference.clone()),
                Cell::Money(entry.amount),
            ]
        };
        Table {
            name: "entries",
            columns: vec!["number", "booked", "kind", "reference", "amount"],
            rows: self.entries.iter().map(row).collect(),
            total: None,
        }
    }

    fn sum_table(&self) -> Table {
        let amount = |word, amount| vec![Cell::Word(word), Cell::Blank, Cell::Money(amount)];
        let mut rows = vec![amount("opening", self.opening)];
        rows.extend(self.sums.iter().map(|sum| {
            let kind = Cell::Word(kind_word(sum.kind));
            vec![kind, Cell::Count(sum.entries), Cell::Money(sum.amount)]
        }));
        Table {
            name: "sums",
            columns: vec!["kind", "entries", "amount"],
            rows,
            total: Some(amount("closing", self.closing)),
        }
    }
}

fn kind_word(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Share => "share",
        EntryKind::Adjustment => "adjustment",
        EntryKind::Fee => "fee",
        EntryKind::Guarantee => "guarantee",
        EntryKind::Payout => "payout",
        EntryKind::Other => "other",
    }
}

impl Printed for Invoice {
    fn sheet(&self) -> Result<Sheet, StatementError> {
        let kind = match self.kind {
            InvoiceKind::Invoice => "invoice",
            InvoiceKind::CreditNote => "credit_note",
            InvoiceKind::Receipt => "receipt",
        };
        let mut notes = Vec::new();
        if self.breakdown.iter().any(|part| part.rate.code == TaxCode::ReverseCharge) {
            notes.push(Cell::Word("reverse_charge"));
        }
        notes.extend(note(&self.document));
        Ok(Sheet {
            kind,
            name: self.document.full_number(),
            currency: self.document.currency,
            zone: zone(&self.document.period.zone)?,
            head: document_head(&self.document),
            tables: vec![self.line_table(), self.tax_table(), self.total_table()],
            notes,
        })
    }
}

impl Invoice {
    fn line_table(&self) -> Table {
        let row = |line: &InvoiceLine| {
            vec![
                Cell::Count(line.number.into()),
                Cell::text(line.cdr.clone()),
                Cell::text(line.site.clone()),
                Cell::Time(line.from),
                Cell::Time(line.until),
                Cell::Word(item_word(line.item)),
                Cell::Micros(line.quantity),
                Cell::Word(line.item.unit()),
                Cell::Micros(line.price),
                Cell::text(line.rate.code.letters()),
                Cell::Money(line.net),
            ]
        };
        let columns = vec![
            "line", "cdr", "site", "from", "until", "item", "quantity", "unit", "price",
            "tax_code", "net",
        ];
        let mut total = vec![Cell::Blank; columns.len() - 1];
        total.push(Cell::Money(self.totals.net));
        let rows = self.lines.iter().map(row).collect();
        Table { name: "lines", columns, rows, total: Some(total) }
    }

    fn tax_table(&self) -> Table {
        let mut rows = Vec::new();
        for part in &self.breakdown {
            let code = || Cell::text(part.rate.code.letters());
            let taxable = || Cell::Money(part.taxable);
            for ((name, ppm), amount) in part.rate.taxes.iter().zip(&part.amounts) {
                let name = Cell::text(name.clone());
                let amount = Cell::Money(*amount);
                rows.push(vec![code(), name, Cell::Percent(*ppm), taxable(), amount]);
            }
            if part.rate.taxes.is_empty() {
                rows.push(vec![code(), Cell::Blank, Cell::Blank, taxable(), Cell::Money(0)]);
            }
        }
        let mut total = vec![Cell::Blank; 4];
        total.push(Cell::Money(self.totals.tax));
        let columns = vec!["tax_code", "tax_name", "rate", "taxable", "tax"];
        Table { name: "taxes", columns, rows, total: Some(total) }
    }

    fn total_table(&self) -> Table {
        let totals = &self.totals;
        let row = |word, amount| vec![Cell::Word(word), Cell::Money(amount)];
        let mut rows = vec![
            row("net", totals.net),
            row("tax", totals.tax),
            row("gross", totals.gross),
            row("paid", totals.paid),
        ];
        if totals.rounding != 0 {
            rows.push(row("rounding", totals.rounding));
        }
        let columns = vec!["name", "amount"];
        Table { name: "sums", columns, rows, total: Some(row("due", totals.due)) }
    }
}

fn item_word(item: InvoiceItem) -> &'static str {
    match item {
        InvoiceItem::Priced { reserved: true, .. } => "reservation",
        InvoiceItem::Priced { dimension, .. } => match dimension {
            Dimension::Energy => "energy",
            Dimension::Flat => "flat",
            Dimension::ParkingTime => "parking",
            Dimension::Time => "charging_time",
            Dimension::Limit => "limit",
        },
        InvoiceItem::Session => "session",
        InvoiceItem::Correction => "correction",
    }
}

fn document_head(document: &DocumentFacts) -> Vec<(&'static str, Cell)> {
    let original = document.original.as_ref();
    let day = |at| Cell::Day(at);
    vec![
        ("document", Cell::text(document.full_number())),
        ("issued", day(document.issued)),
        ("due_on", document.due.map_or(Cell::Blank, day)),
        ("original", Cell::maybe(original.map(|original| &*original.number))),
        ("original_issued", original.map_or(Cell::Blank, |original| day(original.issued))),
        ("period_from", Cell::Time(document.period.from)),
        ("period_until", Cell::Time(document.period.until)),
        ("seller", address(&document.seller)),
        ("seller_vat_id", Cell::maybe(document.seller.vat_id.as_deref())),
        ("seller_tax_number", Cell::maybe(document.seller.tax_number.as_deref())),
        ("buyer", address(&document.buyer)),
        ("buyer_vat_id", Cell::maybe(document.buyer.vat_id.as_deref())),
    ]
}

fn address(party: &LegalParty) -> Cell {
    let town = format!("{} {}", party.postal_code.as_deref().unwrap_or(""), party.city);
    let email = party.email.as_deref().unwrap_or("");
    let lines = [&party.name, &party.street, town.trim(), &party.country, email];
    let lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { Cell::Blank } else { Cell::text(lines.join("\n")) }
}

fn note(document: &DocumentFacts) -> Vec<Cell> {
    document.note.iter().map(|note| Cell::text(note.clone())).collect()
}

//! Documents of the settlement centre: reports, settlement statements, invoices, credit notes,
//! receipts, OCPI charge detail records and signed meter values.
//!
//! Pure: facts go in (`facts`), documents come out. No clock, no file, no float; whoever calls has
//! read the rows and the ledger. A document is only made when its sums are the ledger's; a mismatch
//! is an error, not a footnote.
//!
//! * [`facts`]: what goes in
//! * [`cdr()`]: OCPI charge detail records
//! * [`revenue_report`], [`settlement_statement`]: what was earned, and by whom
//! * [`invoice()`], [`receipt`], [`credit_note`]: what is paid for it
//! * [`ocmf`]: meter values signed by the meter
//! * [`Stored`]: documents as they are kept
//! * [`Printed`]: any of them as JSON, CSV or HTML

mod cdr;
mod check;
mod country;
mod decimal;
mod error;
pub mod facts;
mod invoice;
mod json;
pub mod ocmf;
mod print;
mod report;
mod settlement;
mod sheet;
mod stored;

pub use cdr::{Credit, OcpiVersion, cdr, credit_cdr};
pub use country::alpha3;
pub use error::StatementError;
pub use invoice::{
    CreditedSession, Invoice, InvoiceItem, InvoiceKind, InvoiceLine, InvoiceTotals, TaxBreakdown,
    TaxCode, TaxRate, credit_note, credit_sessions, invoice, receipt,
};
pub use report::{BookedTotals, GroupBy, RevenueReport, RevenueRow, revenue_report};
pub use settlement::{KindSum, PartnerSession, SettlementStatement, settlement_statement};
pub use sheet::{Language, Printed, Sheet};
pub use stored::{Stamp, Stored};

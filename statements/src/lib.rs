//! Documents of the settlement centre: reports, settlement statements, invoices, credit notes,
//! receipts, OCPI charge detail records and signed meter values.
//!
//! Pure: facts go in (`facts`), documents come out. No clock, no file, no float; whoever calls has
//! read the rows and the ledger. A document is only made when its sums are the ledger's; a mismatch
//! is an error, not a footnote.
//!
//! * [`facts`]: what goes in
//! * [`cdr`]: OCPI charge detail records

mod cdr;
mod check;
mod country;
mod decimal;
mod error;
pub mod facts;
mod json;

pub use cdr::{Credit, OcpiVersion, cdr, credit_cdr};
pub use country::alpha3;
pub use error::StatementError;

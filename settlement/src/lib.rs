//! Who gets what of a session: taxes, exchange rates, revenue contracts. Pure and in integers.
//!
//! Floors, each using only what stands below:
//!
//! * [`explain`]: a contract in words
//! * [`contract_text`]: contracts as people write them
//! * [`accrual`]: what a period came to, and what its terms settle at the end
//! * [`contract`]: the waterfall that splits the net revenue of one session
//! * [`tax_table`]: effective-dated rates, compiled in
//! * [`tax`]: which taxes a supply bears, and how much they are
//! * [`fx`]: one currency into another at a rate that has a name
//! * [`vat_id`], [`rounding`], [`jurisdiction`], [`share`], [`error`]: the words
//!
//! **Invariants**: parts always sum exactly to what was split; nothing is negative; the same input
//! gives the same output on every machine (no clock, file, float or hash order).

pub mod accrual;
pub mod contract;
pub mod contract_text;
pub mod error;
pub mod explain;
pub mod fx;
pub mod jurisdiction;
pub mod rounding;
pub mod share;
pub mod tax;
pub mod tax_table;
pub mod vat_id;

pub use accrual::{Accrual, Settlement, close_period};
pub use contract::{
    Base, PARTIES_MAX, PartyId, Purpose, RevenueContract, Rule, STEPS_MAX, Share, Step, TERMS_MAX,
    Term, split, split_into,
};
pub use contract_text::ContractText;
pub use error::SettlementError;
pub use explain::explain;
pub use fx::{Conversion, Rate, convert, cost_of};
pub use jurisdiction::{Country, Jurisdiction};
pub use rounding::{CashRounding, RoundingPolicy, Scope};
pub use tax::{
    Buyer, Charges, PartCharge, Priced, Supply, TaxCategory, TaxCharge, TaxLine, Treatment, apply,
    decide,
};
pub use tax_table::TaxTable;

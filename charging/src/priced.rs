//! Tariffs, contracts and rule books by the name their authors gave them.
//!
//! The row keeps the author's text beside what it was read as. Sites and sessions never refer to a
//! name: terms are put in force with a copy, by hash, so a text that is put again changes no price by
//! itself. Rows lie in the directory partition of their name.
//!
//! **Invariant:** a row's terms are what its text was read as, they can be put in force, and its hash is
//! theirs.

use crate::command::{Outcome, PutPriced, Refusal};
use crate::rows::{Keyspace, PricedRow, TermsRow, archive, priced_key};
use crate::state::State;

/// The longest text of a document.
pub const PRICED_BYTES_MAX: usize = 256 * 1024;

impl State {
    /// Keeps a text and what it says, instead of what had this name before.
    pub(crate) fn put_priced(&mut self, put: PutPriced) -> Result<Outcome, Refusal> {
        let PutPriced { id, format, source, terms } = put;
        let bad = |why: String| Refusal::BadTerms(why.chars().take(200).collect::<String>().into());
        if source.len() > PRICED_BYTES_MAX || format.len() > PRICED_BYTES_MAX {
            return Err(bad(format!("a text has at most {PRICED_BYTES_MAX} bytes")));
        }
        match &terms {
            TermsRow::Tariff(tariff) => tariff.check().map_err(|error| bad(error.to_string()))?,
            TermsRow::Contract(contract) => {
                contract.check().map_err(|error| bad(error.to_string()))?;
            }
            // There is no rule book that was not checked when it was read.
            TermsRow::Rules(_) => {}
        }
        let key = priced_key(terms.kind(), &id);
        if !self.priced.contains(&key) && self.priced.len() >= self.config.terms_max {
            return Err(Refusal::Full);
        }
        let row = PricedRow { id, format, source, hash: terms.hash(), terms, put: self.now() };
        self.append(Keyspace::Priced, &key, &archive(&row));
        self.priced.insert(key);
        Ok(Outcome::Done)
    }
}

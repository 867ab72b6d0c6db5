//! Per currency, the sums over all accounts: the running proof that debits equal credits.
//!
//! A total moves by what each single account's balance moved, one account at a time, never by
//! "the amount of the transfer": a step that moved only one side of a leg would show at once.

use novax_model::Currency;

use crate::account::Balances;

/// One row per currency in use, in order of code.
#[derive(Debug, Default)]
pub(crate) struct Totals(Vec<(Currency, Balances)>);

impl Totals {
    /// Records that an account of `currency` went from `before` to `after`. `None`, with nothing
    /// recorded, when a total would not fit.
    pub(crate) fn shift(
        &mut self,
        currency: Currency,
        before: &Balances,
        after: &Balances,
    ) -> Option<()> {
        let place = match self.0.binary_search_by_key(&currency, |(known, _)| *known) {
            Ok(place) => place,
            Err(place) => {
                self.0.insert(place, (currency, Balances::default()));
                place
            }
        };
        let (_, total) = self.0.get_mut(place)?;
        *total = total.shifted(before, after)?;
        Some(())
    }

    /// The first currency whose debits and credits differ.
    pub(crate) fn first_unbalanced(&self) -> Option<Currency> {
        self.0.iter().find(|(_, total)| !total.is_conserved()).map(|(currency, _)| *currency)
    }

    /// Whether both say the same; a currency that nothing moved in may be missing in either.
    pub(crate) fn is_same(&self, other: &Totals) -> bool {
        let moved = |(_, total): &&(Currency, Balances)| *total != Balances::default();
        self.0.iter().filter(moved).eq(other.0.iter().filter(moved))
    }

    /// Makes this a copy of `other`, without allocating once it has room.
    pub(crate) fn copy_from(&mut self, other: &Totals) {
        self.0.clone_from(&other.0);
    }
}

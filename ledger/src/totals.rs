//! Per currency, the sums over all accounts: the running proof that debits equal credits.
//!
//! A total moves by what each single account's balance moved, one account at a time, never by
//! "the amount of the transfer": a step that moved only one side of a leg would show at once.

use novax_model::Currency;

use crate::account::Balances;

/// One row per currency in use, in order of code.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    rows: Vec<(Currency, Balances)>,
    /// The row that was looked at last: most sets stay within one currency.
    last: usize,
}

impl Totals {
    /// Records that an account of `currency` went from `before` to `after`. `None` when a total would
    /// not fit: then the totals are of no use any more.
    #[inline]
    pub(crate) fn shift(
        &mut self,
        currency: Currency,
        before: &Balances,
        after: &Balances,
    ) -> Option<()> {
        if self.rows.get(self.last).is_none_or(|(known, _)| *known != currency) {
            self.look_at(currency);
        }
        let (_, total) = self.rows.get_mut(self.last)?;
        total.shift(before, after)
    }

    fn look_at(&mut self, currency: Currency) {
        self.last = match self.rows.binary_search_by_key(&currency, |(known, _)| *known) {
            Ok(place) => place,
            Err(place) => {
                self.rows.insert(place, (currency, Balances::default()));
                place
            }
        };
    }

    /// The first currency whose debits and credits differ.
    pub(crate) fn first_unbalanced(&self) -> Option<Currency> {
        self.rows.iter().find(|(_, total)| !total.is_conserved()).map(|(currency, _)| *currency)
    }

    /// Whether both say the same; a currency that nothing moved in may be missing in either.
    pub(crate) fn is_same(&self, other: &Totals) -> bool {
        let moved = |(_, total): &&(Currency, Balances)| *total != Balances::default();
        self.rows.iter().filter(moved).eq(other.rows.iter().filter(moved))
    }

    /// Makes this a copy of `other`, without allocating once it has room.
    pub(crate) fn copy_from(&mut self, other: &Totals) {
        self.rows.clone_from(&other.rows);
        self.last = other.last;
    }
}

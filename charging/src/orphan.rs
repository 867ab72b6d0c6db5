//! Energy that flowed without a hold (windows 5 and 6): a transaction was refused and the station
//! delivered all the same.
//!
//! Who is known and would have had to pay owes it; otherwise a person looks at it.

use crate::command::Refusal;
use crate::price::Flow;
use crate::refusal::refusal_of_text;
use crate::rows::{Charges, Payer, SessionRow};
use crate::state::State;
use novax_model::WattHours;

impl State {
    /// Bills what a refused transaction delivered, where its card's owner is known here.
    pub(crate) fn bill_orphan(&mut self, row: &mut SessionRow) {
        let energy = row.energy();
        if energy == WattHours(0) {
            return;
        }
        let id = row.session;
        match self.charge_orphan(row) {
            Ok(()) => {
                let text = format!("session {id}: {energy} delivered without a hold, charged");
                self.except(&row.identity, &text);
            }
            Err(why) => {
                let text =
                    format!("session {id}: {energy} delivered without a hold, not billed: {why}");
                self.except(&row.identity, &text);
            }
        }
    }

    fn charge_orphan(&mut self, row: &mut SessionRow) -> Result<(), String> {
        let refusal = refusal_of_text(&row.reason);
        if !matches!(refusal, Refusal::InsufficientFunds { .. } | Refusal::DriverBlocked) {
            return Err("nobody is known to owe it".to_owned());
        }
        let owner = self.tokens.get(&row.token).map(|token| &token.driver);
        let driver = owner.and_then(|owner| self.drivers.get(owner));
        let Some(driver) = driver.filter(|driver| driver.currency == row.deal.currency) else {
            return Err("its card's owner is not known here".to_owned());
        };
        (row.driver, row.payer) = (Some(driver.driver.clone()), Payer::Local(driver.wallet));
        self.reprice_row(row, Flow::ends(row.ended), true);
        match self.settle(row) {
            Ok(owed) => {
                row.owed = owed;
                self.counters.count_ended(row);
                Ok(())
            }
            Err(error) => {
                (row.driver, row.payer) = (None, Payer::None);
                row.charges = Charges::default();
                Err(error)
            }
        }
    }
}

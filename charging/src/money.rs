//! Holds and bills, as linked sets of the ledger.
//!
//! A session has at most one hold at a time: raising it voids the old one and places a larger one
//! in the same set. So settlement is always a handful of legs, however long the charge.
//!
//! **Invariants**: a hold is resolved by its session's one release or one settlement; clearing with
//! itself is back at zero after every set.

use crate::accounts::{Name, Purpose};
use crate::command::{PeerCommand, Refusal};
use crate::rows::{Payer, SessionRow};
use crate::state::State;
use novax_ledger::{Code, HoldId, LedgerError, Leg, Opening, Posted, Stamp};
use novax_model::{
    AccountId, Amount, Currency, Identity, PartitionId, SessionId, Timestamp, TransferKey,
};

/// Where a session's hold lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HoldPlace {
    /// [`Purpose::Hold`] or [`Purpose::PeerHold`].
    pub(crate) purpose: Purpose,
    pub(crate) session: SessionId,
    /// How many were placed so far; the last one stands.
    pub(crate) holds: u32,
    /// What stands.
    pub(crate) held: Amount,
}

impl State {
    /// The account of a name, opened on first use.
    ///
    /// # Errors
    /// [`Refusal::KeyReused`] when two names meet in one id: nothing can be booked there.
    pub(crate) fn open(
        &mut self,
        name: Name<'_>,
        currency: Currency,
    ) -> Result<AccountId, Refusal> {
        let id = name.id(currency);
        let now = self.now();
        if self.ledger.account(id).is_none() {
            self.ledger
                .open_account(now, Opening::new(id, &name.text(), currency, name.limit()))
                .map_err(|_| Refusal::KeyReused)?;
        }
        Ok(id)
    }

    /// Where and when the ledger books: the entry being applied.
    pub(crate) fn stamp(&self, effective_at: Timestamp) -> Stamp {
        Stamp { index: self.meta.applied_index, at: self.now(), effective_at }
    }

    pub(crate) fn available(&self, wallet: AccountId) -> Amount {
        self.ledger.account(wallet).map_or(0, novax_ledger::Account::available)
    }

    fn clearing_with_self(&self) -> Name<'static> {
        Name::Clearing(self.config.partition)
    }

    /// The hold that stands, if any: placed alone it is leg 0, as a raise it is leg 1.
    fn standing_hold(&self, place: HoldPlace) -> Option<HoldId> {
        let key = place.purpose.key(place.session, place.holds.checked_sub(1)?);
        [1, 0].map(|leg| HoldId { key, leg }).into_iter().find(|id| self.ledger.hold(*id).is_some())
    }

    /// Holds `more` beyond what stands; refused, it leaves what stands.
    pub(crate) fn hold_more(
        &mut self,
        place: HoldPlace,
        more: Amount,
        wallet: AccountId,
        clearing: AccountId,
    ) -> Result<(), Refusal> {
        let available = self.available(wallet);
        if available < more {
            return Err(Refusal::InsufficientFunds { available, required: more });
        }
        if more == 0 {
            return Ok(());
        }
        let key = place.purpose.key(place.session, place.holds);
        let standing = self.standing_hold(place);
        let code = if place.holds == 0 { Code::Hold } else { Code::HoldRaise };
        let amount = if standing.is_some() { place.held + more } else { more };
        let hold =
            Leg::Hold { debit: wallet, credit: clearing, amount, code, expires: Timestamp::MAX };
        let stamp = self.stamp(self.now());
        let posted = match standing {
            Some(old) => {
                let void = Leg::VoidHold { hold: old, code: Code::HoldRaise };
                self.ledger.post(stamp, key, &[void, hold])
            }
            None => self.ledger.post(stamp, key, &[hold]),
        };
        match posted.map(|receipt| receipt.posted) {
            Ok(Posted::New) => Ok(()),
            // The session's id was used before, longer ago than finished sessions are remembered.
            Ok(Posted::Repeat) | Err(LedgerError::KeyReused(_)) => Err(Refusal::KeyReused),
            Err(LedgerError::LimitExceeded { available, required, .. }) => {
                Err(Refusal::InsufficientFunds { available, required })
            }
            Err(_) => Err(Refusal::Full),
        }
    }

    /// Gives back what stands.
    pub(crate) fn void_hold(&mut self, place: HoldPlace, key: TransferKey) {
        let Some(hold) = self.standing_hold(place) else { return };
        let stamp = self.stamp(self.now());
        let posted = self.ledger.post(stamp, key, &[Leg::VoidHold { hold, code: Code::Release }]);
        let posted = posted.map(|receipt| receipt.posted);
        assert_eq!(posted, Ok(Posted::New), "a standing hold can be voided, once");
    }

    /// The hold for a session of this partition's own driver.
    pub(crate) fn hold_local(
        &mut self,
        place: HoldPlace,
        more: Amount,
        wallet: AccountId,
        currency: Currency,
    ) -> Result<(), Refusal> {
        let clearing = self.open(self.clearing_with_self(), currency)?;
        self.hold_more(place, more, wallet, clearing)
    }

    /// What was held for a session that does not bill goes back, here or at the payer's partition.
    pub(crate) fn release_money(&mut self, row: &SessionRow) {
        match row.payer {
            Payer::Local(_) => self.void_hold(place_of(row), Purpose::Release.key(row.session, 0)),
            Payer::Remote(to) => {
                self.queue_peer(to, PeerCommand::ReleaseHold { session: row.session });
            }
            Payer::None => {}
        }
    }

    /// Books the bill of a session in one linked set.
    ///
    /// # Errors
    /// In words, when nothing was booked; that takes a session id used twice.
    pub(crate) fn settle(&mut self, row: &SessionRow) -> Result<(), String> {
        let currency = row.deal.currency;
        let total = row.charges.total();
        let mut legs = Vec::with_capacity(6);
        let clearing = match row.payer {
            Payer::Local(wallet) => {
                let clearing = self
                    .open(self.clearing_with_self(), currency)
                    .map_err(|refusal| words(&refusal))?;
                let owed_by = row.driver.as_ref();
                self.take_legs(place_of(row), wallet, owed_by, clearing, total, &mut legs)?;
                clearing
            }
            Payer::Remote(payer) => {
                self.open(Name::Clearing(payer), currency).map_err(|refusal| words(&refusal))?
            }
            Payer::None => return Ok(()),
        };
        self.share_legs(row, clearing, &mut legs)?;
        if legs.is_empty() {
            return Ok(());
        }
        let key = Purpose::Settle.key(row.session, 0);
        self.post_new(row.ended, key, &legs)
    }

    /// Books what another partition's session cost a driver of ours. Says what the wallet gave.
    ///
    /// # Errors
    /// In words, when nothing was booked.
    pub(crate) fn capture(
        &mut self,
        place: HoldPlace,
        payer: (AccountId, &Identity, Currency),
        station: PartitionId,
        total: Amount,
    ) -> Result<Amount, String> {
        let (wallet, driver, currency) = payer;
        let clearing =
            self.open(Name::Clearing(station), currency).map_err(|refusal| words(&refusal))?;
        let mut legs = Vec::with_capacity(2);
        let taken = self.take_legs(place, wallet, Some(driver), clearing, total, &mut legs)?;
        if !legs.is_empty() {
            self.post_new(self.now(), Purpose::Capture.key(place.session, 0), &legs)?;
        }
        Ok(taken)
    }

    /// Legs that bring `total` to `clearing`: from the hold as far as it goes, the rest is owed.
    fn take_legs(
        &mut self,
        place: HoldPlace,
        wallet: AccountId,
        driver: Option<&Identity>,
        clearing: AccountId,
        total: Amount,
        legs: &mut Vec<Leg>,
    ) -> Result<Amount, String> {
        let mut taken = 0;
        if let Some(hold) = self.standing_hold(place) {
            let held = self.ledger.hold(hold).map_or(0, |hold| hold.amount);
            assert_eq!(held, place.held, "the row knows what is held");
            taken = held.min(total);
            legs.push(if taken == 0 {
                Leg::VoidHold { hold, code: Code::Release }
            } else {
                Leg::PostHold { hold, amount: taken, code: Code::Energy }
            });
        }
        let owed = total - taken;
        if owed > 0 {
            let currency = self.ledger.account(wallet).map(|account| account.currency);
            let (Some(currency), Some(driver)) = (currency, driver) else {
                return Err("nobody owes the rest".to_owned());
            };
            let debit =
                self.open(Name::Receivable(driver), currency).map_err(|refusal| words(&refusal))?;
            legs.push(Leg::Post { debit, credit: clearing, amount: owed, code: Code::Receivable });
        }
        Ok(taken)
    }

    /// Legs that pass what came to `clearing` on to those who earned it.
    fn share_legs(
        &mut self,
        row: &SessionRow,
        clearing: AccountId,
        legs: &mut Vec<Leg>,
    ) -> Result<(), String> {
        let contract = self.terms.contract(row.deal.contract);
        let base = Base {
            gross: row.charges.total(),
            net: row.charges.net(),
            energy_wh: row.energy().0,
        };
        let shares = contract.split(&base);
        let shared: Amount = shares.iter().map(|share| share.amount).sum();
        assert_eq!(shared, row.charges.net(), "a split loses nothing");
        let taxed: Amount = row.charges.taxes.iter().map(|tax| tax.amount).sum();
        assert_eq!(taxed, row.charges.tax, "a tax goes to somebody");
        let currency = row.deal.currency;
        let mut pass_on = |state: &mut State, name: Name<'_>, amount, code| {
            if amount == 0 {
                return Ok(());
            }
            let credit = state.open(name, currency).map_err(|refusal| words(&refusal))?;
            legs.push(Leg::Post { debit: clearing, credit, amount, code });
            Ok::<(), String>(())
        };
        for share in &shares {
            pass_on(self, Name::Party(&share.party), share.amount, code_of(share.purpose))?;
        }
        for tax in &row.charges.taxes {
            pass_on(self, Name::Tax(&row.deal.jurisdiction, &tax.name), tax.amount, Code::Tax)?;
        }
        Ok(())
    }

    fn post_new(
        &mut self,
        effective_at: Timestamp,
        key: TransferKey,
        legs: &[Leg],
    ) -> Result<(), String> {
        let stamp = self.stamp(effective_at);
        match self.ledger.post(stamp, key, legs).map(|receipt| receipt.posted) {
            Ok(Posted::New) => Ok(()),
            Ok(Posted::Repeat) => Err("the same was booked before".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Where the hold of a session of this partition lies.
pub(crate) fn place_of(row: &SessionRow) -> HoldPlace {
    HoldPlace { purpose: Purpose::Hold, session: row.session, holds: row.holds, held: row.held }
}

fn words(refusal: &Refusal) -> String {
    crate::refusal::refusal_text(refusal).into()
}

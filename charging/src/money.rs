//! Holds and bills, as linked sets of the ledger.
//!
//! A session has at most one hold at a time: raising it voids the old one and places a larger one
//! in the same set. So settlement is always a handful of legs, however long the charge.
//!
//! **Invariants**: a hold is resolved by its session's one release or one settlement, or it runs out;
//! clearing with itself is back at zero after every set; a bill that cannot be booked holds nothing.

use crate::accounts::{Name, Purpose, receivable_id};
use crate::command::{PeerCommand, Refusal};
use crate::document::Billing;
use crate::fx::held_in_wallet;
use crate::rows::{Charges, Payer, PayerSessionRow, SessionRow};
use crate::state::State;
use novax_ledger::{Code, HoldId, LedgerError, Leg, Limit, Opening, Posted, Stamp};
use novax_model::{
    AccountId, Amount, Currency, Identity, PartitionId, SessionId, Timestamp, TransferKey,
    WattHours,
};
use novax_settlement::{Base, Purpose as ShareOf, split};

/// Where a session's hold lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HoldPlace {
    /// [`Purpose::Hold`] or [`Purpose::PeerHold`].
    pub(crate) purpose: Purpose,
    pub(crate) session: SessionId,
    /// How many keys of holds were used so far; the last one's hold stands.
    pub(crate) holds: u32,
    /// What stands, in the wallet's currency.
    pub(crate) held: Amount,
}

/// So many releases of sessions with the same id are told apart.
const RELEASE_KEYS_MAX: u32 = 16;

/// Whose money it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Debtor<'a> {
    pub(crate) wallet: AccountId,
    pub(crate) driver: Option<&'a Identity>,
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
        let text = name.text();
        if let Some(known) = self.ledger.account(id) {
            let same = *known.name == *text && known.currency == currency;
            return if same { Ok(id) } else { Err(Refusal::KeyReused) };
        }
        let opening = Opening {
            has_history: name.has_history(),
            is_personal: name.is_personal(),
            ..Opening::new(id, &text, currency, name.limit())
        };
        self.ledger.open_account(self.meta.time, opening).map_err(|_| Refusal::KeyReused)?;
        if let Name::Receivable(driver, id) = name {
            self.debts.entry(driver.clone()).or_default().insert(currency, id);
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

    pub(crate) fn clearing_with_self(&self) -> Name<'static> {
        Name::Clearing(self.config.partition)
    }

    /// The hold that stands, if any: placed alone it is leg 0, as a raise it is leg 1. One whose time
    /// is over stands no more, whether or not the ledger has swept it.
    pub(crate) fn standing_hold(&self, place: HoldPlace) -> Option<HoldId> {
        let key = place.purpose.key(place.session, place.holds.checked_sub(1)?);
        let stands =
            |id: &HoldId| self.ledger.hold(*id).is_some_and(|hold| hold.expires > self.now());
        [1, 0].map(|leg| HoldId { key, leg }).into_iter().find(stands)
    }

    /// When a hold placed now runs out.
    pub(crate) fn hold_expiry(&self) -> Timestamp {
        self.now().saturating_add(self.config.hold_lifetime)
    }

    /// Holds `more` beyond what stands; refused, it leaves what stands.
    pub(crate) fn hold_more(
        &mut self,
        place: HoldPlace,
        more: Amount,
        wallet: AccountId,
        clearing: AccountId,
    ) -> Result<(), Refusal> {
        if more == 0 {
            return Ok(());
        }
        self.place_hold_anew(place, place.held + more, wallet, clearing)
    }

    /// Puts a hold of `amount` in the place of what stands, with its whole time to live. Refused, it
    /// leaves what stands.
    pub(crate) fn place_hold_anew(
        &mut self,
        place: HoldPlace,
        amount: Amount,
        wallet: AccountId,
        clearing: AccountId,
    ) -> Result<(), Refusal> {
        let standing = self.standing_hold(place);
        let stands = standing.and_then(|id| self.ledger.hold(id)).map_or(0, |hold| hold.amount);
        let (available, required) = (self.available(wallet), amount.saturating_sub(stands));
        // A payment provider's account has no limit: its own word is the limit.
        let is_limited =
            self.ledger.account(wallet).is_none_or(|account| account.limit != Limit::None);
        if is_limited && available < required {
            return Err(Refusal::InsufficientFunds { available, required });
        }
        let key = place.purpose.key(place.session, place.holds);
        let code = if place.holds == 0 { Code::Hold } else { Code::HoldRaise };
        let expires = self.hold_expiry();
        let hold = Leg::Hold { debit: wallet, credit: clearing, amount, code, expires };
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

    /// Gives back what stands. `number` is the first to try for the set's key: one that an earlier
    /// session of the same id has used is passed over.
    pub(crate) fn void_hold(&mut self, place: HoldPlace, purpose: Purpose, number: u32) {
        let Some(hold) = self.standing_hold(place) else { return };
        let stamp = self.stamp(self.now());
        let legs = [Leg::VoidHold { hold, code: Code::Release }];
        let is_voided = (number..number.saturating_add(RELEASE_KEYS_MAX)).any(|number| {
            let key = purpose.key(place.session, number);
            self.ledger.post(stamp, key, &legs).is_ok_and(|receipt| receipt.is_new())
        });
        assert!(is_voided, "a standing hold can be voided, once");
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
            Payer::Local(_) => self.void_hold(place_of(row), Purpose::Release, 0),
            Payer::Remote(to) => {
                let (session, attempt) = (row.session, row.hold_attempt);
                self.queue_peer(to, PeerCommand::ReleaseHold { session, attempt });
            }
            Payer::Card(_) => {
                self.void_hold(place_of(row), Purpose::Release, 0);
                self.give_back(row.session);
            }
            Payer::None => {}
        }
    }

    /// Books the bill of a session in one linked set. Says what the driver owes of it here.
    ///
    /// # Errors
    /// In words, when nothing was booked; that takes a session id used twice.
    pub(crate) fn settle(&mut self, row: &SessionRow) -> Result<Amount, String> {
        let currency = row.deal.currency;
        let total = row.charges.total();
        let mut legs = Vec::with_capacity(8);
        let mut owed = 0;
        let clearing = match row.payer {
            Payer::Local(wallet) => {
                let debtor = Debtor { wallet, driver: row.driver.as_ref() };
                let (place, money) = (place_of(row), (currency, row.deal.fx.as_ref()));
                let name = self.clearing_with_self();
                let (clearing, rest) = self.bring(place, debtor, name, money, total, &mut legs)?;
                owed = rest;
                clearing
            }
            Payer::Remote(payer) => {
                self.open(Name::Clearing(payer), currency).map_err(|refusal| words(&refusal))?
            }
            Payer::Card(psp) => {
                let clearing = self
                    .open(self.clearing_with_self(), currency)
                    .map_err(|refusal| words(&refusal))?;
                let debtor = Debtor { wallet: psp, driver: row.driver.as_ref() };
                owed = self.card_legs(place_of(row), debtor, clearing, total, &mut legs)?;
                clearing
            }
            Payer::None => return Ok(0),
        };
        self.share_legs(row, clearing, &mut legs)?;
        if !legs.is_empty() {
            self.post_new(row.ended, Purpose::Settle.key(row.session, 0), &legs)?;
            self.note_booking(row.session, Billing::Bill, 0);
        }
        self.accrue(row);
        self.note_owed(row.session, row.driver.as_ref(), owed);
        Ok(owed)
    }

    /// Window 20: what neither hold nor wallet gave is shown to a person.
    pub(crate) fn note_owed(
        &mut self,
        session: SessionId,
        driver: Option<&Identity>,
        owed: Amount,
    ) {
        if driver.is_some() && owed > 0 {
            let text = format!("session {session}: its driver owes {owed} that no wallet gave");
            self.except_driver(&text);
        }
    }

    /// Books what another partition's session cost a driver of ours. Says what of it is owed, in the
    /// wallet's currency.
    ///
    /// # Errors
    /// In words, when nothing was booked.
    pub(crate) fn capture(
        &mut self,
        place: HoldPlace,
        row: &PayerSessionRow,
        station: PartitionId,
        total: Amount,
    ) -> Result<Amount, String> {
        let mut legs = Vec::with_capacity(6);
        let debtor = Debtor { wallet: row.wallet, driver: Some(&row.driver) };
        let (name, money) = (Name::Clearing(station), (row.bill_currency(), row.fx.as_ref()));
        let (_, owed) = self.bring(place, debtor, name, money, total, &mut legs)?;
        if !legs.is_empty() {
            self.post_new(self.now(), Purpose::Capture.key(place.session, 0), &legs)?;
        }
        self.note_owed(place.session, Some(&row.driver), owed);
        Ok(owed)
    }

    /// Legs that bring `total` to `clearing`: from the hold as far as it goes, then from what else is
    /// in the wallet; the rest is owed. Says what hold and wallet gave.
    pub(crate) fn take_legs(
        &mut self,
        place: HoldPlace,
        debtor: Debtor<'_>,
        clearing: AccountId,
        total: Amount,
        legs: &mut Vec<Leg>,
    ) -> Result<Amount, String> {
        let taken = self.hold_legs(place, total, Code::Energy, legs);
        Ok(taken + self.charge_legs(debtor, clearing, total - taken, legs)?)
    }

    /// The leg that takes of a standing hold as much of `total` as it gives. Says how much.
    fn hold_legs(
        &self,
        place: HoldPlace,
        total: Amount,
        code: Code,
        legs: &mut Vec<Leg>,
    ) -> Amount {
        let Some(hold) = self.standing_hold(place) else { return 0 };
        let held = self.ledger.hold(hold).map_or(0, |hold| hold.amount);
        assert_eq!(held, place.held, "the row knows what is held");
        let taken = held.min(total);
        legs.push(if taken == 0 {
            Leg::VoidHold { hold, code: Code::Release }
        } else {
            Leg::PostHold { hold, amount: taken, code }
        });
        taken
    }

    /// Legs that bring `total` to `clearing`: from what a card's provider reserved as far as it goes,
    /// the rest is owed. Says what is owed.
    fn card_legs(
        &mut self,
        place: HoldPlace,
        debtor: Debtor<'_>,
        clearing: AccountId,
        total: Amount,
        legs: &mut Vec<Leg>,
    ) -> Result<Amount, String> {
        let taken = self.hold_legs(place, total, Code::PspCapture, legs);
        let owed = total - taken;
        if owed > 0 {
            let debit = self.receivable(debtor)?;
            legs.push(Leg::Post { debit, credit: clearing, amount: owed, code: Code::Receivable });
        }
        Ok(owed)
    }

    /// Legs that bring `total` to `clearing` without a hold: from the wallet as far as it goes, the
    /// rest is owed. Says what the wallet gave.
    pub(crate) fn charge_legs(
        &mut self,
        debtor: Debtor<'_>,
        clearing: AccountId,
        total: Amount,
        legs: &mut Vec<Leg>,
    ) -> Result<Amount, String> {
        let Debtor { wallet, driver } = debtor;
        let taken = self.available(wallet).min(total);
        if taken > 0 {
            let (debit, credit, code) = (wallet, clearing, Code::Energy);
            legs.push(Leg::Post { debit, credit, amount: taken, code });
        }
        let owed = total - taken;
        if owed > 0 {
            let debit = self.receivable(Debtor { wallet, driver })?;
            legs.push(Leg::Post { debit, credit: clearing, amount: owed, code: Code::Receivable });
        }
        Ok(taken)
    }

    /// Where what a driver owes is booked.
    pub(crate) fn receivable(&mut self, debtor: Debtor<'_>) -> Result<AccountId, String> {
        let currency = self.ledger.account(debtor.wallet).map(|account| account.currency);
        let (Some(currency), Some(driver)) = (currency, debtor.driver) else {
            return Err("nobody owes the rest".to_owned());
        };
        self.debts_of(driver, currency)
    }

    /// The account of what a driver owes: of one who is at home here, or of one whose card has paid here.
    pub(crate) fn debts_of(
        &mut self,
        driver: &Identity,
        currency: Currency,
    ) -> Result<AccountId, String> {
        if let Some(id) = self.debts.get(driver).and_then(|debts| debts.get(&currency)) {
            return Ok(*id);
        }
        let Some(row) = self.drivers.get(driver) else {
            return Err("nobody knows the account of its driver's debts".to_owned());
        };
        let id = receivable_id(&row.salt, driver, currency);
        self.open(Name::Receivable(driver, id), currency).map_err(|refusal| words(&refusal))
    }

    /// Legs that pass what came to `clearing` on to those who earned it.
    fn share_legs(
        &mut self,
        row: &SessionRow,
        clearing: AccountId,
        legs: &mut Vec<Leg>,
    ) -> Result<(), String> {
        for part in self.shares(row, &row.charges, row.energy()) {
            let name = Name::Party(&part.name);
            let credit = self.open(name, row.deal.currency).map_err(|refusal| words(&refusal))?;
            let (amount, code) = (part.amount, part.code);
            legs.push(Leg::Post { debit: clearing, credit, amount, code });
        }
        Ok(())
    }

    pub(crate) fn post_new(
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

/// What one account earns of a bill.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The account, before its currency.
    pub(crate) name: Box<str>,
    pub(crate) amount: Amount,
    pub(crate) code: Code,
}

impl State {
    /// Who gets what of a bill: the parties of the contract share the net sum, taxes go where they are
    /// due. Nothing of nothing is left out.
    pub(crate) fn shares(
        &self,
        row: &SessionRow,
        charges: &Charges,
        energy: WattHours,
    ) -> Vec<Part> {
        let contract = self.terms.contract(row.deal.contract);
        let (gross, net) = (charges.total(), charges.net());
        let roaming = false;
        let shares = split(&contract, &Base::new(gross, net, energy, roaming));
        let mut parts: Vec<Part> = Vec::with_capacity(shares.len() + charges.taxes.len());
        for share in shares {
            let code = code_of(share.purpose);
            let party = contract.party(share.party).expect("a checked contract names them");
            parts.push(Part { name: party.as_str().into(), amount: share.amount, code });
        }
        for tax in &charges.taxes {
            let name = crate::accounts::tax_name(&row.deal.jurisdiction, &tax.name);
            parts.push(Part { name: name.into(), amount: tax.amount, code: Code::Tax });
        }
        parts.retain(|part| part.amount > 0);
        let sum: Amount = parts.iter().map(|part| part.amount).sum();
        assert_eq!(sum, gross, "a split loses nothing");
        parts
    }
}

/// The books' word for why a party has its share.
fn code_of(purpose: ShareOf) -> Code {
    match purpose {
        ShareOf::Operator => Code::OperatorShare,
        ShareOf::SiteHost => Code::SiteHostShare,
        ShareOf::Electricity => Code::SupplierShare,
        ShareOf::Grid => Code::GridFee,
        ShareOf::Platform => Code::PlatformShare,
        ShareOf::Roaming => Code::RoamingShare,
        ShareOf::Payment => Code::PspFee,
        ShareOf::Partner => Code::PartnerShare,
    }
}

/// Where the hold of a session of this partition lies.
pub(crate) fn place_of(row: &SessionRow) -> HoldPlace {
    let held = held_in_wallet(row.deal.fx.as_ref(), row.held);
    HoldPlace { purpose: Purpose::Hold, session: row.session, holds: row.holds, held }
}

pub(crate) fn words(refusal: &Refusal) -> String {
    crate::refusal::refusal_text(refusal).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PartitionConfig;

    #[test]
    fn two_names_that_meet_in_one_id_are_not_one_account() {
        let mut state = State::new(PartitionConfig::default());
        let (alice, bob) = (Identity::new("alice").unwrap(), Identity::new("bob").unwrap());
        let id = AccountId(7);
        assert_eq!(state.open(Name::Driver(&bob, id), Currency::EUR), Ok(id));
        let opened = state.open(Name::Driver(&alice, id), Currency::EUR);
        assert_eq!(opened, Err(Refusal::KeyReused), "bob's money is not alice's");
        assert_eq!(state.open(Name::Driver(&bob, id), Currency::EUR), Ok(id));
    }
}

//! A driver is forgotten: name, tokens, card and salt leave every row; what was charged and booked
//! stays.
//!
//! Rows of sessions say [`erased_name`] in place of the name: the salted commitment that is the
//! wallet's id. Without its salt, which goes last, it leads to nobody. What an auditor checks has
//! never held anything but such ids, so no leaf of the tree changes.
//!
//! The rows of sessions that are over lie in the store, where `apply` cannot read: they come with the
//! command. **Invariants**: nobody is forgotten who has something open, held, in the wallet or owed;
//! a row is only overwritten if it is as it was read; each step may come again, and a repetition
//! changes nothing more; a driver is gone from the home partition last.

use crate::command::{EraseDriver, Erasure, Outcome, Refusal, erased_name};
use crate::finished::Past;
use crate::payment::{PaymentRow, payment_key};
use crate::rows::{
    DirectoryKind, DriverRow, Keyspace, PayerSessionRow, SessionRow, SessionState, archive,
};
use crate::state::State;
use novax_ledger::{Account, NAME_ERASED};
use novax_model::{AccountId, Currency, Identity, PartitionId, SessionId, Timestamp, TokenUid};
use std::collections::BTreeMap;

/// The most rows that come with one command.
pub const ERASED_ROWS_MAX: usize = 1_000;

/// Stands where a token or a card was.
const ERASED: &str = "erased";

/// Rows that came with a command.
struct Brought {
    sessions: Vec<SessionRow>,
    payers: Vec<PayerSessionRow>,
    payments: Vec<PaymentRow>,
}

impl EraseDriver {
    /// Whether a session's row names the driver, or shows a token of theirs.
    #[must_use]
    pub fn is_of(&self, row: &SessionRow) -> bool {
        row.driver.as_ref() == Some(&self.driver) || self.tokens.contains(&row.token)
    }

    /// The row without its driver. An estimate stands: nobody is left to pay another bill.
    fn forgotten(&self, mut row: SessionRow) -> SessionRow {
        assert!(self.is_of(&row), "checked when it came");
        if row.driver.as_ref() == Some(&self.driver) {
            row.driver = Some(erased_name(self.wallet));
        }
        row.token = TokenUid::new(ERASED).expect("printable ASCII");
        row.estimated = false;
        if row.state == SessionState::Refused && row.ended == Timestamp::ZERO {
            row.ended = row.heard.max(Timestamp(1));
        }
        row
    }
}

impl State {
    /// A step of forgetting a driver.
    pub(crate) fn erase_driver(&mut self, mut erase: EraseDriver) -> Result<Outcome, Refusal> {
        let home = self.drivers.get(&erase.driver);
        if home.is_some_and(|row| row.wallet != erase.wallet) {
            return Err(Refusal::KeyReused);
        }
        self.check_nothing_open(&erase)?;
        match std::mem::replace(&mut erase.step, Erasure::Check) {
            Erasure::Check => {
                if let Some(row) = home.filter(|row| !row.blocked).cloned() {
                    self.put_driver_row(DriverRow { blocked: true, ..row });
                }
            }
            Erasure::Forget { read_at, sessions, payers, payments } => {
                if read_at < self.meta.late_change {
                    return Err(Refusal::Stale);
                }
                let rows = Brought { sessions, payers, payments };
                self.check_rows(&erase, &rows)?;
                self.forget_rows(&erase, rows);
                self.erase_names(&erase);
            }
            Erasure::Finish => {
                self.erase_names(&erase);
                if let Some(row) = self.remove_driver_row(&erase.driver) {
                    row.tokens.iter().for_each(|token| self.remove_token_row(token));
                }
            }
        }
        Ok(Outcome::Done)
    }

    /// Forgets where the rows of an id live, unless that is elsewhere.
    pub(crate) fn remove_directory(
        &mut self,
        kind: DirectoryKind,
        id: &str,
        home: PartitionId,
    ) -> Result<Outcome, Refusal> {
        let known = self.directory[kind as usize].get(id).map(|row| row.home);
        if known.is_some_and(|known| known != home) {
            return Err(Refusal::KeyReused);
        }
        self.remove_directory_row(kind, id);
        Ok(Outcome::Done)
    }

    fn check_nothing_open(&self, erase: &EraseDriver) -> Result<(), Refusal> {
        let refuse = |words: String| Err(Refusal::NotErasable(words.into()));
        let driver = &erase.driver;
        let open = self.sessions.sorted().map(|session| &session.row);
        if let Some(row) = open.into_iter().find(|row| erase.is_of(row)) {
            return refuse(format!("session {} is {}", row.session, row.state.as_str()));
        }
        let held = |row: &&PayerSessionRow| row.captured.is_none() && !row.released;
        if let Some(row) = self.payers.sorted().filter(held).find(|row| row.driver == *driver) {
            return refuse(format!("money is held for session {}", row.session));
        }
        let mut waiting = self.cards.values().flatten();
        if let Some(row) = waiting.find(|row| row.driver == *driver) {
            return refuse(format!("session {} waits for its payment provider", row.session));
        }
        match self.accounts_of(erase).into_iter().find_map(unsettled) {
            Some(words) => refuse(words),
            None => Ok(()),
        }
    }

    /// The wallet, if it is here, and what is owed here.
    fn accounts_of(&self, erase: &EraseDriver) -> Vec<&Account> {
        let debts = self.debts.get(&erase.driver).into_iter().flat_map(BTreeMap::values);
        let ids = std::iter::once(&erase.wallet).chain(debts);
        ids.filter_map(|id| self.ledger.account(*id)).collect()
    }

    fn check_rows(&self, erase: &EraseDriver, rows: &Brought) -> Result<(), Refusal> {
        if rows.sessions.len() + rows.payers.len() + rows.payments.len() > ERASED_ROWS_MAX {
            return Err(Refusal::Full);
        }
        let of_driver = |driver: &Identity| *driver == erase.driver;
        let are_theirs = rows.sessions.iter().all(|row| erase.is_of(row))
            && rows.payers.iter().all(|row| of_driver(&row.driver))
            && rows.payments.iter().all(|row| of_driver(&row.driver));
        if are_theirs { Ok(()) } else { Err(Refusal::KeyReused) }
    }

    fn forget_rows(&mut self, erase: &EraseDriver, rows: Brought) {
        let name = erased_name(erase.wallet);
        // What memory has is as new as what was read, or newer: none changed since.
        let mut sessions: BTreeMap<SessionId, SessionRow> = BTreeMap::new();
        let awaited = self.stations.iter().flat_map(|station| station.past.awaiting());
        let awaited = awaited.map(|(_, row)| row).filter(|row| erase.is_of(row)).cloned();
        for row in rows.sessions.into_iter().chain(awaited) {
            sessions.insert(row.session, row);
        }
        for (_, row) in sessions {
            self.rewrite_finished(erase.forgotten(row));
        }
        let mut payers: BTreeMap<SessionId, PayerSessionRow> = BTreeMap::new();
        let known = self.payers.sorted().filter(|row| row.driver == erase.driver).cloned();
        for row in rows.payers.into_iter().chain(known) {
            payers.insert(row.session, row);
        }
        for (session, row) in payers {
            let row = PayerSessionRow { driver: name.clone(), ..row };
            if self.payers.contains_key(&session) {
                self.put_payer_row(row);
            } else {
                let key = session.0.to_be_bytes().to_vec();
                self.append(Keyspace::PayerSessions, &key, &archive(&row));
            }
        }
        let payments = rows.payments.into_iter().map(|row| ((row.session, row.number), row));
        for ((session, number), mut row) in payments.collect::<BTreeMap<_, _>>() {
            row.driver = name.clone();
            (row.card.method, row.card.customer) = (ERASED.into(), None);
            let key = payment_key(session, number).to_vec();
            self.append(Keyspace::Payments, &key, &archive(&row));
        }
    }

    /// Writes the row of a session that is over anew, and what its station remembers of it.
    fn rewrite_finished(&mut self, row: SessionRow) {
        if let Some(station) = self.find_station(row.identity.as_str()) {
            let (pasts, key) = (&mut self.station_mut(station).past, (row.heard, row.session));
            if pasts.get(&key).is_some() {
                pasts.insert(key, Past::of(&row));
            }
        }
        self.write_closing(row);
    }

    /// The accounts of a driver no longer say whose they are.
    fn erase_names(&mut self, erase: &EraseDriver) {
        let ids: Vec<AccountId> =
            self.accounts_of(erase).iter().map(|account| account.id).collect();
        for id in ids {
            self.ledger.erase_name(id).expect("the accounts of a driver are personal");
        }
        self.debts.remove(&erase.driver);
    }

    /// Whether an account belonged to somebody who was forgotten.
    pub(crate) fn is_nobodys(&self, account: AccountId) -> bool {
        let account = self.ledger.account(account);
        account.is_some_and(|account| account.is_personal && *account.name == *NAME_ERASED)
    }

    /// Where money for a wallet goes: to suspense, when nobody is left to have it.
    pub(crate) fn wallet_or_suspense(
        &mut self,
        wallet: AccountId,
        currency: Currency,
    ) -> AccountId {
        if !self.is_nobodys(wallet) {
            return wallet;
        }
        self.open(crate::accounts::Name::Party("suspense"), currency).unwrap_or(wallet)
    }
}

/// Why an account keeps its driver from being forgotten.
fn unsettled(account: &Account) -> Option<String> {
    if account.debits_pending > 0 || account.credits_pending > 0 {
        let held = account.debits_pending.max(account.credits_pending);
        return Some(format!("{} are held", account.currency.format(held)));
    }
    let (debits, credits) = (account.debits_posted, account.credits_posted);
    let rest = account.currency.format(debits.abs_diff(credits));
    match debits.cmp(&credits) {
        std::cmp::Ordering::Less => {
            Some(format!("{rest} are the driver's: they are to be paid out"))
        }
        std::cmp::Ordering::Greater => {
            Some(format!("{rest} are owed: they are to be paid or written off"))
        }
        std::cmp::Ordering::Equal => None,
    }
}

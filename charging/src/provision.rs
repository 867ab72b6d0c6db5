//! What admins make: the directory, sites, stations, drivers, deposits.
//!
//! Each is idempotent: sent again after a lost answer it changes nothing and says the same.

use crate::accounts::{Name, wallet_id};
use crate::command::{Outcome, PasswordHash, Refusal};
use crate::config::AMOUNT_MAX;
use crate::payment::Funding;
use crate::rows::{
    DirectoryKind, DirectoryRow, DriverRow, Protocol, Salt, StationRow, StationState, TokenRow,
};
use crate::state::State;
use novax_ledger::{Code, LedgerError, Leg};
use novax_model::{
    Amount, Currency, Identity, NodeId, PartitionId, Timestamp, TokenUid, TransferKey, seeded,
};

impl State {
    /// Where the rows of an id live.
    pub(crate) fn put_directory(
        &mut self,
        kind: DirectoryKind,
        id: &str,
        home: PartitionId,
    ) -> Result<Outcome, Refusal> {
        let rows = &self.directory[kind as usize];
        if let Some(known) = rows.get(id) {
            let same = known.home == home;
            return if same { Ok(Outcome::Done) } else { Err(Refusal::KeyReused) };
        }
        if rows.len() >= self.config.directory_max {
            return Err(Refusal::Full);
        }
        self.put_directory_row(DirectoryRow {
            kind,
            id: id.into(),
            home,
            vendor: "".into(),
            model: "".into(),
            protocol: None,
            created: self.now(),
        });
        Ok(Outcome::Done)
    }

    /// An identity nobody provisioned has connected.
    pub(crate) fn report_unknown(
        &mut self,
        identity: &Identity,
        protocol: Protocol,
        vendor: &str,
        model: &str,
    ) -> Result<Outcome, Refusal> {
        let id = identity.as_str();
        if self.directory[DirectoryKind::Station as usize].contains_key(id) {
            return Ok(Outcome::Booted { state: StationState::Accepted });
        }
        let pending = &self.directory[DirectoryKind::PendingStation as usize];
        let known = pending.get(id).cloned();
        if known.is_none() && pending.len() >= self.config.pending_stations_max {
            return Err(Refusal::Full);
        }
        let mut row = known.clone().unwrap_or_else(|| DirectoryRow {
            kind: DirectoryKind::PendingStation,
            id: id.into(),
            home: self.config.partition,
            vendor: "".into(),
            model: "".into(),
            protocol: None,
            created: self.now(),
        });
        row.protocol = Some(protocol);
        // A socket that opens again has not yet said what it is: keep what it said before.
        if !vendor.is_empty() || !model.is_empty() {
            (row.vendor, row.model) = (vendor.into(), model.into());
        }
        if known.as_ref() != Some(&row) {
            self.put_directory_row(row);
        }
        Ok(Outcome::Booted { state: StationState::Pending })
    }

    /// Creates a station, or changes its password.
    pub(crate) fn put_station(
        &mut self,
        identity: &Identity,
        site: &Identity,
        password: Option<PasswordHash>,
    ) -> Result<Outcome, Refusal> {
        if !self.sites.contains_key(site) {
            return Err(Refusal::UnknownSite);
        }
        if let Some(number) = self.find_station(identity.as_str()) {
            if self.station(number).row.site != *site {
                return Err(Refusal::KeyReused);
            }
            self.touch_station(number).password = password;
            return Ok(Outcome::Done);
        }
        if self.stations.len() >= self.config.stations_max {
            return Err(Refusal::Full);
        }
        let number = self.meta.next_station;
        self.meta.next_station += 1;
        self.add_station(new_station(identity.clone(), number, site.clone(), password));
        Ok(Outcome::Done)
    }

    /// Creates a driver with a wallet, or adds tokens and blocks or frees.
    pub(crate) fn put_driver(
        &mut self,
        driver: &Identity,
        salt: Salt,
        tokens: &[TokenUid],
        (currency, blocked): (Currency, bool),
    ) -> Result<Outcome, Refusal> {
        let foreign =
            |token: &TokenUid| self.tokens.get(token).is_some_and(|row| row.driver != *driver);
        if tokens.iter().any(foreign) {
            return Err(Refusal::KeyReused);
        }
        let known = self.drivers.get(driver).cloned();
        if known.is_none() && self.drivers.len() >= self.config.drivers_max {
            return Err(Refusal::Full);
        }
        if known.as_ref().is_some_and(|row| row.currency != currency) {
            return Err(Refusal::CurrencyMismatch);
        }
        let mut all = known.as_ref().map(|row| row.tokens.clone()).unwrap_or_default();
        for token in tokens {
            if !all.contains(token) {
                all.push(token.clone());
            }
            if all.len() > self.config.tokens_per_driver_max {
                return Err(Refusal::Full);
            }
        }
        // Who is known keeps the salt of the first time.
        let salt = known.as_ref().map_or(salt, |row| row.salt);
        let wallet = wallet_id(&salt, driver, currency);
        let wallet = self.open(Name::Driver(driver, wallet), currency)?;
        for token in tokens {
            self.put_token_row(TokenRow { token: token.clone(), driver: driver.clone() });
        }
        let driver = driver.clone();
        let funding = known.map_or(Funding::Wallet, |row| row.funding);
        let tokens = all;
        self.put_driver_row(DriverRow { driver, currency, blocked, wallet, tokens, funding, salt });
        Ok(Outcome::Done)
    }

    /// What a driver pays with from now on. Sessions that run keep what they began with.
    pub(crate) fn put_funding(
        &mut self,
        driver: &Identity,
        funding: Funding,
    ) -> Result<Outcome, Refusal> {
        let row = self.drivers.get(driver).cloned().ok_or(Refusal::UnknownDriver)?;
        if let Funding::Card(card) = &funding
            && !card.is_sound()
        {
            return Err(Refusal::BadTerms("the card's names are no names of a provider".into()));
        }
        if row.funding != funding {
            self.put_driver_row(DriverRow { funding, ..row });
        }
        Ok(Outcome::Done)
    }

    /// Money from outside into a wallet.
    pub(crate) fn deposit(
        &mut self,
        key: TransferKey,
        driver: &Identity,
        amount: Amount,
    ) -> Result<Outcome, Refusal> {
        let row = self.drivers.get(driver).ok_or(Refusal::UnknownDriver)?;
        let (wallet, currency) = (row.wallet, row.currency);
        if amount == 0 || amount > AMOUNT_MAX {
            return Err(Refusal::Full);
        }
        let funding = self.open(Name::Funding, currency)?;
        let leg = Leg::Post { debit: funding, credit: wallet, amount, code: Code::Deposit };
        let stamp = self.stamp(self.now());
        let anew = if seeded::is("deposit-not-deduped") { u128::from(self.now().0) } else { 0 };
        match self.ledger.post(stamp, TransferKey(key.0 ^ anew), &[leg]) {
            Ok(_) => Ok(Outcome::Deposited { available: self.available(wallet) }),
            Err(LedgerError::KeyReused(_)) => Err(Refusal::KeyReused),
            Err(_) => Err(Refusal::Full),
        }
    }
}

/// A station that nobody has heard of yet.
pub(crate) fn new_station(
    identity: Identity,
    number: u32,
    site: Identity,
    password: Option<PasswordHash>,
) -> StationRow {
    StationRow {
        identity,
        number,
        site,
        password,
        connected: false,
        epoch: 0,
        node: NodeId::FIRST,
        protocol: None,
        vendor: "".into(),
        model: "".into(),
        firmware: "".into(),
        serial: "".into(),
        booted: Timestamp::ZERO,
        connection_changed: Timestamp::ZERO,
        next_transaction_id: 1,
        next_remote_start_id: 1,
        parked: Vec::new(),
        meter_key: None,
    }
}

//! A partition from its rows: the same one as if it had never stopped.
//!
//! Rows come from one consistent snapshot of the store, in any order. What memory holds beyond rows
//! is derived here: indices, timers, memories, counters. Of what only the newest rows stay in memory, no more
//! are held while they are read ([`Newest`], [`Ended`]).

use crate::accruals::Month;
use crate::config::PartitionConfig;
use crate::document::{SERIES, SeriesRow};
use crate::finished::is_billed;
use crate::partition::Partition;
use crate::payment::PaymentRow;
use crate::roster::Roster;
use crate::rows::{
    self, AccrualRow, ConnectorRow, CorruptRow, DirectoryKind, DirectoryRow, DriverRow, FxRateRow,
    Keyspace, MetaRow, OutboxRow, PayerSessionRow, SeriesKey, SessionRow, SessionState, SignalRow,
    SiteRow, StationRow, TermsId, TermsRow, TokenRow, TreeHeadRow, read_head_key,
};
use crate::state::{Counters, Session, Site, State, Station};
use novax_ledger::{Account, Head, Hold, KeyRow, Ledger, LedgerError};
use novax_model::{Identity, SessionId, Timestamp, TransferKey};
use novax_tsdb::OpenPart;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

/// Why a partition cannot be restored. All but the first mean that the store is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The store could not be read.
    #[error("the store could not be read: {0}")]
    Read(String),
    /// A row is no archive of its type.
    #[error("{keyspace:?}: {error}")]
    Row {
        /// Which table.
        keyspace: Keyspace,
        /// What is wrong.
        error: CorruptRow,
    },
    /// A key has not the length of its keyspace.
    #[error("{0:?}: a key of the wrong length")]
    Key(Keyspace),
    /// A row refers to one that is not there.
    #[error("{0}")]
    Inconsistent(String),
    /// The books do not fit together.
    #[error("the ledger's rows: {0}")]
    Ledger(#[from] LedgerError),
    /// A series chunk cannot be read.
    #[error("series {series}: {error}")]
    Series {
        /// Which series.
        series: u64,
        /// What is wrong.
        error: String,
    },
}

/// The rows with the greatest keys, so many and no more.
struct Newest<K, T> {
    rows: BTreeMap<K, T>,
    max: usize,
}

impl<K: Ord, T> Newest<K, T> {
    fn new(max: usize) -> Newest<K, T> {
        Newest { rows: BTreeMap::new(), max }
    }

    fn insert(&mut self, key: K, row: T) {
        self.rows.insert(key, row);
        if self.rows.len() > self.max {
            self.rows.pop_first();
        }
    }
}

/// By when it was last heard of.
type EndedKey = (Timestamp, SessionId);

/// Sessions that are over, as far as the partition or their station remembers them.
struct Ended {
    rows: BTreeMap<EndedKey, SessionRow>,
    newest: BTreeSet<EndedKey>,
    by_station: BTreeMap<Identity, BTreeSet<EndedKey>>,
    /// Of the partition, and of a station.
    max: (usize, usize),
}

impl Ended {
    fn insert(&mut self, row: SessionRow) {
        let key = (row.heard, row.session);
        let here = self.by_station.entry(row.identity.clone()).or_default();
        self.rows.insert(key, row);
        let (partition_max, station_max) = self.max;
        let left_station = add(here, key, station_max);
        let left_newest = add(&mut self.newest, key, partition_max);
        for key in left_station.into_iter().chain(left_newest) {
            let is_of_station = |row: &SessionRow| self.by_station[&row.identity].contains(&key);
            if !self.newest.contains(&key) && !self.rows.get(&key).is_some_and(is_of_station) {
                self.rows.remove(&key);
            }
        }
    }
}

/// Puts a key in; says which one is too many.
fn add(newest: &mut BTreeSet<EndedKey>, key: EndedKey, max: usize) -> Option<EndedKey> {
    newest.insert(key);
    if newest.len() > max { newest.pop_first() } else { None }
}

/// Rows by kind, read but not yet put together.
struct Sorted {
    meta: Option<MetaRow>,
    directory: Vec<DirectoryRow>,
    sites: Vec<SiteRow>,
    heads_of_tree: Vec<TreeHeadRow>,
    terms: Vec<(TermsId, TermsRow)>,
    signals: Vec<SignalRow>,
    accruals: Vec<AccrualRow>,
    rates: Vec<FxRateRow>,
    priced: std::collections::BTreeSet<Vec<u8>>,
    roster: Roster,
    series_of_documents: Vec<SeriesRow>,
    stations: BTreeMap<u32, StationRow>,
    connectors: Vec<ConnectorRow>,
    drivers: Vec<DriverRow>,
    tokens: Vec<TokenRow>,
    /// Those that go on.
    sessions: Vec<SessionRow>,
    ended: Ended,
    counters: Counters,
    accounts: Vec<Account>,
    holds: Vec<Hold>,
    /// Those whose holds are open.
    keys_held: Vec<(TransferKey, KeyRow)>,
    /// By the first journal row.
    keys: Newest<u64, (TransferKey, KeyRow)>,
    outbox: Vec<OutboxRow>,
    /// Those whose holds stand.
    payers: Vec<PayerSessionRow>,
    payers_resolved: Newest<EndedKey, PayerSessionRow>,
    /// In order of session and number, as their keys are.
    payments: BTreeMap<Vec<u8>, PaymentRow>,
    /// The newest chunk of each series, with its key's time.
    series: BTreeMap<u64, (Timestamp, Vec<u8>)>,
    /// The open end of each series.
    heads: BTreeMap<u64, Vec<(OpenPart, Vec<u8>)>>,
    any: bool,
}

impl Partition {
    /// The partition whose rows these are; entries after [`Partition::applied_index`] are to be
    /// applied next.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn restore<E: Display>(
        config: PartitionConfig,
        rows: impl Iterator<Item = Result<(Keyspace, Vec<u8>, Vec<u8>), E>>,
    ) -> Result<Self, RestoreError> {
        let mut sorted = Sorted::new(&config);
        for row in rows {
            let (keyspace, key, value) =
                row.map_err(|error| RestoreError::Read(error.to_string()))?;
            sorted.take(keyspace, &key, value)?;
        }
        sorted.assemble(config)
    }
}

fn archive<T>(keyspace: Keyspace, bytes: &[u8]) -> Result<T, RestoreError>
where
    T: rkyv::Archive,
    T::Archived: for<'a> rkyv::bytecheck::CheckBytes<rkyv::api::high::HighValidator<'a, rkyv::rancor::Error>>
        + rkyv::Deserialize<T, rkyv::api::high::HighDeserializer<rkyv::rancor::Error>>,
{
    rows::read(bytes).map_err(|error| RestoreError::Row { keyspace, error })
}

fn number<const N: usize>(keyspace: Keyspace, bytes: &[u8]) -> Result<[u8; N], RestoreError> {
    bytes.try_into().map_err(|_| RestoreError::Key(keyspace))
}

impl Sorted {
    fn new(config: &PartitionConfig) -> Sorted {
        Sorted {
            meta: None,
            directory: Vec::new(),
            sites: Vec::new(),
            heads_of_tree: Vec::new(),
            terms: Vec::new(),
            signals: Vec::new(),
            accruals: Vec::new(),
            rates: Vec::new(),
            priced: BTreeSet::new(),
            roster: Roster::default(),
            series_of_documents: Vec::new(),
            stations: BTreeMap::new(),
            connectors: Vec::new(),
            drivers: Vec::new(),
            tokens: Vec::new(),
            sessions: Vec::new(),
            ended: Ended {
                rows: BTreeMap::new(),
                newest: BTreeSet::new(),
                by_station: BTreeMap::new(),
                max: (config.finished_sessions_max, config.finished_per_station_max),
            },
            counters: Counters::default(),
            accounts: Vec::new(),
            holds: Vec::new(),
            keys_held: Vec::new(),
            keys: Newest::new(config.keys_max),
            outbox: Vec::new(),
            payers: Vec::new(),
            payers_resolved: Newest::new(config.finished_sessions_max),
            payments: BTreeMap::new(),
            series: BTreeMap::new(),
            heads: BTreeMap::new(),
            any: false,
        }
    }

    fn take(&mut self, keyspace: Keyspace, key: &[u8], value: Vec<u8>) -> Result<(), RestoreError> {
        self.any = true;
        match keyspace {
            Keyspace::Meta => self.meta = Some(archive(keyspace, &value)?),
            Keyspace::Directory => {
                let row: DirectoryRow = archive(keyspace, &value)?;
                if row.kind != DirectoryKind::RequestKey {
                    self.directory.push(row);
                }
            }
            Keyspace::Sites => self.sites.push(archive(keyspace, &value)?),
            Keyspace::TreeHeads => self.heads_of_tree.push(archive(keyspace, &value)?),
            Keyspace::Terms => {
                let (_, id) = key.split_first().ok_or(RestoreError::Key(keyspace))?;
                let id = TermsId(u128::from_be_bytes(number(keyspace, id)?));
                self.terms.push((id, archive(keyspace, &value)?));
            }
            Keyspace::Signals => self.signals.push(archive(keyspace, &value)?),
            Keyspace::Priced => {
                self.priced.insert(key.to_vec());
            }
            Keyspace::Stations => {
                let row: StationRow = archive(keyspace, &value)?;
                self.stations.insert(row.number, row);
            }
            Keyspace::Connectors => self.connectors.push(archive(keyspace, &value)?),
            Keyspace::Drivers => self.drivers.push(archive(keyspace, &value)?),
            Keyspace::Tokens => self.tokens.push(archive(keyspace, &value)?),
            Keyspace::Sessions => self.take_session(archive(keyspace, &value)?),
            Keyspace::Accounts => self.accounts.push(archive(keyspace, &value)?),
            Keyspace::Holds => self.holds.push(archive(keyspace, &value)?),
            Keyspace::Keys => {
                let key = TransferKey(u128::from_be_bytes(number(keyspace, key)?));
                let row: KeyRow = archive(keyspace, &value)?;
                if row.open_holds > 0 {
                    self.keys_held.push((key, row));
                }
                self.keys.insert(row.first, (key, row));
            }
            Keyspace::Outbox => self.outbox.push(archive(keyspace, &value)?),
            Keyspace::PayerSessions => {
                let row: PayerSessionRow = archive(keyspace, &value)?;
                if row.is_open() {
                    self.payers.push(row);
                } else {
                    self.payers_resolved.insert((row.ask_at, row.session), row);
                }
            }
            Keyspace::Series => {
                let key = SeriesKey::read(key).ok_or(RestoreError::Key(keyspace))?;
                let newest = self.series.entry(key.series).or_default();
                if key.sequence.is_none() && (newest.1.is_empty() || key.first > newest.0) {
                    *newest = (key.first, value);
                }
            }
            Keyspace::Heads => {
                let (series, part) = read_head_key(key).ok_or(RestoreError::Key(keyspace))?;
                self.heads.entry(series).or_default().push((part, value));
            }
            Keyspace::Payments => {
                self.payments.insert(key.to_vec(), archive(keyspace, &value)?);
            }
            Keyspace::Accruals => self.accruals.push(archive(keyspace, &value)?),
            Keyspace::Documents => {
                if key.first() == Some(&SERIES) {
                    self.series_of_documents.push(archive(keyspace, &value)?);
                }
            }
            Keyspace::FxRates => self.rates.push(archive(keyspace, &value)?),
            Keyspace::Nodes => self.roster = archive(keyspace, &value)?,
            // Written once, never read back by the state machine.
            Keyspace::Transfers
            | Keyspace::Exceptions
            | Keyspace::RollupsMinute
            | Keyspace::RollupsQuarter
            | Keyspace::RollupsHour
            | Keyspace::AccountEntries
            | Keyspace::TreeNodes
            | Keyspace::SignedValues
            | Keyspace::Billings
            | Keyspace::Replica => {}
        }
        Ok(())
    }

    fn take_session(&mut self, row: SessionRow) {
        if is_billed(&row) {
            self.counters.count_ended(&row);
        }
        if row.state.is_live() || row.state == SessionState::Settling {
            self.sessions.push(row);
        } else {
            self.ended.insert(row);
        }
    }

    fn assemble(self, config: PartitionConfig) -> Result<Partition, RestoreError> {
        let mut state = State::new(config);
        state.counters = self.counters;
        match self.meta {
            Some(meta) => state.meta = meta,
            None if self.any => {
                return Err(RestoreError::Inconsistent("rows without a meta row".to_owned()));
            }
            None => return Ok(Partition { state }),
        }
        for row in self.directory {
            state.directory[row.kind as usize].insert(row.id.clone(), row);
        }
        for row in &self.heads_of_tree {
            state.heads.restore(row);
        }
        for (id, row) in self.terms {
            state.terms.insert(id, row);
        }
        for row in self.signals {
            state.signals.insert((row.site, row.kind), row.sample);
        }
        state.priced = self.priced;
        state.roster = self.roster;
        for row in self.sites {
            if !state.terms.know_zone(&row.place.zone) {
                let text = format!("site {} is in an unknown zone", row.site);
                return Err(RestoreError::Inconsistent(text));
            }
            let name = row.site.clone();
            state.sites.insert(name, Site { row, charging: std::collections::BTreeSet::new() });
        }
        for row in self.rates {
            state.rates.insert(row.rate);
        }
        state.restore_accruals(self.accruals)?;
        state.restore_stations(self.stations, self.connectors)?;
        state.drivers = self.drivers.into_iter().map(|row| (row.driver.clone(), row)).collect();
        state.tokens = self.tokens.into_iter().map(|row| (row.token.clone(), row)).collect();
        let head =
            Head { next_journal: state.meta.next_journal, closed_until: state.meta.closed_until };
        let (accounts, holds) = (self.accounts, self.holds);
        let newest = self.keys.rows;
        let held = self.keys_held.into_iter().filter(|(_, row)| !newest.contains_key(&row.first));
        let held: Vec<(TransferKey, KeyRow)> = held.collect();
        let keys = held.into_iter().chain(newest.into_values()).collect();
        for account in &accounts {
            if let Some(driver) = crate::accounts::debtor_of(&account.name) {
                state.debts.entry(driver).or_default().insert(account.currency, account.id);
            }
        }
        state.ledger = Ledger::restore(novax_ledger::Rows { head, accounts, holds, keys })?;
        for row in self.outbox {
            state.index_outbox_row(&row);
            state.outbox.insert(row.id, row);
        }
        // Sessions that run ask how their cards stand.
        for row in self.payments.into_values() {
            let rows = state.cards.entry(row.session).or_default();
            if rows.len() != row.number as usize {
                let text = format!("payments of session {} are missing", row.session);
                return Err(RestoreError::Inconsistent(text));
            }
            state.cards_touched.insert(row.session);
            rows.push(row);
        }
        let ended = self.ended.rows.into_values();
        state.restore_sessions(self.sessions.into_iter().chain(ended).collect())?;
        for row in self.series_of_documents {
            state.documents.series.insert(row.series, row.next);
        }
        state.forget_cards();
        for row in self.payers.into_iter().chain(self.payers_resolved.rows.into_values()) {
            state.payers.insert(row.session, row.clone());
            state.index_payer(&row);
        }
        let damaged = |series: u64| {
            move |error: novax_tsdb::Error| RestoreError::Series {
                series,
                error: error.to_string(),
            }
        };
        for (series, rows) in self.heads {
            state.restore_series(series, rows).map_err(damaged(series))?;
        }
        // Stores from before there were heads: what comes next begins after the newest chunk.
        for (series, (_, chunk)) in self.series {
            if !state.series.contains_key(&series) && !chunk.is_empty() {
                let (_, last, _) = novax_tsdb::chunk_bounds(&chunk).map_err(damaged(series))?;
                state.restore_series_after(series, last);
            }
        }
        state.ledger.audit()?;
        Ok(Partition { state })
    }
}

impl State {
    /// Open months; settled ones are history.
    fn restore_accruals(&mut self, rows: Vec<AccrualRow>) -> Result<(), RestoreError> {
        for row in rows.into_iter().filter(|row| row.settled.is_none()) {
            if !self.terms.has_contract(row.contract) || !self.terms.know_zone(&row.zone) {
                let text = format!("what {} earned at {} has no contract", row.month, row.site);
                return Err(RestoreError::Inconsistent(text));
            }
            self.index_accrual(&row);
            self.accruals.insert((row.site.clone(), row.contract, Month(row.month)), row);
        }
        Ok(())
    }

    fn restore_stations(
        &mut self,
        stations: BTreeMap<u32, StationRow>,
        connectors: Vec<ConnectorRow>,
    ) -> Result<(), RestoreError> {
        for (number, row) in stations {
            if number as usize != self.stations.len() {
                let text = format!("station {number} follows {} stations", self.stations.len());
                return Err(RestoreError::Inconsistent(text));
            }
            self.counters.stations_connected += u64::from(row.connected);
            self.numbers.insert(row.identity.clone(), number);
            self.stations.push(Station::new(row));
        }
        if self.meta.next_station as usize != self.stations.len() {
            return Err(RestoreError::Inconsistent("stations are missing".to_owned()));
        }
        for row in connectors {
            let Some(number) = self.find_station(row.identity.as_str()) else {
                let text = format!("connector of station {}, which is missing", row.identity);
                return Err(RestoreError::Inconsistent(text));
            };
            self.station_mut(number).connectors.insert(row.connector, row);
        }
        Ok(())
    }

    /// Sessions in the order in which they finished: memories keep the newest.
    fn restore_sessions(&mut self, mut sessions: Vec<SessionRow>) -> Result<(), RestoreError> {
        sessions.sort_by_key(|row| (row.heard, row.session));
        for row in sessions {
            let station = self.find_station(row.identity.as_str());
            let open = row.state.is_live() || row.state == SessionState::Settling;
            match station {
                Some(station) if open => {
                    self.index_session(station, &row);
                    if row.marked > Timestamp::ZERO {
                        let max = self.config.finished_sessions_max;
                        self.finished.keep_place(row.marked, row.session, max);
                    }
                    self.sessions.insert(row.session, Session { row: Box::new(row), station });
                }
                Some(station) => {
                    self.remember(station, &row);
                    self.finished.keep_recent(Box::new(row), self.config.recent_sessions_max);
                }
                // The mark that keeps an id from starting belongs to no station.
                None if row.state == SessionState::Refused => {
                    self.finished.remember(&row, self.config.finished_sessions_max, false);
                }
                None => {
                    let text = format!("session {} of a station that is missing", row.session);
                    return Err(RestoreError::Inconsistent(text));
                }
            }
        }
        Ok(())
    }
}

//! The tables of a partition in memory, and which rows an entry changed.
//!
//! Every change of a row goes through a `touch_*` method, which marks it; [`State::take_rows`]
//! writes each marked row once per entry. What is not in a row is derived from rows, so that
//! `restore` rebuilds it: the connector index, running transactions, timers, finished sessions.

use crate::accruals::AccrualId;
use crate::command::{PeerCommand, Refusal, StationCommand, TransactionRef};
use crate::config::PartitionConfig;
use crate::documents::Documents;
use crate::finished::Finished;
use crate::fx::Rates;
use crate::hash::Chain;
use crate::lookup::Lookup;
use crate::pasts::Pasts;
use crate::payment::{PaymentRow, payment_key};
use crate::roster::Roster;
use crate::rows::{
    self, AccrualRow, ConnectorRow, ConnectorStatus, DirectoryKind, DirectoryRow, DriverRow,
    ExceptionRow, Keyspace, MetaRow, OutboxKind, OutboxRow, PayerSessionRow, SessionRow, SiteRow,
    StationRow, TokenRow,
};
use crate::terms::Terms;
use crate::timers::Timer;
use crate::tree::Heads;
use crate::writes::RowWrites;
use novax_ledger::Ledger;
use novax_model::{
    AccountId, ConnectorRef, Currency, Identity, MeterTick, SessionId, Timestamp, TokenUid,
};
use novax_settlement::TaxTable;
use novax_tariff::rules::{Sample, SignalKind};
use novax_tsdb::OpenSeries;
use std::collections::{BTreeMap, BTreeSet};

/// A station's number: its place in [`State::stations`].
pub(crate) type StationNumber = u32;

/// A station and all that hangs on it.
#[derive(Debug)]
pub(crate) struct Station {
    pub(crate) row: StationRow,
    pub(crate) connectors: BTreeMap<ConnectorRef, ConnectorRow>,
    /// Sessions that hold a connector, and which.
    pub(crate) live: BTreeMap<SessionId, ConnectorRef>,
    /// Transactions of sessions not yet settled.
    pub(crate) transactions: BTreeMap<TransactionRef, OpenTransaction>,
    /// The last finished sessions, oldest first.
    pub(crate) past: Pasts,
    /// Outbox rows for this station, in id order.
    pub(crate) outbox: BTreeSet<u64>,
}

impl Station {
    pub(crate) fn new(row: StationRow) -> Station {
        Station {
            row,
            connectors: BTreeMap::new(),
            live: BTreeMap::new(),
            transactions: BTreeMap::new(),
            past: Pasts::default(),
            outbox: BTreeSet::new(),
        }
    }
}

/// A transaction of a session not yet settled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenTransaction {
    pub(crate) session: SessionId,
    pub(crate) connector: ConnectorRef,
}

/// A site and the sessions that draw power at it.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) row: SiteRow,
    /// Ordered by who asked first.
    pub(crate) charging: BTreeSet<(Timestamp, SessionId)>,
}

/// A session not yet settled.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) row: Box<SessionRow>,
    pub(crate) station: StationNumber,
}

/// A row that an entry changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Dirty {
    Directory(DirectoryKind, Box<str>),
    Site(Identity),
    Station(StationNumber),
    Connector(StationNumber, ConnectorRef),
    Driver(Identity),
    Token(TokenUid),
    Session(SessionId),
    Outbox(u64),
    PayerSession(SessionId),
    Payment(SessionId, u32),
    Accrual(AccrualId),
    Roster,
}

/// The rows that an entry changed, as often as it did.
#[derive(Debug, Default)]
struct Marks(Vec<Dirty>);

impl Marks {
    fn insert(&mut self, dirty: Dirty) {
        // What is changed twice is mostly changed twice in a row.
        if self.0.last() != Some(&dirty) {
            self.0.push(dirty);
        }
    }

    /// Each row once, in order.
    fn take(&mut self) -> Vec<Dirty> {
        let mut all = std::mem::take(&mut self.0);
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Keeps the room of what was taken.
    fn reuse(&mut self, mut taken: Vec<Dirty>) {
        taken.clear();
        taken.shrink_to(MARKS_KEPT_MAX);
        self.0 = taken;
    }
}

/// Room for so many marks is kept.
const MARKS_KEPT_MAX: usize = 4_096;

/// What is counted for people; no part of the replicated state.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sessions_ended: u64,
    pub(crate) energy_wh_total: u64,
    pub(crate) settled: BTreeMap<Currency, u128>,
    pub(crate) stations_connected: u64,
    pub(crate) ticks: u64,
    pub(crate) ticks_ignored: u64,
    pub(crate) ticks_late: u64,
    pub(crate) blocks_corrupt: u64,
}

/// All of a partition.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: PartitionConfig,
    pub(crate) meta: MetaRow,
    /// Indexed by [`DirectoryKind`].
    pub(crate) directory: [Lookup<Box<str>, DirectoryRow>; DirectoryKind::COUNT],
    pub(crate) sites: BTreeMap<Identity, Site>,
    pub(crate) stations: Vec<Station>,
    pub(crate) numbers: Lookup<Identity, StationNumber>,
    pub(crate) drivers: Lookup<Identity, DriverRow>,
    pub(crate) tokens: Lookup<TokenUid, TokenRow>,
    pub(crate) sessions: Lookup<SessionId, Session>,
    pub(crate) finished: Finished,
    pub(crate) payers: Lookup<SessionId, PayerSessionRow>,
    /// Resolved payer rows, oldest first.
    pub(crate) payers_resolved: BTreeSet<(Timestamp, SessionId)>,
    /// Payer rows that this entry needs.
    pub(crate) payers_recalled: Vec<SessionId>,
    pub(crate) outbox: BTreeMap<u64, OutboxRow>,
    /// Sessions whose hold a peer is being asked to raise.
    pub(crate) raising: BTreeSet<SessionId>,
    /// Sessions and their tries whose remote hold is being given back, and by how many outbox rows: it
    /// secures nothing any more.
    pub(crate) releasing: BTreeMap<(SessionId, u32), u32>,
    /// Sessions a peer is being asked about.
    pub(crate) asking: BTreeSet<SessionId>,
    /// What was asked of payment providers, for sessions that are not over or wait for an answer.
    pub(crate) cards: BTreeMap<SessionId, Vec<PaymentRow>>,
    /// Of those, the ones to be looked at after the entry: they may be forgotten.
    pub(crate) cards_touched: BTreeSet<SessionId>,
    pub(crate) ledger: Ledger,
    /// The accounts of what drivers owe, by whose they are.
    pub(crate) debts: BTreeMap<Identity, BTreeMap<Currency, AccountId>>,
    pub(crate) timers: BTreeSet<(Timestamp, Timer)>,
    pub(crate) series: BTreeMap<u64, OpenSeries>,
    /// Series that may have late ticks open.
    pub(crate) late_series: BTreeSet<u64>,
    pub(crate) heads: Heads,
    pub(crate) terms: Terms,
    pub(crate) taxes: TaxTable,
    pub(crate) rates: Rates,
    /// Open months of contracts.
    pub(crate) accruals: BTreeMap<AccrualId, AccrualRow>,
    /// Open months by when they are settled.
    pub(crate) months: BTreeSet<(Timestamp, AccrualId)>,
    /// Months that were settled in this entry.
    pub(crate) settled_months: BTreeMap<AccrualId, AccrualRow>,
    /// What dynamic prices follow, by site.
    pub(crate) signals: BTreeMap<(Identity, SignalKind), Sample>,
    /// Keys of the tariffs, contracts and rule books by name; nobody here needs the rows.
    pub(crate) priced: BTreeSet<Vec<u8>>,
    pub(crate) documents: Documents,
    /// The nodes of the cluster; partition 0 alone has any.
    pub(crate) roster: Roster,
    pub(crate) counters: Counters,
    dirty: Marks,
    /// Rows that are written once and not kept: exceptions, what series become.
    pub(crate) appended: RowWrites,
    /// Room for the rows of the next entry.
    pub(crate) spare: RowWrites,
    /// Full rows of sessions that finished in this entry.
    closing: BTreeMap<SessionId, Box<SessionRow>>,
    new_outbox: BTreeSet<u64>,
    /// Stations whose socket this entry opened, closed or replaced.
    pub(crate) sockets: BTreeSet<StationNumber>,
}

impl State {
    pub(crate) fn new(config: PartitionConfig) -> State {
        State {
            config,
            meta: MetaRow::default(),
            directory: std::array::from_fn(|_| Lookup::default()),
            sites: BTreeMap::new(),
            stations: Vec::new(),
            numbers: Lookup::default(),
            drivers: Lookup::default(),
            tokens: Lookup::default(),
            sessions: Lookup::default(),
            finished: Finished::default(),
            payers: Lookup::default(),
            payers_resolved: BTreeSet::new(),
            payers_recalled: Vec::new(),
            outbox: BTreeMap::new(),
            raising: BTreeSet::new(),
            releasing: BTreeMap::new(),
            asking: BTreeSet::new(),
            cards: BTreeMap::new(),
            cards_touched: BTreeSet::new(),
            ledger: Ledger::new(),
            debts: BTreeMap::new(),
            timers: BTreeSet::new(),
            series: BTreeMap::new(),
            late_series: BTreeSet::new(),
            heads: Heads::default(),
            terms: Terms::default(),
            taxes: TaxTable::built_in(),
            rates: Rates::default(),
            accruals: BTreeMap::new(),
            months: BTreeSet::new(),
            settled_months: BTreeMap::new(),
            signals: BTreeMap::new(),
            priced: BTreeSet::new(),
            documents: Documents::default(),
            roster: Roster::default(),
            counters: Counters::default(),
            dirty: Marks::default(),
            appended: RowWrites::default(),
            spare: RowWrites::default(),
            closing: BTreeMap::new(),
            new_outbox: BTreeSet::new(),
            sockets: BTreeSet::new(),
        }
    }

    /// The time of the entry being applied.
    pub(crate) fn now(&self) -> Timestamp {
        self.meta.time
    }

    pub(crate) fn find_station(&self, identity: &str) -> Option<StationNumber> {
        self.numbers.get(identity).copied()
    }

    pub(crate) fn station(&self, number: StationNumber) -> &Station {
        self.stations.get(number as usize).expect("numbers come from the index")
    }

    /// For the station's indices; rows go through `touch_station`.
    pub(crate) fn station_mut(&mut self, number: StationNumber) -> &mut Station {
        self.stations.get_mut(number as usize).expect("numbers come from the index")
    }

    pub(crate) fn add_station(&mut self, row: StationRow) -> StationNumber {
        let number = row.number;
        assert_eq!(number as usize, self.stations.len(), "stations are numbered without gaps");
        self.numbers.insert(row.identity.clone(), number);
        self.stations.push(Station::new(row));
        self.dirty.insert(Dirty::Station(number));
        number
    }

    pub(crate) fn touch_station(&mut self, number: StationNumber) -> &mut StationRow {
        self.dirty.insert(Dirty::Station(number));
        &mut self.station_mut(number).row
    }

    pub(crate) fn touch_connector(
        &mut self,
        number: StationNumber,
        connector: ConnectorRef,
    ) -> Option<&mut ConnectorRow> {
        let row = self.stations.get_mut(number as usize)?.connectors.get_mut(&connector)?;
        self.dirty.insert(Dirty::Connector(number, connector));
        Some(row)
    }

    /// The connector's row, made when the station never spoke of it before.
    pub(crate) fn touch_connector_or_new(
        &mut self,
        number: StationNumber,
        connector: ConnectorRef,
    ) -> Result<&mut ConnectorRow, Refusal> {
        let max = self.config.connectors_per_station_max;
        let station = self.stations.get_mut(number as usize).expect("numbers come from the index");
        if !station.connectors.contains_key(&connector) && station.connectors.len() >= max {
            return Err(Refusal::Full);
        }
        self.dirty.insert(Dirty::Connector(number, connector));
        let identity = &station.row.identity;
        Ok(station.connectors.entry(connector).or_insert_with(|| ConnectorRow {
            identity: identity.clone(),
            connector,
            status: ConnectorStatus::Unknown,
            error: "".into(),
            status_at: Timestamp::ZERO,
            session: None,
            begun_last: Timestamp::ZERO,
            live: MeterTick::default(),
            limit: None,
        }))
    }

    pub(crate) fn touch_site(&mut self, site: &Identity) -> Option<&mut Site> {
        let found = self.sites.get_mut(site)?;
        self.dirty.insert(Dirty::Site(site.clone()));
        Some(found)
    }

    pub(crate) fn add_site(&mut self, row: SiteRow) {
        self.dirty.insert(Dirty::Site(row.site.clone()));
        self.sites.insert(row.site.clone(), Site { row, charging: BTreeSet::new() });
    }

    pub(crate) fn put_directory_row(&mut self, row: DirectoryRow) {
        self.dirty.insert(Dirty::Directory(row.kind, row.id.clone()));
        self.directory[row.kind as usize].insert(row.id.clone(), row);
    }

    pub(crate) fn remove_directory_row(&mut self, kind: DirectoryKind, id: &str) {
        if self.directory[kind as usize].remove(id).is_some() {
            self.dirty.insert(Dirty::Directory(kind, id.into()));
        }
    }

    pub(crate) fn put_driver_row(&mut self, row: DriverRow) {
        self.dirty.insert(Dirty::Driver(row.driver.clone()));
        self.drivers.insert(row.driver.clone(), row);
    }

    pub(crate) fn remove_driver_row(&mut self, driver: &Identity) -> Option<DriverRow> {
        let row = self.drivers.remove(driver)?;
        self.dirty.insert(Dirty::Driver(driver.clone()));
        Some(row)
    }

    pub(crate) fn remove_token_row(&mut self, token: &TokenUid) {
        if self.tokens.remove(token).is_some() {
            self.dirty.insert(Dirty::Token(token.clone()));
        }
    }

    pub(crate) fn put_token_row(&mut self, row: TokenRow) {
        self.dirty.insert(Dirty::Token(row.token.clone()));
        self.tokens.insert(row.token.clone(), row);
    }

    /// The row of a session not yet settled, marked as changed.
    pub(crate) fn touch_session(&mut self, session: SessionId) -> Option<&mut SessionRow> {
        let found = self.sessions.get_mut(&session)?;
        self.dirty.insert(Dirty::Session(session));
        Some(&mut found.row)
    }

    pub(crate) fn add_session(&mut self, station: StationNumber, row: SessionRow) {
        self.dirty.insert(Dirty::Session(row.session));
        let before = self.sessions.insert(row.session, Session { row: Box::new(row), station });
        assert!(before.is_none(), "a session is opened once");
    }

    /// Hands a row of a session that leaves memory to the store.
    pub(crate) fn write_closing(&mut self, row: impl Into<Box<SessionRow>>) {
        let row = row.into();
        assert!(!self.sessions.contains_key(&row.session), "a closing session has left the table");
        self.dirty.insert(Dirty::Session(row.session));
        self.closing.insert(row.session, row);
    }

    /// The roster, changed by the entry being applied.
    pub(crate) fn touch_roster(&mut self) -> &mut Roster {
        self.dirty.insert(Dirty::Roster);
        self.roster.version = self.meta.applied_index;
        &mut self.roster
    }

    /// Marks the row of a contract's month as changed.
    pub(crate) fn touch_accrual(&mut self, id: &AccrualId) {
        self.dirty.insert(Dirty::Accrual(id.clone()));
    }

    /// The full row of a session that finished in this entry.
    pub(crate) fn closing_row(&self, session: SessionId) -> Option<&SessionRow> {
        self.closing.get(&session).map(|row| &**row)
    }

    pub(crate) fn put_payer_row(&mut self, row: PayerSessionRow) {
        self.dirty.insert(Dirty::PayerSession(row.session));
        self.payers.insert(row.session, row);
    }

    pub(crate) fn add_outbox_row(&mut self, kind: OutboxKind, deadline: Timestamp) -> u64 {
        let id = self.meta.next_outbox;
        self.meta.next_outbox += 1;
        let row = OutboxRow { id, kind, created: self.now(), deadline };
        self.index_outbox_row(&row);
        self.dirty.insert(Dirty::Outbox(id));
        self.new_outbox.insert(id);
        self.outbox.insert(id, row);
        id
    }

    /// What hangs on an outbox row: its station's list and timer, or which sessions peers are
    /// asked about.
    pub(crate) fn index_outbox_row(&mut self, row: &OutboxRow) {
        match &row.kind {
            OutboxKind::Station { identity, .. } => {
                if let Some(number) = self.find_station(identity.as_str()) {
                    self.station_mut(number).outbox.insert(row.id);
                }
                self.timers.insert((row.deadline, Timer::Outbox(row.id)));
            }
            OutboxKind::Peer { command: PeerCommand::PlaceHold(hold), .. } => {
                self.raising.insert(hold.session);
            }
            OutboxKind::Peer { command: PeerCommand::ReleaseHold { session, attempt }, .. } => {
                *self.releasing.entry((*session, *attempt)).or_default() += 1;
            }
            OutboxKind::Peer { command: PeerCommand::AskSession { session, .. }, .. } => {
                self.asking.insert(*session);
            }
            OutboxKind::Peer { .. } | OutboxKind::Payment { .. } => {}
        }
    }

    pub(crate) fn remove_outbox_row(&mut self, id: u64) -> Option<OutboxRow> {
        let row = self.outbox.remove(&id)?;
        self.dirty.insert(Dirty::Outbox(id));
        self.new_outbox.remove(&id);
        match &row.kind {
            OutboxKind::Station { identity, .. } => {
                if let Some(number) = self.find_station(identity.as_str()) {
                    self.station_mut(number).outbox.remove(&id);
                }
                self.timers.remove(&(row.deadline, Timer::Outbox(id)));
            }
            OutboxKind::Peer { command: PeerCommand::PlaceHold(hold), .. } => {
                self.raising.remove(&hold.session);
            }
            OutboxKind::Peer { command: PeerCommand::ReleaseHold { session, attempt }, .. } => {
                let of = (*session, *attempt);
                if let Some(rows) = self.releasing.get_mut(&of) {
                    *rows -= 1;
                    if *rows == 0 {
                        self.releasing.remove(&of);
                    }
                }
            }
            OutboxKind::Peer { command: PeerCommand::AskSession { session, .. }, .. } => {
                self.asking.remove(session);
            }
            OutboxKind::Peer { .. } | OutboxKind::Payment { .. } => {}
        }
        Some(row)
    }

    /// Commands for a station not yet answered, in id order.
    pub(crate) fn station_outbox(
        &self,
        station: StationNumber,
    ) -> impl Iterator<Item = (u64, &StationCommand)> {
        self.station(station).outbox.iter().filter_map(|id| match &self.outbox.get(id)?.kind {
            OutboxKind::Station { command, .. } => Some((*id, command)),
            OutboxKind::Peer { .. } | OutboxKind::Payment { .. } => None,
        })
    }

    /// Puts a payment row into its place.
    pub(crate) fn put_payment_row(&mut self, row: PaymentRow) {
        let (session, number) = (row.session, row.number);
        self.dirty.insert(Dirty::Payment(session, number));
        self.cards_touched.insert(session);
        let rows = self.cards.entry(session).or_default();
        match rows.get_mut(number as usize) {
            Some(known) => *known = row,
            None => {
                assert_eq!(rows.len(), number as usize, "operations are numbered without gaps");
                rows.push(row);
            }
        }
    }

    /// Writes down what a person should look at.
    pub(crate) fn except(&mut self, identity: &Identity, text: &str) {
        let number = self.meta.next_exception;
        self.meta.next_exception += 1;
        let row = ExceptionRow { at: self.now(), identity: identity.clone(), text: text.into() };
        self.append(Keyspace::Exceptions, &number.to_be_bytes(), &rows::archive(&row));
    }

    /// The same about a driver, who is not named: the session that the words name leads there, as long
    /// as anything does.
    pub(crate) fn except_driver(&mut self, text: &str) {
        self.except(&crate::peers::nobody(), text);
    }

    /// A row of a session that is over changes.
    pub(crate) fn note_late_change(&mut self) {
        self.meta.late_change = self.meta.applied_index;
    }

    /// Writes a row that is not kept in memory.
    pub(crate) fn append(&mut self, keyspace: Keyspace, key: &[u8], value: &[u8]) {
        self.appended.write(keyspace, key, Some(value));
    }

    fn write_dirty(&self, dirty: &Dirty, out: &mut RowWrites) {
        match dirty {
            Dirty::Directory(kind, id) => {
                let row = self.directory[*kind as usize].get(id);
                out.write_row(Keyspace::Directory, &rows::directory_key(*kind, id), row);
            }
            Dirty::Site(site) => {
                let row = self.sites.get(site).map(|site| &site.row);
                out.write_row(Keyspace::Sites, site.as_str().as_bytes(), row);
            }
            Dirty::Station(number) => {
                let row = &self.station(*number).row;
                out.write_row(Keyspace::Stations, row.identity.as_str().as_bytes(), Some(row));
            }
            Dirty::Connector(number, connector) => {
                let station = self.station(*number);
                let key = rows::connector_key(&station.row.identity, *connector);
                out.write_row(Keyspace::Connectors, &key, station.connectors.get(connector));
            }
            Dirty::Driver(driver) => {
                let row = self.drivers.get(driver);
                out.write_row(Keyspace::Drivers, driver.as_str().as_bytes(), row);
            }
            Dirty::Token(token) => {
                let row = self.tokens.get(token);
                out.write_row(Keyspace::Tokens, token.as_str().as_bytes(), row);
            }
            Dirty::Session(session) => {
                let live = self.sessions.get(session).map(|session| &*session.row);
                let row = live.or_else(|| self.closing.get(session).map(|row| &**row));
                assert!(row.is_some(), "a session's row is never deleted");
                out.write_row(Keyspace::Sessions, &session.0.to_be_bytes(), row);
            }
            Dirty::Outbox(id) => {
                out.write_row(Keyspace::Outbox, &id.to_be_bytes(), self.outbox.get(id));
            }
            Dirty::PayerSession(session) => {
                let row = self.payers.get(session);
                out.write_row(Keyspace::PayerSessions, &session.0.to_be_bytes(), row);
            }
            Dirty::Payment(session, number) => {
                let rows = self.cards.get(session);
                let row = rows.and_then(|rows| rows.get(*number as usize));
                assert!(row.is_some(), "a payment's row is never deleted");
                out.write_row(Keyspace::Payments, &payment_key(*session, *number), row);
            }
            Dirty::Roster => out.write_row(Keyspace::Nodes, ROSTER_KEY, Some(&self.roster)),
            Dirty::Accrual(id) => {
                let row = self.accruals.get(id).or_else(|| self.settled_months.get(id));
                assert!(row.is_some(), "a month's row is never deleted");
                let key = rows::accrual_key(&id.0, id.1, id.2.0);
                out.write_row(Keyspace::Accruals, &key, row);
            }
        }
    }

    fn take_ledger_rows(&mut self, out: &mut RowWrites) {
        let changes = self.ledger.take_changes();
        for account in changes.accounts() {
            out.write_row(Keyspace::Accounts, &account.id.0.to_be_bytes(), Some(account));
        }
        for (id, hold) in changes.holds() {
            let mut key = [id.leg; 17];
            key[..16].copy_from_slice(&id.key.0.to_be_bytes());
            out.write_row(Keyspace::Holds, &key, hold);
        }
        for row in changes.journal() {
            out.write_row(Keyspace::Transfers, &row.number.to_be_bytes(), Some(row));
        }
        for entry in changes.entries() {
            let mut key = [0; 24];
            key[..16].copy_from_slice(&entry.account.0.to_be_bytes());
            key[16..].copy_from_slice(&entry.number.to_be_bytes());
            out.write_row(Keyspace::AccountEntries, &key, Some(entry));
        }
        for (key, row) in changes.keys() {
            out.write_row(Keyspace::Keys, &key.0.to_be_bytes(), Some(&row));
        }
        self.heads.grow(self.config.partition, &mut self.meta, changes.journal(), out);
        let head = self.ledger.head();
        self.meta.next_journal = head.next_journal;
        self.meta.closed_until = head.closed_until;
    }

    /// The rows that changed since the last call, each once, and the state hash over them.
    pub(crate) fn take_rows(&mut self) -> RowWrites {
        let dirty = self.dirty.take();
        let mut out = std::mem::take(&mut self.spare);
        out.clear();
        dirty.iter().for_each(|dirty| self.write_dirty(dirty, &mut out));
        self.take_ledger_rows(&mut out);
        self.dirty.reuse(dirty);
        self.write_series();
        out.append(&mut self.appended);
        for (_, row) in std::mem::take(&mut self.closing) {
            self.finished.keep_recent(row, self.config.recent_sessions_max);
        }
        self.forget_cards();
        self.settled_months.clear();
        self.chain(&out);
        self.write_meta(&mut out);
        out
    }

    /// The state hash covers all rows but those of series, whose cut depends on when heads are written
    /// out.
    fn chain(&mut self, rows: &RowWrites) {
        let mut chain = Chain(self.meta.state_hash);
        chain.number(self.meta.applied_index);
        chain.number(self.meta.time.0);
        for row in rows.iter().filter(|row| row.keyspace.is_hashed()) {
            chain.number(row.keyspace as u64);
            chain.bytes(row.key);
            chain.number(u64::from(row.value.is_some()));
            chain.bytes(row.value.unwrap_or_default());
        }
        self.meta.state_hash = chain.0;
    }

    pub(crate) fn write_meta(&self, out: &mut RowWrites) {
        out.write_row(Keyspace::Meta, META_KEY, Some(&self.meta));
    }

    /// The stations whose sockets changed since the last call.
    pub(crate) fn take_sockets(&mut self) -> Vec<Identity> {
        let numbers = std::mem::take(&mut self.sockets);
        numbers.into_iter().map(|number| self.station(number).row.identity.clone()).collect()
    }

    /// Outbox rows made since the last call that still stand.
    pub(crate) fn take_new_outbox(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.new_outbox).into_iter().collect()
    }
}

/// The one key of the meta keyspace.
pub(crate) const META_KEY: &[u8] = b"meta";
/// The one key of the nodes.
const ROSTER_KEY: &[u8] = b"roster";

//! The partition: entries in, rows and outcomes out; and what the gateway may read between.

use crate::accounts::Purpose;
use crate::command::{Command, CorruptEntry, Entry, Origin, Outcome, TransactionRef, decode_entry};
use crate::config::PartitionConfig;
use crate::finished::Past;
use crate::history::History;
use crate::payment::PaymentRow;
use crate::roster::Roster;
use crate::rows::{
    ConnectorRow, DirectoryKind, DirectoryRow, DriverRow, OutboxRow, SessionRow, SiteRow,
    StationRow, TokenRow,
};
use crate::state::{Session, State};
use crate::stations::Boot;
use crate::writes::RowWrites;
use novax_audit::TreeHead;
use novax_model::{Amount, ConnectorRef, Currency, Identity, Measurand, SessionId, Timestamp};
use novax_settlement::RevenueContract;
use std::sync::Arc;

/// One partition's replica.
#[derive(Debug)]
pub struct Partition {
    pub(crate) state: State,
}

/// What an entry did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// One for each command, in order.
    pub outcomes: Vec<Outcome>,
    /// Who waits for them, in order.
    pub origins: Vec<Origin>,
    /// Rows to write, each key once; the meta row is the last.
    pub rows: RowWrites,
    /// New outbox rows, to be delivered now: those for stations by the node that has the socket, the others by
    /// the leader.
    pub outbox: Vec<u64>,
    /// Stations whose socket was opened, closed or replaced: whoever has another one is to close it.
    pub sockets: Vec<Identity>,
}

/// Counters of a partition. Sessions, energy and money count since the data was made; ticks since
/// this replica started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals {
    /// Sessions that have a connector now.
    pub live_sessions: u64,
    /// Sessions that ended, billed.
    pub sessions_ended: u64,
    /// What those delivered, in watt-hours.
    pub energy_wh_total: u64,
    /// What drivers paid or owe, tax included, in the order of currency codes.
    pub settled: Vec<(Currency, Amount)>,
    /// Power of all connectors with a session now, in watts.
    pub power_w_live: i64,
    /// Stations with an open socket.
    pub stations_connected: u64,
    /// Ticks taken.
    pub ticks: u64,
    /// Ticks of series that are none of ours.
    pub ticks_ignored: u64,
    /// Ticks older than `ticks_late_max`, not kept in their series; they count for twin and bill.
    pub ticks_late: u64,
    /// Telemetry blocks that could not be read.
    pub blocks_corrupt: u64,
}

impl Partition {
    /// An empty partition.
    #[must_use]
    pub fn new(config: PartitionConfig) -> Self {
        Partition { state: State::new(config) }
    }

    /// Applies a committed entry. An empty one (a new leader's) only moves the index. `history` has the rows of
    /// all entries before.
    ///
    /// # Errors
    /// [`CorruptEntry`] when the bytes are no entry of this build; nothing is changed.
    ///
    /// # Panics
    /// When the index does not grow, or the books do not balance.
    pub fn apply(
        &mut self,
        index: u64,
        entry: &[u8],
        history: &mut dyn History,
    ) -> Result<Applied, CorruptEntry> {
        let state = &mut self.state;
        let applied = state.meta.applied_index;
        assert!(index > applied, "entry {index} after {applied}: entries are applied in order");
        if entry.is_empty() {
            state.meta.applied_index = index;
            state.link_entry(index, entry);
            let mut rows = RowWrites::default();
            state.write_meta(&mut rows);
            return Ok(Applied { rows, ..Applied::default() });
        }
        let Entry { time, commands, origins } = decode_entry(entry)?;
        state.meta.applied_index = index;
        state.link_entry(index, entry);
        state.meta.time = time.max(Timestamp(state.meta.time.0.saturating_add(1)));
        state.fire_timers();
        state.settle_months();
        let mut outcomes = Vec::with_capacity(commands.len());
        for command in commands {
            state.recall(&command, history);
            outcomes.push(state.execute(command));
        }
        state.ledger.assert_conserved();
        let rows = state.take_rows();
        state.forget_recalled();
        let outbox = state.take_new_outbox();
        let sockets = state.take_sockets();
        Ok(Applied { outcomes, origins, rows, outbox, sockets })
    }

    /// Takes back the room of rows that are written.
    pub fn recycle(&mut self, rows: RowWrites) {
        self.state.spare = rows;
    }

    /// The last applied entry.
    #[must_use]
    pub fn applied_index(&self) -> u64 {
        self.state.meta.applied_index
    }

    /// The time of the last entry.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.state.meta.time
    }

    /// Equal on all replicas at equal index.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        self.state.meta.state_hash
    }

    /// When the first timer is due; the leader proposes [`Command::Tick`] when it has passed.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let timer = self.state.next_deadline();
        timer.into_iter().chain(self.state.head_deadline()).min()
    }

    /// Open ends of series that changed, and chunks that time has closed, as rows: to be written before
    /// a flush of the store or a snapshot for telemetry. No part of the state hash.
    pub fn seal_heads(&mut self) -> RowWrites {
        self.state.seal_heads()
    }

    /// The newest head of the journal's tree that nobody has signed: the leader does.
    #[must_use]
    pub fn unsigned_head(&self) -> Option<&TreeHead> {
        self.state.unsigned_head()
    }

    /// The nodes of the cluster; partition 0 alone has any.
    #[must_use]
    pub fn roster(&self) -> &Roster {
        &self.state.roster
    }

    /// A site.
    #[must_use]
    pub fn site(&self, site: &str) -> Option<&SiteRow> {
        self.state.sites.get(site).map(|site| &site.row)
    }

    /// A station.
    #[must_use]
    pub fn station(&self, identity: &str) -> Option<&StationRow> {
        let number = self.state.find_station(identity)?;
        Some(&self.state.station(number).row)
    }

    /// All stations, in the order they were provisioned.
    pub fn stations(&self) -> impl Iterator<Item = &StationRow> {
        self.state.stations.iter().map(|station| &station.row)
    }

    /// A connector and its live values.
    #[must_use]
    pub fn connector(&self, identity: &str, connector: ConnectorRef) -> Option<&ConnectorRow> {
        let number = self.state.find_station(identity)?;
        self.state.station(number).connectors.get(&connector)
    }

    /// The connectors of a station.
    pub fn connectors(&self, identity: &str) -> impl Iterator<Item = &ConnectorRow> {
        let number = self.state.find_station(identity);
        let station = number.map(|number| self.state.station(number));
        station.into_iter().flat_map(|station| station.connectors.values())
    }

    /// A session that is not settled, or finished lately. Older ones are in the store.
    #[must_use]
    pub fn session(&self, session: SessionId) -> Option<&SessionRow> {
        let live = self.state.sessions.get(&session).map(|session| &*session.row);
        live.or_else(|| self.state.finished.recent(session))
    }

    /// The contract by which a session's revenue is split.
    #[must_use]
    pub fn contract_of(&self, session: &SessionRow) -> Arc<RevenueContract> {
        self.state.terms.contract(session.deal.contract)
    }

    /// The live session on a connector; one that runs before one that is starting.
    #[must_use]
    pub fn session_at(&self, identity: &str, connector: ConnectorRef) -> Option<&SessionRow> {
        let number = self.state.find_station(identity)?;
        self.state.session_on(number, connector)
    }

    /// The session of a transaction that is not settled.
    #[must_use]
    pub fn session_by_transaction(
        &self,
        identity: &str,
        transaction: &TransactionRef,
    ) -> Option<&SessionRow> {
        let number = self.state.find_station(identity)?;
        let open = self.state.station(number).transactions.get(transaction)?;
        self.session(open.session)
    }

    /// Where a transaction runs, or ran, or was refused, as far as its station's memory goes.
    #[must_use]
    pub fn connector_of(
        &self,
        identity: &str,
        transaction: &TransactionRef,
    ) -> Option<ConnectorRef> {
        if let Some(session) = self.session_by_transaction(identity, transaction) {
            return Some(session.connector);
        }
        let past = &self.state.station(self.state.find_station(identity)?).past;
        let is_it = |past: &&Past| past.transaction.as_ref() == Some(transaction);
        past.values().rev().find(is_it).map(|past| past.connector)
    }

    /// The live session of a remote start.
    #[must_use]
    pub fn session_by_remote_start(
        &self,
        identity: &str,
        remote_start_id: i32,
    ) -> Option<&SessionRow> {
        let number = self.state.find_station(identity)?;
        let live = self.state.station(number).live.keys();
        live.filter_map(|session| self.session(*session))
            .find(|row| row.app && row.remote_start_id == remote_start_id)
    }

    /// The session that a start by this card would answer: an app's, waiting at this connector.
    #[must_use]
    pub fn session_awaited(
        &self,
        identity: &str,
        connector: ConnectorRef,
        token: &str,
    ) -> Option<&SessionRow> {
        let number = self.state.find_station(identity)?;
        let mut here = self.state.sessions_on(number, connector);
        here.find(|row| row.app && row.transaction.is_none() && row.token.as_str() == token)
    }

    /// The key under which the bill of a session is booked.
    #[must_use]
    pub fn bill_key(session: SessionId) -> novax_model::TransferKey {
        Purpose::Settle.key(session, 0)
    }

    /// The key under which the n-th correction of a bill is booked, from 1: its true stop changed it.
    #[must_use]
    pub fn adjust_key(session: SessionId, n: u32) -> novax_model::TransferKey {
        Purpose::Adjust.key(session, n)
    }

    /// The key under which the n-th refund of a bill is booked, from 1.
    #[must_use]
    pub fn refund_key(session: SessionId, n: u32) -> novax_model::TransferKey {
        Purpose::Refund.key(session, n)
    }

    /// A token and who owns it.
    #[must_use]
    pub fn token(&self, token: &str) -> Option<(&TokenRow, &DriverRow)> {
        let row = self.state.tokens.get(token)?;
        Some((row, self.state.drivers.get(&row.driver)?))
    }

    /// A driver.
    #[must_use]
    pub fn driver(&self, driver: &str) -> Option<&DriverRow> {
        self.state.drivers.get(driver)
    }

    /// What a driver can spend or have held.
    #[must_use]
    pub fn available(&self, driver: &str) -> Option<Amount> {
        Some(self.state.available(self.driver(driver)?.wallet))
    }

    /// What was asked of payment providers for a session that is not over, or that still waits for an
    /// answer. Others are in the store.
    #[must_use]
    pub fn payments(&self, session: SessionId) -> &[PaymentRow] {
        self.state.cards.get(&session).map_or(&[], Vec::as_slice)
    }

    /// All operations of sessions that wait for a payment provider or may yet ask it.
    pub fn open_payments(&self) -> impl Iterator<Item = &PaymentRow> {
        self.state.cards.values().flatten()
    }

    /// Where the rows of an id live.
    #[must_use]
    pub fn directory(&self, kind: DirectoryKind, id: &str) -> Option<&DirectoryRow> {
        self.state.directory[kind as usize].get(id)
    }

    /// Effects not yet answered, in id order.
    pub fn outbox(&self) -> impl Iterator<Item = &OutboxRow> {
        self.state.outbox.values()
    }

    /// One effect.
    #[must_use]
    pub fn outbox_row(&self, id: u64) -> Option<&OutboxRow> {
        self.state.outbox.get(&id)
    }

    /// Commands for a station, in id order.
    pub fn outbox_for(&self, identity: &str) -> impl Iterator<Item = &OutboxRow> {
        let number = self.state.find_station(identity);
        let ids = number.map(|number| &self.state.station(number).outbox);
        ids.into_iter().flatten().filter_map(|id| self.state.outbox.get(id))
    }

    /// Counters for people. Takes time in proportion to the live sessions.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let counters = &self.state.counters;
        let power_of = |found: &Session| {
            let station = self.state.station(found.station);
            station.connectors.get(&found.row.connector)?.live.get(Measurand::Power)
        };
        let (live, power_w) = self.state.sessions.fold_unordered((0u64, 0i128), |sum, found| {
            if !found.row.state.is_live() {
                return sum;
            }
            (sum.0 + 1, sum.1 + i128::from(power_of(found).unwrap_or_default()))
        });
        Totals {
            live_sessions: live,
            sessions_ended: counters.sessions_ended,
            energy_wh_total: counters.energy_wh_total,
            settled: counters.settled.iter().map(|(code, amount)| (*code, *amount)).collect(),
            power_w_live: power_w.clamp(i64::MIN.into(), i64::MAX.into()) as i64,
            stations_connected: counters.stations_connected,
            ticks: counters.ticks,
            ticks_ignored: counters.ticks_ignored,
            ticks_late: counters.ticks_late,
            blocks_corrupt: counters.blocks_corrupt,
        }
    }

    /// Recounts all accounts and holds.
    ///
    /// # Errors
    /// When the books do not balance, or a limit is broken.
    pub fn audit(&self) -> Result<(), novax_ledger::LedgerError> {
        self.state.ledger.audit()
    }

    /// The ledger, for readers.
    #[must_use]
    pub fn ledger(&self) -> &novax_ledger::Ledger {
        &self.state.ledger
    }
}

impl State {
    /// Each command to its floor.
    fn execute(&mut self, command: Command) -> Outcome {
        let answer = match command {
            Command::PutDirectory { .. }
            | Command::ReportUnknownStation { .. }
            | Command::ForgetUnknownStation { .. }
            | Command::PutSite { .. }
            | Command::PutStation { .. }
            | Command::PutDriver { .. }
            | Command::PutSignal { .. }
            | Command::PutFunding { .. }
            | Command::PutPriced(_)
            | Command::EraseDriver(_)
            | Command::RemoveDirectory { .. }
            | Command::PutMeterKey { .. }
            | Command::Deposit { .. } => self.execute_admin(command),
            Command::CloseBooks { .. }
            | Command::WriteOff { .. }
            | Command::ParkMoney { .. }
            | Command::PayOut { .. }
            | Command::ProviderBooked(_)
            | Command::IssueDocument(_)
            | Command::PutFxRate(_) => self.execute_books(command),
            Command::SocketsClosed { .. }
            | Command::StationConnected { .. }
            | Command::StationDisconnected { .. }
            | Command::StationBooted { .. }
            | Command::ConnectorStatus { .. } => self.execute_station(command),
            Command::RequestStart(ask) => Ok(self.request_start(&ask)),
            Command::StartTransaction(start) => Ok(self.start_transaction(&start)),
            Command::RequestStop { session } => Ok(self.request_stop(session)),
            Command::EndTransaction(end) => Ok(self.end_transaction(&end)),
            Command::Refund(ask) => self.refund(&ask),
            Command::Telemetry { block } => {
                self.telemetry(&block);
                Ok(Outcome::Done)
            }
            Command::CommandAnswered { outbox, answer } => {
                self.command_answered(outbox, &answer);
                Ok(Outcome::Done)
            }
            Command::Peer { from, command } => Ok(self.peer(from, &command)),
            Command::PeerAnswered { outbox, outcome } => {
                self.peer_answered(outbox, &outcome);
                Ok(Outcome::Done)
            }
            Command::PutNode(put) => self.put_node(*put),
            Command::RemoveNode { node } => self.remove_node(node),
            Command::PlaceReplicas { partition, voters } => self.place_replicas(partition, voters),
            Command::SignTreeHead(signed) => Ok(self.sign_head(&signed)),
            Command::Tick => Ok(Outcome::Done),
            Command::PaymentAnswered { session, number, answer } => {
                self.payment_answered(session, number, answer);
                Ok(Outcome::Done)
            }
        };
        answer.unwrap_or_else(Outcome::Refused)
    }

    fn execute_admin(&mut self, command: Command) -> Result<Outcome, crate::command::Refusal> {
        match command {
            Command::PutDirectory { kind, id, home } => self.put_directory(kind, &id, home),
            Command::ReportUnknownStation { identity, protocol, vendor, model } => {
                self.report_unknown(&identity, protocol, &vendor, &model)
            }
            Command::ForgetUnknownStation { identity } => {
                self.remove_directory_row(DirectoryKind::PendingStation, identity.as_str());
                Ok(Outcome::Done)
            }
            Command::PutSite(put) => self.put_site(*put),
            Command::PutSignal { site, kind, sample } => self.put_signal(site, kind, sample),
            Command::PutPriced(put) => self.put_priced(*put),
            Command::PutMeterKey { identity, key } => self.put_meter_key(&identity, key),
            Command::PutStation { identity, site, password } => {
                self.put_station(&identity, &site, password)
            }
            Command::PutDriver { driver, salt, tokens, currency, blocked } => {
                self.put_driver(&driver, salt, &tokens, (currency, blocked))
            }
            Command::EraseDriver(erase) => self.erase_driver(*erase),
            Command::RemoveDirectory { kind, id, home } => self.remove_directory(kind, &id, home),
            Command::PutFunding { driver, funding } => self.put_funding(&driver, funding),
            Command::Deposit { key, driver, amount } => self.deposit(key, &driver, amount),
            _ => unreachable!("execute sends admin commands alone"),
        }
    }

    fn execute_books(&mut self, command: Command) -> Result<Outcome, crate::command::Refusal> {
        match command {
            Command::PutFxRate(rate) => self.put_fx_rate(rate),
            Command::IssueDocument(ask) => self.issue_document(&ask),
            Command::CloseBooks { until } => self.close_books(until),
            Command::WriteOff { key, driver, amount } => self.write_off(key, &driver, amount),
            Command::ProviderBooked(entry) => self.provider_booked(&entry),
            Command::PayOut { key, driver, amount } => self.pay_out(key, &driver, amount),
            Command::ParkMoney { key, with, currency, amount } => {
                self.park_money(key, with, currency, amount)
            }
            _ => unreachable!("execute sends commands of the books alone"),
        }
    }

    fn execute_station(&mut self, command: Command) -> Result<Outcome, crate::command::Refusal> {
        match command {
            Command::StationConnected { identity, epoch, protocol, node } => {
                self.station_connected(identity.as_str(), epoch, protocol, node)
            }
            Command::StationDisconnected { identity, epoch } => {
                self.station_disconnected(identity.as_str(), epoch)
            }
            Command::StationBooted { identity, vendor, model, firmware, serial } => {
                self.station_booted(identity.as_str(), Boot { vendor, model, firmware, serial })
            }
            Command::ConnectorStatus { identity, connector, status, error, at } => {
                self.connector_status(identity.as_str(), connector, (status, error), at)
            }
            Command::SocketsClosed { node, before } => {
                self.sockets_closed(node, before);
                Ok(Outcome::Done)
            }
            _ => unreachable!("execute sends commands of stations alone"),
        }
    }
}

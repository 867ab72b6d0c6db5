//! The tables of a partition: key layout and row types.
//!
//! Rows are rkyv archives, keys are big-endian so that byte order is the order people expect.
//!
//! | keyspace | key | row |
//! |---|---|---|
//! | meta | `"meta"` | [`MetaRow`] |
//! | directory | kind u8, id text | [`DirectoryRow`] |
//! | sites | site text | [`SiteRow`] |
//! | stations | identity text | [`StationRow`] |
//! | connectors | identity text, 0, evse u16, connector u16 | [`ConnectorRow`] |
//! | drivers | driver text | [`DriverRow`] |
//! | tokens | token text | [`TokenRow`] |
//! | sessions | session u128 | [`SessionRow`] |
//! | accounts | account u128 | `novax_ledger::Account` |
//! | holds | transfer key u128, leg u8 | `novax_ledger::Hold` |
//! | transfers | journal number u64 | `novax_ledger::JournalRow` |
//! | keys | transfer key u128 | `novax_ledger::KeyRow` |
//! | outbox | outbox id u64 | [`OutboxRow`] |
//! | series | series u64, first time stamp u64; late ticks: number u32 | `novax_tsdb` chunk |
//! | payer_sessions | session u128 | [`PayerSessionRow`] |
//! | exceptions | number u64 | [`ExceptionRow`] |
//! | heads | series u64; pieces: first time stamp u64; late ticks: day u64, 255 | open end of a series |
//! | rollups_1m, _15m, _1h | series u64, first bucket u64, chunk number u32 | `novax_tsdb` rollup |
//! | terms | kind u8, hash u128 | [`TermsRow`]: a tariff, contract or rule book, never changed |
//! | accruals | site text, 0, contract u128, month u32 | [`AccrualRow`] |
//! | signals | site text, 0, kind u8 | [`SignalRow`] |
//! | fx_rates | base, quote: three letters each, from u64 | [`FxRateRow`] |
//! | account_entries | account u128, journal number u64 | `novax_ledger::AccountEntry` |
//! | tree_nodes | level u8, index u64 | hash of a Merkle node, 32 bytes |
//! | tree_nodes | 255, journal number u64 of a transaction's first row | which leaf it is, u64 |
//! | tree_heads | size u64 | [`TreeHeadRow`] |
//! | documents | see [`crate::document`] | series, documents and what they say |
//! | payments | session u128, operation u32 | [`crate::PaymentRow`] |
//! | priced | kind u8, id text | [`PricedRow`] |
//! | signed_values | session u128 | [`crate::document::SignedRow`] |
//! | billings | see [`crate::document`] | [`crate::document::BillingRow`] |
//! | nodes | `"roster"` | [`crate::Roster`], of partition 0 |
//! | replica | `"members"` | who the members of the partition's group are, as of the applied index |

use crate::command::{PasswordHash, PeerCommand, StationCommand, TransactionRef};
use crate::document::Signed;
use crate::payment::{Funding, PaymentRow};
use novax_audit::{SignedHead, Tree, TreeHead};
use novax_model::{
    Amount, ConnectorRef, Currency, Identity, MeterTick, NodeId, PartitionId, SessionId, Timestamp,
    TokenUid, WattHours, Watts,
};
use novax_settlement::contract::RevenueContract;
use novax_settlement::{Accrual, Rate, RoundingPolicy, Settlement, Treatment};
use novax_tariff::rules::{RuleBook, Sample, SignalKind};
use novax_tariff::{Adjustment, Rating, Tariff};
use novax_tsdb::query::Rank;
use novax_tsdb::rollup::Resolution;
use novax_tsdb::{DAY_US, OpenPart};
use rkyv::{Archive, Deserialize, Serialize};
use std::cell::RefCell;

/// A table. The number is the engine's keyspace number: append only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Keyspace {
    /// Counters, applied index, state hash.
    Meta = 0,
    /// Where the rows of an id live.
    Directory = 1,
    /// Sites.
    Sites = 2,
    /// Stations.
    Stations = 3,
    /// Connectors with their live values (the twin).
    Connectors = 4,
    /// Drivers.
    Drivers = 5,
    /// Tokens.
    Tokens = 6,
    /// Sessions, live and finished.
    Sessions = 7,
    /// Ledger accounts.
    Accounts = 8,
    /// Pending transfers.
    Holds = 9,
    /// The journal: every transfer, in order.
    Transfers = 10,
    /// Idempotency keys of the ledger.
    Keys = 11,
    /// Effects not yet answered.
    Outbox = 12,
    /// Compressed meter series.
    Series = 13,
    /// Holds placed here for sessions of other partitions.
    PayerSessions = 14,
    /// What a person should look at.
    Exceptions = 15,
    /// The open ends of meter series.
    Heads = 16,
    /// What series did in each minute.
    RollupsMinute = 17,
    /// What series did in each quarter of an hour.
    RollupsQuarter = 18,
    /// What series did in each hour.
    RollupsHour = 19,
    /// Tariffs, contracts and rule books that sites and sessions refer to by hash.
    Terms = 20,
    /// What each contract has earned in each month.
    Accruals = 21,
    /// What dynamic prices follow.
    Signals = 22,
    /// Exchange rates.
    FxRates = 23,
    /// Each account's own history, with its balance after each entry.
    AccountEntries = 24,
    /// Nodes of the Merkle tree over transactions.
    TreeNodes = 25,
    /// Heads of that tree, signed or to be signed.
    TreeHeads = 26,
    /// Invoices, credit notes, settlement statements.
    Documents = 27,
    /// What was asked of payment providers, and what they said.
    Payments = 28,
    /// Tariffs, contracts and rule books by name, as their authors wrote them.
    Priced = 29,
    /// What meters signed, as stations sent it.
    SignedValues = 30,
    /// Where the journal has what was booked of sessions, by session and by time.
    Billings = 31,
    /// What the replicas of the partition know of each other; no part of the state.
    Replica = 32,
    /// The nodes of the cluster.
    Nodes = 33,
}

impl Keyspace {
    /// How many there are.
    pub const COUNT: u8 = 34;

    /// All of them, in order of their numbers.
    pub const ALL: [Keyspace; Keyspace::COUNT as usize] = [
        Keyspace::Meta,
        Keyspace::Directory,
        Keyspace::Sites,
        Keyspace::Stations,
        Keyspace::Connectors,
        Keyspace::Drivers,
        Keyspace::Tokens,
        Keyspace::Sessions,
        Keyspace::Accounts,
        Keyspace::Holds,
        Keyspace::Transfers,
        Keyspace::Keys,
        Keyspace::Outbox,
        Keyspace::Series,
        Keyspace::PayerSessions,
        Keyspace::Exceptions,
        Keyspace::Heads,
        Keyspace::RollupsMinute,
        Keyspace::RollupsQuarter,
        Keyspace::RollupsHour,
        Keyspace::Terms,
        Keyspace::Accruals,
        Keyspace::Signals,
        Keyspace::FxRates,
        Keyspace::AccountEntries,
        Keyspace::TreeNodes,
        Keyspace::TreeHeads,
        Keyspace::Documents,
        Keyspace::Payments,
        Keyspace::Priced,
        Keyspace::SignedValues,
        Keyspace::Billings,
        Keyspace::Replica,
        Keyspace::Nodes,
    ];

    /// Where rollups of a resolution are. Each has a table of its own, so that each tier can drop whole
    /// windows of time by its own retention.
    #[must_use]
    pub fn rollups(resolution: Resolution) -> Keyspace {
        match resolution {
            Resolution::Minute => Keyspace::RollupsMinute,
            Resolution::Quarter => Keyspace::RollupsQuarter,
            Resolution::Hour => Keyspace::RollupsHour,
        }
    }

    /// Whether the state hash covers it. Where series are cut depends on when heads are written out,
    /// which each replica does at its own time.
    #[must_use]
    pub fn is_hashed(self) -> bool {
        !matches!(self, Keyspace::Series | Keyspace::Heads | Keyspace::Replica)
            && self.window_us().is_none()
    }

    /// Whether a partition is restored from it; the others are only read by queries. Series chunks
    /// matter only for stores that were written before there were heads.
    #[must_use]
    pub fn is_restored(self) -> bool {
        !matches!(
            self,
            Keyspace::Transfers
                | Keyspace::Exceptions
                | Keyspace::RollupsMinute
                | Keyspace::RollupsQuarter
                | Keyspace::RollupsHour
                | Keyspace::AccountEntries
                | Keyspace::TreeNodes
                | Keyspace::SignedValues
                | Keyspace::Billings
                | Keyspace::Replica
        )
    }

    /// Between which keys the rows lie that a partition is restored from.
    #[must_use]
    pub fn restored_keys(self) -> (&'static [u8], Option<&'static [u8]>) {
        match self {
            // Request keys come last, and are looked up.
            Keyspace::Directory => (&[], Some(&[DirectoryKind::RequestKey as u8])),
            // Series come first; of what was issued, memory knows nothing.
            Keyspace::Documents => {
                (&[crate::document::SERIES], Some(&[crate::document::SERIES + 1]))
            }
            _ => (&[], None),
        }
    }

    /// How many microseconds of rows lie together in windows that are dropped whole, where rows are
    /// kept by time. [`window_time`] says when a row's is.
    #[must_use]
    pub fn window_us(self) -> Option<u64> {
        match self {
            Keyspace::Series | Keyspace::RollupsMinute => Some(DAY_US),
            Keyspace::RollupsQuarter => Some(7 * DAY_US),
            Keyspace::RollupsHour => Some(28 * DAY_US),
            _ => None,
        }
    }
}

/// The time of a row in a table that is kept by time, from its key: microseconds since the epoch.
#[must_use]
pub fn window_time(key: &[u8]) -> Option<u64> {
    let (_, rest) = key.split_first_chunk::<8>()?;
    Some(u64::from_be_bytes(*rest.first_chunk()?))
}

/// Which kind of text id a directory row is about.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
#[repr(u8)]
pub enum DirectoryKind {
    /// An OCPP identity.
    Station = 0,
    /// What a driver shows.
    Token = 1,
    /// A driver.
    Driver = 2,
    /// A site.
    Site = 3,
    /// An OCPP identity that connected and waits for approval.
    PendingStation = 4,
    /// The idempotency key of an app's start request; its home is the station's partition.
    RequestKey = 5,
}

impl DirectoryKind {
    /// How many there are.
    pub const COUNT: usize = 6;
}

/// Where the rows of an id live, or that the station waits for approval.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct DirectoryRow {
    /// The kind, as in the key.
    pub kind: DirectoryKind,
    /// The id, as in the key.
    pub id: Box<str>,
    /// The partition that holds its rows; for a pending station, this one.
    pub home: PartitionId,
    /// Pending station: what it said of itself.
    pub vendor: Box<str>,
    /// Pending station: what it said of itself.
    pub model: Box<str>,
    /// Pending station: what it speaks.
    pub protocol: Option<Protocol>,
    /// When the row was made.
    pub created: Timestamp,
}

/// The OCPP version of a socket.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// OCPP 1.6J.
    V16,
    /// OCPP 2.0.1.
    V201,
}

impl Protocol {
    /// The WebSocket subprotocol's name.
    #[must_use]
    pub fn subprotocol(self) -> &'static str {
        match self {
            Protocol::V16 => "ocpp1.6",
            Protocol::V201 => "ocpp2.0.1",
        }
    }
}

/// Counters and marks of a partition.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct MetaRow {
    /// The last entry whose effects are in the rows.
    pub applied_index: u64,
    /// The time of that entry; time never runs backwards.
    pub time: Timestamp,
    /// Chained over all row writes: equal on all replicas at equal index.
    pub state_hash: u64,
    /// Next outbox id.
    pub next_outbox: u64,
    /// Next station number.
    pub next_station: u32,
    /// Next exception number.
    pub next_exception: u64,
    /// Next journal number.
    pub next_journal: u64,
    /// The Merkle tree over the journal's transactions: its size and its edge.
    pub tree: Tree,
    /// Chained over the entries of the log; zero before the first.
    pub log_chain: [u8; 32],
    /// End of the last closed period of the books.
    pub closed_until: Timestamp,
    /// The last entry that changed a row of a session that was over: rows read before it may be old.
    pub late_change: u64,
}

/// Terms by what they say: 128 bits of SHA-256 over their canonical form.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
#[rkyv(derive(Debug))]
pub struct TermsId(pub u128);

impl std::fmt::Display for TermsId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What sites and sessions refer to. Written once.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum TermsRow {
    /// What a session costs.
    Tariff(Tariff),
    /// Who gets what of it.
    Contract(RevenueContract),
    /// How the price follows the time, the weather and the grid.
    Rules(RuleBook),
}

impl TermsRow {
    /// First byte of its key.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            TermsRow::Tariff(_) => 0,
            TermsRow::Contract(_) => 1,
            TermsRow::Rules(_) => 2,
        }
    }
}

/// A tariff, contract or rule book by its author's name.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PricedRow {
    /// The name.
    pub id: Identity,
    /// How the text is written: `ocpi-2.2.1`, `toml`...
    pub format: Box<str>,
    /// The text as it came.
    pub source: Box<str>,
    /// Under which hash sites and sessions have what it says.
    pub hash: TermsId,
    /// What it says.
    pub terms: TermsRow,
    /// When it was put.
    pub put: Timestamp,
}

/// Key of a [`PricedRow`]; the kind is that of its terms.
#[must_use]
pub fn priced_key(kind: u8, id: &Identity) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(id.as_str().as_bytes());
    key
}

/// Where a site is, for taxes and for the clock on its wall.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// ISO 3166-1 alpha-2, or ISO 3166-2 where taxes differ within a country: `DE`, `CA-QC`. Empty:
    /// taxes are what the tariff says.
    pub jurisdiction: Box<str>,
    /// IANA name: `Europe/Berlin`.
    pub zone: Box<str>,
}

impl Default for Place {
    fn default() -> Place {
        Place { jurisdiction: "".into(), zone: "UTC".into() }
    }
}

/// What a site charges from some time on.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Price {
    /// Sessions requested from then on.
    pub from: Timestamp,
    /// What they cost.
    pub tariff: TermsId,
    /// Who gets what.
    pub contract: TermsId,
    /// What moves the price; `None`: it stays as listed.
    pub rules: Option<TermsId>,
    /// Of the tariff.
    pub currency: Currency,
    /// What is held before a start, and each time a hold is raised.
    pub hold: Amount,
}

/// Where a site is, for people and for roaming partners. Empty texts: not told.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Location {
    /// What people call it.
    pub name: Box<str>,
    /// Street and number.
    pub address: Box<str>,
    /// Its town.
    pub city: Box<str>,
    /// Where the country has them.
    pub postal_code: Box<str>,
    /// Where it matters.
    pub state: Box<str>,
    /// ISO 3166-1 alpha-2.
    pub country: Box<str>,
    /// Decimal degrees: `51.047599`.
    pub latitude: Box<str>,
    /// Decimal degrees: `3.729944`.
    pub longitude: Box<str>,
    /// OCPI `ConnectorType` of its connectors: `IEC_62196_T2`.
    pub connector_standard: Box<str>,
    /// OCPI `PowerType` of its connectors: `AC_3_PHASE`, `DC`.
    pub power_type: Box<str>,
    /// Cables hang there; otherwise there are sockets.
    pub cable: bool,
}

impl Location {
    /// All its texts.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let Location { name, address, city, postal_code, state, country, .. } = self;
        let Location { latitude, longitude, connector_standard, power_type, .. } = self;
        let texts = [
            name,
            address,
            city,
            postal_code,
            state,
            country,
            latitude,
            longitude,
            connector_standard,
            power_type,
        ];
        texts.into_iter().map(|text| &**text)
    }
}

/// A site: OCPI Location.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct SiteRow {
    /// Its name.
    pub site: Identity,
    /// What all its connectors together may draw.
    pub limit: Option<Watts>,
    /// Where it is.
    pub place: Place,
    /// In order of time: at most one is in force, the rest is announced.
    pub prices: Vec<Price>,
    /// Where it is, for people.
    pub location: Location,
}

impl SiteRow {
    /// What sessions cost that are requested now.
    #[must_use]
    pub fn price_at(&self, at: Timestamp) -> Option<&Price> {
        self.prices.iter().rev().find(|price| price.from <= at)
    }
}

/// What was agreed when a session was asked for. It does not change.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Deal {
    /// What it costs.
    pub tariff: TermsId,
    /// Who gets what.
    pub contract: TermsId,
    /// Of the tariff.
    pub currency: Currency,
    /// What is held before the start, and each time the hold is raised.
    pub hold: Amount,
    /// Where, for taxes; may be empty.
    pub jurisdiction: Box<str>,
    /// Where, for the clock.
    pub zone: Box<str>,
    /// Which taxes.
    pub treatment: Treatment,
    /// How the country rounds.
    pub rounding: RoundingPolicy,
    /// How the price differs from the list.
    pub adjustment: Adjustment,
    /// Why it does, in words.
    pub explanation: Box<str>,
    /// By which rate a wallet of another currency pays, where it is of the session's own partition.
    pub fx: Option<Rate>,
}

/// A rate of exchange; never changed, never deleted.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct FxRateRow {
    /// As the journal names it.
    pub number: u128,
    /// What it says.
    pub rate: Rate,
}

/// What a contract has earned at a site in a month, and what its end brought.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct AccrualRow {
    /// Where it is in force.
    pub site: Identity,
    /// Which contract.
    pub contract: TermsId,
    /// The month on the site's wall: 202611.
    pub month: u32,
    /// Of the contract.
    pub currency: Currency,
    /// Whose midnight ends the month.
    pub zone: Box<str>,
    /// The sessions billed in it.
    pub accrual: Accrual,
    /// What adjustments of sessions counted before gave each party, or took: by place in the contract.
    pub corrections: Vec<i128>,
    /// What the contract's terms brought at the month's end; `None` while it is open.
    pub settled: Option<Vec<Settlement>>,
}

/// Whether a station may work.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum StationState {
    /// Connected without being provisioned; waits for an admin.
    Pending,
    /// Provisioned.
    Accepted,
}

/// A head of the journal's tree.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct TreeHeadRow {
    /// What the tree was.
    pub head: TreeHead,
    /// The leader's word for it. A head without one is vouched for by the next that has.
    pub signed: Option<SignedHead>,
}

/// What dynamic prices of a site follow.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct SignalRow {
    /// Where it holds.
    pub site: Identity,
    /// What it says.
    pub kind: SignalKind,
    /// Its last value.
    pub sample: Sample,
}

/// A stop of a transaction that nobody knows, kept until its start comes.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ParkedStop {
    /// As the station names it.
    pub transaction: TransactionRef,
    /// Register of the meter at the end.
    pub meter_stop: Option<WattHours>,
    /// When it ended, by the station's clock.
    pub at: Timestamp,
    /// Why, as the station wrote it.
    pub reason: Box<str>,
    /// What the meter signed.
    pub signed: Option<Box<Signed>>,
}

/// A charging station.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct StationRow {
    /// Its OCPP identity.
    pub identity: Identity,
    /// Its number within the partition, for series ids.
    pub number: u32,
    /// Its site.
    pub site: Identity,
    /// Basic password.
    pub password: Option<PasswordHash>,
    /// Whether a socket is open.
    pub connected: bool,
    /// Epoch of the newest socket.
    pub epoch: u64,
    /// The node that has or had it.
    pub node: NodeId,
    /// What it speaks, once it connected.
    pub protocol: Option<Protocol>,
    /// From its BootNotification; empty before.
    pub vendor: Box<str>,
    /// From its BootNotification.
    pub model: Box<str>,
    /// From its BootNotification.
    pub firmware: Box<str>,
    /// From its BootNotification.
    pub serial: Box<str>,
    /// When it last booted; zero before.
    pub booted: Timestamp,
    /// When it last connected or disconnected.
    pub connection_changed: Timestamp,
    /// The next 1.6 transaction id; also used as remoteStartId counter of 2.x.
    pub next_transaction_id: i32,
    /// The next remote start id.
    pub next_remote_start_id: i32,
    /// Stops of transactions that nobody knows, oldest first; a bounded number.
    pub parked: Vec<ParkedStop>,
    /// The public key of its meter, in hex, base64 or PEM.
    pub meter_key: Option<Box<str>>,
}

impl StationRow {
    /// The series id of one of its connectors.
    #[must_use]
    pub fn series(&self, connector: ConnectorRef) -> u64 {
        series_id(self.number, connector)
    }
}

/// Packs a station number and a connector into a series id.
#[must_use]
pub fn series_id(station_number: u32, connector: ConnectorRef) -> u64 {
    u64::from(station_number) << 32
        | u64::from(connector.evse) << 16
        | u64::from(connector.connector)
}

/// Takes a series id apart again.
#[must_use]
pub fn series_parts(series: u64) -> (u32, ConnectorRef) {
    let part = |shift: u32| u16::try_from(series >> shift & 0xffff).expect("masked to 16 bits");
    let number = u32::try_from(series >> 32).expect("32 bits left");
    (number, ConnectorRef { evse: part(16), connector: part(0) })
}

/// State of a connector, the union of both versions.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectorStatus {
    /// Not heard of yet.
    Unknown,
    /// Free.
    Available,
    /// 1.6: a cable is in or a card was shown.
    Preparing,
    /// 1.6: energy flows.
    Charging,
    /// 1.6: the vehicle takes none.
    SuspendedEv,
    /// 1.6: the station offers none.
    SuspendedEvse,
    /// 1.6: over, cable still in.
    Finishing,
    /// Reserved.
    Reserved,
    /// Out of service.
    Unavailable,
    /// Broken.
    Faulted,
    /// 2.0.1: something is plugged in.
    Occupied,
}

impl ConnectorStatus {
    /// As OCPP writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ConnectorStatus::Unknown => "Unknown",
            ConnectorStatus::Available => "Available",
            ConnectorStatus::Preparing => "Preparing",
            ConnectorStatus::Charging => "Charging",
            ConnectorStatus::SuspendedEv => "SuspendedEV",
            ConnectorStatus::SuspendedEvse => "SuspendedEVSE",
            ConnectorStatus::Finishing => "Finishing",
            ConnectorStatus::Reserved => "Reserved",
            ConnectorStatus::Unavailable => "Unavailable",
            ConnectorStatus::Faulted => "Faulted",
            ConnectorStatus::Occupied => "Occupied",
        }
    }
}

/// A connector and its live values: the digital twin.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ConnectorRow {
    /// Its station.
    pub identity: Identity,
    /// Which one.
    pub connector: ConnectorRef,
    /// Its state.
    pub status: ConnectorStatus,
    /// 1.6 errorCode; empty when there is none.
    pub error: Box<str>,
    /// When the status changed, by the station's clock.
    pub status_at: Timestamp,
    /// The session that has it.
    pub session: Option<SessionId>,
    /// When the latest of its 1.6 transactions began, by the station's clock: one that began later is a new one.
    pub begun_last: Timestamp,
    /// The newest value of each measurand; `at` is that of the newest tick.
    pub live: MeterTick,
    /// What the scheduler allows it; `None` is no limit.
    pub limit: Option<Watts>,
}

/// Random bytes that keep a name from being guessed from its commitment.
pub type Salt = [u8; novax_audit::commitment::SALT_BYTES];

/// A driver.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct DriverRow {
    /// The driver's name.
    pub driver: Identity,
    /// Currency of the wallet.
    pub currency: Currency,
    /// Starts nothing when set.
    pub blocked: bool,
    /// The wallet.
    pub wallet: novax_model::AccountId,
    /// What the driver shows.
    pub tokens: Vec<TokenUid>,
    /// What the driver pays with.
    pub funding: Funding,
    /// Of the commitments that are the ids of the driver's accounts. Forgotten with the driver, they
    /// lead to nobody.
    pub salt: Salt,
}

/// Who owns a token.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct TokenRow {
    /// What is shown.
    pub token: TokenUid,
    /// By whom.
    pub driver: Identity,
}

/// Where a session stands (notes: the saga). Text forms are upper case in SQL and HTTP.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
#[rkyv(derive(Debug))]
pub enum SessionState {
    /// Held, remote start on its way to the station.
    Starting,
    /// The station accepted the remote start; no transaction yet.
    StartAccepted,
    /// The transaction runs.
    Charging,
    /// The transaction runs; a stop is on its way.
    Stopping,
    /// Over; the payer's partition has not yet confirmed the capture.
    Settling,
    /// Over, money booked on both sides.
    Settled,
    /// The station said no; hold voided.
    Rejected,
    /// No transaction came in time; hold voided. A late start is taken with a new hold.
    Expired,
    /// Never allowed: unknown token, no funds. Nothing held.
    Refused,
    /// The card's provider is asked; the remote start follows its yes.
    Authorising,
}

impl SessionState {
    /// Upper-case name for SQL and HTTP.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SessionState::Starting => "STARTING",
            SessionState::StartAccepted => "START_ACCEPTED",
            SessionState::Charging => "CHARGING",
            SessionState::Stopping => "STOPPING",
            SessionState::Settling => "SETTLING",
            SessionState::Settled => "SETTLED",
            SessionState::Rejected => "REJECTED",
            SessionState::Expired => "EXPIRED",
            SessionState::Refused => "REFUSED",
            SessionState::Authorising => "AUTHORISING",
        }
    }

    /// Whether the session still has the connector.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(
            self,
            SessionState::Authorising
                | SessionState::Starting
                | SessionState::StartAccepted
                | SessionState::Charging
                | SessionState::Stopping
        )
    }
}

/// Where a session's money is.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Payer {
    /// Wallet in this partition.
    Local(novax_model::AccountId),
    /// Wallet in another partition.
    Remote(PartitionId),
    /// Nobody: the start was refused.
    None,
    /// A card: the account of its provider in this partition.
    Card(novax_model::AccountId),
}

/// What a session costs, in minor units. Without tax, but for `tax`.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Charges {
    /// For energy.
    pub energy: Amount,
    /// Once a session.
    pub fee: Amount,
    /// For time charging.
    pub time: Amount,
    /// For time plugged in without charging.
    pub parking: Amount,
    /// All taxes.
    pub tax: Amount,
    /// The taxes one by one; they sum to `tax`.
    pub taxes: Vec<TaxPart>,
}

/// One tax of a session.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct TaxPart {
    /// `VAT`, `GST`, `QST`...
    pub name: Box<str>,
    /// Its rate in millionths.
    pub ppm: u32,
    /// In minor units.
    pub amount: Amount,
}

impl Charges {
    /// Before tax.
    #[must_use]
    pub fn net(&self) -> Amount {
        self.energy + self.fee + self.time + self.parking
    }

    /// What the driver pays: net and tax.
    #[must_use]
    pub fn total(&self) -> Amount {
        self.net() + self.tax
    }
}

/// A charging session, from the request to the receipt.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct SessionRow {
    /// Its id.
    pub session: SessionId,
    /// Hash of the request that made it.
    pub payload_hash: u64,
    /// Where it stands.
    pub state: SessionState,
    /// Its station.
    pub identity: Identity,
    /// Its site, for the books.
    pub site: Identity,
    /// Its connector.
    pub connector: ConnectorRef,
    /// Who charges; `None` when the token is not known.
    pub driver: Option<Identity>,
    /// With what.
    pub token: TokenUid,
    /// `true`: started from an app; `false`: at the station.
    pub app: bool,
    /// As the station names it, once it runs.
    pub transaction: Option<TransactionRef>,
    /// 2.x correlation of a remote start.
    pub remote_start_id: i32,
    /// Where the money is.
    pub payer: Payer,
    /// What was agreed at the request.
    pub deal: Deal,
    /// What was counted so far, by price.
    pub rating: Option<Rating>,
    /// Held over all holds.
    pub held: Amount,
    /// How many holds.
    pub holds: u32,
    /// Register at the start; `None` until a register was heard.
    pub meter_start: Option<WattHours>,
    /// Register last believed.
    pub meter_last: WattHours,
    /// A register below the one before it, heard once: a glitch, or the meter began anew.
    pub meter_low: Option<WattHours>,
    /// What the register lost when the meter began anew, over all times it did.
    pub meter_reset: WattHours,
    /// When it was asked for.
    pub requested: Timestamp,
    /// When the transaction began, by the station's clock; zero before.
    pub started: Timestamp,
    /// When it ended, by the station's clock; zero before.
    pub ended: Timestamp,
    /// When the last word of it came, by our clock.
    pub heard: Timestamp,
    /// What it costs so far, or in the end.
    pub charges: Charges,
    /// Why it ended or was refused.
    pub reason: Box<str>,
    /// The bill is doubtful: the meter ran backwards, the stop never came.
    pub suspect: bool,
    /// Its stop never came and it was billed up to the last value heard; the true stop adjusts that.
    pub estimated: bool,
    /// What of the bill the wallet did not give: the driver owes it. In the wallet's currency, where the
    /// deal has a rate.
    pub owed: Amount,
    /// How often the bill was adjusted after it was booked.
    pub adjusted: u32,
    /// Which try the hold of a remote payer is of; in the mark of a session never heard of, the last
    /// try that is refused.
    pub hold_attempt: u32,
    /// When a try before this one was refused because its payer had asked about it; zero when none was.
    pub marked: Timestamp,
    /// When the hold of a wallet here runs out, unless it is renewed before.
    pub hold_expires: Timestamp,
    /// The transactions that were one session because the station lost power between them, in order;
    /// the last is [`SessionRow::transaction`]. Empty when there was only one.
    pub segments: Vec<Segment>,
    /// What of the bill the card's provider is to give, by the books.
    pub card_due: Amount,
    /// Since when its connector is said to be free though it runs, by our clock; zero when it is not.
    pub free_since: Timestamp,
}

/// A part of a session, between losses of power.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// As the station names it.
    pub transaction: TransactionRef,
    /// When it began, by the station's clock.
    pub started: Timestamp,
    /// Where the register stood.
    pub meter_start: Option<WattHours>,
}

impl SessionRow {
    /// The currency of [`SessionRow::owed`]: the wallet's, where it is here, else the tariff's.
    #[must_use]
    pub fn owed_currency(&self) -> Currency {
        self.deal.wallet_currency()
    }

    /// Energy delivered so far; never negative.
    #[must_use]
    pub fn energy(&self) -> WattHours {
        let start = self.meter_start.unwrap_or(self.meter_last);
        let shown = i128::from(self.meter_last.0) - i128::from(start.0);
        let energy = (shown + i128::from(self.meter_reset.0)).max(0);
        WattHours(i64::try_from(energy).unwrap_or(i64::MAX))
    }
}

/// Whom an outbox row is for.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum OutboxKind {
    /// A station of this partition.
    Station {
        /// Which.
        identity: Identity,
        /// What it should do.
        command: StationCommand,
    },
    /// Another partition.
    Peer {
        /// Which.
        to: PartitionId,
        /// What it should do.
        command: PeerCommand,
    },
    /// A payment provider.
    Payment {
        /// What it should do, as it stood when it was decided.
        payment: Box<PaymentRow>,
    },
}

/// An effect that must happen: delivered at least once after commit, deleted when answered.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct OutboxRow {
    /// Its id.
    pub id: u64,
    /// For whom.
    pub kind: OutboxKind,
    /// When it was made.
    pub created: Timestamp,
    /// Not sent any more after this time (stations only; peers are asked for ever).
    pub deadline: Timestamp,
}

/// Holds placed here for a session of another partition.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PayerSessionRow {
    /// Which session.
    pub session: SessionId,
    /// Where it runs.
    pub partition: PartitionId,
    /// Who pays.
    pub driver: Identity,
    /// From which wallet.
    pub wallet: novax_model::AccountId,
    /// Currency of the wallet.
    pub currency: Currency,
    /// Held over all holds.
    pub held: Amount,
    /// How many holds this try has placed.
    pub holds: u32,
    /// When the station's partition is asked whether the session lives.
    pub ask_at: Timestamp,
    /// What was taken, once it is over; the row stays to answer repeats.
    pub captured: Option<Amount>,
    /// The holds were voided.
    pub released: bool,
    /// Which try this is: one more each time a hold was given back before the session began.
    pub attempt: u32,
    /// How many keys of holds were used, over all tries and renewals.
    pub hold_keys: u32,
    /// When the hold runs out, unless it is renewed before.
    pub hold_expires: Timestamp,
    /// What the session cost in all, as last told; what the wallet did not give is owed.
    pub billed: Amount,
    /// The last adjustment that was booked.
    pub adjusted: u32,
    /// By which rate the wallet pays, where the tariff is in another currency. Then what is held, billed
    /// and captured is in the tariff's.
    pub fx: Option<Rate>,
    /// With a rate: what is owed of the bill, in the wallet's currency.
    pub fx_owed: Amount,
}

impl PayerSessionRow {
    /// Whether its hold is neither taken nor let go.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.captured.is_none() && !self.released
    }
}

/// Something a person should look at: billing data without a session, a doubtful meter.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ExceptionRow {
    /// When.
    pub at: Timestamp,
    /// Which station.
    pub identity: Identity,
    /// What, in words.
    pub text: Box<str>,
}

/// What can be written as a row.
pub(crate) trait Archivable:
    for<'a> Serialize<
    rkyv::api::high::HighSerializer<
        rkyv::util::AlignedVec,
        rkyv::ser::allocator::ArenaHandle<'a>,
        rkyv::rancor::Error,
    >,
>
{
}

impl<T> Archivable for T where
    T: for<'a> Serialize<
        rkyv::api::high::HighSerializer<
            rkyv::util::AlignedVec,
            rkyv::ser::allocator::ArenaHandle<'a>,
            rkyv::rancor::Error,
        >,
    >
{
}

/// Writes a row.
pub(crate) fn archive<T: Archivable>(row: &T) -> Vec<u8> {
    with_archive(row, <[u8]>::to_vec)
}

/// Lends the bytes of a row.
pub(crate) fn with_archive<T: Archivable, R>(row: &T, then: impl FnOnce(&[u8]) -> R) -> R {
    // Rows are many and small: growing an aligned buffer for each would cost more than writing it.
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = std::mem::take(scratch);
        buffer.clear();
        let written = rkyv::api::high::to_bytes_in::<_, rkyv::rancor::Error>(row, buffer);
        *scratch = written.expect("writing an archive to memory cannot fail");
        then(scratch)
    })
}

thread_local! {
    /// Where a row is laid out before it is copied. What was in it before is never seen.
    static SCRATCH: RefCell<rkyv::util::AlignedVec> = RefCell::default();
}

/// A stored row does not validate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stored row does not validate: {0}")]
pub struct CorruptRow(pub String);

/// Reads a row of any of this file's types (or the ledger's).
///
/// # Errors
/// [`CorruptRow`] when the bytes are no such archive.
pub fn read<T>(bytes: &[u8]) -> Result<T, CorruptRow>
where
    T: Archive,
    T::Archived: for<'a> rkyv::bytecheck::CheckBytes<rkyv::api::high::HighValidator<'a, rkyv::rancor::Error>>
        + Deserialize<T, rkyv::api::high::HighDeserializer<rkyv::rancor::Error>>,
{
    let mut aligned = rkyv::util::AlignedVec::<16>::with_capacity(bytes.len());
    aligned.extend_from_slice(bytes);
    rkyv::from_bytes::<T, rkyv::rancor::Error>(&aligned)
        .map_err(|error| CorruptRow(error.to_string()))
}

/// Key of a connector row.
#[must_use]
pub fn connector_key(identity: &Identity, connector: ConnectorRef) -> Vec<u8> {
    let mut key = identity.as_str().as_bytes().to_vec();
    key.push(0);
    key.extend_from_slice(&connector.evse.to_be_bytes());
    key.extend_from_slice(&connector.connector.to_be_bytes());
    key
}

/// First byte of the rows of `tree_nodes` that say which leaf a transaction is. No tree is so high.
pub const LEAF_MARK: u8 = 0xff;

/// Key of a signal row.
#[must_use]
pub fn signal_key(site: &Identity, kind: SignalKind) -> Vec<u8> {
    let mut key = site.as_str().as_bytes().to_vec();
    key.extend_from_slice(&[0, kind as u8]);
    key
}

/// Key of a rate of exchange.
#[must_use]
pub fn fx_rate_key(base: Currency, quote: Currency, from: Timestamp) -> Vec<u8> {
    [&base.bytes()[..], &quote.bytes(), &from.0.to_be_bytes()].concat()
}

/// Key of a row of a contract's month.
#[must_use]
pub fn accrual_key(site: &Identity, contract: TermsId, month: u32) -> Vec<u8> {
    let mut key = site.as_str().as_bytes().to_vec();
    key.push(0);
    key.extend_from_slice(&contract.0.to_be_bytes());
    key.extend_from_slice(&month.to_be_bytes());
    key
}

/// Key of a directory row.
#[must_use]
pub fn directory_key(kind: DirectoryKind, id: &str) -> Vec<u8> {
    let mut key = vec![kind as u8];
    key.extend_from_slice(id.as_bytes());
    key
}

/// Key of a series chunk.
#[must_use]
pub fn series_key(series: u64, first: Timestamp) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&series.to_be_bytes());
    key[8..].copy_from_slice(&first.0.to_be_bytes());
    key
}

/// Key of a series chunk of late ticks, or of a rollup row.
#[must_use]
pub fn numbered_series_key(series: u64, first: Timestamp, sequence: u32) -> [u8; 20] {
    let mut key = [0; 20];
    key[..16].copy_from_slice(&series_key(series, first));
    key[16..].copy_from_slice(&sequence.to_be_bytes());
    key
}

/// What the key of a series chunk or of a rollup row says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeriesKey {
    /// Whose.
    pub series: u64,
    /// First stamp, or start of the first bucket.
    pub first: Timestamp,
    /// Chunks: there for late ticks. Rollups: always there.
    pub sequence: Option<u32>,
}

impl SeriesKey {
    /// Reads a key.
    #[must_use]
    pub fn read(key: &[u8]) -> Option<SeriesKey> {
        let (series, rest) = key.split_first_chunk::<8>()?;
        let (first, rest) = rest.split_first_chunk::<8>()?;
        let sequence =
            if rest.is_empty() { None } else { Some(u32::from_be_bytes(rest.try_into().ok()?)) };
        let first = Timestamp(u64::from_be_bytes(*first));
        Some(SeriesKey { series: u64::from_be_bytes(*series), first, sequence })
    }

    /// Whose values stand where chunks overlap.
    #[must_use]
    pub fn rank(&self) -> Rank {
        self.sequence.map_or(Rank::BASE, Rank::late)
    }
}

/// Ends the key of late ticks, to tell it from a piece's.
const LATE_MARK: u8 = 0xff;

/// Key of a part of a series' open end.
#[must_use]
pub fn head_key(series: u64, part: OpenPart) -> Vec<u8> {
    match part {
        OpenPart::State => series.to_be_bytes().to_vec(),
        OpenPart::Piece(first) => series_key(series, first).to_vec(),
        OpenPart::Late(day) => [&series_key(series, day)[..], &[LATE_MARK]].concat(),
    }
}

/// Reads the key of a part of a series' open end.
#[must_use]
pub fn read_head_key(key: &[u8]) -> Option<(u64, OpenPart)> {
    let (series, rest) = key.split_first_chunk::<8>()?;
    let series = u64::from_be_bytes(*series);
    let Some((at, rest)) = rest.split_first_chunk::<8>() else {
        return rest.is_empty().then_some((series, OpenPart::State));
    };
    let at = Timestamp(u64::from_be_bytes(*at));
    match rest {
        [] => Some((series, OpenPart::Piece(at))),
        [LATE_MARK] => Some((series, OpenPart::Late(at))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_series_say_what_they_were_made_of() {
        let first = Timestamp(DAY_US * 20_000 + 7);
        let read = |key: &[u8]| SeriesKey::read(key).unwrap();
        assert_eq!(read(&series_key(9, first)), SeriesKey { series: 9, first, sequence: None });
        let late = numbered_series_key(9, first, 3);
        assert_eq!(read(&late), SeriesKey { series: 9, first, sequence: Some(3) });
        assert!(series_key(9, first).as_slice() < late.as_slice());
        assert!(read(&late).rank() > Rank::BASE);
        assert_eq!(window_time(&late), Some(first.0));
        assert_eq!((SeriesKey::read(b"short"), window_time(b"short")), (None, None));
        assert_eq!(SeriesKey::read(&[0; 18]), None);
        for part in [OpenPart::State, OpenPart::Piece(first), OpenPart::Late(first)] {
            assert_eq!(read_head_key(&head_key(9, part)), Some((9, part)));
        }
        assert_eq!((read_head_key(&[0; 12]), read_head_key(&[0; 17])), (None, None));
    }

    #[test]
    fn keyspaces_are_numbered_without_gaps() {
        for (number, keyspace) in Keyspace::ALL.into_iter().enumerate() {
            assert_eq!(keyspace as usize, number);
        }
        let hashed = Keyspace::ALL.into_iter().filter(|keyspace| keyspace.is_hashed()).count();
        assert_eq!(hashed, 28);
    }
}

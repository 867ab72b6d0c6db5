//! What a log entry says: commands, their outcomes, and how both are coded.
//!
//! A log entry is the leader's time stamp and the commands that one shard gathered in one turn of
//! its loop. Commands are written by this build's gateway and read back by `apply`, on this node
//! and every replica, so they carry decisions already made outside: ids, times, hashes.

use crate::document::{DocumentId, IssueDocument, Signed};
use crate::payment::{Card, Funding, PaymentAnswer, PaymentRow, ProviderEntry};
use crate::rows::{
    ConnectorStatus, DirectoryKind, Location, PayerSessionRow, Place, Protocol, Salt, SessionRow,
    SessionState, StationState, TermsRow,
};
use novax_audit::SignedHead;
use novax_ledger::JournalRow;
use novax_model::{
    AccountId, Amount, ConnectorRef, Currency, Identity, NodeId, PartitionId, SessionId, Timestamp,
    TokenUid, TransferKey, WattHours, Watts,
};
use novax_settlement::Rate;
use novax_settlement::contract::RevenueContract;
use novax_tariff::Tariff;
use novax_tariff::rules::{RuleBook, Sample, SignalKind};
use rkyv::{Archive, Deserialize, Serialize};

/// A salted hash of a station's Basic password (OCPP security profile 1). Station passwords are
/// machine-made, 16 to 40 random characters, so one SHA-256 is enough.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PasswordHash {
    /// Random, per station.
    pub salt: [u8; 16],
    /// SHA-256 over salt and password.
    pub sha256: [u8; 32],
}

/// A transaction as the station names it.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TransactionRef {
    /// OCPP 1.6: a number we allot, unique per station.
    V16(i32),
    /// OCPP 2.x: a text the station makes, at most 36 characters.
    V201(Box<str>),
}

/// One state change. The variants follow a charge from provisioning to settlement.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// In the directory partition of an id: where the id's rows live. Idempotent; a different home
    /// for a known id is refused with [`Refusal::KeyReused`].
    PutDirectory {
        /// What kind of id.
        kind: DirectoryKind,
        /// The id's text.
        id: Box<str>,
        /// The partition that holds its rows.
        home: PartitionId,
    },
    /// In the directory partition: an identity nobody provisioned has connected (C6). Kept as a
    /// pending row until an admin approves it; bounded count.
    ReportUnknownStation {
        /// The identity from the URL.
        identity: Identity,
        /// Protocol it speaks.
        protocol: Protocol,
        /// Vendor, when a BootNotification said so.
        vendor: Box<str>,
        /// Model, when a BootNotification said so.
        model: Box<str>,
    },
    /// In the directory partition: forget a pending identity (it was approved or turned away).
    ForgetUnknownStation {
        /// The identity from the URL.
        identity: Identity,
    },
    /// Creates or changes a site.
    PutSite(Box<PutSite>),
    /// What dynamic prices of a site follow.
    PutSignal {
        /// Where it holds.
        site: Identity,
        /// What it says.
        kind: SignalKind,
        /// Its value, and since when.
        sample: Sample,
    },
    /// Creates a station at a site of this partition, or changes its password.
    PutStation {
        /// Its OCPP identity.
        identity: Identity,
        /// Its site.
        site: Identity,
        /// Basic password; `None` accepts without (profile 0).
        password: Option<PasswordHash>,
    },
    /// Creates a driver with a wallet in one currency, or adds tokens to one.
    PutDriver {
        /// The driver's name.
        driver: Identity,
        /// Random; of a driver who is known the first one stays.
        salt: Salt,
        /// What the driver shows to stations.
        tokens: Vec<TokenUid>,
        /// The wallet's currency; must not change.
        currency: Currency,
        /// A blocked driver starts nothing.
        blocked: bool,
    },
    /// Money from outside into a wallet. Same key and payload again: same answer, nothing booked.
    Deposit {
        /// Idempotency key.
        key: TransferKey,
        /// Whose wallet.
        driver: Identity,
        /// How much, in minor units of the wallet's currency.
        amount: Amount,
    },

    /// A node started again or is gone: none of its sockets from before is open.
    SocketsClosed {
        /// Which node.
        node: NodeId,
        /// Sockets with a smaller epoch.
        before: u64,
    },
    /// A socket of this identity is open; sockets with a smaller epoch are stale.
    StationConnected {
        /// Which station.
        identity: Identity,
        /// Grows with every connection of the station.
        epoch: u64,
        /// Protocol it speaks.
        protocol: Protocol,
        /// Where the socket is.
        node: NodeId,
    },
    /// The socket with this epoch closed. Ignored when a newer one is open.
    StationDisconnected {
        /// Which station.
        identity: Identity,
        /// The epoch of its `StationConnected`.
        epoch: u64,
    },
    /// BootNotification.
    StationBooted {
        /// Which station.
        identity: Identity,
        /// chargePointVendor / vendorName
        vendor: Box<str>,
        /// chargePointModel / model
        model: Box<str>,
        /// firmwareVersion
        firmware: Box<str>,
        /// serialNumber
        serial: Box<str>,
    },
    /// StatusNotification.
    ConnectorStatus {
        /// Which station.
        identity: Identity,
        /// Which connector.
        connector: ConnectorRef,
        /// Its state.
        status: ConnectorStatus,
        /// 1.6 errorCode when not NoError; empty otherwise.
        error: Box<str>,
        /// The station's time stamp, or the gateway's when it sent none.
        at: Timestamp,
    },

    /// An app asks for a charge.
    RequestStart(RequestStart),
    /// A station says that a transaction runs: card-started, or the answer to our remote start.
    StartTransaction(StartTransaction),
    /// Somebody with the right asks for the end of a session.
    RequestStop {
        /// Which session.
        session: SessionId,
    },
    /// A station says that a transaction ended.
    EndTransaction(EndTransaction),
    /// Money goes back after a session was settled. Same session and sequence again: same answer,
    /// nothing booked.
    Refund(Refund),
    /// Ticks of many connectors: a block of `tsdb`, series ids as [`StationRow::series`].
    ///
    /// [`StationRow::series`]: crate::rows::StationRow::series
    Telemetry {
        /// `novax_tsdb::block`
        block: Vec<u8>,
    },
    /// A station answered an outbox row, or did not within its deadline.
    CommandAnswered {
        /// The outbox row.
        outbox: u64,
        /// What it said.
        answer: Answer,
    },

    /// From another partition, through its outbox.
    Peer {
        /// The partition that asks.
        from: PartitionId,
        /// What it asks.
        command: PeerCommand,
    },
    /// A peer partition answered an outbox row of this one.
    PeerAnswered {
        /// The outbox row.
        outbox: u64,
        /// What the peer's apply said.
        outcome: Box<Outcome>,
    },
    /// The leader signs a head of the journal's tree, exactly as it stands.
    SignTreeHead(Box<SignedHead>),
    /// Nothing but the time: lets timers fire.
    Tick,
    /// What a driver pays with from now on.
    PutFunding {
        /// Who.
        driver: Identity,
        /// With what.
        funding: Funding,
    },
    /// A payment provider answered an operation, or reconciliation found out what became of it.
    PaymentAnswered {
        /// For which session it was asked.
        session: SessionId,
        /// Its place among the session's operations.
        number: u32,
        /// What was said.
        answer: PaymentAnswer,
    },

    /// Closes the books of this partition up to a time that is over: what is booked later counts from
    /// then. The same again changes nothing; an earlier end is refused.
    CloseBooks {
        /// End of the period, exclusive.
        until: Timestamp,
    },
    /// A debt of a driver is given up. Same key and payload again: nothing booked.
    WriteOff {
        /// Idempotency key.
        key: TransferKey,
        /// Whose debt.
        driver: Identity,
        /// How much of it, in minor units of the wallet's currency.
        amount: Amount,
    },
    /// What lies on clearing with a partition, and nobody can say whose it is, goes to suspense. Same
    /// key and payload again: nothing booked.
    ParkMoney {
        /// Idempotency key.
        key: TransferKey,
        /// Clearing with which partition.
        with: PartitionId,
        /// Of which currency.
        currency: Currency,
        /// How much; at most what lies there.
        amount: Amount,
    },
    /// A rate of exchange, for every partition. One older than that in force changes nothing; another one
    /// for the same pair and time is refused.
    PutFxRate(Rate),
    /// In the directory partition of its name: a tariff, contract or rule book. Put again it replaces
    /// the one before; prices in force stay.
    PutPriced(Box<PutPriced>),
    /// Money out of a wallet. Same key and payload again: same answer, nothing booked.
    PayOut {
        /// Idempotency key.
        key: TransferKey,
        /// Whose wallet.
        driver: Identity,
        /// How much, in minor units of the wallet's currency; at most what is available.
        amount: Amount,
    },
    /// A payment provider booked something of its own accord. The same again books nothing.
    ProviderBooked(Box<ProviderEntry>),
    /// A driver is to be forgotten, step by step.
    EraseDriver(Box<EraseDriver>),
    /// In the directory partition of an id: forget where its rows live. Refused when they live elsewhere.
    RemoveDirectory {
        /// What kind of id.
        kind: DirectoryKind,
        /// The id's text.
        id: Box<str>,
        /// The partition that held its rows.
        home: PartitionId,
    },
    /// An invoice, credit note or settlement statement gets its number, if the books confirm it. The same
    /// again: the same document.
    IssueDocument(Box<IssueDocument>),
    /// The public key of a station's meter.
    PutMeterKey {
        /// Which station.
        identity: Identity,
        /// Hex, base64 or PEM; `None` forgets it.
        key: Option<Box<str>>,
    },
    /// A node is invited, or joins the cluster.
    PutNode(Box<PutNode>),
    /// A node is taken out of the cluster for ever.
    RemoveNode {
        /// Which.
        node: NodeId,
    },
    /// Where the votes of a partition should be.
    PlaceReplicas {
        /// Which partition.
        partition: PartitionId,
        /// Ascending.
        voters: Vec<NodeId>,
    },
}

/// A node of the cluster. Its number was never another's: a disk that was replaced is another node.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PutNode {
    /// Its number.
    pub node: NodeId,
    /// Where the others call it, `host:port`; nothing as long as it is only invited.
    pub address: Box<str>,
    /// Where it stands, in the operator's word; may be nothing.
    pub site: Box<str>,
}

/// A step of forgetting a driver: [`Erasure::Check`] in every partition, at home last; then
/// [`Erasure::Forget`] in every partition until it has no rows left; then [`Erasure::Finish`] at home.
/// Each may come again.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct EraseDriver {
    /// Who.
    pub driver: Identity,
    /// The wallet, as the driver's row says. Rows say [`erased_name`] of it in place of the name.
    pub wallet: AccountId,
    /// What the driver shows to stations, as that row says.
    pub tokens: Vec<TokenUid>,
    /// What is to be done.
    pub step: Erasure,
}

/// What a step of forgetting a driver does in a partition.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Erasure {
    /// Nothing may be open, held, in the wallet or owed. At home the driver is blocked from then on.
    Check,
    /// Rows lose the driver's name, tokens and card; accounts their names.
    Forget {
        /// The last entry that the rows were read after.
        read_at: u64,
        /// Sessions that are over, as stored.
        sessions: Vec<SessionRow>,
        /// Holds for sessions of other partitions, as stored.
        payers: Vec<PayerSessionRow>,
        /// What payment providers were asked, as stored.
        payments: Vec<PaymentRow>,
    },
    /// The driver's row goes, with its salt, and the tokens' rows.
    Finish,
}

/// What rows say in place of the name of a driver who was forgotten.
///
/// # Panics
/// Never: the text is an identity.
#[must_use]
pub fn erased_name(wallet: AccountId) -> Identity {
    Identity::new(&format!("erased-{:032x}", wallet.0)).expect("39 printable characters")
}

/// A tariff, contract or rule book under a name.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PutPriced {
    /// The name.
    pub id: Identity,
    /// How the text is written.
    pub format: Box<str>,
    /// The text as it came.
    pub source: Box<str>,
    /// What it was read as.
    pub terms: TermsRow,
}

/// A site as an admin wants it.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PutSite {
    /// Its name.
    pub site: Identity,
    /// What all its connectors together may draw; `None` is no limit.
    pub limit: Option<Watts>,
    /// Where it is.
    pub place: Place,
    /// From when on `terms` hold; [`Timestamp::ZERO`] or a time that is over: from now on. Terms that
    /// were announced for later stay.
    pub from: Timestamp,
    /// What sessions cost, and who gets what.
    pub terms: SiteTerms,
    /// Where it is, for people; `None` leaves what was told before.
    pub location: Option<Location>,
}

impl PutSite {
    /// A site with these terms from now on, in no jurisdiction and on UTC.
    #[must_use]
    pub fn new(site: Identity, limit: Option<Watts>, terms: SiteTerms) -> PutSite {
        let (place, from) = (Place::default(), Timestamp::ZERO);
        PutSite { site, limit, place, from, terms, location: None }
    }
}

/// What a site charges.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct SiteTerms {
    /// What a session costs.
    pub tariff: Tariff,
    /// Who gets what of it.
    pub contract: RevenueContract,
    /// What moves the price.
    pub rules: Option<RuleBook>,
}

/// An app asks for a charge: hold, session row and outbox row in one step.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct RequestStart {
    /// Derived from the idempotency key.
    pub session: SessionId,
    /// Hash of the whole request: the same key with another payload is refused.
    pub payload_hash: u64,
    /// Which station.
    pub identity: Identity,
    /// Where; connector 0 lets the station choose within the EVSE.
    pub connector: ConnectorRef,
    /// Which token to send to the station.
    pub token: TokenUid,
    /// The driver who owns the token, and where the wallet is.
    pub payer: PayerRef,
}

/// Who pays, as the gateway found out before it proposed.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum PayerRef {
    /// The wallet is in this partition: look the token up here and hold in the same entry.
    Local,
    /// The wallet is elsewhere and the hold has been placed there under this session's id.
    Held {
        /// The driver's name, as the payer's partition said.
        driver: Identity,
        /// The payer's partition.
        partition: PartitionId,
        /// Held amount.
        amount: Amount,
        /// Currency of the wallet.
        currency: Currency,
        /// Which try this hold is of, as the payer's partition counted.
        attempt: u32,
    },
    /// The payer's partition refused, or nobody knows the token.
    Refused(Refusal),
    /// A card pays: the session's own partition asks its provider, wherever its driver is at home.
    Card {
        /// The driver's name, as the driver's partition said.
        driver: Identity,
        /// Which card.
        card: Card,
        /// The account of what the driver owes, as the driver's partition said.
        debts: AccountId,
    },
}

/// A station says that a transaction runs.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct StartTransaction {
    /// Derived from what identifies the transaction: 1.6 (station, connector, timestamp, meterStart,
    /// idTag), 2.x (station, transactionId, token). Unused when it answers a remote start. Two 1.6 transactions
    /// that began at different times, or elsewhere, never have the same.
    pub session: SessionId,
    /// Which station.
    pub identity: Identity,
    /// Where.
    pub connector: ConnectorRef,
    /// 2.x: the station's id. 1.6: `None`, apply allots one.
    pub transaction: Option<TransactionRef>,
    /// 2.x remoteStartId, when it answers a remote start.
    pub remote_start_id: Option<i32>,
    /// What the driver showed.
    pub token: TokenUid,
    /// Register of the meter at the start; `None` when the station did not say: then the first
    /// register heard is taken for it.
    pub meter_start: Option<WattHours>,
    /// The station's time stamp.
    pub at: Timestamp,
    /// Who pays. `Local` also when it answers a remote start.
    pub payer: PayerRef,
}

/// A station says that a transaction ended.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct EndTransaction {
    /// Which station.
    pub identity: Identity,
    /// As the station names it.
    pub transaction: TransactionRef,
    /// Register of the meter at the end; `None` bills up to the last value heard.
    pub meter_stop: Option<WattHours>,
    /// The station's time stamp.
    pub at: Timestamp,
    /// Its reason, as it wrote it.
    pub reason: Box<str>,
    /// What the meter itself signed for this transaction.
    pub signed: Option<Box<Signed>>,
}

/// A part of a settled session's bill goes back to its driver.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Refund {
    /// Which session.
    pub session: SessionId,
    /// 1 for the first refund, then one more each time.
    pub sequence: u32,
    /// How much, tax included.
    pub amount: Amount,
    /// The journal's lines of the bill, as stored: [`Partition::bill`] says which.
    ///
    /// [`Partition::bill`]: crate::Partition::bill
    pub lines: Vec<JournalRow>,
    /// Paid by card: how much went back before, as the bill says. Other requests that came in between
    /// make this one stale.
    pub before: Amount,
    /// Paid by card: what was asked of its provider, all of it, as stored.
    pub payments: Vec<PaymentRow>,
    /// The session's row, as stored: whose contract gives back, and by which rate its driver paid. Without
    /// it no contract's month is corrected, and nothing that was exchanged can go back.
    pub row: Option<Box<SessionRow>>,
}

/// A command for a station that must not be lost: it goes through the outbox.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum StationCommand {
    /// RemoteStartTransaction / RequestStartTransaction.
    RemoteStart {
        /// Which session.
        session: SessionId,
        /// Where; `connector` 0 lets the station choose.
        connector: ConnectorRef,
        /// The driver's token.
        token: TokenUid,
        /// 2.x correlation id; unique per station.
        remote_start_id: i32,
    },
    /// RemoteStopTransaction / RequestStopTransaction.
    RemoteStop {
        /// Which session.
        session: SessionId,
        /// As the station names it.
        transaction: TransactionRef,
    },
    /// SetChargingProfile: a TxProfile with one period from now on.
    SetLimit {
        /// Where.
        connector: ConnectorRef,
        /// For which transaction.
        transaction: TransactionRef,
        /// How much.
        limit: Watts,
    },
}

/// What a station said to a command.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It will.
    Accepted,
    /// It will not; its own word ("Rejected", "NotSupported", a CALLERROR code).
    Rejected(Box<str>),
    /// It said nothing in time. Never a no.
    Silent,
}

/// What one partition asks of another. All are idempotent by session id.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum PeerCommand {
    /// Station's partition to payer's: hold.
    PlaceHold(PlaceHold),
    /// Station's partition to payer's: the session will not happen by this try; void its hold.
    ReleaseHold {
        /// Which session.
        session: SessionId,
        /// Which try; a later one's hold stays.
        attempt: u32,
    },
    /// Station's partition to payer's: the session is over; take this much and void the rest.
    Capture {
        /// Which session.
        session: SessionId,
        /// How much, tax included.
        amount: Amount,
        /// Of which currency.
        currency: Currency,
    },
    /// Station's partition to payer's: a captured session turned out to cost another amount. Only the
    /// difference is booked.
    Adjust {
        /// Which session.
        session: SessionId,
        /// 1 for the first adjustment, then one more each time.
        sequence: u32,
        /// What it cost before, tax included.
        was: Amount,
        /// What it costs now.
        amount: Amount,
        /// Of which currency.
        currency: Currency,
    },
    /// Station's partition to payer's: a part of a captured bill goes back to the driver.
    Refund {
        /// Which session.
        session: SessionId,
        /// As in [`Refund::sequence`].
        sequence: u32,
        /// How much.
        amount: Amount,
        /// Of which currency.
        currency: Currency,
    },
    /// Payer's partition to station's: a hold is old; does its session live? A session never heard of
    /// is refused from here on for this try and those before, so that the payer may void.
    AskSession {
        /// Which session.
        session: SessionId,
        /// Which try the hold is of.
        attempt: u32,
    },
}

/// A hold for a session of another partition.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PlaceHold {
    /// Which session.
    pub session: SessionId,
    /// 0 for the first hold, then one more each time it is raised.
    pub sequence: u32,
    /// Whose wallet.
    pub token: TokenUid,
    /// How much.
    pub amount: Amount,
    /// The currency of the tariff. A wallet in another one pays by a rate of its own partition.
    pub currency: Currency,
}

/// Why something was not done. Not an error of the caller's making alone: it is an answer.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// No such token.
    UnknownToken,
    /// The driver is blocked.
    DriverBlocked,
    /// Not enough in the wallet.
    InsufficientFunds {
        /// What can be held.
        available: Amount,
        /// What was asked.
        required: Amount,
    },
    /// The wallet's currency is not the tariff's, and no rate is in force between them.
    CurrencyMismatch,
    /// A tariff, contract or rule book cannot be put in force: the caller's words, and why.
    BadTerms(Box<str>),
    /// No such site.
    UnknownSite,
    /// No such station here.
    UnknownStation,
    /// No such driver.
    UnknownDriver,
    /// No such session.
    UnknownSession,
    /// The station has no open socket.
    StationOffline,
    /// The station is not ready: faulted, unavailable or not booted.
    StationNotReady,
    /// Another session has the connector.
    ConnectorBusy,
    /// The session is in a state where this makes no sense.
    WrongState(SessionState),
    /// Same key, other payload.
    KeyReused,
    /// No head like this waits for a signature.
    WrongHead,
    /// A bound is reached; nothing was done.
    Full,
    /// No bill that money could be given back of, or other lines than were booked for it.
    NotRefundable,
    /// The driver has another session open with the same token.
    TokenInUse,
    /// The payment provider, or the payer's bank, said no.
    PaymentDeclined,
    /// The payment provider said nothing in time.
    PaymentUnanswered,
    /// The driver cannot be forgotten yet: why, in words.
    NotErasable(Box<str>),
    /// Rows that came along have changed since they were read: they are to be read again.
    Stale,
    /// The books do not confirm a document, or it has not the form of one: in words.
    BadDocument(Box<str>),
    /// This document was issued for the same request, and says something else.
    DocumentDiffers(Box<str>),
    /// The nodes of the cluster cannot become so: in words.
    BadNode(Box<str>),
}

/// What apply says to whoever proposed a command, one for each command of an entry, in order.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Done, nothing to say.
    Done,
    /// Not done.
    Refused(Refusal),
    /// A deposit was booked (or had been).
    Deposited {
        /// What can be spent or held now.
        available: Amount,
    },
    /// A start is under way or the transaction runs.
    Started {
        /// Which session.
        session: SessionId,
        /// 1.6 transactionId to answer; also allotted when refused.
        transaction_id: i32,
        /// Why the driver may not charge; `None` when all is well.
        refusal: Option<Refusal>,
    },
    /// A stop is under way.
    Stopping {
        /// Which session.
        session: SessionId,
    },
    /// A transaction ended, now or before.
    Ended {
        /// Which session.
        session: SessionId,
        /// What the driver pays, tax included.
        total: Amount,
        /// In which currency.
        currency: Currency,
    },
    /// The transaction is not known: parked as an exception, nothing billed.
    Parked,
    /// A hold stands.
    Held {
        /// Whose.
        driver: Identity,
        /// How much in all, over every hold of the session.
        amount: Amount,
        /// In which currency.
        currency: Currency,
        /// Which try of the session holds it: 0, and one more each time a hold was given back
        /// before the session began. [`PayerRef::Held`] passes it on.
        attempt: u32,
    },
    /// What the payer's partition took from the wallet; the rest is a receivable.
    Captured {
        /// From the wallet.
        amount: Amount,
    },
    /// Money went back to the driver, now or before.
    Refunded {
        /// How much.
        amount: Amount,
    },
    /// Where a session stands, answered to the payer's partition.
    Session {
        /// Its state; `None`: never heard of, and refused from now on.
        state: Option<SessionState>,
    },
    /// The station's admission after boot.
    Booted {
        /// Accepted or pending.
        state: StationState,
    },
    /// The driver pays by card: nothing is held here, the station's partition asks the provider.
    Card {
        /// Whose.
        driver: Identity,
        /// Which.
        card: Card,
        /// The account of what the driver owes in the currency that was asked for, by its salted name.
        debts: AccountId,
    },
    /// A document has its number, now or before.
    Issued {
        /// Its number.
        id: DocumentId,
        /// When it was issued.
        issued: Timestamp,
        /// It was issued by this command.
        is_new: bool,
    },
}

/// Who waits for the outcomes of the next `count` commands of an entry. Outcomes do not travel between
/// nodes: every node applies the entry, and the one that is named here answers.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Where the commands were gathered.
    pub node: NodeId,
    /// Which life of that node: what an earlier one asked, nobody waits for.
    pub run: u64,
    /// The batch, as that node numbers them.
    pub token: u64,
    /// How many commands it has.
    pub count: u32,
}

/// A log entry: the leader's time and the commands it gathered.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The leader's clock. What is applied never goes back behind the entry before.
    pub time: Timestamp,
    /// In the order in which they are applied.
    pub commands: Vec<Command>,
    /// Whose they are, in the same order; those beyond the last are nobody's.
    pub origins: Vec<Origin>,
}

/// First byte of an entry: the version of this coding.
const ENTRY_VERSION: u8 = 3;
/// rkyv wants its root aligned; the version byte is padded to this.
pub(crate) const ENTRY_HEADER_LEN: usize = 16;

/// The bytes are no entry of a version this build reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorruptEntry {
    /// Too short, or a version from another build.
    #[error("log entry of unknown version")]
    Version,
    /// The archive does not validate.
    #[error("log entry does not validate: {0}")]
    Archive(String),
    /// More commands are somebody's than there are.
    #[error("log entry names origins of commands it does not have")]
    Origins,
}

/// Codes an entry for the log, for whose outcomes nobody waits.
#[must_use]
pub fn encode_entry(time: Timestamp, commands: Vec<Command>) -> Vec<u8> {
    Entry { time, commands, origins: Vec::new() }.encode()
}

impl Entry {
    /// Its bytes in the log.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let waited: usize = self.origins.iter().map(|origin| origin.count as usize).sum();
        assert!(waited <= self.commands.len(), "origins name commands of their entry");
        to_bytes(self)
    }
}

fn to_bytes(entry: &Entry) -> Vec<u8> {
    let mut bytes = rkyv::util::AlignedVec::<16>::new();
    bytes.extend_from_slice(&[0; ENTRY_HEADER_LEN]);
    bytes[0] = ENTRY_VERSION;
    let bytes = rkyv::api::high::to_bytes_in::<_, rkyv::rancor::Error>(entry, bytes)
        .expect("writing an archive to memory cannot fail");
    bytes.into_vec()
}

/// Reads an entry back.
///
/// # Errors
/// [`CorruptEntry`] when the bytes are not what [`Entry::encode`] wrote.
pub fn decode_entry(bytes: &[u8]) -> Result<Entry, CorruptEntry> {
    if bytes.len() < ENTRY_HEADER_LEN || bytes[0] != ENTRY_VERSION {
        return Err(CorruptEntry::Version);
    }
    let mut aligned = rkyv::util::AlignedVec::<16>::with_capacity(bytes.len());
    aligned.extend_from_slice(&bytes[ENTRY_HEADER_LEN..]);
    let entry: Entry = rkyv::from_bytes::<Entry, rkyv::rancor::Error>(&aligned)
        .map_err(|error| CorruptEntry::Archive(error.to_string()))?;
    let waited: u64 = entry.origins.iter().map(|origin| u64::from(origin.count)).sum();
    if waited > entry.commands.len() as u64 {
        return Err(CorruptEntry::Origins);
    }
    Ok(entry)
}

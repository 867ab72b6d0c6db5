//! What a shard is asked and what it answers: by the control plane, and of the payment provider.
//!
//! **Invariants**
//! * Whoever asks gets an answer through a one-shot channel, which never blocks the shard.
//! * [`Unavailable`] promises nothing: what was under way may have taken effect.

use crate::standing::Standing;
use novax_charging::{Command, DirectoryKind, Outcome, PasswordHash, PaymentRow};
use novax_model::{
    Amount, ConnectorRef, Currency, Identity, NodeId, PartitionId, Timestamp, TokenUid, Watts,
};
use novax_raft::Members;
use rkyv::{Archive, Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

/// The node cannot do it now: a queue is full, it is shutting down, or a partition has no leader.
/// Nothing is known about whether a command that was already under way took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize, thiserror::Error)]
#[error("the node is overloaded or shutting down; try again")]
pub struct Unavailable;

/// A call to a station on an admin's behalf: answered by the station itself, not through the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum StationCall {
    /// Reset; `immediate` is Hard / Immediate, otherwise Soft / OnIdle.
    Reset {
        /// Without waiting for transactions to end.
        immediate: bool,
    },
    /// ChangeAvailability of a connector or (0, 0) the station.
    ChangeAvailability {
        /// Which.
        connector: ConnectorRef,
        /// Operative or not.
        operative: bool,
    },
    /// UnlockConnector.
    UnlockConnector {
        /// Which.
        connector: ConnectorRef,
    },
    /// TriggerMessage.
    TriggerMessage {
        /// The message's name as OCPP writes it.
        message: String,
        /// For which connector.
        connector: Option<ConnectorRef>,
    },
    /// 1.6 GetConfiguration; no keys asks for all.
    GetConfiguration {
        /// Which keys.
        keys: Vec<String>,
    },
    /// 1.6 ChangeConfiguration.
    ChangeConfiguration {
        /// Which key.
        key: String,
        /// To what.
        value: String,
    },
    /// 2.0.1 GetVariables.
    GetVariables {
        /// Component and variable names.
        variables: Vec<(String, String)>,
    },
    /// 2.0.1 SetVariables.
    SetVariables {
        /// Component and variable names, and the value.
        variables: Vec<(String, String, String)>,
    },
    /// 2.0.1 GetBaseReport; answered once the last NotifyReport has come.
    GetBaseReport {
        /// ConfigurationInventory, FullInventory or SummaryInventory.
        report: String,
    },
    /// SetChargingProfile: a default profile with one period.
    SetChargingProfile {
        /// Which; (0, 0) is the station.
        connector: ConnectorRef,
        /// How much.
        limit: Watts,
    },
    /// ClearCache.
    ClearCache,
}

/// What a station answered.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StationReply {
    /// The payload of its CALLRESULT, as it wrote it; for GetBaseReport an object with `status` and
    /// `reportData`.
    pub payload: String,
}

/// Why a station did not answer.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize, thiserror::Error)]
pub enum CallFailed {
    /// See [`Unavailable`].
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// No such station.
    #[error("no such station")]
    UnknownStation,
    /// It has no open socket.
    #[error("the station is not connected")]
    Offline,
    /// Too many calls wait for this station.
    #[error("too many calls wait for this station")]
    Busy,
    /// The OCPP version it speaks has no such call.
    #[error("the station's OCPP version has no such call")]
    NotInVersion,
    /// It said nothing in time.
    #[error("the station did not answer in time")]
    Silent,
    /// It answered with a CALLERROR.
    #[error("the station answered {code}: {description}")]
    CallError {
        /// The error code.
        code: String,
        /// The error description.
        description: String,
    },
}

/// Counters of the partitions of one shard, added up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sessions that hold a connector now.
    pub live_sessions: u64,
    /// Sessions that ended since the data directory was made.
    pub ended_sessions: u64,
    /// Power of all connectors now, in watts.
    pub power_w: i64,
    /// Energy of ended sessions, in watt-hours.
    pub energy_wh: u64,
    /// What drivers paid, per currency in code order.
    pub settled: Vec<(Currency, Amount)>,
    /// Stations with an open socket.
    pub stations_connected: u64,
}

/// An app's request for a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartCharge {
    /// The idempotency key, with the caller's name in it.
    pub key: String,
    /// Which station.
    pub station: Identity,
    /// Which connector; connector 0 lets the station choose within the EVSE.
    pub connector: ConnectorRef,
    /// What the driver would show.
    pub token: TokenUid,
}

/// How new what is read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It has all that was acknowledged before it was asked for, by whichever node. Needs a majority.
    Fresh,
    /// It is what this node's replicas have, and says how old that may be.
    Local,
}

/// Consistent rows of partitions.
#[derive(Debug)]
pub struct View {
    /// The rows of each.
    pub parts: Vec<(PartitionId, novax_engine::Snapshot)>,
    /// What was acknowledged up to about then is in them, give or take a heartbeat of the leaders.
    pub as_of: Timestamp,
}

/// What an admin orders about a partition's replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Its leader hands the lead to another voter.
    Transfer {
        /// To whom.
        to: NodeId,
    },
    /// A node leads nothing as long as there is somebody else.
    Drain {
        /// Which.
        node: NodeId,
        /// Or no longer so.
        on: bool,
    },
}

/// A node's replica of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Which partition.
    pub partition: PartitionId,
    /// Who leads, as far as is known here.
    pub leader: Option<NodeId>,
    /// Where it stands.
    pub standing: Standing,
    /// The members, as of its state.
    pub members: Members,
    /// The nodes that should have votes, if that was ever said.
    pub wanted: Option<Vec<NodeId>>,
    /// What the other members said of theirs.
    pub others: Vec<Other>,
}

/// What another node said of its replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Other {
    /// Which node.
    pub node: NodeId,
    /// Where it stood.
    pub standing: Standing,
    /// How long ago that was.
    pub age_ms: u64,
}

/// What a shard is asked.
#[derive(Debug)]
pub enum Request {
    /// Propose a command to a partition of this shard and answer after apply.
    Propose {
        /// Which partition.
        partition: PartitionId,
        /// What.
        command: Command,
        /// The answer.
        reply: oneshot::Sender<Result<Outcome, Unavailable>>,
    },
    /// Where the rows of an id live, from its directory partition.
    Locate {
        /// The directory partition, on this shard.
        partition: PartitionId,
        /// Which kind of id.
        kind: DirectoryKind,
        /// The id.
        id: String,
        /// The answer.
        reply: oneshot::Sender<Option<PartitionId>>,
    },
    /// An app's charge, to the shard of the station's partition.
    StartCharge {
        /// The station's partition.
        partition: PartitionId,
        /// What.
        request: StartCharge,
        /// The answer.
        reply: oneshot::Sender<Result<Outcome, Unavailable>>,
    },
    /// A call to a station of a partition of this shard.
    Call {
        /// The station's partition.
        partition: PartitionId,
        /// Which station.
        station: Identity,
        /// What.
        call: StationCall,
        /// The answer.
        reply: oneshot::Sender<Result<StationReply, CallFailed>>,
    },
    /// The rows of all partitions of this shard.
    View {
        /// Write open series heads out first.
        with_series: bool,
        /// How new they must be.
        freshness: Freshness,
        /// The answer; none when they cannot be so new.
        reply: oneshot::Sender<View>,
    },
    /// Let windows of time go that end before a time, as far as a view had them.
    DropWindows {
        /// Of which store.
        partition: PartitionId,
        /// Of which table.
        keyspace: novax_charging::rows::Keyspace,
        /// Before when.
        until: Timestamp,
        /// What came after it stays.
        seen: novax_engine::Snapshot,
    },
    /// Counters over the partitions of this shard.
    Totals {
        /// The answer.
        reply: oneshot::Sender<Totals>,
    },
    /// How the replicas of this shard stand.
    Replicas {
        /// The answer.
        reply: oneshot::Sender<Vec<Replica>>,
    },
    /// An order about a partition of this shard, for whichever node it concerns.
    Order {
        /// Which partition.
        partition: PartitionId,
        /// What.
        order: Order,
    },
    /// Tell when this shard leads nothing that another node could lead.
    Drained {
        /// The answer.
        reply: oneshot::Sender<()>,
    },
    /// Close all sockets, flush and end.
    Stop,
}

/// What an outbox row asks of the payment provider.
#[derive(Debug)]
pub struct Asked {
    /// The operation.
    pub payment: Box<PaymentRow>,
    /// Someone may have asked for it before.
    pub resumed: bool,
}

impl Totals {
    /// Adds another's counts to this one's.
    pub fn add(&mut self, other: &Totals) {
        self.live_sessions += other.live_sessions;
        self.ended_sessions += other.ended_sessions;
        self.power_w += other.power_w;
        self.energy_wh += other.energy_wh;
        self.stations_connected += other.stations_connected;
        for (currency, amount) in &other.settled {
            match self.settled.binary_search_by_key(currency, |(known, _)| *known) {
                Ok(at) => self.settled[at].1 += amount,
                Err(at) => self.settled.insert(at, (*currency, *amount)),
            }
        }
    }
}

/// 128 bits of SHA-256 over length-prefixed parts: how keys from outside become ids.
#[must_use]
pub fn digest(parts: &[&str]) -> u128 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).expect("fits").to_le_bytes());
        hash.update(part.as_bytes());
    }
    let hash = hash.finalize();
    let mut first = [0; 16];
    first.copy_from_slice(&hash[..16]);
    u128::from_be_bytes(first)
}

/// Hashes a station's password with the given salt.
#[must_use]
pub fn hash_password(salt: [u8; 16], password: &[u8]) -> PasswordHash {
    let mut hash = Sha256::new();
    hash.update(salt);
    hash.update(password);
    PasswordHash { salt, sha256: hash.finalize().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_tell_parts_apart() {
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_eq!(digest(&["ab", "c"]), digest(&["ab", "c"]));
    }

    #[test]
    fn totals_add_per_currency() {
        let usd = Currency::new("USD").unwrap();
        let mut sum = Totals { settled: vec![(usd, 5)], ..Totals::default() };
        sum.add(&Totals { settled: vec![(Currency::EUR, 2), (usd, 1)], ..Totals::default() });
        assert_eq!(sum.settled, vec![(Currency::EUR, 2), (usd, 6)]);
    }
}

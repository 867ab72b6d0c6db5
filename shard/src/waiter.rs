//! Who waits for the outcome of a command, and what they are told.

use crate::ConnId;
use crate::apps::{AppStart, AppTo};
use crate::gateway::ReplyKind;
use crate::port::Unavailable;
use novax_charging::{Outcome, RequestStart, StartTransaction};
use novax_model::{Identity, PartitionId, TokenUid};
use tokio::sync::oneshot;

/// Somebody who waits for an outcome.
#[derive(Debug)]
pub enum Waiter {
    /// Nobody.
    Nobody,
    /// The control plane.
    Control(oneshot::Sender<Result<Outcome, Unavailable>>),
    /// Another shard.
    Mesh {
        /// Which.
        shard: u16,
        /// Its token.
        token: u64,
    },
    /// A station's call.
    Station(StationReplyTo),
    /// The calls whose meter ticks are in a block.
    Stations(Vec<StationReplyTo>),
    /// An outbox row of a partition of this shard, asked of a peer partition.
    PeerOutbox {
        /// Whose outbox.
        partition: PartitionId,
        /// Which row.
        outbox: u64,
    },
    /// An answer that was recorded for an outbox row.
    OutboxAnswered {
        /// Whose outbox.
        partition: PartitionId,
        /// Which row.
        outbox: u64,
    },
    /// A station whose socket has just opened: if the hub cannot note it, the station must come again.
    Connected(ConnId),
    /// An app's start that waits for its station's partition.
    AppStation(Box<AppStart>),
    /// An app's start whose idempotency key is being kept.
    AppKey {
        /// The start.
        start: Box<AppStart>,
        /// The station's partition.
        home: PartitionId,
    },
    /// An app's start in a partition of this shard.
    App(AppTo),
    /// An app's start in a partition of another shard.
    AppElsewhere(ConnId),
    /// The first command of this life of the node: the state is as new as it.
    CaughtUp(PartitionId),
    /// A start or an authorisation that asks another shard where or whether.
    Job(Box<Job>),
    /// A start that goes on when the payer's partition has held, or not.
    Held {
        /// The start.
        job: Box<Job>,
        /// The payer's partition.
        home: PartitionId,
    },
}

/// A station's call that waits for its answer.
#[derive(Debug, Clone)]
pub struct StationReplyTo {
    /// The socket it came on.
    pub conn: ConnId,
    /// Its message id.
    pub call_id: Box<str>,
    /// Which answer it wants.
    pub kind: ReplyKind,
}

/// What waits for the directory or the payer's partition.
#[derive(Debug)]
pub enum Job {
    /// A card-started charge.
    Card {
        /// Who asked.
        reply: StationReplyTo,
        /// The station's partition.
        partition: PartitionId,
        /// What to propose in the end; `payer` is filled in on the way.
        start: StartTransaction,
    },
    /// An app-started charge.
    App {
        /// Who asked.
        reply: Box<Waiter>,
        /// The station's partition.
        partition: PartitionId,
        /// What to propose in the end; `payer` is filled in on the way.
        start: RequestStart,
    },
    /// Authorize.
    Authorize {
        /// Who asked.
        reply: StationReplyTo,
        /// The station's partition.
        partition: PartitionId,
        /// Where it was shown.
        station: Identity,
        /// What was shown.
        token: TokenUid,
    },
}

//! One socket: the handshake, then a station that speaks OCPP; or an app that starts charges.
//!
//! **Invariants**
//! * At most one send is in flight; what else there is to say waits in `out`, bounded.
//! * At most one call to the station is out; the others wait, bounded.
//! * A station that may not work yet (`pending`) can boot and nothing else.

use crate::ConnId;
use crate::apps::App;
use crate::gateway::OutgoingCall;
use crate::port::{CallFailed, StationReply};
use novax_charging::Protocol;
use novax_model::{Identity, PartitionId, Timestamp};
use novax_wire::http::Upgrade;
use novax_wire::ws::Receiver;
use std::collections::VecDeque;
use tokio::sync::oneshot;

/// Calls that may wait for one station.
pub const CALLS_WAITING_MAX: usize = 32;
/// Calls of one station that may be unanswered; the standard allows one.
pub const CALLS_OPEN_MAX: u16 = 64;
/// Bytes that may wait for a station that does not read.
pub const OUT_BYTES_MAX: usize = 256 * 1024;

/// A socket.
#[derive(Debug)]
pub struct Connection {
    /// Its name in the ring.
    pub id: ConnId,
    /// Where it stands.
    pub phase: Phase,
    /// What waits to be sent.
    pub out: Vec<u8>,
    /// A send is in flight.
    pub sending: bool,
    /// In the list of connections with something to send.
    pub dirty: bool,
    /// Close once everything is sent; nothing more is read.
    pub closing: bool,
    /// When something last came.
    pub heard: Timestamp,
    /// When its timer fires next; timers that fire before are left over and mean nothing.
    pub timer_at: Timestamp,
}

/// Where a socket stands.
#[derive(Debug)]
pub enum Phase {
    /// The HTTP request is not complete.
    Handshake(Vec<u8>),
    /// The station is unknown so far; the directory is asked whether that is still so.
    Asking(Box<Handoff>),
    /// On its way to another shard: what came meanwhile.
    Leaving(Box<Leaving>),
    /// Talks OCPP.
    Open(Box<Station>),
    /// An app's, which starts charges.
    App(Box<App>),
    /// Refused or closed; only `out` is still sent.
    Ending,
}

/// A socket on its way to another shard.
#[derive(Debug)]
pub struct Leaving {
    /// The receiver.
    pub to: u16,
    /// What goes along.
    pub handoff: Handoff,
}

/// What goes along with a socket to another shard.
#[derive(Debug)]
pub struct Handoff {
    /// The same tag comes with the socket through the rings.
    pub tag: u64,
    /// The request of the handshake.
    pub upgrade: Upgrade,
    /// The identity in it.
    pub identity: Identity,
    /// The version agreed on.
    pub protocol: Protocol,
    /// Where the directory said the station lives; `None`: ask the directory on arrival.
    pub home: Option<PartitionId>,
    /// The handshake was answered: the station was pending and has been approved.
    pub open: bool,
    /// Bytes read after the handshake and not yet understood.
    pub input: Vec<u8>,
    /// Bytes not yet sent.
    pub output: Vec<u8>,
}

/// A station on an open socket.
#[derive(Debug)]
pub struct Station {
    /// Its identity.
    pub identity: Identity,
    /// Its home, or its directory partition while it is pending.
    pub partition: PartitionId,
    /// What it speaks.
    pub protocol: Protocol,
    /// Number of this connection among the station's.
    pub epoch: u64,
    /// Not approved yet.
    pub pending: bool,
    /// WebSocket framing.
    pub receiver: Receiver,
    /// Its calls that are not answered yet.
    pub calls_open: u16,
    /// Our calls to it.
    pub calls: Option<Box<Calls>>,
    /// Needed again when a pending station is handed to its home.
    pub upgrade: Option<Box<Upgrade>>,
}

/// Our calls to one station.
#[derive(Debug, Default)]
pub struct Calls {
    /// The one that is out.
    pub current: Option<OpenCall>,
    /// The ones that wait.
    pub waiting: VecDeque<Call>,
    /// Number of the last call.
    pub last_id: u64,
    /// The report being collected.
    pub report: Option<Report>,
}

/// A call that is out.
#[derive(Debug)]
pub struct OpenCall {
    /// Its message id, as a number.
    pub id: u64,
    /// For whom.
    pub purpose: Purpose,
    /// Silent after this.
    pub deadline: Timestamp,
}

/// A call to a station.
#[derive(Debug)]
pub struct Call {
    /// What to send.
    pub message: OutgoingCall,
    /// For whom.
    pub purpose: Purpose,
}

/// For whom a station is called.
#[derive(Debug)]
pub enum Purpose {
    /// For a row of the outbox.
    Outbox(u64),
    /// For an admin.
    Admin(oneshot::Sender<Result<StationReply, CallFailed>>),
    /// For an admin who gets the report that follows.
    Report {
        /// The requestId in the call.
        request_id: i32,
        /// The admin.
        reply: oneshot::Sender<Result<StationReply, CallFailed>>,
    },
}

/// A report being collected from NotifyReport messages.
#[derive(Debug)]
pub struct Report {
    /// Of which request.
    pub request_id: i32,
    /// The parts so far: comma-separated JSON objects.
    pub items: String,
    /// Given up after this.
    pub deadline: Timestamp,
    /// Who waits.
    pub reply: oneshot::Sender<Result<StationReply, CallFailed>>,
}

/// Bytes a report may have.
pub const REPORT_BYTES_MAX: usize = 1 << 20;

impl Connection {
    /// A socket that was just accepted.
    #[must_use]
    pub fn new(id: ConnId, now: Timestamp) -> Connection {
        Connection {
            id,
            phase: Phase::Handshake(Vec::new()),
            out: Vec::new(),
            sending: false,
            dirty: false,
            closing: false,
            heard: now,
            timer_at: Timestamp::MAX,
        }
    }

    /// The station, on an open socket.
    pub fn station(&mut self) -> Option<&mut Station> {
        match &mut self.phase {
            Phase::Open(station) => Some(station),
            _ => None,
        }
    }
}

impl Station {
    /// Our calls to it, made on first use so that idle stations carry no queue.
    pub fn calls(&mut self) -> &mut Calls {
        self.calls.get_or_insert_default()
    }
}

impl Purpose {
    /// Tells an admin who waits that it will not be; answers the outbox row, if it was for one.
    pub fn fail(self, error: CallFailed) -> Option<u64> {
        match self {
            Purpose::Outbox(id) => Some(id),
            Purpose::Admin(reply) | Purpose::Report { reply, .. } => {
                // The admin may have hung up: nobody is left to tell.
                let _ = reply.send(Err(error));
                None
            }
        }
    }
}

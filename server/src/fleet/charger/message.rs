//! What a charger says and hears, whichever version it speaks.

use crate::fleet::car::Measured;
use novax_model::Timestamp;
use std::sync::Arc;

/// Who a charger is and what it can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::fleet) struct Profile {
    pub(in crate::fleet) identity: String,
    pub(in crate::fleet) vendor: &'static str,
    pub(in crate::fleet) model: &'static str,
    pub(in crate::fleet) firmware: &'static str,
}

/// A transaction, from the side of the charger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::fleet) struct Facts {
    /// Counts the charger's transactions.
    pub(in crate::fleet) number: u32,
    pub(in crate::fleet) evse: u16,
    pub(in crate::fleet) token: String,
    /// The 2.0.1 transactionId; unique among all runs of a fleet.
    pub(in crate::fleet) name: String,
    pub(in crate::fleet) started: Timestamp,
    pub(in crate::fleet) meter_start_wh: i64,
    pub(in crate::fleet) remote_start_id: Option<i32>,
    /// Asked for by an app.
    pub(in crate::fleet) remote: bool,
}

/// A connector's state, as 1.6 has it; 2.0.1 knows fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) enum Status {
    Available,
    Preparing,
    Charging,
    SuspendedEv,
    SuspendedEvse,
    Finishing,
    Unavailable,
}

/// Why a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) enum StopReason {
    /// Shown the card again.
    Local,
    /// Drove away.
    Departed,
    /// The hub asked.
    Remote,
    /// The hub did not want it.
    DeAuthorized,
    /// The cable was let go on command.
    Unlock,
    /// The station restarts.
    Reset { immediate: bool },
}

/// Whether power flows, and who keeps it from flowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) enum Flow {
    Charging,
    SuspendedEv,
    SuspendedEvse,
}

/// Why a meter was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) enum Context {
    Begin,
    Periodic,
    End,
    Trigger,
}

/// A reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) struct Sample {
    pub(in crate::fleet) at: Timestamp,
    pub(in crate::fleet) context: Context,
    pub(in crate::fleet) measured: Measured,
}

/// An event of a transaction. Never dropped, except a periodic reading when too many wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::fleet) struct TransactionMessage {
    pub(in crate::fleet) facts: Arc<Facts>,
    pub(in crate::fleet) sample: Sample,
    pub(in crate::fleet) seq_no: i64,
    /// It happened while there was no connection.
    pub(in crate::fleet) offline: bool,
    pub(in crate::fleet) kind: TransactionKind,
}

/// Which event of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) enum TransactionKind {
    Start,
    Meter(Flow),
    Stop(StopReason),
}

/// A call to the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::fleet) enum Message {
    Boot,
    Heartbeat,
    Status {
        evse: u16,
        status: Status,
        at: Timestamp,
    },
    Authorize {
        evse: u16,
        token: String,
    },
    Transaction(TransactionMessage),
    /// A reading outside transactions.
    Reading {
        evse: u16,
        sample: Sample,
    },
    /// A part of the device model.
    Report {
        request_id: i32,
        seq_no: i64,
        last: bool,
        settings: Vec<Setting>,
        at: Timestamp,
    },
}

impl Message {
    /// Kept while the connection is down and sent after, in order.
    pub(in crate::fleet) fn is_transactional(&self) -> bool {
        matches!(self, Message::Transaction(_))
    }
}

/// What the hub answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) enum Answer {
    /// To a boot: accepted or not, and the seconds until the next heartbeat or attempt.
    Booted { accepted: bool, interval_s: u32 },
    /// To a token.
    Authorized(bool),
    /// To an event of a transaction: its 1.6 number if one was given, and whether it may go on.
    Transaction { number: Option<i32>, accepted: bool },
    /// To anything else.
    Taken,
}

/// A setting: a configuration key of 1.6, a variable of 2.0.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::fleet) struct Setting {
    pub(in crate::fleet) key: &'static str,
    pub(in crate::fleet) component: &'static str,
    pub(in crate::fleet) variable: &'static str,
    pub(in crate::fleet) value: String,
    pub(in crate::fleet) readonly: bool,
}

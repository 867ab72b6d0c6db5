//! What is due when. Timers are derived from rows and removed with what they wait for, so that a
//! restored partition has the same ones as one that never stopped.

use novax_model::SessionId;

/// What a timer is for. The order breaks ties between timers due at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// An app's start has taken too long.
    Start(SessionId),
    /// A station has not answered an outbox row before its deadline.
    Outbox(u64),
    /// A hold for another partition's session is old: ask that partition.
    AskSession(SessionId),
    /// The hold of a running session is about to run out.
    RenewHold(SessionId),
    /// Nothing was heard of a running session for too long.
    Silence(SessionId),
}

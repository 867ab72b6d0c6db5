//! What users of links provide: who hears what comes, where snapshots come from and go to.

use crate::connection::PeerInfo;
use crate::error::Refusal;
use crate::message::{Message, SnapshotId};
use bytes::Bytes;
use novax_model::NodeId;
use std::fmt;
use std::io;

/// What becomes of what comes. Called on the links' thread: it must not wait.
pub trait Handler: Send + Sync + 'static {
    /// A link is up: `Outbox::send` takes messages from now on.
    fn link_up(&self, peer: &PeerInfo);

    /// It is down: what was under way either way may be lost, and answers that did not come never will.
    fn link_down(&self, node: NodeId, why: Refusal);

    /// Something came.
    fn message(&self, from: NodeId, message: Message);

    /// A node offers a snapshot; `None` is no. Also asked for one that was received before, when this node
    /// has started anew since: the handler then says that it has all of it.
    fn snapshot_offered(
        &self,
        _from: NodeId,
        _id: SnapshotId,
        _length: u64,
        _about: &[u8],
    ) -> Option<TakenSnapshot> {
        None
    }

    /// A snapshot that was taken is whole here and its sink has finished; or it will not come.
    fn snapshot_received(&self, _from: NodeId, _id: SnapshotId, _whole: bool) {}

    /// A snapshot is whole there; or it will not be.
    fn snapshot_sent(&self, _to: NodeId, _id: SnapshotId, _whole: bool) {}

    /// A node asks to join, with an invitation, and says where it will be called: what it is to be told. It
    /// gets its certificate after that, and is no peer before `Links::set_peers` says so. Called on a thread
    /// that may wait; a node whose answer was lost asks again.
    ///
    /// # Errors
    /// In words, why it is not let in. The invitation stays good.
    fn joining(&self, _node: NodeId, _address: &str) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }
}

/// Where the bytes of a snapshot come from. Called on a thread that may wait.
pub trait SnapshotSource: Send + 'static {
    /// Fills `into` with the bytes at `offset`.
    ///
    /// # Errors
    /// The snapshot is given up.
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

/// Where the bytes of a snapshot go. Called on a thread that may wait.
pub trait SnapshotSink: Send + 'static {
    /// Puts bytes at `offset`: each comes once and in order, as long as this sink lives.
    ///
    /// # Errors
    /// The snapshot is given up.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// All is written; when this returns it is safe, and the sender is told so.
    ///
    /// # Errors
    /// The snapshot is given up.
    fn finish(&mut self) -> io::Result<()>;
}

/// A snapshot to be sent.
pub struct Snapshot {
    /// A number this node gives to no other.
    pub id: SnapshotId,
    /// All its bytes.
    pub length: u64,
    /// What it is of, for the other handler; 64 KiB at most.
    pub about: Bytes,
    /// The bytes.
    pub source: Box<dyn SnapshotSource>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({:?}, {} bytes)", self.id, self.length)
    }
}

/// A handler's yes to a snapshot.
pub struct TakenSnapshot {
    /// Bytes that are here already, from an earlier life of this node: it goes on behind them.
    pub have: u64,
    /// Where the others go.
    pub sink: Box<dyn SnapshotSink>,
}

impl fmt::Debug for TakenSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TakenSnapshot(from {})", self.have)
    }
}

//! Tamper evidence: what was booked can be shown to be what was booked, to somebody who trusts
//! nothing but a public key. Pure: no files, clocks, threads or chance; keys, times, readers and
//! writers are passed in.
//!
//! One leaf of a Merkle tree (RFC 9162) is one transaction of the ledger in a hand-written
//! encoding. A tree head says "this many transactions, this root", and is signed outside the
//! replicated state machine, because keys are not deterministic. A chain over the log's entries
//! stands in each head too.
//!
//! Floors, each using only what stands below:
//!
//! * [`head`]: tree heads, signatures, keys and how they follow one another
//! * [`merkle`]: the tree; [`chain`]: the log's chain;
//!   [`commitment`]: persons' accounts without their names
//! * `bytes`, `ids`, [`hash`], [`error`]: the words

mod bytes;
pub mod chain;
pub mod commitment;
pub mod error;
pub mod hash;
pub mod head;
mod ids;
pub mod merkle;

pub use error::AuditError;
pub use hash::Hash;
pub use head::{KeyId, PublicKeys, Rotation, SignedHead, TreeHead};
pub use merkle::{NodeKey, Nodes, Tree};

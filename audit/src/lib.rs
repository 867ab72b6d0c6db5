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
//! * [`fuzz`]: foreign bytes through every parser, for fuzzers and tests
//! * [`export`]: the journal as one file that proves itself; verifying one, offline
//! * [`signer`]: whose key signs which head
//! * [`head`]: tree heads, signatures, keys and how they follow one another
//! * [`canonical`]: the bytes of one transaction; [`merkle`]: the tree; [`chain`]: the log's chain;
//!   [`commitment`]: persons' accounts without their names
//! * `bytes`, `ids`, [`hash`], [`error`]: the words

mod bytes;

pub mod canonical;
pub mod chain;
pub mod commitment;
pub mod error;
pub mod export;
pub mod fuzz;
pub mod hash;
pub mod head;
mod ids;
pub mod merkle;
pub mod signer;

pub use canonical::Transaction;
pub use error::{AuditError, Tampered, What};
pub use export::{Report, Start, Writer, verify};
pub use hash::Hash;
pub use head::{KeyId, PublicKeys, Rotation, SignedHead, TreeHead};
pub use merkle::{NodeKey, Nodes, Tree};
pub use signer::Signer;

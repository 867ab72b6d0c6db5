//! What can be wrong with a transaction, a proof, a head, a key or an export; and where, when an
//! export was tampered with.

use std::fmt;

use novax_model::{Timestamp, TransferKey};

use crate::hash::to_hex;
use crate::ids::{KeyId, NodeKey};

/// Why something was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Bytes are not what their format says: whoever wrote or changed them is at fault.
    #[error("byte {at}: {what}")]
    Malformed {
        /// The first offending byte.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// The rows are not those of one transaction: the caller grouped them wrongly, or the store
    /// they came from is damaged.
    #[error("the journal rows are not one transaction: {0}")]
    NotOneSet(&'static str),
    /// A proof was asked for a leaf or a size that the tree does not have: the caller's mistake.
    #[error("a tree of {size} leaves has no proof for {asked}")]
    OutOfRange {
        /// The leaf, or the older size, asked for.
        asked: u64,
        /// How many leaves there are.
        size: u64,
    },
    /// A proof does not lead to the root: it, the leaf or the root is not genuine.
    #[error("the proof does not lead to the root")]
    ProofWrong,
    /// The store lacks a node that the tree's size says it has: the store is damaged.
    #[error("node {0} is not in the store")]
    NodeMissing(NodeKey),
    /// The store could not be read, in its own words.
    #[error("the nodes of the tree cannot be read: {0}")]
    Nodes(Box<str>),
    /// A stored tree whose frontier does not fit its size: the store is damaged.
    #[error("a tree of {size} leaves does not have {frontier} peaks")]
    TreeInconsistent {
        /// How many leaves it says it has.
        size: u64,
        /// How many peaks it has.
        frontier: usize,
    },
    /// The bytes are no ed25519 public key: whoever configured or sent them is at fault.
    #[error("these 32 bytes are not an ed25519 public key")]
    KeyMalformed,
    /// A file of trusted keys holds something else: whoever wrote it is at fault.
    #[error("line {0} is not a public key in 64 hexadecimal digits")]
    KeyLine(usize),
    /// Signed with a key that is not among the trusted ones.
    #[error("key {0} is not trusted here")]
    KeyUnknown(KeyId),
    /// Signed with a key outside the time it was in force.
    #[error("key {key} was not in force at {at}")]
    KeyNotInForce {
        /// Which key.
        key: KeyId,
        /// When it is said to have signed.
        at: Timestamp,
    },
    /// The signature is not of these bytes by this key.
    #[error("the signature by key {0} is wrong")]
    SignatureWrong(KeyId),
    /// Parts of an export were to be written in an order that no reader would take: the caller's
    /// mistake.
    #[error("an export cannot go on like this: {0}")]
    OutOfOrder(&'static str),
    /// The reader or the writer failed, in its own words: the disk or the network is at fault.
    #[error("the export cannot be read or written: {0}")]
    Io(Box<str>),
    /// The export is not what was exported.
    #[error("{0}")]
    Tampered(Box<Tampered>),
}

impl From<std::io::Error> for AuditError {
    fn from(error: std::io::Error) -> Self {
        AuditError::Io(error.to_string().into())
    }
}

/// Where an export is not what was exported, as narrowly as can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tampered {
    /// The first byte of the file that is wrong; where only a record or a range of them can be
    /// blamed, the first byte of the first.
    pub byte_offset: u64,
    /// Which record of the file, from 0; the preamble counts as the first.
    pub record: u64,
    /// Which transaction, by its number in the tree, when it is one.
    pub transaction: Option<u64>,
    /// The key of that transaction, when it can be read.
    pub key: Option<TransferKey>,
    /// What is wrong.
    pub what: What,
}

impl fmt::Display for Tampered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}, record {}", self.byte_offset, self.record)?;
        if let Some(transaction) = self.transaction {
            write!(f, ", transaction {transaction}")?;
        }
        if let Some(key) = self.key {
            write!(f, " (key {key})")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// What is wrong with an export.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// It does not begin as exports do.
    NotAnExport,
    /// It is of a version that this build does not read, or its version was changed.
    Version(u16),
    /// These bytes were changed, and what they were is known for certain.
    Changed {
        /// What they belong to.
        field: Box<str>,
        /// What they were.
        was: Box<[u8]>,
        /// What they are.
        is: Box<[u8]>,
    },
    /// The record's bytes were changed in several places, far apart.
    ChangedWidely {
        /// How many bytes it is long, head and check sums included.
        record_bytes: u64,
    },
    /// The record is whole but does not follow the one before it: records were removed, added or
    /// moved, or its link was replaced.
    OutOfPlace,
    /// The file ends too early.
    Truncated,
    /// There are bytes after the end.
    TooLong,
    /// The record was made by somebody who knew the file's check sums, and is not as the format
    /// says.
    Malformed(AuditError),
    /// The head or rotation is not vouched for by a trusted key.
    NotVouchedFor(AuditError),
    /// The proof does not lead from this transaction to the signed root: the transaction, or the
    /// proof, is forged.
    ProofWrong,
    /// The transactions from this one up to `until` (not itself) are not those whose root was
    /// signed, or remembered by the verifier: at least one of them was forged.
    RootDiffers {
        /// The size of the head that differs.
        until: u64,
    },
    /// It ends before the head that the verifier remembers.
    Shortened {
        /// The size of that head.
        trusted: u64,
    },
    /// The books are wrong, whatever the hashes say.
    Books(Box<str>),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::NotAnExport => f.write_str("this is not an audit export"),
            What::Version(version) => write!(f, "version {version} is not known"),
            What::Changed { field, was, is } => {
                write!(f, "{field} was {}, is {}", to_hex(was), to_hex(is))
            }
            What::ChangedWidely { record_bytes } => {
                write!(f, "several of the record's {record_bytes} bytes were changed")
            }
            What::OutOfPlace => {
                f.write_str("the record does not follow the one before: some were removed or moved")
            }
            What::Truncated => f.write_str("the file ends too early"),
            What::TooLong => f.write_str("there are bytes after the end"),
            What::Malformed(why) => write!(f, "the record is not as the format says: {why}"),
            What::NotVouchedFor(why) => write!(f, "no trusted key vouches for this: {why}"),
            What::ProofWrong => f.write_str("the transaction is not the one under the signed root"),
            What::RootDiffers { until } => {
                write!(f, "a transaction from here up to {until} is not what its root was made of")
            }
            What::Shortened { trusted } => {
                write!(f, "the journal ends before the {trusted} transactions known to be in it")
            }
            What::Books(why) => write!(f, "the books are wrong: {why}"),
        }
    }
}

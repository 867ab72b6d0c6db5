//! What can go wrong in the cold tier, and whose fault it is.

use novax_model::PartitionId;
use std::path::PathBuf;

/// Why the cold tier did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ColdError {
    /// The object store did not answer, or refused: look at its address, keys and health.
    #[error("the object store: {0}")]
    Store(#[from] object_store::Error),
    /// Bytes that were written by us do not come back as they were: the store or its disk lost or
    /// changed them. Restore the object from a copy; all others stay readable.
    #[error("{object} is damaged: {reason}")]
    Damaged {
        /// Which object.
        object: String,
        /// What does not fit.
        reason: String,
    },
    /// A newer release wrote this: use that release or a later one.
    #[error("{object} is of format version {version}, which this release does not know")]
    NewerFormat {
        /// Which object.
        object: String,
        /// Its version.
        version: u16,
    },
    /// Other writers of the partition were faster, again and again: two nodes think they lead it.
    #[error("partition {partition}: others changed the manifest {attempts} times in a row")]
    Contended {
        /// Which partition.
        partition: PartitionId,
        /// How often it was tried.
        attempts: u32,
    },
    /// The store takes a second object under a name that is taken. Nothing keeps two writers apart
    /// there: choose a store that honours `If-None-Match: *`.
    #[error("the object store does not honour put-if-absent: {0}")]
    Unfit(String),
    /// The configuration names no store that could be opened.
    #[error("the address of the object store: {0}")]
    Address(String),
    /// Chunks of the hot store cannot be read; they stay where they are.
    #[error("the hot store: {0}")]
    Hot(String),
    /// A local file or directory cannot be used: look at its permissions and at free space.
    #[error("{path}: {source}")]
    Local {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Rows cannot be made into Parquet: a mistake of ours.
    #[error("Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Columns do not fit one another: a mistake of ours.
    #[error("Arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The target of an export holds another export: choose an empty one, or the same options.
    #[error("the target of the export: {0}")]
    Export(String),
}

impl ColdError {
    #[expect(clippy::needless_pass_by_value, reason = "paths, texts and errors, made for this")]
    pub(crate) fn damaged(object: impl ToString, reason: impl ToString) -> Self {
        Self::Damaged { object: object.to_string(), reason: reason.to_string() }
    }

    #[expect(clippy::needless_pass_by_value, reason = "paths, texts and errors, made for this")]
    pub(crate) fn hot(reason: impl ToString) -> Self {
        Self::Hot(reason.to_string())
    }

    /// Whether an object was not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Store(object_store::Error::NotFound { .. }))
    }
}

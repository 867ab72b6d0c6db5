//! What can go wrong in the store, and whose fault it is.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the store. Each variant says what was being done and to which file.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused a file operation: a full or failing disk, or a lost permission.
    #[error("cannot {action} {}: {source}", file.display())]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// The file or folder.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A sorted table holds other bytes than were written: the disk's fault. Other tables stay readable.
    #[error("table {} is damaged at byte {offset}{}: {what}", file.display(), Of(*keyspace))]
    Corruption {
        /// The table.
        file: PathBuf,
        /// Where the damaged block starts.
        offset: u64,
        /// The keyspace that the block serves; none where the damage hits the table as a whole.
        keyspace: Option<u8>,
        /// Which check failed.
        what: &'static str,
    },
    /// The manifest holds other bytes than were written: the disk's fault. The store cannot be opened.
    #[error("manifest {} is damaged at byte {offset}: {what}", file.display())]
    ManifestCorruption {
        /// The manifest.
        file: PathBuf,
        /// Where the damaged record starts.
        offset: u64,
        /// Which check failed.
        what: &'static str,
    },
    /// The manifest names a table that is not in the folder: somebody removed it.
    #[error("table {} is named by the manifest but is not there", file.display())]
    TableMissing {
        /// The table.
        file: PathBuf,
    },
    /// Another engine has this folder open.
    #[error("store {} is open already", dir.display())]
    Locked {
        /// The store's folder.
        dir: PathBuf,
    },
    /// The caller asked for a keyspace that the store was not opened with.
    #[error("keyspace {keyspace} asked for, but the store has {count}")]
    KeyspaceUnknown {
        /// What was asked for.
        keyspace: u8,
        /// How many there are; they are numbered from 0.
        count: u8,
    },
    /// The store was made with more keyspaces than it is opened with: an older program on newer data.
    #[error("store {} has {stored} keyspaces, opened with {asked}", dir.display())]
    KeyspacesTooFew {
        /// The store's folder.
        dir: PathBuf,
        /// What the manifest says.
        stored: u8,
        /// What the options say.
        asked: u8,
    },
    /// A keyspace is opened for another use than it was written for, which would make its files mean
    /// something else: the caller's options are wrong.
    #[error("keyspace {keyspace} of store {} was written with {stored}, opened with {asked}", dir.display())]
    KeyspaceChanged {
        /// The store's folder.
        dir: PathBuf,
        /// The keyspace.
        keyspace: u8,
        /// What the manifest says.
        stored: String,
        /// What the options say.
        asked: String,
    },
    /// A merge operand was found in a keyspace that has no merge operator: the caller's options, or damage that
    /// no checksum shows.
    #[error("keyspace {keyspace} holds merge operands, but has no merge operator")]
    MergeOperatorMissing {
        /// The keyspace.
        keyspace: u8,
    },
    /// A table refers to a blob file that is none of the store's: damage that no checksum shows.
    #[error("blob file {number} is referred to, but is none of the store's")]
    BlobMissing {
        /// Its number.
        number: u64,
    },
    /// A checkpoint was asked for while another is being made: the caller's order of doing things is wrong.
    #[error("a checkpoint into {} is being made already", dir.display())]
    CheckpointBusy {
        /// Where to.
        dir: PathBuf,
    },
    /// The worker has been stopped before the engine: the caller's order of shutting down is wrong.
    #[error("the worker that writes tables has stopped")]
    WorkerStopped,
    /// A background job ran into a failed assertion: a bug of this crate.
    #[error("the {job} job panicked")]
    JobPanicked {
        /// Which job.
        job: &'static str,
    },
}

/// Shows the keyspace of a damaged block, where there is one.
struct Of(Option<u8>);

impl std::fmt::Display for Of {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(keyspace) => write!(f, " (keyspace {keyspace})"),
            None => Ok(()),
        }
    }
}

impl Error {
    /// Wraps what the system said; made for `map_err`.
    pub(crate) fn io(action: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { action, file: file.to_path_buf(), source }
    }
}

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
    #[error("{} is damaged at byte {offset}{}: {what}", file.display(), Of(*keyspace, keys.as_deref()))]
    Corruption {
        /// The table or blob file.
        file: PathBuf,
        /// Where the damaged block starts.
        offset: u64,
        /// The keyspace that the block serves; none where the damage hits the table as a whole.
        keyspace: Option<u8>,
        /// Between which keys of that keyspace the damage lies; none where it is not known, or hits the
        /// table as a whole.
        keys: Option<Box<KeySpan>>,
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
    /// The keys given to a [`crate::TableBuilder`] do not rise: the caller's stream is not sorted.
    #[error("a key of keyspace {keyspace} does not come after the one before it")]
    IngestOrder {
        /// The keyspace of the key that was refused.
        keyspace: u8,
    },
    /// The stream given to a [`crate::TableBuilder`] goes to too many windows at once: the caller has to build the
    /// tables of one stretch of time after those of another.
    #[error("a stream of more than {max} windows")]
    IngestWindows {
        /// How many there may be.
        max: usize,
    },
    /// Too many tables wait to be taken in: the caller has to wait until [`crate::Progress::ingesting`] is false.
    #[error("{waiting} tables wait to be taken in already")]
    IngestBusy {
        /// How many wait.
        waiting: usize,
    },
    /// A file of a backup, or its catalogue, holds other bytes than were written, or is gone: the fault of the target's
    /// disk. Other backups, and the store itself, are as they were.
    #[error("backup file {} is damaged: {what}", file.display())]
    BackupCorruption {
        /// The file.
        file: PathBuf,
        /// Which check failed.
        what: &'static str,
    },
    /// There is no such backup: the caller's choice is wrong, or it was removed by age.
    #[error("no {} in {}", Wanted(*id), dir.display())]
    BackupUnknown {
        /// The folder of backups.
        dir: PathBuf,
        /// What was asked for; none for the newest.
        id: Option<u64>,
    },
    /// A folder that was to be filled holds files: the caller's choice is wrong, nothing was written.
    #[error("{} is not empty", dir.display())]
    NotEmpty {
        /// The folder.
        dir: PathBuf,
    },
    /// A name cannot be used within a backup: the caller's choice is wrong.
    #[error("{name:?} cannot be a name in a backup, or is there twice")]
    NameInvalid {
        /// The name.
        name: String,
    },
    /// A table was damaged beside its entries, which were all saved.
    #[error("{} was made anew with all its entries: {what}", file.display())]
    Salvaged {
        /// The table.
        file: PathBuf,
        /// What was wrong with it.
        what: String,
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

/// The keys that a damaged block may hold, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpan {
    /// No key of the block is below this.
    pub first: Vec<u8>,
    /// No key of the block is past this.
    pub last: Vec<u8>,
}

impl std::fmt::Display for KeySpan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", Hex(&self.first), Hex(&self.last))
    }
}

/// A key in hexadecimal: the first 32 bytes of it.
struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("0x")?;
        self.0.iter().take(32).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        if self.0.len() > 32 { f.write_str("...") } else { Ok(()) }
    }
}

/// Shows the keyspace and the keys of a damaged block, where they are known.
struct Of<'a>(Option<u8>, Option<&'a KeySpan>);

impl std::fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0, self.1) {
            (Some(keyspace), Some(keys)) => write!(f, " (keyspace {keyspace}, keys {keys})"),
            (Some(keyspace), None) => write!(f, " (keyspace {keyspace})"),
            (None, _) => Ok(()),
        }
    }
}

/// Shows which backup was asked for.
struct Wanted(Option<u64>);

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(id) => write!(f, "backup {id}"),
            None => f.write_str("backup"),
        }
    }
}

impl Error {
    /// Wraps what the system said; made for `map_err`.
    pub(crate) fn io(action: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { action, file: file.to_path_buf(), source }
    }
}

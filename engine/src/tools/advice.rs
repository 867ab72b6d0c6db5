//! What to do about an error, in a sentence for the operator.

use crate::error::Error;
use std::io::ErrorKind;
use std::path::Path;

const VERIFY: &str = "see how much is damaged with `novax store verify`; then restore a backup, or save what is \
                      readable with `novax store repair`; and replace the disk if it happens again";
const UPGRADE: &str =
    "it was written by a later version: run that version, or restore a backup made before it";

/// True for errors that say that bytes are not those that were written, or are gone.
pub(super) fn is_damage(error: &Error) -> bool {
    matches!(
        error,
        Error::Corruption { .. } | Error::ManifestCorruption { .. } | Error::TableMissing { .. }
    )
}

impl Error {
    /// The file or folder that it is about.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Error::Io { file, .. }
            | Error::Corruption { file, .. }
            | Error::ManifestCorruption { file, .. }
            | Error::TableMissing { file }
            | Error::BackupCorruption { file, .. }
            | Error::Salvaged { file, .. } => Some(file),
            Error::Locked { dir }
            | Error::KeyspacesTooFew { dir, .. }
            | Error::NotEmpty { dir }
            | Error::BackupUnknown { dir, .. } => Some(dir),
            _ => None,
        }
    }

    /// True when it is about something in `dir`.
    pub(super) fn names_below(&self, dir: &Path) -> bool {
        self.file().is_some_and(|file| file.starts_with(dir))
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Error::Io { source, .. } => advice_io(source.kind()),
            Error::Corruption { what, .. }
            | Error::ManifestCorruption { what, .. }
            | Error::BackupCorruption { what, .. }
                if what.contains("version this program does not know")
                    || what.contains("newer version") =>
            {
                UPGRADE
            }
            Error::Corruption { .. } => VERIFY,
            Error::ManifestCorruption { .. } => {
                "restore a backup, or rebuild the manifest from the tables with `novax store repair`"
            }
            Error::TableMissing { .. } => {
                "put the file back if it was moved; otherwise restore a backup, or go on without \
                 its keys after `novax store repair`"
            }
            Error::BackupCorruption { .. } => {
                "use another backup of this target, and check its disk; `novax store verify` on the \
                 target names all that is damaged"
            }
            Error::BackupUnknown { .. } => "list the backups there are, and name one of them",
            Error::NotEmpty { .. } => "name a folder that is empty or not there yet",
            Error::NameInvalid { .. } => {
                "rename it: letters, digits, '-', '_' and '.' are taken, not at the start"
            }
            Error::Locked { .. } => "stop the node or the tool that has it open, then try again",
            Error::KeyspaceUnknown { .. } => "ask for a keyspace that the store has",
            Error::KeyspacesTooFew { .. } => UPGRADE,
            Error::Salvaged { .. } => "nothing: the entries are safe in the new table",
            _ => "report it with the log of the node: it is a bug or a wrong use of the store",
        }
    }
}

fn advice_io(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free room on the disk: the store tries again by itself, and loses nothing meanwhile"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "find out why the file system was made read-only (the kernel's log says), mend it and \
             mount it for writing; the store tries again by itself"
        }
        ErrorKind::PermissionDenied => "give the user that runs the node the right to the file",
        ErrorKind::NotFound => "check the path; if the file was there, restore it from a backup",
        _ => "check the disk and the kernel's log",
    }
}

//! The data directory: whose it is, how it was made, where things lie in it.
//!
//! | path | holds |
//! |---|---|
//! | `NODE` | format version and number of partitions, as text |
//! | `LOCK` | locked while a node runs on the directory |
//! | `api.key` | the key of the HTTP API, when it was not configured |
//! | `audit.key` | what heads of journals are signed with |
//! | `log/shard-NNN/` | the shard logs |
//! | `partitions/pNNN/` | one store a partition |
//! | `states/` | states of partitions on their way from and to other nodes |

use super::NodeError;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

const FORMAT: &str = "novax data directory, format 3";

/// An open data directory. Nobody else can open it meanwhile.
#[derive(Debug)]
pub(super) struct DataDir {
    /// Where it is.
    pub(super) path: PathBuf,
    /// How many partitions it was made with.
    pub(super) partitions: u16,
    _lock: File,
}

impl DataDir {
    /// Opens the directory, making it when it is not there.
    pub(super) fn open(path: &Path, partitions: u16) -> Result<DataDir, NodeError> {
        let fail = |reason: String| NodeError::Data { path: path.display().to_string(), reason };
        let io = |what: &str| {
            let what = what.to_owned();
            move |error: std::io::Error| fail(format!("{what}: {error}"))
        };
        fs::create_dir_all(path).map_err(io("cannot be made"))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("LOCK"))
            .map_err(io("cannot be locked"))?;
        if lock.try_lock().is_err() {
            return Err(fail("another node runs on it".into()));
        }
        let node = path.join("NODE");
        let partitions = if node.exists() {
            let text = fs::read_to_string(&node).map_err(io("NODE cannot be read"))?;
            let made = read_node(&text).map_err(fail)?;
            if made != partitions {
                return Err(fail(format!(
                    "it was made with {made} partitions, which cannot change: start with \
                     --partitions {made}"
                )));
            }
            made
        } else {
            let text = format!("{FORMAT}\npartitions {partitions}\n");
            write_durably(path, "NODE", text.as_bytes(), 0o644).map_err(io("NODE"))?;
            partitions
        };
        for directory in ["log", "partitions"] {
            fs::create_dir_all(path.join(directory)).map_err(io(directory))?;
        }
        Ok(DataDir { path: path.into(), partitions, _lock: lock })
    }

    /// The log of a shard.
    pub(super) fn log(&self, shard: u16) -> PathBuf {
        self.path.join("log").join(format!("shard-{shard:03}"))
    }
}

fn read_node(text: &str) -> Result<u16, String> {
    let mut lines = text.lines();
    if lines.next() != Some(FORMAT) {
        return Err(
            "NODE is of a format this build does not know: it was made by another version of \
                    novax; use that one, or move the directory away and begin anew"
                .into(),
        );
    }
    lines
        .next()
        .and_then(|line| line.strip_prefix("partitions "))
        .and_then(|number| number.parse().ok())
        .filter(|partitions| *partitions > 0)
        .ok_or_else(|| "NODE does not say how many partitions".into())
}

/// The file is there whole or not at all, also after a crash.
pub(crate) fn write_durably(
    dir: &Path,
    name: &str,
    bytes: &[u8],
    mode: u32,
) -> std::io::Result<()> {
    let temporary = dir.join(format!("{name}.new"));
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(name))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_partitions_and_belongs_to_one_node() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path(), 4).unwrap();
        let error = DataDir::open(dir.path(), 4).unwrap_err().to_string();
        assert!(error.contains("another node"), "{error}");
        drop(first);
        let error = DataDir::open(dir.path(), 8).unwrap_err().to_string();
        assert!(error.contains("--partitions 4"), "{error}");
        assert_eq!(DataDir::open(dir.path(), 4).unwrap().partitions, 4);
    }

    #[test]
    fn a_foreign_node_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("NODE"), "something else\n").unwrap();
        assert!(DataDir::open(dir.path(), 4).is_err());
    }
}

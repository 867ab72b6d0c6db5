//! A partition's state as files, on its way from one node to another: where they lie, how they travel as one
//! stream of bytes, and which folder is in force when a node starts.
//!
//! Under a data directory, `partitions/pNNN` is the home of a partition's store. `states/pNNN.out-N` is a
//! checkpoint for peers; `states/pNNN.at-I` is a state that came from a peer, as of entry I. One that was put
//! in runs where it is until the next start, which brings it home.
//!
//! **Invariants**
//! * A folder has a manifest only when all it names is durable, so a folder with one is a whole store.
//! * The store in force is the first, in order of home and then I, whose mark is not below the log's: the
//!   log's mark rises to I before the store before it goes, and a store that was left behind never gets that
//!   far.
//! * Wherever the power goes, the next start finds a store in force.

use super::stores;
use novax_charging::{Partition, PartitionConfig, RestoreError};
use novax_engine::tools::{checkpoint, store_mark};
use novax_engine::{Disk, DiskRead, DiskWrite, Engine, MANIFEST_NAME, Options, Worker};
use novax_model::PartitionId;
use novax_raft::Members;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"NVXSTATE";
const VERSION: u32 = 1;
/// Magic, version, number of files.
const HEAD_BYTES: usize = 16;
/// Files of a state at most. A store of a terabyte has fewer.
const FILES_MAX: usize = 65_536;
const NAME_BYTES_MAX: usize = 64;
/// The manifest of a state that is not whole.
const MANIFEST_PART: &str = "MANIFEST.part";

/// Why a state is not what it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The disk refuses.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store does not open: whoever sent it, or the disk, has damaged it.
    #[error(transparent)]
    Store(#[from] novax_engine::Error),
    /// Its rows are no state: whoever sent it has a damaged store.
    #[error(transparent)]
    Rows(#[from] RestoreError),
    /// It is not as of the entry that it was said to be of: whoever sent it is wrong.
    #[error("a state as of entry {found} came in the name of entry {wanted}")]
    Index {
        /// As of which it is.
        found: u64,
        /// As of which it should be.
        wanted: u64,
    },
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_path_buf();
    move |source| StateError::Io { what, path, source }
}

// ---- places ----

fn name(partition: PartitionId) -> String {
    format!("p{:03}", partition.0)
}

/// Where a partition's store is at home.
#[must_use]
pub fn home(data: &Path, partition: PartitionId) -> PathBuf {
    data.join("partitions").join(name(partition))
}

/// Where states on their way lie.
#[must_use]
pub fn folder(data: &Path) -> PathBuf {
    data.join("states")
}

/// A checkpoint for peers, by a number that is used once in a run.
#[must_use]
pub fn outgoing(data: &Path, partition: PartitionId, number: u64) -> PathBuf {
    folder(data).join(format!("{}.out-{number}", name(partition)))
}

/// A state from a peer, as of an entry.
#[must_use]
pub fn incoming(data: &Path, partition: PartitionId, index: u64) -> PathBuf {
    folder(data).join(format!("{}.at-{index}", name(partition)))
}

/// Removes a folder and its files, its manifest first: what is left of it, if the power goes, is no store.
///
/// # Errors
/// When the disk refuses.
pub fn wipe(disk: &dyn Disk, dir: &Path) -> Result<(), StateError> {
    let files = match disk.list(dir) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("list", dir)(error)),
    };
    let is_manifest = |(name, _): &&(String, u64)| name == MANIFEST_NAME;
    if files.iter().any(|file| is_manifest(&file)) {
        let manifest = dir.join(MANIFEST_NAME);
        disk.remove(&manifest).map_err(failed("remove", &manifest))?;
        disk.sync_dir(dir).map_err(failed("sync folder", dir))?;
    }
    for (name, _) in files.iter().filter(|file| !is_manifest(file)) {
        let file = dir.join(name);
        disk.remove(&file).map_err(failed("remove", &file))?;
    }
    match disk.remove_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", dir)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Before a start: brings the store in force home, given how far the log says that the state is, and removes
/// what is left of others.
///
/// # Errors
/// When the disk refuses, or a manifest is damaged.
pub fn settle(
    disk: &Arc<dyn Disk>,
    data: &Path,
    partition: PartitionId,
    log_mark: u64,
) -> Result<PathBuf, StateError> {
    let (home, states) = (home(data, partition), folder(data));
    disk.create_dir(&states).map_err(failed("create", &states))?;
    let prefix = format!("{}.", name(partition));
    let mut others = disk.list_dirs(&states).map_err(failed("list", &states))?;
    others.retain(|name| name.starts_with(&prefix));
    let mut came: Vec<(u64, PathBuf)> = others
        .iter()
        .filter_map(|name| Some((name.split_once(".at-")?.1.parse().ok()?, states.join(name))))
        .collect();
    came.sort();
    if store_mark(disk, &home)?.is_none_or(|mark| mark < log_mark) {
        for (_, dir) in &came {
            if store_mark(disk, dir)?.is_some_and(|mark| mark >= log_mark) {
                wipe(&**disk, &home)?;
                checkpoint(disk, dir, &home)?;
                break;
            }
        }
    }
    for name in others {
        wipe(&**disk, &states.join(name))?;
    }
    Ok(home)
}

// ---- the stream ----

/// The files of a folder as one stream of bytes: what they are, then what is in them, the manifest last.
pub struct StateReader {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    head: Vec<u8>,
    /// Name, length, and where it begins in the stream.
    files: Vec<(String, u64, u64)>,
    length: u64,
    /// The file that was read last.
    open: Option<(usize, Box<dyn DiskRead>)>,
}

impl std::fmt::Debug for StateReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StateReader({}, {} bytes)", self.dir.display(), self.length)
    }
}

impl StateReader {
    /// A checkpoint's stream. Reads the folder, not the files.
    ///
    /// # Errors
    /// When it cannot be read, or is no checkpoint.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> io::Result<StateReader> {
        let mut files = disk.list(dir)?;
        files.retain(|(name, _)| is_sent(name));
        files.sort_by_key(|(name, _)| (name == MANIFEST_NAME, name.clone()));
        if files.last().is_none_or(|(name, _)| name != MANIFEST_NAME) || files.len() > FILES_MAX {
            return Err(io::Error::other("no checkpoint"));
        }
        let count = u32::try_from(files.len()).map_err(io::Error::other)?;
        let mut head = Vec::from(MAGIC);
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&count.to_le_bytes());
        for (name, bytes) in &files {
            head.push(u8::try_from(name.len()).map_err(io::Error::other)?);
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(&bytes.to_le_bytes());
        }
        let mut length = head.len() as u64;
        let place = |(name, bytes): (String, u64)| {
            let begin = length;
            length += bytes;
            (name, bytes, begin)
        };
        let files = files.into_iter().map(place).collect();
        Ok(StateReader { disk, dir: dir.to_path_buf(), head, files, length, open: None })
    }

    /// All its bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Fills `into` with the bytes at `offset`.
    ///
    /// # Errors
    /// When a file cannot be read, or that is beyond the end.
    pub fn read_at(&mut self, mut offset: u64, mut into: &mut [u8]) -> io::Result<()> {
        while !into.is_empty() {
            let len = match self.head.get(usize::try_from(offset).map_err(io::Error::other)?..) {
                Some(head) if !head.is_empty() => {
                    let len = head.len().min(into.len());
                    into[..len].copy_from_slice(&head[..len]);
                    len
                }
                _ => self.read_file(offset, into)?,
            };
            into = &mut into[len..];
            offset += len as u64;
        }
        Ok(())
    }

    /// Reads from the file that has the byte at `offset`; how much.
    fn read_file(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        // The last that begins there or before; those of no bytes share their place with the next.
        let at = self.files.partition_point(|(_, _, begin)| *begin <= offset);
        let found = at.checked_sub(1).and_then(|at| Some((at, self.files.get(at)?)));
        let Some((at, (name, bytes, begin))) = found else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let left = bytes.saturating_sub(offset - begin);
        if left == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let file = match self.open.take() {
            Some((open, file)) if open == at => file,
            _ => self.disk.open(&self.dir.join(name))?,
        };
        let len = usize::try_from(left).map_or(into.len(), |left| left.min(into.len()));
        file.read_at(offset - begin, &mut into[..len])?;
        self.open = Some((at, file));
        Ok(len)
    }
}

/// Whether a file is part of a state, by its name: those of a store are.
fn is_sent(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.';
    let sound = name.len() <= NAME_BYTES_MAX && name.bytes().all(plain);
    let table = name.ends_with(".nvt") || name.ends_with(".nvb");
    sound && (name == MANIFEST_NAME || (table && !name.starts_with('.')))
}

/// Where the bytes of a state go: into a folder of its own.
pub struct StateWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// All its bytes, as they were announced.
    length: u64,
    written: u64,
    /// What came of the head, until it is whole.
    head: Option<Vec<u8>>,
    /// Files that are to come, with their lengths.
    files: Files,
    /// The file that is being written, and how much of it is to come.
    open: Option<(Box<dyn DiskWrite>, u64)>,
}

impl std::fmt::Debug for StateWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StateWriter({}, {} of {})", self.dir.display(), self.written, self.length)
    }
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl StateWriter {
    /// For a state of so many bytes. Touches nothing before the first of them comes.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf, length: u64) -> StateWriter {
        let (written, head, files, open) = (0, Some(Vec::new()), VecDeque::new(), None);
        StateWriter { disk, dir, length, written, head, files, open }
    }

    /// Takes the bytes at `offset`, each once and in order.
    ///
    /// # Errors
    /// When the disk refuses, or they are no state.
    pub fn write_at(&mut self, offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        if offset != self.written {
            return Err(bad("bytes out of order"));
        }
        if offset == 0 {
            wipe(&*self.disk, &self.dir).map_err(io::Error::other)?;
            self.disk.create_dir(&self.dir)?;
        }
        self.written += bytes.len() as u64;
        if let Some(mut head) = self.head.take() {
            let before = head.len();
            head.extend_from_slice(bytes);
            match parse_head(&head, self.length)? {
                None => {
                    self.head = Some(head);
                    return Ok(());
                }
                Some((files, len)) => {
                    self.files = files;
                    // What was there before was not whole, so the head ends in these bytes.
                    bytes = &bytes[len - before..];
                }
            }
        }
        self.write_files(bytes)
    }

    fn write_files(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        loop {
            let (file, left) = match &mut self.open {
                Some((file, left)) => (file, left),
                None => match self.files.pop_front() {
                    Some((name, len)) => {
                        let part = if name == MANIFEST_NAME { MANIFEST_PART } else { &name };
                        let file = self.disk.create(&self.dir.join(part))?;
                        let (file, left) = self.open.insert((file, len));
                        (file, left)
                    }
                    None if bytes.is_empty() => return Ok(()),
                    None => return Err(bad("more bytes than files")),
                },
            };
            let len = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
            file.write(&bytes[..len])?;
            bytes = &bytes[len..];
            *left -= len as u64;
            if *left > 0 {
                return Ok(());
            }
            file.sync()?;
            self.open = None;
        }
    }

    /// All came: when this returns the folder is a store, durably.
    ///
    /// # Errors
    /// When the disk refuses, or something is missing.
    pub fn finish(&mut self) -> io::Result<()> {
        if self.written != self.length || self.head.is_some() || !self.files.is_empty() {
            return Err(bad("not all of it came"));
        }
        assert!(self.open.is_none(), "a file that is whole is closed");
        self.disk.sync_dir(&self.dir)?;
        let part = self.dir.join(MANIFEST_PART);
        self.disk.rename(&part, &self.dir.join(MANIFEST_NAME))?;
        self.disk.sync_dir(&self.dir)
    }
}

/// Names of files, and their lengths.
type Files = VecDeque<(String, u64)>;

/// The files and the length of the head, when it is whole.
fn parse_head(head: &[u8], length: u64) -> io::Result<Option<(Files, usize)>> {
    let Some((start, mut rest)) = head.split_at_checked(HEAD_BYTES) else { return Ok(None) };
    let (magic, numbers) = start.split_at(MAGIC.len());
    let number = |at: usize| {
        numbers.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes)
    };
    if magic != MAGIC || number(0) != Some(VERSION) {
        return Err(bad("no state of a version that is known"));
    }
    let count = number(4).and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    if count == 0 || count > FILES_MAX {
        return Err(bad("too many files"));
    }
    let mut files = VecDeque::new();
    let mut sum = 0_u64;
    for _ in 0..count {
        let Some((len, after)) = rest.split_first() else { return Ok(None) };
        let Some((name, after)) = after.split_at_checked(usize::from(*len)) else {
            return Ok(None);
        };
        let Some((bytes, after)) = after.split_first_chunk::<8>() else { return Ok(None) };
        rest = after;
        let name = std::str::from_utf8(name).ok().filter(|name| is_sent(name));
        let name = name.ok_or_else(|| bad("a file of no store"))?.to_owned();
        if files.back().is_some_and(|(last, _): &(String, u64)| *last >= name)
            && name != MANIFEST_NAME
        {
            return Err(bad("files out of order"));
        }
        let bytes = u64::from_le_bytes(*bytes);
        sum = sum.checked_add(bytes).ok_or_else(|| bad("too long"))?;
        files.push_back((name, bytes));
    }
    let manifests = files.iter().filter(|(name, _)| name == MANIFEST_NAME).count();
    let last = files.back().is_some_and(|(name, _)| name == MANIFEST_NAME);
    let len = head.len() - rest.len();
    if manifests != 1 || !last || sum.checked_add(len as u64) != Some(length) {
        return Err(bad("files that are no state"));
    }
    Ok(Some((files, len)))
}

// ---- a state that came ----

/// A state from a peer, open and restored, ready to be put in.
#[derive(Debug)]
pub struct Fetched {
    /// Of which partition.
    pub partition: PartitionId,
    /// As of which entry.
    pub index: u64,
    /// The state.
    pub machine: Partition,
    /// The members as of it, as its store has them.
    pub members: Members,
    /// Its rows.
    pub engine: Engine,
    /// Where they are.
    pub dir: PathBuf,
}

/// Opens a state that came, and checks that it is one, and the right one, before anything depends on it.
/// Blocks.
///
/// # Errors
/// [`StateError`].
pub fn open_fetched(
    disk: Arc<dyn Disk>,
    data: &Path,
    (partition, index): (PartitionId, u64),
    options: Options,
    worker: &Worker,
) -> Result<Fetched, StateError> {
    let dir = incoming(data, partition, index);
    let mut engine = Engine::open_on(disk, &dir, options, worker)?;
    let config = PartitionConfig { partition, ..PartitionConfig::default() };
    let machine = stores::restore(config, &mut engine)?;
    let members = stores::members(&mut engine)?;
    for found in [engine.mark(), machine.applied_index()] {
        if found != index {
            return Err(StateError::Index { found, wanted: index });
        }
    }
    Ok(Fetched { partition, index, machine, members, engine, dir })
}

#[cfg(test)]
mod tests;

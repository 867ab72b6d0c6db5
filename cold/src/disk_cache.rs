//! Blocks of cold files on a local disk, so that a restart does not fetch them again.
//!
//! One file a block, named by a hash of what it is of. Invariants: the files together stay within
//! the bound; a file is used only when its own name, range and checksum say that it is the one
//! asked for. Nothing here needs to survive: no sync, and whatever fails is no more than a miss.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const SUFFIX: &str = "block";

/// A range of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct BlockKey {
    pub(crate) path: object_store::path::Path,
    pub(crate) range: Range<u64>,
}

/// A bounded directory of blocks; the one least recently used goes first.
#[derive(Debug)]
pub struct DiskCache {
    dir: PathBuf,
    bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Name to length and turn of last use.
    files: HashMap<String, (u64, u64)>,
    /// Turn of last use to name.
    turns: BTreeMap<u64, String>,
    bytes: u64,
    turn: u64,
}

impl State {
    fn touch(&mut self, name: &str, bytes: u64) {
        self.forget(name);
        self.turn += 1;
        self.files.insert(name.to_owned(), (bytes, self.turn));
        self.turns.insert(self.turn, name.to_owned());
        self.bytes += bytes;
    }

    fn forget(&mut self, name: &str) {
        if let Some((bytes, turn)) = self.files.remove(name) {
            self.turns.remove(&turn);
            self.bytes -= bytes;
        }
    }

    /// The names that must go for the rest to stay within a bound.
    fn overflow(&mut self, bytes_max: u64) -> Vec<String> {
        let mut gone = Vec::new();
        while self.bytes > bytes_max
            && let Some((_, name)) = self.turns.first_key_value()
        {
            let name = name.clone();
            self.forget(&name);
            gone.push(name);
        }
        gone
    }
}

impl DiskCache {
    /// Opens a directory of its own, with what an earlier run left there.
    ///
    /// # Errors
    /// When it can neither be made nor listed.
    pub fn open(dir: &Path, bytes_max: u64) -> std::io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(SUFFIX) {
                let meta = entry.metadata()?;
                found.push((meta.modified().ok(), name, meta.len()));
            }
        }
        found.sort();
        let mut state = State::default();
        for (_, name, bytes) in found {
            state.touch(&name, bytes);
        }
        let cache = Self { dir: dir.to_owned(), bytes_max, state: Mutex::new(state) };
        cache.evict();
        Ok(cache)
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic elsewhere leaves at worst a wrong count.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn evict(&self) {
        let gone = self.lock().overflow(self.bytes_max);
        for name in gone {
            let _ = std::fs::remove_file(self.dir.join(name));
        }
    }

    pub(crate) fn get(&self, key: &BlockKey) -> Option<Bytes> {
        let name = name(key);
        if !self.lock().files.contains_key(&name) {
            return None;
        }
        let read = std::fs::read(self.dir.join(&name)).ok();
        let block = read.as_deref().and_then(|bytes| unframe(key, bytes));
        if let Some(block) = &block {
            self.lock().touch(&name, (block.len() + header(key).len() + 4) as u64);
        } else {
            self.lock().forget(&name);
            let _ = std::fs::remove_file(self.dir.join(&name));
        }
        block
    }

    pub(crate) fn put(&self, key: &BlockKey, block: &[u8]) {
        let name = name(key);
        let framed = frame(key, block);
        if framed.len() as u64 > self.bytes_max {
            return;
        }
        // A reader never sees a half-written file under the name it looks for.
        let draft = self.dir.join(format!("{name}.{}.tmp", std::process::id()));
        let written = std::fs::write(&draft, &framed);
        if written.and_then(|()| std::fs::rename(&draft, self.dir.join(&name))).is_err() {
            let _ = std::fs::remove_file(&draft);
            return;
        }
        self.lock().touch(&name, framed.len() as u64);
        self.evict();
    }
}

fn header(key: &BlockKey) -> Vec<u8> {
    let path = key.path.as_ref().as_bytes();
    let mut out = Vec::with_capacity(path.len() + 20);
    out.extend_from_slice(&u32::try_from(path.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(path);
    out.extend_from_slice(&key.range.start.to_le_bytes());
    out.extend_from_slice(&key.range.end.to_le_bytes());
    out
}

fn name(key: &BlockKey) -> String {
    let digest = Sha256::digest(header(key));
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}.{SUFFIX}")
}

/// Header, block, and the checksum of both.
fn frame(key: &BlockKey, block: &[u8]) -> Vec<u8> {
    let mut out = header(key);
    out.extend_from_slice(block);
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

fn unframe(key: &BlockKey, bytes: &[u8]) -> Option<Bytes> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let block = body.strip_prefix(header(key).as_slice())?;
    let wanted = key.range.end.checked_sub(key.range.start)?;
    (block.len() as u64 == wanted).then(|| Bytes::copy_from_slice(block))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(start: u64) -> BlockKey {
        BlockKey { path: "series/p000/a.nvc".into(), range: start..start + 100 }
    }

    #[test]
    fn the_least_recently_used_goes_and_the_bound_holds() {
        let dir = tempfile::tempdir().expect("a directory");
        let one = frame(&key(0), &[7; 100]).len() as u64;
        let cache = DiskCache::open(dir.path(), one * 3).expect("a cache");
        for start in 0..3 {
            cache.put(&key(start), &[7; 100]);
        }
        assert!(cache.get(&key(0)).is_some());
        cache.put(&key(3), &[7; 100]);
        assert!(cache.get(&key(1)).is_none(), "1 was used least recently");
        assert!(cache.get(&key(0)).is_some() && cache.get(&key(3)).is_some());
        assert!(cache.bytes() <= one * 3);
        let files = std::fs::read_dir(dir.path()).expect("a directory").count();
        assert_eq!(files, 3);
        drop(cache);
        let smaller = DiskCache::open(dir.path(), one).expect("a cache");
        assert_eq!(smaller.bytes(), one, "a smaller bound holds at once");
    }

    #[test]
    fn damage_on_disk_is_a_miss() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = DiskCache::open(dir.path(), 1 << 20).expect("a cache");
        cache.put(&key(0), &[7; 100]);
        let path = dir.path().join(name(&key(0)));
        let mut bytes = std::fs::read(&path).expect("the block");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, &bytes).expect("written");
        assert_eq!(cache.get(&key(0)), None);
        assert!(!path.exists(), "it does not come back");
        cache.put(&key(0), &[8; 100]);
        assert_eq!(cache.get(&key(0)).as_deref(), Some(&[8; 100][..]));
    }
}

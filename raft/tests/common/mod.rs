//! What the tests of this crate share: a scratch directory, a shard, and ways to hurt its log.

#![allow(dead_code)] // Each test binary uses its own part.

use novax_model::{NodeId, PartitionId};
use novax_raft::{Committed, GroupSpec, LogConfig, LogWrite, MultiRaft, Recovered, blocking_write};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const SEGMENT_BYTES: u64 = 64 << 10;
pub(crate) const BLOCK: usize = 4096;
pub(crate) const NODE: u64 = 1;

/// A group whose only replica is here.
pub(crate) fn alone(partition: u16, applied: u64) -> GroupSpec {
    GroupSpec { partition: p(partition), applied, voters: vec![NodeId::FIRST] }
}

/// In memory where that exists: these tests write much and prove nothing about the device.
pub(crate) fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        TempDir::new_in(memory).or_else(|_| TempDir::new()).expect("a scratch directory")
    } else {
        TempDir::new().expect("a scratch directory")
    }
}

pub(crate) fn recover(root: &Path) -> Recovered {
    novax_raft::recover(root).expect("a log that can be recovered")
}

pub(crate) fn shard_dir(root: &Path, shard: u16) -> PathBuf {
    LogConfig::for_shard(root, shard).dir
}

pub(crate) fn config(root: &Path, shard: u16) -> LogConfig {
    LogConfig { dir: shard_dir(root, shard), segment_bytes: SEGMENT_BYTES, direct: false }
}

pub(crate) fn p(number: u16) -> PartitionId {
    PartitionId(number)
}

/// A shard and the news that a segment is ready.
pub(crate) struct Shard {
    pub(crate) raft: MultiRaft,
    woken: Receiver<()>,
}

impl Shard {
    pub(crate) fn start(
        root: &Path,
        shard: u16,
        recovered: &Recovered,
        groups: &[(u16, u64)],
    ) -> Shard {
        Shard::start_with(config(root, shard), recovered, groups)
    }

    pub(crate) fn start_with(
        config: LogConfig,
        recovered: &Recovered,
        groups: &[(u16, u64)],
    ) -> Shard {
        let (wake, woken) = sync_channel(64);
        let groups: Vec<_> = groups.iter().map(|(number, mark)| alone(*number, *mark)).collect();
        // A full channel holds news enough.
        let wake = Arc::new(move || {
            let _ = wake.try_send(());
        });
        let raft =
            MultiRaft::start(config, NodeId::FIRST, recovered, &groups, wake).expect("a start");
        Shard { raft, woken }
    }

    /// Recovers and starts one shard with all its groups at mark 0.
    pub(crate) fn fresh(root: &Path, partitions: &[u16]) -> Shard {
        let groups: Vec<_> = partitions.iter().map(|number| (*number, 0)).collect();
        Shard::fresh_at(root, &groups)
    }

    /// The same, each group at its mark.
    pub(crate) fn fresh_at(root: &Path, groups: &[(u16, u64)]) -> Shard {
        Shard::start(root, 0, &recover(root), groups)
    }

    /// The next write, waiting for a segment if that is what is missing.
    pub(crate) fn poll_write(&mut self) -> Option<LogWrite> {
        loop {
            let stalls = self.raft.stats().stalls;
            let write = self.raft.poll_write();
            if write.is_some() || self.raft.stats().stalls == stalls {
                return write;
            }
            self.woken.recv_timeout(Duration::from_secs(30)).expect("a segment becomes ready");
        }
    }

    /// Waits until so many segments were made ahead.
    pub(crate) fn wait_for_segments(&self, count: usize) {
        for _ in 0..count {
            self.woken.recv_timeout(Duration::from_secs(30)).expect("a segment becomes ready");
        }
    }

    /// Makes one write and reports it. False if there was none.
    pub(crate) fn write(&mut self) -> bool {
        let Some(write) = self.poll_write() else { return false };
        blocking_write(&write).expect("a write");
        self.raft.on_written(write.id, Ok(())).expect("the write was in flight");
        self.raft.recycle(write.blocks);
        true
    }

    /// Writes until nothing is left to write; returns what was committed.
    pub(crate) fn settle(&mut self) -> Vec<Committed> {
        let mut committed = Vec::new();
        while self.write() {
            self.raft.take_committed(&mut committed);
        }
        self.raft.take_committed(&mut committed);
        committed
    }

    pub(crate) fn propose(&mut self, partition: u16, data: &[u8]) {
        self.raft.propose(p(partition), data.to_vec()).expect("a proposal that fits");
    }

    /// Proposes and makes durable; returns the index it was committed at.
    pub(crate) fn commit(&mut self, partition: u16, data: &[u8]) -> u64 {
        self.propose(partition, data);
        let committed = self.settle();
        let found = committed.iter().rev().find(|c| c.partition == p(partition) && c.data == data);
        found.expect("what was proposed is committed").index
    }
}

/// The file a write goes to.
pub(crate) fn file_of(write: &LogWrite) -> PathBuf {
    std::fs::read_link(format!("/proc/self/fd/{}", write.fd)).expect("an open file")
}

/// The bytes of a write.
pub(crate) fn bytes_of(write: &LogWrite) -> Vec<u8> {
    write.blocks.iter().flat_map(|block| block.0).collect()
}

/// Puts bytes into a file, as a crash or a bad disk would.
pub(crate) fn overwrite(file: &Path, offset: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(file).expect("a file to write");
    file.write_all_at(bytes, offset).expect("a write");
}

/// All entries in all partitions, in a form that compares and prints well.
pub(crate) fn listing(recovered: &Recovered) -> BTreeMap<u16, Vec<(u64, String)>> {
    let list = |partition| {
        let entries = recovered.entries_after(partition, 0);
        entries.map(|(index, data)| (index, String::from_utf8_lossy(data).into_owned())).collect()
    };
    recovered.partitions().map(|partition| (partition.0, list(partition))).collect()
}

/// The segment files of a shard that have a name in a run.
pub(crate) fn segment_files(root: &Path, shard: u16) -> Vec<String> {
    let dir = std::fs::read_dir(shard_dir(root, shard)).expect("a shard directory");
    let mut names: Vec<String> = dir
        .map(|file| file.expect("a file").file_name().into_string().expect("a plain name"))
        .filter(|name| name.ends_with(".log") && !name.starts_with("free-"))
        .collect();
    names.sort();
    names
}

//! Files and memory that nobody uses any more, until a worker thread gets rid of them.
//!
//! Whoever drops the last handle of an obsolete table may be a shard's thread, which must not touch
//! a file; so the handle goes here instead.

use crate::disk::{Disk, DiskRead};
use crate::memtable::Frozen;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

#[derive(Default)]
struct Heap {
    files: Vec<(PathBuf, Option<Box<dyn DiskRead>>)>,
    runs: Vec<Frozen>,
}

/// What waits to be got rid of.
#[derive(Default)]
pub(crate) struct Trash {
    heap: Mutex<Heap>,
    waiting: AtomicBool,
}

impl Trash {
    /// A file to close and remove.
    pub(crate) fn add_file(&self, path: PathBuf, open: Option<Box<dyn DiskRead>>) {
        let mut heap = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
        heap.files.push((path, open));
        self.waiting.store(true, Ordering::Release);
    }

    /// Flushed memory: giving much of it back takes milliseconds.
    pub(crate) fn add_runs(&self, runs: impl IntoIterator<Item = Frozen>) {
        let mut heap = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
        heap.runs.extend(runs);
        self.waiting.store(true, Ordering::Release);
    }

    /// True when a sweep would find something.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Gets rid of everything. A file that cannot be removed is left to the next start.
    pub(crate) fn sweep(&self, disk: &dyn Disk) {
        let heap = {
            let mut heap = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
            self.waiting.store(false, Ordering::Release);
            std::mem::take(&mut *heap)
        };
        drop(heap.runs);
        for (path, open) in heap.files {
            drop(open);
            drop(disk.remove(&path));
        }
    }
}

//! What was read of cold files lately: bounded in memory, and if wanted on a local disk.
//!
//! Objects never change under their name, so nothing here can be out of date. What comes from disk
//! is checked before it is used; what is damaged there is fetched anew.

use crate::disk_cache::{BlockKey, DiskCache};
use bytes::Bytes;
use novax_tsdb::cold::ColdIndex;
use object_store::path::Path;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What one block is thought to have, to size the tables.
const BLOCK_BYTES_TYPICAL: u64 = 16 << 10;

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<BlockKey, Bytes> for ByBytes {
    fn weight(&self, key: &BlockKey, block: &Bytes) -> u64 {
        (key.path.as_ref().len() + block.len() + 64) as u64
    }
}

impl Weighter<Path, (u32, Arc<ColdIndex>)> for ByBytes {
    fn weight(&self, key: &Path, (bytes, _): &(u32, Arc<ColdIndex>)) -> u64 {
        // In memory an index takes about four times what it takes packed.
        key.as_ref().len() as u64 + u64::from(*bytes) * 4 + 64
    }
}

/// How much may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSizes {
    /// Indexes in memory.
    pub index_bytes: u64,
    /// Blocks in memory.
    pub block_bytes: u64,
}

impl Default for CacheSizes {
    /// 16 MiB of indexes, 64 MiB of blocks.
    fn default() -> Self {
        Self { index_bytes: 16 << 20, block_bytes: 64 << 20 }
    }
}

/// How often what was wanted was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheStats {
    /// Blocks and indexes found in memory.
    pub memory_hits: u64,
    /// Blocks found on the local disk.
    pub disk_hits: u64,
    /// Blocks and indexes fetched from the store.
    pub fetched: u64,
    /// Bytes of those.
    pub fetched_bytes: u64,
}

/// One set of caches for as many readers as there are.
#[derive(Debug)]
pub struct Caches {
    indexes: Cache<Path, (u32, Arc<ColdIndex>), ByBytes>,
    blocks: Cache<BlockKey, Bytes, ByBytes>,
    disk: Option<DiskCache>,
    memory_hits: AtomicU64,
    disk_hits: AtomicU64,
    fetched: AtomicU64,
    fetched_bytes: AtomicU64,
}

impl Caches {
    /// Caches in memory alone.
    #[must_use]
    pub fn new(sizes: CacheSizes) -> Self {
        let items = |bytes: u64| usize::try_from(bytes / BLOCK_BYTES_TYPICAL + 16).unwrap_or(16);
        Self {
            indexes: Cache::with_weighter(items(sizes.index_bytes), sizes.index_bytes, ByBytes),
            blocks: Cache::with_weighter(items(sizes.block_bytes), sizes.block_bytes, ByBytes),
            disk: None,
            memory_hits: AtomicU64::new(0),
            disk_hits: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
            fetched_bytes: AtomicU64::new(0),
        }
    }

    /// As before, and blocks on a local disk too.
    #[must_use]
    pub fn with_disk(mut self, disk: DiskCache) -> Self {
        self.disk = Some(disk);
        self
    }

    /// Counts since they were made.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheStats {
            memory_hits: get(&self.memory_hits),
            disk_hits: get(&self.disk_hits),
            fetched: get(&self.fetched),
            fetched_bytes: get(&self.fetched_bytes),
        }
    }

    pub(crate) fn index(&self, path: &Path) -> Option<Arc<ColdIndex>> {
        let (_, index) = self.indexes.get(path)?;
        self.memory_hits.fetch_add(1, Ordering::Relaxed);
        Some(index)
    }

    pub(crate) fn keep_index(&self, path: &Path, bytes: u32, index: &Arc<ColdIndex>) {
        self.indexes.insert(path.clone(), (bytes, Arc::clone(index)));
    }

    /// A block from memory, or from disk into memory.
    pub(crate) async fn block(self: &Arc<Self>, key: &BlockKey) -> Option<Bytes> {
        if let Some(block) = self.blocks.get(key) {
            self.memory_hits.fetch_add(1, Ordering::Relaxed);
            return Some(block);
        }
        self.disk.as_ref()?;
        let (this, wanted) = (Arc::clone(self), key.clone());
        let read = move || this.disk.as_ref().and_then(|disk| disk.get(&wanted));
        let block = tokio::task::spawn_blocking(read).await.ok().flatten()?;
        self.disk_hits.fetch_add(1, Ordering::Relaxed);
        self.blocks.insert(key.clone(), block.clone());
        Some(block)
    }

    pub(crate) async fn keep_block(self: &Arc<Self>, key: BlockKey, block: &Bytes) {
        // A slice would keep the whole read in memory that it is of.
        let block = Bytes::copy_from_slice(block);
        self.blocks.insert(key.clone(), block.clone());
        if self.disk.is_some() {
            let this = Arc::clone(self);
            let keep = move || {
                if let Some(disk) = &this.disk {
                    disk.put(&key, &block);
                }
            };
            // A cache that cannot be written is no cache; reads go on.
            let _ = tokio::task::spawn_blocking(keep).await;
        }
    }

    pub(crate) fn count_fetched(&self, bytes: u64) {
        self.fetched.fetch_add(1, Ordering::Relaxed);
        self.fetched_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

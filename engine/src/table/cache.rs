//! Keeps what is read often in memory: uncompressed blocks, partitions of indexes and filters, blobs. Bounded by
//! bytes; scans do not wash it out. One cache may serve many stores.
//!
//! Invariants: what is pinned is found as long as the pin lives, however small the cache; no key of one file is
//! ever a key of another, whatever store it is of.

use super::BlockRef;
use super::block::{Decoded, Layout};
use super::filter::Filter;
use super::index::Index;
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A file's number in the cache, and an offset in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CacheKey {
    pub(crate) file: u64,
    pub(crate) offset: u64,
}

/// A data block in memory. Cloning it costs a reference count.
#[derive(Clone)]
pub(crate) struct Block {
    bytes: Arc<[u8]>,
    layout: Layout,
}

impl Block {
    pub(crate) fn new(bytes: Arc<[u8]>, layout: Layout) -> Block {
        Block { bytes, layout }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    #[inline]
    pub(crate) fn find(&self, key: &[u8], hash: u64) -> Result<Option<Decoded>, &'static str> {
        self.layout.find(&self.bytes, key, hash)
    }
}

/// The index of a part of a table, and the filter over its keys.
pub(crate) struct Partition {
    pub(crate) index: Index<BlockRef>,
    pub(crate) filter: Filter,
}

/// Something in the cache.
#[derive(Clone)]
pub(crate) enum Cached {
    Block(Block),
    Part(Arc<Partition>),
    Blob(Arc<[u8]>),
}

impl Cached {
    fn bytes_held(&self) -> usize {
        match self {
            Cached::Block(block) => block.bytes.len(),
            Cached::Part(part) => part.index.bytes_held() + part.filter.bytes_held(),
            Cached::Blob(value) => value.len(),
        }
    }
}

/// What an entry costs beside its bytes.
const OVERHEAD_BYTES: u64 = 128;

#[derive(Clone)]
struct ByBytes;

impl Weighter<CacheKey, Cached> for ByBytes {
    fn weight(&self, _: &CacheKey, cached: &Cached) -> u64 {
        cached.bytes_held() as u64 + OVERHEAD_BYTES
    }
}

/// Offsets and file numbers are not chosen by anybody outside: a multiplication spreads them enough.
#[derive(Clone, Copy, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(26) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl BuildHasher for Spread {
    type Hasher = Spread;

    fn build_hasher(&self) -> Spread {
        Spread::default()
    }
}

/// What is pinned, and by how many.
type Pins = BTreeMap<CacheKey, (usize, Cached)>;

/// The cache. See the module.
pub(crate) struct BlockCache {
    entries: Cache<CacheKey, Cached, ByBytes, Spread>,
    bytes_max: u64,
    files: AtomicU64,
    pins: Mutex<Pins>,
    /// As many as there are: nobody takes the lock to find that there are none.
    pinned: AtomicUsize,
}

impl BlockCache {
    pub(crate) fn new(bytes_max: usize) -> BlockCache {
        let items = (bytes_max / (4 << 10)).max(16);
        let lifecycle = DefaultLifecycle::default();
        let entries = Cache::with(items, bytes_max as u64, ByBytes, Spread::default(), lifecycle);
        BlockCache {
            entries,
            bytes_max: bytes_max as u64,
            files: AtomicU64::new(0),
            pins: Mutex::default(),
            pinned: AtomicUsize::new(0),
        }
    }

    /// A number for a file that is being opened, which no other ever has.
    pub(crate) fn next_file(&self) -> u64 {
        self.files.fetch_add(1, Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn get(&self, key: &CacheKey) -> Option<Cached> {
        self.entries.get(key).or_else(|| self.get_pinned(key))
    }

    fn get_pinned(&self, key: &CacheKey) -> Option<Cached> {
        if self.pinned.load(Ordering::Acquire) == 0 {
            return None;
        }
        let pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        pins.get(key).map(|(_, cached)| cached.clone())
    }

    pub(crate) fn insert(&self, key: CacheKey, cached: Cached) {
        self.entries.insert(key, cached);
    }

    /// Bytes that it holds, what is only pinned left out.
    pub(crate) fn bytes(&self) -> u64 {
        self.entries.weight()
    }
}

/// Keeps one thing findable in the cache until dropped.
pub(crate) struct Pin {
    cache: Arc<BlockCache>,
    key: CacheKey,
}

impl Pin {
    /// Puts `cached` into the cache and pins it.
    pub(crate) fn new(cache: &Arc<BlockCache>, key: CacheKey, cached: Cached) -> Pin {
        cache.insert(key, cached.clone());
        let mut pins = cache.pins.lock().unwrap_or_else(PoisonError::into_inner);
        pins.entry(key).or_insert((0, cached)).0 += 1;
        cache.pinned.store(pins.len(), Ordering::Release);
        drop(pins);
        Pin { cache: Arc::clone(cache), key }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.cache.pins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((holders, _)) = pins.get_mut(&self.key) {
            *holders -= 1;
            if *holders == 0 {
                pins.remove(&self.key);
            }
        }
        self.cache.pinned.store(pins.len(), Ordering::Release);
    }
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pin").field(&self.key).finish()
    }
}

/// A block cache that several stores share, such as those of one shard: see [`crate::Options`].
///
/// Cloning it gives another handle of the same cache.
#[derive(Clone)]
pub struct SharedCache {
    cache: Arc<BlockCache>,
}

impl SharedCache {
    /// A cache that holds `bytes_max` of uncompressed blocks.
    #[must_use]
    pub fn new(bytes_max: usize) -> SharedCache {
        SharedCache { cache: Arc::new(BlockCache::new(bytes_max)) }
    }

    /// What it holds now, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.cache.bytes()
    }

    pub(crate) fn cache(&self) -> Arc<BlockCache> {
        Arc::clone(&self.cache)
    }
}

impl std::fmt::Debug for SharedCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("SharedCache");
        shown.field("bytes", &self.bytes()).field("bytes_max", &self.cache.bytes_max).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(byte: u8, len: usize) -> Cached {
        Cached::Blob(vec![byte; len].into())
    }

    fn byte(cached: Option<Cached>) -> Option<u8> {
        match cached {
            Some(Cached::Blob(bytes)) => bytes.first().copied(),
            _ => None,
        }
    }

    #[test]
    fn the_cache_stays_within_its_bytes_and_files_do_not_mix() {
        let cache = BlockCache::new(64 << 10);
        let (one, two) = (cache.next_file(), cache.next_file());
        for offset in 0..1000 {
            for file in [one, two] {
                cache.insert(CacheKey { file, offset }, blob(file as u8, 1000));
                assert!(cache.bytes() <= 64 << 10);
            }
        }
        let mut found = 0;
        for offset in 0..1000 {
            for file in [one, two] {
                if let Some(byte) = byte(cache.get(&CacheKey { file, offset })) {
                    assert_eq!(u64::from(byte), file);
                    found += 1;
                }
            }
        }
        assert!((20..=64).contains(&found), "{found}");
    }

    #[test]
    fn what_is_pinned_is_found_in_a_cache_of_nothing_until_the_last_pin_goes() {
        let cache = Arc::new(BlockCache::new(0));
        let key = CacheKey { file: 1, offset: 2 };
        let one = Pin::new(&cache, key, blob(7, 100));
        let two = Pin::new(&cache, key, blob(7, 100));
        drop(one);
        assert_eq!(byte(cache.get(&key)), Some(7));
        assert_eq!(byte(cache.get(&CacheKey { file: 1, offset: 3 })), None);
        drop(two);
        assert_eq!(byte(cache.get(&key)), None);
    }
}

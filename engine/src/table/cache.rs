//! Keeps uncompressed blocks that are read often. Bounded by bytes; scans do not wash it out.

use super::block::Block;
use quick_cache::{Weighter, sync::Cache};
use std::sync::Arc;

/// Table number and offset: no two blocks of a store ever share them.
pub(crate) type BlockKey = (u64, u64);

/// What an entry costs beside the block's bytes.
const OVERHEAD_BYTES: u64 = 96;

#[derive(Clone)]
struct ByBytes;

impl Weighter<BlockKey, Arc<Block>> for ByBytes {
    fn weight(&self, _: &BlockKey, block: &Arc<Block>) -> u64 {
        block.bytes_held() as u64 + OVERHEAD_BYTES
    }
}

/// The blocks of one store that are in memory.
pub(crate) struct BlockCache {
    blocks: Cache<BlockKey, Arc<Block>, ByBytes>,
}

impl BlockCache {
    pub(crate) fn new(bytes_max: usize) -> BlockCache {
        let items = (bytes_max / (4 << 10)).max(16);
        BlockCache { blocks: Cache::with_weighter(items, bytes_max as u64, ByBytes) }
    }

    pub(crate) fn get(&self, key: &BlockKey) -> Option<Arc<Block>> {
        self.blocks.get(key)
    }

    pub(crate) fn insert(&self, key: BlockKey, block: Arc<Block>) {
        self.blocks.insert(key, block);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.blocks.weight()
    }
}

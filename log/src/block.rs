//! Memory a disk can take as it is: blocks of 4096 bytes, aligned to 4096.

/// Size of a block, its alignment, and the unit of all log writes.
pub const BLOCK_BYTES: usize = 4096;

/// One block of a log write. A `Vec<Block>` is one contiguous buffer fit for `O_DIRECT`.
#[derive(Clone, Copy)]
#[repr(C, align(4096))]
pub struct Block(pub [u8; BLOCK_BYTES]);

const _: () = assert!(size_of::<Block>() == BLOCK_BYTES && align_of::<Block>() == BLOCK_BYTES);

impl Block {
    /// A block of zeros.
    pub const ZERO: Block = Block([0; BLOCK_BYTES]);
}

/// What a ring writes of it.
impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Block(4096 bytes)")
    }
}

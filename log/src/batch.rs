//! One batch in the making: frames copied once, straight into the blocks that go to the disk.

use crate::block::{BLOCK_BYTES, Block};
use crate::format::{
    BatchHeader, Fence, HEADER_BYTES, VERSION_1, encode_fence, encode_frame, version_of,
};
use crate::merge::Frame;
use novax_model::PartitionId;

/// Where a batch goes, and what it follows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchPlace {
    pub(crate) opens_segment: bool,
    pub(crate) incarnation: u64,
    pub(crate) segment: u64,
    pub(crate) seq: u64,
    pub(crate) previous_crc: u32,
}

/// A growing batch. The header's room is kept free until [`Batch::seal`].
#[derive(Debug)]
pub(crate) struct Batch {
    blocks: Vec<Block>,
    bytes: usize,
    frame_count: u32,
    /// The newest any of its frames asks for.
    version: u16,
}

impl Batch {
    /// An empty batch in the memory of an old one.
    pub(crate) fn new(mut memory: Vec<Block>) -> Batch {
        memory.clear();
        memory.push(Block::ZERO);
        Batch { blocks: memory, bytes: HEADER_BYTES, frame_count: 0, version: VERSION_1 }
    }

    pub(crate) fn push(&mut self, partition: PartitionId, frame: &Frame<'_>) {
        let (blocks, bytes) = (&mut self.blocks, &mut self.bytes);
        encode_frame(partition, frame, |piece| put(blocks, bytes, piece));
        self.frame_count += 1;
        self.version = self.version.max(version_of(frame));
    }

    /// Only before any frame.
    pub(crate) fn push_fence(&mut self, fence: &Fence) {
        let (blocks, bytes) = (&mut self.blocks, &mut self.bytes);
        encode_fence(fence, |piece| put(blocks, bytes, piece));
        self.frame_count += 1;
    }

    /// Bytes so far, header included, padding not.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes on disk: whole blocks.
    pub(crate) fn block_bytes(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }

    /// Writes the header; returns the blocks and the checksum the next batch refers to.
    pub(crate) fn seal(mut self, place: BatchPlace) -> (Vec<Block>, u32) {
        assert!(self.frame_count > 0, "an empty batch is never written");
        assert_eq!(self.blocks.len(), self.bytes.div_ceil(BLOCK_BYTES), "no block too many");
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.blocks[0].0[HEADER_BYTES..]);
        for block in &self.blocks[1..] {
            hasher.update(&block.0);
        }
        let header = BatchHeader {
            version: self.version,
            opens_segment: place.opens_segment,
            incarnation: place.incarnation,
            segment: place.segment,
            seq: place.seq,
            payload_bytes: u32::try_from(self.bytes - HEADER_BYTES).expect("far below 4 GiB"),
            frame_count: self.frame_count,
            payload_crc: hasher.finalize(),
            previous_crc: place.previous_crc,
        };
        assert_eq!(header.batch_bytes(), self.block_bytes());
        let (bytes, crc) = header.encode();
        self.blocks[0].0[..HEADER_BYTES].copy_from_slice(&bytes);
        (self.blocks, crc)
    }
}

fn put(blocks: &mut Vec<Block>, bytes: &mut usize, mut piece: &[u8]) {
    while !piece.is_empty() {
        let at = *bytes % BLOCK_BYTES;
        if *bytes == blocks.len() * BLOCK_BYTES {
            blocks.push(Block::ZERO);
        }
        let (now, later) = piece.split_at(piece.len().min(BLOCK_BYTES - at));
        let block = blocks.last_mut().expect("a batch has a first block");
        block.0[at..at + now.len()].copy_from_slice(now);
        *bytes += now.len();
        piece = later;
    }
}

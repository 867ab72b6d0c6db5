//! The segmented log of a shard, and the seam to the file system.

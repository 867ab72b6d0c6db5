//! Multi-group Raft over the raft crate, and the shard log on disk.

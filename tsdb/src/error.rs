//! Why bytes were not taken for a chunk or a block.

/// Why bytes could not be decoded. Whoever wrote or kept them is at fault, not the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes end before what they announce.
    #[error("the bytes end too soon")]
    Truncated,
    /// Written by a newer build, or not by us.
    #[error("format version {0} is not known")]
    UnknownVersion(u8),
    /// Bytes were changed after they were written.
    #[error("checksum is {found:08x}, expected {expected:08x}")]
    Checksum {
        /// As stored.
        expected: u32,
        /// As computed.
        found: u32,
    },
    /// The checksum is right, and yet no encoder of ours wrote this.
    #[error("not a valid encoding: {0}")]
    Invalid(&'static str),
}

//! The name of a connection: what a shard and whatever carries its sockets call it.
//!
//! **Invariant**: a slot of the carrier has successive users, and no two of them have the same name.

/// A connection, unique for the life of its ring until a slot has been reused 2^32 times.
///
/// The slot number is the kernel's, small and dense, for use as the index of the owner's own table; the
/// generation tells the successive users of one slot apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ConnId {
    index: u32,
    generation: u32,
}

impl ConnId {
    /// Puts an id together; for tables and simulators. A made-up id is harmless: the ring ignores it.
    #[must_use]
    pub const fn from_parts(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    /// The slot: below the ring's number of files, shared with earlier and later connections.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// Which user of the slot this is.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

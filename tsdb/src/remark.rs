//! What cleaning did to a row: flags, and what the device had said.
//!
//! Remarks are rare, so they stand beside the columns, not in them.

use novax_model::Timestamp;

/// What was wrong with a row, or done about it. The bits are named by `clean`; here they are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// Nothing to remark.
    pub const NONE: Self = Self(0);

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether no bit is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// One row's flags and raw values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remark {
    /// Which row of the chunk (or of the series in a cold file), from 0.
    pub row: u32,
    /// What was found.
    pub flags: Flags,
    /// The device's stamp, when it was changed.
    pub raw_at: Option<Timestamp>,
    /// The device's values, where they were changed.
    pub raw: [Option<i64>; 6],
}

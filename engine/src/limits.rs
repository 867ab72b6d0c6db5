//! The limits of keys and values, which the file formats rest on.

/// The longest key.
pub const KEY_BYTES_MAX: usize = 1024;
/// The longest value.
pub const VALUE_BYTES_MAX: usize = 4 << 20;
/// The longest internal key: a keyspace, the longest key, and the byte that makes its successor, where a range
/// begins behind it.
pub(crate) const INTERNAL_KEY_BYTES_MAX: usize = KEY_BYTES_MAX + 2;

//! What one entry of the log changes: puts and deletes over keyspaces, and the mark they lead to.

use crate::options::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// One change. `value` is `None` for a delete.
#[derive(Debug)]
pub(crate) struct Op {
    pub(crate) keyspace: u8,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

/// Puts and deletes that become visible together. Later ones win over earlier ones.
///
/// A batch is emptied by [`crate::Engine::write`] and keeps its room, so one batch serves for ever.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) ops: Vec<Op>,
    pub(crate) mark: Option<u64>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Batch::default()
    }

    /// Sets `key` to `value`, copying both.
    ///
    /// # Panics
    /// When the key is past [`KEY_BYTES_MAX`] or the value past [`VALUE_BYTES_MAX`].
    pub fn put(&mut self, ks: u8, key: &[u8], value: &[u8]) {
        self.put_owned(ks, key.to_vec(), value.to_vec());
    }

    /// Removes `key`, copying it.
    ///
    /// # Panics
    /// When the key is past [`KEY_BYTES_MAX`].
    pub fn delete(&mut self, ks: u8, key: &[u8]) {
        self.delete_owned(ks, key.to_vec());
    }

    /// Sets `key` to `value`, which move into the store as they are.
    ///
    /// # Panics
    /// When the key is past [`KEY_BYTES_MAX`] or the value past [`VALUE_BYTES_MAX`].
    pub fn put_owned(&mut self, ks: u8, key: Vec<u8>, value: Vec<u8>) {
        assert!(key.len() <= KEY_BYTES_MAX, "key of {} bytes", key.len());
        assert!(value.len() <= VALUE_BYTES_MAX, "value of {} bytes", value.len());
        self.ops.push(Op { keyspace: ks, key, value: Some(value) });
    }

    /// Removes `key`, which moves into the store as it is.
    ///
    /// # Panics
    /// When the key is past [`KEY_BYTES_MAX`].
    pub fn delete_owned(&mut self, ks: u8, key: Vec<u8>) {
        assert!(key.len() <= KEY_BYTES_MAX, "key of {} bytes", key.len());
        self.ops.push(Op { keyspace: ks, key, value: None });
    }

    /// Says up to which entry of the log the store is complete once this batch is in.
    pub fn set_mark(&mut self, mark: u64) {
        self.mark = Some(mark);
    }

    /// True when writing it would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.mark.is_none()
    }

    /// How many puts and deletes it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Forgets everything, keeping the room.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.mark = None;
    }
}

//! How the stores of a node are opened, by the node and by the tools that look after them, and how a state is
//! made of their rows.
//!
//! Rows that are kept by time lie in windows of time, so that old ones leave whole; all others in levels.

use novax_charging::history::{History, StoredRow};
use novax_charging::rows::{Keyspace, window_time};
use novax_charging::{Partition, PartitionConfig, RestoreError};
use novax_engine::{Compaction, Engine, KeyspaceOptions, Options};
use novax_raft::Members;

/// What each table of a partition is for. Sizes are the engine's own defaults.
#[must_use]
pub fn store_options() -> Options {
    let in_windows = |keyspace: Keyspace| {
        let compaction =
            Compaction::TimeWindow { window: keyspace.window_us()?, time_of: window_time };
        Some((keyspace as u8, KeyspaceOptions { compaction, ..KeyspaceOptions::default() }))
    };
    Options {
        keyspaces: Keyspace::COUNT,
        keyspace: Keyspace::ALL.into_iter().filter_map(in_windows).collect(),
        ..Options::default()
    }
}

/// A partition's state from the rows of its store.
///
/// # Errors
/// When the rows are not a state.
pub fn restore(config: PartitionConfig, engine: &mut Engine) -> Result<Partition, RestoreError> {
    let snapshot = engine.snapshot();
    // Series chunks are asked only in stores from before there were heads.
    let has_heads = snapshot.range(Keyspace::Heads as u8, &[], None).next().is_some();
    let is_wanted = |keyspace: &Keyspace| {
        keyspace.is_restored() && !(has_heads && *keyspace == Keyspace::Series)
    };
    let keyspaces = Keyspace::ALL.iter().copied().filter(is_wanted);
    let rows = keyspaces.flat_map(|keyspace| {
        let (from, to) = keyspace.restored_keys();
        snapshot
            .range(keyspace as u8, from, to)
            .map(move |row| row.map(|(key, value)| (keyspace, key, value)))
    });
    Partition::restore(config, rows)
}

/// What a state machine recalls: rows as they are after the last entry that was written.
///
/// An id that is said for the first time is found nowhere without a file being read, for the tables' filters are in
/// memory. What is there may have to be read from a file, on the thread that asks: it is asked for by commands
/// that come seldom.
#[derive(Debug)]
pub struct Recall<'a>(&'a mut Engine);

impl<'a> Recall<'a> {
    /// From this store.
    #[must_use]
    pub fn new(engine: &'a mut Engine) -> Recall<'a> {
        Recall(engine)
    }
}

impl History for Recall<'_> {
    /// # Panics
    /// When the store cannot be read: this replica cannot tell what the others do.
    fn get(&mut self, keyspace: Keyspace, key: &[u8]) -> Option<Vec<u8>> {
        match self.0.get(keyspace as u8, key) {
            Ok(value) => value,
            Err(error) => panic!("a row of {keyspace:?} is needed and cannot be read: {error}"),
        }
    }

    /// # Panics
    /// As [`Recall::get`].
    fn under(&mut self, keyspace: Keyspace, prefix: &[u8]) -> Vec<StoredRow> {
        match self.0.snapshot().prefix(keyspace as u8, prefix).collect() {
            Ok(rows) => rows,
            Err(error) => panic!("rows of {keyspace:?} are needed and cannot be read: {error}"),
        }
    }
}

/// Where a store keeps who the members of its group are.
pub const MEMBERS_KEY: &[u8] = b"members";

/// The members as of the store's applied index. None where nothing has changed since the group was founded.
///
/// # Errors
/// When the store cannot be read, or what it holds are no members.
pub fn members(engine: &mut Engine) -> Result<Members, RestoreError> {
    let found = engine.snapshot().get(Keyspace::Replica as u8, MEMBERS_KEY);
    match found.map_err(|error| RestoreError::Read(error.to_string()))? {
        None => Ok(Members::default()),
        Some(bytes) => Members::decode(&bytes)
            .ok_or_else(|| RestoreError::Inconsistent("the members are none".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_and_rollups_lie_in_windows_and_state_in_levels() {
        let options = store_options();
        let windows: Vec<u8> = options.keyspace.keys().copied().collect();
        let expected = [
            Keyspace::Series,
            Keyspace::RollupsMinute,
            Keyspace::RollupsQuarter,
            Keyspace::RollupsHour,
        ];
        assert_eq!(windows, expected.map(|keyspace| keyspace as u8));
        assert_eq!(options.keyspaces, Keyspace::COUNT);
    }
}

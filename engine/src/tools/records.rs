//! What can still be read of a damaged manifest.
//!
//! Invariant: only records whose checksum holds count, in the order of their numbers; what lies between them is
//! looked through byte by byte.

use crate::manifest::{Edit, HEADER_BYTES, State, decode_edit, parse_header, whole_record};
use crate::options::LEVELS;
use crate::version::Place;
use std::collections::{BTreeMap, BTreeSet};

/// The version of the format that is written: what a manifest without a header is taken for first.
const VERSIONS: [u32; 2] = [2, 1];
/// A table has numbers up to here: more would be nonsense that happens to have a good checksum.
const KEYSPACES_MAX: u64 = 255;

/// The state that the readable records lead to.
#[derive(Debug, Default)]
pub(super) struct Salvaged {
    pub(super) state: State,
    /// At least one more than the highest seen.
    pub(super) keyspaces: u8,
    /// Tables that some record let go.
    pub(super) removed: BTreeSet<u64>,
}

/// Reads every record that is whole, wherever it lies.
pub(super) fn salvage(bytes: &[u8]) -> Salvaged {
    let header = parse_header(bytes).ok();
    let mut edits: BTreeMap<u64, Edit> = BTreeMap::new();
    // The header may be cut short as well.
    let mut offset = HEADER_BYTES.min(bytes.len());
    while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
        match record(rest, header.map(|(version, _)| version)) {
            Some((number, edit, len)) => {
                edits.insert(number, edit);
                offset += len;
            }
            None => offset += 1,
        }
    }
    let mut salvaged = Salvaged::default();
    for (number, edit) in edits {
        salvaged.apply(number, edit);
    }
    let keys = salvaged.state.tables.values().filter_map(|(_, meta)| meta.largest.first());
    let uses = salvaged.state.uses.keys();
    let seen = keys.chain(uses).max().map_or(0, |highest| highest.saturating_add(1));
    salvaged.keyspaces = header.map_or(0, |(_, keyspaces)| keyspaces).max(seen);
    salvaged
}

/// The record at the front of `bytes`: its number, its edit and its length.
fn record(bytes: &[u8], version: Option<u32>) -> Option<(u64, Edit, usize)> {
    let edit_bytes = whole_record(bytes)?;
    let versions = version.map_or(VERSIONS.to_vec(), |version| vec![version]);
    let (number, edit) =
        versions.into_iter().find_map(|version| decode_edit(edit_bytes, version))?;
    Some((number, edit, 8 + edit_bytes.len()))
}

impl Salvaged {
    /// As the manifest itself would, but taking what fits and leaving what does not.
    fn apply(&mut self, number: u64, edit: Edit) {
        let state = &mut self.state;
        state.edit = number;
        state.mark = state.mark.max(edit.mark.unwrap_or_default());
        state.clock_s = state.clock_s.max(edit.clock_s.unwrap_or_default());
        state.next_file = state.next_file.max(edit.next_file);
        for number in edit.removed {
            state.tables.remove(&number);
            self.removed.insert(number);
        }
        for number in edit.blobs_removed {
            state.blobs.remove(&number);
        }
        state.blobs.extend(edit.blobs_added.into_iter().map(|blob| (blob.number, blob)));
        for (place, meta) in edit.added {
            let fits = match place {
                Place::Level(level) => level < LEVELS,
                Place::Window { keyspace, .. } => u64::from(keyspace) < KEYSPACES_MAX,
            };
            if fits && !meta.smallest.is_empty() && meta.smallest <= meta.largest {
                // A table that changes its level leaves and comes in one edit.
                self.removed.remove(&meta.number);
                state.tables.insert(meta.number, (place, meta));
            }
        }
        state.uses.extend(edit.uses);
    }
}

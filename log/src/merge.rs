//! The meaning of frames: how a partition's log comes out of them. Pure; used by recovery alone,
//! while the types are those the writer puts into frames.
//!
//! Invariant: frames are taken in the order in which they became durable, earlier runs first.

use crate::error::Corruption;
use bytes::Bytes;
use novax_model::PartitionId;
use std::collections::VecDeque;

/// An entry's place: its index and the term in which it was proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Counts the entries of a group from 1.
    pub index: u64,
    /// In which term it was proposed; never falls from entry to entry.
    pub term: u64,
}

/// What Raft must not forget: the term, whom it voted for in it, and how far it knows to be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HardState {
    /// The latest term seen.
    pub term: u64,
    /// The node voted for in that term, 0 for none.
    pub vote: u64,
    /// Entries up to this index are committed; more may be.
    pub commit: u64,
}

/// All the log knows of a partition but its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupMeta {
    /// Entries up to here are flushed and may be missing.
    pub mark: Position,
    /// What the group must not forget beside its entries.
    pub hard: HardState,
    /// The last entry.
    pub last: Position,
}

/// One frame of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// An entry, which replaces that of its index and all above it.
    Entry {
        /// Its place.
        at: Position,
        /// What it carries.
        data: &'a [u8],
    },
    /// An entry in the same way, which says who the members of the group are from then on.
    Change {
        /// Its place.
        at: Position,
        /// What it carries.
        data: &'a [u8],
    },
    /// The hard state from here on.
    HardState(HardState),
    /// Entries up to this one are durable elsewhere.
    Mark(Position),
    /// The state as of this entry is durable elsewhere, and came from another node: whatever entries there were
    /// are gone.
    Installed(Position),
    /// All of a group but its entries, at the start of a segment. The log writes these by itself.
    Restatement(GroupMeta),
}

/// What an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// For the state machine.
    Command,
    /// For the group itself: who its members are.
    Change,
}

/// An entry as recovered.
#[derive(Debug, Clone)]
pub struct LoggedEntry {
    /// Its place.
    pub at: Position,
    /// What it is for.
    pub kind: EntryKind,
    /// What it carries.
    pub data: Bytes,
}

/// A partition's log as far as it has been read.
#[derive(Debug, Default)]
pub struct PartitionLog {
    pub(crate) meta: GroupMeta,
    /// Ascending; holes are allowed until [`PartitionLog::finish`], a later mark may cover them.
    pub(crate) entries: VecDeque<LoggedEntry>,
    /// The run whose restatement was taken last, so that its first one is told from the rest.
    run: Option<u64>,
}

impl PartitionLog {
    /// Where the partition stands.
    #[must_use]
    pub fn meta(&self) -> GroupMeta {
        self.meta
    }

    /// The entries above the mark, ascending, without a gap.
    #[must_use]
    pub fn entries(&self) -> &VecDeque<LoggedEntry> {
        &self.entries
    }

    /// Takes the next frame of run `incarnation`.
    pub(crate) fn take(
        &mut self,
        partition: PartitionId,
        incarnation: u64,
        frame: &Frame<'_>,
    ) -> Result<(), Corruption> {
        if let Frame::Restatement(meta) = frame {
            return self.restate(partition, incarnation, meta);
        }
        if self.run != Some(incarnation) {
            return Err(Corruption::Restatement { partition, what: "it is missing in this run" });
        }
        let out_of_order = |what, index| Err(Corruption::OutOfOrder { partition, what, index });
        match *frame {
            Frame::Entry { at, data } => {
                return self.take_entry(partition, at, EntryKind::Command, data);
            }
            Frame::Change { at, data } => {
                return self.take_entry(partition, at, EntryKind::Change, data);
            }
            Frame::HardState(hard) => {
                if hard.term < self.meta.hard.term {
                    return out_of_order("the term goes back", hard.term);
                }
                self.meta.hard = hard;
            }
            Frame::Mark(at) => {
                if at.index < self.meta.mark.index || at.index > self.meta.last.index {
                    return out_of_order("the mark goes back or passes the last entry", at.index);
                }
                self.set_mark(at);
            }
            Frame::Installed(at) => {
                if at.index <= self.meta.mark.index {
                    return out_of_order("an older state than the flushed one is put in", at.index);
                }
                self.entries.clear();
                self.meta.mark = at;
                self.meta.last = at;
            }
            Frame::Restatement(_) => unreachable!("taken above"),
        }
        Ok(())
    }

    fn take_entry(
        &mut self,
        partition: PartitionId,
        at: Position,
        kind: EntryKind,
        data: &[u8],
    ) -> Result<(), Corruption> {
        let out_of_order = |what| Err(Corruption::OutOfOrder { partition, what, index: at.index });
        if at.index <= self.meta.mark.index {
            return out_of_order("an entry that was flushed is replaced");
        }
        if at.index > self.meta.last.index.saturating_add(1) {
            return out_of_order("an entry does not follow the one before");
        }
        self.drop_above(at.index - 1);
        self.entries.push_back(LoggedEntry { at, kind, data: Bytes::copy_from_slice(data) });
        self.meta.last = at;
        Ok(())
    }

    fn restate(
        &mut self,
        partition: PartitionId,
        incarnation: u64,
        meta: &GroupMeta,
    ) -> Result<(), Corruption> {
        let disagrees = |what| Err(Corruption::Restatement { partition, what });
        if self.run == Some(incarnation) {
            return if self.meta == *meta { Ok(()) } else { disagrees("it differs") };
        }
        if meta.mark.index < self.meta.mark.index {
            return disagrees("its mark goes back");
        }
        if meta.last.index < meta.mark.index || meta.hard.commit > meta.last.index {
            return disagrees("it is not consistent in itself");
        }
        self.run = Some(incarnation);
        self.drop_above(meta.last.index);
        self.meta = *meta;
        self.set_mark(meta.mark);
        let replaced =
            |entry: &LoggedEntry| entry.at.index == meta.last.index && entry.at != meta.last;
        if self.entries.back().is_some_and(replaced) {
            // The entry that took its place, and perhaps others, stood in segments now retired, while this one's own
            // segment is held by entries further on. They are retired only below a mark, which is still to come: so
            // nothing in hand is needed. If no such mark comes, something is missing, and that is found at the end.
            self.entries.clear();
        }
        Ok(())
    }

    fn drop_above(&mut self, index: u64) {
        while self.entries.back().is_some_and(|entry| entry.at.index > index) {
            self.entries.pop_back();
        }
    }

    fn set_mark(&mut self, mark: Position) {
        self.meta.mark = mark;
        while self.entries.front().is_some_and(|entry| entry.at.index <= mark.index) {
            self.entries.pop_front();
        }
    }

    /// Checks what can only be known at the end.
    pub(crate) fn finish(&self, partition: PartitionId) -> Result<(), Corruption> {
        let GroupMeta { mark, hard, last } = self.meta;
        let missing = Corruption::MissingEntries {
            partition,
            first: mark.index.saturating_add(1),
            last: last.index,
        };
        let mut before = mark;
        for entry in &self.entries {
            if entry.at.index != before.index.saturating_add(1) {
                return Err(missing);
            }
            if entry.at.term < before.term {
                let what = "an entry's term is below the one before";
                return Err(Corruption::OutOfOrder { partition, what, index: entry.at.index });
            }
            before = entry.at;
        }
        if before != last {
            return Err(missing);
        }
        if hard.commit > last.index {
            let what = "the commit index is past the last entry";
            return Err(Corruption::OutOfOrder { partition, what, index: hard.commit });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: PartitionId = PartitionId(3);

    fn at(index: u64, term: u64) -> Position {
        Position { index, term }
    }

    fn entry(index: u64, term: u64) -> Frame<'static> {
        Frame::Entry { at: at(index, term), data: b"x" }
    }

    fn restatement(mark: Position, last: Position) -> Frame<'static> {
        let hard = HardState { term: last.term, vote: 1, commit: mark.index };
        Frame::Restatement(GroupMeta { mark, hard, last })
    }

    /// Takes the frames of (incarnation, frame) pairs and checks the indexes and terms left.
    fn check(frames: &[(u64, Frame<'_>)], expected: Result<&[(u64, u64)], &str>) {
        let mut log = PartitionLog::default();
        let result = frames
            .iter()
            .try_for_each(|(run, frame)| log.take(P, *run, frame))
            .and_then(|()| log.finish(P));
        let found: Vec<(u64, u64)> =
            log.entries.iter().map(|entry| (entry.at.index, entry.at.term)).collect();
        match (result, expected) {
            (Ok(()), Ok(expected)) => assert_eq!(found, expected),
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(part), "{error} should contain {part}");
            }
            (result, expected) => panic!("{result:?} with {found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_later_entry_replaces_the_tail_from_its_index_on() {
        let start = restatement(at(0, 0), at(0, 0));
        check(
            &[(1, start), (1, entry(1, 1)), (1, entry(2, 1)), (1, entry(3, 1)), (1, entry(2, 2))],
            Ok(&[(1, 1), (2, 2)]),
        );
    }

    #[test]
    fn a_later_run_continues_an_earlier_one_and_drops_the_tail_it_did_not_see() {
        let start = restatement(at(0, 0), at(0, 0));
        check(
            &[
                (1, start),
                (1, entry(1, 1)),
                (1, entry(2, 1)),
                (1, entry(3, 1)),
                (2, restatement(at(0, 0), at(2, 1))),
                (2, entry(3, 2)),
            ],
            Ok(&[(1, 1), (2, 1), (3, 2)]),
        );
    }

    #[test]
    fn entries_lost_between_two_runs_are_named() {
        let start = restatement(at(0, 0), at(0, 0));
        check(
            &[(1, start), (1, entry(1, 1)), (2, restatement(at(0, 0), at(2, 1)))],
            Err("entries 1 to 2 are not all there"),
        );
    }

    #[test]
    fn retired_segments_leave_a_gap_which_only_a_mark_covers() {
        let oldest_kept = restatement(at(100, 1), at(200, 1));
        check(
            &[(1, oldest_kept), (1, entry(201, 1)), (1, Frame::Mark(at(200, 1)))],
            Ok(&[(201, 1)]),
        );
        check(
            &[(1, oldest_kept), (1, entry(201, 1)), (1, Frame::Mark(at(199, 1)))],
            Err("entries 200 to 201 are not all there"),
        );
    }

    #[test]
    fn frames_out_of_order_are_named() {
        let start = (1, restatement(at(0, 0), at(0, 0)));
        check(&[start, (1, entry(2, 1))], Err("does not follow"));
        check(
            &[start, (1, entry(1, 1)), (1, Frame::Mark(at(1, 1))), (1, entry(1, 2))],
            Err("that was flushed is replaced"),
        );
        check(&[start, (1, Frame::Mark(at(1, 1)))], Err("passes the last entry"));
        check(&[start, (1, entry(1, 2)), (1, entry(2, 1))], Err("term is below"));
        check(&[(1, entry(1, 1))], Err("missing in this run"));
        check(&[start, (2, entry(1, 1))], Err("missing in this run"));
        let hard = |term| Frame::HardState(HardState { term, vote: 1, commit: 0 });
        check(&[start, (1, hard(3)), (1, hard(2))], Err("term goes back"));
        let ahead = Frame::HardState(HardState { term: 1, vote: 1, commit: 4 });
        check(&[start, (1, ahead)], Err("commit index is past"));
    }

    #[test]
    fn a_state_put_in_takes_the_place_of_all_entries() {
        let start = (1, restatement(at(0, 0), at(0, 0)));
        let installed = |index| (1, Frame::Installed(at(index, 3)));
        check(&[start, (1, entry(1, 1)), installed(9), (1, entry(10, 3))], Ok(&[(10, 3)]));
        // Also when entries that were never committed reach further.
        check(&[start, (1, entry(1, 1)), (1, entry(2, 1)), installed(1)], Ok(&[]));
        check(&[start, installed(9), installed(9)], Err("older state"));
        check(&[start, installed(9), (1, entry(9, 3))], Err("that was flushed is replaced"));
        check(&[start, installed(9), (1, entry(11, 3))], Err("does not follow"));
        let change = Frame::Change { at: at(1, 1), data: b"add n2" };
        check(&[start, (1, change), (1, entry(2, 1))], Ok(&[(1, 1), (2, 1)]));
    }

    /// Run 2 replaced entries of run 1 and was retired; run 1 was not, since it had an entry more.
    #[test]
    fn replaced_entries_of_a_run_that_outlives_the_next_are_not_needed() {
        let first = [
            (1, restatement(at(0, 0), at(0, 0))),
            (1, entry(1, 1)),
            (1, entry(2, 1)),
            (1, entry(3, 1)),
        ];
        let third = (3, restatement(at(0, 0), at(2, 2)));
        let covered = [first.as_slice(), &[third, (3, Frame::Mark(at(2, 2))), (3, entry(3, 3))]];
        check(&covered.concat(), Ok(&[(3, 3)]));
        check(&[first.as_slice(), &[third]].concat(), Err("entries 1 to 2 are not all there"));
        let short = [first.as_slice(), &[third, (3, Frame::Mark(at(1, 1))), (3, entry(3, 3))]];
        check(&short.concat(), Err("entries 2 to 3 are not all there"));
    }

    #[test]
    fn a_second_restatement_must_repeat_the_state() {
        let start = (1, restatement(at(0, 0), at(0, 0)));
        check(&[start, (1, entry(1, 1)), (1, restatement(at(0, 0), at(2, 1)))], Err("it differs"));
        check(
            &[
                start,
                (1, entry(1, 1)),
                (1, Frame::Mark(at(1, 1))),
                (2, restatement(at(0, 0), at(1, 1))),
            ],
            Err("mark goes back"),
        );
    }
}

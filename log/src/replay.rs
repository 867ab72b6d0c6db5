//! Reading a log of one group and one writer, entry by entry and in bounded memory: what a store that stands
//! alone does when it opens.
//!
//! Such a log never replaces an entry, so each can be handed on as soon as its batch is known to count, and nothing
//! has to be kept. That is checked: a log with more in it is refused.
//!
//! Invariant: entries are handed on in order, without a hole, from the applied one on; what is handed on was
//! written before all that is not.

use crate::disk::Disk;
use crate::error::{Corruption, Error};
use crate::merge::{Frame, GroupMeta, Position};
use crate::recover::{FrameAt, read_log};
use crate::root::LogRoot;
use novax_model::PartitionId;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// What is known of a log after all of it was read.
#[derive(Debug)]
pub struct Replayed {
    root: Arc<LogRoot>,
    meta: GroupMeta,
}

impl Replayed {
    /// What the writer to be started needs.
    #[must_use]
    pub fn root(&self) -> &Arc<LogRoot> {
        &self.root
    }

    /// Where the group stands; its mark is the applied entry.
    #[must_use]
    pub fn meta(&self) -> GroupMeta {
        self.meta
    }
}

/// Reads the log under `root`/log, whose only group is `partition`, and passes each entry above `applied` to
/// `take`, which may break off. Locks the log as [`crate::recover`] does. Needs memory for one segment.
///
/// # Errors
/// When the log is open elsewhere, cannot be read, contradicts itself, does not fit `applied`, or is not one of a
/// single group and writer; [`Error::Stopped`] when `take` breaks off.
pub fn replay(
    disk: Arc<dyn Disk>,
    root: &Path,
    partition: PartitionId,
    applied: u64,
    take: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> Result<Replayed, Error> {
    let mut single = Single {
        partition,
        applied,
        meta: GroupMeta::default(),
        applied_at: Position::default(),
        run: None,
        missing: None,
        stopped: false,
        take,
    };
    let log = read_log(disk, root, |at, frame| single.frame(at, frame))?;
    if single.stopped {
        return Err(Error::Stopped);
    }
    let GroupMeta { mark, last, .. } = single.meta;
    if applied > last.index {
        return Err(Error::LogBehindState { partition, applied, last: last.index });
    }
    if applied < mark.index {
        return Err(Error::StateBehindLog { partition, applied, mark: mark.index });
    }
    if let Some((first, last)) = single.missing {
        return Err(log.corrupt(Corruption::MissingEntries { partition, first, last }));
    }
    // Only the applied entry's index counts from now on, should its segment be gone.
    let mark = Position { index: applied, term: single.applied_at.term.max(mark.term) };
    let meta = GroupMeta { mark, ..single.meta };
    Ok(Replayed { root: Arc::new(log.trim()?), meta })
}

/// The state of reading.
struct Single<F> {
    partition: PartitionId,
    applied: u64,
    meta: GroupMeta,
    applied_at: Position,
    /// The run whose restatement was taken last.
    run: Option<u64>,
    /// Entries above the applied one that are in no segment.
    missing: Option<(u64, u64)>,
    stopped: bool,
    take: F,
}

impl<F: FnMut(u64, &[u8]) -> ControlFlow<()>> Single<F> {
    fn frame(&mut self, found: FrameAt, frame: &Frame<'_>) -> Result<(), Corruption> {
        let partition = self.partition;
        if found.partition != partition {
            return Err(Corruption::NotSingle { partition: found.partition, index: 0 });
        }
        if let Frame::Restatement(meta) = frame {
            return self.restate(found.incarnation, meta);
        }
        if self.run != Some(found.incarnation) {
            return Err(Corruption::Restatement { partition, what: "it is missing in this run" });
        }
        let out_of_order = |what, index| Err(Corruption::OutOfOrder { partition, what, index });
        match *frame {
            Frame::Entry { at, data } => {
                if Some(at.index) != self.meta.last.index.checked_add(1) {
                    return Err(Corruption::NotSingle { partition, index: at.index });
                }
                if at.term < self.meta.last.term {
                    return out_of_order("an entry's term is below the one before", at.index);
                }
                self.meta.last = at;
                self.entry(at, data);
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
                self.meta.mark = at;
            }
            // One writer, one member: there is nobody to agree with, nor to get a state from.
            Frame::Change { at, .. } | Frame::Installed(at) => {
                return Err(Corruption::NotSingle { partition, index: at.index });
            }
            Frame::Restatement(_) => unreachable!("taken above"),
        }
        Ok(())
    }

    fn entry(&mut self, at: Position, data: &[u8]) {
        if at.index == self.applied {
            self.applied_at = at;
        }
        if at.index > self.applied && self.missing.is_none() && !self.stopped {
            self.stopped = (self.take)(at.index, data).is_break();
        }
    }

    fn restate(&mut self, incarnation: u64, meta: &GroupMeta) -> Result<(), Corruption> {
        let partition = self.partition;
        let disagrees = |what| Err(Corruption::Restatement { partition, what });
        if self.run == Some(incarnation) {
            return if self.meta == *meta { Ok(()) } else { disagrees("it differs") };
        }
        if meta.last.index < meta.mark.index || meta.hard.commit > meta.last.index {
            return disagrees("it is not consistent in itself");
        }
        if self.run.is_none() {
            // What the retired segments held is flushed, or it is missed.
            if meta.last.index > self.applied {
                self.missing = Some((self.applied + 1, meta.last.index));
            }
        } else if meta.mark.index < self.meta.mark.index || meta.last != self.meta.last {
            return disagrees("a later run does not begin where the one before ends");
        }
        self.run = Some(incarnation);
        self.meta = *meta;
        Ok(())
    }
}

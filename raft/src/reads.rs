//! Reads that see all that was committed when they were asked for, without an entry of their own.
//!
//! The leader says how far it is committed, once a majority has confirmed that it still leads; whoever asked
//! reads its own state when it has been delivered that far. The answer may be lost on the way, in either
//! direction, and a leader that has not committed in its own term yet drops the request without a word: so
//! each is asked again until it is too old. Answers come in any order, or twice; each is found by its number,
//! never by its place in a queue.
//!
//! Invariant: a read is answered once, and not before everything up to its index was delivered.

use crate::event::ReadId;
use std::collections::BTreeMap;

/// Reads of one group that may wait.
pub(crate) const READS_MAX: usize = 1_024;
/// Ticks after which a read is asked again.
const AGAIN_TICKS: u64 = 3;
/// Ticks after which a read is given up: about two elections.
const READ_TICKS_MAX: u64 = 40;
const CONTEXT_BYTES: usize = 24;

/// The bytes by which a read is known among all reads of all nodes.
pub(crate) fn context(node: u64, incarnation: u64, id: ReadId) -> Vec<u8> {
    let fields = [node, incarnation, id.0];
    fields.iter().flat_map(|field| field.to_le_bytes()).collect()
}

fn fields(context: &[u8]) -> Option<[u64; 3]> {
    let context: &[u8; CONTEXT_BYTES] = context.try_into().ok()?;
    let mut fields = [0; 3];
    for (field, bytes) in fields.iter_mut().zip(context.chunks_exact(8)) {
        *field = u64::from_le_bytes(bytes.try_into().ok()?);
    }
    Some(fields)
}

/// Whether a node asked for the read, in the given run if one is given.
pub(crate) fn is_context_of(context: &[u8], node: u64, incarnation: Option<u64>) -> bool {
    fields(context)
        .is_some_and(|[from, run, _]| from == node && incarnation.is_none_or(|is| run == is))
}

/// The reads of one group on this node.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// Asked, and when.
    asked: BTreeMap<ReadId, u64>,
    /// Answered: the index that has to be delivered first, and when the read was asked.
    answered: BTreeMap<ReadId, (u64, u64)>,
}

impl Reads {
    pub(crate) fn is_full(&self) -> bool {
        self.asked.len() + self.answered.len() >= READS_MAX
    }

    pub(crate) fn ask(&mut self, id: ReadId, tick: u64) {
        self.asked.insert(id, tick);
    }

    /// An answer came. Answers nobody waits for any more are nothing new.
    pub(crate) fn answer(&mut self, context: &[u8], index: u64) {
        let Some([_, _, id]) = fields(context) else { return };
        if let Some(asked) = self.asked.remove(&ReadId(id)) {
            self.answered.insert(ReadId(id), (index, asked));
        }
    }

    /// Those whose index has been delivered.
    pub(crate) fn take_ready(&mut self, delivered: u64) -> Vec<ReadId> {
        if self.answered.is_empty() {
            return Vec::new();
        }
        self.answered
            .extract_if(.., |_, (index, _)| *index <= delivered)
            .map(|(id, _)| id)
            .collect()
    }

    /// Those to ask again, and those that are too old.
    pub(crate) fn tick(&mut self, tick: u64) -> (Vec<ReadId>, Vec<ReadId>) {
        let age = |asked: u64| tick.saturating_sub(asked);
        let old = |at: u64| age(at) >= READ_TICKS_MAX;
        let unanswered = self.asked.extract_if(.., |_, at| old(*at)).map(|(id, _)| id);
        let undelivered = self.answered.extract_if(.., |_, (_, at)| old(*at)).map(|(id, _)| id);
        let old: Vec<ReadId> = unanswered.chain(undelivered).collect();
        let again = |at: u64| age(at) > 0 && age(at).is_multiple_of(AGAIN_TICKS);
        let again = self.asked.iter().filter(|(_, at)| again(**at)).map(|(id, _)| *id).collect();
        (again, old)
    }

    /// All of them, answered or not: nobody serves them any more.
    pub(crate) fn take_all(&mut self) -> Vec<ReadId> {
        let asked = std::mem::take(&mut self.asked).into_keys();
        asked.chain(std::mem::take(&mut self.answered).into_keys()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_any_order_twice_or_never() {
        let mut reads = Reads::default();
        let context = |id| context(3, 9, ReadId(id));
        for id in 1..=4 {
            reads.ask(ReadId(id), 0);
        }
        reads.answer(&context(3), 50);
        reads.answer(&context(1), 40);
        reads.answer(&context(3), 90);
        reads.answer(&context(77), 1);
        reads.answer(b"short", 1);
        assert_eq!(reads.take_ready(39), []);
        assert_eq!(reads.take_ready(45), [ReadId(1)]);
        assert_eq!(reads.take_ready(50), [ReadId(3)], "the first answer counts");
        assert_eq!(reads.tick(AGAIN_TICKS), (vec![ReadId(2), ReadId(4)], vec![]));
        assert_eq!(reads.tick(AGAIN_TICKS + 1), (vec![], vec![]));
        assert_eq!(reads.tick(READ_TICKS_MAX).1, [ReadId(2), ReadId(4)]);
        reads.answer(&context(2), 1);
        assert_eq!(reads.take_ready(99), [], "what was given up stays so");
    }
}

//! The commands of a partition on their way into an entry, on the leader and on the nodes that ask it.
//!
//! A node numbers the batches it gathers. The leader puts its own and those of others into an entry, which
//! names them; every node applies the entry, and the one whose batch it is tells its waiters what its own
//! apply said. So no outcome travels, whoever is answered finds his node as new as the answer, and it does
//! not matter who leads meanwhile.
//!
//! What a link loses is found by order: a node's batches reach a leader in the order in which they were sent, and
//! go into its entries in that order. So when one is applied, those sent before it to the same leader that are
//! not will never be.
//!
//! **Invariants**
//! * A waiter is answered once: by an outcome, or by hearing that nothing is known.
//! * A batch goes into an entry of the term in which its leader was given it, or into none: when a later term has
//!   begun, the node that sent it has taken it back.
//! * What waits is bounded, here and at the leader.

use super::waiter::Waiter;
use bytes::Bytes;
use novax_charging::{Command, Entry, Origin, Outcome};
use novax_model::{Duration, NodeId, Timestamp};
use std::collections::{BTreeMap, VecDeque};

/// Commands that may wait for the next entry of a partition; more are answered "overloaded".
pub const COMMANDS_WAITING_MAX: usize = 16_384;
/// Commands of this node in one entry or batch; the rest waits for the next turn.
const COMMANDS_PER_BATCH_MAX: usize = 1_024;
/// Commands in one entry, of all nodes.
const COMMANDS_PER_ENTRY_MAX: usize = 4_096;
/// Batches that may be with the leader, unanswered.
const BATCHES_OUT_MAX: usize = 256;
/// After this, nobody waits any more: what was asked may or may not come to be.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// See the file's head.
#[derive(Debug)]
pub struct Batches {
    node: NodeId,
    run: u64,
    last_token: u64,
    commands: Vec<Command>,
    waiters: Vec<Waiter>,
    /// Of other nodes, for the next entry of this leader, each with the term in which it was taken.
    theirs: VecDeque<(u64, Origin, Vec<Command>)>,
    theirs_len: usize,
    /// In an entry, or with the leader.
    out: BTreeMap<u64, Out>,
    /// What was sent may be lost: another batch must follow, to see by.
    doubted: bool,
    /// Batches that are in no entry and never will be, as they were sent; they are still out.
    lost: BTreeMap<u64, Bytes>,
}

#[derive(Debug)]
struct Out {
    waiters: Vec<Waiter>,
    since: Timestamp,
    /// The term of the leader who has it.
    term: u64,
    /// As it was sent there; nothing where the leader is here.
    sent: Option<Bytes>,
}

/// The leader had no room, or leads no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turned;

impl Batches {
    /// `run` tells this life of the node from the ones before.
    #[must_use]
    pub fn new(node: NodeId, run: u64) -> Batches {
        Batches {
            node,
            run,
            last_token: 0,
            commands: Vec::new(),
            waiters: Vec::new(),
            theirs: VecDeque::new(),
            theirs_len: 0,
            out: BTreeMap::new(),
            doubted: false,
            lost: BTreeMap::new(),
        }
    }

    /// Queues a command of this node.
    ///
    /// # Errors
    /// Gives the waiter back when too many wait.
    pub fn submit(&mut self, command: Command, waiter: Waiter) -> Result<(), Waiter> {
        // What nobody can ask for again may use a reserve.
        let reserved = matches!(waiter, Waiter::Connected(_) | Waiter::OutboxAnswered { .. })
            || matches!(
                command,
                Command::StationDisconnected { .. } | Command::SocketsClosed { .. }
            );
        let max = if reserved { 2 * COMMANDS_WAITING_MAX } else { COMMANDS_WAITING_MAX };
        if self.commands.len() >= max {
            return Err(waiter);
        }
        self.commands.push(command);
        self.waiters.push(waiter);
        Ok(())
    }

    /// Puts a command ahead of those that wait.
    pub fn submit_first(&mut self, command: Command, waiter: Waiter) {
        self.commands.insert(0, command);
        self.waiters.insert(0, waiter);
    }

    /// Takes a batch of another node, if this one, which leads in `term`, has room.
    ///
    /// # Errors
    /// [`Turned`]: that node is to be told.
    pub fn accept(
        &mut self,
        term: u64,
        origin: Origin,
        commands: Vec<Command>,
    ) -> Result<(), Turned> {
        assert_eq!(origin.count as usize, commands.len(), "an origin counts its commands");
        if self.theirs_len + commands.len() > COMMANDS_WAITING_MAX {
            return Err(Turned);
        }
        self.theirs_len += commands.len();
        self.theirs.push_back((term, origin, commands));
        Ok(())
    }

    /// Whether commands wait for the next entry or batch.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.commands.is_empty() || !self.theirs.is_empty()
    }

    /// Whether nothing waits and nothing is out.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.is_waiting() && self.out.is_empty()
    }

    fn gather(&mut self, now: Timestamp, term: u64) -> (Origin, Vec<Command>) {
        assert_eq!(self.commands.len(), self.waiters.len(), "one waiter a command");
        let count = self.commands.len().min(COMMANDS_PER_BATCH_MAX);
        let commands: Vec<Command> = self.commands.drain(..count).collect();
        let waiters: Vec<Waiter> = self.waiters.drain(..count).collect();
        self.last_token += 1;
        let (node, run, token) = (self.node, self.run, self.last_token);
        let count = u32::try_from(count).expect("a batch is bounded");
        self.out.insert(token, Out { waiters, since: now, term, sent: None });
        (Origin { node, run, token, count }, commands)
    }

    /// The leader's next entry, if anything waits: its own commands, then those of others.
    pub fn next_entry(&mut self, now: Timestamp, term: u64) -> Option<Entry> {
        if !self.is_waiting() {
            return None;
        }
        let mut entry = Entry { time: now, commands: Vec::new(), origins: Vec::new() };
        if !self.commands.is_empty() {
            let (origin, commands) = self.gather(now, term);
            entry.origins.push(origin);
            entry.commands = commands;
        }
        while let Some((taken_in, origin, commands)) = self.theirs.front_mut() {
            assert_eq!(*taken_in, term, "what an earlier lead took is turned away first");
            let empty = entry.commands.is_empty();
            if !empty && entry.commands.len() + commands.len() > COMMANDS_PER_ENTRY_MAX {
                break;
            }
            self.theirs_len -= commands.len();
            entry.commands.append(commands);
            entry.origins.push(*origin);
            self.theirs.pop_front();
        }
        Some(entry)
    }

    /// The next batch for the leader elsewhere, if anything waits and not too much is with it already.
    pub fn next_batch(&mut self, now: Timestamp, term: u64) -> Option<(Origin, Vec<Command>)> {
        if self.doubted {
            if self.commands.is_empty() {
                self.commands.push(Command::Tick);
                self.waiters.push(Waiter::Nobody);
            }
        } else if self.commands.is_empty() || self.out.len() >= BATCHES_OUT_MAX {
            return None;
        }
        self.doubted = false;
        Some(self.gather(now, term))
    }

    /// A link went down: what was sent may have been on it.
    pub fn doubt(&mut self) {
        self.doubted = self.out.values().any(|out| out.sent.is_some());
    }

    /// The batch went to the leader as these bytes.
    pub fn sent(&mut self, token: u64, bytes: Bytes) {
        if let Some(out) = self.out.get_mut(&token) {
            out.sent = Some(bytes);
        }
    }

    /// An entry of `term` is committed, the first of it: whatever a leader of an earlier term was given and is not
    /// applied by now never will be. What was sent is taken back by the caller; the waiters of the rest come
    /// with it.
    pub fn lost_before(&mut self, term: u64) -> (Vec<Bytes>, Vec<Waiter>) {
        let (mut sent, mut waiters) = (Vec::new(), Vec::new());
        self.out.retain(|_, out| {
            if out.term >= term {
                return true;
            }
            match &out.sent {
                Some(bytes) => {
                    sent.push(bytes.clone());
                    true
                }
                None => {
                    waiters.append(&mut out.waiters);
                    false
                }
            }
        });
        (sent, waiters)
    }

    /// The state has passed over entries: what became of any batch that is out cannot be known here. What was
    /// sent of them to leaders elsewhere, and all who wait.
    pub fn lose_all_out(&mut self) -> (Vec<Bytes>, Vec<Waiter>) {
        let (mut sent, mut waiters) = (Vec::new(), Vec::new());
        for out in std::mem::take(&mut self.out).into_values() {
            sent.extend(out.sent);
            waiters.extend(out.waiters);
        }
        (sent, waiters)
    }

    /// Batches of other nodes that were taken while this one led, and that it cannot serve any more.
    pub fn take_theirs(&mut self) -> Vec<(Origin, Vec<Command>)> {
        self.take_theirs_before(u64::MAX)
    }

    /// Batches of other nodes that were taken in an earlier lead of this one, which was lost and won again since: their
    /// nodes may have taken them back, and may have sent them again.
    pub fn take_theirs_before(&mut self, term: u64) -> Vec<(Origin, Vec<Command>)> {
        // Terms only grow, so those of earlier ones are in front.
        let stale = self.theirs.partition_point(|(taken_in, ..)| *taken_in < term);
        let taken = self.theirs.drain(..stale).map(|(_, origin, commands)| (origin, commands));
        let taken: Vec<_> = taken.collect();
        self.theirs_len -= taken.iter().map(|(_, commands)| commands.len()).sum::<usize>();
        taken
    }

    /// The outcomes of an entry's commands, to whoever waits for them here.
    pub fn complete(
        &mut self,
        origins: &[Origin],
        outcomes: Vec<Outcome>,
        told: &mut Vec<(Waiter, Outcome)>,
    ) {
        let mut outcomes = outcomes.into_iter();
        for origin in origins {
            let of_batch = outcomes.by_ref().take(origin.count as usize);
            let mine = origin.node == self.node && origin.run == self.run;
            match if mine { self.out.remove(&origin.token) } else { None } {
                Some(out) => {
                    assert_eq!(out.waiters.len(), origin.count as usize, "a batch comes whole");
                    self.find_lost(origin.token, out.term);
                    told.extend(out.waiters.into_iter().zip(of_batch));
                }
                None => of_batch.for_each(drop),
            }
        }
    }

    /// A batch that the leader of a term was sent is applied: those that it was sent before are, or are lost.
    fn find_lost(&mut self, token: u64, term: u64) {
        let before = self.out.range(..token).filter(|(_, out)| out.term == term);
        self.lost.extend(before.filter_map(|(token, out)| Some((*token, out.sent.clone()?))));
    }

    /// What was found to be lost, to be taken back by the caller.
    pub fn take_lost(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.lost).into_values().collect()
    }

    /// The batch came back: it goes ahead of everything that waits. Answers waiters whose commands did not
    /// come back with it, for which there is no honest reason.
    pub fn take_back(&mut self, origin: Origin, mut commands: Vec<Command>) -> Vec<Waiter> {
        let mine = origin.node == self.node && origin.run == self.run;
        // Those whose time was over have been told.
        let Some(mut out) = (if mine { self.out.remove(&origin.token) } else { None }) else {
            return Vec::new();
        };
        if out.waiters.len() != commands.len() {
            return out.waiters;
        }
        commands.append(&mut self.commands);
        out.waiters.append(&mut self.waiters);
        (self.commands, self.waiters) = (commands, out.waiters);
        Vec::new()
    }

    /// The batch will be in no entry: its waiters.
    pub fn refused(&mut self, run: u64, token: u64) -> Vec<Waiter> {
        if run != self.run {
            return Vec::new();
        }
        self.out.remove(&token).map_or_else(Vec::new, |out| out.waiters)
    }

    /// Those who have waited too long for an answer, or for a leader to ask.
    pub fn overdue(&mut self, now: Timestamp) -> Vec<Waiter> {
        let mut gone = Vec::new();
        // Tokens grow with the time, so the first are the oldest.
        while let Some(first) = self.out.first_entry() {
            if now.since(first.get().since) < ANSWER_TIMEOUT {
                break;
            }
            gone.append(&mut first.remove().waiters);
        }
        gone
    }

    /// All that wait for a leader: there has been none for long.
    pub fn give_up_waiting(&mut self) -> Vec<Waiter> {
        self.commands.clear();
        // What would have shown that something is lost may be among them.
        self.doubt();
        std::mem::take(&mut self.waiters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u64) -> NodeId {
        NodeId::new(number).expect("not zero")
    }

    const NOW: Timestamp = Timestamp(1_000_000);

    #[test]
    fn an_entry_of_two_nodes_answers_each_by_its_own_apply() {
        let mut leader = Batches::new(node(1), 7);
        let mut other = Batches::new(node(2), 9);
        leader.submit(Command::Tick, Waiter::Nobody).expect("room");
        for _ in 0..3 {
            other.submit(Command::Tick, Waiter::Nobody).expect("room");
        }
        let (origin, commands) = other.next_batch(NOW, 1).expect("a batch");
        leader.accept(1, origin, commands).expect("room");
        let entry = leader.next_entry(NOW, 1).expect("an entry");
        assert_eq!(entry.commands.len(), 4);
        let outcomes = || vec![Outcome::Parked, Outcome::Done, Outcome::Done, Outcome::Parked];
        for (batches, expected) in [
            (&mut leader, vec![Outcome::Parked]),
            (&mut other, vec![Outcome::Done, Outcome::Done, Outcome::Parked]),
        ] {
            let mut told = Vec::new();
            batches.complete(&entry.origins, outcomes(), &mut told);
            let heard: Vec<Outcome> = told.into_iter().map(|(_, outcome)| outcome).collect();
            assert_eq!(heard, expected);
            assert!(batches.is_idle());
            // The same entry again, as after a restart: nobody waits.
            let mut told = Vec::new();
            batches.complete(&entry.origins, outcomes(), &mut told);
            assert!(told.is_empty());
        }
    }

    #[test]
    fn a_batch_of_an_earlier_life_finds_nobody() {
        let mut before = Batches::new(node(1), 7);
        before.submit(Command::Tick, Waiter::Nobody).expect("room");
        let entry = before.next_entry(NOW, 1).expect("an entry");
        let mut after = Batches::new(node(1), 8);
        after.submit(Command::Tick, Waiter::Nobody).expect("room");
        after.next_entry(NOW, 1).expect("an entry with the same token");
        let mut told = Vec::new();
        after.complete(&entry.origins, vec![Outcome::Done], &mut told);
        assert!(told.is_empty() && !after.is_idle());
        assert!(after.refused(7, 1).is_empty());
        assert_eq!(after.refused(8, 1).len(), 1);
    }

    #[test]
    fn what_a_link_lost_is_found_by_the_next_batch_that_is_applied() {
        let mut batches = Batches::new(node(2), 9);
        let send = |batches: &mut Batches, term| {
            let (origin, _) = batches.next_batch(NOW, term).expect("a batch");
            batches
                .sent(origin.token, Bytes::from(vec![u8::try_from(origin.token).expect("small")]));
            origin
        };
        for _ in 0..3 {
            batches.submit(Command::Tick, Waiter::Nobody).expect("room");
            send(&mut batches, 4);
        }
        assert!(batches.next_batch(NOW, 4).is_none(), "nothing waits, and nothing is in doubt");
        batches.doubt();
        let probe = send(&mut batches, 4);
        assert_eq!((probe.token, probe.count), (4, 1));
        assert!(batches.next_batch(NOW, 4).is_none(), "one is enough");
        let mut told = Vec::new();
        let first = Origin { token: 1, ..probe };
        batches.complete(&[first], vec![Outcome::Done], &mut told);
        assert!(batches.take_lost().is_empty(), "what was sent later may come");
        // The second and the third were on the link; a batch of another term says nothing of them.
        batches.submit(Command::Tick, Waiter::Nobody).expect("room");
        let later = send(&mut batches, 5);
        batches.complete(&[later], vec![Outcome::Done], &mut told);
        assert!(batches.take_lost().is_empty());
        batches.complete(&[probe], vec![Outcome::Done], &mut told);
        assert_eq!(batches.take_lost(), [&[2][..], &[3]]);
        assert!(batches.take_lost().is_empty(), "they are found once");
        for token in [2, 3] {
            let lost = Origin { token, ..probe };
            assert!(batches.take_back(lost, vec![Command::Tick]).is_empty());
        }
        let again = send(&mut batches, 5);
        assert_eq!(again.count, 2);
        // Whoever gives up waiting may give up what would have told.
        batches.doubt();
        batches.submit(Command::Tick, Waiter::Nobody).expect("room");
        assert_eq!(batches.give_up_waiting().len(), 1);
        assert_eq!(send(&mut batches, 5).count, 1);
    }

    #[test]
    fn what_is_not_answered_in_time_is_given_up_once() {
        let mut batches = Batches::new(node(1), 7);
        batches.submit(Command::Tick, Waiter::Nobody).expect("room");
        let entry = batches.next_entry(NOW, 1).expect("an entry");
        assert!(batches.overdue(NOW.saturating_add(Duration::from_secs(29))).is_empty());
        assert_eq!(batches.overdue(NOW.saturating_add(ANSWER_TIMEOUT)).len(), 1);
        let mut told = Vec::new();
        batches.complete(&entry.origins, vec![Outcome::Done], &mut told);
        assert!(told.is_empty(), "it came after all, but nobody waits");
    }

    #[test]
    fn a_lead_that_was_lost_and_won_again_serves_no_batch_of_the_one_before() {
        let mut leader = Batches::new(node(1), 7);
        let mut other = Batches::new(node(2), 9);
        let send = |other: &mut Batches, term| {
            other.submit(Command::Tick, Waiter::Nobody).expect("room");
            let (origin, commands) = other.next_batch(NOW, term).expect("a batch");
            let request = Bytes::from(vec![u8::try_from(origin.token).expect("small")]);
            other.sent(origin.token, request);
            (origin, commands)
        };
        let (early, commands) = send(&mut other, 1);
        leader.accept(1, early, commands).expect("room");
        // Another led in term 2, whose first entry the other node has seen: it takes back what it sent, and sends
        // it to whoever leads in term 3.
        let (sent, _) = other.lost_before(2);
        assert_eq!(sent.len(), 1);
        assert!(other.take_back(early, vec![Command::Tick]).is_empty());
        let (again, commands) = other.next_batch(NOW, 3).expect("it waits again");
        leader.accept(3, again, commands).expect("room");

        let stale = leader.take_theirs_before(3);
        assert_eq!(stale.iter().map(|(origin, _)| *origin).collect::<Vec<_>>(), [early]);
        let entry = leader.next_entry(NOW, 3).expect("an entry");
        assert_eq!(entry.origins, [again]);
        assert!(!leader.is_waiting());
        // It is turned away, and nobody there waits for it any more.
        assert!(other.take_back(early, vec![Command::Tick]).is_empty());
        let mut told = Vec::new();
        other.complete(&entry.origins, vec![Outcome::Done], &mut told);
        assert_eq!(told.len(), 1);
        assert!(other.is_idle());
    }

    #[test]
    fn the_leader_takes_no_more_of_others_than_its_bound() {
        let mut leader = Batches::new(node(1), 7);
        let batch = |token| {
            let commands = vec![Command::Tick; COMMANDS_PER_BATCH_MAX];
            let count = u32::try_from(commands.len()).expect("small");
            (Origin { node: node(2), run: 1, token, count }, commands)
        };
        let mut taken = 0;
        while let Ok(()) = {
            let (origin, commands) = batch(taken);
            leader.accept(1, origin, commands)
        } {
            taken += 1;
        }
        assert_eq!(taken as usize, COMMANDS_WAITING_MAX / COMMANDS_PER_BATCH_MAX);
        let entry = leader.next_entry(NOW, 1).expect("an entry");
        assert_eq!(entry.commands.len(), COMMANDS_PER_ENTRY_MAX);
        assert_eq!(leader.take_theirs().len(), taken as usize - 4);
        assert!(!leader.is_waiting());
    }
}

//! A replica that misses entries which are gone elsewhere is given the state instead: who asks whom for what.
//!
//! The leader's Raft wants a state for a peer: the slot has its store make a checkpoint, and names it. The
//! peer's Raft hears of it, and its shard asks the node that has it ([`Request::Fetch`]) until that begins to
//! send or says that it has none ([`Request::Gone`]). The bytes go another way, which the driver sees to
//! ([`StateAct`]); it says what becomes of them ([`StateNews`]). When the state is here, opened and checked,
//! Raft makes the log begin behind it, and then it takes the place of the present one, within one turn.
//!
//! **Invariants**
//! * A replica's state is replaced only when the log durably begins behind the new one.
//! * A checkpoint stays as long as it is being sent, and goes when nobody has asked for it for a while.
//! * Whoever waits here for a command that may be among the entries passed over is told that nothing is
//!   known.

use super::peers::Request;
use super::states::{self, Fetched};
use super::waiter::Waiter;
use crate::Shard;
use crate::slot::Slot;
use novax_charging::{Command, Partition};
use novax_engine::Engine;
use novax_model::{Duration, Identity, NodeId, PartitionId, Timestamp};
use novax_raft::SnapshotInfo;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A state that was asked for and does not begin to come is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// A state that has begun to come is whole within this, or asked for again.
const FETCH_MAX: Duration = Duration::from_secs(6 * 3_600);
/// A checkpoint that nobody fetches goes after this.
const KEPT_MAX: Duration = Duration::from_secs(30);

/// What the driver should do about states; none of it on the shard's thread where it may wait.
#[derive(Debug)]
pub enum StateAct {
    /// Send a checkpoint; [`StateNews::Sent`] follows.
    Send {
        /// To which node.
        to: NodeId,
        /// Of which partition.
        partition: PartitionId,
        /// As of which entry.
        index: u64,
        /// Where it is.
        dir: PathBuf,
    },
    /// Take a state that this node will offer, and no other of the partition.
    Expect {
        /// Which node.
        from: NodeId,
        /// Of which partition.
        partition: PartitionId,
        /// As of which entry.
        index: u64,
    },
    /// It is not wanted any more.
    Decline {
        /// Of which partition.
        partition: PartitionId,
        /// As of which entry.
        index: u64,
    },
    /// Close the store in a folder, if it is open, and remove the folder.
    Remove {
        /// Which folder.
        dir: PathBuf,
        /// Closed first: dropping it may take long.
        state: Option<Box<(Partition, Engine)>>,
    },
}

/// What became of states on their way.
#[derive(Debug)]
pub enum StateNews {
    /// The one that was asked for begins to come; it will be whole or not, and that will be said.
    Begun {
        /// Of which partition.
        partition: PartitionId,
        /// As of which entry.
        index: u64,
    },
    /// It is here, durably.
    Fetched(Box<Fetched>),
    /// It will not come.
    NotFetched {
        /// Of which partition.
        partition: PartitionId,
        /// As of which entry.
        index: u64,
    },
    /// A checkpoint was sent, or will not be.
    Sent {
        /// To which node.
        to: NodeId,
        /// Of which partition.
        partition: PartitionId,
        /// As of which entry.
        index: u64,
        /// All of it is safe there.
        whole: bool,
    },
}

impl StateNews {
    /// Which partition it is about.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        match self {
            StateNews::Begun { partition, .. }
            | StateNews::NotFetched { partition, .. }
            | StateNews::Sent { partition, .. } => *partition,
            StateNews::Fetched(fetched) => fetched.partition,
        }
    }
}

/// States of a slot on their way, in both directions.
#[derive(Debug, Default)]
pub struct Transfers {
    /// Checkpoints made in this run.
    made: u64,
    /// A peer needs one.
    wanted: bool,
    /// Where one is being made.
    making: Option<PathBuf>,
    /// One that is made and not yet named.
    finished: Option<(PathBuf, u64)>,
    kept: Option<Kept>,
    fetching: Option<Fetching>,
    /// Here, until Raft says what becomes of it.
    fetched: Option<Box<Fetched>>,
}

/// A checkpoint that peers may have.
#[derive(Debug)]
struct Kept {
    dir: PathBuf,
    index: u64,
    sending: BTreeSet<NodeId>,
    used: Timestamp,
}

/// A state that was asked for.
#[derive(Debug)]
struct Fetching {
    info: SnapshotInfo,
    asked: Timestamp,
    begun: bool,
}

impl Transfers {
    /// Whether a checkpoint is to be begun.
    #[must_use]
    pub fn is_due(&self) -> bool {
        let sending = self.kept.as_ref().is_some_and(|kept| !kept.sending.is_empty());
        self.wanted && !sending && self.making.is_none() && self.finished.is_none()
    }

    /// Begins a checkpoint, whose store has just written what it holds in memory.
    pub fn begin(&mut self, id: PartitionId, data: &std::path::Path, engine: &mut Engine) {
        self.made += 1;
        let dir = states::outgoing(data, id, self.made);
        match engine.checkpoint(&dir) {
            Ok(()) => (self.wanted, self.making) = (false, Some(dir)),
            Err(error) => eprintln!("novax: a checkpoint of partition {id}: {error}"),
        }
    }

    /// The store is another one: the folders of its checkpoints. What is being sent goes when that ends.
    fn take_checkpoints(&mut self) -> Vec<PathBuf> {
        self.wanted = false;
        let kept = self.kept.take_if(|kept| kept.sending.is_empty()).map(|kept| kept.dir);
        let finished = self.finished.take().map(|(dir, _)| dir);
        kept.into_iter().chain(finished).chain(self.making.take()).collect()
    }

    /// Takes in what became of a checkpoint; the folder of one that failed.
    #[must_use]
    pub fn poll(&mut self, id: PartitionId, engine: &mut Engine) -> Option<PathBuf> {
        let result = engine.take_checkpoint()?;
        let dir = self.making.take().expect("a checkpoint was begun");
        match result {
            Ok(mark) => {
                self.finished = Some((dir, mark));
                None
            }
            Err(error) => {
                // Raft says again that it is wanted.
                eprintln!("novax: a checkpoint of partition {id}: {error}");
                Some(dir)
            }
        }
    }
}

impl Slot {
    /// Puts a state in the place of the present one. The one that was there, and who waits for what may never
    /// be known here.
    fn replace(&mut self, fetched: Fetched, info: &SnapshotInfo) -> Replaced {
        let Fetched { machine, engine, dir, .. } = fetched;
        assert_eq!(machine.applied_index(), info.index, "the state that Raft speaks of");
        let machine = std::mem::replace(&mut self.machine, machine);
        let engine = std::mem::replace(&mut self.engine, engine);
        let dir = std::mem::replace(&mut self.dir, dir);
        assert!(machine.applied_index() < info.index, "a state that is put in is newer");
        (self.members, self.members_since) = (info.members.clone(), info.index);
        (self.applied_term, self.led_from, self.ticking) = (info.term, None, false);
        (self.stalled, self.flush_wanted) = (false, false);
        let (sent, waiters) = self.batches.lose_all_out();
        Replaced { state: Box::new((machine, engine)), dir, sent, waiters }
    }
}

struct Replaced {
    state: Box<(Partition, Engine)>,
    dir: PathBuf,
    sent: Vec<bytes::Bytes>,
    waiters: Vec<Waiter>,
}

impl Shard {
    /// A peer lacks entries that are gone here.
    pub(super) fn snapshot_wanted(&mut self, partition: PartitionId) {
        self.counters.snapshots_wanted.increment();
        if let Some(slot) = self.slots.get_mut(&partition) {
            slot.transfers.wanted = true;
        }
    }

    /// A checkpoint that is made is named to Raft, if it is still good for anything.
    pub(super) fn name_checkpoint(&mut self, partition: PartitionId) {
        let now = self.now;
        let slot = self.slots.get_mut(&partition).expect("a group of this shard");
        let Some((dir, index)) = slot.transfers.finished.take() else { return };
        // Whoever gets it has to know who the members are as of it.
        let members = (slot.members_since <= index).then(|| slot.members.clone());
        let founders = || self.raft.status(partition).map(|status| status.members);
        let members =
            members.and_then(|known| if known.is_empty() { founders() } else { Some(known) });
        let named = members
            .is_some_and(|members| self.raft.offer_snapshot(partition, index, members).is_ok());
        let gone = if named {
            let (sending, used) = (BTreeSet::new(), now);
            // Whoever wanted one meanwhile can have this.
            slot.transfers.wanted = false;
            slot.transfers.kept.replace(Kept { dir, index, sending, used }).map(|kept| kept.dir)
        } else {
            // Raft says again that it is wanted.
            Some(dir)
        };
        self.remove_state(gone, None);
    }

    fn remove_state(&mut self, dir: Option<PathBuf>, state: Option<Box<(Partition, Engine)>>) {
        self.effects.states.extend(dir.map(|dir| StateAct::Remove { dir, state }));
    }

    /// A checkpoint failed: what there is of it goes.
    pub(super) fn checkpoint_failed(&mut self, dir: PathBuf) {
        self.remove_state(Some(dir), None);
    }

    /// A node asks for a checkpoint that this one has named.
    pub(super) fn handle_fetch(&mut self, to: NodeId, partition: PartitionId, index: u64) -> bool {
        let now = self.now;
        let Some(slot) = self.slots.get_mut(&partition) else { return false };
        match slot.transfers.kept.as_mut().filter(|kept| kept.index == index) {
            Some(kept) => {
                kept.used = now;
                if kept.sending.insert(to) {
                    let dir = kept.dir.clone();
                    self.effects.states.push(StateAct::Send { to, partition, index, dir });
                }
            }
            None => self.tell(to, Request::Gone { partition, index }),
        }
        true
    }

    /// The node that named a state does not have it any more.
    pub(super) fn handle_gone(&mut self, from: NodeId, partition: PartitionId, index: u64) -> bool {
        let Some(slot) = self.slots.get(&partition) else { return false };
        let fetching = slot.transfers.fetching.as_ref();
        if fetching.is_some_and(|it| it.info.index == index && it.info.from == from && !it.begun) {
            self.give_up_fetching(partition);
        }
        true
    }

    /// Raft needs the state that another node has.
    pub(super) fn snapshot_offered(&mut self, info: SnapshotInfo) {
        let SnapshotInfo { partition, from, index, .. } = info;
        let slot = self.slots.get_mut(&partition).expect("a group of this shard");
        assert!(slot.transfers.fetched.is_none(), "one state at a time");
        slot.transfers.fetching = Some(Fetching { info, asked: self.now, begun: false });
        self.effects.states.push(StateAct::Expect { from, partition, index });
        self.tell(from, Request::Fetch { partition, index });
    }

    fn give_up_fetching(&mut self, partition: PartitionId) {
        let slot = self.slots.get_mut(&partition).expect("a group of this shard");
        if let Some(Fetching { info: SnapshotInfo { index, .. }, .. }) =
            slot.transfers.fetching.take()
        {
            self.raft.snapshot_failed(partition, index);
            self.effects.states.push(StateAct::Decline { partition, index });
        }
    }

    /// Something is known of a state on its way.
    pub fn handle_state(&mut self, news: StateNews) {
        let partition = news.partition();
        let now = self.now;
        let slot = self.slots.get_mut(&partition).expect("a partition of this shard");
        let is_awaited =
            |of: u64| slot.transfers.fetching.as_ref().is_some_and(|it| it.info.index == of);
        match news {
            StateNews::Begun { index, .. } => {
                if let Some(it) =
                    slot.transfers.fetching.as_mut().filter(|it| it.info.index == index)
                {
                    it.begun = true;
                }
            }
            StateNews::NotFetched { index, .. } => {
                if is_awaited(index) {
                    self.give_up_fetching(partition);
                }
            }
            StateNews::Fetched(fetched) => self.state_fetched(fetched),
            StateNews::Sent { to, index, whole, .. } => {
                if let Some(kept) = slot.transfers.kept.as_mut().filter(|kept| kept.index == index)
                {
                    kept.sending.remove(&to);
                    kept.used = now;
                }
                if whole {
                    self.counters.snapshots_sent.increment();
                }
            }
        }
    }

    fn state_fetched(&mut self, fetched: Box<Fetched>) {
        let partition = fetched.partition;
        let slot = self.slots.get_mut(&partition).expect("a partition of this shard");
        let awaited = slot.transfers.fetching.take_if(|it| it.info.index == fetched.index);
        let Some(Fetching { info, .. }) = awaited else {
            self.drop_fetched(*fetched);
            return;
        };
        if !fetched.members.is_empty() && fetched.members != info.members {
            eprintln!(
                "novax: partition {partition}: {} has other members in its state than it says",
                info.from
            );
            self.raft.snapshot_failed(partition, info.index);
            self.drop_fetched(*fetched);
            return;
        }
        slot.transfers.fetched = Some(fetched);
        self.raft.snapshot_fetched(partition, info.index);
    }

    fn drop_fetched(&mut self, fetched: Fetched) {
        let Fetched { machine, engine, dir, .. } = fetched;
        self.remove_state(Some(dir), Some(Box::new((machine, engine))));
    }

    /// Raft does not need the state that was fetched.
    pub(super) fn snapshot_dropped(&mut self, partition: PartitionId, index: u64) {
        let slot = self.slots.get_mut(&partition).expect("a group of this shard");
        if let Some(fetched) = slot.transfers.fetched.take_if(|fetched| fetched.index == index) {
            self.drop_fetched(*fetched);
        }
    }

    /// The log begins behind the state that was fetched: it is the partition's from now on.
    pub(super) fn install_snapshot(&mut self, info: &SnapshotInfo) {
        let SnapshotInfo { partition, index, .. } = *info;
        let slot = self.slots.get_mut(&partition).expect("a group of this shard");
        let fetched = slot.transfers.fetched.take().filter(|fetched| fetched.index == index);
        let fetched = fetched.expect("Raft puts in what was fetched");
        let Replaced { state, dir, sent, waiters } = slot.replace(*fetched, info);
        let checkpoints = slot.transfers.take_checkpoints();
        self.remove_state(Some(dir), Some(state));
        for gone in checkpoints {
            self.remove_state(Some(gone), None);
        }
        self.raft.withdraw_snapshot(partition);
        self.counters.snapshots_installed.increment();
        eprintln!(
            "novax: partition {partition} has the state of {} as of entry {index}",
            info.from
        );
        self.publish_roster(partition);
        self.ask_again(partition, &sent);
        self.answer_unavailable(waiters);
        let here = self.stations_of(partition);
        for identity in here {
            self.check_socket(partition, &identity);
        }
        self.redeliver(partition);
    }

    /// Of the commands that may be among the entries passed over, those for which nobody waits and that may
    /// be said twice.
    fn ask_again(&mut self, partition: PartitionId, sent: &[bytes::Bytes]) {
        let me = self.config.node;
        for bytes in sent {
            let Ok(Request::Forward { commands, .. }) = Request::decode(me, me, bytes) else {
                unreachable!("only batches are sent to a leader")
            };
            for command in commands {
                if matches!(command, Command::StationDisconnected { .. }) {
                    self.submit(partition, command, Waiter::Nobody);
                }
            }
        }
    }

    fn stations_of(&self, partition: PartitionId) -> Vec<Identity> {
        let Some(slot) = self.slots.get(&partition) else { return Vec::new() };
        let rows =
            slot.machine.stations().filter(|row| self.stations.contains_key(row.identity.as_str()));
        rows.map(|row| row.identity.clone()).collect()
    }

    /// Once a second.
    pub(super) fn tend_transfers(&mut self, partition: PartitionId) {
        let now = self.now;
        let leader = self.raft.leader(partition);
        let slot = self.slots.get_mut(&partition).expect("a group of this shard");
        let idle = |kept: &mut Kept| kept.sending.is_empty() && now.since(kept.used) >= KEPT_MAX;
        if let Some(kept) = slot.transfers.kept.take_if(idle) {
            self.raft.withdraw_snapshot(partition);
            self.remove_state(Some(kept.dir), None);
        }
        let slot = self.slots.get_mut(&partition).expect("a group of this shard");
        let Some(fetching) = slot.transfers.fetching.as_mut() else { return };
        let patience = if fetching.begun { FETCH_MAX } else { ASK_AGAIN };
        if now.since(fetching.asked) < patience {
            return;
        }
        // Its end was not heard, or it never began.
        fetching.begun = false;
        let (from, index) = (fetching.info.from, fetching.info.index);
        if leader.is_some_and(|leader| leader != from) {
            // Whoever leads now offers one of its own.
            self.give_up_fetching(partition);
            return;
        }
        fetching.asked = now;
        self.tell(from, Request::Fetch { partition, index });
    }
}

//! Who the members of a group are, and how that changes.
//!
//! Members travel in snapshots, changes in entries. Both have a byte form of our own, so that what a peer
//! sends is never read by a general decoder, and both are checked when they are read: what passes cannot
//! bring the raft crate to a halt.
//!
//! Invariants: lists are ascending and hold nobody twice; nobody votes and learns at once.

use novax_model::NodeId;
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
};

/// Members of a group at most, all lists together. Real groups have three or five voters.
pub const MEMBERS_MAX: usize = 32;
/// Changes in one entry at most.
pub const CHANGES_MAX: usize = 16;
const VERSION: u8 = 1;
const LISTS: usize = 4;

/// Who takes part in a group. The caller keeps it beside the state, in the same atomic write as the applied index of
/// the entry that brought it, and gives it back at the next start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    voters: Vec<NodeId>,
    learners: Vec<NodeId>,
    /// While a change of several voters is under way: the voters before it. A majority of both is needed.
    outgoing: Vec<NodeId>,
    /// Voters before the change that learn after it.
    learners_next: Vec<NodeId>,
    auto_leave: bool,
}

impl Members {
    /// A group of these voters and nobody else.
    #[must_use]
    pub fn of_voters(voters: &[NodeId]) -> Members {
        Members { voters: sorted(voters.to_vec()), ..Members::default() }
    }

    /// Those who vote, after the change that is under way if there is one.
    #[must_use]
    pub fn voters(&self) -> &[NodeId] {
        &self.voters
    }

    /// Those who follow without a vote.
    #[must_use]
    pub fn learners(&self) -> &[NodeId] {
        &self.learners
    }

    /// Those who voted before the change that is under way; empty when there is none.
    #[must_use]
    pub fn outgoing(&self) -> &[NodeId] {
        &self.outgoing
    }

    /// Whether a change of several voters is under way.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether nobody is known to be a member: so a node starts that has not heard of the group yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty()
    }

    /// Whether the node takes part, in whatever role.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.all().any(|member| member == node)
    }

    fn all(&self) -> impl Iterator<Item = NodeId> {
        self.voters.iter().chain(&self.learners).chain(&self.outgoing).copied()
    }

    pub(crate) fn is_sole_voter(&self, node: NodeId) -> bool {
        self.voters == [node] && self.outgoing.is_empty()
    }

    /// The bytes to keep, and those in a snapshot's message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, u8::from(self.auto_leave)];
        for list in [&self.voters, &self.learners, &self.outgoing, &self.learners_next] {
            bytes.push(u8::try_from(list.len()).expect("members are few"));
            for node in list {
                bytes.extend_from_slice(&node.get().to_le_bytes());
            }
        }
        bytes
    }

    /// Reads what [`Members::encode`] wrote; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Members> {
        let (&[version, auto_leave], mut rest) = bytes.split_first_chunk::<2>()?;
        if version != VERSION || auto_leave > 1 {
            return None;
        }
        let mut lists: [Vec<NodeId>; LISTS] = std::array::from_fn(|_| Vec::new());
        for list in &mut lists {
            let (count, after) = rest.split_first()?;
            rest = after;
            for _ in 0..usize::from(*count).min(MEMBERS_MAX + 1) {
                let (node, after) = rest.split_first_chunk::<8>()?;
                rest = after;
                list.push(NodeId::new(u64::from_le_bytes(*node))?);
            }
        }
        let [voters, learners, outgoing, learners_next] = lists;
        let auto_leave = auto_leave == 1;
        let members = Members { voters, learners, outgoing, learners_next, auto_leave };
        (rest.is_empty() && members.is_sound()).then_some(members)
    }

    /// Whether the raft crate takes it, and gives the same back.
    pub(crate) fn is_sound(&self) -> bool {
        let ascends = |list: &[NodeId]| list.is_sorted_by(|one, next| one < next);
        let lists = [&self.voters, &self.learners, &self.outgoing, &self.learners_next];
        let count: usize = lists.iter().map(|list| list.len()).sum();
        let lone = |node: &&NodeId| self.voters.contains(node) || self.outgoing.contains(node);
        if count > MEMBERS_MAX || !lists.iter().all(|list| ascends(list)) {
            return false;
        }
        if self.voters.is_empty() {
            return count == 0 && !self.auto_leave;
        }
        let back = |node: &NodeId| self.outgoing.contains(node) && !self.voters.contains(node);
        !self.learners.iter().any(|node| lone(&node))
            && self.learners_next.iter().all(back)
            && (self.is_joint() || !self.auto_leave)
    }

    pub(crate) fn from_raft(conf: &ConfState) -> Members {
        let list = |ids: &[u64]| sorted(ids.iter().filter_map(|id| NodeId::new(*id)).collect());
        Members {
            voters: list(&conf.voters),
            learners: list(&conf.learners),
            outgoing: list(&conf.voters_outgoing),
            learners_next: list(&conf.learners_next),
            auto_leave: conf.auto_leave,
        }
    }

    pub(crate) fn to_raft(&self) -> ConfState {
        let ids = |list: &[NodeId]| list.iter().map(|node| node.get()).collect::<Vec<u64>>();
        ConfState {
            voters: ids(&self.voters),
            learners: ids(&self.learners),
            voters_outgoing: ids(&self.outgoing),
            learners_next: ids(&self.learners_next),
            auto_leave: self.auto_leave,
            ..ConfState::default()
        }
    }
}

fn sorted(mut nodes: Vec<NodeId>) -> Vec<NodeId> {
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// One step of a change of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The node votes from then on. It should be a learner that has caught up before.
    AddVoter(NodeId),
    /// The node follows without a vote; a voter becomes a learner.
    AddLearner(NodeId),
    /// The node takes no part any more.
    Remove(NodeId),
}

impl Change {
    fn parts(self) -> (u8, NodeId, ConfChangeType) {
        match self {
            Change::AddVoter(node) => (0, node, ConfChangeType::AddNode),
            Change::AddLearner(node) => (1, node, ConfChangeType::AddLearnerNode),
            Change::Remove(node) => (2, node, ConfChangeType::RemoveNode),
        }
    }
}

/// The bytes of the changes in an entry. No changes at all: the step that ends a change of several voters; it has
/// no bytes.
pub(crate) fn encode_changes(changes: &[Change]) -> Vec<u8> {
    if changes.is_empty() {
        return Vec::new();
    }
    assert!(changes.len() <= CHANGES_MAX, "the caller has bounded them");
    let mut bytes = vec![VERSION, u8::try_from(changes.len()).expect("bounded above")];
    for change in changes {
        let (kind, node, _) = change.parts();
        bytes.push(kind);
        bytes.extend_from_slice(&node.get().to_le_bytes());
    }
    bytes
}

/// Reads what [`encode_changes`] wrote; `None` for anything else.
pub(crate) fn decode_changes(bytes: &[u8]) -> Option<Vec<Change>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let (&[version, count], mut rest) = bytes.split_first_chunk::<2>()?;
    let count = usize::from(count);
    if version != VERSION || count == 0 || count > CHANGES_MAX {
        return None;
    }
    let mut changes = Vec::with_capacity(count);
    for _ in 0..count {
        let (change, after) = rest.split_first_chunk::<9>()?;
        rest = after;
        let [kind, node @ ..] = *change;
        let node = NodeId::new(u64::from_le_bytes(node))?;
        changes.push(match kind {
            0 => Change::AddVoter(node),
            1 => Change::AddLearner(node),
            2 => Change::Remove(node),
            _ => return None,
        });
    }
    rest.is_empty().then_some(changes)
}

/// The changes as the raft crate takes them: through a joint state when it needs one, which it leaves by itself.
pub(crate) fn to_raft(changes: &[Change]) -> ConfChangeV2 {
    let single = |change: &Change| {
        let (_, node, kind) = change.parts();
        let mut single = ConfChangeSingle { node_id: node.get(), ..ConfChangeSingle::default() };
        single.set_change_type(kind);
        single
    };
    let mut all = ConfChangeV2::default();
    all.set_transition(ConfChangeTransition::Auto);
    all.set_changes(changes.iter().map(single).collect::<Vec<_>>().into());
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn n(number: u64) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    fn list(max: usize) -> impl Strategy<Value = Vec<NodeId>> {
        prop::collection::vec((1..12_u64).prop_map(n), 0..max).prop_map(sorted)
    }

    proptest! {
        #[test]
        fn members_read_back_and_the_raft_crate_takes_what_is_sound(
            voters in list(5), learners in list(3), outgoing in list(5), next in list(2), auto in any::<bool>(),
        ) {
            let members =
                Members { voters, learners, outgoing, learners_next: next, auto_leave: auto };
            let read = Members::decode(&members.encode());
            if members.is_sound() {
                prop_assert_eq!(read.as_ref(), Some(&members));
                let mut tracker = raft::ProgressTracker::new(1);
                // The same that the crate does with a snapshot.
                let conf = members.to_raft();
                let storage = raft::storage::MemStorage::new_with_conf_state(conf);
                let config = raft::Config { id: 99, ..raft::Config::default() };
                let logger = slog::Logger::root(slog::Discard, slog::o!());
                if !members.is_empty() {
                    let node = raft::RawNode::new(&config, storage, &logger).expect("a start");
                    let now = node.raft.prs().conf().to_conf_state();
                    prop_assert_eq!(Members::from_raft(&now), members);
                }
                tracker.reset_votes();
            } else {
                prop_assert_eq!(read, None);
            }
        }

        #[test]
        fn any_bytes_are_members_or_changes_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(members) = Members::decode(&bytes) {
                prop_assert_eq!(members.encode(), bytes.clone());
            }
            if let Some(changes) = decode_changes(&bytes) {
                prop_assert_eq!(encode_changes(&changes), bytes);
            }
        }
    }

    #[test]
    fn changes_read_back() {
        let changes =
            [Change::AddVoter(n(7)), Change::AddLearner(n(1 << 40)), Change::Remove(n(3))];
        assert_eq!(decode_changes(&encode_changes(&changes)).as_deref(), Some(&changes[..]));
        assert_eq!(decode_changes(&encode_changes(&[])).as_deref(), Some(&[][..]));
    }
}

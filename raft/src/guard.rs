//! What a message of a peer has to keep to before the raft crate sees it.
//!
//! The crate trusts its peers: an index nobody has, a state with senseless members or a vote that comes too
//! early ends the process. So each message is held against what this replica knows. What cannot be known from
//! here (that entries were committed, that a state is the right one) a peer can still lie about: it is
//! authenticated, and a Raft group is not proof against members that lie about the past.

use crate::error::Refused;
use crate::members::Members;
use crate::reads::is_context_of;
use crate::store::{GroupLog, entry_bytes};
use novax_model::NodeId;
use raft::eraftpb::{Message, MessageType};
use raft::{Raft, StateRole};

/// No index is ever larger: with a million entries a second it takes 36,000 years.
const INDEX_MAX: u64 = 1 << 60;
/// No term is ever larger.
const TERM_MAX: u64 = 1 << 56;
/// A peer is never so many elections ahead.
const TERM_JUMP_MAX: u64 = 1 << 32;
/// Reads a leader keeps at a time.
pub(crate) const READS_PENDING_MAX: usize = 4_096;

/// What a group knows that the raft crate does not.
pub(crate) struct Known {
    /// The largest entry.
    pub(crate) entry_bytes_max: usize,
    /// A state is being put in.
    pub(crate) installing: bool,
    /// Names this process in the reads it asks for.
    pub(crate) incarnation: u64,
}

/// Whether the message may be stepped.
pub(crate) fn check(raft: &Raft<GroupLog>, known: &Known, m: &Message) -> Result<(), Refused> {
    check_numbers(raft, m)?;
    let leads = raft.state == StateRole::Leader;
    let current = m.term >= raft.term;
    match m.get_msg_type() {
        MessageType::MsgAppend => {
            check_leader(raft, m)?;
            check_entries(known, m)
        }
        MessageType::MsgHeartbeat => {
            check_leader(raft, m)?;
            let knows = !current || m.commit <= raft.raft_log.last_index();
            ok_if(knows, Refused::Index)
        }
        MessageType::MsgSnapshot => {
            check_leader(raft, m)?;
            check_snapshot(raft, m)
        }
        MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse => {
            ok_if(raft.prs().get(m.from).is_some(), Refused::NotMember)?;
            ok_if(m.request_snapshot == 0, Refused::Index)?;
            let beyond = m.index > raft.raft_log.last_index();
            ok_if(!leads || m.reject || !beyond, Refused::Index)
        }
        MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => Ok(()),
        MessageType::MsgRequestVoteResponse | MessageType::MsgRequestPreVoteResponse => {
            // Votes are asked for when the log is durable, so nobody can have answered before.
            let log = &raft.raft_log;
            let asks = matches!(raft.state, StateRole::Candidate | StateRole::PreCandidate);
            ok_if(!asks || log.persisted == log.last_index(), Refused::TooEarly)
        }
        MessageType::MsgTimeoutNow => {
            let sole = raft.prs().is_singleton();
            ok_if(!known.installing && !sole, Refused::TooEarly)?;
            ok_if(m.term < raft.term || raft.leader_id == m.from, Refused::NotFromLeader)
        }
        MessageType::MsgReadIndex => {
            ok_if(leads, Refused::NotFromLeader)?;
            ok_if(raft.prs().get(m.from).is_some(), Refused::NotMember)?;
            let room = raft.read_only.pending_read_count() < READS_PENDING_MAX;
            let own = m.entries.first().is_some_and(|read| is_context_of(&read.data, m.from, None));
            ok_if(m.entries.len() == 1 && own && room, Refused::Read)
        }
        MessageType::MsgReadIndexResp => {
            ok_if(!leads && raft.leader_id == m.from, Refused::NotFromLeader)?;
            let asked = |data: &[u8]| is_context_of(data, raft.id, Some(known.incarnation));
            let own = m.entries.first().is_some_and(|read| asked(&read.data));
            ok_if(m.entries.len() == 1 && own, Refused::Read)
        }
        _ => Err(Refused::Kind),
    }
}

fn ok_if(right: bool, otherwise: Refused) -> Result<(), Refused> {
    if right { Ok(()) } else { Err(otherwise) }
}

fn check_numbers(raft: &Raft<GroupLog>, m: &Message) -> Result<(), Refused> {
    // The crate takes term 0 for a message of its own; requests to read have none.
    let untermed = m.get_msg_type() == MessageType::MsgReadIndex;
    let reachable = m.term <= TERM_MAX.min(raft.term.saturating_add(TERM_JUMP_MAX));
    ok_if((m.term == 0) == untermed && reachable, Refused::Term)?;
    let small = [m.index, m.commit, m.reject_hint].iter().all(|index| *index <= INDEX_MAX);
    ok_if(small, Refused::Index)?;
    ok_if(m.log_term <= TERM_MAX && m.commit_term <= TERM_MAX, Refused::Term)
}

/// A term has one leader, and it does not send entries to itself.
fn check_leader(raft: &Raft<GroupLog>, m: &Message) -> Result<(), Refused> {
    if m.term != raft.term {
        return Ok(());
    }
    let other = raft.leader_id != raft::INVALID_ID && raft.leader_id != m.from;
    ok_if(!other && raft.state != StateRole::Leader, Refused::NotFromLeader)
}

fn check_entries(known: &Known, m: &Message) -> Result<(), Refused> {
    let mut term = m.log_term;
    let mut index = m.index;
    for entry in &m.entries {
        ok_if(entry.index == index + 1, Refused::Index)?;
        ok_if(entry.term >= term && entry.term <= m.term, Refused::Term)?;
        ok_if(entry_bytes(entry) <= known.entry_bytes_max + 64, Refused::Entries)?;
        (term, index) = (entry.term, entry.index);
    }
    ok_if(index <= INDEX_MAX, Refused::Index)
}

fn check_snapshot(raft: &Raft<GroupLog>, m: &Message) -> Result<(), Refused> {
    let metadata = m.get_snapshot().get_metadata();
    ok_if(metadata.index > 0 && metadata.index <= INDEX_MAX, Refused::Index)?;
    ok_if(metadata.term > 0 && metadata.term <= m.term, Refused::Term)?;
    let members = Members::from_raft(metadata.get_conf_state());
    let me = NodeId::new(raft.id).expect("no node has number 0");
    let sound = members.is_sound() && !members.is_empty() && members.contains(me);
    ok_if(sound, Refused::Members)
}

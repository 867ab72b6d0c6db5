//! Messages between the replicas of a group, and their bytes: fixed fields, little-endian, nothing that a
//! general decoder has to read. The format is in `docs/formats/raft.md`.
//!
//! Invariants: reading takes any bytes, never panics, and allocates no more than the bytes are long; the same
//! message has one spelling. What a message *means* is judged where it is stepped, not here.

use crate::error::Refused;
use crate::members::{Members, decode_changes};
use crate::store::{carried, entry};
use bytes::Bytes;
use novax_log::{EntryKind, Position};
use novax_model::{NodeId, PartitionId};
use raft::eraftpb::{Entry, Message, MessageType, Snapshot};

/// A message is never larger: one entry of the largest size, and what stands around it.
pub const MESSAGE_BYTES_MAX: usize = 9 << 20;
/// Bytes before anything of variable length.
pub const MESSAGE_HEADER_BYTES: usize = 96;
const VERSION: u8 = 1;
const PARTITION_AT: usize = 8;
const FLAG_REJECT: u8 = 1;
const ENTRY_HEADER_BYTES: usize = 16;
const SNAPSHOT_HEADER_BYTES: usize = 16;
const CONTEXT_BYTES_MAX: usize = 64;

/// A message to the replica of a partition on another node, or from there.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerMessage {
    pub(crate) partition: PartitionId,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) message: Message,
}

/// The kinds that travel, by their number on the wire.
const KINDS: [(u8, MessageType); 12] = [
    (1, MessageType::MsgAppend),
    (2, MessageType::MsgAppendResponse),
    (3, MessageType::MsgRequestVote),
    (4, MessageType::MsgRequestVoteResponse),
    (5, MessageType::MsgSnapshot),
    (6, MessageType::MsgHeartbeat),
    (7, MessageType::MsgHeartbeatResponse),
    (8, MessageType::MsgTimeoutNow),
    (9, MessageType::MsgReadIndex),
    (10, MessageType::MsgReadIndexResp),
    (11, MessageType::MsgRequestPreVote),
    (12, MessageType::MsgRequestPreVoteResponse),
];

fn kind_number(kind: MessageType) -> Option<u8> {
    KINDS.iter().find(|(_, known)| *known == kind).map(|(number, _)| *number)
}

fn is_read(kind: MessageType) -> bool {
    matches!(kind, MessageType::MsgReadIndex | MessageType::MsgReadIndexResp)
}

impl PeerMessage {
    /// What the raft crate wants to send; `None` for what does not travel.
    pub(crate) fn new(partition: PartitionId, message: Message) -> Option<PeerMessage> {
        let (from, to) = (NodeId::new(message.from)?, NodeId::new(message.to)?);
        kind_number(message.get_msg_type())?;
        Some(PeerMessage { partition, from, to, message })
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The node it is from.
    #[must_use]
    pub fn from(&self) -> NodeId {
        self.from
    }

    /// The node it is for.
    #[must_use]
    pub fn to(&self) -> NodeId {
        self.to
    }

    /// What it is, for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.message.get_msg_type() {
            MessageType::MsgAppend => "append",
            MessageType::MsgAppendResponse => "append response",
            MessageType::MsgRequestVote => "vote",
            MessageType::MsgRequestVoteResponse => "vote response",
            MessageType::MsgSnapshot => "snapshot",
            MessageType::MsgHeartbeat => "heartbeat",
            MessageType::MsgHeartbeatResponse => "heartbeat response",
            MessageType::MsgTimeoutNow => "timeout now",
            MessageType::MsgReadIndex => "read index",
            MessageType::MsgReadIndexResp => "read index response",
            MessageType::MsgRequestPreVote => "pre-vote",
            MessageType::MsgRequestPreVoteResponse => "pre-vote response",
            _ => "local",
        }
    }

    /// Whether it carries entries: the larger and less urgent kind.
    #[must_use]
    pub fn carries_entries(&self) -> bool {
        !self.message.entries.is_empty()
    }

    /// Adds the message's bytes to the end of `out`. Several may stand one after another.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let at = out.len();
        let m = &self.message;
        let kind = m.get_msg_type();
        let context: &[u8] = match m.entries.first() {
            Some(read) if is_read(kind) => &read.data,
            _ => &m.context,
        };
        let entries: &[Entry] = if is_read(kind) { &[] } else { &m.entries };
        let members = (kind == MessageType::MsgSnapshot)
            .then(|| Members::from_raft(m.get_snapshot().get_metadata().get_conf_state()).encode());
        let count =
            |count: usize| u32::try_from(count).expect("the raft crate's limits keep it small");
        out.extend_from_slice(&[0; 4]);
        out.push(VERSION);
        out.push(kind_number(kind).expect("only such are made"));
        out.push(if m.reject { FLAG_REJECT } else { 0 });
        out.push(0);
        out.extend_from_slice(&self.partition.0.to_le_bytes());
        out.extend_from_slice(
            &u16::try_from(context.len()).expect("contexts are ours").to_le_bytes(),
        );
        out.extend_from_slice(&count(entries.len()).to_le_bytes());
        let fields =
            [m.from, m.to, m.term, m.log_term, m.index, m.commit, m.commit_term, m.reject_hint];
        for field in fields {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&m.priority.to_le_bytes());
        out.extend_from_slice(&count(members.as_ref().map_or(0, Vec::len)).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        assert_eq!(out.len() - at, MESSAGE_HEADER_BYTES, "the header is as long as it says");
        out.extend_from_slice(context);
        if let Some(members) = members {
            let metadata = m.get_snapshot().get_metadata();
            out.extend_from_slice(&metadata.index.to_le_bytes());
            out.extend_from_slice(&metadata.term.to_le_bytes());
            out.extend_from_slice(&members);
        }
        for entry in entries {
            let (kind, data) = carried(entry);
            out.extend_from_slice(&entry.term.to_le_bytes());
            out.extend_from_slice(&count(data.len()).to_le_bytes());
            out.push(u8::from(kind == EntryKind::Change));
            out.extend_from_slice(&[0; 3]);
            out.extend_from_slice(data);
        }
        let bytes = count(out.len() - at);
        out[at..at + 4].copy_from_slice(&bytes.to_le_bytes());
    }

    /// Reads a message off the front of `bytes`.
    ///
    /// # Errors
    /// [`Refused::Malformed`] when there is none; what follows cannot be found then.
    pub fn decode(bytes: &mut &[u8]) -> Result<PeerMessage, Refused> {
        read(bytes).ok_or(Refused::Malformed)
    }
}

/// The partition of the first message in `bytes`: whose shard is to have it. Nothing else of it is checked.
#[must_use]
pub fn partition_of(bytes: &[u8]) -> Option<PartitionId> {
    let partition = bytes.get(PARTITION_AT..PARTITION_AT + 2)?;
    Some(PartitionId(u16::from_le_bytes(partition.try_into().ok()?)))
}

/// Takes bytes off the front, as long as there are any.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.array()?)).ok()
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

fn read(bytes: &mut &[u8]) -> Option<PeerMessage> {
    let length = Reader(bytes).count()?;
    if length > MESSAGE_BYTES_MAX {
        return None;
    }
    let (message, rest) = bytes.split_at_checked(length)?;
    let read = read_one(message.get(4..)?)?;
    *bytes = rest;
    Some(read)
}

fn read_one(bytes: &[u8]) -> Option<PeerMessage> {
    let mut reader = Reader(bytes);
    let [version, kind, flags, zero] = reader.array()?;
    let (_, kind) = *KINDS.iter().find(|(number, _)| *number == kind)?;
    if version != VERSION || flags & !FLAG_REJECT != 0 || zero != 0 {
        return None;
    }
    let partition = PartitionId(reader.u16()?);
    let context_bytes = usize::from(reader.u16()?);
    let entry_count = reader.count()?;
    let (from, to) = (NodeId::new(reader.u64()?)?, NodeId::new(reader.u64()?)?);
    let mut message = Message { from: from.get(), to: to.get(), ..Message::default() };
    message.set_msg_type(kind);
    message.reject = flags & FLAG_REJECT != 0;
    message.term = reader.u64()?;
    message.log_term = reader.u64()?;
    message.index = reader.u64()?;
    message.commit = reader.u64()?;
    message.commit_term = reader.u64()?;
    message.reject_hint = reader.u64()?;
    message.priority = i64::from_le_bytes(reader.array()?);
    let members_bytes = reader.count()?;
    let padding: [u8; 4] = reader.array()?;
    if padding != [0; 4] || context_bytes > CONTEXT_BYTES_MAX {
        return None;
    }
    let context = Bytes::copy_from_slice(reader.take(context_bytes)?);
    if is_read(kind) {
        let request = Entry { data: context, ..Entry::default() };
        message.set_entries(vec![request].into());
    } else {
        message.context = context;
    }
    if kind == MessageType::MsgSnapshot {
        message.set_snapshot(read_snapshot(&mut reader, members_bytes)?);
    } else if members_bytes != 0 {
        return None;
    }
    if entry_count > 0 {
        let append = kind == MessageType::MsgAppend;
        let entries = append.then(|| read_entries(&mut reader, message.index, entry_count))??;
        message.set_entries(entries.into());
    }
    reader.0.is_empty().then_some(PeerMessage { partition, from, to, message })
}

fn read_snapshot(reader: &mut Reader<'_>, members_bytes: usize) -> Option<Snapshot> {
    const _: () = assert!(SNAPSHOT_HEADER_BYTES == 16, "index and term");
    let (index, term) = (reader.u64()?, reader.u64()?);
    let members = Members::decode(reader.take(members_bytes)?)?;
    let mut snapshot = Snapshot::default();
    let metadata = snapshot.mut_metadata();
    metadata.index = index;
    metadata.term = term;
    metadata.set_conf_state(members.to_raft());
    Some(snapshot)
}

fn read_entries(reader: &mut Reader<'_>, before: u64, count: usize) -> Option<Vec<Entry>> {
    // Each takes at least its header, so that the count cannot ask for more memory than there are bytes.
    if count > reader.0.len() / ENTRY_HEADER_BYTES {
        return None;
    }
    let mut entries = Vec::with_capacity(count);
    let mut index = before;
    for _ in 0..count {
        index = index.checked_add(1)?;
        let term = reader.u64()?;
        let bytes = reader.count()?;
        let kind = match reader.array()? {
            [0, 0, 0, 0] => EntryKind::Command,
            [1, 0, 0, 0] => EntryKind::Change,
            _ => return None,
        };
        let data = reader.take(bytes)?;
        if kind == EntryKind::Change {
            decode_changes(data)?;
        }
        entries.push(entry(Position { index, term }, kind, Bytes::copy_from_slice(data)));
    }
    Some(entries)
}

/// Messages of every kind, for the fixture and the property tests.
#[cfg(test)]
pub(crate) mod samples {
    use super::*;
    use crate::members::{Change, encode_changes};

    pub(crate) fn n(number: u64) -> NodeId {
        NodeId::new(number).expect("not 0")
    }

    pub(crate) fn plain(kind: MessageType) -> Message {
        let mut message = Message { from: 2, to: 3, term: 7, ..Message::default() };
        message.set_msg_type(kind);
        message
    }

    pub(crate) fn all() -> Vec<PeerMessage> {
        let mut messages = Vec::new();
        for (_, kind) in KINDS {
            let mut message = plain(kind);
            match kind {
                MessageType::MsgAppend => {
                    (message.index, message.log_term, message.commit) = (40, 6, 39);
                    let at = |index| Position { index, term: 7 };
                    let change = encode_changes(&[Change::AddLearner(n(4))]);
                    let entries = vec![
                        entry(at(41), EntryKind::Command, Bytes::from_static(b"hold 500")),
                        entry(at(42), EntryKind::Change, change.into()),
                        entry(at(43), EntryKind::Command, Bytes::new()),
                    ];
                    message.set_entries(entries.into());
                }
                MessageType::MsgAppendResponse => {
                    (message.index, message.reject, message.reject_hint) = (41, true, 12);
                }
                MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => {
                    (message.commit, message.commit_term, message.priority) = (39, 6, -2);
                    message.context = Bytes::from_static(b"CampaignTransfer");
                }
                MessageType::MsgSnapshot => {
                    let metadata = message.mut_snapshot().mut_metadata();
                    (metadata.index, metadata.term) = (38, 5);
                    metadata.set_conf_state(Members::of_voters(&[n(1), n(2), n(3)]).to_raft());
                }
                MessageType::MsgReadIndex | MessageType::MsgReadIndexResp => {
                    let data = Bytes::from_static(&[9; 24]);
                    message.set_entries(vec![Entry { data, ..Entry::default() }].into());
                }
                _ => {}
            }
            messages.extend(PeerMessage::new(PartitionId(17), message));
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write as _;

    fn encode(message: &PeerMessage) -> Vec<u8> {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        bytes
    }

    #[test]
    fn messages_of_each_kind_read_back_one_after_another() {
        let messages = samples::all();
        assert_eq!(messages.len(), KINDS.len());
        let bytes: Vec<u8> = messages.iter().flat_map(encode).collect();
        let mut rest = bytes.as_slice();
        for message in &messages {
            assert_eq!(partition_of(rest), Some(message.partition()));
            assert_eq!(PeerMessage::decode(&mut rest).as_ref(), Ok(message));
        }
        assert!(rest.is_empty());
    }

    /// Any change of the format is a new version. `UPDATE_FIXTURES=1` writes the file anew.
    #[test]
    fn messages_are_spelled_as_ever() {
        let mut text = String::new();
        for message in samples::all() {
            write!(text, "{}:", message.kind()).unwrap();
            for (at, byte) in encode(&message).iter().enumerate() {
                let gap = if at % 32 == 0 {
                    "\n  "
                } else if at % 8 == 0 {
                    " "
                } else {
                    ""
                };
                write!(text, "{gap}{byte:02x}").unwrap();
            }
            text.push('\n');
        }
        let file =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/messages-v1.txt");
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(file).unwrap());
    }

    #[test]
    fn what_is_cut_off_is_no_message() {
        for message in samples::all() {
            let bytes = encode(&message);
            for length in 0..bytes.len() {
                let mut rest = &bytes[..length];
                assert_eq!(PeerMessage::decode(&mut rest), Err(Refused::Malformed));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn changed_bytes_are_another_message_in_its_one_spelling_or_none(
            which in 0..KINDS.len(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut bytes = encode(&samples::all()[which]);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let mut rest = bytes.as_slice();
            if let Ok(message) = PeerMessage::decode(&mut rest) {
                let read = bytes.len() - rest.len();
                prop_assert_eq!(encode(&message), &bytes[..read]);
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut rest = bytes.as_slice();
            while PeerMessage::decode(&mut rest).is_ok() {}
        }
    }
}

//! Raft's messages as bytes: fixed fields, little-endian, bounded. `docs/formats/peer.md` has the table.
//!
//! Our own format and no protobuf, so that what comes from a network meets a parser that allocates no more
//! than it was sent and cannot recurse.

use crate::error::BadMessage;
use novax_model::PartitionId;
use raft::eraftpb::{Entry, EntryType, Message, MessageType};

/// Version of the format: the first byte of every message.
const VERSION: u8 = 1;
/// Version, type, partition, length of what follows; then ten numbers, the counts of context and entries.
const FIXED_LEN: usize = 8 + 10 * 8 + 4 + 4;
/// What an entry has beside its data: type, length, term, index.
const ENTRY_HEAD_LEN: usize = 8 + 8 + 8;
/// Bytes of a context: read-index requests name themselves by it.
const CONTEXT_BYTES_MAX: usize = 64;
const REJECT: u8 = 1 << 7;

/// The kinds of messages that replicas send each other, and their numbers.
const KINDS: [(u8, MessageType); 12] = [
    (1, MessageType::MsgAppend),
    (2, MessageType::MsgAppendResponse),
    (3, MessageType::MsgHeartbeat),
    (4, MessageType::MsgHeartbeatResponse),
    (5, MessageType::MsgRequestVote),
    (6, MessageType::MsgRequestVoteResponse),
    (7, MessageType::MsgRequestPreVote),
    (8, MessageType::MsgRequestPreVoteResponse),
    (9, MessageType::MsgTimeoutNow),
    (10, MessageType::MsgTransferLeader),
    (11, MessageType::MsgReadIndex),
    (12, MessageType::MsgReadIndexResp),
];
const ENTRY_NORMAL: u32 = 0;

/// Adds a message to `out`.
pub(crate) fn encode(partition: PartitionId, message: &Message, out: &mut Vec<u8>) {
    assert!(!message.has_snapshot(), "snapshots go another way");
    let start = out.len();
    let known = KINDS.iter().find(|(_, kind)| *kind == message.get_msg_type());
    let (kind, _) = *known.expect("replicas send each other no other kinds");
    out.push(VERSION);
    out.push(kind | if message.reject { REJECT } else { 0 });
    out.extend_from_slice(&partition.0.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    for field in [
        message.to,
        message.from,
        message.term,
        message.log_term,
        message.index,
        message.commit,
        message.commit_term,
        message.reject_hint,
        message.request_snapshot,
        message.priority.cast_unsigned(),
    ] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    put_len(message.context.len(), out);
    put_len(message.entries.len(), out);
    out.extend_from_slice(&message.context);
    for entry in &message.entries {
        assert_eq!(entry.get_entry_type(), EntryType::EntryNormal, "membership is not changed yet");
        out.extend_from_slice(&ENTRY_NORMAL.to_le_bytes());
        put_len(entry.data.len(), out);
        out.extend_from_slice(&entry.term.to_le_bytes());
        out.extend_from_slice(&entry.index.to_le_bytes());
        out.extend_from_slice(&entry.data);
    }
    let body = u32::try_from(out.len() - start - 8).expect("messages are bounded far below 4 GiB");
    out[start + 4..start + 8].copy_from_slice(&body.to_le_bytes());
}

fn put_len(len: usize, out: &mut Vec<u8>) {
    let len = u32::try_from(len).expect("messages are bounded far below 4 GiB");
    out.extend_from_slice(&len.to_le_bytes());
}

/// The partition of the first message in `bytes`, and how long that message is: what a node needs to hand it to the
/// right shard.
#[must_use]
pub fn partition_of(bytes: &[u8]) -> Option<(PartitionId, usize)> {
    let &[VERSION, _, p0, p1, l0, l1, l2, l3] = bytes.first_chunk::<8>()? else { return None };
    let body = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).ok()?;
    let len = body.checked_add(8).filter(|len| *len <= bytes.len())?;
    Some((PartitionId(u16::from_le_bytes([p0, p1])), len))
}

/// Takes a message off the front of `bytes`. On an error nothing of them can be trusted any more.
pub(crate) fn decode(bytes: &mut &[u8]) -> Result<(PartitionId, Message), BadMessage> {
    let (partition, len) =
        partition_of(bytes).ok_or(BadMessage::Format("cut short or of another version"))?;
    if len < FIXED_LEN {
        return Err(BadMessage::Format("shorter than its fields"));
    }
    let (message, rest) = bytes.split_at(len);
    let message = decode_one(message)?;
    *bytes = rest;
    Ok((partition, message))
}

fn decode_one(bytes: &[u8]) -> Result<Message, BadMessage> {
    let kind = bytes[1] & !REJECT;
    let known = KINDS.iter().find(|(number, _)| *number == kind);
    let (_, msg_type) = *known.ok_or(BadMessage::Format("its kind is unknown"))?;
    let mut fields = &bytes[8..FIXED_LEN];
    let mut number = || {
        let (first, rest) = fields.split_first_chunk::<8>().expect("of fixed length");
        fields = rest;
        u64::from_le_bytes(*first)
    };
    let mut message = Message {
        to: number(),
        from: number(),
        term: number(),
        log_term: number(),
        index: number(),
        commit: number(),
        commit_term: number(),
        reject_hint: number(),
        request_snapshot: number(),
        priority: number().cast_signed(),
        reject: bytes[1] & REJECT != 0,
        ..Message::default()
    };
    message.set_msg_type(msg_type);
    let counts = number();
    let context = usize::try_from(counts & u64::from(u32::MAX)).expect("32 bits");
    let entries = usize::try_from(counts >> 32).expect("32 bits");
    let rest = &bytes[FIXED_LEN..];
    if context > CONTEXT_BYTES_MAX || entries > rest.len() / ENTRY_HEAD_LEN {
        return Err(BadMessage::Format("it counts more than it has"));
    }
    let (context, mut rest) =
        rest.split_at_checked(context).ok_or(BadMessage::Format("its context is cut short"))?;
    message.context = context.to_vec().into();
    for _ in 0..entries {
        message.entries.push(decode_entry(&mut rest)?);
    }
    if !rest.is_empty() {
        return Err(BadMessage::Format("something follows it"));
    }
    Ok(message)
}

fn decode_entry(rest: &mut &[u8]) -> Result<Entry, BadMessage> {
    let cut = || BadMessage::Format("an entry is cut short");
    let (head, body) = rest.split_first_chunk::<ENTRY_HEAD_LEN>().ok_or_else(cut)?;
    let (kind, head) = head.split_first_chunk::<4>().expect("of fixed length");
    let (len, head) = head.split_first_chunk::<4>().expect("of fixed length");
    let (term, index) = head.split_first_chunk::<8>().expect("of fixed length");
    let index: [u8; 8] = index.try_into().expect("of fixed length");
    if u32::from_le_bytes(*kind) != ENTRY_NORMAL {
        return Err(BadMessage::Format("an entry of unknown kind"));
    }
    let len = usize::try_from(u32::from_le_bytes(*len)).expect("32 bits");
    let (data, after) = body.split_at_checked(len).ok_or_else(cut)?;
    *rest = after;
    Ok(Entry {
        term: u64::from_le_bytes(*term),
        index: u64::from_le_bytes(index),
        data: data.to_vec().into(),
        ..Entry::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message() -> impl Strategy<Value = Message> {
        let kind = prop_oneof![
            Just(MessageType::MsgAppend),
            Just(MessageType::MsgAppendResponse),
            Just(MessageType::MsgHeartbeat),
            Just(MessageType::MsgRequestPreVote),
            Just(MessageType::MsgReadIndexResp),
        ];
        let numbers = prop::collection::vec(any::<u64>(), 9);
        let entries = prop::collection::vec(
            (any::<u64>(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..40)),
            0..5,
        );
        let context = prop::collection::vec(any::<u8>(), 0..=CONTEXT_BYTES_MAX);
        (kind, numbers, any::<i64>(), any::<bool>(), entries, context).prop_map(
            |(kind, numbers, priority, reject, entries, context)| {
                let mut message = Message {
                    to: numbers[0],
                    from: numbers[1],
                    term: numbers[2],
                    log_term: numbers[3],
                    index: numbers[4],
                    commit: numbers[5],
                    commit_term: numbers[6],
                    reject_hint: numbers[7],
                    request_snapshot: numbers[8],
                    priority,
                    reject,
                    context: context.into(),
                    ..Message::default()
                };
                message.set_msg_type(kind);
                for (term, index, data) in entries {
                    let data = data.into();
                    message.entries.push(Entry { term, index, data, ..Entry::default() });
                }
                message
            },
        )
    }

    proptest! {
        #[test]
        fn messages_come_back_as_they_were(all in prop::collection::vec((any::<u16>(), message()), 0..4)) {
            let mut bytes = Vec::new();
            for (partition, message) in &all {
                encode(PartitionId(*partition), message, &mut bytes);
            }
            let mut rest = bytes.as_slice();
            for (partition, message) in &all {
                let (at, len) = partition_of(rest).expect("a message");
                prop_assert_eq!(at, PartitionId(*partition));
                let before = rest.len();
                let (heard, said) = decode(&mut rest).expect("sound");
                prop_assert_eq!((heard, &said), (at, message));
                prop_assert_eq!(before - rest.len(), len);
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn any_bytes_are_messages_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() && decode(&mut rest).is_ok() {}
        }

        #[test]
        fn what_is_cut_short_or_changed_is_no_panic(message in message(), at: prop::sample::Index, flip: u8) {
            let mut bytes = Vec::new();
            encode(PartitionId(1), &message, &mut bytes);
            prop_assert!(decode(&mut &bytes[..at.index(bytes.len())]).is_err());
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let _ = decode(&mut bytes.as_slice());
        }
    }
}

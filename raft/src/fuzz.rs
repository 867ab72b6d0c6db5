//! The entry of the fuzz target, here so that plain tests can run its corpus without a fuzzer.

use crate::members::Members;
use crate::wire::{PeerMessage, partition_of};

/// Any bytes as messages of another replica, and as the members of a group. Claimed is, beside that nothing panics:
/// they are messages in their one spelling, or none.
///
/// # Panics
/// When a claim does not hold.
pub fn fuzz_message(data: &[u8]) {
    let mut rest = data;
    while !rest.is_empty() {
        let before = rest;
        let Ok(message) = PeerMessage::decode(&mut rest) else { break };
        assert_eq!(partition_of(before), Some(message.partition()));
        let mut again = Vec::new();
        message.encode(&mut again);
        assert_eq!(again, before[..before.len() - rest.len()]);
    }
    if let Some(members) = Members::decode(data) {
        assert_eq!(members.encode(), data);
    }
}

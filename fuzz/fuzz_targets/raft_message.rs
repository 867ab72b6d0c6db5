//! Messages between replicas: any bytes are messages in their one spelling, or none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use novax_raft::{Members, PeerMessage, partition_of};

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while !rest.is_empty() {
        let before = rest;
        let Ok(message) = PeerMessage::decode(&mut rest) else { break };
        assert_eq!(partition_of(before), Some(message.partition()));
        let mut again = Vec::new();
        message.encode(&mut again);
        assert_eq!(again, before[..before.len() - rest.len()]);
    }
    if let Some(members) = Members::decode(bytes) {
        assert_eq!(members.encode(), bytes);
    }
});

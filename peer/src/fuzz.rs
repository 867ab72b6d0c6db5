//! Entry points for fuzzing: what is claimed of bytes from a stranger, checked for any bytes.

use crate::connection::{Connection, Event, Local, Side, Timing};
use crate::hello::Hello;
use crate::id::{ClusterId, RunId};
use bytes::BytesMut;
use novax_model::NodeId;
use std::time::Instant;

/// Any bytes, in pieces cut where their first byte says, are events or a refusal: no panic, and nothing is handed
/// on that is larger than what came.
pub fn fuzz_link(data: &[u8]) {
    let Some((&cut, data)) = data.split_first() else { return };
    let (now, cluster) = (Instant::now(), ClusterId([7; 16]));
    let node = |number| NodeId::new(number).expect("not zero");
    let local = Local::new(cluster, node(2), RunId(1), 1..=1);
    let mut connection = Connection::new(&local, Side::Called, Timing::default(), now);
    let hello = Hello {
        versions: local.versions.clone(),
        state_versions: 1..=1,
        cluster,
        node: node(1),
        to: None,
        run: RunId(3),
    };
    // An even first byte greets in order, so that what follows is read as frames.
    let mut input = BytesMut::new();
    if cut % 2 == 0 {
        input.extend_from_slice(&hello.encode());
    }
    let mut events = Vec::new();
    for piece in data.chunks(usize::from(cut) + 1) {
        input.extend_from_slice(piece);
        loop {
            if connection.handle_input(now, &mut input, &mut events).is_err() {
                assert!(!connection.is_open(), "a refusal ends the link");
                return;
            }
            let greeted = events.iter().any(|event| matches!(event, Event::Greeted(_)));
            for event in events.drain(..) {
                if let Event::Message(message) = event {
                    assert!(message.len() <= data.len(), "more was handed on than came");
                }
            }
            if !greeted {
                break;
            }
            connection.admit(now);
        }
        connection.fill(&mut Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_bytes_are_events_or_a_refusal(data in prop::collection::vec(any::<u8>(), 0..400)) {
            super::fuzz_link(&data);
        }
    }
}

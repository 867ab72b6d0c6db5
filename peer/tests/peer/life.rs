//! Links that carry messages, end, and come again.

use crate::support::{
    CLUSTER, Certificates, Heard, LONG, Setup, assert_linked, cluster, link, node, pause, raft,
};
use novax_peer::{Lane, Message, Refusal, RunId, SendError};
use std::time::{Duration, Instant};

#[test]
fn three_nodes_talk_over_one_connection_a_pair() {
    let certificates = Certificates::new(CLUSTER);
    let nodes = cluster(&certificates, 3);
    for (one, other) in [(1, 2), (1, 3), (2, 3)] {
        assert_linked(&nodes[one - 1], one as u64, &nodes[other - 1], other as u64);
    }
    for one in &nodes {
        let status = one.links.status();
        assert_eq!(status.links.len(), 2);
        assert!(status.links.iter().all(|link| link.connects == 1), "{status:?}");
        let unrefused = status.refusals.iter().filter(|(kind, _)| *kind != Refusal::Lost);
        assert_eq!(unrefused.map(|(_, count)| count).sum::<u64>(), 0, "{status:?}");
    }
}

#[test]
fn requests_answers_and_large_messages_come_whole_and_in_order() {
    let certificates = Certificates::new(CLUSTER);
    let nodes = cluster(&certificates, 2);
    let body = |len: usize, fill: u8| bytes::Bytes::from(vec![fill; len]);
    let sizes = [0, 1, 1_000, 128 << 10, (128 << 10) + 1, 5 << 20, 16 << 10];
    let sent: Vec<Message> = (0_u8..)
        .zip(sizes)
        .map(|(at, len)| Message::Request { token: u64::from(at), body: body(len, at) })
        .collect();
    for message in &sent {
        nodes[0].links.send(node(2), message.clone()).expect("there is room");
    }
    let mut got = Vec::new();
    while got.len() < sent.len() {
        let Heard::Message(from, Message::Request { token, body }) = nodes[1].next() else {
            continue;
        };
        assert_eq!(from, node(1));
        let answer = Message::Answer { token, body: body.slice(..body.len().min(3)) };
        nodes[1].links.send(node(1), answer).expect("there is room");
        got.push(Message::Request { token, body });
    }
    assert_eq!(got, sent);
    for (at, len) in (0_u8..).zip(sizes) {
        let wanted = Message::Answer { token: u64::from(at), body: body(len.min(3), at) };
        assert_eq!(nodes[0].next(), Heard::Message(node(2), wanted));
    }
}

#[test]
fn a_link_that_was_cut_comes_again_and_both_sides_hear_of_it() {
    let certificates = Certificates::new(CLUSTER);
    let nodes = cluster(&certificates, 3);
    for round in 0..3 {
        // Each side once ends it.
        let (ends, is, hears, other) = if round % 2 == 0 {
            (&nodes[0], 1, &nodes[1], 2)
        } else {
            (&nodes[1], 2, &nodes[0], 1)
        };
        ends.links.disconnect(node(other)).expect("it is a peer");
        assert_eq!(ends.wait_down(other), Refusal::Closed);
        assert_eq!(hears.wait_down(is), Refusal::Closed);
        ends.wait_up(other);
        hears.wait_up(is);
        assert_linked(&nodes[0], 1, &nodes[1], 2);
    }
    let status = nodes[2].links.status();
    assert!(status.links.iter().all(|link| link.connects == 1), "others were not disturbed");
}

#[test]
fn a_node_that_stops_is_missed_at_once_and_found_again_where_it_is() {
    let certificates = Certificates::new(CLUSTER);
    let mut nodes = cluster(&certificates, 2);
    let second = nodes.pop().expect("two");
    drop(second);
    assert_eq!(nodes[0].wait_down(2), Refusal::Closed);
    assert_eq!(nodes[0].links.send(node(2), raft(b"x")), Err(SendError::Down));
    let mut setup = Setup::new(certificates.of(2));
    setup.config.run = RunId(8);
    let again = setup.start();
    let peers = [(node(1), nodes[0].address()), (node(2), again.address())];
    again.links.set_peers(&peers);
    nodes[0].links.set_peers(&peers);
    let up = nodes[0].wait_for(|heard| matches!(heard, Heard::Up(..)));
    assert_eq!(up, Heard::Up(node(2), RunId(8)));
    again.wait_up(1);
    assert_linked(&nodes[0], 1, &again, 2);
}

#[test]
fn a_peer_that_was_taken_out_is_refused_and_unknown() {
    let certificates = Certificates::new(CLUSTER);
    let nodes = cluster(&certificates, 3);
    let left = [(node(2), nodes[1].address()), (node(3), nodes[2].address())];
    nodes[1].links.set_peers(&left);
    assert_eq!(nodes[1].wait_down(1), Refusal::Closed);
    assert_eq!(nodes[0].wait_down(2), Refusal::Closed);
    assert_eq!(nodes[1].links.send(node(1), raft(b"x")), Err(SendError::Unknown));
    // Node 1 still thinks it is a peer: it calls, and hears that it is none.
    nodes[1].wait_refused(Refusal::Stranger, 1);
    let until = Instant::now() + LONG;
    let ended = || nodes[0].links.status().link(node(2)).and_then(|link| link.ended);
    while ended() != Some(Refusal::Stranger) {
        assert!(Instant::now() < until, "it does not hear why: {:?}", ended());
        pause();
    }
    assert_linked(&nodes[1], 2, &nodes[2], 3);
    // And in again.
    let all = [(node(1), nodes[0].address()), left[0].clone(), left[1].clone()];
    nodes[1].links.set_peers(&all);
    nodes[1].wait_up(1);
    nodes[0].wait_up(2);
    assert_linked(&nodes[0], 1, &nodes[1], 2);
}

#[test]
fn a_flood_is_carried_whole_while_lanes_that_are_full_say_so() {
    let certificates = Certificates::new(CLUSTER);
    let nodes = cluster(&certificates, 2);
    let (sender, receiver) = (&nodes[0], &nodes[1]);
    let outbox = sender.links.outbox(node(2)).expect("it is a peer");
    let (mut sent, mut full) = (0_u64, 0_u64);
    let body = vec![7; 8 << 10];
    let began = Instant::now();
    while sent < 5_000 || full == 0 {
        let token = sent.to_le_bytes();
        let message = Message::Request { token: sent, body: [&token[..], &body].concat().into() };
        match outbox.send(message) {
            Ok(()) => sent += 1,
            Err(SendError::Full) => {
                full += 1;
                pause();
            }
            Err(error) => panic!("{error}"),
        }
        assert!(began.elapsed() < 3 * LONG, "{sent} sent, {full} times full");
        if sent >= 20_000 {
            break;
        }
    }
    for token in 0..sent {
        match receiver.next() {
            Heard::Message(_, Message::Request { token: got, .. }) => assert_eq!(got, token),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(sender.links.status().link(node(2)).expect("a peer").full, full);
}

#[test]
fn a_message_that_is_too_large_is_refused_before_it_is_taken() {
    let certificates = Certificates::new(CLUSTER);
    let nodes = cluster(&certificates, 2);
    let max = Lane::Request.message_bytes_max();
    let message = Message::Request { token: 1, body: vec![0; max].into() };
    assert_eq!(nodes[0].links.send(node(2), message), Err(SendError::TooLarge { max }));
    assert_linked(&nodes[0], 1, &nodes[1], 2);
}

#[test]
fn round_trips_are_measured() {
    let certificates = Certificates::new(CLUSTER);
    let nodes = cluster(&certificates, 2);
    let until = Instant::now() + LONG;
    let measured = || {
        let status = nodes[0].links.status();
        status.link(node(2)).is_some_and(|link| link.round_trip > Duration::ZERO)
    };
    while !measured() {
        assert!(Instant::now() < until, "no ping came back");
        pause();
    }
}

#[test]
fn nodes_that_have_no_version_of_the_state_in_common_do_not_link_and_know_why() {
    let certificates = Certificates::new(CLUSTER);
    let old = Setup::new(certificates.of(1)).start();
    let mut setup = Setup::new(certificates.of(2));
    setup.config.state_versions = 2..=3;
    let new = setup.start();
    let peers = [(node(1), old.address()), (node(2), new.address())];
    old.links.set_peers(&peers);
    new.links.set_peers(&peers);
    new.wait_refused(Refusal::StateVersion, 1);
    // A build that speaks both links with each.
    let mut setup = Setup::new(certificates.of(3));
    setup.config.state_versions = 1..=2;
    let both = setup.start();
    let peers = [peers[0].clone(), peers[1].clone(), (node(3), both.address())];
    for one in [&old, &new, &both] {
        one.links.set_peers(&peers);
    }
    old.wait_up(3);
    new.wait_up(3);
    both.wait_for(|heard| matches!(heard, Heard::Up(..)));
    both.wait_for(|heard| matches!(heard, Heard::Up(..)));
    assert_linked(&old, 1, &both, 3);
    assert_linked(&new, 2, &both, 3);
}

#[test]
fn a_pair_links_whoever_hears_of_the_other_first() {
    let certificates = Certificates::new(CLUSTER);
    let nodes: Vec<_> = (1..=2).map(|number| Setup::new(certificates.of(number)).start()).collect();
    // The caller knows first: it is a stranger until the other knows too.
    nodes[0].links.set_peers(&[(node(2), nodes[1].address())]);
    nodes[1].wait_refused(Refusal::Stranger, 1);
    link(&nodes);
    assert_linked(&nodes[0], 1, &nodes[1], 2);
}

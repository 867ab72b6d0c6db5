//! Snapshots: whole, paced, resumed, refused.

use crate::support::{
    CLUSTER, Certificates, Disk, Heard, Node, Setup, assert_linked, link, made_byte, node, pause,
    raft, snapshot,
};
use novax_peer::net::{Snapshot, SnapshotSource};
use novax_peer::{Refusal, SnapshotId};
use std::io;
use std::time::{Duration, Instant};

/// A sender with this pace, and a receiver with a disk.
fn pair(bytes_per_s: u64) -> (Certificates, Vec<Node>, Disk) {
    let certificates = Certificates::new(CLUSTER);
    let mut sender = Setup::new(certificates.of(1));
    sender.config.snapshot_bytes_per_s = bytes_per_s;
    let disk = Disk::default();
    let mut receiver = Setup::new(certificates.of(2));
    receiver.disk = Some(disk.clone());
    let nodes = vec![sender.start(), receiver.start()];
    link(&nodes);
    (certificates, nodes, disk)
}

fn len(disk: &Disk) -> u64 {
    disk.lock().expect("no test panics holding it").len() as u64
}

fn assert_whole(disk: &Disk, length: u64) {
    let bytes = disk.lock().expect("no test panics holding it");
    assert_eq!(bytes.len() as u64, length);
    assert!((0..).zip(bytes.iter()).all(|(at, byte)| made_byte(at) == *byte));
}

fn received(id: u64, whole: bool) -> impl Fn(&Heard) -> bool {
    move |heard| *heard == Heard::Received(node(1), SnapshotId(id), whole)
}

fn sent(id: u64, whole: bool) -> impl Fn(&Heard) -> bool {
    move |heard| *heard == Heard::Sent(node(2), SnapshotId(id), whole)
}

#[test]
fn a_snapshot_comes_whole_and_both_sides_know() {
    let (_certificates, nodes, disk) = pair(1 << 30);
    let length = 20_000_003;
    nodes[0].links.send_snapshot(node(2), snapshot(5, length)).expect("it is a peer");
    nodes[1].wait_for(received(5, true));
    nodes[0].wait_for(sent(5, true));
    assert_whole(&disk, length);
    let status = nodes[0].links.status();
    assert_eq!(status.link(node(2)).expect("a peer").snapshot_bytes_out, length);
}

#[test]
fn a_snapshot_goes_on_where_it_was_when_its_link_is_cut() {
    let (_certificates, nodes, disk) = pair(40 << 20);
    let length = 24 << 20;
    nodes[0].links.send_snapshot(node(2), snapshot(1, length)).expect("it is a peer");
    for cut in 1..=3 {
        while len(&disk) < cut * length / 5 {
            pause();
        }
        nodes[0].links.disconnect(node(2)).expect("it is a peer");
        nodes[0].wait_up(2);
    }
    nodes[1].wait_for(received(1, true));
    nodes[0].wait_for(sent(1, true));
    // The disk asserts that no byte came twice.
    assert_whole(&disk, length);
}

#[test]
fn a_receiver_that_was_started_anew_goes_on_with_what_it_has() {
    let (certificates, mut nodes, disk) = pair(10 << 20);
    let length = 8 << 20;
    nodes[0].links.send_snapshot(node(2), snapshot(1, length)).expect("it is a peer");
    while len(&disk) < length / 4 {
        pause();
    }
    drop(nodes.pop());
    nodes[0].wait_down(2);
    let had = len(&disk);
    assert!(had < length, "the pace leaves time to stop it");
    let mut setup = Setup::new(certificates.of(2));
    setup.disk = Some(disk.clone());
    nodes.push(setup.start());
    link(&nodes);
    nodes[1].wait_for(received(1, true));
    nodes[0].wait_for(sent(1, true));
    assert_whole(&disk, length);
    let came = nodes[1].links.status().link(node(1)).expect("a peer").snapshot_bytes_in;
    assert_eq!(came, length - had);
}

#[test]
fn the_pace_is_kept_and_messages_pass_a_snapshot() {
    let (_certificates, nodes, disk) = pair(4 << 20);
    let began = Instant::now();
    let length = 4 << 20;
    nodes[0].links.send_snapshot(node(2), snapshot(1, length)).expect("it is a peer");
    while len(&disk) == 0 {
        pause();
    }
    nodes[0].links.send(node(2), raft(b"urgent")).expect("the link is up");
    let first = nodes[1].wait_for(|heard| !matches!(heard, Heard::Up(..)));
    assert_eq!(first, Heard::Message(node(1), raft(b"urgent")));
    nodes[1].wait_for(received(1, true));
    // A burst of a tenth of a second is free.
    assert!(began.elapsed() >= Duration::from_millis(800), "{:?}", began.elapsed());
    assert_whole(&disk, length);
}

#[test]
fn a_snapshot_that_nobody_wants_is_given_up() {
    let certificates = Certificates::new(CLUSTER);
    let nodes = crate::support::cluster(&certificates, 2);
    nodes[0].links.send_snapshot(node(2), snapshot(9, 1_000)).expect("it is a peer");
    nodes[0].wait_for(sent(9, false));
    assert_linked(&nodes[0], 1, &nodes[1], 2);
}

struct Broken;

impl SnapshotSource for Broken {
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        if offset + into.len() as u64 > 100_000 {
            return Err(io::Error::other("a bad block"));
        }
        into.fill(0);
        Ok(())
    }
}

#[test]
fn a_source_that_fails_ends_its_snapshot_and_nothing_else() {
    let (_certificates, nodes, _disk) = pair(1 << 30);
    let about = bytes::Bytes::from_static(b"a checkpoint");
    let broken = Snapshot { id: SnapshotId(1), length: 1 << 20, about, source: Box::new(Broken) };
    nodes[0].links.send_snapshot(node(2), broken).expect("it is a peer");
    nodes[0].wait_for(sent(1, false));
    nodes[1].wait_for(received(1, false));
    assert_linked(&nodes[0], 1, &nodes[1], 2);
    assert_eq!(nodes[1].links.status().refused(Refusal::SnapshotFlow), 0);
}

#[test]
fn a_snapshot_can_be_taken_back() {
    let (_certificates, nodes, disk) = pair(1 << 20);
    nodes[0].links.send_snapshot(node(2), snapshot(1, 100 << 20)).expect("it is a peer");
    while len(&disk) == 0 {
        pause();
    }
    nodes[0].links.cancel_snapshot(node(2), SnapshotId(1)).expect("it is a peer");
    nodes[0].wait_for(sent(1, false));
    nodes[1].wait_for(received(1, false));
    assert_linked(&nodes[0], 1, &nodes[1], 2);
}

#[test]
fn a_snapshot_of_nothing_is_a_snapshot() {
    let (_certificates, nodes, disk) = pair(1 << 20);
    nodes[0].links.send_snapshot(node(2), snapshot(1, 0)).expect("it is a peer");
    nodes[1].wait_for(received(1, true));
    nodes[0].wait_for(sent(1, true));
    assert_whole(&disk, 0);
}

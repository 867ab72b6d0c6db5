//! The nodes of the cluster: numbers are used once, votes go to who is there.

use crate::node::{Node, config};
use novax_charging::roster::{INVITED_MAX, NODES_MAX};
use novax_charging::{Command, Outcome, PutNode, Refusal, Roster};
use novax_model::{NodeId, PartitionId, Timestamp};

fn n(number: u64) -> NodeId {
    NodeId::new(number).expect("not zero")
}

fn put(number: u64, address: &str) -> Command {
    let (address, site) = (address.into(), "".into());
    Command::PutNode(Box::new(PutNode { node: n(number), address, site }))
}

fn invite(number: u64) -> Command {
    put(number, "")
}

fn remove(number: u64) -> Command {
    Command::RemoveNode { node: n(number) }
}

fn place(partition: u16, voters: &[u64]) -> Command {
    let voters = voters.iter().copied().map(n).collect();
    Command::PlaceReplicas { partition: PartitionId(partition), voters }
}

struct Check {
    node: Node,
    time: u64,
}

impl Check {
    /// Three founders.
    fn new() -> Check {
        let mut check = Check { node: Node::new(config(0)), time: 0 };
        for number in 1..=3 {
            check.done(put(number, &format!("host{number}:7700")));
        }
        check
    }

    fn one(&mut self, command: Command) -> Outcome {
        self.time += 1_000;
        self.node.one(Timestamp(self.time), command)
    }

    #[track_caller]
    fn done(&mut self, command: Command) {
        assert_eq!(self.one(command), Outcome::Done);
    }

    /// It is refused in words with this among them, and changes nothing.
    #[track_caller]
    fn refused(&mut self, command: Command, word: &str) {
        let before = self.roster().clone();
        match self.one(command) {
            Outcome::Refused(Refusal::BadNode(words)) => {
                assert!(words.contains(word), "{words}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(*self.roster(), before);
    }

    fn roster(&self) -> &Roster {
        self.node.partition.roster()
    }
}

#[test]
fn a_number_is_one_nodes_for_ever() {
    let mut check = Check::new();
    check.done(put(1, "host1:7700"));
    check.refused(put(1, "elsewhere:7700"), "another node's");
    check.refused(invite(1), "another node's");
    check.done(invite(4));
    assert!(!check.roster().has_joined(n(4)));
    check.refused(invite(4), "another node's");
    check.done(put(4, "host4:7700"));
    check.done(put(4, "host4:7700"));
    check.refused(put(4, "host5:7700"), "another node's");
    check.done(remove(4));
    check.done(remove(4));
    assert!(check.roster().is_removed(n(4)) && !check.roster().is_removed(n(5)));
    check.refused(put(4, "host4:7700"), "used before");
    check.refused(invite(4), "used before");
    // Numbers that were passed over are gone as well.
    check.done(invite(9));
    check.refused(invite(7), "used before");
    check.refused(remove(12), "no node 12");
    check.refused(put(13, "no port"), "host:port");
}

#[test]
fn votes_go_to_nodes_that_have_joined_and_hold_them() {
    let mut check = Check::new();
    check.done(invite(4));
    check.refused(place(2, &[1, 2, 4]), "not joined");
    check.refused(place(2, &[]), "from 1 to");
    check.refused(place(2, &[2, 1]), "ascending");
    check.refused(place(2, &[1, 1]), "ascending");
    check.done(put(4, "host4:7700"));
    check.done(place(2, &[1, 2, 4]));
    let version = check.roster().version;
    check.done(place(2, &[1, 2, 4]));
    assert_eq!(check.roster().version, version, "nothing has changed");
    check.refused(remove(4), "partition 2");
    check.done(remove(3));
    check.done(place(2, &[1, 2]));
    check.done(remove(4));
    assert_eq!(check.roster().placement(PartitionId(2)), Some(&[n(1), n(2)][..]));
    assert_eq!(check.roster().placement(PartitionId(1)), None);
    check.refused(place(2, &[1, 4]), "not joined");
}

#[test]
fn the_last_node_stays_and_nodes_are_kept_by_partition_0() {
    let mut check = Check::new();
    check.done(remove(3));
    check.done(remove(2));
    check.refused(remove(1), "last node");
    let mut other = Check { node: Node::new(config(1)), time: 0 };
    other.refused(put(1, "host1:7700"), "partition 0");
}

#[test]
fn nodes_and_invitations_are_bounded() {
    let mut check = Check::new();
    let first = 4;
    let invited = INVITED_MAX as u64;
    for number in first..first + invited + 1 {
        check.done(invite(number));
    }
    assert!(check.roster().is_removed(n(first)), "the oldest invitation is void");
    let room = (NODES_MAX - 3) as u64;
    for number in first + 1..=first + room {
        check.done(put(number, "host:7700"));
    }
    check.refused(put(first + room + 1, "host:7700"), "which is the most");
}

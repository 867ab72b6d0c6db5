//! Nodes join, votes move to them, nodes are taken out, and a driver that dies half way changes nothing of
//! it.

use super::*;
use novax_charging::roster::ROSTER_PARTITION;
use novax_charging::{NodeRow, PutNode};

impl Cluster {
    /// Three founders, of whom partition 0 knows.
    fn founded() -> Cluster {
        let mut cluster = Cluster::new();
        let row = |at| NodeRow { node: node(at), address: "host:1".into(), site: "".into() };
        for world in cluster.worlds.iter_mut().flatten() {
            world.shard.set_founders((0..3).map(row).collect());
        }
        cluster.advance(2_000);
        for world in cluster.worlds.iter_mut().flatten() {
            let roster = world.shard.take_roster().expect("it has learned who is there");
            assert_eq!(roster.nodes, [row(0), row(1), row(2)]);
            assert!(world.shard.take_roster().is_none(), "nothing is new twice");
        }
        cluster
    }

    /// A fourth node with nothing on its disk.
    fn join(&mut self) {
        self.worlds.push(Some(World::of_cluster(node(3), &[])));
        let put = PutNode { node: node(3), address: "host:4".into(), site: "".into() };
        let to = self.leader(ROSTER_PARTITION);
        self.propose(to, ROSTER_PARTITION, Command::PutNode(Box::new(put)));
        self.advance(8_000);
        assert!(self.world(3).shard.is_caught_up(), "it has every partition");
    }

    fn place(&mut self, partition: PartitionId, at: &[usize]) {
        let voters = at.iter().map(|at| node(*at)).collect();
        let to = self.leader(ROSTER_PARTITION);
        self.propose(to, ROSTER_PARTITION, Command::PlaceReplicas { partition, voters });
    }

    /// Voters and learners of a partition, as its leader knows them.
    #[track_caller]
    fn members_are(&mut self, partition: PartitionId, voters: &[usize], learners: &[usize]) {
        let at = self.leader(partition);
        let status = self.world(at).shard.raft.status(partition).expect("it is here");
        let nodes = |at: &[usize]| at.iter().map(|at| node(*at)).collect::<Vec<_>>();
        assert!(!status.members.is_joint());
        assert_eq!(status.members.voters(), nodes(voters), "votes in {partition}");
        assert_eq!(status.members.learners(), nodes(learners), "learners in {partition}");
    }
}

const BOTH: [PartitionId; 2] = [PartitionId(0), PartitionId(1)];

#[test]
fn a_node_joins_and_takes_the_place_of_one_that_died() {
    let mut cluster = Cluster::founded();
    cluster.provision(0);
    cluster.join();
    BOTH.iter().for_each(|partition| cluster.members_are(*partition, &[0, 1, 2], &[3]));
    let conn = cluster.connect(3);
    assert!(cluster.say(3, conn, START)[0].contains("Accepted"), "a learner takes stations");
    cluster.worlds[2] = None;
    cluster.advance(3_000);
    BOTH.iter().for_each(|partition| cluster.place(*partition, &[0, 1, 3]));
    cluster.advance(5_000);
    BOTH.iter().for_each(|partition| cluster.members_are(*partition, &[0, 1, 3], &[2]));
    let to = cluster.leader(ROSTER_PARTITION);
    cluster.propose(to, ROSTER_PARTITION, Command::RemoveNode { node: node(2) });
    cluster.advance(5_000);
    BOTH.iter().for_each(|partition| cluster.members_are(*partition, &[0, 1, 3], &[]));
    // Without another of the first ones the new one's vote counts.
    let gone = (0..2).find(|at| *at != cluster.leader(HOME)).expect("one of two");
    cluster.worlds[gone] = None;
    cluster.advance(3_000);
    assert!(cluster.say(3, conn, STOP)[0].starts_with(r#"[3,"2""#));
    cluster.states_agree();
    assert_eq!(cluster.world(3).shard.slots[&HOME].machine.totals().sessions_ended, 1);
}

#[test]
fn votes_leave_the_leader_too_and_whoever_leads_next_goes_on() {
    let mut cluster = Cluster::founded();
    cluster.join();
    for partition in BOTH {
        let leader = cluster.leader(partition);
        let others: Vec<usize> = (0..4).filter(|at| *at != leader).collect();
        cluster.place(partition, &others);
        // Half way, wherever that is.
        cluster.advance(1_000);
        cluster.worlds[leader] = None;
        cluster.advance(12_000);
        cluster.members_are(partition, &others, &[leader]);
        cluster.states_agree();
        cluster = Cluster::founded();
        cluster.join();
    }
}

#[test]
fn votes_go_from_three_nodes_to_a_new_one_alone() {
    let mut cluster = Cluster::founded();
    cluster.join();
    // From three votes to one, on the new node.
    for partition in BOTH {
        cluster.place(partition, &[3]);
    }
    cluster.advance(20_000);
    BOTH.iter().for_each(|partition| cluster.members_are(*partition, &[3], &[0, 1, 2]));
    cluster.states_agree();
}

#[test]
fn nothing_moves_to_a_node_that_is_not_there() {
    let mut cluster = Cluster::founded();
    cluster.join();
    cluster.worlds[3] = None;
    cluster.advance(3_000);
    cluster.place(HOME, &[0, 1, 3]);
    cluster.advance(10_000);
    cluster.members_are(HOME, &[0, 1, 2], &[3]);
}

//! Replicated groups on simulated nodes: safety under faults that a seed decides, then liveness when all is well.
//!
//! `NOVAX_RAFT_SEEDS=1000 cargo nextest run -p novax-raft --test cluster` tries more seeds, `NOVAX_RAFT_SEED=n` one.

mod world;

use novax_log::sim::Rng;
use novax_model::PartitionId;
use novax_raft::{Change, PeerState, ProposeError, Role};
use world::{Faults, Plan, World, n};

const P: PartitionId = PartitionId(0);

fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (number("NOVAX_RAFT_SEED"), number("NOVAX_RAFT_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 0..count.unwrap_or(default),
    }
}

fn storm() -> Faults {
    Faults {
        drop_one_in: 20,
        double_one_in: 20,
        delay_ms_max: 30,
        crash_one_in: 1_500,
        crash_all_one_in: 0,
        cut_one_in: 700,
        change_members_one_in: 0,
        transfer_one_in: 3_000,
    }
}

fn settled(plan: Plan) -> World {
    let mut world = World::new(plan);
    for group in 0..world.plan.groups {
        world.run_until("a leader is in office", 5_000, |world| {
            world
                .leader_of(PartitionId(group))
                .is_some_and(|leader| world.state(leader, PartitionId(group)).commands > 0)
        });
    }
    world
}

/// Faults for a while, then none: what was acknowledged is there, and everything goes on.
fn weather(plan: Plan, ms: u64) -> World {
    let mut world = World::new(plan);
    world.run(ms);
    world.check_liveness();
    world
}

#[test]
fn three_nodes_agree_whatever_the_network_and_the_disks_do() {
    let (mut acknowledged, mut restarts, mut reads) = (0, 0, 0);
    for seed in seeds(12) {
        let plan = Plan { faults: storm(), ..Plan::calm(seed, 3, 2) };
        let seen = weather(plan, 15_000).seen;
        acknowledged += seen.acknowledged;
        restarts += seen.restarts;
        reads += seen.reads;
    }
    assert!(acknowledged > 0 && restarts > 0 && reads > 0, "the storm was none");
}

#[test]
fn five_nodes_agree_whatever_the_network_and_the_disks_do() {
    for seed in seeds(6) {
        let plan = Plan { faults: storm(), ..Plan::calm(seed, 5, 2) };
        weather(plan, 12_000);
    }
}

/// Whoever acknowledged an entry has it when the power is back, and whoever voted knows for whom.
#[test]
fn nothing_acknowledged_is_lost_when_the_power_of_all_goes_at_once() {
    for seed in seeds(10) {
        let faults = Faults { crash_one_in: 0, crash_all_one_in: 1_500, ..storm() };
        weather(Plan { faults, ..Plan::calm(seed, 3, 3) }, 15_000);
    }
}

#[test]
fn who_lags_too_far_is_given_a_state() {
    let mut installs = 0;
    for seed in seeds(8) {
        // Nothing that is flushed is kept, and everything is flushed at once.
        let (retain_bytes_max, flush_one_in) = (0, 3);
        let plan =
            Plan { faults: storm(), retain_bytes_max, flush_one_in, ..Plan::calm(seed, 3, 2) };
        installs += weather(plan, 12_000).seen.installs;
    }
    assert!(installs > 0, "no state was ever needed");
}

#[test]
fn members_come_and_go_under_faults() {
    let (mut changes, mut installs) = (0, 0);
    for seed in seeds(10) {
        let faults = Faults { change_members_one_in: 300, crash_one_in: 2_500, ..storm() };
        let (spares, retain_bytes_max, flush_one_in) = (2, 4_096, 10);
        let plan =
            Plan { faults, spares, retain_bytes_max, flush_one_in, ..Plan::calm(seed, 3, 1) };
        let seen = weather(plan, 15_000).seen;
        changes += seen.changes;
        installs += seen.installs;
    }
    assert!(changes > 0 && installs > 0, "nobody came or went");
}

#[test]
fn the_same_seed_is_the_same_history() {
    let run = || {
        let plan = Plan { faults: storm(), ..Plan::calm(7, 3, 2) };
        let world = weather(plan, 6_000);
        let hashes: Vec<_> = (1..=3).map(|id| world.state(n(id), P).clone()).collect();
        (world.now, world.trace, hashes, world.seen.acknowledged, world.seen.reads)
    };
    assert_eq!(run(), run());
}

#[test]
fn a_node_that_stands_alone_becomes_one_of_three() {
    let mut world = settled(Plan { spares: 2, ..Plan::calm(3, 1, 1) });
    let change = |world: &mut World, changes: &[Change]| {
        let leader = world.leader_of(P).expect("a leader");
        world.raft(leader).change_members(P, changes)
    };
    world.run_until("its store was flushed once", 5_000, |world| world.state(n(1), P).applied > 10);
    let learners = [Change::AddLearner(n(2)), Change::AddLearner(n(3))];
    world.run(500);
    change(&mut world, &learners).expect("two who learn");
    assert_eq!(change(&mut world, &learners), Err(ProposeError::Busy), "one change at a time");
    let new = |world: &World, id| world.state(n(id), P).applied + 50 > world.state(n(1), P).applied;
    world.run_until("they have caught up", 5_000, |world| new(world, 2) && new(world, 3));
    change(&mut world, &[Change::AddVoter(n(2)), Change::AddVoter(n(3))]).expect("two who vote");
    world.run_until("three vote", 3_000, |world| {
        let members = &world.state(n(2), P).members;
        members.voters().len() == 3 && !members.is_joint()
    });
    assert!(world.seen.installs >= 2, "who comes later is given a state");
    world.crash(n(1), 60_000);
    let took = world.run_until("another leads", 4_000, |world| {
        world.leader_of(P).is_some_and(|leader| leader != n(1))
    });
    assert!(took <= 2_000, "{took} ms");
    world.check_liveness();
}

#[test]
fn changes_that_make_no_sense_are_refused() {
    let mut world = settled(Plan::calm(1, 3, 1));
    world.run(500);
    let leader = world.leader_of(P).expect("a leader");
    let follower = (1..=3).map(n).find(|id| *id != leader).expect("three nodes");
    let raft = world.raft(leader);
    assert_eq!(raft.change_members(P, &[]), Err(ProposeError::Members));
    let own = raft.change_members(P, &[Change::Remove(leader)]);
    assert_eq!(own, Err(ProposeError::Members), "the lead is handed over first");
    let many: Vec<_> = (1..100).map(|id| Change::AddVoter(n(id))).collect();
    assert_eq!(raft.change_members(P, &many), Err(ProposeError::Members));
    assert_eq!(raft.transfer_leader(P, n(9)), Err(ProposeError::Members));
    let elsewhere = world.raft(follower).change_members(P, &[Change::Remove(leader)]);
    assert_eq!(elsewhere, Err(ProposeError::NotLeader));
}

#[test]
fn a_leader_that_dies_is_replaced_within_two_seconds() {
    for seed in seeds(20) {
        let mut world = settled(Plan::calm(seed, 3, 1));
        let dead = world.leader_of(P).expect("a leader");
        world.crash(dead, 60_000);
        let before = world.seen.acknowledged;
        let took = world.run_until("an entry is acknowledged again", 5_000, |world| {
            world.seen.acknowledged > before
        });
        assert!(took <= 2_000, "seed {seed}: {took} ms");
    }
}

#[test]
fn the_lead_is_handed_over_within_100_ms() {
    for seed in seeds(20) {
        let mut world = settled(Plan::calm(seed, 3, 1));
        let leader = world.leader_of(P).expect("a leader");
        let next = n(leader.get() % 3 + 1);
        world.raft(leader).transfer_leader(P, next).expect("it leads");
        let took = world.run_until("the other leads in its own term", 1_000, |world| {
            world.leader_of(P) == Some(next)
        });
        let before = world.seen.acknowledged;
        let then = world
            .run_until("an entry is acknowledged", 1_000, |world| world.seen.acknowledged > before);
        assert!(took + then <= 100, "seed {seed}: {took} + {then} ms");
    }
}

#[test]
fn a_leader_that_is_cut_off_serves_no_read_and_steps_down() {
    let mut world = settled(Plan::calm(5, 3, 1));
    let old = world.leader_of(P).expect("a leader");
    let others: Vec<_> = (1..=3).map(n).filter(|id| *id != old).collect();
    for other in &others {
        world.cut(old, *other);
    }
    world.run_until("another leads", 4_000, |world| {
        world.leader_of(P).is_some_and(|leader| leader != old)
    });
    // The world checks each read against what others acknowledged meanwhile.
    world.run(3_000);
    assert_ne!(world.raft(old).status(P).expect("a replica").role, Role::Leader);
    world.check_liveness();
}

#[test]
fn one_who_was_away_disturbs_nobody_when_it_comes_back() {
    let mut world = settled(Plan::calm(6, 3, 1));
    let leader = world.leader_of(P).expect("a leader");
    let away = n(leader.get() % 3 + 1);
    for other in (1..=3).map(n).filter(|id| *id != away) {
        world.cut(away, other);
    }
    let term = world.raft(leader).term(P);
    world.run(10_000);
    world.heal();
    world.run(3_000);
    assert_eq!(world.leader_of(P), Some(leader));
    assert_eq!(world.raft(leader).term(P), term, "no election took place");
    let status = world.raft(leader).status(P).expect("a replica");
    assert!(status.peers.iter().all(|peer| peer.state == PeerState::Replicate && peer.active));
}

/// How many entries the leader and two others acknowledge without the last two of five; the sites are of the leader,
/// the two, the last two.
fn acknowledged_by_three(sites: [u16; 5]) -> u64 {
    let mut world = settled(Plan::calm(8, 5, 1));
    let leader = world.leader_of(P).expect("a leader");
    let others = (1..=5).map(n).filter(|id| *id != leader);
    let nodes: Vec<_> = std::iter::once(leader).chain(others).collect();
    let placed: Vec<_> = nodes.iter().copied().zip(sites).collect();
    for id in &nodes {
        world.raft(*id).assign_sites(&placed);
    }
    world.run(200);
    for near in &nodes[..3] {
        world.cut(*near, nodes[3]);
        world.cut(*near, nodes[4]);
    }
    world.run(200);
    let before = world.seen.acknowledged;
    world.run(400);
    let acknowledged = world.seen.acknowledged - before;
    world.check_liveness();
    acknowledged
}

#[test]
fn an_entry_is_committed_when_two_of_three_sites_have_it() {
    assert_eq!(acknowledged_by_three([0, 0, 0, 1, 2]), 0, "a majority at one site is not enough");
    assert!(acknowledged_by_three([0, 0, 1, 1, 2]) > 0, "this one stands at two");
    assert!(acknowledged_by_three([0, 0, 0, 1, 1]) > 0, "there are no three sites");
}

/// A node that says whatever it likes does not end the others' processes. What it says of the past they have
/// to believe, so nothing is claimed here of what they agree on.
#[test]
fn a_peer_that_lies_is_refused_and_ends_nobody() {
    fn lie(rng: &mut Rng, bytes: &mut Vec<u8>) {
        for _ in 0..=rng.below(3) {
            match rng.below(4) {
                0 => {
                    let at = rng.below_usize(bytes.len());
                    bytes[at] = u8::try_from(rng.below(256)).expect("a byte");
                }
                // A whole field: term, index, commit and so on.
                1 => {
                    let at = 16 + 8 * rng.below_usize(9);
                    let value = match rng.below(4) {
                        0 => u64::MAX,
                        1 => 1 << rng.below(63),
                        _ => rng.below(2_000),
                    };
                    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
                }
                // Another kind with the same numbers.
                2 => bytes[5] = u8::try_from(1 + rng.below(12)).expect("a byte"),
                _ => bytes.truncate(rng.below_usize(bytes.len())),
            }
            if bytes.len() < 96 {
                return;
            }
        }
    }
    let mut refused = 0;
    for seed in seeds(10) {
        let mut world = settled(Plan::calm(seed, 3, 1));
        world.lie = Some(lie);
        world.run(4_000);
        for id in [1, 2].map(n) {
            assert!(world.is_up(id));
            refused += world.raft(id).refused().iter().sum::<u64>();
        }
    }
    assert!(refused > 1_000, "{refused} messages were refused");
}

//! Simulated worlds by their seeds: they keep their promises, repeat, and notice a hub that does not.

use novax_model::{Duration, Timestamp};
use novax_sim::WorldError;
use novax_sim::node::{Node, Shape, id_of};
use novax_sim::plan::Plan;
use novax_sim::world::{Counts, World};

/// A small world with faults of all kinds.
fn plan(seed: u64) -> Plan {
    Plan {
        duration: Duration::from_secs(400),
        stations: 6,
        crash_every: Some(Duration::from_secs(60)),
        ..Plan::of(seed)
    }
}

fn run(plan: Plan) -> (Result<Counts, WorldError>, u64) {
    let mut world = World::new(plan);
    let counts = world.run();
    (counts, world.digest())
}

#[test]
fn simulated_worlds_keep_every_promise() {
    let mut all = Counts::default();
    for seed in 1..=12 {
        let (counts, _) = run(plan(seed));
        let counts = counts.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        all.crashes += counts.crashes;
        all.stops += counts.stops;
        all.promises += counts.promises;
    }
    assert!(all.crashes > 20 && all.stops > 100 && all.promises > 20, "too little: {all:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let (first, digest) = run(plan(77));
    let (second, again) = run(plan(77));
    assert_eq!(digest, again, "{first:?} {second:?}");
    let (_, other) = run(plan(78));
    assert_ne!(digest, other);
}

#[test]
fn a_node_that_forgets_is_noticed() {
    for seed in 1..=3 {
        let crash_every = Some(Duration::from_secs(30));
        let (counts, _) = run(Plan { forgets_at: Some(3), crash_every, ..plan(seed) });
        let error = counts.expect_err("what was acknowledged is gone");
        assert!(!matches!(error, WorldError::Broken(_)), "seed {seed}: {error}");
    }
}

/// Nodes keep so little for those who lag that these are given states, with the power going at any operation of
/// sending, taking and putting in.
#[test]
fn nodes_that_lag_are_given_the_state_and_replicas_agree() {
    let mut all = Counts::default();
    for seed in 1..=20 {
        let crash_every = Some(Duration::from_secs(40));
        let lagging = Plan { nodes: 3, retain_bytes_max: 2 << 10, crash_every, ..plan(seed) };
        let (counts, _) = run(lagging);
        let counts = counts.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        all.crashes += counts.crashes;
        all.states += counts.states;
        all.stops += counts.stops;
    }
    assert!(all.crashes > 100 && all.states > 10 && all.stops > 100, "too little: {all:?}");
}

/// Who the founders are counts as committed before anything is written: that was taken for a loss.
#[test]
fn a_node_whose_power_goes_before_its_first_write_has_lost_nothing() {
    let shape = Shape { partitions: 2, nodes: 3, retain_bytes_max: 8 << 20 };
    let mut node = Node::new(id_of(0), shape);
    for seed in 0..4 {
        let now = Timestamp(1_795_353_264_000_000 + seed);
        node.start(1, now).expect("an empty disk is a beginning");
        assert!(node.crash(seed).is_some());
        node.check_replay().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

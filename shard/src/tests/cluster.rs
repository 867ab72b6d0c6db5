//! Three nodes without rings or links: what each has for the others is carried by hand, or lost.

mod members;

use super::*;
use crate::peers::{Lane, PeerInput};
use crate::port::{Freshness, View};
use crate::states::{self, StateReader, StateWriter};
use crate::transfers::{StateAct, StateNews};
use novax_engine::{Disk, RealDisk};
use std::collections::BTreeSet;

struct Cluster {
    worlds: Vec<Option<World>>,
    now: Timestamp,
    /// Links that carry nothing, both ways.
    cut: BTreeSet<(usize, usize)>,
}

fn node(at: usize) -> NodeId {
    NodeId::new(at as u64 + 1).expect("from 1")
}

impl Cluster {
    fn new() -> Cluster {
        let founders: Vec<NodeId> = (0..3).map(node).collect();
        let worlds = founders.iter().map(|me| Some(World::of_cluster(*me, &founders))).collect();
        let now = Timestamp::from_millis(1_795_353_264_000);
        let mut cluster = Cluster { worlds, now, cut: BTreeSet::new() };
        cluster.advance(3_000);
        for world in cluster.worlds.iter().flatten() {
            assert!(world.shard.is_caught_up(), "there is a leader, and each has heard of it");
        }
        cluster
    }

    fn world(&mut self, at: usize) -> &mut World {
        self.worlds[at].as_mut().expect("it lives")
    }

    /// Turns and carries until nothing is on its way.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let (mut sends, mut states) = (Vec::new(), Vec::new());
            for (at, world) in self.worlds.iter_mut().enumerate() {
                let Some(world) = world else { continue };
                world.now = self.now;
                world.settle();
                sends.extend(world.peers.drain(..).map(|send| (at, send)));
                states.extend(world.states.drain(..).map(|act| (at, act)));
            }
            if sends.is_empty() && states.is_empty() {
                return;
            }
            states.into_iter().for_each(|(at, act)| self.act(at, act));
            sends.iter().for_each(|(from, send)| self.carry(*from, send));
        }
        panic!("the nodes do not come to rest");
    }

    fn carry(&mut self, from: usize, send: &PeerSend) {
        let to = usize::try_from(send.to.get() - 1).expect("small");
        let is_cut = self.cut.contains(&(from.min(to), from.max(to)));
        let there = self.worlds.get_mut(to).and_then(Option::as_mut);
        let Some(world) = there.filter(|_| !is_cut) else { return };
        let mut bytes: &[u8] = &send.bytes;
        match send.lane {
            Lane::Raft => {
                while !bytes.is_empty() {
                    let message = novax_raft::PeerMessage::decode(&mut bytes).expect("sound");
                    world.shard.handle_peer(node(from), PeerInput::Raft(message));
                }
            }
            Lane::Request => {
                let bytes = bytes::Bytes::copy_from_slice(bytes);
                world.shard.handle_peer(node(from), PeerInput::Request(bytes));
            }
        }
        assert_eq!(world.shard.counters.peer_messages_bad.get(), 0, "nodes understand each other");
    }

    /// What a driver does about states, at once.
    fn act(&mut self, at: usize, act: StateAct) {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        match act {
            StateAct::Expect { from, partition, index } => {
                self.world(at).expected.insert(partition, (from, index));
            }
            StateAct::Decline { partition, .. } => {
                self.world(at).expected.remove(&partition);
            }
            StateAct::Remove { dir, state } => {
                drop(state);
                states::wipe(&*disk, &dir).expect("a disk that is well");
            }
            StateAct::Send { to, partition, index, dir } => {
                let mut reader = StateReader::open(disk.clone(), &dir).expect("a checkpoint");
                let mut bytes = vec![0; usize::try_from(reader.length()).expect("small")];
                reader.read_at(0, &mut bytes).expect("all of it");
                let there = self.world(usize::try_from(to.get() - 1).expect("small"));
                assert_eq!(there.expected.get(&partition), Some(&(node(at), index)));
                there.shard.handle_state(StateNews::Begun { partition, index });
                let dir = states::incoming(there.dir.path(), partition, index);
                let mut writer = StateWriter::new(disk.clone(), dir, bytes.len() as u64);
                writer.write_at(0, &bytes).and_then(|()| writer.finish()).expect("a state");
                let (data, options) = (there.dir.path(), stores::store_options());
                let of = (partition, index);
                let fetched = states::open_fetched(disk, data, of, options, &there.worker);
                let fetched = Box::new(fetched.expect("the state that was named"));
                there.shard.handle_state(StateNews::Fetched(fetched));
                let sent = StateNews::Sent { to, partition, index, whole: true };
                self.world(at).shard.handle_state(sent);
            }
        }
    }

    fn advance(&mut self, millis: u64) {
        for _ in 0..millis / 50 {
            self.now = self.now.saturating_add(Duration::from_millis(50));
            self.settle();
        }
    }

    fn leader(&self, partition: PartitionId) -> usize {
        let leads = |world: &World| world.shard.slots[&partition].led_from.is_some();
        let leaders: Vec<usize> = (0..self.worlds.len())
            .filter(|at| self.worlds[*at].as_ref().is_some_and(leads))
            .collect();
        assert_eq!(leaders.len(), 1, "one leads");
        leaders[0]
    }

    fn propose(&mut self, at: usize, partition: PartitionId, command: Command) {
        let make = |reply| Request::Propose { partition, command, reply };
        let mut answer = self.world(at).begin(make);
        self.settle();
        let outcome = answer.try_recv().expect("an answer").expect("available");
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    }

    fn provision(&mut self, at: usize) {
        for (partition, command) in World::provisions() {
            self.propose(at, partition, command);
        }
    }

    fn connect(&mut self, at: usize) -> ConnId {
        let conn = self.world(at).connect("CP");
        self.settle();
        conn
    }

    fn say(&mut self, at: usize, conn: ConnId, text: &str) -> Vec<String> {
        self.world(at).say(conn, text);
        self.settle();
        self.world(at).heard(conn)
    }

    fn states_agree(&mut self) {
        self.advance(500);
        for number in 0..PARTITIONS {
            let partition = PartitionId(number);
            let states: BTreeSet<(u64, u64)> = self
                .worlds
                .iter()
                .flatten()
                .map(|world| &world.shard.slots[&partition].machine)
                .map(|machine| (machine.applied_index(), machine.state_hash()))
                .collect();
            assert_eq!(states.len(), 1, "equal at equal index: {states:?}");
        }
    }
}

const HOME: PartitionId = PartitionId(0);
const STOP: &str = r#"[2,"2","StopTransaction",{"transactionId":1,"meterStop":9000,"timestamp":"2026-11-22T14:14:24Z"}]"#;

#[test]
fn any_node_takes_any_station_and_every_command() {
    let mut cluster = Cluster::new();
    let leader = cluster.leader(HOME);
    let (first, second) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.provision(first);
    let conn = cluster.connect(second);
    let heard = cluster.say(second, conn, START);
    assert!(heard[0].contains("Accepted"), "{heard:?}");
    let heard = cluster.say(second, conn, STOP);
    assert!(heard[0].starts_with(r#"[3,"2""#), "{heard:?}");
    cluster.states_agree();
    let machine = &cluster.world(first).shard.slots[&HOME].machine;
    assert_eq!(machine.totals().sessions_ended, 1);
    assert_eq!(machine.station("CP").expect("a row").node, node(second));
}

#[test]
fn when_the_leader_dies_sockets_stay_and_the_charge_goes_on() {
    let mut cluster = Cluster::new();
    let leader = cluster.leader(HOME);
    let station = (leader + 1) % 3;
    cluster.provision(station);
    let conn = cluster.connect(station);
    assert!(cluster.say(station, conn, START)[0].contains("Accepted"));
    cluster.worlds[leader] = None;
    assert_eq!(cluster.say(station, conn, STOP), Vec::<String>::new(), "nobody leads yet");
    cluster.advance(2_000);
    let heard = cluster.world(station).heard(conn);
    assert!(heard.len() == 1 && heard[0].starts_with(r#"[3,"2""#), "{heard:?}");
    assert_ne!(cluster.leader(HOME), leader);
    cluster.states_agree();
    assert_eq!(cluster.world(station).shard.slots[&HOME].machine.totals().sessions_ended, 1);
}

/// A link is lost with what is on it, and comes back before anybody else leads.
#[test]
fn what_a_link_lost_on_its_way_to_the_leader_is_asked_again_when_it_is_back() {
    let mut cluster = Cluster::new();
    let leader = cluster.leader(HOME);
    let station = (leader + 1) % 3;
    cluster.provision(station);
    let conn = cluster.connect(station);
    cluster.cut.insert((leader.min(station), leader.max(station)));
    assert_eq!(cluster.say(station, conn, START), Vec::<String>::new(), "it was on the link");
    cluster.world(station).shard.handle_peer(node(leader), PeerInput::LinkDown);
    cluster.world(leader).shard.handle_peer(node(station), PeerInput::LinkDown);
    cluster.advance(200);
    cluster.cut.clear();
    cluster.world(station).shard.handle_peer(node(leader), PeerInput::LinkDown);
    cluster.advance(1_000);
    let heard = cluster.world(station).heard(conn);
    assert!(heard.len() == 1 && heard[0].contains("Accepted"), "{heard:?}");
    assert_eq!(cluster.leader(HOME), leader, "it led all the time");
    assert!(cluster.world(station).shard.counters.batches_lost.get() > 0);
    cluster.states_agree();
    assert_eq!(cluster.world(station).shard.slots[&HOME].machine.totals().live_sessions, 1);
}

#[test]
fn a_station_that_connects_elsewhere_loses_its_old_socket() {
    let mut cluster = Cluster::new();
    cluster.provision(0);
    let old = cluster.connect(1);
    let new = cluster.connect(2);
    assert!(cluster.world(1).heard(old).iter().any(|text| text.starts_with("close")));
    assert!(cluster.say(2, new, START)[0].contains("Accepted"));
    cluster.states_agree();
}

#[test]
fn a_leader_that_is_cut_off_answers_nothing_and_follows_when_it_is_back() {
    let mut cluster = Cluster::new();
    let leader = cluster.leader(HOME);
    let other = (leader + 1) % 3;
    cluster.provision(leader);
    let conn = cluster.connect(leader);
    for at in (0..3).filter(|at| *at != leader) {
        cluster.cut.insert((leader.min(at), leader.max(at)));
    }
    assert_eq!(cluster.say(leader, conn, START), Vec::<String>::new(), "no majority, no answer");
    cluster.advance(2_500);
    // The station gives up and comes to another node, which has found a leader.
    let again = cluster.connect(other);
    assert!(cluster.say(other, again, START)[0].contains("Accepted"));
    cluster.advance(31_000);
    let heard = cluster.world(leader).heard(conn);
    assert!(!heard.iter().any(|text| text.contains("Accepted")), "{heard:?}");
    cluster.cut.clear();
    cluster.advance(2_000);
    cluster.states_agree();
    assert_eq!(cluster.world(other).shard.slots[&HOME].machine.totals().live_sessions, 1);
}

/// What a node that lags has not heard of was acknowledged all the same.
#[test]
fn a_node_that_lags_asks_before_it_says_unknown() {
    let mut cluster = Cluster::new();
    let leader = cluster.leader(HOME);
    let late = (leader + 1) % 3;
    for at in (0..3).filter(|at| *at != late) {
        cluster.cut.insert((late.min(at), late.max(at)));
    }
    cluster.provision(leader);
    cluster.cut.clear();
    assert_eq!(cluster.world(late).shard.slots[&HOME].machine.stations().count(), 0);
    let conn = cluster.world(late).accept();
    let mut request = Vec::new();
    let (path, key) = ("/ocpp/CP", [7; 16]);
    novax_wire::http::client_request("hub", path, &["ocpp1.6"], None, &key, &mut request);
    cluster.world(late).receive(conn, &request);
    let view = |freshness| move |reply| Request::View { with_series: false, freshness, reply };
    let mut fresh = cluster.world(late).begin(view(Freshness::Fresh));
    cluster.settle();
    cluster.advance(500);
    let answer = cluster.world(late).sent.remove(&conn).expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    let stations = |view: View| {
        let rows = view.parts.iter().flat_map(|(_, part)| {
            part.range(novax_charging::rows::Keyspace::Stations as u8, &[], None)
        });
        rows.count()
    };
    assert_eq!(stations(fresh.try_recv().expect("a view")), 1);
    let heard = cluster.say(late, conn, START);
    assert!(heard[0].contains("Accepted"), "{heard:?}");
    let machine = &cluster.world(leader).shard.slots[&HOME].machine;
    assert!(machine.station("CP").is_some_and(|row| row.connected), "it was not held as unknown");
}

#[test]
fn without_a_majority_a_view_is_old_and_says_so_or_there_is_none() {
    let mut cluster = Cluster::new();
    cluster.provision(0);
    cluster.advance(500);
    let view = |freshness| move |reply| Request::View { with_series: false, freshness, reply };
    let mut fresh = cluster.world(1).begin(view(Freshness::Fresh));
    cluster.settle();
    let before = fresh.try_recv().expect("a view").as_of;
    assert_eq!(before, cluster.now);
    cluster.cut.extend([(0, 1), (0, 2), (1, 2)]);
    cluster.advance(10_000);
    let mut local = cluster.world(1).begin(view(Freshness::Local));
    let mut fresh = cluster.world(1).begin(view(Freshness::Fresh));
    cluster.advance(5_000);
    let view = local.try_recv().expect("what is here");
    assert_eq!(view.parts.len(), usize::from(PARTITIONS));
    assert!(view.as_of <= before.saturating_add(Duration::from_secs(1)), "{:?}", view.as_of);
    assert!(fresh.try_recv().is_err(), "nobody can say that it is fresh");
}

#[test]
fn an_admin_reaches_a_station_through_any_node() {
    let mut cluster = Cluster::new();
    cluster.provision(0);
    let conn = cluster.connect(2);
    cluster.advance(500);
    let ask = |call: StationCall| {
        move |reply| Request::Call { partition: HOME, station: identity("CP"), call, reply }
    };
    let mut answer = cluster.world(1).begin(ask(StationCall::ClearCache));
    cluster.settle();
    let heard = cluster.world(2).heard(conn);
    assert!(heard[0].contains("ClearCache"), "{heard:?}");
    let id = call_id(&heard[0]);
    cluster.say(2, conn, &format!(r#"[3,"{id}",{{"status":"Accepted"}}]"#));
    let reply = answer.try_recv().expect("an answer").expect("the station's");
    assert_eq!(reply.payload, r#"{"status":"Accepted"}"#);
    // The node with the socket goes while the station thinks.
    let mut answer = cluster.world(1).begin(ask(StationCall::Reset { immediate: true }));
    cluster.settle();
    cluster.worlds[2] = None;
    cluster.world(1).shard.handle_peer(node(2), PeerInput::LinkDown);
    cluster.settle();
    let failed = answer.try_recv().expect("an answer").expect_err("nobody knows");
    assert_eq!(failed, CallFailed::Unavailable(Unavailable));
}

#[test]
fn who_the_members_are_is_kept_with_the_state_and_given_back() {
    let mut cluster = Cluster::new();
    let leader = cluster.leader(HOME);
    let newcomer = node(7);
    let founders: Vec<NodeId> = (0..3).map(node).collect();
    let raft = &mut cluster.world(leader).shard.raft;
    raft.change_members(HOME, &[novax_raft::Change::AddLearner(newcomer)]).expect("it leads");
    cluster.advance(500);
    for world in cluster.worlds.iter_mut().flatten() {
        let slot = world.shard.slots.get_mut(&HOME).expect("a replica");
        let stored = stores::members(&mut slot.engine).expect("readable");
        assert_eq!(slot.group(&founders).members, stored);
        assert_eq!(stored.learners(), [newcomer]);
        assert_eq!(stored.voters(), founders);
    }
}

/// A node misses more than the others keep. It is given the state, and goes on from there: its socket stays, and the
/// charge ends on it.
#[test]
fn a_node_that_missed_too_much_is_given_the_state_and_keeps_its_sockets() {
    let mut cluster = Cluster::new();
    let leader = cluster.leader(HOME);
    let (late, other) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.provision(leader);
    let conn = cluster.connect(late);
    assert!(cluster.say(late, conn, START)[0].contains("Accepted"));
    cluster.advance(500);
    for at in [leader, other] {
        cluster.cut.insert((late.min(at), late.max(at)));
    }
    for key in 0..200 {
        let (key, driver) = (TransferKey(1_000 + key), identity("anna"));
        cluster.propose(leader, HOME, Command::Deposit { key, driver, amount: 1 });
    }
    for at in [leader, other] {
        let slot = cluster.world(at).shard.slots.get_mut(&HOME).expect("a replica");
        slot.flush_wanted = true;
    }
    // The store's worker has threads: flushed when it is done.
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let first = |cluster: &mut Cluster| {
        cluster.world(leader).shard.raft.status(HOME).expect("a replica").first
    };
    let reached = cluster.world(late).shard.slots[&HOME].machine.applied_index();
    while first(&mut cluster) <= reached + 1 {
        assert!(std::time::Instant::now() < limit, "nothing is flushed");
        cluster.advance(50);
    }
    cluster.cut.clear();
    let installed =
        |cluster: &mut Cluster| cluster.world(late).shard.counters.snapshots_installed.get();
    while installed(&mut cluster) == 0 {
        assert!(std::time::Instant::now() < limit, "no state came");
        cluster.advance(50);
    }
    cluster.advance(1_000);
    let heard = cluster.say(late, conn, STOP);
    assert!(heard.iter().any(|text| text.starts_with(r#"[3,"2""#)), "{heard:?}");
    cluster.states_agree();
    let world = cluster.world(late);
    let slot = &world.shard.slots[&HOME];
    assert_eq!(slot.machine.totals().sessions_ended, 1);
    assert!(slot.dir.starts_with(states::folder(world.dir.path())));
    // A checkpoint that nobody asks for goes.
    let kept = |cluster: &Cluster| {
        let folders = cluster.worlds.iter().flatten().map(|world| states::folder(world.dir.path()));
        let names = folders.flat_map(std::fs::read_dir).flatten().flatten();
        names.filter(|entry| entry.file_name().to_string_lossy().contains(".out-")).count()
    };
    assert!(kept(&cluster) > 0, "for a while");
    while kept(&cluster) > 0 {
        assert!(std::time::Instant::now() < limit, "it stays");
        cluster.advance(1_000);
    }
}

/// A link broke for good: the leader takes the sockets of the lost node for closed, and a node that was only cut off
/// says again what it has.
#[test]
fn stations_of_a_silent_node_count_as_disconnected_until_it_is_back() {
    let mut cluster = Cluster::new();
    let leader = cluster.leader(HOME);
    let (lost, other) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.provision(leader);
    cluster.connect(lost);
    let connected = |cluster: &mut Cluster, at: usize| {
        let slot = &cluster.world(at).shard.slots[&HOME];
        slot.machine.station("CP").expect("a row").connected
    };
    assert!(connected(&mut cluster, other));
    for at in [leader, other] {
        cluster.cut.insert((lost.min(at), lost.max(at)));
    }
    cluster.advance(9_000);
    assert!(connected(&mut cluster, other), "it may only be slow");
    cluster.advance(3_500);
    assert!(!connected(&mut cluster, other), "ten seconds of silence are enough");
    let told = |cluster: &mut Cluster| {
        let counted =
            |at: usize| cluster.worlds[at].as_ref().expect("lives").shard.counters.clone();
        (0..3).map(|at| counted(at).nodes_given_up.get()).sum::<u64>()
    };
    let before = told(&mut cluster);
    cluster.advance(20_000);
    assert_eq!(told(&mut cluster), before, "it is said once, not every second");
    cluster.cut.clear();
    cluster.advance(3_000);
    assert!(connected(&mut cluster, other), "the socket lives: its node says so");
    cluster.states_agree();
}

#[test]
fn a_clock_that_jumps_makes_nobody_silent() {
    let mut cluster = Cluster::new();
    cluster.provision(0);
    cluster.connect(1);
    cluster.now = cluster.now.saturating_add(Duration::from_secs(60));
    cluster.advance(3_000);
    for world in cluster.worlds.iter().flatten() {
        assert_eq!(world.shard.counters.nodes_given_up.get(), 0);
    }
}

/// Nodes are numbered from 1: partition p wants the p-th of the voters.
fn home_of(partition: PartitionId) -> usize {
    usize::from(partition.0) % 3
}

#[test]
fn leads_go_to_the_preferred_voters_and_come_back_to_them() {
    let mut cluster = Cluster::new();
    cluster.advance(15_000);
    let partitions = || (0..PARTITIONS).map(PartitionId);
    for partition in partitions() {
        assert_eq!(cluster.leader(partition), home_of(partition));
    }
    // The preferred one is away: another leads. When it is back it gets the lead again, but not at once.
    let away = home_of(HOME);
    let others: Vec<usize> = (0..3).filter(|at| *at != away).collect();
    cluster.cut.extend(others.iter().map(|at| (away.min(*at), away.max(*at))));
    cluster.advance(5_000);
    cluster.cut.clear();
    cluster.advance(2_000);
    assert_ne!(cluster.leader(HOME), away, "it has to be well for a while");
    cluster.advance(10_000);
    assert_eq!(cluster.leader(HOME), away);
    cluster.states_agree();
}

#[test]
fn a_node_that_drains_leads_nothing_and_loses_no_command() {
    let mut cluster = Cluster::new();
    cluster.advance(15_000);
    let leader = cluster.leader(HOME);
    let elsewhere = (leader + 1) % 3;
    cluster.provision(elsewhere);
    let conn = cluster.connect(leader);
    // Ordered at another node, for this one; a start comes while the lead is on its way.
    let drain = |on| crate::port::Order::Drain { node: node(leader), on };
    for partition in (0..PARTITIONS).map(PartitionId) {
        let order = Request::Order { partition, order: drain(true) };
        cluster.world(elsewhere).requests.push(order).expect("room");
    }
    cluster.settle();
    cluster.world(leader).say(conn, START);
    let mut drained = cluster.world(leader).begin(|reply| Request::Drained { reply });
    cluster.advance(200);
    drained.try_recv().expect("it leads nothing any more");
    let heard = cluster.world(leader).heard(conn);
    assert!(heard.len() == 1 && heard[0].contains("Accepted"), "{heard:?}");
    cluster.advance(30_000);
    for partition in (0..PARTITIONS).map(PartitionId) {
        assert_ne!(cluster.leader(partition), leader, "nobody prefers it while it drains");
    }
    let seen = cluster.world(elsewhere).ask(|reply| Request::Replicas { reply });
    let said = seen[0].others.iter().find(|other| other.node == node(leader)).expect("heard");
    assert!(said.standing.draining && said.age_ms <= 1_000, "{said:?}");
    cluster
        .world(elsewhere)
        .requests
        .push(Request::Order { partition: HOME, order: drain(false) })
        .expect("room");
    cluster.advance(15_000);
    assert_eq!(cluster.leader(HOME), leader, "it is preferred again");
    cluster.states_agree();
}

#[test]
fn an_admin_hands_a_lead_over_from_any_node() {
    let mut cluster = Cluster::new();
    let leader = cluster.leader(HOME);
    let (to, asked) = ((leader + 1) % 3, (leader + 2) % 3);
    let order = |to| Request::Order { partition: HOME, order: crate::port::Order::Transfer { to } };
    cluster.world(asked).requests.push(order(node(to))).expect("room");
    cluster.advance(100);
    assert_eq!(cluster.leader(HOME), to, "at once: it waits for no election timeout");
    // To somebody who has no vote: nothing happens.
    cluster.world(asked).requests.push(order(node(9))).expect("room");
    cluster.advance(100);
    assert_eq!(cluster.leader(HOME), to);
    cluster.states_agree();
}

#[test]
fn a_node_that_stands_alone_is_drained_at_once() {
    let mut world = World::new();
    let order = crate::port::Order::Drain { node: NodeId::FIRST, on: true };
    world.requests.push(Request::Order { partition: HOME, order }).expect("room");
    let mut drained = world.begin(|reply| Request::Drained { reply });
    world.advance(1);
    drained.try_recv().expect("there is nobody else");
    world.provision();
}

/// A group forgets every ten ticks who was active: a look at the wrong tick, again and again, found nobody well.
#[test]
fn a_lead_comes_back_whichever_tick_the_group_is_looked_at() {
    let mut cluster = Cluster::new();
    cluster.advance(15_000);
    let home = home_of(HOME);
    assert_eq!(cluster.leader(HOME), home);
    for tick in 0..10 {
        let to = crate::port::Order::Transfer { to: node((home + 1) % 3) };
        let order = Request::Order { partition: HOME, order: to };
        cluster.world(home).requests.push(order).expect("room");
        cluster.advance(100);
        assert_ne!(cluster.leader(HOME), home);
        cluster.advance(8_000 + 50 * tick);
        assert_eq!(cluster.leader(HOME), home, "after {tick} ticks more");
    }
}

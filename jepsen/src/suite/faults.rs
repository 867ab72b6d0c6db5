//! The faults of a run, by name: what each breaks, and how it is healed.

use super::cluster::{Cluster, Needs};
use super::members::Left;
use crate::folder::copy_folder;
use crate::harness::{Doing as _, HarnessError};
use crate::nemesis::Outcome;
use crate::nemesis::grudge::{self, Grudge};
use crate::nemesis::proxy::{Delay, Direction};
use crate::random::Random;
use novax_model::NodeId;
use std::path::Path;
use std::time::Duration;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL of so many nodes.
    Kill(Share),
    /// SIGSTOP of so many nodes.
    Pause(Share),
    /// Nodes do not hear each other.
    Partition(Shape),
    /// A node does not hear clients.
    CutClients,
    /// Packets are lost.
    Loss,
    /// A node's cable is slow.
    SlowCable,
    /// Clients and a node hear each other late.
    Delay,
    /// A node's wall clock jumps.
    ClockJump,
    /// A node's disk is full.
    DiskFull,
    /// A node's disk becomes read-only.
    DiskReadOnly,
    /// A node's disk loses what was not synced.
    DiskPowerCut,
    /// A node's disk is slow.
    DiskSlow,
    /// A node is taken out, and comes back as a new one.
    Members,
    /// A node's disk is lost, and a new node takes its place.
    ReplaceDisk,
    /// Nodes go over to another binary, one after the other.
    Upgrade,
    /// A node's data goes back to what it was the first time: a node that forgets. A node alone must fail with it,
    /// which shows that a workload notices.
    Forget,
}

/// How many nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// One, by chance.
    One,
    /// Who leads.
    Leader,
    /// As many as the others can go on without.
    Minority,
    /// One more than that.
    Majority,
    /// All.
    All,
}

/// How a network is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One node alone.
    One,
    /// Who leads alone.
    Leader,
    /// A minority and a majority.
    Halves,
    /// Each hears a majority of its own.
    Ring,
    /// Two sides and one in the middle.
    Bridge,
    /// One node does not hear another that hears it.
    OneWay,
}

/// All faults by name, and what they do in a sentence.
pub const FAULTS: [(&str, Fault, &str); 26] = [
    ("kill-one", Fault::Kill(Share::One), "one node is killed and started again"),
    ("kill-leader", Fault::Kill(Share::Leader), "who leads is killed"),
    ("kill-minority", Fault::Kill(Share::Minority), "as many as can be spared are killed"),
    ("kill-majority", Fault::Kill(Share::Majority), "more than can be spared are killed"),
    ("kill-all", Fault::Kill(Share::All), "all nodes are killed"),
    ("pause-one", Fault::Pause(Share::One), "one node is stopped and goes on"),
    ("pause-leader", Fault::Pause(Share::Leader), "who leads is stopped"),
    ("partition-one", Fault::Partition(Shape::One), "one node is alone"),
    ("partition-leader", Fault::Partition(Shape::Leader), "who leads is alone"),
    ("partition-halves", Fault::Partition(Shape::Halves), "a minority and a majority"),
    ("partition-ring", Fault::Partition(Shape::Ring), "each hears a majority of its own"),
    ("partition-bridge", Fault::Partition(Shape::Bridge), "two sides and one in the middle"),
    ("partition-one-way", Fault::Partition(Shape::OneWay), "one does not hear another"),
    ("cut-clients", Fault::CutClients, "a node does not hear clients"),
    ("loss", Fault::Loss, "a fifth of all packets is lost"),
    ("slow-cable", Fault::SlowCable, "a node's cable is slow"),
    ("delay", Fault::Delay, "clients and a node hear each other late"),
    ("clock-jump", Fault::ClockJump, "a node's wall clock jumps"),
    ("disk-full", Fault::DiskFull, "a node's disk is full"),
    ("disk-read-only", Fault::DiskReadOnly, "a node's disk becomes read-only"),
    ("disk-power-cut", Fault::DiskPowerCut, "a node's disk loses what was not synced"),
    ("disk-slow", Fault::DiskSlow, "a node's disk is slow"),
    ("members", Fault::Members, "a node is taken out and comes back as a new one"),
    ("replace-disk", Fault::ReplaceDisk, "a disk is lost, a new node takes its place"),
    ("upgrade", Fault::Upgrade, "nodes go over to another binary, one by one"),
    (
        "forget",
        Fault::Forget,
        "a node's data goes back in time; not one of `all`: a node alone must fail",
    ),
];

/// The faults a name stands for, each with its own name: none for `none`, all of them for `all`. Several names
/// can be given, parted by commas.
#[must_use]
pub fn named(text: &str) -> Option<Vec<(&'static str, Fault)>> {
    let every = || FAULTS.iter().map(|(name, fault, _)| (*name, *fault));
    let mut found = Vec::new();
    for name in text.split(',') {
        match name {
            "none" => {}
            "all" => found.extend(every().filter(|(_, fault)| *fault != Fault::Forget)),
            _ => found.push(every().find(|(known, _)| *known == name)?),
        }
    }
    Some(found)
}

impl Fault {
    /// What nodes must have of their own for it.
    #[must_use]
    pub fn needs(self) -> Needs {
        let none = Needs::default();
        match self {
            Fault::Kill(_)
            | Fault::Pause(_)
            | Fault::Members
            | Fault::ReplaceDisk
            | Fault::Upgrade
            | Fault::Forget => none,
            Fault::Partition(_) | Fault::CutClients | Fault::Loss | Fault::SlowCable => {
                Needs { network: true, ..none }
            }
            Fault::Delay => Needs { proxies: true, ..none },
            Fault::ClockJump => Needs { clock: true, ..none },
            Fault::DiskFull | Fault::DiskReadOnly | Fault::DiskPowerCut | Fault::DiskSlow => {
                Needs { disk: true, ..none }
            }
        }
    }
}

/// A fault that is, or may be, in force.
#[derive(Debug)]
pub struct InForce {
    fault: Fault,
    victims: Vec<NodeId>,
}

const LOSS_PER_MILLE: u16 = 200;
const SLOW_CABLE_KBIT_PER_S: u32 = 512;
const SLOW_DISK_WRITES_PER_S: u32 = 60;
const FULL_DISK_FREE_BYTES: u64 = 256 << 10;

/// Installs a fault. What it gives must be healed, unless the outcome is *skipped*. When a tool of the test fails,
/// the outcome is *indeterminate*.
pub fn install(fault: Fault, cluster: &mut dyn Cluster, random: &mut Random) -> (Outcome, InForce) {
    let nodes = cluster.nodes();
    let skipped =
        |why: &str| (Outcome::Skipped(why.to_owned()), InForce { fault, victims: Vec::new() });
    let Some(victims) = victims(fault, &nodes, cluster.leader(), random) else {
        return skipped("nobody knows who leads");
    };
    if matches!(fault, Fault::Partition(_)) && nodes.len() < 2 {
        return skipped("one node has nobody to be parted from");
    }
    if matches!(fault, Fault::Members | Fault::ReplaceDisk) && nodes.len() < 3 {
        return skipped("a majority must be left without it");
    }
    let needs = fault.needs();
    let first = victims.first().copied();
    let has = |cluster: &mut dyn Cluster| {
        (!needs.network || cluster.network().is_some())
            && (!needs.disk || first.is_some_and(|node| cluster.disk(node).is_some()))
            && (!needs.clock || first.is_some_and(|node| cluster.clock(node).is_some()))
    };
    if !has(cluster) {
        return skipped(
            "the nodes have nothing of their own to break: it needs root and its tools",
        );
    }
    let mut in_force = InForce { fault, victims };
    // What failed half way may be in force: it is handed out to be healed.
    let outcome = in_force
        .install(cluster, random)
        .unwrap_or_else(|error| Outcome::Indeterminate(error.to_string()));
    (outcome, in_force)
}

/// The nodes a fault is about, `None` when the leader is wanted and nobody knows it.
fn victims(
    fault: Fault,
    nodes: &[NodeId],
    leader: Option<NodeId>,
    random: &mut Random,
) -> Option<Vec<NodeId>> {
    let mut nodes = nodes.to_vec();
    for last in (1..nodes.len()).rev() {
        let bound = u64::try_from(last + 1).unwrap_or(1);
        nodes.swap(last, usize::try_from(random.between(0, bound)).unwrap_or(0));
    }
    let spared = nodes.len().saturating_sub(1) / 2;
    let count = match fault {
        Fault::Kill(Share::Leader)
        | Fault::Pause(Share::Leader)
        | Fault::Partition(Shape::Leader) => return leader.map(|leader| vec![leader]),
        Fault::Kill(Share::Minority) | Fault::Pause(Share::Minority) => spared.max(1),
        Fault::Kill(Share::Majority) | Fault::Pause(Share::Majority) => spared + 1,
        // Shapes are of all nodes, in an order by chance.
        Fault::Kill(Share::All)
        | Fault::Pause(Share::All)
        | Fault::Loss
        | Fault::Partition(_)
        | Fault::Upgrade => nodes.len(),
        _ => 1,
    };
    nodes.truncate(count.min(nodes.len()));
    Some(nodes)
}

impl InForce {
    fn install(
        &mut self,
        cluster: &mut dyn Cluster,
        random: &mut Random,
    ) -> Result<Outcome, HarnessError> {
        let detail = match self.fault {
            Fault::Kill(_) => {
                for node in &self.victims {
                    cluster.kill(*node)?;
                }
                list(&self.victims)
            }
            Fault::Pause(_) => {
                for node in &self.victims {
                    cluster.pause(*node)?;
                }
                list(&self.victims)
            }
            Fault::Partition(shape) => {
                let grudge = self.grudge(shape, &cluster.nodes());
                if let Some(network) = cluster.network() {
                    network.cut(&grudge)?;
                }
                grudge.words()
            }
            Fault::CutClients | Fault::Loss | Fault::SlowCable => self.break_network(cluster)?,
            Fault::Delay => {
                let delay = Delay {
                    base: Duration::from_millis(random.between(20, 200)),
                    jitter: Duration::from_millis(random.between(1, 200)),
                    silent: false,
                };
                if !self.delay(cluster, delay) {
                    return Ok(Outcome::Skipped("there are no proxies".to_owned()));
                }
                format!("{} by {:?} and up to {:?}", list(&self.victims), delay.base, delay.jitter)
            }
            Fault::ClockJump => {
                let seconds = random.between(1, 7_200).cast_signed();
                let ahead = if random.one_in(2) { seconds } else { -seconds };
                for clock in self.victims.iter().filter_map(|node| cluster.clock(*node)) {
                    clock.set(ahead)?;
                }
                format!("{} by {ahead} s", list(&self.victims))
            }
            Fault::DiskFull | Fault::DiskReadOnly | Fault::DiskPowerCut | Fault::DiskSlow => {
                self.break_disks(cluster)?;
                list(&self.victims)
            }
            Fault::Members => self.leave(cluster, Left::Removed)?,
            Fault::ReplaceDisk => self.leave(cluster, Left::Lost)?,
            // One of them; the others when it is healed, so that both binaries run side by side meanwhile.
            Fault::Upgrade => match self.victims.first() {
                Some(first) => upgraded(*first, &cluster.upgrade(*first)?),
                None => String::new(),
            },
            Fault::Forget => self.forget(cluster)?,
        };
        Ok(Outcome::Installed(detail))
    }

    fn grudge(&self, shape: Shape, nodes: &[NodeId]) -> Grudge {
        let Some(first) = self.victims.first().copied() else { return Grudge::default() };
        let second = self.victims.get(1).copied().unwrap_or(first);
        match shape {
            Shape::One | Shape::Leader => grudge::isolate(nodes, first),
            Shape::Halves => grudge::halves(&self.victims),
            Shape::Ring => grudge::majorities_ring(&self.victims),
            Shape::Bridge => grudge::bridge(&self.victims),
            Shape::OneWay => grudge::one_way(first, second),
        }
    }

    fn break_network(&self, cluster: &mut dyn Cluster) -> Result<String, HarnessError> {
        let words = list(&self.victims);
        let Some(network) = cluster.network() else { return Ok(words) };
        match self.fault {
            Fault::CutClients => network.cut_clients(&self.victims.iter().copied().collect())?,
            Fault::Loss => network.lose(LOSS_PER_MILLE)?,
            _ => {
                for node in &self.victims {
                    network.limit(*node, SLOW_CABLE_KBIT_PER_S)?;
                }
            }
        }
        Ok(words)
    }

    fn break_disks(&self, cluster: &mut dyn Cluster) -> Result<(), HarnessError> {
        for node in &self.victims {
            if self.fault == Fault::DiskSlow {
                cluster.join_disk(*node)?;
            }
            let Some(disk) = cluster.disk(*node) else { continue };
            match self.fault {
                Fault::DiskFull => disk.fill(FULL_DISK_FREE_BYTES)?,
                Fault::DiskReadOnly => disk.make_read_only()?,
                Fault::DiskPowerCut => disk.cut_power()?,
                _ => disk.slow(SLOW_DISK_WRITES_PER_S)?,
            }
        }
        Ok(())
    }

    fn leave(&self, cluster: &mut dyn Cluster, how: Left) -> Result<String, HarnessError> {
        for node in &self.victims {
            cluster.leave(*node, how)?;
        }
        Ok(list(&self.victims))
    }

    /// The first time, keeps what a node has; after that, gives it back.
    fn forget(&self, cluster: &mut dyn Cluster) -> Result<String, HarnessError> {
        let mut words = Vec::new();
        for node in &self.victims {
            cluster.kill(*node)?;
            let Some(data) = cluster.data(*node) else { continue };
            let past = data.with_extension("past");
            let doing = || format!("turning back {}", data.display());
            if past.exists() {
                std::fs::remove_dir_all(&data).doing(doing)?;
                copy_folder(&past, &data).doing(doing)?;
                words.push(format!("n{} goes back", node.get()));
            } else {
                copy_folder(&data, &past).doing(doing)?;
                words.push(format!("n{} is remembered", node.get()));
            }
        }
        Ok(words.join(" "))
    }

    fn delay(&self, cluster: &mut dyn Cluster, delay: Delay) -> bool {
        let mut all = true;
        for node in &self.victims {
            for direction in [Direction::There, Direction::Back] {
                all &= cluster.delay(*node, direction, delay);
            }
        }
        all
    }

    /// Undoes it: nodes that are down because of it are started again.
    ///
    /// # Errors
    /// When it cannot be undone.
    pub fn heal(self, cluster: &mut dyn Cluster) -> Result<Outcome, HarnessError> {
        match self.fault {
            Fault::Kill(_) | Fault::Forget => {
                let mut down = self.victims.clone();
                down.retain(|node| !cluster.is_up(*node));
                cluster.start(&down)?;
            }
            Fault::Members | Fault::ReplaceDisk => {
                for node in &self.victims {
                    cluster.come_back(*node)?;
                }
            }
            Fault::Upgrade => {
                for node in self.victims.iter().skip(1) {
                    cluster.upgrade(*node)?;
                }
            }
            Fault::Pause(_) => each(&self.victims, |node| cluster.resume(node))?,
            Fault::Partition(_) | Fault::CutClients | Fault::Loss | Fault::SlowCable => {
                if let Some(network) = cluster.network() {
                    network.heal()?;
                }
            }
            Fault::Delay => {
                self.delay(cluster, Delay::default());
            }
            Fault::ClockJump => {
                for clock in self.victims.iter().filter_map(|node| cluster.clock(*node)) {
                    clock.set(0)?;
                }
            }
            Fault::DiskFull | Fault::DiskSlow => self.give_back(cluster)?,
            Fault::DiskReadOnly | Fault::DiskPowerCut => {
                for node in &self.victims {
                    cluster.put_down(*node)?;
                    if let Some(disk) = cluster.disk(*node) {
                        disk.mend()?;
                    }
                    cluster.start(&[*node])?;
                }
            }
        }
        Ok(Outcome::Installed(list(&self.victims)))
    }

    /// A disk that was full or slow is as before. A node may end when its disk is full, and is started again.
    fn give_back(&self, cluster: &mut dyn Cluster) -> Result<(), HarnessError> {
        for node in &self.victims {
            if let Some(disk) = cluster.disk(*node) {
                match self.fault {
                    Fault::DiskSlow => disk.slow(0)?,
                    _ => disk.empty()?,
                }
            }
            if self.fault == Fault::DiskFull && !cluster.is_up(*node) {
                cluster.put_down(*node)?;
                cluster.start(&[*node])?;
            }
        }
        Ok(())
    }
}

/// Does it to each, whatever comes of the others; the first error counts.
fn each(
    nodes: &[NodeId],
    mut act: impl FnMut(NodeId) -> Result<(), HarnessError>,
) -> Result<(), HarnessError> {
    let mut went = Ok(());
    for node in nodes {
        went = went.and(act(*node));
    }
    went
}

fn upgraded(node: NodeId, program: &Path) -> String {
    format!("n{} runs {}", node.get(), program.display())
}

fn list(nodes: &[NodeId]) -> String {
    let numbers: Vec<String> = nodes.iter().map(|node| format!("n{}", node.get())).collect();
    numbers.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn nodes(count: u64) -> Vec<NodeId> {
        (1..=count).filter_map(NodeId::new).collect()
    }

    #[test]
    fn names_are_unique_and_stand_for_their_faults() {
        let names: BTreeSet<_> = FAULTS.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names.len(), FAULTS.len());
        assert_eq!(named("none"), Some(Vec::new()));
        assert_eq!(named("all").map(|all| all.len()), Some(FAULTS.len() - 1));
        let both = named("loss,disk-slow").expect("known");
        assert_eq!(both, [("loss", Fault::Loss), ("disk-slow", Fault::DiskSlow)]);
        assert_eq!(named("loss,gremlins"), None);
    }

    #[test]
    fn a_minority_can_be_spared_and_a_majority_cannot() {
        let mut random = Random::new(1, 1);
        let mut count = |fault, of| {
            let nodes = nodes(of);
            let victims = victims(fault, &nodes, Some(nodes[0]), &mut random).expect("known");
            assert_eq!(victims.iter().collect::<BTreeSet<_>>().len(), victims.len());
            victims.len()
        };
        for (of, minority, majority) in [(1, 1, 1), (3, 1, 2), (4, 1, 2), (5, 2, 3), (7, 3, 4)] {
            assert_eq!(count(Fault::Kill(Share::Minority), of), minority, "of {of}");
            assert_eq!(count(Fault::Kill(Share::Majority), of), majority, "of {of}");
            assert_eq!(count(Fault::Kill(Share::One), of), 1);
            assert_eq!(count(Fault::Kill(Share::All), of) as u64, of);
            assert_eq!(count(Fault::Kill(Share::Leader), of), 1);
        }
    }

    /// Nodes that only remember what was done to them. One of them cannot be paused.
    #[derive(Debug, Default)]
    struct Pretended {
        done: Vec<String>,
        stubborn: Option<NodeId>,
    }

    impl Pretended {
        fn note(&mut self, what: &str, node: NodeId) -> Result<(), HarnessError> {
            self.done.push(format!("{what} {}", node.get()));
            if what == "pause" && self.stubborn == Some(node) {
                return Err(HarnessError::Scene("it does not stop".to_owned()));
            }
            Ok(())
        }
    }

    impl Cluster for Pretended {
        fn nodes(&self) -> Vec<NodeId> {
            nodes(3)
        }

        fn endpoints(&self) -> Vec<crate::suite::cluster::Endpoint> {
            Vec::new()
        }

        fn leader(&self) -> Option<NodeId> {
            None
        }

        fn start(&mut self, nodes: &[NodeId]) -> Result<Duration, HarnessError> {
            nodes.iter().try_for_each(|node| self.note("start", *node)).map(|()| Duration::ZERO)
        }

        fn kill(&mut self, node: NodeId) -> Result<(), HarnessError> {
            self.note("kill", node)
        }

        fn put_down(&mut self, node: NodeId) -> Result<(), HarnessError> {
            self.note("put down", node)
        }

        fn is_up(&mut self, _node: NodeId) -> bool {
            false
        }

        fn pause(&mut self, node: NodeId) -> Result<(), HarnessError> {
            self.note("pause", node)
        }

        fn resume(&mut self, node: NodeId) -> Result<(), HarnessError> {
            self.note("resume", node)
        }

        fn network(&mut self) -> Option<&mut crate::nemesis::net::Network> {
            None
        }

        fn disk(&mut self, _node: NodeId) -> Option<&mut crate::nemesis::disk::Disk> {
            None
        }

        fn join_disk(&mut self, _node: NodeId) -> Result<(), HarnessError> {
            Ok(())
        }

        fn clock(&self, _node: NodeId) -> Option<&crate::nemesis::clock::Clock> {
            None
        }

        fn delay(&mut self, _node: NodeId, _direction: Direction, _delay: Delay) -> bool {
            false
        }

        fn leave(&mut self, node: NodeId, _how: Left) -> Result<(), HarnessError> {
            self.note("leave", node)
        }

        fn come_back(&mut self, node: NodeId) -> Result<(), HarnessError> {
            self.note("come back", node)
        }

        fn upgrade(&mut self, node: NodeId) -> Result<std::path::PathBuf, HarnessError> {
            self.note("upgrade", node).map(|()| "other".into())
        }

        fn data(&self, _node: NodeId) -> Option<std::path::PathBuf> {
            None
        }

        fn unexpected(&mut self) -> Vec<String> {
            Vec::new()
        }
    }

    #[test]
    fn a_fault_says_how_it_went_and_what_went_half_way_is_undone() {
        let mut random = Random::new(2, 2);
        let mut cluster = Pretended::default();
        let (outcome, in_force) = install(Fault::Kill(Share::All), &mut cluster, &mut random);
        assert!(matches!(outcome, Outcome::Installed(_)), "{outcome:?}");
        in_force.heal(&mut cluster).expect("healed");
        let count =
            |done: &[String], what| done.iter().filter(|line| line.starts_with(what)).count();
        assert_eq!((count(&cluster.done, "kill"), count(&cluster.done, "start")), (3, 3));
        let mut done = |fault| {
            let mut cluster = Pretended::default();
            let (outcome, in_force) = install(fault, &mut cluster, &mut random);
            assert!(matches!(outcome, Outcome::Installed(_)), "{outcome:?}");
            in_force.heal(&mut cluster).expect("healed");
            let words = |line: &String| line.rsplit_once(' ').map(|(what, _)| what.to_owned());
            cluster.done.iter().filter_map(words).collect::<Vec<_>>()
        };
        for fault in [Fault::Members, Fault::ReplaceDisk] {
            assert_eq!(done(fault), ["leave", "come back"]);
        }
        assert_eq!(done(Fault::Upgrade), ["upgrade"; 3]);
        for fault in [Fault::Loss, Fault::DiskFull, Fault::ClockJump, Fault::Delay] {
            let (outcome, _) = install(fault, &mut cluster, &mut random);
            assert!(matches!(outcome, Outcome::Skipped(_)), "{fault:?}: {outcome:?}");
        }
        let mut cluster = Pretended { stubborn: NodeId::new(2), ..Pretended::default() };
        let (outcome, in_force) = install(Fault::Pause(Share::All), &mut cluster, &mut random);
        assert_eq!(
            outcome,
            Outcome::Indeterminate("the scene cannot be set: it does not stop".to_owned())
        );
        in_force.heal(&mut cluster).expect("healed");
        assert_eq!(count(&cluster.done, "resume"), 3, "whoever was or may be paused goes on");
    }

    #[test]
    fn without_a_leader_nothing_is_done_to_it() {
        let mut random = Random::new(1, 1);
        let fault = Fault::Partition(Shape::Leader);
        assert_eq!(victims(fault, &nodes(3), None, &mut random), None);
        let leader = nodes(3)[1];
        assert_eq!(victims(fault, &nodes(3), Some(leader), &mut random), Some(vec![leader]));
    }
}

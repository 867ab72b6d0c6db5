//! A small cluster: certificates, nodes, and handlers that tell what they heard.

use novax_model::NodeId;
use novax_peer::net::{Snapshot, SnapshotSink, SnapshotSource, TakenSnapshot};
use novax_peer::pki::{self, Authority, Identity};
use novax_peer::{
    ClusterId, Config, Handler, Links, Message, PeerInfo, Refusal, RunId, SnapshotId,
};
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const CLUSTER: ClusterId = ClusterId([0x42; 16]);
/// Nothing here takes so long unless it is broken.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Between two looks at what cannot be waited for.
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(1));
}

pub(crate) fn node(number: u64) -> NodeId {
    NodeId::new(number).expect("not zero")
}

/// What a handler heard.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Up(NodeId, RunId),
    Down(NodeId, Refusal),
    Message(NodeId, Message),
    Received(NodeId, SnapshotId, bool),
    Sent(NodeId, SnapshotId, bool),
    Joining(NodeId, String),
}

/// The bytes of a snapshot as they are written, kept over links and sinks.
pub(crate) type Disk = Arc<Mutex<Vec<u8>>>;

/// Tells all it hears; takes snapshots onto its disk, if it has one.
pub(crate) struct Ear {
    tell: Mutex<Sender<Heard>>,
    disk: Option<Disk>,
}

impl Ear {
    fn tell(&self, heard: Heard) {
        // A test that is over listens no more.
        let _listening = self.tell.lock().expect("no test panics holding it").send(heard).is_ok();
    }
}

impl Handler for Ear {
    fn link_up(&self, peer: &PeerInfo) {
        self.tell(Heard::Up(peer.node, peer.run));
    }

    fn link_down(&self, node: NodeId, why: Refusal) {
        self.tell(Heard::Down(node, why));
    }

    fn message(&self, from: NodeId, message: Message) {
        self.tell(Heard::Message(from, message));
    }

    fn snapshot_offered(
        &self,
        _from: NodeId,
        _id: SnapshotId,
        _length: u64,
        about: &[u8],
    ) -> Option<TakenSnapshot> {
        assert_eq!(about, b"a checkpoint");
        let disk = Arc::clone(self.disk.as_ref()?);
        let have = disk.lock().expect("no test panics holding it").len() as u64;
        Some(TakenSnapshot { have, sink: Box::new(Sink(disk)) })
    }

    fn snapshot_received(&self, from: NodeId, id: SnapshotId, whole: bool) {
        self.tell(Heard::Received(from, id, whole));
    }

    fn snapshot_sent(&self, to: NodeId, id: SnapshotId, whole: bool) {
        self.tell(Heard::Sent(to, id, whole));
    }

    fn joining(&self, node: NodeId, address: &str) -> Result<Vec<u8>, String> {
        self.tell(Heard::Joining(node, address.to_owned()));
        match address {
            "nowhere:1" => Err("nobody can be there".to_owned()),
            _ => Ok(b"welcome".to_vec()),
        }
    }
}

struct Sink(Disk);

impl SnapshotSink for Sink {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock().expect("no test panics holding it");
        assert_eq!(disk.len() as u64, offset, "each byte comes once and in order");
        disk.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes that can be told from each other, made as they are read.
pub(crate) struct Made;

pub(crate) fn made_byte(at: u64) -> u8 {
    u8::try_from(at % 251).expect("below 251")
}

impl SnapshotSource for Made {
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        for (at, byte) in (offset..).zip(into) {
            *byte = made_byte(at);
        }
        Ok(())
    }
}

pub(crate) fn snapshot(id: u64, length: u64) -> Snapshot {
    let about = bytes::Bytes::from_static(b"a checkpoint");
    Snapshot { id: SnapshotId(id), length, about, source: Box::new(Made) }
}

/// The certificates of a cluster, each node's in a directory of its own.
pub(crate) struct Certificates {
    first: TempDir,
    pub(crate) cluster: ClusterId,
}

impl Certificates {
    pub(crate) fn new(cluster: ClusterId) -> Certificates {
        let first = tempfile::tempdir().expect("a directory");
        pki::create(first.path(), cluster, node(1)).expect("it is empty");
        Certificates { first, cluster }
    }

    pub(crate) fn authority(&self) -> Authority {
        Authority::load(self.first.path(), &self.of(1)).expect("node 1 has it")
    }

    /// A directory with the certificates of any node but the first.
    pub(crate) fn dir(&self, number: u64) -> TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        self.authority().issue(node(number), dir.path()).expect("it is empty");
        dir
    }

    /// The identity of any node: the first node's is on disk, the others' are given by the authority without a
    /// socket.
    pub(crate) fn of(&self, number: u64) -> Identity {
        if number == 1 {
            return Identity::load(self.first.path(), self.cluster, node(1)).expect("just made");
        }
        let dir = self.dir(number);
        Identity::load(dir.path(), self.cluster, node(number)).expect("just made")
    }
}

/// A node that runs, and what it heard.
pub(crate) struct Node {
    pub(crate) links: Links,
    heard: Receiver<Heard>,
}

/// What a node is to be, beyond its certificate.
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) disk: Option<Disk>,
}

impl Setup {
    pub(crate) fn new(identity: Identity) -> Setup {
        let listen = "127.0.0.1:0".parse().expect("an address");
        let mut config = Config::new(identity, RunId(7), 1..=1, listen);
        // As fast as tests are to be; faults have to be found in this time too.
        config.timing.ping_every = Duration::from_millis(50);
        config.timing.greeting_max = Duration::from_millis(2_000);
        Setup { config, disk: None }
    }

    pub(crate) fn start(self) -> Node {
        let (tell, heard) = channel();
        let ear = Ear { tell: Mutex::new(tell), disk: self.disk };
        let links = Links::start(self.config, &[], Arc::new(ear)).expect("a free port");
        Node { links, heard }
    }
}

impl Node {
    pub(crate) fn address(&self) -> String {
        self.links.address().to_string()
    }

    /// What it heard next, within [`LONG`].
    pub(crate) fn next(&self) -> Heard {
        self.heard.recv_timeout(LONG).expect("it hears something in time")
    }

    /// Skips what it hears until `wanted` says yes.
    pub(crate) fn wait_for(&self, wanted: impl Fn(&Heard) -> bool) -> Heard {
        let until = Instant::now() + LONG;
        let mut skipped = Vec::new();
        while Instant::now() < until {
            let heard = self.next();
            if wanted(&heard) {
                return heard;
            }
            skipped.push(heard);
        }
        panic!("it is not heard; what was: {skipped:?}");
    }

    pub(crate) fn wait_up(&self, number: u64) {
        self.wait_for(|heard| matches!(heard, Heard::Up(up, _) if *up == node(number)));
    }

    pub(crate) fn wait_down(&self, number: u64) -> Refusal {
        let down = |heard: &Heard| matches!(heard, Heard::Down(down, _) if *down == node(number));
        match self.wait_for(down) {
            Heard::Down(_, why) => why,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until this node has refused for that reason so often.
    pub(crate) fn wait_refused(&self, refusal: Refusal, times: u64) {
        let until = Instant::now() + LONG;
        while self.links.status().refused(refusal) < times {
            let refusals = self.links.status().refusals;
            assert!(Instant::now() < until, "{refusal:?} is not counted: {refusals:?}");
            pause();
        }
    }
}

/// Nodes 1 to `count`, all linked.
pub(crate) fn cluster(certificates: &Certificates, count: u64) -> Vec<Node> {
    let nodes: Vec<Node> =
        (1..=count).map(|number| Setup::new(certificates.of(number)).start()).collect();
    link(&nodes);
    nodes
}

/// Tells all nodes of all, and waits until each has a link to each.
pub(crate) fn link(nodes: &[Node]) {
    let peers: Vec<(NodeId, String)> =
        (1..).zip(nodes).map(|(number, one)| (node(number), one.address())).collect();
    for one in nodes {
        one.links.set_peers(&peers);
    }
    for one in nodes {
        let mut missing = nodes.len() - 1;
        while missing > 0 {
            one.wait_for(|heard| matches!(heard, Heard::Up(..)));
            missing -= 1;
        }
    }
}

pub(crate) fn raft(bytes: &[u8]) -> Message {
    Message::Raft(bytes.to_vec().into())
}

/// Both ways, something is said and heard.
pub(crate) fn assert_linked(one: &Node, one_is: u64, other: &Node, other_is: u64) {
    for (from, from_is, to, to_is) in
        [(one, one_is, other, other_is), (other, other_is, one, one_is)]
    {
        let said = raft(format!("from {from_is} to {to_is}").as_bytes());
        from.links.send(node(to_is), said.clone()).expect("the link is up");
        let wanted = Heard::Message(node(from_is), said);
        to.wait_for(|heard| *heard == wanted);
    }
}

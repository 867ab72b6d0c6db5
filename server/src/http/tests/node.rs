//! A node of real partitions and stores in one thread: what a shard does, without sockets and log.
//!
//! Commands take effect through `Partition::apply` from encoded entries, rows go through the store, so the
//! API is tested against the state machine itself.

use crate::control::{
    CallFailed, Control, Replica, Request, ShardPort, StartCharge, StationCall, StationReply,
    Totals, View, digest,
};
use crossbeam_queue::ArrayQueue;
use novax_charging::command::{Command, Outcome, PayerRef, RequestStart, encode_entry};
use novax_charging::config::PartitionConfig;
use novax_charging::{DirectoryKind, Partition, RowWrites};
use novax_engine::{Batch, Engine, Worker};
use novax_model::{Identity, NodeId, PartitionId, SessionId, Timestamp};
use novax_raft::Members;
use novax_shard::counters::Counters;
use novax_shard::standing::Standing;
use novax_shard::stores;
use std::sync::Arc;
use std::thread::JoinHandle;

/// 2026-11-22T13:14:24Z: when a node of the tests starts.
pub(super) const START: Timestamp = Timestamp(1_795_353_264_000_000);

/// What stations of the tests answer to calls.
pub(super) type Station = fn(&Identity, &StationCall) -> Option<Result<StationReply, CallFailed>>;

pub(super) struct Node {
    pub control: Control,
    pub counters: Arc<Counters>,
    queue: Arc<ArrayQueue<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    pub(super) fn start(partitions: u16, station: Station) -> Node {
        let queue = Arc::new(ArrayQueue::new(1_024));
        let counters = Arc::new(Counters::default());
        let shard = Shard::new(partitions, station, counters.clone());
        let requests = queue.clone();
        let thread = std::thread::spawn(move || shard.run(&requests));
        let waker = thread.thread().clone();
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || waker.unpark());
        let port = ShardPort { queue: queue.clone(), wake, counters: counters.clone() };
        Node {
            control: Control::new(vec![port], partitions),
            counters,
            queue,
            thread: Some(thread),
        }
    }

    /// Proposes to the partition of a site, as a gateway would for its stations.
    pub(super) async fn apply(&self, site: &str, command: Command) -> Outcome {
        let home = self.control.locate(DirectoryKind::Site, site).await.expect("the node runs");
        let home = home.expect("the site was made");
        self.control.propose(home, command).await.expect("the node runs")
    }

    /// Ends the shard and leaves its queue full: what a shard that hangs looks like.
    pub(super) fn end_full(&mut self) {
        self.end();
        while self.queue.push(Request::Stop).is_ok() {}
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let mut stop = Request::Stop;
        // The thread empties the queue, so there is room for the last request.
        while let Err(back) = self.queue.push(stop) {
            stop = back;
            thread.thread().unpark();
            std::thread::yield_now();
        }
        thread.thread().unpark();
        thread.join().expect("the node's thread ends well");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}

struct Part {
    partition: Partition,
    engine: Engine,
    index: u64,
}

struct Shard {
    parts: Vec<Part>,
    station: Station,
    counters: Arc<Counters>,
    time: Timestamp,
    /// Calls that nobody answers: kept, so that whoever waits goes on waiting.
    unanswered: Vec<Request>,
    _worker: Worker,
    _dir: tempfile::TempDir,
}

impl Shard {
    fn new(partitions: u16, station: Station, counters: Arc<Counters>) -> Shard {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let worker = Worker::start(1).expect("a worker");
        let parts = (0..partitions)
            .map(|number| {
                let options = stores::store_options();
                let path = dir.path().join(number.to_string());
                let engine = Engine::open(&path, options, &worker).expect("a new store");
                let partition = PartitionId(number);
                let config = PartitionConfig { partition, ..PartitionConfig::default() };
                Part { partition: Partition::new(config), engine, index: 0 }
            })
            .collect();
        let unanswered = Vec::new();
        Shard { parts, station, counters, time: START, unanswered, _worker: worker, _dir: dir }
    }

    fn run(mut self, requests: &ArrayQueue<Request>) {
        loop {
            match requests.pop() {
                None => std::thread::park(),
                Some(Request::Stop) => return,
                Some(request) => self.handle(request),
            }
        }
    }

    fn handle(&mut self, request: Request) {
        // A reply that nobody takes any more is nothing to us.
        match request {
            Request::Propose { partition, command, reply } => {
                let _ = reply.send(Ok(self.propose(partition, command)));
            }
            Request::Locate { partition, kind, id, reply } => {
                let row = self.part(partition).partition.directory(kind, &id).map(|row| row.home);
                let _ = reply.send(row);
            }
            Request::StartCharge { partition, request, reply } => {
                let command = self.start(partition, &request);
                let _ = reply.send(Ok(self.propose(partition, command)));
            }
            Request::Call { partition, station, call, reply } => {
                match (self.station)(&station, &call) {
                    Some(answer) => drop(reply.send(answer)),
                    None => {
                        self.unanswered.push(Request::Call { partition, station, call, reply });
                    }
                }
            }
            Request::View { with_series, reply, .. } => {
                let _ = reply.send(View { parts: self.snapshot(with_series), as_of: self.time });
            }
            Request::Totals { reply } => {
                let _ = reply.send(self.totals());
            }
            Request::Replicas { reply } => {
                let _ = reply.send(self.replicas());
            }
            Request::Drained { reply } => drop(reply.send(())),
            Request::DropWindows { .. } | Request::Order { .. } => {}
            Request::Stop => unreachable!("taken by the loop"),
        }
    }

    fn part(&mut self, partition: PartitionId) -> &mut Part {
        &mut self.parts[usize::from(partition.0)]
    }

    fn propose(&mut self, partition: PartitionId, command: Command) -> Outcome {
        self.time = Timestamp(self.time.0 + 1_000);
        let entry = encode_entry(self.time, vec![command]);
        let part = self.part(partition);
        part.index += 1;
        let applied =
            part.partition.apply(part.index, &entry, &mut stores::Recall::new(&mut part.engine));
        let applied = applied.expect("our own entry");
        write(part, &applied.rows);
        self.counters.commands_applied.increment();
        applied.outcomes.into_iter().next().expect("one command, one outcome")
    }

    /// The payer is looked for in the station's partition only: these tests keep them together.
    fn start(&self, partition: PartitionId, request: &StartCharge) -> Command {
        let connector = request.connector.to_string();
        let station = request.station.as_str();
        let payload = digest(&[station, &connector, request.token.as_str()]);
        Command::RequestStart(RequestStart {
            session: SessionId::new(partition, digest(&["session", &request.key])),
            payload_hash: u64::try_from(payload >> 64).expect("64 bits are left"),
            identity: request.station.clone(),
            connector: request.connector,
            token: request.token.clone(),
            payer: PayerRef::Local,
        })
    }

    fn snapshot(&mut self, with_series: bool) -> Vec<(PartitionId, novax_engine::Snapshot)> {
        let mut all = Vec::new();
        for (number, part) in self.parts.iter_mut().enumerate() {
            if with_series {
                let rows = part.partition.seal_heads();
                write(part, &rows);
            }
            let number = PartitionId(u16::try_from(number).expect("few partitions"));
            all.push((number, part.engine.snapshot()));
        }
        all
    }

    /// As of a node that stands alone.
    fn replicas(&self) -> Vec<Replica> {
        let replica = |(number, part): (usize, &Part)| Replica {
            partition: PartitionId(u16::try_from(number).expect("few partitions")),
            leader: Some(NodeId::FIRST),
            standing: Standing {
                leads: true,
                draining: false,
                caught_up: true,
                term: 1,
                commit: part.index,
                applied: part.index,
            },
            members: Members::of_voters(&[NodeId::FIRST]),
            wanted: None,
            others: Vec::new(),
        };
        self.parts.iter().enumerate().map(replica).collect()
    }

    fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        for part in &self.parts {
            let totals = part.partition.totals();
            sum.add(&Totals {
                live_sessions: totals.live_sessions,
                ended_sessions: totals.sessions_ended,
                power_w: totals.power_w_live,
                energy_wh: totals.energy_wh_total,
                settled: totals.settled,
                stations_connected: totals.stations_connected,
            });
        }
        sum
    }
}

fn write(part: &mut Part, rows: &RowWrites) {
    let mut batch = Batch::new();
    for row in rows.iter() {
        match row.value {
            Some(value) => batch.put(row.keyspace as u8, row.key, value),
            None => batch.delete(row.keyspace as u8, row.key),
        }
    }
    batch.set_mark(part.index);
    part.engine.write(&mut batch);
}

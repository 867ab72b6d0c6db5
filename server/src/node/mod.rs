//! A node: recovers its data directory, starts its shards and the control plane, stops them.

pub(crate) mod data;
pub mod driver;
pub mod states;
pub mod tiers;

use crate::cluster::{ClusterError, ClusterFile, Host, INBOX_MAX, Inbox, Keeper, Router, Seat};
use crate::config::Config;
use crate::control::{Control, Freshness, Request, ShardPort};
use crate::http;
use crate::http::starts::Starts;
use crate::payments::Payments;
use crossbeam_queue::ArrayQueue;
use data::DataDir;
use driver::Driver;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use novax_charging::PartitionConfig;
use novax_engine::tools::{ScrubFinding, ScrubPosition, Scrubber};
use novax_engine::{Disk, Engine, RealDisk, Worker};
use novax_model::{Duration, Identity, NodeId, PartitionId};
use novax_peer::net::Links;
use novax_query::{Source, SourceError, View};
use novax_raft::{GroupSpec, LogConfig, MultiRaft, RaftConfig, Recovered};
use novax_ring::{Ring, RingConfig, RingHandle};
use novax_shard::counters::Counters;
use novax_shard::mesh::{Mesh, MeshMessage};
use novax_shard::peers::FromPeer;
use novax_shard::port::Asked;
use novax_shard::slot::Slot;
use novax_shard::{Shard, ShardConfig, states as state_files, stores};
use novax_tsdb::query::SeriesSource;
use states::{States, StoreOptions};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;
use tiers::Tiers;
use tokio::sync::{mpsc, watch};

/// Requests of the control plane that may wait for one shard.
const REQUESTS_MAX: usize = 16_384;
/// Messages that may wait between shards.
const MESH_MAX: usize = 16_384;
/// Unknown identities that may wait for automatic approval.
const UNKNOWN_MAX: usize = 4_096;
/// After the order to stop, requests under way have this long to finish.
const FINISH_TIMEOUT: Duration = Duration::from_secs(3);
/// After the order to stop, others have this long to take over what the node leads.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// A node that is not ready after this says why.
const READY_PATIENCE: Duration = Duration::from_secs(10);
/// Between two passes of a scrubber over a store.
const SCRUB_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a node did not start, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The data directory is not usable; says what to do.
    #[error("data directory {path}: {reason}")]
    Data {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// An address is taken or not allowed.
    #[error("cannot listen on {addr} for {what}: {error}")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// For what.
        what: &'static str,
        /// Why.
        error: std::io::Error,
    },
    /// The log does not recover.
    #[error("the log does not recover: {0}")]
    Log(#[from] novax_raft::Error),
    /// A store does not open or close.
    #[error("a store: {0}")]
    Store(#[from] novax_engine::Error),
    /// The payment provider cannot be used as configured.
    #[error(transparent)]
    Payments(#[from] novax_payments::PaymentError),
    /// The cold tier does not open.
    #[error("the cold tier: {0}")]
    Cold(#[from] novax_cold::ColdError),
    /// It has no place in its cluster.
    #[error("the cluster: {0}")]
    Cluster(#[from] ClusterError),
    /// The rows of a store are not a state.
    #[error("partition {partition} does not restore: {reason}")]
    Restore {
        /// Which.
        partition: PartitionId,
        /// Why.
        reason: String,
    },
    /// The system refuses something the node cannot do without.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why.
        error: std::io::Error,
    },
}

fn system(what: &'static str) -> impl Fn(std::io::Error) -> NodeError {
    move |error| NodeError::System { what, error }
}

/// Where a running node listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Stations.
    pub ocpp: SocketAddr,
    /// The API and the console.
    pub http: SocketAddr,
    /// Charges that apps start, if the shards serve them.
    pub starts: Option<SocketAddr>,
    /// SQL.
    pub sql: SocketAddr,
}

/// Which node this is, and who founded its groups.
struct Place {
    node: NodeId,
    founders: Vec<NodeId>,
    file: Option<ClusterFile>,
}

fn cluster_of(data: &DataDir) -> Result<Place, NodeError> {
    let Some(file) = ClusterFile::read(&crate::cluster::folder(&data.path))? else {
        return Ok(Place { node: NodeId::FIRST, founders: vec![NodeId::FIRST], file: None });
    };
    if file.partitions != data.partitions {
        return Err(NodeError::Data {
            path: data.path.display().to_string(),
            reason: format!(
                "its cluster has {} partitions and it has {}: start with --partitions {}, on an \
                 empty directory but for cluster/",
                file.partitions, data.partitions, file.partitions
            ),
        });
    }
    crate::cluster::make_durable(&data.path)?;
    Ok(Place { node: file.node, founders: file.founders.clone(), file: Some(file) })
}

struct Recovery {
    recovered: Recovered,
    slots: Vec<Slot>,
    worker: Arc<Worker>,
    options: Arc<StoreOptions>,
}

/// Opens stores and log. Blocking.
fn recover(config: &Config, data: &DataDir, life: (NodeId, u64)) -> Result<Recovery, NodeError> {
    let recovered = novax_raft::recover(&data.path)?;
    let worker = Arc::new(Worker::start(1).map_err(system("start the storage worker"))?);
    let mut slots = Vec::new();
    let (cache, memtable) = (config.engine.cache_bytes, config.engine.memtable_bytes);
    let options = Arc::new(StoreOptions::new(config.node.shards, cache, memtable));
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    for number in 0..data.partitions {
        let id = PartitionId(number);
        // A state that came from a peer may be the one in force.
        let mark = recovered.partition(id).map_or(0, |log| log.meta().mark.index);
        let dir = state_files::settle(&disk, &data.path, id, mark)
            .map_err(|error| NodeError::Restore { partition: id, reason: error.to_string() })?;
        let mut engine = Engine::open(&dir, options.of(id), &worker)?;
        let state = PartitionConfig { partition: id, ..PartitionConfig::default() };
        let restored = stores::restore(state, &mut engine)
            .and_then(|machine| Ok((machine, stores::members(&mut engine)?)));
        let restored = restored
            .map_err(|error| NodeError::Restore { partition: id, reason: error.to_string() })?;
        let mut slot = Slot::new(id, restored, (engine, data.path.clone()), life);
        slot.scrub(scrubber(config, id), Instant::now(), http::now());
        slots.push(slot);
    }
    Ok(Recovery { recovered, slots, worker, options })
}

/// Reads the tables of a partition again and again, and says what it finds.
fn scrubber(config: &Config, id: PartitionId) -> Scrubber {
    let tell = move |finding: &ScrubFinding| {
        eprintln!("novax: partition {id}: {}\n    -> {}", finding.error, finding.error.advice());
    };
    let (speed, from) = (config.engine.scrub_bytes_per_s, ScrubPosition::default());
    Scrubber::new(speed, SCRUB_PAUSE, from, Box::new(tell))
}

/// A node that runs.
pub struct Node {
    /// The way into its shards.
    pub control: Control,
    /// Where it listens.
    pub addresses: Addresses,
    api_key: http::auth::ApiKey,
    shards: Vec<thread::JoinHandle<Result<(), NodeError>>>,
    /// What carries states to and from other nodes, and its thread.
    states: (Arc<States>, thread::JoinHandle<()>),
    /// Who keeps the list of the cluster's nodes, and his thread.
    kept: Option<(Arc<Keeper>, thread::JoinHandle<()>)>,
    /// Its place in its cluster. The links to other nodes end with the last of the shards' threads and this.
    seat: Seat,
    /// HTTP and SQL, which finish what they are at when told to stop.
    serving: Vec<tokio::task::JoinHandle<()>>,
    runtime: tokio::runtime::Runtime,
    stop: watch::Sender<bool>,
    // Last, so that stores are closed before their worker ends.
    _worker: Arc<Worker>,
    data: DataDir,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// How long an address may still be taken when a node starts.
const LISTEN_PATIENCE: Duration = Duration::from_secs(10);

/// A killed node's ring is taken down by the kernel after the process is gone: for a moment its
/// listener is still there. A restart waits for that instead of failing.
fn listen(addr: SocketAddr, what: &'static str) -> Result<TcpListener, NodeError> {
    let limit = std::time::Instant::now() + LISTEN_PATIENCE;
    loop {
        match TcpListener::bind(addr) {
            Err(error)
                if error.kind() == std::io::ErrorKind::AddrInUse
                    && std::time::Instant::now() < limit =>
            {
                thread::sleep(Duration::from_millis(20));
            }
            bound => return bound.map_err(|error| NodeError::Listen { addr, what, error }),
        }
    }
}

fn local(listener: &TcpListener) -> Result<SocketAddr, NodeError> {
    listener.local_addr().map_err(system("read a listener's address"))
}

impl Node {
    /// Recovers the data directory and starts everything; returns once stations are accepted.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn start(config: &Config) -> Result<Node, NodeError> {
        let data = DataDir::open(&config.data, config.node.partitions)?;
        let cluster = cluster_of(&data)?;
        crate::cluster::adopt(&data.path)?;
        let ocpp = listen(config.ocpp.listen, "stations")?;
        let http = listen(config.http.listen, "HTTP")?;
        let sql = listen(config.sql.listen, "SQL")?;
        let starts = config.http.starts_listen.map(|addr| listen(addr, "charges of apps"));
        let starts = starts.transpose()?;
        let addresses = Addresses {
            ocpp: local(&ocpp)?,
            http: local(&http)?,
            starts: starts.as_ref().map(local).transpose()?,
            sql: local(&sql)?,
        };
        // Tells this life of the node from others.
        let run = driver::now().0;
        let Recovery { recovered, slots, worker, options } =
            recover(config, &data, (cluster.node, run))?;
        let links: Arc<OnceLock<Links>> = Arc::default();
        let states = States::start(&data.path, options, worker.clone(), links.clone(), run);
        let (states, states_thread) = states.map_err(system("start the states' thread"))?;
        let api_key = http::auth::ApiKey::of_node(&data.path, config.http.api_key.as_ref())
            .map_err(system("read or make api.key"))?;
        let (stop, stopped) = watch::channel(false);
        let (unknown, unknown_stations) = mpsc::channel(UNKNOWN_MAX);
        let provider = crate::payments::provider(&config.payments)?;
        let (asked, asked_of_us) = mpsc::channel(crate::payments::ASKED_MAX);
        let payments = provider.is_some().then_some(asked);
        let kept = cluster.file.clone().map(|file| Keeper::start(&data.path, file, links.clone()));
        let kept = kept.transpose().map_err(system("start the nodes' thread"))?;
        let keeper = kept.as_ref().map(|(keeper, _)| keeper.clone());
        let starter = Starter {
            config,
            data: &data,
            run,
            founders: cluster.founders,
            node: cluster.node,
            keeper: keeper.clone(),
            links: links.clone(),
            states: states.clone(),
            recovered,
            ocpp,
            apps: starts
                .map(|listener| Apps { listener, api: Starts::new(api_key.clone()).into() }),
            unknown,
            payments,
        };
        let mut started = starter.start(slots)?;
        let control = Control::new(started.ports.clone(), data.partitions);
        if let (Some(file), Some(keeper)) = (&cluster.file, &keeper) {
            let host = Host::new(&data.path, control.clone(), keeper.clone());
            let router = Router::new(std::mem::take(&mut started.inboxes), states.clone());
            let router = Arc::new(router.with_host(host));
            let made = crate::cluster::link(&data.path, file, run, router)?;
            eprintln!(
                "novax: {} of a cluster of {}, called at {}",
                file.node,
                file.nodes.len(),
                made.address()
            );
            let _set_once = links.set(made);
            keeper.linked();
        }
        started.catch_up(&links)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("control")
            .enable_all()
            .build()
            .map_err(system("start the control plane"))?;
        let mut node = Node {
            control,
            addresses,
            api_key,
            shards: started.threads,
            states: (states, states_thread),
            kept,
            seat: Seat { node: cluster.node, run, keeper, links },
            serving: Vec::new(),
            runtime,
            stop,
            _worker: worker,
            data,
        };
        let payments = provider.map(|provider| {
            let _in_runtime = node.runtime.enter();
            let every = config.payments.reconcile_every;
            Payments::start(provider, &node.control, asked_of_us, every, Arc::new(http::now))
        });
        node.start_control_plane(config, http, sql, unknown_stations, payments, stopped)?;
        Ok(node)
    }

    fn start_control_plane(
        &mut self,
        config: &Config,
        http: TcpListener,
        sql: TcpListener,
        mut unknown: mpsc::Receiver<Identity>,
        payments: Option<Arc<Payments>>,
        stopped: watch::Receiver<bool>,
    ) -> Result<(), NodeError> {
        let (data, partitions) = (&self.data.path, self.data.partitions);
        let handle = self.runtime.handle();
        let tiers = handle.block_on(Tiers::open(config, data, partitions, handle))?;
        let _in_runtime = self.runtime.enter();
        let into_tokio = |listener: TcpListener| {
            listener.set_nonblocking(true)?;
            tokio::net::TcpListener::from_std(listener)
        };
        let http = into_tokio(http).map_err(system("register the HTTP listener"))?;
        let sql = into_tokio(sql).map_err(system("register the SQL listener"))?;
        let wait = |mut stopped: watch::Receiver<bool>| async move {
            // An error means that the node is gone, which is a stop too.
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        let key = self.api_key.clone();
        let keys = crate::audit::key::of_node(data).map_err(system("read audit.key"))?;
        let api = http::Api::new(self.control.clone(), key, http::Limits::from(&config.http))
            .with_payments(payments)
            .with_rotations(keys.rotations().copied().collect())
            .with_statements(config.statements.clone())
            .with_seat(self.seat.clone());
        let stop_http = wait(stopped.clone());
        let serve_http = self.runtime.spawn(async move {
            if let Err(error) = http::serve(http, api, stop_http).await {
                eprintln!("novax: the HTTP API ended: {error}");
            }
        });
        let source =
            Arc::new(ControlSource { control: self.control.clone(), tiers: tiers.clone() });
        let options = novax_query::SqlConfig {
            statement_timeout: config.sql.statement_timeout,
            sessions_max: config.sql.sessions_max,
            memory_bytes_max: config.sql.memory_bytes_max,
            password: config.sql.password_in_force(self.api_key.reveal()),
            ..novax_query::SqlConfig::default()
        };
        let stop_sql = wait(stopped);
        let serve_sql = self.runtime.spawn(async move {
            if let Err(error) = novax_query::serve(sql, source, options, stop_sql).await {
                eprintln!("novax: SQL ended: {error}");
            }
        });
        self.serving = vec![serve_http, serve_sql];
        self.tend_tiers(config.series.tend_every, tiers);
        let site = config.ocpp.auto_approve_site.clone();
        let control = self.control.clone();
        self.runtime.spawn(async move {
            while let Some(identity) = unknown.recv().await {
                let Some(site) = &site else { continue };
                if let Err(error) = control.put_station(&identity, site, None).await {
                    eprintln!("novax: {identity} was not approved for {site}: {error}");
                }
            }
        });
        Ok(())
    }

    /// Moves and lets go what is old, now and then. A round that the end of the node cuts short is made good
    /// by the next one.
    fn tend_tiers(&self, every: Duration, tiers: Tiers) {
        let control = self.control.clone();
        self.runtime.spawn(async move {
            let mut due = tokio::time::interval(every);
            due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                due.tick().await;
                tiers.tend(&control, http::now()).await;
            }
        });
    }

    /// Runs a future on the control plane's threads.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// The others take over what this node leads, before it goes: so nobody waits for an election.
    fn hand_leads_away(&self) {
        if self.seat.links.get().is_none() {
            return;
        }
        let drained = async {
            self.control.drain(self.seat.node, true)?;
            self.control.drained().await
        };
        let limited = async { tokio::time::timeout(DRAIN_TIMEOUT, drained).await };
        if !matches!(self.runtime.block_on(limited), Ok(Ok(()))) {
            eprintln!("novax: the others did not take over in time; they will hold elections");
        }
    }

    /// Hands its leads to other nodes, closes sockets, flushes stores, ends threads.
    ///
    /// # Errors
    /// The first shard's error.
    pub fn stop(self) -> Result<(), NodeError> {
        self.hand_leads_away();
        let _ = self.stop.send(true);
        // Requests under way still need the shards.
        let serving = futures::future::join_all(self.serving);
        let finish = async { tokio::time::timeout(FINISH_TIMEOUT, serving).await };
        if self.runtime.block_on(finish).is_err() {
            eprintln!("novax: some requests were cut short");
        }
        self.control.stop();
        self.runtime.shutdown_timeout(Duration::from_secs(1));
        let mut first = Ok(());
        for thread in self.shards {
            let ended = thread.join().unwrap_or_else(|_panicked| {
                Err(system("a shard")(std::io::Error::other("panicked")))
            });
            first = first.and(ended);
        }
        if let Some((keeper, thread)) = self.kept {
            keeper.stop();
            if thread.join().is_err() {
                eprintln!("novax: the thread that keeps the nodes panicked");
            }
        }
        let (states, thread) = self.states;
        states.stop();
        first.and(thread.join().map_err(|_panicked| {
            system("carry states")(std::io::Error::other("the thread panicked"))
        }))
    }

    /// Whether every shard still runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shards.iter().all(|thread| !thread.is_finished())
    }
}

struct ControlSource {
    control: Control,
    tiers: Tiers,
}

impl Source for ControlSource {
    fn view(
        &self,
        with_series: bool,
        freshness: novax_query::Freshness,
    ) -> BoxFuture<'_, Result<View, SourceError>> {
        async move {
            let wanted = match freshness {
                novax_query::Freshness::Fresh => Freshness::Fresh,
                novax_query::Freshness::Local => Freshness::Local,
            };
            let failed = |error| match freshness {
                novax_query::Freshness::Fresh => SourceError(format!(
                    "{error}; SET novax.reads = 'local' reads what this node has, \
                     SHOW novax.as_of then tells how new it is"
                )),
                novax_query::Freshness::Local => SourceError(format!("{error}")),
            };
            let view = self.control.view(with_series, wanted).await.map_err(failed)?;
            Ok(View { parts: view.parts, as_of: view.as_of })
        }
        .boxed()
    }

    fn colder(&self, partition: PartitionId) -> Vec<Arc<dyn SeriesSource>> {
        self.tiers.colder(partition)
    }
}

/// Where apps start charges, and the words in which they do.
struct Apps {
    listener: TcpListener,
    api: Arc<Starts>,
}

impl Apps {
    fn try_clone(&self) -> Result<Apps, NodeError> {
        let listener = self.listener.try_clone().map_err(system("share the apps' listener"))?;
        Ok(Apps { listener, api: self.api.clone() })
    }
}

struct Starter<'a> {
    config: &'a Config,
    data: &'a DataDir,
    run: u64,
    node: NodeId,
    founders: Vec<NodeId>,
    keeper: Option<Arc<Keeper>>,
    links: Arc<OnceLock<Links>>,
    states: Arc<States>,
    recovered: Recovered,
    ocpp: TcpListener,
    apps: Option<Apps>,
    unknown: mpsc::Sender<Identity>,
    payments: Option<mpsc::Sender<Asked>>,
}

struct Started {
    ports: Vec<ShardPort>,
    inboxes: Vec<Inbox>,
    threads: Vec<thread::JoinHandle<Result<(), NodeError>>>,
    /// How many shards still replay their log.
    behind: Arc<AtomicUsize>,
}

impl Started {
    /// Waits until every shard's state is as new as its log: whoever asks before that is answered
    /// from the past, which may lack what was acknowledged.
    fn catch_up(&mut self, links: &OnceLock<Links>) -> Result<(), NodeError> {
        let begun = Instant::now();
        let mut told = false;
        while self.behind.load(Ordering::SeqCst) > 0 {
            if !told && begun.elapsed() >= READY_PATIENCE {
                told = true;
                eprintln!("novax: not ready yet: {}", waits_for(links));
            }
            if let Some(ended) = self.threads.iter().position(|thread| thread.is_finished()) {
                return self.threads.swap_remove(ended).join().unwrap_or_else(|_panicked| {
                    Err(system("a shard")(std::io::Error::other("panicked")))
                });
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// Why a node does not become ready, as far as it knows.
fn waits_for(links: &OnceLock<Links>) -> &'static str {
    let status = links.get().map(Links::status);
    let linked =
        |status: &novax_peer::net::Status| status.links.iter().any(|link| link.peer.is_some());
    match status.is_none_or(|status| linked(&status)) {
        true => "it gets what it lacks, or too few others are up",
        false => "no other node talks to it; are they up, and is it still one of the cluster?",
    }
}

/// What a shard's thread gets once all rings exist.
struct Wiring {
    rings: Vec<RingHandle>,
    mesh: Mesh,
}

impl Starter<'_> {
    fn start(self, slots: Vec<Slot>) -> Result<Started, NodeError> {
        let shards = self.config.node.shards;
        let mut per_shard: Vec<Vec<Slot>> = (0..shards).map(|_| Vec::new()).collect();
        for slot in slots {
            per_shard[usize::from(slot.id.shard(shards))].push(slot);
        }
        let behind = Arc::new(AtomicUsize::new(usize::from(shards)));
        let queues: Arc<[ArrayQueue<MeshMessage>]> =
            (0..shards).map(|_| ArrayQueue::new(MESH_MAX)).collect();
        let recovered = Arc::new(self.recovered);
        let config = shard_config(self.config, self.data, (self.node, self.run))?;
        // With a shard for each core the machine is the node's. With fewer, others may be on any core, and which
        // ones are free is what the scheduler knows.
        let pinned = usize::from(shards) >= cores();
        let mut pending = Vec::new();
        for (number, slots) in per_shard.into_iter().enumerate() {
            let number = u16::try_from(number).expect("shards are counted in u16");
            let birth = Birth {
                number,
                pinned,
                recv_buffers: recv_buffers(shards, cores()),
                config: config.clone(),
                log: LogConfig {
                    dir: self.data.log(number),
                    segment_bytes: self.config.log.segment_bytes,
                    direct: self.config.log.direct,
                },
                recovered: recovered.clone(),
                slots,
                listener: self.ocpp.try_clone().map_err(system("share the OCPP listener"))?,
                apps: self.apps.as_ref().map(Apps::try_clone).transpose()?,
                requests: Arc::new(ArrayQueue::new(REQUESTS_MAX)),
                peers: Arc::new(ArrayQueue::new(INBOX_MAX)),
                links: self.links.clone(),
                states: self.states.clone(),
                retain_bytes_max: self.config.log.retain_bytes,
                founders: self.founders.clone(),
                keeper: self.keeper.clone(),
                counters: Arc::new(Counters::default()),
                behind: behind.clone(),
                unknown: self.unknown.clone(),
                payments: self.payments.clone(),
            };
            pending.push(birth.begin()?);
        }
        let rings: Vec<RingHandle> = pending.iter().map(|shard| shard.ring.clone()).collect();
        let wakes: Arc<[Wake]> = rings.iter().map(|ring| waker(ring.clone())).collect();
        let (ports, inboxes, threads) = (Vec::new(), Vec::new(), Vec::new());
        let mut started = Started { ports, inboxes, threads, behind };
        for (number, shard) in pending.into_iter().enumerate() {
            let me = u16::try_from(number).expect("shards are counted in u16");
            let mesh = Mesh::new(me, queues.clone(), wakes.clone());
            let _ended = shard.wire.send(Wiring { rings: rings.clone(), mesh });
            started.inboxes.push(shard.inbox);
            started.ports.push(shard.port);
            started.threads.push(shard.thread);
        }
        Ok(started)
    }
}

type Wake = Arc<dyn Fn() + Send + Sync>;

fn waker(ring: RingHandle) -> Wake {
    Arc::new(move || ring.wake())
}

fn shard_config(
    config: &Config,
    data: &DataDir,
    (node, run): (NodeId, u64),
) -> Result<ShardConfig, NodeError> {
    let heartbeat = config.ocpp.heartbeat;
    let signing_key = crate::audit::key::of_node(&data.path);
    let signing_key = signing_key.map_err(system("read or make audit.key"))?;
    Ok(ShardConfig {
        heartbeat_interval_s: u32::try_from(heartbeat.as_secs()).unwrap_or(u32::MAX).max(1),
        message_bytes_max: config.ocpp.message_bytes_max as usize,
        handshake_timeout: Duration::from_secs(10),
        // Three heartbeats may be lost before a socket counts as dead.
        idle_timeout: heartbeat * 3 + Duration::from_secs(10),
        call_timeout: Duration::from_secs(30),
        memtable_bytes_max: config.engine.memtable_bytes,
        log_segments_max: 8,
        partitions: data.partitions,
        connections_max: RingConfig::default().files_max as usize,
        signing_key: Arc::new(signing_key),
        node,
        run,
    })
}

/// Everything a shard's thread starts with.
struct Birth {
    number: u16,
    /// Whether it stays on one core, so that its caches stay warm. A hint: where it is not allowed, the shard
    /// runs wherever it is put.
    pinned: bool,
    recv_buffers: u16,
    config: ShardConfig,
    log: LogConfig,
    recovered: Arc<Recovered>,
    slots: Vec<Slot>,
    listener: TcpListener,
    apps: Option<Apps>,
    requests: Arc<ArrayQueue<Request>>,
    peers: Arc<ArrayQueue<FromPeer>>,
    links: Arc<OnceLock<Links>>,
    states: Arc<States>,
    retain_bytes_max: usize,
    founders: Vec<NodeId>,
    keeper: Option<Arc<Keeper>>,
    counters: Arc<Counters>,
    behind: Arc<AtomicUsize>,
    unknown: mpsc::Sender<Identity>,
    payments: Option<mpsc::Sender<Asked>>,
}

/// A shard's thread that waits for the others' rings.
struct Unborn {
    ring: RingHandle,
    port: ShardPort,
    inbox: Inbox,
    wire: std::sync::mpsc::Sender<Wiring>,
    thread: thread::JoinHandle<Result<(), NodeError>>,
}

impl Birth {
    /// Starts the thread and waits for its ring, which must be made there.
    fn begin(self) -> Result<Unborn, NodeError> {
        let (made, ring) = std::sync::mpsc::channel();
        let (wire, wiring) = std::sync::mpsc::channel();
        let (requests, counters) = (self.requests.clone(), self.counters.clone());
        let peers = self.peers.clone();
        let thread = thread::Builder::new()
            .name(format!("shard-{}", self.number))
            .spawn(move || self.live(&made, &wiring))
            .map_err(system("start a shard's thread"))?;
        let Ok(ring) = ring.recv() else {
            let ended = thread.join().unwrap_or(Ok(()));
            let gone = system("start a shard")(std::io::Error::other("its thread ended"));
            return Err(ended.err().unwrap_or(gone));
        };
        let wake = waker(ring.clone());
        let inbox = Inbox { queue: peers, wake: wake.clone(), counters: counters.clone() };
        let port = ShardPort { queue: requests, wake, counters };
        Ok(Unborn { ring, port, inbox, wire, thread })
    }

    /// The thread's life.
    fn live(
        self,
        made: &std::sync::mpsc::Sender<RingHandle>,
        wiring: &std::sync::mpsc::Receiver<Wiring>,
    ) -> Result<(), NodeError> {
        if self.pinned {
            novax_ring::pin_to_core(usize::from(self.number));
        }
        let sizes = RingConfig { recv_buffers: self.recv_buffers, ..RingConfig::default() };
        let ring = Ring::new(sizes).map_err(system("make an io_uring"))?;
        let _started = made.send(ring.handle());
        let Ok(Wiring { rings, mesh }) = wiring.recv() else { return Ok(()) };
        let wake = waker(ring.handle());
        let node = self.config.node;
        let groups: Vec<GroupSpec> =
            self.slots.iter().map(|slot| slot.group(&self.founders)).collect();
        let config = RaftConfig {
            retain_bytes_max: self.retain_bytes_max,
            ..RaftConfig::new(self.log, node)
        };
        let raft = MultiRaft::start(config, &self.recovered, &groups, wake.clone())?;
        drop(self.recovered);
        let mut slots = self.slots;
        for slot in &mut slots {
            slot.engine.set_wake(wake.clone());
        }
        let mut shard = Shard::new(
            self.config,
            self.counters,
            mesh,
            raft,
            slots,
            Some(self.unknown),
            driver::now(),
        );
        if let Some(payments) = self.payments {
            shard.set_payments(payments);
        }
        let mut listeners = vec![(self.listener, driver::STATIONS)];
        if let Some(Apps { listener, api }) = self.apps {
            shard.set_apps(api);
            listeners.push((listener, driver::APPS));
        }
        if let Some(keeper) = &self.keeper {
            shard.set_founders(keeper.file().founder_rows());
        }
        let driver = Driver {
            shard,
            ring,
            rings,
            requests: self.requests,
            peers: self.peers,
            links: self.links,
            states: self.states,
            keeper: self.keeper,
            listeners,
            behind: self.behind,
            clock: (driver::now(), std::time::Instant::now()),
        };
        let shard = driver.run().map_err(system("run a shard"))?;
        shard.close()?;
        Ok(())
    }
}

/// Buffers that a shard receives into. Shards that share a core share out what one alone would have: only so many
/// are filled while a core gets round to them, and each that was ever used stays in memory.
fn recv_buffers(shards: u16, cores: usize) -> u16 {
    const LEAST: u16 = 256;
    let sharing = usize::from(shards).div_ceil(cores.max(1)).next_power_of_two();
    let sharing = u16::try_from(sharing).unwrap_or(u16::MAX);
    (RingConfig::default().recv_buffers / sharing).max(LEAST)
}

/// Of those that this process may use.
fn cores() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_that_share_a_core_share_its_buffers() {
        let of = |shards, cores| recv_buffers(shards, cores);
        assert_eq!([of(1, 2), of(2, 2), of(3, 2), of(8, 2)], [2_048, 2_048, 1_024, 512]);
        assert_eq!([of(256, 2), of(256, 0), of(u16::MAX, 1)], [256, 256, 256]);
        let sizes = RingConfig { recv_buffers: recv_buffers(u16::MAX, 3), ..RingConfig::default() };
        assert!(sizes.check().is_ok(), "a power of two, whatever the numbers");
    }
}

//! States of partitions on their way between this node and others: from checkpoints onto links, from links
//! into folders, and away when nobody needs them.
//!
//! Shards say what they want ([`StateAct`]) and hear what became of it ([`StateNews`]). Files are touched by
//! a thread of its own and by the links' threads that may wait, never by a shard's.
//!
//! **Invariants**
//! * A state is taken only from the node and as of the entry that its shard expects, one a partition at a
//!   time.
//! * What a shard hears of as fetched has been opened and read whole.

use crate::cluster::Inbox;
use novax_engine::{Disk, Options, RealDisk, SharedCache, Worker};
use novax_model::{NodeId, PartitionId};
use novax_peer::SnapshotId;
use novax_peer::net::{Links, Snapshot, SnapshotSink, SnapshotSource, TakenSnapshot};
use novax_shard::counters::Counters;
use novax_shard::peers::{FromPeer, PeerInput};
use novax_shard::states::{StateError, StateReader, StateWriter, incoming, open_fetched, wipe};
use novax_shard::stores;
use novax_shard::transfers::{StateAct, StateNews};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

/// Folders to be sent or removed that may wait.
const JOBS_MAX: usize = 4_096;
/// Partition and entry.
const ABOUT_BYTES: usize = 10;

/// How the stores of a node are opened.
#[derive(Debug)]
pub struct StoreOptions {
    memtable_bytes_max: usize,
    shards: u16,
    /// The stores of a shard share a cache: a busy partition may use what an idle one does not need.
    caches: Vec<SharedCache>,
}

impl StoreOptions {
    /// For the stores of so many shards, which share out the bytes of the cache.
    #[must_use]
    pub fn new(shards: u16, cache_bytes: usize, memtable_bytes_max: usize) -> StoreOptions {
        let bytes = cache_bytes / usize::from(shards.max(1));
        let caches = (0..shards).map(|_| SharedCache::new(bytes)).collect();
        StoreOptions { memtable_bytes_max, shards, caches }
    }

    pub(super) fn of(&self, id: PartitionId) -> Options {
        Options {
            memtable_bytes_max: self.memtable_bytes_max,
            cache: self.caches.get(usize::from(id.shard(self.shards))).cloned(),
            ..stores::store_options()
        }
    }
}

/// What is under way.
#[derive(Default)]
struct UnderWay {
    expected: BTreeMap<PartitionId, (NodeId, u64)>,
    coming: BTreeMap<(NodeId, SnapshotId), (PartitionId, u64)>,
    going: BTreeMap<SnapshotId, (NodeId, PartitionId, u64)>,
    /// States that are whole and being opened: their folders are not to be written to.
    opening: BTreeSet<PartitionId>,
}

/// See the file's head.
pub struct States {
    disk: Arc<dyn Disk>,
    data: PathBuf,
    options: Arc<StoreOptions>,
    worker: Arc<Worker>,
    /// The ways into the shards, once they are there.
    inboxes: OnceLock<Vec<Inbox>>,
    under_way: Mutex<UnderWay>,
    /// Held while a state that comes is written: of two attempts at the same one, the later begins anew.
    writing: Mutex<()>,
    /// Numbers of snapshots differ over restarts too: a receiver remembers those it has had.
    next: AtomicU64,
    jobs: Mutex<Option<SyncSender<Job>>>,
}

impl std::fmt::Debug for States {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "States({})", self.data.display())
    }
}

/// What the thread does.
enum Job {
    Send { to: NodeId, partition: PartitionId, index: u64, dir: PathBuf },
    Remove { dir: PathBuf, state: Box<dyn Send> },
}

impl States {
    /// Begins the thread; `run` tells this life of the node from the ones before.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(
        data: &Path,
        options: Arc<StoreOptions>,
        worker: Arc<Worker>,
        links: Arc<OnceLock<Links>>,
        run: u64,
    ) -> io::Result<(Arc<States>, JoinHandle<()>)> {
        let (jobs, waiting) = sync_channel(JOBS_MAX);
        let states = Arc::new(States {
            disk: Arc::new(RealDisk),
            data: data.to_path_buf(),
            options,
            worker,
            inboxes: OnceLock::new(),
            under_way: Mutex::default(),
            writing: Mutex::default(),
            next: AtomicU64::new(run),
            jobs: Mutex::new(Some(jobs)),
        });
        let worker = Arc::clone(&states);
        let thread = thread::Builder::new()
            .name("states".to_owned())
            .spawn(move || worker.work(&waiting, &links))?;
        Ok((states, thread))
    }

    /// Says where the shards are.
    pub fn set_inboxes(&self, inboxes: Vec<Inbox>) {
        let _set_once = self.inboxes.set(inboxes);
    }

    /// No shard wants anything any more: the thread ends when it has done what waits.
    pub fn stop(&self) {
        *self.jobs.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inbox(&self, partition: PartitionId) -> Option<&Inbox> {
        let inboxes = self.inboxes.get()?;
        let shards = u16::try_from(inboxes.len()).ok().filter(|shards| *shards > 0)?;
        inboxes.get(usize::from(partition.shard(shards)))
    }

    fn counters(&self, partition: PartitionId) -> Option<Arc<Counters>> {
        self.inbox(partition).map(|inbox| Arc::clone(&inbox.counters))
    }

    fn tell(&self, from: NodeId, news: StateNews) {
        let Some(inbox) = self.inbox(news.partition()) else { return };
        if inbox.queue.push(FromPeer { from, input: PeerInput::State(news) }).is_err() {
            // The shard gives up by itself.
            inbox.counters.peer_messages_dropped.increment();
        }
        (inbox.wake)();
    }

    /// Does what a shard wants. Does not wait.
    pub fn perform(&self, act: StateAct) {
        match act {
            StateAct::Expect { from, partition, index } => {
                self.under_way().expected.insert(partition, (from, index));
            }
            StateAct::Decline { partition, index } => {
                let mut under_way = self.under_way();
                if under_way.expected.get(&partition).is_some_and(|(_, of)| *of == index) {
                    under_way.expected.remove(&partition);
                }
            }
            StateAct::Send { to, partition, index, dir } => {
                if !self.queue(Job::Send { to, partition, index, dir }) {
                    self.tell(to, StateNews::Sent { to, partition, index, whole: false });
                }
            }
            StateAct::Remove { dir, state } => {
                // Where there is no room, the next start removes it.
                self.queue(Job::Remove { dir, state: Box::new(state) });
            }
        }
    }

    fn queue(&self, job: Job) -> bool {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.as_ref().is_some_and(|jobs| jobs.try_send(job).is_ok())
    }

    fn work(&self, waiting: &Receiver<Job>, links: &OnceLock<Links>) {
        for job in waiting {
            match job {
                Job::Send { to, partition, index, dir } => {
                    self.send(to, (partition, index), &dir, links.get());
                }
                Job::Remove { dir, state } => {
                    drop(state);
                    if let Err(error) = wipe(&*self.disk, &dir) {
                        eprintln!(
                            "novax: a state that is not needed stays until the next start: {error}"
                        );
                    }
                }
            }
        }
    }

    fn send(
        &self,
        to: NodeId,
        (partition, index): (PartitionId, u64),
        dir: &Path,
        links: Option<&Links>,
    ) {
        let id = SnapshotId(self.next.fetch_add(1, Ordering::Relaxed));
        let sent = StateReader::open(Arc::clone(&self.disk), dir)
            .map_err(|error| error.to_string())
            .and_then(|reader| {
                let links = links.ok_or("there are no links")?;
                let mut about = partition.0.to_le_bytes().to_vec();
                about.extend_from_slice(&index.to_le_bytes());
                let (length, about) = (reader.length(), about.into());
                let source = Box::new(Source { reader, counters: self.counters(partition) });
                self.under_way().going.insert(id, (to, partition, index));
                let snapshot = Snapshot { id, length, about, source };
                links.send_snapshot(to, snapshot).map_err(|error| error.to_string())
            });
        if let Err(error) = sent {
            eprintln!("novax: partition {partition} as of {index} does not go to {to}: {error}");
            self.under_way().going.remove(&id);
            self.tell(to, StateNews::Sent { to, partition, index, whole: false });
        }
    }

    /// A node offers a state: taken if it is the one that is expected. Touches no file.
    pub fn offered(
        self: &Arc<States>,
        from: NodeId,
        id: SnapshotId,
        length: u64,
        about: &[u8],
    ) -> Option<TakenSnapshot> {
        let about: &[u8; ABOUT_BYTES] = about.try_into().ok()?;
        let (partition, index) = about.split_first_chunk::<2>()?;
        let partition = PartitionId(u16::from_le_bytes(*partition));
        let index = u64::from_le_bytes(index.try_into().ok()?);
        {
            let mut under_way = self.under_way();
            let expected = under_way.expected.get(&partition) == Some(&(from, index));
            if !expected || under_way.opening.contains(&partition) {
                return None;
            }
            under_way.coming.retain(|_, of| of.0 != partition);
            under_way.coming.insert((from, id), (partition, index));
        }
        self.tell(from, StateNews::Begun { partition, index });
        let dir = incoming(&self.data, partition, index);
        let sink = Sink {
            states: Arc::clone(self),
            from,
            id,
            of: (partition, index),
            writer: StateWriter::new(Arc::clone(&self.disk), dir, length),
            counters: self.counters(partition),
        };
        Some(TakenSnapshot { have: 0, sink: Box::new(sink) })
    }

    /// A state that was taken came, or will not.
    pub fn received(&self, from: NodeId, id: SnapshotId, whole: bool) {
        let Some((partition, index)) = self.under_way().coming.remove(&(from, id)) else { return };
        if !whole {
            self.tell(from, StateNews::NotFetched { partition, index });
        }
    }

    /// A checkpoint was sent, or will not be.
    pub fn sent(&self, id: SnapshotId, whole: bool) {
        let Some((to, partition, index)) = self.under_way().going.remove(&id) else { return };
        self.tell(to, StateNews::Sent { to, partition, index, whole });
    }

    /// All bytes of a state are here, durably: it is opened, and its shard told.
    fn open(&self, from: NodeId, (partition, index): (PartitionId, u64)) -> Result<(), StateError> {
        let options = self.options.of(partition);
        let disk = Arc::clone(&self.disk);
        let mut fetched =
            open_fetched(disk, &self.data, (partition, index), options, &self.worker)?;
        if let Some(inbox) = self.inbox(partition) {
            fetched.engine.set_wake(Arc::clone(&inbox.wake));
        }
        self.tell(from, StateNews::Fetched(Box::new(fetched)));
        Ok(())
    }
}

/// The bytes of a checkpoint.
struct Source {
    reader: StateReader,
    counters: Option<Arc<Counters>>,
}

impl SnapshotSource for Source {
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.reader.read_at(offset, into)?;
        if let Some(counters) = &self.counters {
            counters.snapshot_bytes_sent.add(into.len() as u64);
        }
        Ok(())
    }
}

/// The way of a state into its folder.
struct Sink {
    states: Arc<States>,
    from: NodeId,
    id: SnapshotId,
    of: (PartitionId, u64),
    writer: StateWriter,
    counters: Option<Arc<Counters>>,
}

impl Sink {
    /// Whether this is still the attempt that counts, and its shard wants the state.
    fn is_wanted(&self) -> bool {
        let (partition, index) = self.of;
        let under_way = self.states.under_way();
        under_way.coming.get(&(self.from, self.id)) == Some(&self.of)
            && under_way.expected.get(&partition) == Some(&(self.from, index))
    }

    fn check_wanted(&self) -> io::Result<()> {
        if self.is_wanted() { Ok(()) } else { Err(io::Error::other("it is not wanted any more")) }
    }
}

impl SnapshotSink for Sink {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let states = Arc::clone(&self.states);
        let _one_at_a_time = states.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_wanted()?;
        self.writer.write_at(offset, bytes)?;
        if let Some(counters) = &self.counters {
            counters.snapshot_bytes_received.add(bytes.len() as u64);
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let states = Arc::clone(&self.states);
        {
            let _one_at_a_time = states.writing.lock().unwrap_or_else(PoisonError::into_inner);
            self.check_wanted()?;
            self.writer.finish()?;
            states.under_way().opening.insert(self.of.0);
        }
        let opened = states.open(self.from, self.of);
        states.under_way().opening.remove(&self.of.0);
        opened.map_err(|error| {
            let (partition, index) = self.of;
            eprintln!("novax: partition {partition} as of {index}, from {}: {error}", self.from);
            io::Error::other(error)
        })
    }
}

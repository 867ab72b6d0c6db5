//! The files of one shard's log: made ahead of need and retired by a thread of their own, so that
//! the shard never waits for the file system. On a disk that takes no time there is no thread.
//!
//! Invariants: a segment has its full size, is durable under its name and holds no batch of its own
//! identity when the shard gets it; segments are retired in the order asked for, each durably
//! before the next.

use crate::disk::DiskSegment;
use crate::error::{Error, IoContext};
use crate::recover::{free_name, segment_name};
use crate::root::LogRoot;
use crate::writer::LogConfig;
use novax_model::PartitionId;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Segments made ahead of the one in use.
const SPARES: u64 = 2;
/// Retired files kept to be used again.
const FREE_FILES_MAX: usize = 2;
/// Jobs on their way to the thread; more wait on the shard's side.
const JOBS_MAX: usize = 64;
/// How long the thread waits before it tries again to make a segment, say on a full disk.
const RETRY_MS: u64 = 500;
/// Called by the thread when a segment is ready.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// A segment ready to be written from its start.
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) file: Arc<dyn DiskSegment>,
}

enum Job {
    /// Make the segment of this number.
    Make(u64),
    /// Retire the segment of this number of the present run.
    Retire(u64),
    /// These marks are durable: earlier runs may have segments to retire.
    Marks(Vec<(PartitionId, u64)>),
}

/// Written by the thread, read by the shard.
#[derive(Debug, Default)]
pub(crate) struct Health {
    pub(crate) failures: AtomicU64,
    /// `errno` of the last failure, 0 for none.
    pub(crate) last_errno: AtomicI32,
    stop: AtomicBool,
}

/// Who does the jobs.
enum Hands {
    Thread {
        jobs: Option<SyncSender<Job>>,
        ready: Receiver<Segment>,
        thread: Option<JoinHandle<()>>,
    },
    /// The shard itself, each time it comes by.
    Own { maker: Box<Maker>, ready: VecDeque<Segment> },
}

/// The shard's end.
pub(crate) struct Segments {
    hands: Hands,
    backlog: VecDeque<Job>,
    pub(crate) health: Arc<Health>,
    next_number: u64,
}

impl Segments {
    /// Makes the first segment, then starts the thread that makes the others.
    pub(crate) fn start(
        config: &LogConfig,
        root: Arc<LogRoot>,
        wake: Wake,
    ) -> Result<(Segments, Segment), Error> {
        root.disk.create_dir(&config.dir).context("create", &config.dir)?;
        let health = Arc::new(Health::default());
        let mut maker = Maker::new(config, root, Arc::clone(&health))?;
        let first = maker.make(1).context("make a segment in", &config.dir)?;
        let hands = if maker.root.disk.is_instant() {
            Hands::Own { maker: Box::new(maker), ready: VecDeque::new() }
        } else {
            Hands::thread(maker, wake).context("start a thread for", &config.dir)?
        };
        let mut segments = Segments { hands, backlog: VecDeque::new(), health, next_number: 2 };
        for _ in 0..SPARES {
            segments.ask_for_next();
        }
        Ok((segments, first))
    }

    /// The next segment if it is ready; asks for one more in its place.
    pub(crate) fn take(&mut self) -> Option<Segment> {
        self.send_backlog();
        let segment = match &mut self.hands {
            Hands::Thread { ready, .. } => ready.try_recv().ok()?,
            Hands::Own { ready, .. } => ready.pop_front()?,
        };
        self.ask_for_next();
        Some(segment)
    }

    pub(crate) fn retire(&mut self, number: u64) {
        self.backlog.push_back(Job::Retire(number));
        self.send_backlog();
    }

    pub(crate) fn marks(&mut self, marks: Vec<(PartitionId, u64)>) {
        self.backlog.push_back(Job::Marks(marks));
        self.send_backlog();
    }

    fn ask_for_next(&mut self) {
        self.backlog.push_back(Job::Make(self.next_number));
        self.next_number += 1;
        self.send_backlog();
    }

    /// Bounded by what can be asked: few segments to make, those on disk to retire, and one set of
    /// marks a flush while earlier runs last.
    fn send_backlog(&mut self) {
        let jobs = match &mut self.hands {
            Hands::Thread { jobs: Some(jobs), .. } => jobs,
            Hands::Thread { jobs: None, .. } => return,
            Hands::Own { maker, ready } => {
                self.backlog.drain(..).for_each(|job| maker.take(job));
                maker.work(&mut |segment| ready.push_back(segment));
                return;
            }
        };
        while let Some(job) = self.backlog.pop_front() {
            if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) =
                jobs.try_send(job)
            {
                self.backlog.push_front(job);
                return;
            }
        }
    }
}

impl Hands {
    fn thread(maker: Maker, wake: Wake) -> io::Result<Hands> {
        let (jobs, inbox) = sync_channel(JOBS_MAX);
        // Room for all that were asked for: the thread never waits for the shard.
        let (outbox, ready) = sync_channel(usize::try_from(SPARES).expect("small") + 1);
        let thread = std::thread::Builder::new()
            .name("log-segments".to_owned())
            .spawn(move || maker.run(&inbox, &outbox, &wake))?;
        Ok(Hands::Thread { jobs: Some(jobs), ready, thread: Some(thread) })
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        self.health.stop.store(true, Ordering::Relaxed);
        if let Hands::Thread { jobs, thread, .. } = &mut self.hands {
            *jobs = None;
            if let Some(thread) = thread.take() {
                // A panic of the thread has already been reported by the panic hook.
                let _ = thread.join();
            }
        }
    }
}

/// Whoever works on the files.
struct Maker {
    dir: PathBuf,
    segment_bytes: u64,
    direct: bool,
    root: Arc<LogRoot>,
    health: Arc<Health>,
    free: Vec<PathBuf>,
    to_make: VecDeque<u64>,
    to_retire: VecDeque<u64>,
}

impl Maker {
    fn new(config: &LogConfig, root: Arc<LogRoot>, health: Arc<Health>) -> Result<Maker, Error> {
        let mut maker = Maker {
            dir: config.dir.clone(),
            segment_bytes: config.segment_bytes,
            direct: config.direct,
            root,
            health,
            free: Vec::new(),
            to_make: VecDeque::new(),
            to_retire: VecDeque::new(),
        };
        maker.adopt_left_over()?;
        Ok(maker)
    }

    /// Takes over retired files of earlier runs; removes what was half made.
    fn adopt_left_over(&mut self) -> Result<(), Error> {
        let disk = Arc::clone(&self.root.disk);
        for (name, bytes) in disk.list(&self.dir).context("list", &self.dir)? {
            let path = self.dir.join(&name);
            let is_free = name.starts_with("free-") && name.ends_with(".log");
            if is_free && bytes == self.segment_bytes && self.free.len() < FREE_FILES_MAX {
                self.free.push(path);
            } else if is_free || name == "spare.tmp" {
                disk.remove(&path).context("remove", &path)?;
            }
        }
        Ok(())
    }

    fn run(mut self, inbox: &Receiver<Job>, outbox: &SyncSender<Segment>, wake: &Wake) {
        let mut deliver = |segment| {
            if outbox.try_send(segment).is_ok() {
                wake();
            }
        };
        loop {
            let job = if self.work(&mut deliver) {
                inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                inbox.recv_timeout(Duration::from_millis(RETRY_MS))
            };
            match job {
                Ok(job) => self.take(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Make(number) => self.to_make.push_back(number),
            Job::Retire(number) => self.to_retire.push_back(number),
            Job::Marks(marks) => self.release(&marks),
        }
    }

    /// Does what was asked; false when something has to be tried again.
    fn work(&mut self, deliver: &mut dyn FnMut(Segment)) -> bool {
        let done = self.retire_asked().and_then(|()| self.make_asked(deliver));
        if let Err(error) = &done {
            self.note(error);
        }
        done.is_ok()
    }

    fn note(&self, error: &io::Error) {
        self.health.failures.fetch_add(1, Ordering::Relaxed);
        self.health.last_errno.store(error.raw_os_error().unwrap_or(-1), Ordering::Relaxed);
    }

    fn make_asked(&mut self, deliver: &mut dyn FnMut(Segment)) -> io::Result<()> {
        // At the end what was asked to be retired still is; nothing more is made.
        if self.health.stop.load(Ordering::Relaxed) {
            self.to_make.clear();
        }
        while let Some(number) = self.to_make.front().copied() {
            let segment = self.make(number)?;
            self.to_make.pop_front();
            deliver(segment);
        }
        Ok(())
    }

    fn make(&mut self, number: u64) -> io::Result<Segment> {
        let path = self.dir.join(segment_name(self.root.incarnation, number));
        let disk = &*self.root.disk;
        // It is there already if an earlier try failed after the rename.
        if !disk.exists(&path)? {
            match self.free.last() {
                Some(free) => {
                    disk.rename(free, &path)?;
                    self.free.pop();
                }
                None => {
                    let spare = self.dir.join("spare.tmp");
                    let (bytes, stop) = (self.segment_bytes, &self.health.stop);
                    disk.make_zeroed(&spare, bytes, self.direct, stop)?;
                    disk.rename(&spare, &path)?;
                }
            }
        }
        disk.sync_dir(&self.dir)?;
        let file = disk.open_segment(&path, self.direct)?;
        Ok(Segment { number, file })
    }

    fn retire_asked(&mut self) -> io::Result<()> {
        while let Some(number) = self.to_retire.front().copied() {
            let path = self.dir.join(segment_name(self.root.incarnation, number));
            // It is gone already if an earlier try failed after the rename.
            if self.root.disk.exists(&path)? {
                self.set_aside(&path)?;
            }
            self.root.disk.sync_dir(&self.dir)?;
            self.to_retire.pop_front();
        }
        Ok(())
    }

    /// Takes a segment out of its run: as a free file, or away if there are enough of those.
    fn set_aside(&mut self, path: &Path) -> io::Result<()> {
        if self.free.len() >= FREE_FILES_MAX {
            return self.root.disk.remove(path);
        }
        let name = self.dir.join(free_name(path));
        self.root.disk.rename(path, &name)?;
        self.free.push(name);
        Ok(())
    }

    fn release(&self, marks: &[(PartitionId, u64)]) {
        // Never used again: a write of the dead process might still be on its way into the file.
        let result = self.root.release(marks, |old| {
            match self.root.disk.remove(&old.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            old.path.parent().map_or(Ok(()), |dir| self.root.disk.sync_dir(dir))
        });
        if let Err(error) = result {
            self.note(&error);
        }
    }
}

//! The files of one shard's log: made ahead of need and retired by a thread of their own, so that
//! the shard never waits for the file system.
//!
//! Invariants: a segment has its full size, is durable under its name and holds no batch of its own
//! identity when the shard gets it; segments are retired in the order asked for, each durably
//! before the next.

use crate::block::BLOCK_BYTES;
use crate::error::{Error, IoContext};
use crate::recover::{free_name, segment_name};
use crate::root::LogRoot;
use crate::writer::LogConfig;
use novax_model::PartitionId;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
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
/// Zeros are written in pieces of this size, so that a stop is not kept waiting.
const ZEROS_BYTES: usize = 1 << 20;

#[repr(C, align(4096))]
struct Zeros([u8; ZEROS_BYTES]);
static ZEROS: Zeros = Zeros([0; ZEROS_BYTES]);

/// Called by the thread when a segment is ready.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// A segment ready to be written from its start.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) file: Arc<File>,
    /// Whether writes bypass the page cache.
    pub(crate) direct: bool,
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

/// The shard's end.
pub(crate) struct Segments {
    jobs: Option<SyncSender<Job>>,
    backlog: VecDeque<Job>,
    ready: Receiver<Segment>,
    thread: Option<JoinHandle<()>>,
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
        std::fs::create_dir_all(&config.dir).context("create", &config.dir)?;
        sync_dir(&root.dir).context("sync", &root.dir)?;
        let health = Arc::new(Health::default());
        let mut maker = Maker::new(config, root, Arc::clone(&health))?;
        let first = maker.make(1).context("make a segment in", &config.dir)?;
        let (jobs, inbox) = sync_channel(JOBS_MAX);
        // Room for all that were asked for: the thread never waits for the shard.
        let (outbox, ready) = sync_channel(usize::try_from(SPARES).expect("small") + 1);
        let thread = std::thread::Builder::new()
            .name("log-segments".to_owned())
            .spawn(move || maker.run(&inbox, &outbox, &wake))
            .context("start a thread for", &config.dir)?;
        let mut segments = Segments {
            jobs: Some(jobs),
            backlog: VecDeque::new(),
            ready,
            thread: Some(thread),
            health,
            next_number: 2,
        };
        for _ in 0..SPARES {
            segments.ask_for_next();
        }
        Ok((segments, first))
    }

    /// The next segment if it is ready; asks for one more in its place.
    pub(crate) fn take(&mut self) -> Option<Segment> {
        self.send_backlog();
        let segment = self.ready.try_recv().ok()?;
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
        let Some(jobs) = &self.jobs else { return };
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

impl Drop for Segments {
    fn drop(&mut self) {
        self.health.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has already been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// The thread's end.
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
        for file in std::fs::read_dir(&self.dir).context("list", &self.dir)? {
            let file = file.context("list", &self.dir)?;
            let (path, name) = (file.path(), file.file_name());
            let Some(name) = name.to_str() else { continue };
            if name == "spare.tmp" {
                std::fs::remove_file(&path).context("remove", &path)?;
                continue;
            }
            if !name.starts_with("free-") || !name.ends_with(".log") {
                continue;
            }
            let bytes = file.metadata().context("read", &path)?.len();
            if bytes == self.segment_bytes && self.free.len() < FREE_FILES_MAX {
                self.free.push(path);
            } else {
                std::fs::remove_file(&path).context("remove", &path)?;
            }
        }
        Ok(())
    }

    fn run(mut self, inbox: &Receiver<Job>, outbox: &SyncSender<Segment>, wake: &Wake) {
        loop {
            let done = self.retire_asked().and_then(|()| self.make_asked(outbox, wake));
            let job = match done {
                Ok(()) => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Err(error) => {
                    self.note(&error);
                    inbox.recv_timeout(Duration::from_millis(RETRY_MS))
                }
            };
            match job {
                Ok(Job::Make(number)) => self.to_make.push_back(number),
                Ok(Job::Retire(number)) => self.to_retire.push_back(number),
                Ok(Job::Marks(marks)) => self.release(&marks),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn note(&self, error: &io::Error) {
        self.health.failures.fetch_add(1, Ordering::Relaxed);
        self.health.last_errno.store(error.raw_os_error().unwrap_or(-1), Ordering::Relaxed);
    }

    fn make_asked(&mut self, outbox: &SyncSender<Segment>, wake: &Wake) -> io::Result<()> {
        // At the end what was asked to be retired still is; nothing more is made.
        if self.health.stop.load(Ordering::Relaxed) {
            self.to_make.clear();
        }
        while let Some(number) = self.to_make.front().copied() {
            let segment = self.make(number)?;
            self.to_make.pop_front();
            if outbox.try_send(segment).is_ok() {
                wake();
            }
        }
        Ok(())
    }

    fn make(&mut self, number: u64) -> io::Result<Segment> {
        let path = self.dir.join(segment_name(self.root.incarnation, number));
        // It is there already if an earlier try failed after the rename.
        if !path.exists() {
            match self.free.last() {
                Some(free) => {
                    std::fs::rename(free, &path)?;
                    self.free.pop();
                }
                None => self.make_zeroed(&path)?,
            }
        }
        sync_dir(&self.dir)?;
        let (file, direct) = open(&path, false, libc::O_DSYNC, self.direct)?;
        Ok(Segment { number, file: Arc::new(file), direct })
    }

    /// Blocks that were written once are overwritten in place later: no allocation, no journal.
    fn make_zeroed(&self, path: &Path) -> io::Result<()> {
        let temporary = self.dir.join("spare.tmp");
        let (file, _) = open(&temporary, true, 0, self.direct)?;
        let mut offset = 0;
        while offset < self.segment_bytes {
            if self.health.stop.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let left = usize::try_from(self.segment_bytes - offset).unwrap_or(usize::MAX);
            let piece = &ZEROS.0[..left.min(ZEROS_BYTES)];
            debug_assert!(piece.len().is_multiple_of(BLOCK_BYTES));
            file.write_all_at(piece, offset)?;
            offset += u64::try_from(piece.len()).expect("usize fits u64");
        }
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    }

    fn retire_asked(&mut self) -> io::Result<()> {
        while let Some(number) = self.to_retire.front().copied() {
            let path = self.dir.join(segment_name(self.root.incarnation, number));
            // It is gone already if an earlier try failed after the rename.
            if path.exists() {
                self.set_aside(&path)?;
            }
            sync_dir(&self.dir)?;
            self.to_retire.pop_front();
        }
        Ok(())
    }

    /// Takes a segment out of its run: as a free file, or away if there are enough of those.
    fn set_aside(&mut self, path: &Path) -> io::Result<()> {
        if self.free.len() >= FREE_FILES_MAX {
            return std::fs::remove_file(path);
        }
        let name = self.dir.join(free_name(path));
        std::fs::rename(path, &name)?;
        self.free.push(name);
        Ok(())
    }

    fn release(&self, marks: &[(PartitionId, u64)]) {
        // Never used again: a write of the dead process might still be on its way into the file.
        let result = self.root.release(marks, |old| {
            match std::fs::remove_file(&old.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            old.path.parent().map_or(Ok(()), sync_dir)
        });
        if let Err(error) = result {
            self.note(&error);
        }
    }
}

/// Opens for writing past the page cache, or through it where the file system cannot do without
/// (it answers `EINVAL` then). Says which it is.
fn open(path: &Path, create: bool, flags: i32, direct: bool) -> io::Result<(File, bool)> {
    let open = |flags| {
        OpenOptions::new()
            .write(true)
            .create(create)
            .truncate(create)
            .custom_flags(flags)
            .open(path)
    };
    if direct {
        match open(flags | libc::O_DIRECT) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            result => return result.map(|file| (file, true)),
        }
    }
    open(flags).map(|file| (file, false))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

//! The threads that write tables, shared by all engines of a node.
//!
//! Invariants: the queue is bounded and a full one refuses; accepted work is finished, also when the
//! worker is dropped; flushes go before compactions, and one thread, where there are two or
//! more, is always free of compactions, so that a flush never waits for one. A worker without threads does
//! a job when it is told to, so that a simulator decides when.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Jobs waiting, of either kind. An engine has at most three in flight.
const QUEUE_MAX: usize = 4096;

pub(crate) type Job = Box<dyn FnOnce() + Send>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Priority {
    Urgent,
    Background,
}

/// Why a job was not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    Full,
    Stopped,
}

#[derive(Default)]
struct State {
    urgent: VecDeque<Job>,
    background: VecDeque<Job>,
    background_running: usize,
    stopping: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    background_running_max: usize,
    /// Nobody works but who calls [`Worker::run_next`].
    by_hand: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job to run; none when the worker stops and nothing is left.
    fn next(&self) -> Option<(Job, Priority)> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.urgent.pop_front() {
                return Some((job, Priority::Urgent));
            }
            if state.background_running < self.background_running_max
                && let Some(job) = state.background.pop_front()
            {
                state.background_running += 1;
                return Some((job, Priority::Background));
            }
            if state.stopping && state.background.is_empty() {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Does the next job here and now; false when none waits.
    fn run_next(&self) -> bool {
        let mut state = self.lock();
        let job = state.urgent.pop_front().or_else(|| state.background.pop_front());
        drop(state);
        job.map(|job| job()).is_some()
    }

    fn run(&self) {
        while let Some((job, priority)) = self.next() {
            job();
            if priority == Priority::Background {
                self.lock().background_running -= 1;
                self.changed.notify_all();
            }
        }
    }
}

/// What an engine holds of the worker.
#[derive(Clone)]
pub(crate) struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Queues a job. Jobs must not panic: a thread would be lost.
    pub(crate) fn submit(&self, priority: Priority, job: Job) -> Result<(), Refused> {
        let mut state = self.shared.lock();
        if state.stopping {
            return Err(Refused::Stopped);
        }
        if state.urgent.len() + state.background.len() >= QUEUE_MAX {
            return Err(Refused::Full);
        }
        match priority {
            Priority::Urgent => state.urgent.push_back(job),
            Priority::Background => state.background.push_back(job),
        }
        drop(state);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Where there are no threads: does all that waits. Whoever is about to wait for a job calls it.
    pub(crate) fn help(&self) {
        while self.shared.by_hand && self.shared.run_next() {}
    }
}

/// Background threads for flushes and compactions. Dropping it finishes all accepted work first.
pub struct Worker {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Worker {
    /// Starts `threads` threads, at least one.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(threads: usize) -> io::Result<Worker> {
        let threads = threads.max(1);
        let shared = Arc::new(Shared {
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
            background_running_max: (threads - 1).max(1),
            by_hand: false,
        });
        let mut worker = Worker { shared, threads: Vec::with_capacity(threads) };
        for number in 0..threads {
            let shared = Arc::clone(&worker.shared);
            let thread = std::thread::Builder::new().name(format!("novax-engine-{number}"));
            worker.threads.push(thread.spawn(move || shared.run())?);
        }
        Ok(worker)
    }

    /// A worker without threads: jobs wait for [`Worker::run_next`].
    #[must_use]
    pub fn by_hand() -> Worker {
        let state = Mutex::new(State::default());
        let changed = Condvar::new();
        let shared = Shared { state, changed, background_running_max: 1, by_hand: true };
        Worker { shared: Arc::new(shared), threads: Vec::new() }
    }

    /// Does the next job here and now; false when none waits. For a worker without threads.
    ///
    /// # Panics
    /// When there are threads, whose work it is.
    pub fn run_next(&self) -> bool {
        assert!(self.shared.by_hand, "the threads do what is to be done");
        self.shared.run_next()
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_all();
        while self.shared.by_hand && self.shared.run_next() {}
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn accepted_work_is_finished_when_the_worker_is_dropped() {
        let worker = Worker::start(2).unwrap();
        let handle = worker.handle();
        let (sender, done) = mpsc::channel();
        for i in 0..100 {
            let sender = sender.clone();
            let priority = if i % 2 == 0 { Priority::Urgent } else { Priority::Background };
            handle.submit(priority, Box::new(move || sender.send(i).unwrap())).unwrap();
        }
        drop(worker);
        assert_eq!(done.try_iter().count(), 100);
        assert_eq!(handle.submit(Priority::Urgent, Box::new(|| ())), Err(Refused::Stopped));
    }

    #[test]
    fn without_threads_a_job_is_done_when_it_is_told_to_be() {
        let worker = Worker::by_hand();
        let handle = worker.handle();
        let (sender, done) = mpsc::channel();
        for (number, priority) in [(1, Priority::Background), (2, Priority::Urgent)] {
            let sender = sender.clone();
            handle.submit(priority, Box::new(move || sender.send(number).unwrap())).unwrap();
        }
        assert_eq!(done.try_iter().count(), 0);
        assert!(worker.run_next());
        assert_eq!(done.try_iter().collect::<Vec<_>>(), [2]);
        drop(worker);
        assert_eq!(done.try_iter().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_flush_does_not_wait_for_a_compaction_and_a_full_queue_refuses() {
        let worker = Worker::start(2).unwrap();
        let handle = worker.handle();
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let (started, has_started) = mpsc::channel();
        let block: Job = Box::new(move || {
            started.send(()).unwrap();
            held.lock().unwrap().recv().unwrap();
        });
        handle.submit(Priority::Background, block).unwrap();
        has_started.recv().unwrap();
        for _ in 0..QUEUE_MAX {
            handle.submit(Priority::Background, Box::new(|| ())).unwrap();
        }
        assert_eq!(handle.submit(Priority::Background, Box::new(|| ())), Err(Refused::Full));
        // Let one slot go free, and see that an urgent job passes the compaction that still runs.
        handle.shared.lock().background.pop_back();
        let (sender, done) = mpsc::channel();
        handle.submit(Priority::Urgent, Box::new(move || sender.send(()).unwrap())).unwrap();
        done.recv().unwrap();
        release.send(()).unwrap();
    }
}

//! Look-ups by a thread that may not wait for files: they answer, or say what to fetch.
//!
//! Invariant: what a [`Fetch`] has fetched is found by the next look-up in the same view for as long as the fetch
//! lives; so each question takes one round at most, whatever the cache does.

use crate::error::Error;
use crate::lookup::{Files, Step, look_up};
use crate::snapshot::Snapshot;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// What [`Snapshot::get_resident`] came to.
#[derive(Debug)]
pub enum Resident {
    /// The value.
    Value(Vec<u8>),
    /// The key has no value.
    Absent,
    /// Files have to be read first: run this on a thread that may wait, and ask again.
    Need(Fetch),
}

/// A question, and its answer once it was fetched.
struct Wanted {
    keyspace: u8,
    key: Vec<u8>,
    answer: OnceLock<Option<Vec<u8>>>,
}

/// The fetches of one view.
#[derive(Default)]
pub(crate) struct Fetches {
    /// Tells at no cost that there are none, which is the rule.
    count: AtomicUsize,
    wanted: Mutex<Vec<Weak<Wanted>>>,
}

impl Fetches {
    fn add(&self, wanted: &Arc<Wanted>) {
        let mut list = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        // Those whose fetch was dropped go first: the list is no longer than there are fetches.
        list.retain(|other| other.strong_count() > 0);
        list.push(Arc::downgrade(wanted));
        self.count.store(list.len(), Ordering::Release);
    }

    /// The answer to a question that was fetched.
    pub(crate) fn answer(&self, keyspace: u8, key: &[u8]) -> Option<Option<Vec<u8>>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let list = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter().filter_map(Weak::upgrade).find_map(|wanted| {
            let is_same = wanted.keyspace == keyspace && wanted.key == key;
            if is_same { wanted.answer.get().cloned() } else { None }
        })
    }
}

/// What a look-up needs of files. Keeps its view, and so its files, until dropped.
pub struct Fetch {
    snapshot: Snapshot,
    wanted: Arc<Wanted>,
}

impl Fetch {
    pub(crate) fn new(snapshot: &Snapshot, keyspace: u8, key: &[u8]) -> Fetch {
        let wanted = Wanted { keyspace, key: key.to_vec(), answer: OnceLock::new() };
        let wanted = Arc::new(wanted);
        snapshot.inner().fetches.add(&wanted);
        Fetch { snapshot: snapshot.clone(), wanted }
    }

    /// Reads what is needed into the cache: filters, indexes, blocks, blobs. Waits for files: not for a shard's
    /// thread.
    ///
    /// # Errors
    /// When a file cannot be read, or a block is damaged.
    pub fn run(&self) -> Result<(), Error> {
        if self.wanted.answer.get().is_some() {
            return Ok(());
        }
        let Wanted { keyspace, key, answer } = &*self.wanted;
        if let Step::Done(value) = look_up(self.snapshot.inner(), *keyspace, key, Files::Read)? {
            // Two threads may both have run it: they found the same.
            drop(answer.set(value));
        }
        Ok(())
    }
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch").field("keyspace", &self.wanted.keyspace).finish_non_exhaustive()
    }
}

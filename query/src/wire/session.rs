//! Who is connected, what they set, and what of theirs can be cancelled.

use super::settings::Settings;
use crate::config::PREPARED_MAX;
use crate::error::Error;
use bytes::Bytes;
use pgwire::messages::startup::SecretKey;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};

/// Locks; a panic elsewhere leaves nothing half-done behind any of our locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection that has signed in.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) user: String,
    pub(super) pid: i32,
    settings: Mutex<Settings>,
    /// Names of prepared statements (`s`) and of cursors (`p`).
    kept: Mutex<BTreeSet<(u8, String)>>,
    cancel: watch::Sender<Cancel>,
    stopping: watch::Receiver<bool>,
    registry: Arc<Registry>,
    /// One of the seats; free again when the session ends.
    _seat: OwnedSemaphorePermit,
}

/// Whether a statement runs, and whether its client wants it stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancel {
    Idle,
    Running,
    Wanted,
}

impl Drop for Session {
    fn drop(&mut self) {
        lock(&self.registry.sessions).remove(&self.pid);
    }
}

/// All sessions, to find the one that a cancel request is for.
#[derive(Debug, Default)]
pub(super) struct Registry {
    sessions: Mutex<HashMap<i32, (Bytes, Weak<Session>)>>,
}

impl Registry {
    /// Stops what the session runs, when the secret is its own. A wrong one is told nothing.
    pub(super) fn cancel(&self, pid: i32, secret: &SecretKey) {
        let found = lock(&self.sessions).get(&pid).cloned();
        if let Some((expected, session)) = found
            && same(&expected, &secret.to_bytes())
            && let Some(session) = session.upgrade()
        {
            session.cancel.send_if_modified(|state| {
                let runs = *state == Cancel::Running;
                if runs {
                    *state = Cancel::Wanted;
                }
                runs
            });
        }
    }
}

/// Compares secrets in a time that does not tell where they differ.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

impl Session {
    pub(super) fn start(
        user: String,
        pid: i32,
        secret: &SecretKey,
        timeout_max: Duration,
        seat: OwnedSemaphorePermit,
        registry: &Arc<Registry>,
        stopping: watch::Receiver<bool>,
    ) -> Arc<Session> {
        let session = Arc::new(Session {
            settings: Mutex::new(Settings::new(&user, timeout_max)),
            user,
            pid,
            kept: Mutex::default(),
            cancel: watch::Sender::new(Cancel::Idle),
            stopping,
            registry: registry.clone(),
            _seat: seat,
        });
        let entry = (secret.to_bytes(), Arc::downgrade(&session));
        lock(&registry.sessions).insert(pid, entry);
        session
    }

    pub(super) fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.settings)
    }

    /// Does work for a statement until it is done, or stopped by its client, its time or the end
    /// of the server. What is stopped is dropped where it stands.
    pub(super) async fn stoppable<T, E: From<Error>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.cancel.send_replace(Cancel::Running);
        let mut cancel = self.cancel.subscribe();
        let mut stopping = self.stopping.clone();
        let timeout = self.settings().timeout();
        let result = tokio::select! {
            biased;
            _ = cancel.wait_for(|state| *state == Cancel::Wanted) => Err(Error::Cancelled.into()),
            _ = stopping.wait_for(|stop| *stop) => Err(Error::ShuttingDown.into()),
            () = tokio::time::sleep(timeout) => Err(Error::Timeout.into()),
            result = work => result,
        };
        self.cancel.send_replace(Cancel::Idle);
        result
    }

    /// Counts a statement (`b's'`) or cursor (`b'p'`) that the session keeps by name.
    pub(super) fn keep(&self, kind: u8, name: &str) -> Result<(), Error> {
        let mut kept = lock(&self.kept);
        let entry = (kind, name.to_owned());
        if kept.len() >= PREPARED_MAX && !kept.contains(&entry) {
            return Err(Error::TooManyPrepared(PREPARED_MAX));
        }
        kept.insert(entry);
        Ok(())
    }

    /// Forgets one.
    pub(super) fn forget(&self, kind: u8, name: &str) {
        lock(&self.kept).remove(&(kind, name.to_owned()));
    }

    /// The names of all prepared statements; forgets them.
    pub(super) fn forget_statements(&self) -> Vec<String> {
        let mut kept = lock(&self.kept);
        let names = kept.iter().filter(|(kind, _)| *kind == b's').map(|(_, name)| name.clone());
        let names = names.collect();
        kept.retain(|(kind, _)| *kind != b's');
        names
    }
}

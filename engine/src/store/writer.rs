//! The thread that waits for the disk, so that the owner of the log never does.
//!
//! Invariant: each write handed over is reported back once, whatever becomes of it, and those who wait for it hear
//! of it first.

use super::intake::{Shared, Written};
use novax_log::{LogWrite, blocking_write};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// The thread that waits for the disk.
pub(super) struct LogWriter {
    writes: Option<SyncSender<(LogWrite, u64)>>,
    thread: Option<JoinHandle<()>>,
}

impl LogWriter {
    pub(super) fn start(shared: &Arc<Shared>) -> io::Result<LogWriter> {
        let (writes, inbox) = sync_channel::<(LogWrite, u64)>(1);
        let shared = Arc::clone(shared);
        let run = move || {
            for (write, mark) in inbox {
                let result = catch_unwind(AssertUnwindSafe(|| blocking_write(&write)))
                    .unwrap_or_else(|_| Err(io::Error::other("the writing thread panicked")));
                // Those who wait should not have to wait for the owner as well.
                if result.is_ok() && mark > 0 {
                    shared.set_durable(mark);
                }
                let LogWrite { id, blocks, .. } = write;
                shared.set_written(Written { id, result, blocks });
            }
        };
        let thread = std::thread::Builder::new().name("novax-log-write".to_owned()).spawn(run)?;
        Ok(LogWriter { writes: Some(writes), thread: Some(thread) })
    }

    pub(super) fn write(&self, write: LogWrite, mark: u64) {
        let writes = self.writes.as_ref().expect("open until dropped");
        assert!(writes.send((write, mark)).is_ok(), "the writing thread lives as long as this");
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.writes = None;
        if let Some(thread) = self.thread.take() {
            // It contains its panics.
            drop(thread.join());
        }
    }
}

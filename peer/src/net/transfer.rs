//! Snapshots of one link: their bytes are read and written by threads that may wait, never by the links' own.
//!
//! * A transfer outlives connections: after a reconnect it is offered again and goes on where the receiver is.
//! * One read or write a transfer is under way. The receiver is done when its sink says so, and only then does the sender hear it.
//! * Transfers are bounded in number, and one that does not move for [`IDLE_MAX`] is given up.

use super::stats::Counters;
use super::{Handler, Snapshot, SnapshotSink, SnapshotSource, TakenSnapshot};
use crate::connection::Connection;
use crate::error::Refusal;
use crate::frame::Lane;
use crate::message::{SnapshotId, SnapshotMessage};
use crate::snapshot::{Incoming, Outgoing, Pace};
use bytes::Bytes;
use novax_model::NodeId;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Transfers a link carries in each direction at a time.
pub(super) const TRANSFERS_MAX: usize = 4;
/// A transfer that does not move for so long is given up.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// Transfers that are done and remembered: their sender may not have heard it.
const REMEMBERED_MAX: usize = 16;

struct Sending {
    flow: Outgoing,
    about: Bytes,
    /// Away while it is read from.
    source: Option<Box<dyn SnapshotSource>>,
    /// The bytes being read are for a connection that is gone.
    stale: bool,
    moved: Instant,
}

struct Receiving {
    flow: Incoming,
    about: Bytes,
    /// Away while it is written to.
    sink: Option<Box<dyn SnapshotSink>>,
    chunks: VecDeque<Bytes>,
    /// It was offered, and the sender was not told yet where to begin: something is still being written.
    restart: bool,
    /// The connection is a new one, and the sender has not offered it there yet: nothing is to be said.
    unoffered: bool,
    moved: Instant,
}

/// What a thread that may wait has done.
enum Done {
    Read { id: SnapshotId, source: Box<dyn SnapshotSource>, bytes: io::Result<Bytes> },
    Wrote { id: SnapshotId, sink: Box<dyn SnapshotSink>, len: usize, result: io::Result<()> },
    Finished { id: SnapshotId, result: io::Result<()> },
}

/// The transfers of one link.
pub(super) struct Transfers {
    node: NodeId,
    handler: Arc<dyn Handler>,
    pace: Arc<Mutex<Pace>>,
    counters: Arc<Counters>,
    sending: Vec<Sending>,
    receiving: Vec<Receiving>,
    remembered: VecDeque<(SnapshotId, u64)>,
    done: mpsc::UnboundedReceiver<Done>,
    report: mpsc::UnboundedSender<Done>,
}

impl std::fmt::Debug for Transfers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Transfers({} out, {} in)", self.sending.len(), self.receiving.len())
    }
}

impl Transfers {
    pub(super) fn new(
        node: NodeId,
        handler: Arc<dyn Handler>,
        pace: Arc<Mutex<Pace>>,
        counters: Arc<Counters>,
    ) -> Transfers {
        // Bounded by the transfers: each has one thing under way.
        let (report, done) = mpsc::unbounded_channel();
        let (sending, receiving, remembered) = (Vec::new(), Vec::new(), VecDeque::new());
        Transfers { node, handler, pace, counters, sending, receiving, remembered, done, report }
    }

    /// A snapshot to be sent; offered at once if there is a connection.
    pub(super) fn add(&mut self, now: Instant, snapshot: Snapshot, link: Option<&mut Connection>) {
        let Snapshot { id, length, about, source } = snapshot;
        let known = self.sending.iter().any(|sending| sending.flow.id() == id);
        if known || self.sending.len() >= TRANSFERS_MAX {
            self.handler.snapshot_sent(self.node, id, false);
            return;
        }
        let flow = Outgoing::new(id, length);
        let source = Some(source);
        let sending = Sending { flow, about, source, stale: false, moved: now };
        if let Some(link) = link {
            sending.offer(link);
        }
        self.sending.push(sending);
    }

    /// This side gives up sending.
    pub(super) fn cancel(&mut self, id: SnapshotId, link: Option<&mut Connection>) {
        let before = self.sending.len();
        self.sending.retain(|sending| sending.flow.id() != id);
        if self.sending.len() < before {
            self.handler.snapshot_sent(self.node, id, false);
            if let Some(link) = link {
                say(link, SnapshotMessage::Cancel { id, by_sender: true });
            }
        }
    }

    /// A new connection: what is not done is offered again.
    pub(super) fn connected(&mut self, now: Instant, link: &mut Connection) {
        for sending in &mut self.sending {
            sending.flow.offered_again();
            sending.stale = sending.source.is_none();
            sending.moved = now;
            sending.offer(link);
        }
        for receiving in &mut self.receiving {
            receiving.chunks.clear();
            receiving.unoffered = true;
            receiving.moved = now;
        }
    }

    /// The peer is none any more.
    pub(super) fn give_up_all(&mut self) {
        for sending in self.sending.drain(..) {
            self.handler.snapshot_sent(self.node, sending.flow.id(), false);
        }
        for receiving in self.receiving.drain(..) {
            self.handler.snapshot_received(self.node, receiving.flow.id(), false);
        }
    }

    /// Something was said about a snapshot.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        said: SnapshotMessage,
        link: &mut Connection,
    ) -> Result<(), Refusal> {
        match said {
            SnapshotMessage::Offer { id, length, about } => {
                self.handle_offer(now, id, length, about, link);
            }
            SnapshotMessage::Chunk { id, offset, bytes } => {
                // What was given up may still be on its way.
                let Some(at) = self.receiving.iter().position(|one| one.flow.id() == id) else {
                    return Ok(());
                };
                let receiving = &mut self.receiving[at];
                receiving.flow.chunk(offset, bytes.len())?;
                receiving.moved = now;
                self.counters.snapshot_bytes_in.fetch_add(bytes.len() as u64, Relaxed);
                receiving.chunks.push_back(bytes);
                receiving.work(&self.report);
            }
            SnapshotMessage::Credit { id, have, until } => {
                let Some(at) = self.sending.iter().position(|one| one.flow.id() == id) else {
                    return Ok(());
                };
                self.sending[at].flow.credit(have, until)?;
                self.sending[at].moved = now;
                if self.sending[at].flow.is_done() {
                    self.sending.remove(at);
                    self.handler.snapshot_sent(self.node, id, true);
                }
            }
            SnapshotMessage::Cancel { id, by_sender: true } => {
                self.drop_receiving(id);
            }
            SnapshotMessage::Cancel { id, by_sender: false } => {
                let before = self.sending.len();
                self.sending.retain(|sending| sending.flow.id() != id);
                if self.sending.len() < before {
                    self.handler.snapshot_sent(self.node, id, false);
                }
            }
        }
        Ok(())
    }

    fn drop_receiving(&mut self, id: SnapshotId) {
        let before = self.receiving.len();
        self.receiving.retain(|receiving| receiving.flow.id() != id);
        if self.receiving.len() < before {
            self.handler.snapshot_received(self.node, id, false);
        }
    }

    fn handle_offer(
        &mut self,
        now: Instant,
        id: SnapshotId,
        length: u64,
        about: Bytes,
        link: &mut Connection,
    ) {
        if self.remembered.contains(&(id, length)) {
            say(link, SnapshotMessage::Credit { id, have: length, until: length });
            return;
        }
        let same = |one: &&mut Receiving| {
            one.flow.id() == id && one.flow.length() == length && one.about == about
        };
        if let Some(receiving) = self.receiving.iter_mut().find(same) {
            receiving.chunks.clear();
            receiving.moved = now;
            receiving.restart = true;
            receiving.unoffered = false;
            receiving.restart_if_idle(link);
            return;
        }
        // Of the same name and otherwise different: the sender has begun anew.
        self.drop_receiving(id);
        let taken = if self.receiving.len() < TRANSFERS_MAX {
            self.handler.snapshot_offered(self.node, id, length, &about)
        } else {
            None
        };
        let Some(TakenSnapshot { have, sink }) = taken.filter(|taken| taken.have <= length) else {
            say(link, SnapshotMessage::Cancel { id, by_sender: false });
            return;
        };
        let flow = Incoming::new(id, length, have);
        let (sink, chunks) = (Some(sink), VecDeque::new());
        let (restart, unoffered) = (true, false);
        let mut receiving = Receiving { flow, about, sink, chunks, restart, unoffered, moved: now };
        receiving.restart_if_idle(link);
        receiving.work(&self.report);
        self.receiving.push(receiving);
    }

    /// Takes what threads have done and gives them more; when to call again, if nothing happens before.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        cx: &mut Context<'_>,
        link: &mut Connection,
    ) -> Option<Instant> {
        while let Poll::Ready(Some(done)) = self.done.poll_recv(cx) {
            self.handle_done(now, done, Some(&mut *link));
        }
        self.give_up_idle(now, link);
        self.read_more(now, link)
    }

    /// While there is no connection: what was under way comes back.
    pub(super) fn settle(&mut self, now: Instant) {
        while let Ok(done) = self.done.try_recv() {
            self.handle_done(now, done, None);
        }
    }

    fn give_up_idle(&mut self, now: Instant, link: &mut Connection) {
        let idle = |moved: Instant| now.saturating_duration_since(moved) >= IDLE_MAX;
        let sending = self.sending.iter().filter(|one| idle(one.moved)).map(|one| one.flow.id());
        for id in sending.collect::<Vec<_>>() {
            self.cancel(id, Some(&mut *link));
        }
        let receiving =
            self.receiving.iter().filter(|one| idle(one.moved)).map(|one| one.flow.id());
        for id in receiving.collect::<Vec<_>>() {
            self.drop_receiving(id);
            say(link, SnapshotMessage::Cancel { id, by_sender: false });
        }
    }

    /// Lets the next chunks be read, as room, credit and pace allow.
    fn read_more(&mut self, now: Instant, link: &Connection) -> Option<Instant> {
        let mut wake: Option<Instant> = None;
        if !link.has_room(Lane::Snapshot) {
            // The connection has to write first; it calls again when it has.
            return None;
        }
        for sending in &mut self.sending {
            let Some((offset, len)) = sending.flow.next() else { continue };
            if sending.source.is_none() {
                continue;
            }
            let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
            match pace.take(now, len) {
                Ok(()) => sending.read(offset, len, &self.report),
                Err(later) => wake = Some(wake.map_or(later, |wake| wake.min(later))),
            }
        }
        wake
    }

    fn handle_done(&mut self, now: Instant, done: Done, link: Option<&mut Connection>) {
        match done {
            Done::Read { id, source, bytes } => self.handle_read(now, id, source, bytes, link),
            Done::Wrote { id, sink, len, result } => {
                let Some(at) = self.receiving.iter().position(|one| one.flow.id() == id) else {
                    return;
                };
                if result.is_err() {
                    self.fail_receiving(id, link);
                    return;
                }
                let receiving = &mut self.receiving[at];
                receiving.sink = Some(sink);
                receiving.moved = now;
                let credit = receiving.flow.wrote(len);
                if let Some(link) = link {
                    let due = credit.filter(|_| !receiving.restart && !receiving.unoffered);
                    if let Some((have, until)) = due {
                        say(link, SnapshotMessage::Credit { id, have, until });
                    }
                    receiving.restart_if_idle(link);
                }
                receiving.work(&self.report);
            }
            Done::Finished { id, result } => {
                let Some(at) = self.receiving.iter().position(|one| one.flow.id() == id) else {
                    return;
                };
                if result.is_err() {
                    self.fail_receiving(id, link);
                    return;
                }
                let length = self.receiving.remove(at).flow.length();
                if self.remembered.len() >= REMEMBERED_MAX {
                    self.remembered.pop_front();
                }
                self.remembered.push_back((id, length));
                self.handler.snapshot_received(self.node, id, true);
                if let Some(link) = link {
                    say(link, SnapshotMessage::Credit { id, have: length, until: length });
                }
            }
        }
    }

    fn fail_receiving(&mut self, id: SnapshotId, link: Option<&mut Connection>) {
        self.drop_receiving(id);
        if let Some(link) = link {
            say(link, SnapshotMessage::Cancel { id, by_sender: false });
        }
    }

    fn handle_read(
        &mut self,
        now: Instant,
        id: SnapshotId,
        source: Box<dyn SnapshotSource>,
        bytes: io::Result<Bytes>,
        link: Option<&mut Connection>,
    ) {
        let Some(at) = self.sending.iter().position(|one| one.flow.id() == id) else { return };
        let Ok(bytes) = bytes else {
            self.cancel(id, link);
            return;
        };
        let sending = &mut self.sending[at];
        sending.source = Some(source);
        sending.moved = now;
        let stale = std::mem::take(&mut sending.stale);
        let (Some(link), false) = (link, stale) else { return };
        let Some((offset, len)) = sending.flow.next() else { return };
        if len < bytes.len() {
            return;
        }
        let len = bytes.len();
        if link.push_snapshot(SnapshotMessage::Chunk { id, offset, bytes }).is_ok() {
            sending.flow.advance(len);
            self.counters.snapshot_bytes_out.fetch_add(len as u64, Relaxed);
        }
    }
}

/// What is not taken for want of room is said again after the next reconnect, or ends by idling.
fn say(link: &mut Connection, message: SnapshotMessage) {
    let _taken = link.push_snapshot(message).is_ok();
}

impl Sending {
    fn offer(&self, link: &mut Connection) {
        let (id, length, about) = (self.flow.id(), self.flow.length(), self.about.clone());
        say(link, SnapshotMessage::Offer { id, length, about });
    }

    fn read(&mut self, offset: u64, len: usize, report: &mpsc::UnboundedSender<Done>) {
        let Some(mut source) = self.source.take() else { return };
        let (id, report) = (self.flow.id(), report.clone());
        tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; len];
            let bytes = source.read_at(offset, &mut bytes).map(|()| Bytes::from(bytes));
            // Nobody waits for it when the peer is gone.
            let _heard = report.send(Done::Read { id, source, bytes }).is_ok();
        });
    }
}

impl Receiving {
    /// Tells the sender where to go on, when nothing is being written.
    fn restart_if_idle(&mut self, link: &mut Connection) {
        if !self.restart || self.sink.is_none() {
            return;
        }
        self.restart = false;
        let (have, until) = self.flow.restart();
        // All of it is said to be here when the sink has finished, not before.
        if have < self.flow.length() {
            say(link, SnapshotMessage::Credit { id: self.flow.id(), have, until });
        }
    }

    /// Lets what came be written, or the sink finish.
    fn work(&mut self, report: &mpsc::UnboundedSender<Done>) {
        let finish = self.flow.is_written();
        if self.chunks.is_empty() && !finish {
            return;
        }
        let Some(mut sink) = self.sink.take() else { return };
        let (id, report) = (self.flow.id(), report.clone());
        let (chunks, mut offset) = (std::mem::take(&mut self.chunks), self.flow.written());
        tokio::task::spawn_blocking(move || {
            let done = if finish {
                Done::Finished { id, result: sink.finish() }
            } else {
                let len = chunks.iter().map(Bytes::len).sum();
                let result = chunks.iter().try_for_each(|chunk| {
                    sink.write_at(offset, chunk)?;
                    offset += chunk.len() as u64;
                    Ok(())
                });
                Done::Wrote { id, sink, len, result }
            };
            let _heard = report.send(done).is_ok();
        });
    }
}

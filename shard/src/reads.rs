//! Reads that must see whatever was acknowledged before they were asked for.
//!
//! A replica that follows may lack the last entries, and one that leads may have been replaced: what it does not
//! find may be there all the same. So whoever finds nothing, and whoever asks for a view of everything, waits
//! until Raft has confirmed how far the partition is committed and this replica has applied that far. Nothing is
//! written for it. Those who ask in one turn share one question.
//!
//! Invariant: each is answered once, and no later than Raft gives the question up.

use super::Shard;
use super::apps::{AppError, AppStart, AppTo};
use super::mesh::MeshMessage;
use super::waiter::Job;
use crate::ConnId;
use crate::port::{Unavailable, View};
use novax_charging::DirectoryKind;
use novax_model::{PartitionId, SessionId};
use novax_raft::ReadId;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// Who may wait at a time. Beyond it they are told to come again.
const WAITING_MAX: usize = 65_536;

/// Somebody who waits until the partition's state is as new as his question.
#[derive(Debug)]
pub(super) enum Read {
    /// The control plane looks for an id.
    Locate { kind: DirectoryKind, id: String, reply: oneshot::Sender<Option<PartitionId>> },
    /// Another shard does.
    LocateFor { shard: u16, token: u64, kind: DirectoryKind, id: Box<str> },
    /// A start looks for its token.
    Token(Box<Job>),
    /// A station's handshake looks for the station.
    Handshake(ConnId),
    /// An app's start looks for its station.
    AppStation(Box<AppStart>),
    /// An app waits for the row of its session, which another node has applied.
    AppSession { to: AppTo, session: SessionId },
    /// A view of all partitions; its number.
    View(u64),
}

/// A view that waits for its partitions.
#[derive(Debug)]
struct Viewing {
    /// How many are not confirmed yet.
    left: usize,
    with_series: bool,
    reply: oneshot::Sender<View>,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// Asked since the last turn ended.
    gathered: BTreeMap<PartitionId, Vec<Read>>,
    asked: BTreeMap<(PartitionId, ReadId), Vec<Read>>,
    views: BTreeMap<u64, Viewing>,
    waiting: usize,
    last_view: u64,
}

impl Shard {
    /// Has somebody wait until the state of a partition of this shard is as new as now.
    pub(super) fn read(&mut self, partition: PartitionId, read: Read) {
        if self.reads.waiting >= WAITING_MAX {
            self.counters.commands_overloaded.increment();
            self.read_failed(read);
            return;
        }
        self.reads.waiting += 1;
        self.reads.gathered.entry(partition).or_default().push(read);
    }

    /// A view of all partitions of this shard, as new as now.
    pub(super) fn view_fresh(&mut self, with_series: bool, reply: oneshot::Sender<View>) {
        let partitions: Vec<PartitionId> = self.slots.keys().copied().collect();
        if partitions.is_empty() {
            let _ = reply.send(self.view(with_series));
            return;
        }
        self.reads.last_view += 1;
        let number = self.reads.last_view;
        self.reads.views.insert(number, Viewing { left: partitions.len(), with_series, reply });
        for partition in partitions {
            self.read(partition, Read::View(number));
        }
    }

    /// Asks Raft for all who came in this turn.
    pub(super) fn begin_reads(&mut self) {
        for (partition, reads) in std::mem::take(&mut self.reads.gathered) {
            match self.raft.read_index(partition) {
                Ok(id) => {
                    self.reads.asked.insert((partition, id), reads);
                }
                Err(_busy) => reads.into_iter().for_each(|read| {
                    self.reads.waiting -= 1;
                    self.read_failed(read);
                }),
            }
        }
    }

    /// Raft's answer: the state is as new as the question, or nobody knows.
    pub(super) fn reads_answered(&mut self, partition: PartitionId, id: ReadId, ready: bool) {
        let Some(reads) = self.reads.asked.remove(&(partition, id)) else { return };
        for read in reads {
            self.reads.waiting -= 1;
            if ready {
                self.read_ready(partition, read);
            } else {
                self.read_failed(read);
            }
        }
    }

    fn read_ready(&mut self, partition: PartitionId, read: Read) {
        match read {
            Read::Locate { kind, id, reply } => {
                let _ = reply.send(self.locate_here(partition, kind, &id));
            }
            Read::LocateFor { shard, token, kind, id } => {
                let home = Ok(self.locate_here(partition, kind, &id));
                self.mesh.send(shard, MeshMessage::Located { token, home });
            }
            Read::Token(job) => {
                let home = self.locate_here(partition, DirectoryKind::Token, job.token().as_str());
                self.job_located(*job, home);
            }
            Read::Handshake(conn) => self.directory_answered(conn, partition),
            Read::AppStation(start) => {
                let station = start.request.station.as_str();
                let home = self.locate_here(partition, DirectoryKind::Station, station);
                self.app_station_located(start, Ok(home));
            }
            Read::AppSession { to, session } => {
                let answer = self.app_session(session).ok_or(AppError::Unavailable);
                self.answer_app_to(to, answer);
            }
            Read::View(number) => {
                let Some(viewing) = self.reads.views.get_mut(&number) else { return };
                viewing.left -= 1;
                if viewing.left == 0 {
                    let Viewing { with_series, reply, .. } =
                        self.reads.views.remove(&number).expect("found above");
                    let view = View { as_of: self.now, ..self.view(with_series) };
                    let _ = reply.send(view);
                }
            }
        }
    }

    /// The question has no answer. Dropping a reply tells its asker so.
    fn read_failed(&mut self, read: Read) {
        match read {
            Read::Locate { .. } => {}
            Read::LocateFor { shard, token, .. } => {
                self.mesh.send(shard, MeshMessage::Located { token, home: Err(Unavailable) });
            }
            Read::Token(job) => self.job_unavailable(*job),
            Read::Handshake(conn) => {
                let later = [("Retry-After", "5")];
                self.refuse_handshake(conn, 503, "the hub cannot tell now; come back", &later);
            }
            Read::AppStation(start) => self.answer_app(start.conn, &Err(AppError::Unavailable)),
            Read::AppSession { to, .. } => self.answer_app_to(to, Err(AppError::Unavailable)),
            Read::View(number) => {
                self.reads.views.remove(&number);
            }
        }
    }
}

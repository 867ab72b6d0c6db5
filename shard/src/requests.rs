//! What the control plane and other shards ask, and the starts that wait for a payer's partition.

use super::apps::AppTo;
use super::mesh::MeshMessage;
use super::reads::Read;
use super::waiter::{Job, Waiter};
use super::{QUEUE_QUANTUM, ROUTES_MAX, Shard};
use crate::port::{Freshness, Request, StartCharge, Totals, Unavailable, digest};
use crossbeam_queue::ArrayQueue;
use novax_charging::command::PayerRef;
use novax_charging::{
    Command, DirectoryKind, Funding, Outcome, PeerCommand, PlaceHold, Refusal, RequestStart,
};
use novax_model::{Amount, Currency, PartitionId, SessionId, TokenUid};

impl Shard {
    /// Takes requests of the control plane, at most a quantum.
    pub fn take_requests(&mut self, queue: &ArrayQueue<Request>) {
        // Requests are taken first in a turn; messages between shards add to this.
        self.more_waits = false;
        for _ in 0..QUEUE_QUANTUM {
            let Some(request) = queue.pop() else { return };
            self.handle_request(request);
        }
        self.more_waits = true;
    }

    fn handle_request(&mut self, request: Request) {
        match request {
            Request::Propose { partition, command, reply } => {
                self.submit(partition, command, Waiter::Control(reply));
            }
            Request::Locate { partition, kind, id, reply } => {
                match self.locate_here(partition, kind, &id) {
                    Some(home) => {
                        let _ = reply.send(Some(home));
                    }
                    None => self.read(partition, Read::Locate { kind, id, reply }),
                }
            }
            Request::StartCharge { partition, request, reply } => {
                self.start_app(partition, request, Waiter::Control(reply));
            }
            Request::Call { partition, station, call, reply } => {
                self.call_for_admin(partition, &station, &call, reply);
            }
            Request::View { with_series, freshness: Freshness::Fresh, reply } => {
                self.view_fresh(with_series, reply);
            }
            Request::View { with_series, freshness: Freshness::Local, reply } => {
                let _ = reply.send(self.view(with_series));
            }
            Request::DropWindows { partition, keyspace, until, seen } => {
                if let Some(slot) = self.slots.get_mut(&partition) {
                    let dropped = slot.engine.drop_windows_before(keyspace as u8, until.0, &seen);
                    dropped.expect("every table of a partition has a keyspace");
                }
            }
            Request::Totals { reply } => {
                let _ = reply.send(self.totals());
            }
            Request::Replicas { reply } => {
                let _ = reply.send(self.replicas());
            }
            Request::Order { partition, order } => self.give_order(partition, order),
            Request::Drained { reply } => self.answer_when_drained(reply),
            Request::Stop => self.handle_stop(),
        }
    }

    fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        for slot in self.slots.values() {
            let part = slot.machine.totals();
            sum.add(&Totals {
                live_sessions: part.live_sessions,
                ended_sessions: part.sessions_ended,
                power_w: part.power_w_live,
                energy_wh: part.energy_wh_total,
                settled: part.settled,
                stations_connected: part.stations_connected,
            });
        }
        sum
    }

    pub(super) fn handle_mesh(&mut self, message: MeshMessage) {
        match message {
            MeshMessage::Propose { from, token, partition, command } => {
                self.submit(partition, *command, Waiter::Mesh { shard: from, token });
            }
            MeshMessage::Outcome { token, outcome } => {
                let waiter = self.asked.remove(&token).expect("an answer to what was asked");
                self.complete(waiter, outcome);
            }
            MeshMessage::Locate { from, token, partition, kind, id } => {
                match self.locate_here(partition, kind, &id) {
                    Some(home) => {
                        self.mesh.send(from, MeshMessage::Located { token, home: Ok(Some(home)) });
                    }
                    None => self.read(partition, Read::LocateFor { shard: from, token, kind, id }),
                }
            }
            MeshMessage::Located { token, home } => {
                let waiter = self.asked.remove(&token).expect("an answer to what was asked");
                match (waiter, home) {
                    (Waiter::Job(job), Ok(home)) => self.job_located(*job, home),
                    (Waiter::Job(job), Err(Unavailable)) => self.job_unavailable(*job),
                    (Waiter::AppStation(start), home) => self.app_station_located(start, home),
                    (other, _) => unreachable!("{other:?} does not ask where"),
                }
            }
            MeshMessage::CheckToken { from, token, partition, uid, required } => {
                let refusal = self.check_token_here(partition, &uid, required);
                self.mesh.send(from, MeshMessage::Checked { token, refusal });
            }
            MeshMessage::Checked { token, refusal } => {
                let waiter = self.asked.remove(&token).expect("an answer to what was asked");
                let Waiter::Job(job) = waiter else { unreachable!("only jobs check tokens") };
                self.job_checked(*job, refusal);
            }
            MeshMessage::StartApp { from, token, partition, request } => {
                let to = AppTo::There { shard: from, token };
                self.start_app(partition, *request, Waiter::App(to));
            }
            MeshMessage::AppStarted { token, result } => {
                let waiter = self.asked.remove(&token).expect("an answer to what was asked");
                let Waiter::AppElsewhere(conn) = waiter else {
                    unreachable!("only sockets of apps start elsewhere")
                };
                self.answer_app(conn, &result);
            }
            MeshMessage::Roster(roster) => self.take_in_roster(roster),
            MeshMessage::Handoff(handoff) => self.handle_handoff(handoff),
        }
    }

    pub(super) fn locate_here(
        &self,
        partition: PartitionId,
        kind: DirectoryKind,
        id: &str,
    ) -> Option<PartitionId> {
        let slot = self.slots.get(&partition)?;
        slot.machine.directory(kind, id).map(|row| row.home)
    }

    /// An app's charge: the session's id comes from the request's key, its payload is remembered.
    pub(super) fn start_app(
        &mut self,
        partition: PartitionId,
        request: StartCharge,
        reply: Waiter,
    ) {
        let StartCharge { key, station, connector, token } = request;
        let payload = digest(&[station.as_str(), &connector.to_string(), token.as_str()]);
        let payload_hash = u64::try_from(payload >> 64).expect("the upper half");
        let session = SessionId::new(partition, digest(&["start", &key]));
        let start = RequestStart {
            session,
            payload_hash,
            identity: station,
            connector,
            token,
            payer: PayerRef::Local,
        };
        let known =
            self.slots.get(&partition).is_some_and(|slot| slot.machine.session(session).is_some());
        if known {
            self.submit(partition, Command::RequestStart(start), reply);
        } else {
            self.locate_token(Job::App { reply: Box::new(reply), partition, start });
        }
    }

    /// Finds the partition of a job's token, then goes on.
    pub(super) fn locate_token(&mut self, job: Job) {
        let uid = job.token().clone();
        if let Some(home) = self.routes.get(uid.as_str()).copied() {
            self.job_located(job, Some(home));
            return;
        }
        let directory = PartitionId::of_directory(uid.as_str(), self.config.partitions);
        if self.is_mine(directory) {
            match self.locate_here(directory, DirectoryKind::Token, uid.as_str()) {
                Some(home) => self.job_located(job, Some(home)),
                None => self.read(directory, Read::Token(Box::new(job))),
            }
            return;
        }
        let (from, token, to) = (self.mesh.me(), self.token(), self.shard_of(directory));
        self.asked.insert(token, Waiter::Job(Box::new(job)));
        let id = uid.as_str().into();
        let kind = DirectoryKind::Token;
        self.mesh.send(to, MeshMessage::Locate { from, token, partition: directory, kind, id });
    }

    pub(super) fn job_located(&mut self, job: Job, home: Option<PartitionId>) {
        let Some(home) = home else {
            self.job_refused(job, Refusal::UnknownToken);
            return;
        };
        if self.routes.len() >= ROUTES_MAX {
            self.routes.clear();
        }
        self.routes.insert(job.token().as_str().into(), home);
        if matches!(job, Job::Authorize { .. }) {
            self.authorize(job, home);
            return;
        }
        if home == job.partition() {
            self.job_propose(job, PayerRef::Local);
            return;
        }
        let Some((currency, amount)) = self.hold_of(&job) else {
            // The station's partition will say what is wrong with the station.
            self.job_propose(job, PayerRef::Local);
            return;
        };
        let hold = PlaceHold {
            session: job.session(),
            sequence: 0,
            token: job.token().clone(),
            amount,
            currency,
        };
        let command =
            Command::Peer { from: job.partition(), command: PeerCommand::PlaceHold(hold) };
        self.submit(home, command, Waiter::Held { job: Box::new(job), home });
    }

    /// What a start at a job's station must hold.
    fn hold_of(&self, job: &Job) -> Option<(Currency, Amount)> {
        let machine = &self.slots.get(&job.partition())?.machine;
        let site = machine.station(job.station()?)?.site.clone();
        let price = machine.site(site.as_str())?.price_at(machine.now())?;
        Some((price.currency, price.hold))
    }

    /// The payer's partition has spoken.
    pub(super) fn job_held(
        &mut self,
        job: Job,
        home: PartitionId,
        outcome: Result<Outcome, Unavailable>,
    ) {
        match outcome {
            Ok(Outcome::Held { driver, amount, currency, attempt }) => {
                let payer = PayerRef::Held { driver, partition: home, amount, currency, attempt };
                self.job_propose(job, payer);
            }
            Ok(Outcome::Card { driver, card, debts }) => {
                self.job_propose(job, PayerRef::Card { driver, card, debts });
            }
            Ok(Outcome::Refused(refusal)) => self.job_refused(job, refusal),
            Ok(other) => unreachable!("a hold is held or refused, not {other:?}"),
            Err(Unavailable) => self.job_unavailable(job),
        }
    }

    pub(super) fn job_unavailable(&mut self, job: Job) {
        match job {
            Job::App { reply, .. } => self.complete(*reply, Err(Unavailable)),
            Job::Card { reply, .. } | Job::Authorize { reply, .. } => {
                self.reply_outcome(&reply, &Err(Unavailable));
            }
        }
    }

    fn job_refused(&mut self, job: Job, refusal: Refusal) {
        match job {
            // A station's transaction runs, allowed or not: it is recorded and told no.
            Job::Card { .. } => self.job_propose(job, PayerRef::Refused(refusal)),
            Job::App { reply, .. } => self.complete(*reply, Ok(Outcome::Refused(refusal))),
            Job::Authorize { reply, .. } => {
                self.reply_outcome(&reply, &Ok(Outcome::Refused(refusal)));
            }
        }
    }

    fn job_propose(&mut self, job: Job, payer: PayerRef) {
        match job {
            Job::Card { reply, partition, mut start } => {
                start.payer = payer;
                self.submit(partition, Command::StartTransaction(start), Waiter::Station(reply));
            }
            Job::App { reply, partition, mut start } => {
                start.payer = payer;
                self.submit(partition, Command::RequestStart(start), *reply);
            }
            Job::Authorize { .. } => unreachable!("an authorisation proposes nothing"),
        }
    }

    fn authorize(&mut self, job: Job, home: PartitionId) {
        let required = self.hold_of(&job);
        if self.is_mine(home) {
            let refusal = self.check_token_here(home, job.token().as_str(), required);
            self.job_checked(job, refusal);
            return;
        }
        let (from, token, to) = (self.mesh.me(), self.token(), self.shard_of(home));
        let uid = job.token().as_str().into();
        self.asked.insert(token, Waiter::Job(Box::new(job)));
        let message = MeshMessage::CheckToken { from, token, partition: home, uid, required };
        self.mesh.send(to, message);
    }

    fn job_checked(&mut self, job: Job, refusal: Option<Refusal>) {
        let Job::Authorize { reply, .. } = job else { unreachable!("only Authorize checks") };
        let outcome = refusal.map_or(Outcome::Done, Outcome::Refused);
        self.reply_outcome(&reply, &Ok(outcome));
    }

    fn check_token_here(
        &self,
        partition: PartitionId,
        uid: &str,
        required: Option<(Currency, Amount)>,
    ) -> Option<Refusal> {
        let Some(slot) = self.slots.get(&partition) else { return Some(Refusal::UnknownToken) };
        let Some((_, driver)) = slot.machine.token(uid) else {
            return Some(Refusal::UnknownToken);
        };
        if driver.blocked {
            return Some(Refusal::DriverBlocked);
        }
        if matches!(driver.funding, Funding::Card(_)) {
            // Its provider is asked when the charge begins.
            return None;
        }
        let (currency, required) = required?;
        let Some(required) = slot.machine.cost_in(driver.currency, currency, required) else {
            return Some(Refusal::CurrencyMismatch);
        };
        let available = slot.machine.available(driver.driver.as_str()).unwrap_or(0);
        (available < required).then_some(Refusal::InsufficientFunds { available, required })
    }
}

impl Job {
    pub(super) fn token(&self) -> &TokenUid {
        match self {
            Job::Card { start, .. } => &start.token,
            Job::App { start, .. } => &start.token,
            Job::Authorize { token, .. } => token,
        }
    }

    fn partition(&self) -> PartitionId {
        match self {
            Job::Card { partition, .. }
            | Job::App { partition, .. }
            | Job::Authorize { partition, .. } => *partition,
        }
    }

    fn session(&self) -> SessionId {
        match self {
            Job::Card { start, .. } => start.session,
            Job::App { start, .. } => start.session,
            Job::Authorize { .. } => unreachable!("an authorisation has no session"),
        }
    }

    fn station(&self) -> Option<&str> {
        match self {
            Job::Card { start, .. } => Some(start.identity.as_str()),
            Job::App { start, .. } => Some(start.identity.as_str()),
            Job::Authorize { station, .. } => Some(station.as_str()),
        }
    }
}

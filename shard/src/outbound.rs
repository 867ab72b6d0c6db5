//! Our calls to stations: one out at a time, the rest waiting, and the outbox behind them.

use super::connection::{CALLS_WAITING_MAX, Call, Calls, OpenCall, Purpose, Report};
use super::waiter::Waiter;
use crate::ConnId;
use crate::Shard;
use crate::calls::CallReply;
use crate::gateway;
use crate::port::Asked;
use crate::port::{CallFailed, StationCall, StationReply};
use novax_charging::{Answer, Command, OutboxKind, StationCommand};
use novax_model::{Duration, Identity, PartitionId, Timestamp};
use novax_wire::ocpp::frame;
use novax_wire::ws;

/// A report must be complete within this.
const REPORT_TIMEOUT: Duration = Duration::from_secs(60);

impl Shard {
    /// Delivers an outbox row, if nobody is at it and its receiver can be reached from here: a station by the
    /// node that has its socket, anybody else by the leader.
    pub(super) fn deliver(&mut self, partition: PartitionId, outbox: u64) {
        let payments = self.payments.clone();
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        let Some(row) = slot.machine.outbox_row(outbox) else { return };
        let is_stations = matches!(row.kind, OutboxKind::Station { .. });
        if slot.led_from.is_none() && !is_stations {
            return;
        }
        match row.kind.clone() {
            OutboxKind::Peer { to, command } => {
                if slot.delivering.insert(outbox) {
                    let command = Command::Peer { from: partition, command };
                    self.submit(to, command, Waiter::PeerOutbox { partition, outbox });
                }
            }
            OutboxKind::Payment { payment } => {
                let Some(payments) = payments else { return };
                // Whoever delivers it may have done so before, or another leader: the provider is asked
                // for it first. Only this leader, the first time, knows better.
                let resumed = slot.led_from.is_none_or(|from| outbox < from);
                let mut payment = payment;
                if resumed && novax_model::seeded::is("payment-asked-anew") {
                    payment.operation ^= 1 << 100;
                }
                if slot.delivering.insert(outbox)
                    && payments.try_send(Asked { payment, resumed }).is_err()
                {
                    slot.delivering.remove(&outbox);
                }
            }
            OutboxKind::Station { identity, command } => {
                if row.deadline <= self.now {
                    return;
                }
                let Some(conn) = self.stations.get(identity.as_str()).copied() else { return };
                let Some(station) = self.station(conn).filter(|station| !station.pending) else {
                    return;
                };
                let protocol = station.protocol;
                if station.calls().waiting.len() >= CALLS_WAITING_MAX {
                    return;
                }
                let slot = self.slots.get_mut(&partition).expect("just seen");
                if slot.delivering.insert(outbox) {
                    let message = gateway::write_command(protocol, &command);
                    self.call(conn, Call { message, purpose: Purpose::Outbox(outbox) });
                }
            }
        }
    }

    /// A station is there: it gets what waited for it.
    pub(super) fn deliver_station_outbox(&mut self, partition: PartitionId, identity: &Identity) {
        let Some(slot) = self.slots.get(&partition) else { return };
        let rows: Vec<u64> = slot.machine.outbox_for(identity.as_str()).map(|row| row.id).collect();
        for outbox in rows {
            self.deliver(partition, outbox);
        }
    }

    /// Once a second: what could not be delivered is tried again, or given up after its deadline.
    pub(super) fn redeliver(&mut self, partition: PartitionId) {
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        if !slot.caught_up {
            return;
        }
        let leads = slot.led_from.is_some();
        let machine = &slot.machine;
        slot.delivering.retain(|id| machine.outbox_row(*id).is_some());
        let waiting: Vec<(u64, bool)> = slot
            .machine
            .outbox()
            .filter(|row| !slot.delivering.contains(&row.id))
            .map(|row| {
                let station = matches!(row.kind, OutboxKind::Station { .. });
                (row.id, station && row.deadline <= self.now)
            })
            .collect();
        for (outbox, overdue) in waiting {
            if overdue && leads {
                self.answer_outbox(partition, outbox, Answer::Silent);
            } else {
                self.deliver(partition, outbox);
            }
        }
    }

    fn answer_outbox(&mut self, partition: PartitionId, outbox: u64, answer: Answer) {
        if let Some(slot) = self.slots.get_mut(&partition) {
            slot.delivering.insert(outbox);
        }
        let waiter = Waiter::OutboxAnswered { partition, outbox };
        self.submit(partition, Command::CommandAnswered { outbox, answer }, waiter);
    }

    /// An admin's call to a station.
    pub(super) fn call_for_admin(
        &mut self,
        partition: PartitionId,
        identity: &Identity,
        call: &StationCall,
        reply: CallReply,
    ) {
        let refused = self.try_call_for_admin(partition, identity, call, reply);
        if let Err((reply, error)) = refused {
            let _ = reply.send(Err(error));
        }
    }

    fn try_call_for_admin(
        &mut self,
        partition: PartitionId,
        identity: &Identity,
        call: &StationCall,
        reply: CallReply,
    ) -> Result<(), (CallReply, CallFailed)> {
        let known = self
            .slots
            .get(&partition)
            .is_some_and(|slot| slot.machine.station(identity.as_str()).is_some());
        if !known {
            return Err((reply, CallFailed::UnknownStation));
        }
        let request_id = i32::try_from(self.token() % (1 << 31)).expect("31 bits");
        let conn = self.stations.get(identity.as_str()).copied();
        let Some(conn) =
            conn.filter(|conn| self.station(*conn).is_some_and(|station| !station.pending))
        else {
            return self.call_elsewhere(partition, identity, call, reply);
        };
        let station = self.station(conn).expect("just seen");
        let Some(message) = gateway::write_call(station.protocol, call, request_id) else {
            return Err((reply, CallFailed::NotInVersion));
        };
        let is_report = matches!(call, StationCall::GetBaseReport { .. });
        let calls = station.calls();
        if calls.waiting.len() >= CALLS_WAITING_MAX || is_report && calls.report.is_some() {
            return Err((reply, CallFailed::Busy));
        }
        let purpose =
            if is_report { Purpose::Report { request_id, reply } } else { Purpose::Admin(reply) };
        self.call(conn, Call { message, purpose });
        Ok(())
    }

    fn call(&mut self, conn: ConnId, call: Call) {
        let now = self.now.0;
        let Some(station) = self.station(conn) else { return };
        let calls = station.calls();
        // Ids grow with the time, so that an answer meant for an earlier socket meets no call of this one.
        calls.last_id = calls.last_id.max(now);
        calls.waiting.push_back(call);
        self.send_next_call(conn);
    }

    fn send_next_call(&mut self, conn: ConnId) {
        let deadline = self.now.saturating_add(self.config.call_timeout);
        let Some(connection) = self.connection(conn) else { return };
        let closing = connection.closing;
        let Some(station) = connection.station() else { return };
        let Some(calls) = station.calls.as_deref_mut() else { return };
        if calls.current.is_some() || closing {
            return;
        }
        let Some(Call { message, purpose }) = calls.waiting.pop_front() else {
            if calls.report.is_none() {
                let last_id = calls.last_id;
                station.calls = Some(Box::new(Calls { last_id, ..Calls::default() }));
            }
            return;
        };
        calls.last_id += 1;
        let id = calls.last_id;
        calls.current = Some(OpenCall { id, purpose, deadline });
        let start = ws::begin_text(&mut connection.out);
        let out = &mut connection.out;
        frame::write_call(&id.to_string(), message.action, &message.payload, out);
        ws::end_text(&mut connection.out, start, None);
        self.counters.messages_sent.increment();
        self.mark_dirty(conn);
        self.arm(conn, deadline);
    }

    /// Takes the open call with this id.
    fn take_current(&mut self, conn: ConnId, id: &str) -> Option<Purpose> {
        let number: Option<u64> = id.parse().ok();
        let calls = self.station(conn).and_then(|station| station.calls.as_deref_mut());
        let current =
            calls.and_then(|calls| calls.current.take_if(|current| Some(current.id) == number));
        if current.is_none() {
            self.counters.answers_unexpected.increment();
        }
        current.map(|current| current.purpose)
    }

    pub(super) fn read_result(&mut self, conn: ConnId, id: &str, payload: &str) {
        let Some(purpose) = self.take_current(conn, id) else { return };
        match purpose {
            Purpose::Outbox(outbox) => {
                let answer = gateway::read_answer(payload);
                self.answered(conn, outbox, answer);
            }
            Purpose::Admin(reply) => {
                let _ = reply.send(Ok(StationReply { payload: payload.into() }));
            }
            Purpose::Report { request_id, reply } => {
                self.begin_report(conn, request_id, payload, reply);
            }
        }
        self.send_next_call(conn);
    }

    fn begin_report(&mut self, conn: ConnId, request_id: i32, payload: &str, reply: CallReply) {
        let deadline = self.now.saturating_add(REPORT_TIMEOUT);
        if gateway::read_answer(payload) != Answer::Accepted {
            let _ = reply.send(Ok(StationReply { payload: payload.into() }));
            return;
        }
        if let Some(station) = self.station(conn) {
            if station.calls().report.is_some() {
                let _ = reply.send(Err(CallFailed::Busy));
                return;
            }
            let report = Report { request_id, items: String::new(), deadline, reply };
            station.calls().report = Some(report);
            self.arm(conn, deadline);
        }
    }

    pub(super) fn read_error(&mut self, conn: ConnId, id: &str, code: &str, description: &str) {
        let Some(purpose) = self.take_current(conn, id) else { return };
        let (code, description) = (gateway::bounded(code), gateway::bounded(description));
        let error = CallFailed::CallError { code: code.into(), description: description.into() };
        if let Some(outbox) = purpose.fail(error) {
            self.answered(conn, outbox, Answer::Rejected(code.into()));
        }
        self.send_next_call(conn);
    }

    fn answered(&mut self, conn: ConnId, outbox: u64, answer: Answer) {
        if let Some(partition) = self.station(conn).map(|station| station.partition) {
            self.answer_outbox(partition, outbox, answer);
        }
    }

    /// Gives up calls that were not answered in time. Answers when the next one is due.
    pub(super) fn check_calls(&mut self, conn: ConnId) -> Option<Timestamp> {
        let now = self.now;
        let calls = self.station(conn)?.calls.as_deref_mut()?;
        let late = calls.current.take_if(|current| current.deadline <= now);
        let report = calls.report.take_if(|report| report.deadline <= now);
        if let Some(report) = report {
            self.counters.calls_timed_out.increment();
            let _ = report.reply.send(Err(CallFailed::Silent));
        }
        if let Some(late) = late {
            self.counters.calls_timed_out.increment();
            if let Some(outbox) = late.purpose.fail(CallFailed::Silent) {
                self.answered(conn, outbox, Answer::Silent);
            }
            self.send_next_call(conn);
        }
        let calls = self.station(conn)?.calls.as_deref()?;
        let current = calls.current.as_ref().map(|current| current.deadline);
        let report = calls.report.as_ref().map(|report| report.deadline);
        current.into_iter().chain(report).min()
    }

    /// The socket is gone. What only waited is delivered to the next one. What was sent may have been heard: a
    /// stop or a limit may be sent again, a start may not, because 1.6 cannot tell the second from the first. So
    /// a start counts as unanswered, and its session waits for the transaction or for its timer.
    pub(super) fn fail_calls(&mut self, partition: PartitionId, calls: Calls, error: CallFailed) {
        let Calls { current, waiting, report, .. } = calls;
        if let Some(sent) = current
            && let Some(outbox) = sent.purpose.fail(error.clone())
        {
            if self.is_remote_start(partition, outbox) {
                self.answer_outbox(partition, outbox, Answer::Silent);
            } else {
                self.stop_delivering(partition, outbox);
            }
        }
        for call in waiting {
            if let Some(outbox) = call.purpose.fail(error.clone()) {
                self.stop_delivering(partition, outbox);
            }
        }
        if let Some(report) = report {
            let _ = report.reply.send(Err(error));
        }
    }

    pub(super) fn is_remote_start(&self, partition: PartitionId, outbox: u64) -> bool {
        let row = self.slots.get(&partition).and_then(|slot| slot.machine.outbox_row(outbox));
        row.is_some_and(|row| {
            let OutboxKind::Station { command, .. } = &row.kind else { return false };
            matches!(command, StationCommand::RemoteStart { .. })
        })
    }
}

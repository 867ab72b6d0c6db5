//! What stations say: frames, calls, and the answers they get.

use super::connection::{CALLS_OPEN_MAX, REPORT_BYTES_MAX};
use super::waiter::{Job, StationReplyTo, Waiter};
use crate::ConnId;
use crate::Shard;
use crate::gateway::{self, EndIntent, Intent, Phase, ReplyKind, StartIntent, TransactionEvent};
use crate::port::{StationReply, Unavailable, digest};
use novax_charging::command::PayerRef;
use novax_charging::{Command, EndTransaction, Outcome, StartTransaction, TransactionRef};
use novax_model::{
    ConnectorRef, Identity, Measurand, MeterTick, PartitionId, SessionId, WattHours,
};
use novax_wire::ocpp::frame::{self, Frame};
use novax_wire::ocpp::text::Empty;
use novax_wire::ocpp::{CallError, ErrorCode};
use novax_wire::ws::{self, Event, Limits, Receiver, Role};
use serde::Serialize;

/// An event that outlives the buffer it was read from; texts are handled at once and need none.
enum Late {
    Ping(Vec<u8>),
    Closed,
    Binary,
}

impl Shard {
    /// Reads WebSocket frames and answers what they ask.
    pub(super) fn read_messages(&mut self, conn: ConnId, data: &mut [u8]) {
        let limits = Limits { message_bytes_max: self.config.message_bytes_max };
        let Some(station) = self.station(conn) else { return };
        let placeholder = Receiver::new(Role::Server, limits);
        let mut receiver = std::mem::replace(&mut station.receiver, placeholder);
        let result = receiver.receive(data, &mut |event| match event {
            Event::Text(text) => self.read_text(conn, text),
            Event::Binary(_) => self.read_late(conn, Late::Binary),
            Event::Ping(payload) => self.read_late(conn, Late::Ping(payload.to_vec())),
            Event::Pong(_) => {}
            Event::Close { .. } => self.read_late(conn, Late::Closed),
        });
        if let Some(station) = self.station(conn) {
            station.receiver = receiver;
        }
        if let Err(violation) = result {
            self.counters.websocket_violations.increment();
            self.close_with(conn, violation.close_code(), &violation.to_string());
        }
    }

    fn read_late(&mut self, conn: ConnId, event: Late) {
        match event {
            Late::Ping(payload) => {
                let Some(connection) = self.connection(conn) else { return };
                if !connection.closing {
                    ws::write_pong(&payload, None, &mut connection.out);
                    self.mark_dirty(conn);
                }
            }
            Late::Closed => self.close_with(conn, 1000, ""),
            Late::Binary => {
                self.counters.websocket_violations.increment();
                self.close_with(conn, 1003, "OCPP-J is text");
            }
        }
    }

    fn read_text(&mut self, conn: ConnId, text: &str) {
        if self.connection(conn).is_none_or(|connection| connection.closing) {
            return;
        }
        self.counters.messages_received.increment();
        match frame::parse_frame(text) {
            Ok(Frame::Call { id, action, payload }) => {
                self.read_call(conn, text, &id, &action, payload);
            }
            Ok(Frame::Result { id, payload }) => self.read_result(conn, &id, payload),
            Ok(Frame::Error { id, code, description, .. }) => {
                self.read_error(conn, &id, &code, &description);
            }
            Err(error) => {
                self.counters.frames_malformed.increment();
                if let Some(id) = error.id {
                    self.reply_error(conn, &id, error.code, &error.description);
                }
            }
        }
    }

    fn read_call(&mut self, conn: ConnId, text: &str, id: &str, action: &str, payload: &str) {
        let context = self.reply_context();
        let Some(station) = self.station(conn) else { return };
        let (protocol, pending) = (station.protocol, station.pending);
        if station.calls_open >= CALLS_OPEN_MAX {
            let reason = "too many calls without waiting for their answers";
            self.refuse_call(conn, id, ErrorCode::InternalError, reason);
            return;
        }
        match gateway::read_call(protocol, action, payload, &context) {
            Err(CallError { code, description }) => self.refuse_call(conn, id, code, &description),
            Ok(Intent::Boot { vendor, model, .. }) if pending => {
                if !self.try_leave_pending(conn, Some(text)) {
                    self.report_pending(conn, id, &vendor, &model);
                }
            }
            Ok(_) if pending => {
                // Its boot was accepted in the meantime, and nobody has moved it yet: then it goes now.
                if self.try_leave_pending(conn, Some(text)) {
                    return;
                }
                let reason = "this station waits for approval; only BootNotification is allowed";
                self.refuse_call(conn, id, ErrorCode::SecurityError, reason);
            }
            Ok(intent) => self.follow(conn, id, intent),
        }
    }

    fn report_pending(&mut self, conn: ConnId, id: &str, vendor: &str, model: &str) {
        let Some(station) = self.station(conn) else { return };
        let (partition, protocol) = (station.partition, station.protocol);
        let identity = station.identity.clone();
        if let Some(told) = &self.unknown_stations {
            let _ = told.try_send(identity.clone());
        }
        let command = Command::ReportUnknownStation {
            identity,
            protocol,
            vendor: gateway::bounded(vendor).into(),
            model: gateway::bounded(model).into(),
        };
        let reply = self.open_call(conn, id, ReplyKind::Boot);
        self.submit(partition, command, Waiter::Station(reply));
    }

    /// Notes that a call waits for its answer.
    fn open_call(&mut self, conn: ConnId, id: &str, kind: ReplyKind) -> StationReplyTo {
        if let Some(station) = self.station(conn) {
            station.calls_open += 1;
        }
        StationReplyTo { conn, call_id: id.into(), kind }
    }

    fn follow(&mut self, conn: ConnId, id: &str, intent: Intent) {
        let Some(station) = self.station(conn) else { return };
        let (partition, identity) = (station.partition, station.identity.clone());
        match intent {
            Intent::Answer(payload) => self.reply_payload(conn, id, &payload),
            Intent::Boot { vendor, model, firmware, serial } => {
                let command = Command::StationBooted {
                    identity,
                    vendor: gateway::bounded(&vendor).into(),
                    model: gateway::bounded(&model).into(),
                    firmware: gateway::bounded(&firmware).into(),
                    serial: gateway::bounded(&serial).into(),
                };
                let reply = self.open_call(conn, id, ReplyKind::Boot);
                self.submit(partition, command, Waiter::Station(reply));
            }
            Intent::Status { connector, status, error, at } => {
                let error = gateway::bounded(&error).into();
                let command = Command::ConnectorStatus { identity, connector, status, error, at };
                let reply = self.open_call(conn, id, ReplyKind::Empty);
                self.submit(partition, command, Waiter::Station(reply));
            }
            Intent::Authorize { token } => {
                let reply = self.open_call(conn, id, ReplyKind::Authorize);
                self.locate_token(Job::Authorize { reply, partition, station: identity, token });
            }
            Intent::Start(start) => {
                let reply = self.open_call(conn, id, ReplyKind::Start);
                self.start_card(partition, &identity, start, reply);
            }
            Intent::End(end) => {
                let reply = self.open_call(conn, id, ReplyKind::Stop);
                self.end(partition, &identity, end, reply);
            }
            Intent::Meter { connector, ticks } => {
                let reply = self.open_call(conn, id, ReplyKind::Empty);
                self.take_ticks(partition, &identity, connector, &ticks, Some(reply));
            }
            Intent::TransactionEvent(event) => {
                self.transaction_event(conn, id, partition, &identity, event);
            }
            Intent::Report { request_id, to_be_continued, data } => {
                self.collect_report(conn, request_id, to_be_continued, &data);
                self.reply_payload(conn, id, &Empty {});
            }
        }
    }

    /// Gathers meter ticks of one connector; the call is answered when they are committed.
    fn take_ticks(
        &mut self,
        partition: PartitionId,
        identity: &Identity,
        connector: ConnectorRef,
        ticks: &[MeterTick],
        reply: Option<StationReplyTo>,
    ) {
        self.counters.ticks_received.add(ticks.len() as u64);
        let now = self.now;
        let slot = self.slots.get_mut(&partition).expect("a station talks on its home's shard");
        let series = slot.machine.station(identity.as_str()).map(|row| row.series(connector));
        match series {
            Some(series) if !ticks.is_empty() => {
                if let Err(reply) = slot.submit_ticks(now, series, ticks, reply) {
                    self.counters.commands_overloaded.increment();
                    if let Some(reply) = reply {
                        self.reply_outcome(&reply, &Err(Unavailable));
                    }
                }
            }
            _ => {
                if let Some(reply) = reply {
                    self.reply_outcome(&reply, &Ok(Outcome::Done));
                }
            }
        }
    }

    fn end(
        &mut self,
        partition: PartitionId,
        identity: &Identity,
        end: EndIntent,
        reply: StationReplyTo,
    ) {
        let EndIntent { transaction, meter_stop, at, reason, ticks, signed } = end;
        let machine = &self.slots[&partition].machine;
        let connector = machine
            .session_by_transaction(identity.as_str(), &transaction)
            .map(|session| session.connector);
        if let Some(connector) = connector {
            self.take_ticks(partition, identity, connector, &ticks, None);
        }
        self.counters.transactions_ended.increment();
        let command = Command::EndTransaction(EndTransaction {
            identity: identity.clone(),
            transaction,
            meter_stop,
            at,
            reason: gateway::bounded(&reason).into(),
            signed,
        });
        self.submit(partition, command, Waiter::Station(reply));
    }

    /// The key of a session that a station began: what identifies the transaction for its OCPP version.
    fn session_of(partition: PartitionId, identity: &Identity, start: &StartIntent) -> SessionId {
        let hash = match &start.transaction {
            Some(TransactionRef::V201(id)) => {
                // Another card on the same transaction, after a refusal, is another session.
                digest(&["2.x", identity.as_str(), id, start.token.as_str()])
            }
            _ => digest(&[
                "1.6",
                identity.as_str(),
                &start.connector.to_string(),
                &start.at.0.to_string(),
                &start.meter_start.map_or_else(String::new, |register| register.0.to_string()),
                start.token.as_str(),
            ]),
        };
        SessionId::new(partition, hash)
    }

    fn start_card(
        &mut self,
        partition: PartitionId,
        identity: &Identity,
        intent: StartIntent,
        reply: StationReplyTo,
    ) {
        self.counters.transactions_started.increment();
        let session = Self::session_of(partition, identity, &intent);
        let StartIntent { connector, transaction, remote_start_id, token, meter_start, at } =
            intent;
        let machine = &self.slots[&partition].machine;
        // Only a session that still waits for its transaction has its money held for this one.
        let awaited = remote_start_id
            .and_then(|id| machine.session_by_remote_start(identity.as_str(), id))
            .filter(|session| session.transaction.is_none() && session.token == token)
            .or_else(|| machine.session_awaited(identity.as_str(), connector, token.as_str()));
        let known = awaited.is_some() || machine.session(session).is_some();
        let start = StartTransaction {
            session,
            identity: identity.clone(),
            connector,
            transaction,
            remote_start_id,
            token,
            meter_start,
            at,
            payer: PayerRef::Local,
        };
        if known {
            // The money is held already: no need to ask where the wallet is.
            self.submit(partition, Command::StartTransaction(start), Waiter::Station(reply));
        } else {
            self.locate_token(Job::Card { reply, partition, start });
        }
    }

    /// 2.0.1: what an event means depends on what is known of its transaction.
    fn transaction_event(
        &mut self,
        conn: ConnId,
        id: &str,
        partition: PartitionId,
        identity: &Identity,
        event: TransactionEvent,
    ) {
        let machine = &self.slots[&partition].machine;
        let known = machine.session_by_transaction(identity.as_str(), &event.transaction);
        let kind = ReplyKind::TransactionEvent { token: event.token.is_some() };
        let connector = event.connector.or_else(|| {
            // Only the first event of a transaction says where it is.
            machine.connector_of(identity.as_str(), &event.transaction)
        });
        let expected = event
            .remote_start_id
            .and_then(|id| machine.session_by_remote_start(identity.as_str(), id))
            .map(|session| session.token.clone());
        let unknown = known.is_none();
        let reply = self.open_call(conn, id, kind);
        let machine = &self.slots[&partition].machine;
        if event.phase == Phase::Ended {
            let meter_stop = last_energy(&event.ticks);
            let TransactionEvent { transaction, at, reason, ticks, signed, .. } = event;
            let end = EndIntent { transaction, meter_stop, at, reason, ticks, signed };
            self.end(partition, identity, end, reply);
            return;
        }
        let (connector, token) = match (connector, event.token.or(expected)) {
            (Some(connector), token) => (connector, token),
            (None, Some(token)) if unknown => (ConnectorRef { evse: 1, connector: 1 }, Some(token)),
            // Of no transaction that is known, at no EVSE that is said: on the meter of another, its values
            // would be billed to whoever charges there.
            (None, _) => {
                self.reply_outcome(&reply, &Ok(Outcome::Done));
                return;
            }
        };
        match token {
            Some(token) if unknown => {
                // Without a register in the event, what the meter said last is where it stands.
                let meter_start = first_energy(&event.ticks).or_else(|| {
                    let row = machine.connector(identity.as_str(), connector)?;
                    row.live.get(Measurand::Energy).map(WattHours)
                });
                self.take_ticks(partition, identity, connector, &event.ticks, None);
                let start = StartIntent {
                    connector,
                    transaction: Some(event.transaction),
                    remote_start_id: event.remote_start_id,
                    token,
                    meter_start,
                    at: event.at,
                };
                self.start_card(partition, identity, start, reply);
            }
            // Nobody has shown a token yet (the cable came first), or the transaction runs.
            _ => self.take_ticks(partition, identity, connector, &event.ticks, Some(reply)),
        }
    }

    fn collect_report(&mut self, conn: ConnId, request_id: i32, more: bool, data: &str) {
        let Some(station) = self.station(conn) else { return };
        let Some(calls) = station.calls.as_deref_mut() else { return };
        let Some(report) = calls.report.as_mut().filter(|report| report.request_id == request_id)
        else {
            return;
        };
        let items = data.trim().trim_start_matches('[').trim_end_matches(']').trim();
        let fits = report.items.len() + items.len() < REPORT_BYTES_MAX;
        if fits && !items.is_empty() {
            if !report.items.is_empty() {
                report.items.push(',');
            }
            report.items.push_str(items);
        }
        if more && fits {
            return;
        }
        let report = calls.report.take().expect("just seen");
        let payload = format!(
            r#"{{"status":"Accepted","complete":{},"reportData":[{}]}}"#,
            fits && !more,
            report.items
        );
        let _ = report.reply.send(Ok(StationReply { payload }));
    }

    /// Answers a station's call with the outcome of its command.
    pub(super) fn reply_outcome(
        &mut self,
        reply: &StationReplyTo,
        outcome: &Result<Outcome, Unavailable>,
    ) {
        let context = self.reply_context();
        let Some(connection) = self.connection(reply.conn) else { return };
        let closing = connection.closing;
        let Some(station) = connection.station() else { return };
        station.calls_open = station.calls_open.saturating_sub(1);
        if closing {
            return;
        }
        let protocol = station.protocol;
        match outcome {
            Ok(outcome) => {
                let start = ws::begin_text(&mut connection.out);
                let (id, out) = (&reply.call_id, &mut connection.out);
                gateway::write_reply(protocol, id, reply.kind, outcome, &context, out);
                ws::end_text(&mut connection.out, start, None);
                self.counters.messages_sent.increment();
                self.mark_dirty(reply.conn);
            }
            Err(Unavailable) => {
                let reason = "the hub is overloaded; try again later";
                self.refuse_call(reply.conn, &reply.call_id, ErrorCode::InternalError, reason);
            }
        }
    }

    fn reply_payload(&mut self, conn: ConnId, id: &str, payload: &impl Serialize) {
        let Some(connection) = self.connection(conn) else { return };
        let start = ws::begin_text(&mut connection.out);
        frame::write_result(id, payload, &mut connection.out);
        ws::end_text(&mut connection.out, start, None);
        self.counters.messages_sent.increment();
        self.mark_dirty(conn);
    }

    fn refuse_call(&mut self, conn: ConnId, id: &str, code: ErrorCode, reason: &str) {
        self.counters.calls_refused.increment();
        self.reply_error(conn, id, code, reason);
    }

    fn reply_error(&mut self, conn: ConnId, id: &str, code: ErrorCode, reason: &str) {
        let Some(connection) = self.connection(conn) else { return };
        let Some(station) = connection.station() else { return };
        let version = gateway::version(station.protocol);
        let start = ws::begin_text(&mut connection.out);
        frame::write_error(id, code, reason, version, &mut connection.out);
        ws::end_text(&mut connection.out, start, None);
        self.counters.messages_sent.increment();
        self.mark_dirty(conn);
    }
}

fn first_energy(ticks: &[MeterTick]) -> Option<WattHours> {
    ticks.iter().find_map(|tick| tick.get(Measurand::Energy)).map(WattHours)
}

fn last_energy(ticks: &[MeterTick]) -> Option<WattHours> {
    ticks.iter().rev().find_map(|tick| tick.get(Measurand::Energy)).map(WattHours)
}

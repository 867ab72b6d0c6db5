//! From an accepted socket to a station that talks: the HTTP request, the directory, the password.
//!
//! A socket may change shards twice on the way, and no more: to the shard of its identity's directory
//! partition, and from there to the station's home.

use super::connection::{Connection, Handoff, Leaving, OUT_BYTES_MAX, Phase, Station};
use super::mesh::MeshMessage;
use super::reads::Read;
use super::waiter::Waiter;
use super::{Shard, TimerKey};
use crate::ConnId;
use crate::port::{CallFailed, hash_password};
use novax_charging::{Command, DirectoryKind, Protocol};
use novax_model::{Identity, PartitionId, Timestamp};
use novax_wire::http::{self, Upgrade};
use novax_wire::ws::{Limits, Receiver, Role};

impl Shard {
    fn slot_index(conn: ConnId) -> usize {
        conn.index() as usize
    }

    /// The connection of an id, if it is still the same one.
    pub(super) fn connection(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.connections
            .get_mut(Self::slot_index(conn))
            .and_then(Option::as_mut)
            .filter(|connection| connection.id == conn)
    }

    /// The station of an open socket.
    pub(super) fn station(&mut self, conn: ConnId) -> Option<&mut Station> {
        self.connection(conn).and_then(Connection::station)
    }

    pub(super) fn insert_connection(&mut self, connection: Connection) {
        let index = Self::slot_index(connection.id);
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, || None);
        }
        if self.connections[index].replace(connection).is_none() {
            self.live_connections += 1;
            self.counters.connections.set(self.live_connections as u64);
        }
    }

    /// A socket was accepted.
    pub fn handle_accepted(&mut self, conn: ConnId) {
        self.counters.connections_accepted.increment();
        let full = self.live_connections >= self.config.connections_max;
        self.insert_connection(Connection::new(conn, self.now));
        if full || self.stopping {
            self.refuse_handshake(conn, 503, "too many connections", &[("Retry-After", "30")]);
            return;
        }
        self.arm(conn, self.now.saturating_add(self.config.handshake_timeout));
    }

    /// Bytes came.
    pub fn handle_received(&mut self, conn: ConnId, data: &mut [u8]) {
        let (now, bytes_max) = (self.now, self.config.message_bytes_max);
        let Some(connection) = self.connection(conn) else { return };
        if connection.closing {
            return;
        }
        connection.heard = now;
        match &mut connection.phase {
            Phase::Ending => {}
            Phase::Asking(handoff) => {
                handoff.input.extend_from_slice(data);
                if handoff.input.len() > bytes_max {
                    self.counters.slow_readers_closed.increment();
                    self.effects.closes.push(conn);
                }
            }
            Phase::Leaving(leaving) => leaving.handoff.input.extend_from_slice(data),
            Phase::Handshake(head) => {
                head.extend_from_slice(data);
                self.read_handshake(conn);
            }
            Phase::Open(_) => self.read_messages(conn, data),
            Phase::App(app) => {
                let full = app.take(data);
                if full {
                    self.counters.slow_readers_closed.increment();
                    self.effects.closes.push(conn);
                    return;
                }
                self.read_app(conn);
            }
        }
    }

    fn read_handshake(&mut self, conn: ConnId) {
        let Some(connection) = self.connection(conn) else { return };
        let Phase::Handshake(head) = &mut connection.phase else { return };
        match http::parse_upgrade(head) {
            Ok(None) => {}
            Ok(Some(upgrade)) => {
                let input = head.split_off(upgrade.head_len);
                self.route_handshake(conn, upgrade, input);
            }
            Err(error) => {
                let reason = error.to_string();
                self.refuse_handshake(conn, error.status(), &reason, &[]);
            }
        }
    }

    fn route_handshake(&mut self, conn: ConnId, upgrade: Upgrade, input: Vec<u8>) {
        let Some(text) = upgrade.identity.as_deref() else {
            self.refuse_handshake(conn, 404, "stations connect to /ocpp/{identity}", &[]);
            return;
        };
        let identity = match Identity::new(text) {
            Ok(identity) => identity,
            Err(error) => {
                self.refuse_handshake(conn, 400, &error.to_string(), &[]);
                return;
            }
        };
        let protocol = upgrade.protocols.iter().find_map(|offered| match offered.as_str() {
            "ocpp1.6" => Some(Protocol::V16),
            "ocpp2.0.1" => Some(Protocol::V201),
            _ => None,
        });
        let Some(protocol) = protocol else {
            // OCPP 2.0.1 part 4, 3.1.2: complete the handshake without a subprotocol, then close.
            self.close_without_subprotocol(conn, &upgrade.key);
            return;
        };
        let tag = u64::from(self.mesh.me()) << 48 | self.token();
        let handoff = Handoff {
            tag,
            upgrade,
            identity,
            protocol,
            home: None,
            open: false,
            input,
            output: Vec::new(),
        };
        self.place(conn, handoff);
    }

    /// Moves a handshake on: to the directory, to the station's home, or to its end.
    fn place(&mut self, conn: ConnId, handoff: Handoff) {
        let directory =
            PartitionId::of_directory(handoff.identity.as_str(), self.config.partitions);
        let next = handoff.home.unwrap_or(directory);
        if !self.is_mine(next) {
            self.leave(conn, next, handoff);
            return;
        }
        if handoff.home.is_some() {
            self.admit(conn, handoff);
            return;
        }
        let machine = &self.slots[&directory].machine;
        match machine.directory(DirectoryKind::Station, handoff.identity.as_str()) {
            Some(row) => {
                let home = Some(row.home);
                self.place(conn, Handoff { home, ..handoff });
            }
            None => {
                let Some(connection) = self.connection(conn) else { return };
                connection.phase = Phase::Asking(Box::new(handoff));
                self.read(directory, Read::Handshake(conn));
            }
        }
    }

    /// What the directory says now is so.
    pub(super) fn directory_answered(&mut self, conn: ConnId, directory: PartitionId) {
        let Some(connection) = self.connection(conn) else { return };
        if connection.closing || !matches!(connection.phase, Phase::Asking(_)) {
            return;
        }
        let phase = std::mem::replace(&mut connection.phase, Phase::Ending);
        let Phase::Asking(handoff) = phase else { unreachable!("looked at above") };
        let machine = &self.slots[&directory].machine;
        match machine.directory(DirectoryKind::Station, handoff.identity.as_str()) {
            Some(row) => {
                let home = Some(row.home);
                self.place(conn, Handoff { home, ..*handoff });
            }
            None => self.admit_pending(conn, directory, *handoff),
        }
    }

    fn leave(&mut self, conn: ConnId, next: PartitionId, handoff: Handoff) {
        let (to, tag) = (self.shard_of(next), handoff.tag);
        let Some(connection) = self.connection(conn) else { return };
        connection.phase = Phase::Leaving(Box::new(Leaving { to, handoff }));
        self.effects.transfers.push((conn, to, tag));
    }

    /// The ring gave the socket away: everything that came before goes after it.
    pub fn handle_transferred(&mut self, conn: ConnId) {
        let Some(connection) = self.remove_connection(conn) else { return };
        if let Phase::Leaving(leaving) = connection.phase {
            let Leaving { to, mut handoff } = *leaving;
            handoff.output = connection.out;
            self.mesh.send(to, MeshMessage::Handoff(Box::new(handoff)));
        }
    }

    /// The ring could not give the socket away.
    pub fn handle_transfer_failed(&mut self, conn: ConnId) {
        self.effects.closes.push(conn);
    }

    /// A socket came from another shard's ring.
    pub fn handle_adopted(&mut self, conn: ConnId, tag: u64) {
        match self.handoffs.remove(&tag) {
            Some(handoff) => self.arrive(conn, *handoff),
            None => {
                self.adopted.insert(tag, conn);
            }
        }
    }

    /// A socket's state came from another shard.
    pub(super) fn handle_handoff(&mut self, handoff: Box<Handoff>) {
        match self.adopted.remove(&handoff.tag) {
            Some(conn) => self.arrive(conn, *handoff),
            None => {
                self.handoffs.insert(handoff.tag, handoff);
            }
        }
    }

    fn arrive(&mut self, conn: ConnId, mut handoff: Handoff) {
        let output = std::mem::take(&mut handoff.output);
        self.insert_connection(Connection { out: output, ..Connection::new(conn, self.now) });
        self.arm(conn, self.now.saturating_add(self.config.handshake_timeout));
        self.effects.start_recv.push(conn);
        // The receiver's tags must differ from the sender's if it is handed on.
        let tag = u64::from(self.mesh.me()) << 48 | self.token();
        self.place(conn, Handoff { tag, ..handoff });
        if self.stopping {
            self.send_away(conn);
        }
    }

    /// At the station's home: the password, then the station talks.
    fn admit(&mut self, conn: ConnId, handoff: Handoff) {
        let home = handoff.home.expect("only at home");
        let machine = &self.slots[&home].machine;
        let Some(row) = machine.station(handoff.identity.as_str()) else {
            // The directory row is there and the station's not yet: its provisioning was cut short.
            if handoff.open {
                // It was let in while pending, and speaks frames: what is for HTTP is noise to it.
                self.close_with(conn, 1013, "provisioning is not complete; come back later");
                return;
            }
            self.refuse_handshake(
                conn,
                503,
                "provisioning is not complete",
                &[("Retry-After", "5")],
            );
            return;
        };
        if let Some(password) = row.password.clone() {
            let given = handoff.upgrade.basic.as_ref();
            let right = given.is_some_and(|(user, text)| {
                user == handoff.identity.as_str() && hash_password(password.salt, text) == password
            });
            if !right && !handoff.open {
                let challenge = [("WWW-Authenticate", "Basic realm=\"ocpp\"")];
                self.refuse_handshake(conn, 401, "wrong identity or password", &challenge);
                return;
            }
            if !right {
                // It was let in while pending; from now on it must prove itself.
                self.close_with(conn, 1008, "reconnect with the password");
                return;
            }
        }
        self.open(conn, home, false, handoff);
    }

    /// In the directory's partition: nobody provisioned this identity. It is held, not refused.
    fn admit_pending(&mut self, conn: ConnId, directory: PartitionId, handoff: Handoff) {
        let command = Command::ReportUnknownStation {
            identity: handoff.identity.clone(),
            protocol: handoff.protocol,
            vendor: "".into(),
            model: "".into(),
        };
        self.submit(directory, command, Waiter::Nobody);
        if let Some(told) = &self.unknown_stations {
            // Full means the approver is behind; the station's next boot tells it again.
            let _ = told.try_send(handoff.identity.clone());
        }
        self.open(conn, directory, true, handoff);
    }

    fn open(&mut self, conn: ConnId, partition: PartitionId, pending: bool, handoff: Handoff) {
        let Handoff { upgrade, identity, protocol, open, mut input, .. } = handoff;
        let limits = Limits { message_bytes_max: self.config.message_bytes_max };
        let idle = self.now.saturating_add(self.config.idle_timeout);
        let Some(connection) = self.connection(conn) else { return };
        if !open {
            http::accept_response(&upgrade.key, Some(protocol.subprotocol()), &mut connection.out);
        }
        connection.phase = Phase::Open(Box::new(Station {
            identity: identity.clone(),
            partition,
            protocol,
            epoch: 0,
            pending,
            receiver: Receiver::new(Role::Server, limits),
            calls_open: 0,
            calls: None,
            upgrade: pending.then(|| Box::new(upgrade)),
        }));
        self.mark_dirty(conn);
        self.arm(conn, idle);
        if let Some(old) = self.stations.insert(identity.as_str().into(), conn)
            && old != conn
        {
            self.counters.connections_superseded.increment();
            self.close_with(old, 1008, "the same identity connected again");
        }
        if pending {
            self.pending.push(conn);
        } else {
            self.announce(conn);
            self.deliver_station_outbox(partition, &identity);
        }
        if !input.is_empty() {
            self.read_messages(conn, &mut input);
        }
    }

    /// Tells the partition that a station's socket is open.
    pub(super) fn announce(&mut self, conn: ConnId) {
        let node = self.config.node;
        let Some(station) = self.station(conn) else { return };
        let partition = station.partition;
        let (identity, protocol) = (station.identity.clone(), station.protocol);
        let known =
            self.slots.get(&partition).and_then(|slot| slot.machine.station(identity.as_str()));
        let last = known.map_or(0, |row| row.epoch);
        self.next_epoch = self.next_epoch.max(self.now.0).max(last) + 1;
        let epoch = self.next_epoch;
        if let Some(station) = self.station(conn) {
            station.epoch = epoch;
        }
        let connected = Command::StationConnected { identity, epoch, protocol, node };
        self.submit(partition, connected, Waiter::Connected(conn));
    }

    /// Once a second: sockets of stations that have been approved meanwhile go home.
    pub(super) fn move_approved(&mut self) {
        let waiting = std::mem::take(&mut self.pending);
        for conn in waiting {
            let Some(station) = self.station(conn).filter(|station| station.pending) else {
                continue;
            };
            // Not in the middle of a message or before its boot is answered.
            let busy = station.calls_open > 0 || station.receiver.buffered() > 0;
            if busy || !self.try_leave_pending(conn, None) {
                self.pending.push(conn);
            }
        }
    }

    /// If a pending station has been approved meanwhile, its socket goes home, and the message with it, to
    /// be read there. Returns false when it is still pending.
    pub(super) fn try_leave_pending(&mut self, conn: ConnId, message: Option<&str>) -> bool {
        let Some(station) = self.station(conn) else { return true };
        let (identity, directory) = (station.identity.clone(), station.partition);
        let machine = &self.slots[&directory].machine;
        let Some(row) = machine.directory(DirectoryKind::Station, identity.as_str()) else {
            return false;
        };
        let home = Some(row.home);
        let tag = u64::from(self.mesh.me()) << 48 | self.token();
        let Some(station) = self.station(conn) else { return true };
        let Some(upgrade) = station.upgrade.take() else { return false };
        let protocol = station.protocol;
        let mut input = Vec::new();
        if let Some(message) = message {
            // As a client's frame, for the receiver at home to read again.
            novax_wire::ws::write_text(message, Some([0; 4]), &mut input);
        }
        if self.stations.get(identity.as_str()) == Some(&conn) {
            self.stations.remove(identity.as_str());
        }
        let handoff = Handoff {
            tag,
            upgrade: *upgrade,
            identity,
            protocol,
            home,
            open: true,
            input,
            output: Vec::new(),
        };
        self.place(conn, handoff);
        true
    }

    pub(super) fn refuse_handshake(
        &mut self,
        conn: ConnId,
        status: u16,
        reason: &str,
        headers: &[(&str, &str)],
    ) {
        self.counters.handshakes_refused.increment();
        let Some(connection) = self.connection(conn) else { return };
        http::refuse_response(status, reason, headers, &mut connection.out);
        connection.phase = Phase::Ending;
        connection.closing = true;
        self.mark_dirty(conn);
    }

    fn close_without_subprotocol(&mut self, conn: ConnId, key: &str) {
        self.counters.handshakes_refused.increment();
        let Some(connection) = self.connection(conn) else { return };
        http::accept_response(key, None, &mut connection.out);
        novax_wire::ws::write_close(1002, "no common subprotocol", None, &mut connection.out);
        connection.phase = Phase::Ending;
        connection.closing = true;
        self.mark_dirty(conn);
    }

    /// Sends a close frame, then closes.
    pub(super) fn close_with(&mut self, conn: ConnId, code: u16, reason: &str) {
        let Some(connection) = self.connection(conn) else { return };
        if connection.closing {
            return;
        }
        novax_wire::ws::write_close(code, reason, None, &mut connection.out);
        connection.closing = true;
        self.mark_dirty(conn);
        // A peer that does not read has this long to take its leave.
        self.arm(conn, self.now.saturating_add(self.config.handshake_timeout));
    }

    pub(super) fn mark_dirty(&mut self, conn: ConnId) {
        let Some(connection) = self.connection(conn) else { return };
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(conn);
        }
    }

    /// Hands what waits to the ring, one buffer a connection.
    pub(super) fn flush_connections(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for conn in dirty.drain(..) {
            let spare = self.buffers.pop();
            let Some(connection) = self.connection(conn) else {
                self.buffers.extend(spare);
                continue;
            };
            connection.dirty = false;
            if matches!(connection.phase, Phase::Leaving(_)) {
                // What is to be said goes along; the ring takes no sends of a moving socket.
                self.buffers.extend(spare);
            } else if connection.out.len() > OUT_BYTES_MAX {
                self.counters.slow_readers_closed.increment();
                self.effects.closes.push(conn);
            } else if connection.sending {
                self.buffers.extend(spare);
            } else if !connection.out.is_empty() {
                connection.sending = true;
                let out = std::mem::replace(&mut connection.out, spare.unwrap_or_default());
                self.effects.sends.push((conn, out));
            } else if connection.closing {
                self.effects.finishes.push(conn);
            }
        }
        self.dirty = dirty;
    }

    /// A buffer is sent.
    pub fn handle_sent(&mut self, conn: ConnId, mut buffer: Vec<u8>) {
        buffer.clear();
        let keep = self.buffers.len() < super::BUFFERS_KEPT_MAX
            && buffer.capacity() <= super::BUFFER_KEPT_BYTES_MAX
            && buffer.capacity() > 0;
        if keep {
            self.buffers.push(buffer);
        }
        let Some(connection) = self.connection(conn) else { return };
        connection.sending = false;
        if connection.out.is_empty() && connection.out.capacity() > 0 && !connection.closing {
            // An idle connection owns no buffer.
            let spare = std::mem::take(&mut connection.out);
            if self.buffers.len() < super::BUFFERS_KEPT_MAX {
                self.buffers.push(spare);
            }
            return;
        }
        self.mark_dirty(conn);
    }

    /// A socket is gone.
    pub fn handle_closed(&mut self, conn: ConnId) {
        let Some(connection) = self.remove_connection(conn) else { return };
        let Phase::Open(station) = connection.phase else { return };
        let Station { identity, partition, epoch, pending, calls, .. } = *station;
        if self.stations.get(identity.as_str()) == Some(&conn) {
            self.stations.remove(identity.as_str());
        }
        if !pending {
            let command = Command::StationDisconnected { identity, epoch };
            self.submit(partition, command, Waiter::Nobody);
        }
        if let Some(calls) = calls {
            self.fail_calls(partition, *calls, CallFailed::Offline);
        }
    }

    fn remove_connection(&mut self, conn: ConnId) -> Option<Connection> {
        self.connection(conn)?;
        let removed = self.connections[Self::slot_index(conn)].take();
        self.live_connections -= 1;
        self.counters.connections.set(self.live_connections as u64);
        removed
    }

    /// Lets a socket's timer fire at `deadline` or before.
    pub(super) fn arm(&mut self, conn: ConnId, deadline: Timestamp) {
        let Some(connection) = self.connection(conn) else { return };
        if deadline < connection.timer_at {
            connection.timer_at = deadline;
            self.timers.set(deadline, TimerKey::Connection(conn));
        }
    }

    /// A socket's timer fired: is it still wanted?
    pub(super) fn check_connection(&mut self, conn: ConnId) {
        let (now, idle_timeout) = (self.now, self.config.idle_timeout);
        let Some(connection) = self.connection(conn) else { return };
        if connection.timer_at > now {
            return;
        }
        connection.timer_at = Timestamp::MAX;
        match &connection.phase {
            Phase::Handshake(_) | Phase::Asking(_) | Phase::Leaving(_) | Phase::Ending => {
                self.counters.connections_timed_out.increment();
                self.effects.closes.push(conn);
            }
            Phase::Open(_) | Phase::App(_) if connection.closing => self.effects.closes.push(conn),
            Phase::App(_) => self.check_app(conn),
            Phase::Open(_) => {
                let idle_at = connection.heard.saturating_add(idle_timeout);
                if idle_at <= now {
                    self.counters.connections_timed_out.increment();
                    self.effects.closes.push(conn);
                    return;
                }
                let next = self.check_calls(conn).map_or(idle_at, |deadline| deadline.min(idle_at));
                self.arm(conn, next);
            }
        }
    }

    /// Stops everything: stations are told to come back.
    pub fn handle_stop(&mut self) {
        self.stopping = true;
        let open: Vec<ConnId> =
            self.connections.iter().flatten().map(|connection| connection.id).collect();
        for conn in open {
            self.send_away(conn);
        }
    }

    /// Tells a socket to come back, in the language it speaks by now.
    fn send_away(&mut self, conn: ConnId) {
        const WHY: &str = "the hub is restarting";
        let Some(connection) = self.connection(conn) else { return };
        match &connection.phase {
            Phase::Open(_) => self.close_with(conn, 1001, WHY),
            Phase::Asking(handoff) if handoff.open => self.close_with(conn, 1001, WHY),
            Phase::Handshake(_) | Phase::Asking(_) => {
                self.refuse_handshake(conn, 503, WHY, &[("Retry-After", "5")]);
            }
            Phase::App(_) => self.send_app_away(conn),
            // Told where it arrives; or it has been told something already.
            Phase::Leaving(_) | Phase::Ending => {}
        }
    }
}

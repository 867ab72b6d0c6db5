//! The hub: the power of its nodes, the turns of their shards, what those want done.

use super::{At, Event, World};
use crate::WorldError;
use crate::node::{Input, Seat};
use novax_model::{Duration, PartitionId, Timestamp};
use novax_shard::{ConnId, Effects};

/// Entries of a partition whose states are remembered, to compare replicas.
const HASHES_MAX: usize = 20_000;

impl World {
    fn plan_fault(&mut self, node: usize) {
        let Some(every) = self.plan.crash_every else { return };
        let about_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        let delay = Duration::from_millis(self.rng.below(2 * about_ms));
        let event = if self.rng.one_in(2) {
            Event::PowerGoes { node }
        } else {
            Event::PowerGoesSoon { node, operations: self.rng.below(80) }
        };
        self.agenda.put_in(delay, event);
    }

    /// The power of a node goes.
    pub(super) fn crash(&mut self, node: usize) -> Result<(), WorldError> {
        let was_up = self.nodes[node].up.is_some();
        drop(self.nodes[node].crash(self.rng.next()));
        self.counts.crashes += 1;
        self.counts.crashed_starts += u64::from(!was_up);
        self.job_due[node] = false;
        // Whoever had asked it never hears of it, and asks again.
        let (theirs, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.tasks).into_iter().partition(|(at, _)| *at == node);
        self.tasks = others;
        for (_, task) in theirs {
            self.ask_later(task.op);
        }
        for socket in 0..self.sockets.len() {
            let there = self.sockets[socket].hub.take_if(|(at, _)| at.node == node);
            if there.is_some() && !self.rng.one_in(6) {
                self.send_to_station(socket, Vec::new());
            }
        }
        if self.plan.forgets_at == Some(self.counts.crashes) {
            self.nodes[node].disk = self.first_crash.take().unwrap_or_default();
        } else if self.counts.crashes == 1 && self.plan.forgets_at.is_some() {
            self.first_crash = Some(self.nodes[node].disk.copy());
        }
        self.nodes[node].check_replay()?;
        let off = Duration::from_millis(50 + self.rng.below(20_000));
        self.agenda.put_in(off, Event::PowerIsBack { node });
        Ok(())
    }

    pub(super) fn power_is_back(&mut self, node: usize) -> Result<(), WorldError> {
        if self.nodes[node].up.is_some() {
            return Ok(());
        }
        let drawn = self.rng.below(u64::from(self.plan.shards_max));
        let shards = 1 + u16::try_from(drawn).expect("few");
        // The clock may have been set meanwhile, back too.
        let off_us = i64::try_from(self.rng.below(4_000_000)).expect("small") - 2_000_000;
        let far = self.rng.one_in(10);
        self.nodes[node].clock_off_us = if far { off_us * 60 } else { off_us };
        if !self.ending && self.rng.one_in(6) {
            // And goes again while the node starts.
            self.nodes[node].disk.cut_power_after(self.rng.below(400));
        }
        let started = self.nodes[node].start(shards, self.agenda.now());
        if self.nodes[node].disk.is_power_gone() {
            return self.crash(node);
        }
        started?;
        if !self.ending {
            self.plan_fault(node);
        }
        for shard in 0..usize::from(shards) {
            self.turn_soon(At { node, shard });
        }
        Ok(())
    }

    pub(super) fn turn_soon(&mut self, at: At) {
        let delay = Duration::from_micros(1 + self.rng.below(100));
        self.turn_at(at, self.agenda.now().saturating_add(delay));
    }

    fn turn_at(&mut self, at: At, time: Timestamp) {
        let run = self.nodes[at.node].run;
        let Some(up) = &mut self.nodes[at.node].up else { return };
        let seat = &mut up.seats[at.shard];
        if time < seat.turn_at {
            seat.turn_at = time;
            self.agenda.put(time, Event::Turn { run, at });
        }
    }

    pub(super) fn turn(&mut self, at: At) -> Result<(), WorldError> {
        let now = self.agenda.now();
        let node = &mut self.nodes[at.node];
        let Some(up) = &mut node.up else { return Ok(()) };
        let seat = &mut up.seats[at.shard];
        if seat.turn_at != now {
            return Ok(());
        }
        seat.turn_at = Timestamp::MAX;
        let Some(effects) = node.turn(at.shard, now) else { return Ok(()) };
        self.compare(at)?;
        self.perform(at, effects);
        let run = self.nodes[at.node].run;
        let Some(up) = &mut self.nodes[at.node].up else { return Ok(()) };
        let seat = &mut up.seats[at.shard];
        let wait = seat.shard.sleep_max().max(Duration::from_micros(50));
        if let Some(bytes) = seat.take_write_bytes() {
            let busy = if self.rng.one_in(50) { self.rng.below(40_000) } else { 0 };
            let bytes_us = u64::try_from(bytes / 1_000).expect("small");
            let delay = Duration::from_micros(150 + self.rng.below(400) + bytes_us + busy);
            self.agenda.put_in(delay, Event::Write { run, at });
        }
        self.turn_at(at, now.saturating_add(wait));
        self.look_after(at.node);
        Ok(())
    }

    /// Replicas are the same at the same entry.
    fn compare(&mut self, at: At) -> Result<(), WorldError> {
        if self.nodes.len() == 1 {
            return Ok(());
        }
        let Some(up) = &self.nodes[at.node].up else { return Ok(()) };
        for partition in (0..self.plan.partitions).map(PartitionId) {
            let Some(machine) = up.seats[at.shard].shard.machine(partition) else { continue };
            let (index, hash) = (machine.applied_index(), machine.state_hash());
            let seen = self.hashes.entry(partition).or_default();
            if *seen.entry(index).or_insert(hash) != hash {
                let text = format!("partition {partition}: replicas differ after entry {index}");
                return Err(WorldError::promise(&text));
            }
            while seen.len() > HASHES_MAX {
                seen.pop_first();
            }
        }
        Ok(())
    }

    /// What a turn may have brought: calls to other shards, jobs, questions, answers to those who asked.
    pub(super) fn look_after(&mut self, node: usize) {
        let Some(up) = &mut self.nodes[node].up else { return };
        let shards: Vec<usize> = (0..up.seats.len()).filter(|shard| up.take_wake(*shard)).collect();
        for shard in &shards {
            up.seats[*shard].put(Input::Woken);
        }
        for shard in shards {
            self.turn_soon(At { node, shard });
        }
        if !self.job_due[node] {
            self.job_due[node] = true;
            let delay = Duration::from_micros(500 + self.rng.below(30_000));
            let run = self.nodes[node].run;
            self.agenda.put_in(delay, Event::Job { run, node });
        }
        self.take_asked(node);
        self.poll_tasks();
        self.go_on_with_setup();
    }

    pub(super) fn job(&mut self, node: usize) {
        self.job_due[node] = false;
        let Some(up) = &self.nodes[node].up else { return };
        if up.do_job() {
            self.look_after(node);
        }
    }

    fn perform(&mut self, at: At, effects: Effects) {
        let Effects { sends, closes, finishes, transfers, start_recv, log_write, peers, states } =
            effects;
        assert!(log_write.is_none(), "the seat keeps the write");
        for conn in start_recv {
            self.start_recv(at, conn);
        }
        for (conn, buffer) in sends {
            self.send(at, conn, buffer);
        }
        for (conn, to, tag) in transfers {
            self.transfer(at, conn, usize::from(to), tag);
        }
        for conn in finishes.into_iter().chain(closes) {
            self.close(at, conn);
        }
        for act in states {
            self.act_on_state(at.node, act);
        }
        for send in peers {
            self.send_to_peer(at.node, send);
        }
    }

    pub(super) fn seat(&mut self, at: At) -> &mut Seat {
        let up = self.nodes[at.node].up.as_mut().expect("effects come from a node that runs");
        &mut up.seats[at.shard]
    }

    fn start_recv(&mut self, at: At, conn: ConnId) {
        let Some(socket) = self.seat(at).socket(conn) else { return };
        let of = &mut self.sockets[socket];
        of.receiving = true;
        let (held, end) = (std::mem::take(&mut of.held), of.held_end);
        if !held.is_empty() {
            self.seat(at).put(Input::Received(conn, held));
            self.turn_soon(at);
        }
        if end {
            self.hub_hears_end(socket);
        }
    }

    fn send(&mut self, at: At, conn: ConnId, buffer: Vec<u8>) {
        // None: it died in this turn, and its end is on the way to the shard.
        let Some(socket) = self.seat(at).socket(conn) else { return };
        self.note(&buffer);
        self.send_to_station(socket, buffer.clone());
        let delay = Duration::from_micros(20 + self.rng.below(2_000));
        let run = self.nodes[at.node].run;
        self.agenda.put_in(delay, Event::Sent { run, at, conn, buffer });
    }

    fn transfer(&mut self, at: At, conn: ConnId, to: usize, tag: u64) {
        if self.rng.one_in(50) {
            self.put_if_open(at, conn, Input::TransferFailed);
            return;
        }
        let Some(socket) = self.seat(at).forget(conn) else { return };
        self.seat(at).put(Input::Transferred(conn));
        let to = At { node: at.node, shard: to };
        let there = self.seat(to).open(socket);
        self.seat(to).put(Input::Adopted(there, tag));
        let of = &mut self.sockets[socket];
        (of.hub, of.receiving) = (Some((to, there)), false);
        self.turn_soon(at);
        self.turn_soon(to);
    }

    fn close(&mut self, at: At, conn: ConnId) {
        let Some(socket) = self.seat(at).forget(conn) else { return };
        self.seat(at).put(Input::Closed(conn));
        self.turn_soon(at);
        self.sockets[socket].hub = None;
        self.send_to_station(socket, Vec::new());
    }

    pub(super) fn put_if_open(
        &mut self,
        at: At,
        conn: ConnId,
        input: impl FnOnce(ConnId) -> Input,
    ) {
        let Some(up) = &mut self.nodes[at.node].up else { return };
        let seat = &mut up.seats[at.shard];
        if seat.socket(conn).is_some() {
            seat.put(input(conn));
            self.turn_soon(at);
        }
    }
}

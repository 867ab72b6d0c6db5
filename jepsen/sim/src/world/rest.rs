//! The end of a run: nothing goes wrong any more, all comes to rest, and the books are checked.

use super::{BEGINNING, Counts, World};
use crate::WorldError;
use crate::checker;
use crate::client::Op;
use crate::node::{Node, Running};
use crate::provider::{Provider, Reply};
use novax_charging::{Keyspace, Partition, PaymentRow, rows};
use novax_engine::Snapshot;
use novax_model::PartitionId;
use novax_tsdb::OpenPart;
use novax_tsdb::clean::Row;
use novax_tsdb::head::decode_rows;
use std::collections::BTreeMap;

/// Stations named in a report that not all came to rest.
const RESTLESS_SHOWN_MAX: usize = 3;

impl World {
    /// Nothing goes wrong any more.
    pub(super) fn end(&mut self) {
        self.ending = true;
        self.links.heal();
        self.nodes.iter().for_each(|node| node.disk.keep_power());
        self.provider.end();
        for station in 0..self.places.len() {
            self.places[station].station.end();
            self.wake(station);
        }
    }

    pub(super) fn is_at_rest(&self) -> bool {
        let whole = |node: &Node| node.up.as_ref().is_some_and(Running::is_ready);
        let stations = self.places.iter().all(|place| place.station.is_done());
        stations
            && self.nodes.iter().all(whole)
            && self.setup.is_empty()
            && !self.setting_up
            && self.tasks.is_empty()
            && self.replicas_agree()
            && self.machines(0).all(|machine| machine.outbox().next().is_none())
            && self.machines(0).all(|machine| machine.ledger().holds().next().is_none())
            && self.machines(0).all(|machine| machine.open_payments().next().is_none())
    }

    /// The partitions' states on a node that runs.
    fn machines(&self, node: usize) -> impl Iterator<Item = &Partition> {
        let up = self.nodes[node].up.as_ref();
        let partitions = (0..self.plan.partitions).map(PartitionId);
        partitions.filter_map(move |partition| up.and_then(|up| up.machine(partition)))
    }

    fn replicas_agree(&self) -> bool {
        let state = |machine: &Partition| (machine.applied_index(), machine.state_hash());
        let first: Vec<(u64, u64)> = self.machines(0).map(state).collect();
        (1..self.nodes.len()).all(|node| self.machines(node).map(state).eq(first.iter().copied()))
    }

    pub(super) fn restless(&self) -> WorldError {
        let mut text = String::from("it does not come to rest:");
        let busy = self.places.iter().filter(|place| !place.station.is_done());
        for place in busy.take(RESTLESS_SHOWN_MAX) {
            text += &format!("\n  {:?}", place.station);
        }
        for node in &self.nodes {
            let ready = node.up.as_ref().map(Running::is_ready);
            text += &format!("\n  node {}: ready {ready:?}", node.id);
        }
        for node in 0..self.nodes.len() {
            let indexes: Vec<u64> = self.machines(node).map(Partition::applied_index).collect();
            text += &format!("\n  applied {indexes:?}");
        }
        for machine in self.machines(0) {
            machine.outbox().for_each(|row| text += &format!("\n  {row:?}"));
            machine.ledger().holds().for_each(|hold| text += &format!("\n  {hold:?}"));
            machine.open_payments().for_each(|row| text += &format!("\n  {row:?}"));
        }
        text += &format!("\n  {} to set up\n  {:?}", self.setup.len(), self.tasks);
        WorldError::promise(&text)
    }

    /// What was given up as unknown is found out, as the server's reconciliation does.
    pub(super) fn reconcile(&mut self) {
        let unknown = |machine: &Partition| {
            let rows = machine.open_payments().filter(|row| Provider::is_given_up(row));
            rows.filter_map(|row| self.provider.truth(row)).collect::<Vec<Reply>>()
        };
        let replies: Vec<Reply> = self.machines(0).flat_map(unknown).collect();
        for reply in replies {
            self.ask(Op::Answer(reply));
        }
    }

    pub(super) fn check(&mut self) -> Result<Counts, WorldError> {
        let books = self.books()?;
        let mut findings = std::mem::take(&mut self.truth.wrong);
        checker::check(&self.truth, &books, self.provider.taken(), &mut findings);
        if !findings.is_empty() {
            return Err(WorldError::Promises(findings));
        }
        // And all of it is on the disk.
        for node in &mut self.nodes {
            drop(node.crash(self.rng.next()));
            node.check_replay()?;
        }
        let (starts, stops) = self.truth.acknowledged();
        let seconds = self.agenda.now().since(BEGINNING).as_secs();
        let promises = self.truth.apps.len();
        Ok(Counts { starts, stops, promises, seconds, ..self.counts.clone() })
    }

    /// The rows of the stores, as SQL would see them.
    fn books(&mut self) -> Result<checker::Books, WorldError> {
        let up = self.nodes[0].up.as_mut().expect("at rest it runs");
        let mut books = checker::Books::default();
        for partition in (0..self.plan.partitions).map(PartitionId) {
            let machine = up.machine(partition).expect("each partition has a shard");
            machine.audit().map_err(|error| WorldError::promise(&format!("{error}")))?;
            books.accounts.extend(machine.ledger().accounts().cloned());
            for driver in &self.truth.drivers {
                if let Some(available) = machine.available(&driver.name) {
                    books.wallets.insert(driver.name.clone(), available);
                }
            }
        }
        let views: Vec<_> = up.seats.iter_mut().flat_map(|seat| seat.shard.snapshots()).collect();
        for (partition, snapshot) in views {
            for row in snapshot.range(Keyspace::Sessions as u8, &[], None) {
                books.sessions.push(rows::read(&row?.1).map_err(broken)?);
            }
            for row in snapshot.range(Keyspace::Payments as u8, &[], None) {
                let payment: PaymentRow = rows::read(&row?.1).map_err(broken)?;
                books.payments.push(payment);
            }
            let machine = up.machine(partition).expect("each partition has a shard");
            series(machine, &snapshot, &mut books)?;
        }
        Ok(books)
    }
}

/// What the series of a partition have, sealed and open.
fn series(
    machine: &Partition,
    snapshot: &Snapshot,
    books: &mut checker::Books,
) -> Result<(), WorldError> {
    let names: BTreeMap<u32, &str> =
        machine.stations().map(|row| (row.number, row.identity.as_str())).collect();
    for keyspace in [Keyspace::Series, Keyspace::Heads] {
        for row in snapshot.range(keyspace as u8, &[], None) {
            let (key, value) = row?;
            let is_state = rows::read_head_key(&key).is_some_and(|(_, of)| of == OpenPart::State);
            if keyspace == Keyspace::Heads && is_state {
                continue;
            }
            let of = key.first_chunk::<8>().ok_or_else(|| broken("a series without a name"))?;
            let (number, connector) = rows::series_parts(u64::from_be_bytes(*of));
            let station = names.get(&number).ok_or_else(|| broken("a series of no station"))?;
            let ticks = decode_rows(&value).map_err(broken)?;
            let kept = books.metered.entry(((*station).to_owned(), connector.evse)).or_default();
            // By the station's clock, also where the series does not believe it.
            let told = |row: &Row| row.remark.as_ref().and_then(|remark| remark.raw_at);
            kept.extend(ticks.iter().map(|row| told(row).unwrap_or(row.tick.at).to_rfc3339()));
        }
    }
    Ok(())
}

fn broken(error: impl std::fmt::Display) -> WorldError {
    WorldError::promise(&format!("a row cannot be read: {error}"))
}

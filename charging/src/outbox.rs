//! Effects on their way: commands for stations and for other partitions.
//!
//! Rows of completed work (release, capture) are always taken; room is checked before new work is
//! begun, and the rows that may follow from one session are few.

use crate::command::{PeerCommand, StationCommand, TransactionRef};
use crate::rows::OutboxKind;
use crate::state::{State, StationNumber};
use novax_model::{ConnectorRef, PartitionId, SessionId, Timestamp, Watts};

impl State {
    /// Whether new work may add to the outbox.
    pub(crate) fn outbox_has_room(&self) -> bool {
        self.outbox.len() < self.config.outbox_max
    }

    pub(crate) fn queue_station(
        &mut self,
        station: StationNumber,
        command: StationCommand,
        deadline: Timestamp,
    ) -> u64 {
        let identity = self.station(station).row.identity.clone();
        self.add_outbox_row(OutboxKind::Station { identity, command }, deadline)
    }

    pub(crate) fn queue_peer(&mut self, to: PartitionId, command: PeerCommand) -> u64 {
        self.add_outbox_row(OutboxKind::Peer { to, command }, Timestamp::MAX)
    }

    /// Asks a station to end a transaction, unless it is being asked.
    pub(crate) fn queue_remote_stop(
        &mut self,
        station: StationNumber,
        session: SessionId,
        transaction: TransactionRef,
    ) {
        if self.stop_is_queued(station, session) {
            return;
        }
        let deadline = self.now().saturating_add(self.config.outbox_deadline);
        let command = StationCommand::RemoteStop { session, transaction };
        self.queue_station(station, command, deadline);
    }

    pub(crate) fn stop_is_queued(&self, station: StationNumber, session: SessionId) -> bool {
        self.station_outbox(station).any(|(_, command)| {
            matches!(command, StationCommand::RemoteStop { session: of, .. } if *of == session)
        })
    }

    /// Tells a station what a connector may draw, in place of what it was not yet told.
    pub(crate) fn queue_set_limit(
        &mut self,
        station: StationNumber,
        connector: ConnectorRef,
        transaction: TransactionRef,
        limit: Watts,
    ) {
        self.unqueue_set_limit(station, connector);
        let deadline = self.now().saturating_add(self.config.outbox_deadline);
        let command = StationCommand::SetLimit { connector, transaction, limit };
        self.queue_station(station, command, deadline);
    }

    pub(crate) fn unqueue_set_limit(&mut self, station: StationNumber, connector: ConnectorRef) {
        self.unqueue(station, |command| {
            matches!(command, StationCommand::SetLimit { connector: of, .. } if *of == connector)
        });
    }

    /// Takes back the start or stop commands of a session that need no answer any more.
    pub(crate) fn unqueue_session(&mut self, station: StationNumber, session: SessionId) {
        self.unqueue(station, |command| match command {
            StationCommand::RemoteStart { session: of, .. }
            | StationCommand::RemoteStop { session: of, .. } => *of == session,
            StationCommand::SetLimit { .. } => false,
        });
    }

    fn unqueue(&mut self, station: StationNumber, which: impl Fn(&StationCommand) -> bool) {
        let ids: Vec<u64> = self
            .station_outbox(station)
            .filter(|(_, command)| which(command))
            .map(|(id, _)| id)
            .collect();
        for id in ids {
            self.remove_outbox_row(id);
        }
    }
}

//! A site's limit, shared among the connectors that charge.
//!
//! Shares are worked out anew at each start and stop; only connectors whose share changed are told.
//! Who asked first comes first where there is not enough for all.

use crate::command::TransactionRef;
use crate::rows::SessionState;
use crate::state::{State, StationNumber};
use novax_model::{ConnectorRef, Identity, SessionId};
use novax_scheduler::{Demand, share};

/// A connector that draws power, and for whom.
struct Drawing {
    station: StationNumber,
    connector: ConnectorRef,
    transaction: TransactionRef,
}

impl State {
    /// Tells each connector of the site its share of the limit, where it changed.
    pub(crate) fn share_limit(&mut self, site: &Identity) {
        let Some(found) = self.sites.get(site) else { return };
        let Some(limit) = found.row.limit else { return };
        let drawing: Vec<Drawing> =
            found.charging.iter().filter_map(|(_, session)| self.drawing(*session)).collect();
        let demand = Demand { max: None, min: self.config.connector_power_min };
        let demands = vec![demand; drawing.len()];
        let shares = share(limit, &demands);
        assert_eq!(shares.len(), drawing.len(), "a share for each demand");
        for (Drawing { station, connector, transaction }, share) in drawing.into_iter().zip(shares)
        {
            let known = self.station(station).connectors.get(&connector).map(|row| row.limit);
            if known != Some(Some(share)) {
                if let Some(row) = self.touch_connector(station, connector) {
                    row.limit = Some(share);
                }
                self.queue_set_limit(station, connector, transaction, share);
            }
        }
    }

    fn drawing(&self, session: SessionId) -> Option<Drawing> {
        let session = self.sessions.get(&session)?;
        let row = &session.row;
        assert!(
            matches!(row.state, SessionState::Charging | SessionState::Stopping),
            "only running sessions stand in a site's list"
        );
        let transaction = row.transaction.clone()?;
        Some(Drawing { station: session.station, connector: row.connector, transaction })
    }
}

//! Who pays for a session, and what is held before anything is promised.

use crate::accounts::{Name, Purpose, receivable_id};
use crate::command::{PayerRef, PeerCommand, Refusal};
use crate::fx::in_wallet;
use crate::money::HoldPlace;
use crate::payment::{Card, Funding};
use crate::rows::{Charges, Deal, Payer, SessionRow, SessionState};
use crate::state::{State, StationNumber};
use novax_model::{
    AccountId, Amount, ConnectorRef, Identity, SessionId, Timestamp, TokenUid, WattHours,
};
use novax_settlement::Rate;

/// Who pays and what is held.
pub(crate) struct Secured {
    driver: Option<Identity>,
    payer: Payer,
    held: Amount,
    holds: u32,
    hold_attempt: u32,
    hold_expires: Timestamp,
    fx: Option<Rate>,
    /// What pays, if it is a card.
    card: Option<Card>,
}

impl State {
    /// Holds the deal's hold, here or as the payer's partition already has.
    pub(crate) fn secure(
        &mut self,
        session: SessionId,
        token: &TokenUid,
        payer: &PayerRef,
        deal: &Deal,
    ) -> Result<Secured, Refusal> {
        match payer {
            PayerRef::Refused(refusal) => Err(refusal.clone()),
            PayerRef::Held { driver, partition, amount, currency, attempt } => {
                if self.releasing.contains_key(&(session, *attempt)) {
                    return Err(Refusal::WrongState(SessionState::Rejected));
                }
                if *currency != deal.currency {
                    return Err(Refusal::CurrencyMismatch);
                }
                if *amount > crate::config::AMOUNT_MAX {
                    return Err(Refusal::Full);
                }
                let (driver, payer) = (Some(driver.clone()), Payer::Remote(*partition));
                Ok(Secured {
                    driver,
                    payer,
                    held: *amount,
                    holds: 1,
                    hold_attempt: *attempt,
                    hold_expires: Timestamp::ZERO,
                    fx: None,
                    card: None,
                })
            }
            PayerRef::Card { driver, card, debts } => {
                let whose = (driver.clone(), *debts);
                self.secure_by_card(session, whose, card.clone(), deal)
            }
            PayerRef::Local => {
                let owner = self.tokens.get(token).ok_or(Refusal::UnknownToken)?;
                let row = self.drivers.get(&owner.driver).ok_or(Refusal::UnknownDriver)?;
                if row.blocked {
                    return Err(Refusal::DriverBlocked);
                }
                if let Funding::Card(card) = &row.funding {
                    let debts = receivable_id(&row.salt, &row.driver, deal.currency);
                    let (whose, card) = ((row.driver.clone(), debts), card.clone());
                    return self.secure_by_card(session, whose, card, deal);
                }
                let (driver, wallet, currency) = (row.driver.clone(), row.wallet, row.currency);
                let fx = self.rate_between(currency, deal.currency)?;
                let hold = in_wallet(fx.as_ref(), deal.hold)?;
                let purpose = Purpose::Hold;
                let place = HoldPlace { purpose, session, holds: 0, held: 0 };
                self.hold_local(place, hold, wallet, currency)?;
                Ok(Secured {
                    driver: Some(driver),
                    payer: Payer::Local(wallet),
                    held: deal.hold,
                    holds: u32::from(deal.hold > 0),
                    hold_attempt: 0,
                    hold_expires: match deal.hold {
                        0 => Timestamp::ZERO,
                        _ => self.hold_expiry(),
                    },
                    fx,
                    card: None,
                })
            }
        }
    }

    /// What the provider is to reserve stands in the books from now on; it is asked once the session is
    /// there.
    fn secure_by_card(
        &mut self,
        session: SessionId,
        (driver, debts): (Identity, AccountId),
        card: Card,
        deal: &Deal,
    ) -> Result<Secured, Refusal> {
        assert!(card.is_sound(), "checked where it was put");
        if self.cards.contains_key(&session) {
            // Its operations' ids would be used twice.
            return Err(Refusal::KeyReused);
        }
        let psp = self.open(Name::Psp(&card.provider), deal.currency)?;
        // Here nobody has the salt: the account of debts is opened while somebody says which it is.
        if self.debts_of(&driver, deal.currency).is_err() {
            self.open(Name::Receivable(&driver, debts), deal.currency)?;
        }
        let place = HoldPlace { purpose: Purpose::Hold, session, holds: 0, held: 0 };
        self.hold_local(place, deal.hold, psp, deal.currency)?;
        Ok(Secured {
            driver: Some(driver),
            fx: None,
            payer: Payer::Card(psp),
            held: deal.hold,
            holds: u32::from(deal.hold > 0),
            hold_attempt: 0,
            hold_expires: match deal.hold {
                0 => Timestamp::ZERO,
                _ => self.hold_expiry(),
            },
            card: Some(card),
        })
    }

    /// A row with everything that does not depend on who pays.
    pub(crate) fn session_row(
        &self,
        session: SessionId,
        station: StationNumber,
        connector: ConnectorRef,
        token: &TokenUid,
        (site, deal): (Identity, Deal),
    ) -> SessionRow {
        SessionRow {
            session,
            payload_hash: 0,
            state: SessionState::Charging,
            identity: self.station(station).row.identity.clone(),
            site,
            connector,
            driver: None,
            token: token.clone(),
            app: false,
            transaction: None,
            remote_start_id: 0,
            payer: Payer::None,
            deal,
            rating: None,
            held: 0,
            holds: 0,
            meter_start: None,
            meter_last: WattHours(0),
            meter_low: None,
            meter_reset: WattHours(0),
            requested: self.now(),
            started: Timestamp::ZERO,
            ended: Timestamp::ZERO,
            heard: self.now(),
            charges: Charges::default(),
            reason: "".into(),
            suspect: false,
            estimated: false,
            owed: 0,
            adjusted: 0,
            hold_attempt: 0,
            marked: Timestamp::ZERO,
            hold_expires: Timestamp::ZERO,
            segments: Vec::new(),
            card_due: 0,
            free_since: Timestamp::ZERO,
        }
    }

    /// A hold placed elsewhere for a session that will not use it goes back.
    pub(crate) fn release_unused(&mut self, payer: &PayerRef, session: SessionId) {
        if let PayerRef::Held { partition, attempt, .. } = payer {
            let attempt = *attempt;
            self.queue_peer(*partition, PeerCommand::ReleaseHold { session, attempt });
        }
    }

    /// A repeat came with a hold: it goes back unless it is the one that the session has.
    pub(crate) fn release_surplus(&mut self, payer: &PayerRef, session: SessionId) {
        let PayerRef::Held { partition, attempt, .. } = payer else { return };
        let has_it = self.sessions.get(&session).is_some_and(|found| {
            found.row.payer == Payer::Remote(*partition) && found.row.hold_attempt == *attempt
        });
        if !has_it {
            self.release_unused(payer, session);
        }
    }
}

impl Secured {
    /// Says which card pays, if one does.
    pub(crate) fn write_to(self, row: &mut SessionRow) -> Option<Card> {
        row.driver = self.driver;
        row.payer = self.payer;
        row.held = self.held;
        row.holds = self.holds;
        row.hold_attempt = self.hold_attempt;
        row.hold_expires = self.hold_expires;
        row.deal.fx = self.fx;
        self.card
    }
}

/// The next id of a counter that stays a positive 31-bit number (OCPP 1.6 transaction ids).
pub(crate) fn next_positive(id: i32) -> i32 {
    id.checked_add(1).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_positive_31_bit() {
        assert_eq!(next_positive(1), 2);
        assert_eq!(next_positive(i32::MAX), 1);
        assert_eq!(next_positive(-7), 1);
    }
}

//! Refusals as text and back: a refused session keeps why in its row's `reason`, and a repeated
//! start must get the same answer after a restart.

use crate::command::Refusal;
use crate::rows::SessionState;
use novax_model::Amount;

const STATES: [SessionState; 10] = [
    SessionState::Starting,
    SessionState::StartAccepted,
    SessionState::Charging,
    SessionState::Stopping,
    SessionState::Settling,
    SessionState::Settled,
    SessionState::Rejected,
    SessionState::Expired,
    SessionState::Refused,
    SessionState::Authorising,
];

/// Refusals without parts, and their text.
const PLAIN: [(Refusal, &str); 18] = [
    (Refusal::UnknownToken, "unknown token"),
    (Refusal::DriverBlocked, "driver blocked"),
    (Refusal::CurrencyMismatch, "the wallet has another currency"),
    (Refusal::UnknownSite, "unknown site"),
    (Refusal::UnknownStation, "unknown station"),
    (Refusal::UnknownDriver, "unknown driver"),
    (Refusal::UnknownSession, "unknown session"),
    (Refusal::StationOffline, "station offline"),
    (Refusal::StationNotReady, "station not ready"),
    (Refusal::ConnectorBusy, "connector busy"),
    (Refusal::KeyReused, "key reused"),
    (Refusal::WrongHead, "no such head waits"),
    (Refusal::Full, "a bound is reached"),
    (Refusal::NotRefundable, "not refundable"),
    (Refusal::TokenInUse, "token in use"),
    (Refusal::PaymentDeclined, "payment declined"),
    (Refusal::PaymentUnanswered, "the payment provider did not answer in time"),
    (Refusal::Stale, "rows have changed since they were read"),
];

const FUNDS: &str = "insufficient funds: ";
const STATE: &str = "wrong state: ";

/// Why, in words.
pub(crate) fn refusal_text(refusal: &Refusal) -> Box<str> {
    match refusal {
        Refusal::InsufficientFunds { available, required } => {
            format!("{FUNDS}{available} of {required}").into()
        }
        Refusal::WrongState(state) => format!("{STATE}{}", state.as_str()).into(),
        plain => {
            PLAIN.iter().find(|(known, _)| known == plain).map_or("refused", |(_, t)| t).into()
        }
    }
}

/// The refusal that [`refusal_text`] wrote; a text of another build is a state that forbids it.
pub(crate) fn refusal_of_text(text: &str) -> Refusal {
    if let Some((refusal, _)) = PLAIN.iter().find(|(_, known)| *known == text) {
        return refusal.clone();
    }
    if let Some((available, required)) =
        text.strip_prefix(FUNDS).and_then(|amounts| amounts.split_once(" of "))
        && let (Ok(available), Ok(required)) =
            (available.parse::<Amount>(), required.parse::<Amount>())
    {
        return Refusal::InsufficientFunds { available, required };
    }
    let state = text
        .strip_prefix(STATE)
        .and_then(|name| STATES.iter().copied().find(|state| state.as_str() == name));
    Refusal::WrongState(state.unwrap_or(SessionState::Refused))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_reads_back_from_its_text() {
        let mut all: Vec<Refusal> = PLAIN.iter().map(|(refusal, _)| refusal.clone()).collect();
        all.extend(STATES.map(Refusal::WrongState));
        all.push(Refusal::InsufficientFunds { available: 5, required: Amount::MAX });
        for refusal in all {
            assert_eq!(refusal_of_text(&refusal_text(&refusal)), refusal);
        }
        assert_eq!(refusal_of_text("?"), Refusal::WrongState(SessionState::Refused));
    }
}

//! What the hub orders, and what a station makes of it.

use super::link::text_frame;
use super::{Act, Doing, Manners, Station, Version};
use crate::truth::Truth;
use novax_model::Duration;
use serde_json::{Value, json};

impl Station {
    pub(super) fn order(
        &mut self,
        id: &str,
        action: &str,
        payload: &Value,
        truth: &mut Truth,
        acts: &mut Vec<Act>,
    ) {
        let manners = self.setup.manners;
        if Manners::does(&mut self.rng, manners.silent) {
            // It may obey all the same.
            if self.rng.one_in(2) {
                self.obey(action, payload, truth);
            }
            return;
        }
        let refuses = Manners::does(&mut self.rng, manners.refuses);
        let accepted = !refuses && self.obey(action, payload, truth);
        let status = if accepted { "Accepted" } else { "Rejected" };
        if Manners::does(&mut self.rng, manners.wrong_id) {
            self.answer("nobody-asked", status, acts);
        }
        self.answer(id, status, acts);
        if Manners::does(&mut self.rng, manners.twice) {
            self.answer(id, status, acts);
        }
    }

    fn answer(&mut self, id: &str, status: &str, acts: &mut Vec<Act>) {
        let text = json!([3, id, {"status": status}]).to_string();
        acts.push(Act::Send(text_frame(text.as_bytes(), &mut self.rng)));
    }

    fn obey(&mut self, action: &str, payload: &Value, truth: &mut Truth) -> bool {
        match action {
            "RemoteStartTransaction" => {
                let token = payload["idTag"].as_str();
                self.start_ordered(&payload["connectorId"], token, None, truth)
            }
            "RequestStartTransaction" => {
                let token = payload["idToken"]["idToken"].as_str();
                let id = payload["remoteStartId"].as_i64();
                self.start_ordered(&payload["evseId"], token, id, truth)
            }
            "RemoteStopTransaction" | "RequestStopTransaction" => {
                let name = match &payload["transactionId"] {
                    Value::String(name) => name.clone(),
                    number => number.to_string(),
                };
                self.stop_ordered(&name, truth)
            }
            _ => true,
        }
    }

    fn start_ordered(
        &mut self,
        evse: &Value,
        token: Option<&str>,
        remote_start_id: Option<i64>,
        truth: &mut Truth,
    ) -> bool {
        let known = |driver: &crate::truth::Driver| Some(driver.token.as_str()) == token;
        let Some(driver) = truth.drivers.iter().position(known) else {
            truth.wrong.push(format!("{}: told to start for {token:?}", self.setup.identity));
            return false;
        };
        let at = self.now.saturating_add(Duration::from_millis(200 + self.rng.below(8_000)));
        let number = evse.as_u64().and_then(|number| u16::try_from(number).ok()).unwrap_or(1);
        let count = u16::try_from(self.evses.len()).expect("few EVSEs");
        if number == 0 || number > count {
            truth.wrong.push(format!("{}: told to start at {evse}", self.setup.identity));
            return false;
        }
        let evse = self.evse(number);
        if matches!(evse.doing, Doing::Charging(_) | Doing::Ordered { .. }) {
            return false;
        }
        evse.doing = Doing::Ordered { at, driver, remote_start_id };
        true
    }

    fn stop_ordered(&mut self, name: &str, truth: &Truth) -> bool {
        let version = self.setup.version;
        let is_it = |transaction: usize| {
            let of = &truth.transactions[transaction];
            match version {
                Version::V16 => of.started.as_ref().is_some_and(|(number, _)| number == name),
                Version::V201 => of.name.as_deref() == Some(name),
            }
        };
        let running = self.evses.iter().find_map(|evse| match &evse.doing {
            Doing::Charging(charging) if is_it(charging.transaction) => Some(charging.transaction),
            _ => None,
        });
        let within = Duration::from_millis(self.rng.below(5_000));
        running.is_some_and(|transaction| self.cut_short(transaction, "Remote", within))
    }
}

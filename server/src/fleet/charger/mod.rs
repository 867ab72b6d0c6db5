//! One simulated charger, without a socket: events in, actions out.
//!
//! From the bottom up: `message` (what is said), `say_v16` and `say_v201` (how), `settings`,
//! `state` (connectors, transactions, calls), `orders` (what the hub can order), `obey_v16` and
//! `obey_v201` (how it orders), and [`Charger::handle`] on top.

mod message;
mod obey_v16;
mod obey_v201;
mod orders;
mod say_v16;
mod say_v201;
mod settings;
mod state;
#[cfg(test)]
mod tests;

pub(super) use message::{Profile, TransactionKind, TransactionMessage};
pub(super) use state::{Action, AppCall, Charger, ConnectorSetup, Note, Plan};

use novax_model::Timestamp;
use novax_wire::ocpp::frame::{self, Frame};
use novax_wire::ocpp::{CallError, Version};

/// Something that happened to a charger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// The connection is open.
    Opened,
    /// It is gone.
    Closed,
    /// A text message came.
    Text(&'a str),
    /// The time of [`Charger::wakeup`] has come.
    Tick,
    /// The hub answered an app: its session, or `None` when it refused.
    AppStarted { evse: u16, visit: u32, session: Option<String> },
    /// The fleet ends.
    Leave,
}

impl Charger {
    /// Takes an event and appends what is to be done, in order.
    pub(super) fn handle(&mut self, now: Timestamp, event: Event<'_>, out: &mut Vec<Action>) {
        // A clock that is set back does not take energy back.
        self.now = self.now.max(now);
        self.advance();
        match event {
            Event::Opened => self.opened(),
            Event::Closed => self.closed(),
            Event::Text(text) => self.read(text),
            Event::Tick => {}
            Event::AppStarted { evse, visit, session } => self.app_started(evse, visit, session),
            Event::Leave => self.leave(),
        }
        self.live();
        self.pump();
        self.take_actions(out);
    }

    fn read(&mut self, text: &str) {
        match frame::parse_frame(text) {
            Ok(Frame::Result { id, payload }) => self.answered(&id, payload),
            Ok(Frame::Error { id, .. }) => self.refused(&id),
            Ok(Frame::Call { id, action, payload }) => self.obey(&id, &action, payload),
            Err(_) => self.act(Action::Note(Note::CallFailed)),
        }
    }

    fn obey(&mut self, id: &str, action: &str, payload: &str) {
        let mut answer = Vec::with_capacity(128);
        let obeyed = match self.version() {
            Version::V16 => obey_v16::obey(self, id, action, payload, &mut answer),
            Version::V201 => obey_v201::obey(self, id, action, payload, &mut answer),
        };
        if let Err(CallError { code, description }) = obeyed {
            answer.clear();
            frame::write_error(id, code, &description, self.version(), &mut answer);
        }
        self.act(Action::Send(answer));
    }
}

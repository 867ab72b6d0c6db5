//! A simulated payment provider: it does each operation once, however often it is asked, and what it did is
//! the truth about money on cards.

use novax_charging::{PaymentAnswer, PaymentKind, PaymentRow, PaymentState};
use novax_log::sim::Rng;
use novax_model::{Amount, Duration, SessionId};
use std::collections::BTreeMap;

/// A request that is refused for want of money.
const CODE_NO_FUNDS: u16 = 1;
/// An authorisation that cannot be raised.
const CODE_NO_INCREMENT: u16 = 9;

/// What it did.
#[derive(Debug, Clone)]
struct Done {
    kind: PaymentKind,
    amount: Amount,
    answer: PaymentAnswer,
}

/// An answer on its way to the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// For which session.
    pub session: SessionId,
    /// Which of its operations.
    pub number: u32,
    /// What the provider says.
    pub answer: PaymentAnswer,
}

/// The provider.
#[derive(Debug)]
pub struct Provider {
    rng: Rng,
    done: BTreeMap<u128, Done>,
    /// Well-behaved from now on.
    ending: bool,
}

impl Provider {
    /// One that decides by this seed.
    #[must_use]
    pub fn new(seed: u64) -> Provider {
        Provider { rng: Rng::new(seed), done: BTreeMap::new(), ending: false }
    }

    /// From now on it answers soon and clearly.
    pub fn end(&mut self) {
        self.ending = true;
    }

    /// It is asked: what it answers, and after which time. More than one answer comes where the first is not
    /// the last word.
    pub fn ask(&mut self, row: &PaymentRow) -> Vec<(Duration, Reply)> {
        let truth = self.decide(row);
        let soon = Duration::from_millis(30 + self.rng.below(3_000));
        let reply = |answer| Reply { session: row.session, number: row.number, answer };
        if self.ending {
            return vec![(soon, reply(truth))];
        }
        let late = soon + Duration::from_millis(self.rng.below(600_000));
        match self.rng.below(20) {
            // Given up; found out later, as reconciliation would.
            0 => vec![(late, reply(PaymentAnswer::Unknown)), (late * 2, reply(truth))],
            1 if matches!(truth, PaymentAnswer::Succeeded { .. }) => {
                let PaymentAnswer::Succeeded { reference, .. } = &truth else { return Vec::new() };
                let reference = reference.clone();
                let first = PaymentAnswer::Pending { reference, challenge: None };
                vec![(soon, reply(first)), (late, reply(truth))]
            }
            2 => vec![(soon, reply(truth.clone())), (late, reply(truth))],
            3 => vec![(late, reply(truth))],
            _ => vec![(soon, reply(truth))],
        }
    }

    /// The truth of an operation that was given up.
    #[must_use]
    pub fn truth(&self, row: &PaymentRow) -> Option<Reply> {
        let answer = self.done.get(&row.operation)?.answer.clone();
        Some(Reply { session: row.session, number: row.number, answer })
    }

    fn decide(&mut self, row: &PaymentRow) -> PaymentAnswer {
        if let Some(done) = self.done.get(&row.operation) {
            return done.answer.clone();
        }
        let declined = |code| PaymentAnswer::Declined { code, words: "no".into() };
        let refuses = !self.ending && self.rng.one_in(12);
        let answer = match row.kind {
            PaymentKind::Authorise if refuses => declined(CODE_NO_FUNDS),
            PaymentKind::Increment if refuses => declined(CODE_NO_INCREMENT),
            _ => succeeded(row),
        };
        let amount = if row.kind == PaymentKind::Void { 0 } else { row.amount };
        self.done.insert(row.operation, Done { kind: row.kind, amount, answer: answer.clone() });
        answer
    }

    /// What it took less what it gave back.
    #[must_use]
    pub fn taken(&self) -> i128 {
        let moved = |done: &&Done| matches!(done.answer, PaymentAnswer::Succeeded { .. });
        let signed = |done: &Done| {
            let amount = i128::try_from(done.amount).expect("amounts are small");
            match done.kind {
                PaymentKind::Capture => amount,
                PaymentKind::Refund => -amount,
                _ => 0,
            }
        };
        self.done.values().filter(moved).map(signed).sum()
    }

    /// Operations that were given up as unknown, of a node's rows.
    #[must_use]
    pub fn is_given_up(row: &PaymentRow) -> bool {
        row.state == PaymentState::Unknown
    }
}

fn succeeded(row: &PaymentRow) -> PaymentAnswer {
    let reference = match row.kind {
        PaymentKind::Authorise => format!("pi_{:x}", row.operation),
        PaymentKind::Refund => format!("re_{:x}", row.operation),
        _ => row.payment.as_deref().unwrap_or("pi_unknown").to_owned(),
    };
    let amount = if row.kind == PaymentKind::Void { 0 } else { row.amount };
    PaymentAnswer::Succeeded { reference: reference.into(), amount }
}

//! The payment provider of the cases: what it is asked, what it answers, and whether its money and
//! ours agree in the end.

use crate::node::Node;
use crate::saga::{World, session, session_name};
use novax_charging::{
    Card, Command, Funding, Keyspace, OutboxKind, PaymentAnswer, PaymentKind, PaymentRow,
    PaymentState, ProviderEntry, ProviderEntryKind, Refund, SessionRow,
};
use novax_ledger::{JournalRow, Undone};
use novax_model::{Amount, Currency, Identity, SessionId, TokenUid};

/// The card of a driver.
pub(crate) fn card(driver: &str) -> Card {
    Card { provider: "stripe".into(), method: format!("pm_{driver}").into(), customer: None }
}

/// What is asked of the provider.
pub(crate) fn text(row: &PaymentRow) -> String {
    let (kind, session) = (row.kind.as_str(), session_name(row.session));
    let on = row.payment.as_deref().map_or(String::new(), |name| format!(" on {name}"));
    format!("{} {kind} {session} {}{on}", row.card.provider, row.amount)
}

/// The answer of a provider that does what it is asked.
pub(crate) fn done(row: &PaymentRow) -> PaymentAnswer {
    let name = match row.kind {
        PaymentKind::Authorise => format!("pi_{}_{}", session_name(row.session), row.number),
        PaymentKind::Refund => format!("re_{}", row.number),
        _ => row.payment.as_deref().expect("acts on a payment").to_owned(),
    };
    let amount = if row.kind == PaymentKind::Void { 0 } else { row.amount };
    PaymentAnswer::Succeeded { reference: name.into(), amount }
}

/// What drivers paid by card and owe for it; the provider's money is what our rows say.
pub(crate) fn agree(node: &Node) -> i128 {
    let rows = node.rows::<PaymentRow>(Keyspace::Payments);
    let sum = |kind| -> Amount {
        let of_kind = rows.iter().filter(|row| row.kind == kind);
        of_kind.filter(|row| row.state == PaymentState::Succeeded).map(|row| row.moved).sum()
    };
    let ours = -node.balance("psp/stripe");
    let theirs = sum(PaymentKind::Capture) - sum(PaymentKind::Refund);
    assert_eq!(ours, i128::try_from(theirs).unwrap(), "the provider owes what it took: {rows:?}");
    for row in &rows {
        assert!(row.state.is_definite(), "{row:?}");
        let ends = |end: &&PaymentRow| {
            let kind = matches!(end.kind, PaymentKind::Capture | PaymentKind::Void);
            kind && (end.session, end.of) == (row.session, row.number)
        };
        let ends = rows.iter().filter(ends).count();
        let reserves = row.kind == PaymentKind::Authorise && row.state == PaymentState::Succeeded;
        assert_eq!(ends, usize::from(reserves), "captured or given back, once: {row:?}");
    }
    assert_eq!(node.partition.open_payments().count(), 0, "nothing is remembered");
    ours - node.balance("receivable/dora") - node.balance("receivable/erin")
}

/// A refund with the rows that it needs, as the gateway reads them.
pub(crate) fn refund(node: &Node, session: SessionId, sequence: u32, amount: Amount) -> Refund {
    let bill = node.booked(session);
    let before = match bill.map(|bill| bill.undone) {
        Some(Undone::Refunded(before)) => before,
        _ => 0,
    };
    let of_it = bill.map_or(0..0, |bill| bill.first..bill.first + u64::from(bill.rows));
    let mut lines = node.rows::<JournalRow>(Keyspace::Transfers);
    lines.retain(|row| of_it.contains(&row.number));
    let mut payments = node.rows::<PaymentRow>(Keyspace::Payments);
    payments.retain(|row| row.session == session);
    let mut row = node.rows::<SessionRow>(Keyspace::Sessions);
    row.retain(|row| row.session == session);
    let row = row.pop().map(Box::new);
    Refund { session, sequence, amount, lines, before, payments, row }
}

impl World {
    fn asked(&self, node: usize, kind: &str) -> Option<PaymentRow> {
        let rows = self.nodes[node].partition.outbox();
        let mut payments = rows.filter_map(|row| match &row.kind {
            OutboxKind::Payment { payment } => Some(payment),
            _ => None,
        });
        payments.find(|row| row.kind.as_str() == kind).map(|row| (**row).clone())
    }

    pub(crate) fn pay(&mut self, node: usize, verb: &str, words: &[&str]) -> String {
        match (verb, words) {
            ("card", [driver, token]) => {
                let name = Identity::new(driver).unwrap();
                let tokens = vec![TokenUid::new(token).unwrap()];
                let currency = Currency::EUR;
                let put = Command::PutDriver {
                    driver: name.clone(),
                    salt: [7; 32],
                    tokens,
                    currency,
                    blocked: false,
                };
                self.step(node, put);
                let funding = Funding::Card(card(driver));
                self.step(node, Command::PutFunding { driver: name, funding })
            }
            ("psp", ["books", kind, reference, amount, rest @ ..]) => {
                let kind = match *kind {
                    "fee" => ProviderEntryKind::Fee,
                    "opened" => ProviderEntryKind::DisputeOpened,
                    "won" => ProviderEntryKind::DisputeWon,
                    "lost" => ProviderEntryKind::DisputeLost,
                    other => panic!("no such entry: {other}"),
                };
                let (driver, fee) = match rest {
                    [] => (None, 0),
                    ["of", driver] => (Identity::new(driver).ok(), 0),
                    ["of", driver, "fee", fee] => {
                        (Identity::new(driver).ok(), fee.parse().unwrap())
                    }
                    other => panic!("left over: {other:?}"),
                };
                let entry = ProviderEntry {
                    provider: "stripe".into(),
                    reference: (*reference).into(),
                    kind,
                    session: driver.is_some().then(|| session("s1")),
                    driver,
                    amount: amount.parse().unwrap(),
                    fee,
                    currency: Currency::EUR,
                };
                self.step(node, Command::ProviderBooked(Box::new(entry)))
            }
            ("psp", [kind, answer @ ..]) => {
                let Some(row) = self.asked(node, kind) else { return "nothing asked".to_owned() };
                let answer = match answer {
                    ["ok"] => done(&row),
                    ["ok", amount] => match done(&row) {
                        PaymentAnswer::Succeeded { reference, .. } => {
                            PaymentAnswer::Succeeded { reference, amount: amount.parse().unwrap() }
                        }
                        other => other,
                    },
                    ["pending"] => PaymentAnswer::Pending {
                        reference: "pi_pending".into(),
                        challenge: Some("https://bank.example/prove".into()),
                    },
                    ["declined", code] => {
                        PaymentAnswer::Declined { code: code.parse().unwrap(), words: "no".into() }
                    }
                    ["unknown"] => PaymentAnswer::Unknown,
                    other => panic!("no such answer: {other:?}"),
                };
                let (session, number) = (row.session, row.number);
                let once = Command::PaymentAnswered { session, number, answer };
                self.step(node, once.clone());
                // Said again it changes nothing.
                let before = self.nodes[node].partition.payments(session).to_vec();
                self.step(node, once);
                assert_eq!(self.nodes[node].partition.payments(session), before);
                text(&row)
            }
            other => panic!("no such command: {other:?}"),
        }
    }

    /// What reconciliation found out about an operation that was given up as unknown.
    pub(crate) fn resolve(&mut self, name: &str, number: u32, answer: PaymentAnswer) {
        self.step(0, Command::PaymentAnswered { session: session(name), number, answer });
    }
}

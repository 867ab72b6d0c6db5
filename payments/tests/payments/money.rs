//! Random payments through random faults and restarts: each operation counts at most once, and at the end the
//! provider's books and ours hold the same money.

use crate::world::{Working, authorise, client, hasty, now, with};
use novax_model::{Amount, Currency, Duration, Timestamp};
use novax_payments::mock::{Fault, Mock};
use novax_payments::stripe::Stripe;
use novax_payments::{
    Expected, Operation, OperationKind, Outcome, PaymentProvider, Policy, ProviderRef, RowKind,
    RowState, Window, reconcile,
};
use proptest::prelude::*;
use std::sync::Arc;

/// What one driver does with their money.
#[derive(Clone, Debug)]
struct Plan {
    card: &'static str,
    held: Amount,
    raised: Option<Amount>,
    /// Nothing: it is given back.
    taken_percent: Option<Amount>,
    refunded_percent: Option<Amount>,
    /// The worker dies while it is at the step of this number.
    dies_at: Option<u8>,
}

fn plans() -> impl Strategy<Value = Plan> {
    let card = prop_oneof![
        4 => Just("pm_card_visa"),
        1 => Just("pm_card_chargeDeclined"),
        1 => Just("pm_card_noIncrement"),
        1 => Just("pm_card_noPartialCapture"),
    ];
    let percent = || proptest::option::weighted(0.8, 1_u128..=100);
    let raised = proptest::option::of(1_u128..5000);
    let dies_at = proptest::option::of(0_u8..4);
    (card, 100_u128..10_000, raised, percent(), percent(), dies_at).prop_map(
        |(card, held, raised, taken_percent, refunded_percent, dies_at)| Plan {
            card,
            held,
            raised,
            taken_percent,
            refunded_percent,
            dies_at,
        },
    )
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let fault = prop_oneof![
        6 => Just(Fault::None),
        2 => Just(Fault::LoseRequest),
        2 => Just(Fault::LoseReply),
        1 => Just(Fault::Late(3)),
        1 => Just(Fault::ErrorBefore),
        1 => Just(Fault::ErrorAfter),
        1 => Just(Fault::ErrorForGood),
        1 => Just(Fault::TooMany),
        1 => Just(Fault::Busy),
        1 => Just(Fault::Nonsense),
    ];
    proptest::collection::vec(fault, 0..60)
}

/// Our side: what we believe of each payment and refund.
struct Books {
    stripe: Arc<Stripe>,
    rows: Vec<Expected>,
    steps: u8,
    /// Workers of a node that does not know yet that it no longer leads: they go on beside the next one.
    stale: Vec<Working>,
}

impl Books {
    fn expect(&mut self, kind: RowKind, operation: &Operation, outcome: &Outcome) {
        let (reference, moved) = match outcome {
            Outcome::Succeeded { reference, amount } => (Some(reference.clone()), *amount),
            _ => (None, 0),
        };
        let state = match (kind, &reference) {
            (_, None) => RowState::Void,
            (RowKind::Payment, Some(_)) => RowState::Reserved,
            (RowKind::Refund | RowKind::Dispute, Some(_)) => RowState::Done,
        };
        self.rows.push(Expected {
            kind,
            operation: operation.id,
            reference,
            state,
            moved: if kind == RowKind::Refund { moved } else { 0 },
            currency: Currency::EUR,
            unknown: *outcome == Outcome::Unknown,
            at: operation.at,
            changed: operation.at,
        });
    }

    /// One operation to its end, with the worker dying once while it is at it.
    async fn run(&mut self, operation: &Operation, dies: Option<u8>) -> Outcome {
        let provider = || Arc::clone(&self.stripe) as Arc<dyn PaymentProvider>;
        let policy = || Policy { questions_max: 200, ..hasty() };
        let mut resumed = false;
        if dies == Some(self.steps) {
            let working = Working::start(provider(), policy());
            working.hand(operation, false).await;
            // Sooner or later, as the machine happens to be: all of it must do.
            for _ in 0..operation.amount % 50 {
                tokio::task::yield_now().await;
            }
            if operation.amount % 2 == 1 {
                self.stale.push(working);
            }
            resumed = true;
        }
        self.steps += 1;
        Working::start(provider(), policy()).outcome(operation, resumed).await
    }

    async fn drive(&mut self, plan: &Plan) {
        self.steps = 0;
        let hold = authorise(plan.card, plan.held);
        let held = self.run(&hold, plan.dies_at).await;
        self.expect(RowKind::Payment, &hold, &held);
        let index = self.rows.len() - 1;
        let Outcome::Succeeded { reference: payment, mut amount } = held else { return };
        if let Some(more) = plan.raised {
            let raise = with(OperationKind::Increment, &payment, amount + more);
            match self.run(&raise, plan.dies_at).await {
                Outcome::Succeeded { amount: total, .. } => amount = total,
                outcome => self.doubt(index, &outcome),
            }
        }
        let taken = self.take(index, &payment, amount, plan).await;
        if let (Some(percent), 1..) = (plan.refunded_percent, taken) {
            let back = with(OperationKind::Refund, &payment, (taken * percent).div_ceil(100));
            let outcome = self.run(&back, plan.dies_at).await;
            self.expect(RowKind::Refund, &back, &outcome);
        }
    }

    /// Takes a part or gives all back; what was taken.
    async fn take(
        &mut self,
        index: usize,
        payment: &ProviderRef,
        held: Amount,
        plan: &Plan,
    ) -> Amount {
        let operation = match plan.taken_percent {
            Some(percent) => with(OperationKind::Capture, payment, (held * percent).div_ceil(100)),
            None => with(OperationKind::Void, payment, 0),
        };
        match self.run(&operation, plan.dies_at).await {
            Outcome::Succeeded { amount, .. } => {
                assert_eq!(amount, operation.amount, "it takes what it was told to");
                let void = operation.kind == OperationKind::Void;
                self.rows[index].state = if void { RowState::Void } else { RowState::Done };
                self.rows[index].moved = amount;
                amount
            }
            outcome => {
                self.doubt(index, &outcome);
                0
            }
        }
    }

    fn doubt(&mut self, index: usize, outcome: &Outcome) {
        self.rows[index].unknown |= *outcome == Outcome::Unknown;
    }
}

async fn world(plans: Vec<Plan>, posts: Vec<Fault>, gets: Vec<Fault>) {
    let mock = Mock::start().await;
    mock.fail_posts(posts);
    mock.fail_gets(gets);
    let begun = now();
    let mut books =
        Books { stripe: Arc::new(client(&mock)), rows: Vec::new(), steps: 0, stale: Vec::new() };
    for plan in &plans {
        books.drive(plan).await;
    }
    mock.recover();
    let theirs = books.stripe.list(begun, 1000).await.expect("a list");
    let minute = Duration::from_secs(60);
    let window = Window {
        since: Timestamp(begun.0 - 60_000_000),
        now: now().saturating_add(minute),
        slack: Duration::from_secs(1),
    };
    let report = reconcile(&books.rows, &theirs, window);
    let alarming: Vec<_> = report.alarming().collect();
    assert!(alarming.is_empty(), "{alarming:#?}");
    // With what was unknown taken from the provider, both sides hold the same.
    let (mut here, mut there) = (0, 0);
    for line in &report.lines {
        let theirs = line.theirs.as_ref().map_or(0, |row| row.moved);
        let resolved = line.ours.as_ref().is_some_and(|row| row.unknown);
        here += if resolved { theirs } else { line.ours.as_ref().map_or(0, |row| row.moved) };
        there += theirs;
    }
    assert_eq!(here, there);
    for payment in mock.books().payments.values() {
        assert!(payment.captures <= 1, "{payment:?}");
        assert!(payment.received <= payment.amount, "{payment:?}");
    }
    let made = mock.books().payments.len();
    assert!(made <= plans.len(), "{made} payments for {} holds", plans.len());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn money_agrees_at_the_end_whatever_is_lost(
        plans in proptest::collection::vec(plans(), 1..8),
        posts in faults(),
        gets in faults(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(world(plans, posts, gets));
    }
}

//! A provider to talk to, operations to ask of it, and a worker that does.

use novax_model::{Amount, Currency, Duration, Timestamp};
use novax_payments::life::Policy;
use novax_payments::mock::Mock;
use novax_payments::stripe::Stripe;
use novax_payments::worker::{Clock, Hint};
use novax_payments::{
    Attempt, Operation, OperationId, OperationKind, Outcome, Payer, PaymentProvider, ProviderRef,
    Report, Target, Work, Worker,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use tokio::sync::mpsc;

pub(crate) fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    Timestamp(u64::try_from(now.as_micros()).expect("it fits"))
}

static NEXT: AtomicU64 = AtomicU64::new(1);

fn operation(kind: OperationKind, target: Target, amount: Amount) -> Operation {
    Operation {
        id: OperationId((7 << 100) + u128::from(NEXT.fetch_add(1, Ordering::Relaxed))),
        kind,
        target,
        amount,
        currency: Currency::EUR,
        at: now(),
        subject: "session 4711 & more".into(),
    }
}

/// A hold on a card.
pub(crate) fn authorise(method: &str, amount: Amount) -> Operation {
    let method = ProviderRef::new(method).expect("a name");
    let payer = Payer { method, customer: None, present: false };
    operation(OperationKind::Authorise, Target::Payer(payer), amount)
}

/// A hold of a payer who sits before a screen.
pub(crate) fn authorise_present(method: &str, amount: Amount) -> Operation {
    let method = ProviderRef::new(method).expect("a name");
    let payer = Payer { method, customer: None, present: true };
    operation(OperationKind::Authorise, Target::Payer(payer), amount)
}

/// Something with a payment.
pub(crate) fn with(kind: OperationKind, payment: &ProviderRef, amount: Amount) -> Operation {
    operation(kind, Target::Payment(payment.clone()), amount)
}

/// A client of the mock. Its patience only ends where a test wants it to.
pub(crate) fn client(mock: &Mock) -> Stripe {
    Stripe::new(mock.config(Duration::from_secs(20))).expect("a configuration")
}

/// Reference and amount of a success.
pub(crate) fn succeeded(outcome: &Outcome) -> (ProviderRef, Amount) {
    let Outcome::Succeeded { reference, amount } = outcome else {
        panic!("{outcome:?}");
    };
    (reference.clone(), *amount)
}

pub(crate) async fn done(provider: &Stripe, operation: &Operation) -> (ProviderRef, Amount) {
    match provider.send(operation).await {
        Attempt::Answered(outcome) => succeeded(&outcome),
        attempt @ Attempt::NotTaken { .. } => panic!("{attempt:?}"),
    }
}

/// In a hurry: a test does not wait for seconds.
pub(crate) fn hasty() -> Policy {
    Policy {
        wait_first: Duration::from_millis(2),
        wait_max: Duration::from_millis(20),
        call_max: Duration::from_secs(30),
        ..Policy::default()
    }
}

/// A worker with its queues.
pub(crate) struct Working {
    pub(crate) work: mpsc::Sender<Work>,
    pub(crate) hints: mpsc::Sender<Hint>,
    pub(crate) reports: mpsc::Receiver<Report>,
}

impl Working {
    pub(crate) fn start(provider: Arc<dyn PaymentProvider>, policy: Policy) -> Working {
        let (work, work_out) = mpsc::channel(64);
        let (hints, hints_out) = mpsc::channel(64);
        let (reports_in, reports) = mpsc::channel(64);
        let clock: Clock = Arc::new(now);
        let worker = Worker { provider, policy, in_flight_max: 8, clock, reports: reports_in };
        tokio::spawn(worker.run(work_out, hints_out));
        Working { work, hints, reports }
    }

    pub(crate) async fn hand(&self, operation: &Operation, resumed: bool) {
        let work = Work { operation: operation.clone(), resumed };
        self.work.send(work).await.expect("it works");
    }

    pub(crate) async fn next(&mut self) -> Report {
        self.reports.recv().await.expect("it works")
    }

    /// Does one operation to its end.
    pub(crate) async fn outcome(&mut self, operation: &Operation, resumed: bool) -> Outcome {
        self.hand(operation, resumed).await;
        loop {
            let report = self.next().await;
            assert_eq!(report.operation, operation.id);
            if report.last {
                return report.outcome;
            }
        }
    }
}

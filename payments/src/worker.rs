//! The worker: takes operations from a bounded queue, lives each one's [`Life`] against a provider, and passes
//! what came of it on. It keeps nothing: what it was doing when it was dropped is handed to the next worker as
//! [`Work`] that is resumed.

use crate::life::{Event, Life, Policy, Step};
use crate::operation::{Operation, OperationId, Outcome, ProviderRef};
use crate::provider::{Attempt, Knowledge, PaymentProvider};
use crate::webhook::WebhookEvent;
use novax_model::{Duration, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// An operation to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Work {
    /// What.
    pub operation: Operation,
    /// Someone may have sent it before. Only who committed it just now, and has been leading since, knows that
    /// nobody has.
    pub resumed: bool,
}

/// What came of an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Which.
    pub operation: OperationId,
    /// What.
    pub outcome: Outcome,
    /// Nothing will follow. Only a pending outcome is not the last.
    pub last: bool,
}

/// A reason to ask at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hint {
    /// The operation it is about, if that is known.
    pub operation: Option<OperationId>,
    /// The payment it is about, if that is known.
    pub payment: Option<ProviderRef>,
}

impl From<&WebhookEvent> for Hint {
    fn from(event: &WebhookEvent) -> Hint {
        Hint { operation: event.operation, payment: event.payment.clone() }
    }
}

/// Where a worker's time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// One that drives operations at a provider.
pub struct Worker {
    /// Whom to ask.
    pub provider: Arc<dyn PaymentProvider>,
    /// How patiently.
    pub policy: Policy,
    /// How many operations at a time.
    pub in_flight_max: usize,
    /// What time it is.
    pub clock: Clock,
    /// What comes of the operations.
    pub reports: mpsc::Sender<Report>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("provider", &self.provider.name())
            .field("policy", &self.policy)
            .field("in_flight_max", &self.in_flight_max)
            .finish_non_exhaustive()
    }
}

/// One that is being worked on.
struct InFlight {
    payment: Option<ProviderRef>,
    hinted: Arc<Notify>,
}

impl Worker {
    /// Works until `work` is closed and its last operation has come to an end, or until nobody takes reports.
    /// One that is handed over again while it is in flight is in flight once. Dropping the future stops all.
    pub async fn run(self, mut work: mpsc::Receiver<Work>, mut hints: mpsc::Receiver<Hint>) {
        assert!(self.in_flight_max > 0, "something may be worked on");
        let mut in_flight: BTreeMap<OperationId, InFlight> = BTreeMap::new();
        let mut lives = JoinSet::new();
        let (mut more, mut hinting) = (true, true);
        while (more || !lives.is_empty()) && !self.reports.is_closed() {
            assert_eq!(in_flight.len(), lives.len(), "one life each");
            tokio::select! {
                next = work.recv(), if more && lives.len() < self.in_flight_max => match next {
                    Some(next) if in_flight.contains_key(&next.operation.id) => {}
                    Some(next) => {
                        let (id, entry) = self.begin(next, &mut lives);
                        in_flight.insert(id, entry);
                    }
                    None => more = false,
                },
                ended = lives.join_next(), if !lives.is_empty() => match ended {
                    Some(Ok(id)) => assert!(in_flight.remove(&id).is_some(), "it was in flight"),
                    Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
                    None => {}
                },
                () = self.reports.closed() => {}
                hint = hints.recv(), if hinting => match hint {
                    Some(hint) => pass_on(&hint, &in_flight),
                    None => hinting = false,
                },
            }
        }
    }

    fn begin(&self, work: Work, lives: &mut JoinSet<OperationId>) -> (OperationId, InFlight) {
        let id = work.operation.id;
        let payment = work.operation.payment().cloned();
        let hinted = Arc::new(Notify::new());
        let life = if work.resumed {
            Life::resumed(work.operation, self.policy.clone())
        } else {
            Life::fresh(work.operation, self.policy.clone())
        };
        let driver = Driver {
            provider: Arc::clone(&self.provider),
            clock: Arc::clone(&self.clock),
            reports: self.reports.clone(),
            hinted: Arc::clone(&hinted),
            call_max: self.policy.call_max,
        };
        lives.spawn(async move {
            driver.live(life).await;
            id
        });
        (id, InFlight { payment, hinted })
    }
}

fn pass_on(hint: &Hint, in_flight: &BTreeMap<OperationId, InFlight>) {
    for (id, entry) in in_flight {
        let paid = hint.payment.is_some() && hint.payment == entry.payment;
        if paid || hint.operation == Some(*id) {
            entry.hinted.notify_one();
        }
    }
}

/// Drives one life.
struct Driver {
    provider: Arc<dyn PaymentProvider>,
    clock: Clock,
    reports: mpsc::Sender<Report>,
    hinted: Arc<Notify>,
    call_max: Duration,
}

impl Driver {
    /// To its end, or until nobody takes reports.
    async fn live(&self, mut life: Life) {
        let mut event = Event::Begin;
        loop {
            let step = life.next_step(event, (self.clock)());
            event = match step {
                Step::Send => Event::Sent(self.send(life.operation()).await),
                Step::Ask => Event::Asked(self.ask(life.operation()).await),
                Step::Wait(until) => self.wait(until).await,
                Step::Tell(outcome) => {
                    if !self.report(life.operation().id, outcome, false).await {
                        return;
                    }
                    Event::Told
                }
                // Only a hint within a call leads here, and those are kept for the next wait.
                Step::Stay => unreachable!("hints are passed on only while it waits"),
                Step::Finish(outcome) => {
                    self.report(life.operation().id, outcome, true).await;
                    return;
                }
            };
        }
    }

    async fn send(&self, operation: &Operation) -> Attempt {
        let answered = timeout(self.call_max, self.provider.send(operation)).await;
        answered.unwrap_or(Attempt::Answered(Outcome::Unknown))
    }

    async fn ask(&self, operation: &Operation) -> Knowledge {
        let answered = timeout(self.call_max, self.provider.query(operation)).await;
        answered.unwrap_or_else(|_| Knowledge::Unanswered("no answer in time".into()))
    }

    async fn wait(&self, until: Timestamp) -> Event {
        tokio::select! {
            () = sleep(until.since((self.clock)())) => Event::Woken,
            () = self.hinted.notified() => Event::Hint,
        }
    }

    /// Whether someone took it.
    async fn report(&self, operation: OperationId, outcome: Outcome, last: bool) -> bool {
        self.reports.send(Report { operation, outcome, last }).await.is_ok()
    }
}

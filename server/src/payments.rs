//! Between the shards and their payment provider: what outbox rows ask goes to a worker, what comes
//! of it goes back as commands, and what stayed unknown is found out by reconciliation.
//!
//! **Invariants**: a row is handed over at most once while this node leads; an answer is proposed until
//! it is taken or the node stops; queues are bounded, and what does not fit stays in the outbox.

use crate::config::PaymentsConfig;
use crate::control::{Control, Unavailable};
use novax_charging::rows;
use novax_charging::{Command, Keyspace, PaymentAnswer, PaymentKind, PaymentRow, PaymentState};
use novax_model::{Duration, SessionId, Timestamp};
use novax_payments::stripe::{Stripe, StripeConfig};
use novax_payments::worker::Clock;
use novax_payments::{
    Expected, Hint, Knowledge, Operation, OperationId, OperationKind, Outcome, Payer, PaymentError,
    PaymentProvider, Policy, ProviderRef, Reconciliation, Refusal, Report, RowKind, RowState, Seen,
    Target, WebhookError, Window, Work, Worker, reconcile,
};
use novax_shard::port::Asked;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Operations that wait between the shards and the worker.
pub const ASKED_MAX: usize = 4_096;
/// Operations that the provider is asked for at a time.
const IN_FLIGHT_MAX: usize = 64;
/// Messages of the provider that are remembered, so that one that comes again is known.
const EVENTS_MAX: usize = 10_000;
/// Payment rows that one reconciliation looks at.
const ROWS_MAX: usize = 200_000;
/// Rows this near to now may be on one side only.
const SLACK: Duration = Duration::from_secs(600);
/// An operation that the provider does not have so long after it was given up was not done.
const ABSENT_AFTER: Duration = Duration::from_secs(3_600);
/// A reconciliation of its own accord looks back so far.
const LOOK_BACK: Duration = Duration::from_secs(2 * 24 * 3_600);
/// An authorisation may be so old when its capture comes.
const LIFE_MAX: Duration = Duration::from_secs(10 * 24 * 3_600);

/// Which row an operation is of.
type Places = Arc<Mutex<BTreeMap<OperationId, (SessionId, u32)>>>;

/// The provider that is configured, and the ways to it.
pub struct Payments {
    provider: Arc<dyn PaymentProvider>,
    clock: Clock,
    hints: mpsc::Sender<Hint>,
    seen: Mutex<Seen>,
}

impl std::fmt::Debug for Payments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Payments").field("provider", &self.provider.name()).finish_non_exhaustive()
    }
}

/// The provider of a configuration; `None` when none is configured.
///
/// # Errors
/// When it cannot be used.
pub fn provider(config: &PaymentsConfig) -> Result<Option<Arc<dyn PaymentProvider>>, PaymentError> {
    let Some(name) = &config.provider else { return Ok(None) };
    if name != "stripe" {
        let words = format!("payments.provider: {name:?} is not known; \"stripe\" is");
        return Err(PaymentError::Configuration(words));
    }
    let missing = |key: &str| PaymentError::Configuration(format!("payments.{key} is not set"));
    let key = config.secret_key.as_ref().ok_or_else(|| missing("secret_key"))?;
    let webhook = config.webhook_secret.as_ref().ok_or_else(|| missing("webhook_secret"))?;
    let mut stripe = StripeConfig::new(key.reveal(), webhook.reveal());
    if let Some(url) = &config.url {
        stripe.url.clone_from(url);
    }
    Ok(Some(Arc::new(Stripe::new(stripe)?)))
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Payments {
    /// Starts to work, on the runtime that this is called in.
    pub fn start(
        provider: Arc<dyn PaymentProvider>,
        control: &Control,
        asked: mpsc::Receiver<Asked>,
        reconcile_every: Duration,
        clock: Clock,
    ) -> Arc<Payments> {
        let (work_in, work) = mpsc::channel(IN_FLIGHT_MAX);
        let (hints, hints_out) = mpsc::channel(ASKED_MAX);
        let (reports, reports_out) = mpsc::channel(IN_FLIGHT_MAX);
        let worker = Worker {
            provider: provider.clone(),
            policy: Policy::default(),
            in_flight_max: IN_FLIGHT_MAX,
            clock: clock.clone(),
            reports,
        };
        let places = Places::default();
        tokio::spawn(worker.run(work, hints_out));
        tokio::spawn(feed(asked, work_in, control.clone(), places.clone()));
        tokio::spawn(take_reports(reports_out, control.clone(), places));
        let seen = Mutex::new(Seen::new(EVENTS_MAX));
        let payments = Arc::new(Payments { provider, clock, hints, seen });
        tokio::spawn(tend(payments.clone(), control.clone(), reconcile_every));
        payments
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The provider's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.provider.name()
    }

    /// Takes a message of the provider. It is no truth, only a reason to ask.
    ///
    /// # Errors
    /// When it is not the provider's.
    pub fn webhook(&self, signature: &str, body: &[u8]) -> Result<(), WebhookError> {
        let event = self.provider.verify_webhook(signature, body, self.now())?;
        if locked(&self.seen).is_new(&event) {
            // A hint that does not fit is lost: the worker asks by itself in time.
            let _ = self.hints.try_send(Hint::from(&event));
            if event.topic == novax_payments::Topic::Dispute {
                eprintln!("novax: the payment provider tells of a dispute: {}", event.id);
            }
        }
        Ok(())
    }

    /// What the provider has beside what we have.
    ///
    /// # Errors
    /// When the provider or the rows cannot be read.
    pub async fn reconcile(
        &self,
        control: &Control,
        since: Timestamp,
    ) -> Result<Reconciliation, PaymentError> {
        let theirs = self.provider.list(since, ROWS_MAX).await?;
        let ours = rows_of(control).await.map_err(PaymentError::Unanswered)?;
        let window = Window { since, now: self.now(), slack: SLACK };
        let from = Timestamp(since.0.saturating_sub(micros(LIFE_MAX)));
        let expected: Vec<Expected> =
            expected(&ours).into_iter().filter(|row| row.at >= from).collect();
        Ok(reconcile(&expected, &theirs, window))
    }

    /// Finds out what became of operations that were given up as unknown. Says of how many it did.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn resolve(&self, control: &Control) -> Result<usize, PaymentError> {
        let rows = rows_of(control).await.map_err(PaymentError::Unanswered)?;
        let mut resolved = 0;
        for row in rows.iter().filter(|row| row.state == PaymentState::Unknown) {
            let Some(operation) = operation(row) else { continue };
            let answer = match self.provider.query(&operation).await {
                Knowledge::Found(outcome) if outcome.is_definite() => answer(outcome),
                Knowledge::Absent if self.now().since(row.changed) >= ABSENT_AFTER => {
                    answer(Outcome::declined(Refusal::Unavailable, ""))
                }
                _ => continue,
            };
            propose(control, row.session, row.number, answer).await;
            resolved += 1;
        }
        Ok(resolved)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Now and then: what was unknown is found out, and differences are told.
async fn tend(payments: Arc<Payments>, control: Control, every: Duration) {
    let mut due = tokio::time::interval(every);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        if let Err(error) = payments.resolve(&control).await {
            eprintln!("novax: payments were not reconciled: {error}");
            continue;
        }
        let since = Timestamp(payments.now().0.saturating_sub(micros(LOOK_BACK)));
        match payments.reconcile(&control, since).await {
            Ok(report) => {
                let alarming = report.alarming().count();
                if alarming > 0 {
                    eprintln!(
                        "novax: {alarming} payments differ from the provider's\n    \
                         -> look at /v1/payments/reconciliation"
                    );
                }
            }
            Err(error) => eprintln!("novax: payments were not reconciled: {error}"),
        }
    }
}

/// Passes on what shards ask. It waits while the worker is busy: then the shards' rows wait too.
async fn feed(
    mut asked: mpsc::Receiver<Asked>,
    work: mpsc::Sender<Work>,
    control: Control,
    places: Places,
) {
    while let Some(Asked { payment, resumed }) = asked.recv().await {
        let (session, number) = (payment.session, payment.number);
        let Some(operation) = operation(&payment) else {
            let refused = answer(Outcome::declined(Refusal::Malformed, ""));
            propose(&control, session, number, refused).await;
            continue;
        };
        locked(&places).insert(operation.id, (session, number));
        if work.send(Work { operation, resumed }).await.is_err() {
            return;
        }
    }
}

async fn take_reports(mut reports: mpsc::Receiver<Report>, control: Control, places: Places) {
    while let Some(Report { operation, outcome, last }) = reports.recv().await {
        let place = if last {
            locked(&places).remove(&operation)
        } else {
            locked(&places).get(&operation).copied()
        };
        let Some((session, number)) = place else { continue };
        propose(&control, session, number, answer(outcome)).await;
    }
}

/// Until it is taken. A node that stops drops this future with its runtime.
async fn propose(control: &Control, session: SessionId, number: u32, answer: PaymentAnswer) {
    let mut wait = Duration::from_millis(50);
    loop {
        let command = Command::PaymentAnswered { session, number, answer: answer.clone() };
        match control.propose(session.partition(), command).await {
            Ok(_) => return,
            Err(Unavailable) => {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(5));
            }
        }
    }
}

/// The operation of a row, as the provider's seam wants it; `None` when its names are no names.
fn operation(row: &PaymentRow) -> Option<Operation> {
    let target = if row.kind == PaymentKind::Authorise {
        let customer = match row.card.customer.as_deref() {
            Some(customer) => Some(ProviderRef::new(customer)?),
            None => None,
        };
        let method = ProviderRef::new(&row.card.method)?;
        Target::Payer(Payer { method, customer, present: row.present })
    } else {
        Target::Payment(ProviderRef::new(row.payment.as_deref()?)?)
    };
    let kind = match row.kind {
        PaymentKind::Authorise => OperationKind::Authorise,
        PaymentKind::Increment => OperationKind::Increment,
        PaymentKind::Capture => OperationKind::Capture,
        PaymentKind::Void => OperationKind::Void,
        PaymentKind::Refund => OperationKind::Refund,
    };
    let (amount, currency, at) = (row.amount, row.currency, row.at);
    let subject = format!("session {}", row.session).into();
    let id = OperationId(row.operation);
    let operation = Operation { id, kind, target, amount, currency, at, subject };
    operation.is_sound().then_some(operation)
}

fn answer(outcome: Outcome) -> PaymentAnswer {
    match outcome {
        Outcome::Succeeded { reference, amount } => {
            PaymentAnswer::Succeeded { reference: reference.as_str().into(), amount }
        }
        Outcome::Declined { refusal, words } => {
            PaymentAnswer::Declined { code: refusal.code(), words }
        }
        Outcome::Pending { reference, challenge } => {
            PaymentAnswer::Pending { reference: reference.as_str().into(), challenge }
        }
        Outcome::Unknown => PaymentAnswer::Unknown,
    }
}

/// All payment rows, in order of session and number.
async fn rows_of(control: &Control) -> Result<Vec<PaymentRow>, String> {
    let parts = control.snapshots(false).await.map_err(|error| error.to_string())?;
    let work = move || {
        let mut all = Vec::new();
        for (_, part) in &parts {
            for row in part.range(Keyspace::Payments as u8, &[], None) {
                let (_, value) = row.map_err(|error| error.to_string())?;
                all.push(rows::read::<PaymentRow>(&value).map_err(|error| error.to_string())?);
                if all.len() > ROWS_MAX {
                    return Err(format!("there are more than {ROWS_MAX} payments"));
                }
            }
        }
        Ok(all)
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}

/// How payments and refunds stand in our books: one for each authorisation, one for each refund.
fn expected(rows: &[PaymentRow]) -> Vec<Expected> {
    let mut by_payment: BTreeMap<(SessionId, u32), Vec<&PaymentRow>> = BTreeMap::new();
    for row in rows {
        by_payment.entry((row.session, row.of)).or_default().push(row);
    }
    let payments = by_payment.values().filter_map(|rows| payment(rows));
    payments.chain(rows.iter().filter_map(paid_back)).collect()
}

fn payment(rows: &[&PaymentRow]) -> Option<Expected> {
    let first = rows.iter().find(|row| row.kind == PaymentKind::Authorise)?;
    let done =
        |kind| rows.iter().find(|row| row.kind == kind && row.state == PaymentState::Succeeded);
    let capture = done(PaymentKind::Capture);
    let state = match first.state {
        _ if capture.is_some() => RowState::Done,
        PaymentState::Succeeded if done(PaymentKind::Void).is_some() => RowState::Void,
        PaymentState::Succeeded => RowState::Reserved,
        _ => RowState::Unpaid,
    };
    let refunds = |row: &&&PaymentRow| row.kind != PaymentKind::Refund;
    Some(Expected {
        kind: RowKind::Payment,
        operation: OperationId(first.operation),
        reference: first.payment.as_deref().and_then(ProviderRef::new),
        state,
        moved: capture.map_or(0, |row| row.moved),
        currency: first.currency,
        unknown: rows.iter().filter(refunds).any(|row| row.state == PaymentState::Unknown),
        at: first.at,
        changed: rows.iter().map(|row| row.changed).max().unwrap_or(first.at),
    })
}

fn paid_back(row: &PaymentRow) -> Option<Expected> {
    if row.kind != PaymentKind::Refund {
        return None;
    }
    let succeeded = row.state == PaymentState::Succeeded;
    Some(Expected {
        kind: RowKind::Refund,
        operation: OperationId(row.operation),
        reference: row.reference.as_deref().and_then(ProviderRef::new),
        state: if succeeded { RowState::Done } else { RowState::Unpaid },
        moved: if succeeded { row.moved } else { 0 },
        currency: row.currency,
        unknown: row.state == PaymentState::Unknown,
        at: row.at,
        changed: row.changed,
    })
}

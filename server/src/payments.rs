//! Between the shards and their payment provider: what outbox rows ask goes to a worker, what comes
//! of it goes back as commands, and what stayed unknown is found out by reconciliation.
//!
//! **Invariants**: a row is handed over at most once while this node leads; an answer is proposed until
//! it is taken or the node stops; queues are bounded, and what does not fit stays in the outbox.

use crate::config::PaymentsConfig;
use crate::control::{Control, Freshness, Unavailable};
use novax_charging::rows;
use novax_charging::{
    Command, Keyspace, PaymentAnswer, PaymentKind, PaymentRow, PaymentState, ProviderEntry,
    ProviderEntryKind,
};
use novax_ledger::KeyRow;
use novax_model::{Duration, PartitionId, SessionId, Timestamp};
use novax_payments::stripe::{Stripe, StripeConfig};
use novax_payments::worker::Clock;
use novax_payments::{
    DisputeRow, DisputeState, Expected, FeeRow, Hint, Knowledge, Operation, OperationId,
    OperationKind, Outcome, Payer, PaymentError, PaymentProvider, Policy, ProviderRef, ProviderRow,
    Reconciliation, Refusal, Report, RowKind, RowState, Seen, Target, WebhookError, Window, Work,
    Worker, reconcile,
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
/// Disputes that wait to be asked for.
const DISPUTES_MAX: usize = 1_024;
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
    /// Disputes that the provider told of.
    disputes: mpsc::Sender<ProviderRef>,
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
        let (disputes, told) = mpsc::channel(DISPUTES_MAX);
        let payments = Arc::new(Payments { provider, clock, hints, disputes, seen });
        tokio::spawn(hear_disputes(payments.clone(), control.clone(), told));
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
            if let (novax_payments::Topic::Dispute, Some(object)) = (&event.topic, event.object) {
                // One that does not fit is found by the next reconciliation.
                let _ = self.disputes.try_send(object);
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
        let mut theirs = self.provider.list(since, ROWS_MAX).await?;
        let ours = rows_of(control).await.map_err(PaymentError::Unanswered)?;
        let disputes = self.provider.disputes(since, ROWS_MAX).await?;
        let disputes: Vec<DisputeRow> =
            disputes.into_iter().filter(|row| row.state != DisputeState::Inquiry).collect();
        let booked = booked_disputes(control, self.name(), &disputes, &ours).await;
        let booked = booked.map_err(PaymentError::Unanswered)?;
        theirs.extend(disputes.iter().map(disputed));
        let window = Window { since, now: self.now(), slack: SLACK };
        let from = Timestamp(since.0.saturating_sub(micros(LIFE_MAX)));
        let expected: Vec<Expected> =
            expected(&ours).into_iter().filter(|row| row.at >= from).chain(booked).collect();
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

impl Payments {
    /// Books what the provider has booked of its own accord since a time: disputes and fees. Says of how
    /// many it asked.
    ///
    /// # Errors
    /// When the provider or the rows cannot be read.
    pub async fn take_entries(
        &self,
        control: &Control,
        since: Timestamp,
    ) -> Result<usize, PaymentError> {
        let disputes = self.provider.disputes(since, ROWS_MAX).await?;
        let fees = self.provider.fees(since, ROWS_MAX).await?;
        let rows = match disputes.is_empty() {
            true => Vec::new(),
            false => rows_of(control).await.map_err(PaymentError::Unanswered)?,
        };
        let fees = fees.iter().map(|fee| fee_entry(self.name(), fee));
        let disputes = disputes.iter().flat_map(|row| dispute_entries(self.name(), row, &rows));
        let entries: Vec<ProviderEntry> = fees.chain(disputes).collect();
        let keys = entries.iter().map(|entry| (partition_of(entry), entry.key().0)).collect();
        let booked = booked_keys(control, keys).await.map_err(PaymentError::Unanswered)?;
        let mut count = 0;
        for (entry, _) in entries.into_iter().zip(booked).filter(|(_, booked)| booked.is_none()) {
            propose_entry(control, entry).await;
            count += 1;
        }
        Ok(count)
    }

    async fn take_dispute(
        &self,
        control: &Control,
        reference: &ProviderRef,
    ) -> Result<(), PaymentError> {
        let Some(row) = self.provider.dispute(reference).await? else { return Ok(()) };
        let rows = rows_of(control).await.map_err(PaymentError::Unanswered)?;
        for entry in dispute_entries(self.name(), &row, &rows) {
            propose_entry(control, entry).await;
        }
        Ok(())
    }
}

/// Disputes that the provider tells of are asked for, and booked.
async fn hear_disputes(
    payments: Arc<Payments>,
    control: Control,
    mut told: mpsc::Receiver<ProviderRef>,
) {
    while let Some(reference) = told.recv().await {
        if let Err(error) = payments.take_dispute(&control, &reference).await {
            // The next reconciliation asks again.
            eprintln!("novax: dispute {reference} was not asked for: {error}");
        }
    }
}

/// Where an entry is booked: with its session, else in the first partition.
fn partition_of(entry: &ProviderEntry) -> PartitionId {
    entry.session.map_or(PartitionId(0), SessionId::partition)
}

fn fee_entry(provider: &str, fee: &FeeRow) -> ProviderEntry {
    ProviderEntry {
        provider: provider.into(),
        reference: fee.reference.as_str().into(),
        kind: ProviderEntryKind::Fee,
        session: None,
        driver: None,
        amount: fee.fee,
        fee: 0,
        currency: fee.currency,
    }
}

/// What is to be booked of a dispute, in order. A bank that only asks has taken nothing.
fn dispute_entries(provider: &str, row: &DisputeRow, rows: &[PaymentRow]) -> Vec<ProviderEntry> {
    let kinds: &[ProviderEntryKind] = match row.state {
        DisputeState::Inquiry => &[],
        DisputeState::Open => &[ProviderEntryKind::DisputeOpened],
        DisputeState::Won => &[ProviderEntryKind::DisputeOpened, ProviderEntryKind::DisputeWon],
        DisputeState::Lost => &[ProviderEntryKind::DisputeOpened, ProviderEntryKind::DisputeLost],
    };
    let payment = row.payment.as_ref().map(ProviderRef::as_str);
    let paid = rows.iter().find(|row| payment.is_some() && row.payment.as_deref() == payment);
    let entry = |kind: &ProviderEntryKind| ProviderEntry {
        provider: provider.into(),
        reference: row.reference.as_str().into(),
        kind: *kind,
        session: paid.map(|row| row.session),
        driver: paid.map(|row| row.driver.clone()),
        amount: row.amount,
        fee: if *kind == ProviderEntryKind::DisputeOpened { row.fee } else { 0 },
        currency: row.currency,
    };
    kinds.iter().map(entry).collect()
}

/// Until it is taken; a refusal is the end of it too.
async fn propose_entry(control: &Control, entry: ProviderEntry) {
    let mut wait = Duration::from_millis(50);
    loop {
        let command = Command::ProviderBooked(Box::new(entry.clone()));
        match control.propose(partition_of(&entry), command).await {
            Ok(novax_charging::Outcome::Refused(refusal)) => {
                let (kind, reference) = (entry.kind, &entry.reference);
                eprintln!("novax: {kind:?} {reference} of the provider is not booked: {refusal:?}");
                return;
            }
            Ok(_) => return,
            Err(Unavailable) => {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(5));
            }
        }
    }
}

/// When the sets of these keys were booked, if they were.
async fn booked_keys(
    control: &Control,
    keys: Vec<(PartitionId, u128)>,
) -> Result<Vec<Option<Timestamp>>, String> {
    let view = control.view(false, Freshness::Fresh).await.map_err(|error| error.to_string())?;
    let parts = view.parts;
    let work = move || {
        let find = |(partition, key): &(PartitionId, u128)| {
            let Some((_, part)) = parts.iter().find(|(id, _)| id == partition) else {
                return Ok(None);
            };
            let row = part.get(Keyspace::Keys as u8, &key.to_be_bytes());
            let row = row.map_err(|error| error.to_string())?;
            let read = |bytes: &[u8]| rows::read::<KeyRow>(bytes).map_err(|e| e.to_string());
            row.map(|bytes| read(&bytes)).transpose().map(|row| row.map(|row| row.at))
        };
        keys.iter().map(find).collect()
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}

/// A dispute as a row of the provider: what is away, or lost.
fn disputed(row: &DisputeRow) -> ProviderRow {
    let is_back = row.state == DisputeState::Won;
    ProviderRow {
        kind: RowKind::Dispute,
        reference: row.reference.clone(),
        payment: row.payment.clone().unwrap_or_else(|| row.reference.clone()),
        operation: None,
        state: if is_back { RowState::Void } else { RowState::Done },
        amount: row.amount,
        moved: if is_back { 0 } else { row.amount },
        currency: row.currency,
        created: row.created,
    }
}

/// The same disputes, as far as our books have them.
async fn booked_disputes(
    control: &Control,
    provider: &str,
    disputes: &[DisputeRow],
    rows: &[PaymentRow],
) -> Result<Vec<Expected>, String> {
    let opened = |row: &DisputeRow| {
        let open = DisputeRow { state: DisputeState::Won, ..row.clone() };
        let entries = dispute_entries(provider, &open, rows);
        entries.iter().map(|entry| (partition_of(entry), entry.key().0)).collect::<Vec<_>>()
    };
    let keys: Vec<_> = disputes.iter().flat_map(opened).collect();
    let booked = booked_keys(control, keys).await?;
    let pairs = disputes.iter().zip(booked.chunks(2));
    let expected = pairs.filter_map(|(row, booked)| {
        let [opened, won] = booked else { return None };
        let at = (*opened)?;
        Some(Expected {
            kind: RowKind::Dispute,
            operation: OperationId(
                ProviderEntry::key_of(
                    provider,
                    row.reference.as_str(),
                    ProviderEntryKind::DisputeOpened,
                )
                .0,
            ),
            reference: Some(row.reference.clone()),
            state: if won.is_some() { RowState::Void } else { RowState::Done },
            moved: if won.is_some() { 0 } else { row.amount },
            currency: row.currency,
            unknown: false,
            at,
            changed: won.unwrap_or(at),
        })
    });
    Ok(expected.collect())
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
        if let Err(error) = payments.take_entries(&control, since).await {
            eprintln!("novax: fees and disputes were not asked for: {error}");
        }
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
    let view = control.view(false, Freshness::Fresh).await.map_err(|error| error.to_string())?;
    let parts = view.parts;
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

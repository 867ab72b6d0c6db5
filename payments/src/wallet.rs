//! Prepaid money as a provider: the same five operations, done by books of our own instead of a bank.
//!
//! The rules of a payment stand here; the books only keep rows and move money. They must do each change whole
//! or not at all, and refuse a change made upon a row that is no longer so: then two that act on one payment at
//! the same time cannot both succeed.
//!
//! An operation's id is the row's key, so one that comes again is answered from its row.

use crate::error::{PaymentError, WebhookError};
use crate::operation::{
    Operation, OperationId, OperationKind, Outcome, ProviderRef, Refusal, Target,
};
use crate::provider::{Attempt, Knowledge, PaymentProvider, ProviderRow, RowKind, RowState};
use crate::webhook::WebhookEvent;
use async_trait::async_trait;
use novax_model::{Amount, Currency, Timestamp};

/// A payment out of a wallet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WalletPayment {
    /// The operation that reserved it; its text is the payment's name.
    pub operation: OperationId,
    /// Whose money.
    pub wallet: ProviderRef,
    /// Of all amounts.
    pub currency: Currency,
    /// Reserved.
    pub held: Amount,
    /// Taken.
    pub taken: Amount,
    /// Paid back.
    pub refunded: Amount,
    /// How it stands.
    pub state: RowState,
    /// What was done to it, and what it came to: (operation, kind, asked, given).
    pub done: Vec<Done>,
    /// When it was made.
    pub created: Timestamp,
}

/// What one operation did to a payment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Done {
    /// Which.
    pub operation: OperationId,
    /// What.
    pub kind: OperationKind,
    /// The amount that it asked for.
    pub amount: Amount,
    /// When it was decided.
    pub at: Timestamp,
}

/// The most operations on one payment: raising every minute lasts for a day.
pub const DONE_MAX: usize = 1_500;

/// Why the books did not make a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BookError {
    /// The wallet has not so much that is free.
    Insufficient,
    /// There is no such wallet, or it is of another currency.
    NoSuchWallet,
    /// The payment is no longer as it was read: read it again.
    Changed,
    /// Nobody knows whether it was made: the answer was lost.
    Unknown(String),
}

/// Where wallets are kept.
#[async_trait]
pub trait WalletBooks: Send + Sync {
    /// A payment as it is; `None` when there is none.
    ///
    /// # Errors
    /// When the books do not answer.
    async fn payment(&self, operation: OperationId) -> Result<Option<WalletPayment>, String>;

    /// Puts `new` in the place of `old` (none: it is made), and moves the wallet's free and reserved money by
    /// the difference: reserved by what is open of `held`, spent by `taken` less `refunded`.
    ///
    /// # Errors
    /// [`BookError`]; nothing has changed, but after [`BookError::Unknown`].
    async fn replace(
        &self,
        old: Option<&WalletPayment>,
        new: &WalletPayment,
    ) -> Result<(), BookError>;

    /// All payments that something was done to since a time, no more than `rows_max` and one.
    ///
    /// # Errors
    /// When the books do not answer.
    async fn since(&self, since: Timestamp, rows_max: usize) -> Result<Vec<WalletPayment>, String>;
}

impl WalletPayment {
    /// What is reserved now.
    #[must_use]
    pub fn open(&self) -> Amount {
        if self.state == RowState::Reserved { self.held } else { 0 }
    }

    /// What was spent and not paid back.
    #[must_use]
    pub fn spent(&self) -> Amount {
        self.taken.checked_sub(self.refunded).expect("no more is paid back than was taken")
    }

    fn made(operation: &Operation, wallet: &ProviderRef) -> WalletPayment {
        WalletPayment {
            operation: operation.id,
            wallet: wallet.clone(),
            currency: operation.currency,
            held: operation.amount,
            taken: 0,
            refunded: 0,
            state: RowState::Reserved,
            done: vec![Done::of(operation)],
            created: operation.at,
        }
    }

    /// With an operation done to it.
    fn with(&self, operation: &Operation) -> Result<WalletPayment, Refusal> {
        let mut new = self.clone();
        let amount = operation.amount;
        if operation.currency != self.currency {
            return Err(Refusal::Malformed);
        }
        if self.done.len() >= DONE_MAX {
            return Err(Refusal::NotSupported);
        }
        match (operation.kind, self.state) {
            (OperationKind::Authorise, _) => return Err(Refusal::Malformed),
            (OperationKind::Refund, RowState::Done) => {
                let left = self.spent();
                if amount > left {
                    return Err(Refusal::AmountTooLarge);
                }
                new.refunded += amount;
            }
            (_, RowState::Done) => return Err(Refusal::AlreadyCaptured),
            (OperationKind::Increment, RowState::Reserved) => new.held = self.held.max(amount),
            (OperationKind::Capture, RowState::Reserved) if amount > self.held => {
                return Err(Refusal::AmountTooLarge);
            }
            (OperationKind::Capture, RowState::Reserved) => {
                new.taken = amount;
                new.state = RowState::Done;
            }
            (OperationKind::Void, RowState::Reserved) => new.state = RowState::Void,
            (_, RowState::Void | RowState::Unpaid) => return Err(Refusal::AuthorisationGone),
            (OperationKind::Refund, RowState::Reserved) => return Err(Refusal::AmountTooLarge),
        }
        new.done.push(Done::of(operation));
        Ok(new)
    }

    fn done(&self, operation: OperationId) -> Option<&Done> {
        self.done.iter().find(|done| done.operation == operation)
    }
}

impl Done {
    fn of(operation: &Operation) -> Done {
        let Operation { id, kind, amount, at, .. } = *operation;
        Done { operation: id, kind, amount, at }
    }

    /// What it came to: the same however often it is asked.
    fn outcome(&self, payment: &WalletPayment, asked: &Operation) -> Outcome {
        if (self.kind, self.amount) != (asked.kind, asked.amount) {
            return Outcome::declined(Refusal::Malformed, "the id was used for something else");
        }
        let id =
            if self.kind == OperationKind::Refund { self.operation } else { payment.operation };
        let reference = ProviderRef::new(&id.to_string()).expect("digits and letters");
        let amount = if self.kind == OperationKind::Void { 0 } else { self.amount };
        Outcome::Succeeded { reference, amount }
    }
}

/// How often a change is tried when others were faster.
const TRIES_MAX: u32 = 8;

/// Wallets as a payment provider.
#[derive(Debug)]
pub struct Wallet<B> {
    books: B,
}

impl<B: WalletBooks> Wallet<B> {
    /// Over some books.
    pub fn new(books: B) -> Wallet<B> {
        Wallet { books }
    }

    /// Where the operation's payment is kept; `None` when its name is none of ours.
    fn key(operation: &Operation) -> Option<OperationId> {
        match &operation.target {
            Target::Payer(_) => Some(operation.id),
            Target::Payment(payment) => OperationId::parse(payment.as_str()),
        }
    }

    async fn act(&self, operation: &Operation) -> Attempt {
        let Some(key) = Self::key(operation) else {
            return Attempt::Answered(Outcome::declined(Refusal::NoSuchObject, ""));
        };
        for _ in 0..TRIES_MAX {
            let old = match self.books.payment(key).await {
                Ok(old) => old,
                Err(reason) => return Attempt::NotTaken { wait: None, reason },
            };
            let new = match next(old.as_ref(), operation) {
                Ok(new) => new,
                Err(outcome) => return Attempt::Answered(outcome),
            };
            let refused = match self.books.replace(old.as_ref(), &new).await {
                Ok(()) => {
                    let done = new.done(operation.id).expect("it was just done");
                    return Attempt::Answered(done.outcome(&new, operation));
                }
                Err(BookError::Changed) => continue,
                Err(BookError::Insufficient) => Refusal::InsufficientFunds,
                Err(BookError::NoSuchWallet) => Refusal::NoSuchObject,
                Err(BookError::Unknown(_)) => return Attempt::Answered(Outcome::Unknown),
            };
            return Attempt::Answered(Outcome::declined(refused, ""));
        }
        Attempt::NotTaken { wait: None, reason: "others were faster, again and again".into() }
    }
}

/// The payment with the operation done to it; an outcome when there is nothing to do.
fn next(old: Option<&WalletPayment>, operation: &Operation) -> Result<WalletPayment, Outcome> {
    let refused = |refusal| Outcome::declined(refusal, "");
    match (old, &operation.target) {
        (Some(old), _) => match old.done(operation.id) {
            Some(done) => Err(done.outcome(old, operation)),
            None => old.with(operation).map_err(refused),
        },
        (None, Target::Payer(payer)) => Ok(WalletPayment::made(operation, &payer.method)),
        (None, Target::Payment(_)) => Err(refused(Refusal::NoSuchObject)),
    }
}

#[async_trait]
impl<B: WalletBooks> PaymentProvider for Wallet<B> {
    fn name(&self) -> &'static str {
        "wallet"
    }

    async fn authorise(&self, operation: &Operation) -> Attempt {
        self.act(operation).await
    }

    async fn increment(&self, operation: &Operation) -> Attempt {
        self.act(operation).await
    }

    async fn capture(&self, operation: &Operation) -> Attempt {
        self.act(operation).await
    }

    async fn void(&self, operation: &Operation) -> Attempt {
        self.act(operation).await
    }

    async fn refund(&self, operation: &Operation) -> Attempt {
        self.act(operation).await
    }

    async fn query(&self, operation: &Operation) -> Knowledge {
        let Some(key) = Self::key(operation) else {
            return Knowledge::Absent;
        };
        match self.books.payment(key).await {
            Ok(payment) => {
                let payment = payment.as_ref();
                let done = payment.and_then(|payment| Some((payment, payment.done(operation.id)?)));
                done.map_or(Knowledge::Absent, |(payment, done)| {
                    Knowledge::Found(done.outcome(payment, operation))
                })
            }
            Err(reason) => Knowledge::Unanswered(reason),
        }
    }

    async fn list(
        &self,
        since: Timestamp,
        rows_max: usize,
    ) -> Result<Vec<ProviderRow>, PaymentError> {
        let payments = self.books.since(since, rows_max).await.map_err(PaymentError::Unanswered)?;
        let mut rows: Vec<ProviderRow> = payments.iter().flat_map(rows_of).collect();
        rows.retain(|row| row.created >= since);
        if rows.len() > rows_max || payments.len() > rows_max {
            return Err(PaymentError::TooMany { rows_max });
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.created));
        Ok(rows)
    }

    /// Nobody sends messages for a wallet: none is believed.
    fn verify_webhook(
        &self,
        _signature: &str,
        _body: &[u8],
        _now: Timestamp,
    ) -> Result<WebhookEvent, WebhookError> {
        Err(WebhookError::Signature)
    }

    fn step(&self, _currency: Currency) -> Amount {
        1
    }
}

fn rows_of(payment: &WalletPayment) -> Vec<ProviderRow> {
    let name = |id: OperationId| ProviderRef::new(&id.to_string()).expect("digits and letters");
    let own = ProviderRow {
        kind: RowKind::Payment,
        reference: name(payment.operation),
        payment: name(payment.operation),
        operation: Some(payment.operation),
        state: payment.state,
        amount: payment.held,
        moved: payment.taken,
        currency: payment.currency,
        created: payment.created,
    };
    let refund = |done: &Done| ProviderRow {
        kind: RowKind::Refund,
        reference: name(done.operation),
        operation: Some(done.operation),
        state: RowState::Done,
        amount: done.amount,
        moved: done.amount,
        created: done.at,
        ..own.clone()
    };
    let refunds = payment.done.iter().filter(|done| done.kind == OperationKind::Refund);
    let refunds: Vec<ProviderRow> = refunds.map(refund).collect();
    std::iter::once(own.clone()).chain(refunds).collect()
}

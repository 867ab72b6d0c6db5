//! The seam: what every payment provider must be able to do.
//!
//! * A provider is told an operation's id and does it at most once for that id, as long as it remembers.
//! * A provider never guesses: what it does not know for certain is [`Outcome::Unknown`], and the caller asks
//!   with [`PaymentProvider::query`] before it sends anything again.

use crate::error::{PaymentError, WebhookError};
use crate::operation::{Operation, OperationId, OperationKind, Outcome, ProviderRef};
use crate::webhook::WebhookEvent;
use async_trait::async_trait;
use novax_model::{Amount, Currency, Duration, Timestamp};

/// What came of sending an operation once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Attempt {
    /// The provider's answer; [`Outcome::Unknown`] when none came, or none that can be believed.
    Answered(Outcome),
    /// It certainly did nothing (too many requests, no connection): send it again later.
    NotTaken {
        /// The provider asks to be left alone for so long.
        wait: Option<Duration>,
        /// Why, for logs.
        reason: String,
    },
}

/// What a provider knows of an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Knowledge {
    /// It has taken it up.
    Found(Outcome),
    /// It has not, so far. A request may still be on its way.
    Absent,
    /// It did not answer, or there was too much to look through.
    Unanswered(String),
}

/// What a payment has come to at the provider.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RowState {
    /// Nothing is reserved (yet): the payer has not proven who they are, or was declined.
    Unpaid,
    /// Reserved, to be captured or voided.
    Reserved,
    /// Taken (a payment), paid back (a refund).
    Done,
    /// Given back, lapsed or failed: no money moved.
    Void,
}

/// Whether a row of the provider is a payment or a refund of one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RowKind {
    /// Of an authorisation and its capture.
    Payment,
    /// Of a refund.
    Refund,
    /// Of a dispute with the payer's bank.
    Dispute,
}

/// How a dispute stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DisputeState {
    /// The bank only asks; no money is away.
    Inquiry,
    /// The money is away until it is decided.
    Open,
    /// Decided for us.
    Won,
    /// Decided against us.
    Lost,
}

/// A payment that the payer's bank takes back, or may.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DisputeRow {
    /// Its name.
    pub reference: ProviderRef,
    /// The payment it is about, where it says.
    pub payment: Option<ProviderRef>,
    /// How it stands.
    pub state: DisputeState,
    /// How much of the payment.
    pub amount: Amount,
    /// What the provider asks for its trouble.
    pub fee: Amount,
    /// Of the amounts.
    pub currency: Currency,
    /// By the provider's clock.
    pub created: Timestamp,
}

/// What the provider keeps of a movement of money, for its work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeeRow {
    /// The provider's name of the movement.
    pub reference: ProviderRef,
    /// How much it keeps.
    pub fee: Amount,
    /// Of the fee.
    pub currency: Currency,
    /// By the provider's clock.
    pub created: Timestamp,
}

/// A payment or a refund as the provider has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProviderRow {
    /// Which of the two.
    pub kind: RowKind,
    /// Its name.
    pub reference: ProviderRef,
    /// The payment it is, or pays back.
    pub payment: ProviderRef,
    /// The operation that made it; none when someone else did (by hand, by another system).
    pub operation: Option<OperationId>,
    /// How it stands.
    pub state: RowState,
    /// Reserved in all; of a refund, to be paid back.
    pub amount: Amount,
    /// Taken, or paid back.
    pub moved: Amount,
    /// Of the amounts.
    pub currency: Currency,
    /// By the provider's clock.
    pub created: Timestamp,
}

/// A payment provider.
#[async_trait]
pub trait PaymentProvider: Send + Sync {
    /// Its name in rows and logs.
    fn name(&self) -> &'static str;

    /// Reserves money.
    async fn authorise(&self, operation: &Operation) -> Attempt;
    /// Raises what is reserved to a new total.
    async fn increment(&self, operation: &Operation) -> Attempt;
    /// Takes reserved money, once; the rest is given back.
    async fn capture(&self, operation: &Operation) -> Attempt;
    /// Gives reserved money back.
    async fn void(&self, operation: &Operation) -> Attempt;
    /// Pays taken money back.
    async fn refund(&self, operation: &Operation) -> Attempt;

    /// What became of an operation, by its id and what it acts on. Changes nothing.
    async fn query(&self, operation: &Operation) -> Knowledge;

    /// All payments and refunds made since a time, newest first.
    ///
    /// # Errors
    /// [`PaymentError`] when the provider does not say, or there are more than `rows_max`.
    async fn list(
        &self,
        since: Timestamp,
        rows_max: usize,
    ) -> Result<Vec<ProviderRow>, PaymentError>;

    /// All disputes made since a time, newest first. A provider that knows none has none.
    ///
    /// # Errors
    /// As [`PaymentProvider::list`].
    async fn disputes(
        &self,
        _since: Timestamp,
        _rows_max: usize,
    ) -> Result<Vec<DisputeRow>, PaymentError> {
        Ok(Vec::new())
    }

    /// How a dispute stands; `None` when there is no such.
    ///
    /// # Errors
    /// [`PaymentError`] when the provider does not say.
    async fn dispute(&self, _reference: &ProviderRef) -> Result<Option<DisputeRow>, PaymentError> {
        Ok(None)
    }

    /// What it kept for its work since a time, newest first; of disputes the dispute says it.
    ///
    /// # Errors
    /// As [`PaymentProvider::list`].
    async fn fees(&self, _since: Timestamp, _rows_max: usize) -> Result<Vec<FeeRow>, PaymentError> {
        Ok(Vec::new())
    }

    /// Checks who sent a message and what it says.
    ///
    /// # Errors
    /// [`WebhookError`] when it is not the provider's, or too old.
    fn verify_webhook(
        &self,
        signature: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<WebhookEvent, WebhookError>;

    /// The least step of an amount that the provider can move, in our minor units: 1 for most currencies.
    fn step(&self, currency: Currency) -> Amount;

    /// Sends an operation once, whatever its kind.
    async fn send(&self, operation: &Operation) -> Attempt {
        assert!(operation.is_sound(), "kind, target and amount fit: {operation:?}");
        match operation.kind {
            OperationKind::Authorise => self.authorise(operation).await,
            OperationKind::Increment => self.increment(operation).await,
            OperationKind::Capture => self.capture(operation).await,
            OperationKind::Void => self.void(operation).await,
            OperationKind::Refund => self.refund(operation).await,
        }
    }
}

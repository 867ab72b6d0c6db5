//! What is asked of payment providers: cards, operations and what became of them, as rows and words of
//! commands. Nothing here knows a provider's protocol: the names and numbers of a provider are text.
//!
//! **Invariants**: an operation is asked for once, under an id that is used for nothing else; its row
//! is written before it may be sent; a row that succeeded or was declined does not change any more.

use crate::hash::key128;
use novax_model::{Amount, Currency, Identity, SessionId, Timestamp};
use rkyv::{Archive, Deserialize, Serialize};

/// The most operations of one session: raised every few minutes for a day.
pub const PAYMENTS_PER_SESSION_MAX: usize = 256;

/// The most bytes of a provider's name, of a means of payment, of a reference.
pub const CARD_TEXT_BYTES_MAX: usize = 255;

/// What a provider books of its own accord.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
pub enum ProviderEntryKind {
    /// It keeps something for its work.
    Fee,
    /// The payer's bank disputes a payment: the provider takes the money back until it is decided.
    DisputeOpened,
    /// It was decided for us: the money is back.
    DisputeWon,
    /// It was decided against us.
    DisputeLost,
}

/// Something that a provider has booked of its own accord, under its own name.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ProviderEntry {
    /// The provider's name, as configured.
    pub provider: Box<str>,
    /// The provider's name for it: of the fee's transaction, of the dispute.
    pub reference: Box<str>,
    /// What it is.
    pub kind: ProviderEntryKind,
    /// Of which session's payment; `None` when that is none of ours.
    pub session: Option<SessionId>,
    /// Whose card paid it.
    pub driver: Option<Identity>,
    /// How much: the fee, or what is disputed.
    pub amount: Amount,
    /// What the provider asks for the dispute.
    pub fee: Amount,
    /// Of both.
    pub currency: Currency,
}

/// The providers' code for "this means of payment cannot do that".
pub(crate) const NOT_SUPPORTED: u16 = 9;
/// The providers' code for "what was reserved is no longer".
pub(crate) const AUTHORISATION_GONE: u16 = 5;

/// A card as its provider names it; never a card number.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Card {
    /// The provider's name, as configured: `stripe`.
    pub provider: Box<str>,
    /// The means of payment, in the provider's name for it.
    pub method: Box<str>,
    /// The customer record it belongs to, where the provider has one.
    pub customer: Option<Box<str>>,
}

impl Card {
    /// Whether all its names are plain and short: they become names of accounts and parts of requests.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let plain = |text: &str| {
            let fits = (1..=CARD_TEXT_BYTES_MAX).contains(&text.len());
            fits && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        let short = self.provider.len() <= 32;
        let customer = self.customer.as_deref();
        short && plain(&self.provider) && plain(&self.method) && customer.is_none_or(plain)
    }
}

/// What a driver pays with.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Funding {
    /// Prepaid money in our books.
    Wallet,
    /// A card at a payment provider.
    Card(Card),
}

/// What is asked of a provider.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
pub enum PaymentKind {
    /// Reserve an amount on the card.
    Authorise,
    /// Raise what is reserved, to a new total.
    Increment,
    /// Take an amount of what is reserved, once; the rest is given back.
    Capture,
    /// Give back all that is reserved.
    Void,
    /// Pay back an amount of what was taken.
    Refund,
}

impl PaymentKind {
    /// Upper-case name for SQL and HTTP.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            PaymentKind::Authorise => "AUTHORISE",
            PaymentKind::Increment => "INCREMENT",
            PaymentKind::Capture => "CAPTURE",
            PaymentKind::Void => "VOID",
            PaymentKind::Refund => "REFUND",
        }
    }
}

/// How an operation stands.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
pub enum PaymentState {
    /// Not answered yet; it may or may not have been sent.
    Asked,
    /// The provider is at it, or waits for the payer.
    Pending,
    /// Done.
    Succeeded,
    /// Definitely not done.
    Declined,
    /// Nobody knows, and nobody asks any more: reconciliation will find it.
    Unknown,
}

impl PaymentState {
    /// Upper-case name for SQL and HTTP.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            PaymentState::Asked => "ASKED",
            PaymentState::Pending => "PENDING",
            PaymentState::Succeeded => "SUCCEEDED",
            PaymentState::Declined => "DECLINED",
            PaymentState::Unknown => "UNKNOWN",
        }
    }

    /// Whether an answer is on its way.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, PaymentState::Asked | PaymentState::Pending)
    }

    /// Whether it will not change any more.
    #[must_use]
    pub fn is_definite(self) -> bool {
        matches!(self, PaymentState::Succeeded | PaymentState::Declined)
    }
}

/// One operation at a payment provider, from being decided to its end.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PaymentRow {
    /// For which session.
    pub session: SessionId,
    /// Its place among the session's operations, from 0.
    pub number: u32,
    /// The id that it has at the provider, too.
    pub operation: u128,
    /// What was asked.
    pub kind: PaymentKind,
    /// The authorisation that it acts on; its own number when it is one.
    pub of: u32,
    /// An authorisation that takes the place of those before it.
    pub renews: bool,
    /// Whose card.
    pub driver: Identity,
    /// Which.
    pub card: Card,
    /// The payer sits before a screen and can be asked to prove who they are.
    pub present: bool,
    /// What to reserve in all, take or pay back; of a void nothing.
    pub amount: Amount,
    /// Of the amounts.
    pub currency: Currency,
    /// How it stands.
    pub state: PaymentState,
    /// What it did, by the provider's word: reserved in all, taken, paid back.
    pub moved: Amount,
    /// The provider's name of the payment it acts on, or of what it made: a payment, a refund.
    pub reference: Option<Box<str>>,
    /// The payment it belongs to, by the provider's name; `None` until its authorisation succeeded.
    pub payment: Option<Box<str>>,
    /// Why it was declined, as a number that providers share; 0 when it was not.
    pub code: u16,
    /// What the provider said, for people.
    pub words: Box<str>,
    /// What the payer's app needs in order to prove who they are.
    pub challenge: Option<Box<str>>,
    /// When it was decided.
    pub at: Timestamp,
    /// When something last happened to it.
    pub changed: Timestamp,
    /// The outbox row that carries it.
    pub outbox: u64,
}

impl PaymentRow {
    /// Its key in the table of payments.
    #[must_use]
    pub fn key(&self) -> [u8; 20] {
        payment_key(self.session, self.number)
    }
}

/// Key of a payment row.
#[must_use]
pub fn payment_key(session: SessionId, number: u32) -> [u8; 20] {
    let mut key = [0; 20];
    key[..16].copy_from_slice(&session.0.to_be_bytes());
    key[16..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The id of a session's operation at the provider.
pub(crate) fn operation_id(session: SessionId, number: u32) -> u128 {
    key128(&[b"payment", &session.0.to_le_bytes(), &number.to_le_bytes()])
}

/// What a provider said of an operation, or that it will not be asked any more.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum PaymentAnswer {
    /// Done.
    Succeeded {
        /// The provider's name of what now is: the payment, or the refund.
        reference: Box<str>,
        /// Reserved in all, taken, paid back; of a void zero.
        amount: Amount,
    },
    /// Definitely not done.
    Declined {
        /// Why, as a number that providers share.
        code: u16,
        /// What the provider said, for people.
        words: Box<str>,
    },
    /// An end will follow.
    Pending {
        /// The provider's name of it.
        reference: Box<str>,
        /// What the payer's app needs in order to prove who they are.
        challenge: Option<Box<str>>,
    },
    /// Nobody knows; nobody asks any more.
    Unknown,
}

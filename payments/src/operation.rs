//! What is asked of a provider, and what came of it. Plain values: a state machine that knows nothing of
//! this crate writes the one into its outbox and reads the other from a command.

use novax_model::{Amount, Currency, Timestamp};
use std::fmt;

/// Our number of one thing asked of a provider. It is sent as the idempotency key and kept on the provider's
/// object, so that the object can be found by it when the answer was lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OperationId(pub u128);

impl OperationId {
    /// The id in a text that [`fmt::Display`] wrote; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<OperationId> {
        let lower = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.as_bytes().iter().all(lower) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(OperationId)
    }
}

impl fmt::Display for OperationId {
    /// 32 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A name that the provider gave: of a payment, a refund, a payer's card or customer record. It goes into
/// addresses and forms as it is, so it holds only letters, digits, `_` and `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProviderRef(Box<str>);

impl ProviderRef {
    /// The most bytes of a name.
    pub const BYTES_MAX: usize = 255;

    /// Checks length and characters: `None` when the text is no such name.
    #[must_use]
    pub fn new(text: &str) -> Option<ProviderRef> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let fits = (1..=ProviderRef::BYTES_MAX).contains(&text.len());
        (fits && text.bytes().all(plain)).then(|| ProviderRef(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The five things that change money at a provider.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum OperationKind {
    /// Reserve an amount on a payer's card or account.
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

impl OperationKind {
    /// The kind in a word, for people and for logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            OperationKind::Authorise => "authorise",
            OperationKind::Increment => "increment",
            OperationKind::Capture => "capture",
            OperationKind::Void => "void",
            OperationKind::Refund => "refund",
        }
    }
}

/// Who pays, in the provider's names. Never a card number: those stay with the provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payer {
    /// The means of payment: with Stripe a `pm_...`; with a wallet the wallet's name.
    pub method: ProviderRef,
    /// The customer record that the means belongs to, where the provider has one.
    pub customer: Option<ProviderRef>,
    /// The payer sits before a screen and can be asked to prove who they are.
    pub present: bool,
}

/// What an operation acts on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A payer: what an [`OperationKind::Authorise`] acts on.
    Payer(Payer),
    /// A payment that an earlier authorisation made: what all others act on.
    Payment(ProviderRef),
}

/// One thing to be done by a provider at most once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Ours, never used again for anything else.
    pub id: OperationId,
    /// What to do.
    pub kind: OperationKind,
    /// To whom or to what.
    pub target: Target,
    /// Authorise: what to reserve. Increment: the new total. Capture, refund: how much. Void: ignored.
    pub amount: Amount,
    /// Of the amount.
    pub currency: Currency,
    /// When it was decided. A provider forgets idempotency keys some time after it.
    pub at: Timestamp,
    /// What it is for, as people know it (a session's number): kept on the provider's object.
    pub subject: Box<str>,
}

impl Operation {
    /// The payment this acts on; none for an authorisation.
    #[must_use]
    pub fn payment(&self) -> Option<&ProviderRef> {
        match &self.target {
            Target::Payment(payment) => Some(payment),
            Target::Payer(_) => None,
        }
    }

    /// Whether kind and target belong together, and the amount is one.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let fits = match self.target {
            Target::Payer(_) => self.kind == OperationKind::Authorise,
            Target::Payment(_) => self.kind != OperationKind::Authorise,
        };
        fits && (self.amount > 0 || self.kind == OperationKind::Void)
    }
}

/// Why a provider will not do it: definite, nothing moved.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// The payer's money does not suffice.
    InsufficientFunds,
    /// The payer's bank says no, for a reason it may keep to itself.
    CardDeclined,
    /// The card is expired, blocked, lost or its data are wrong: the payer needs another.
    CardUnusable,
    /// The payer must prove who they are and is not before a screen.
    AuthenticationRequired,
    /// What was reserved is no longer: it lapsed, or was given back.
    AuthorisationGone,
    /// It was taken already, in whole: nothing is left to take or to give back.
    AlreadyCaptured,
    /// More than was reserved, or than was taken.
    AmountTooLarge,
    /// The provider cannot move such an amount: too small, or too fine for this currency.
    AmountUnfit,
    /// This card or account cannot do that (no partial capture, no increment).
    NotSupported,
    /// The provider knows no such payment or means of payment.
    NoSuchObject,
    /// The request was wrong: a mistake of ours.
    Malformed,
    /// It was never taken up by the provider within its time, though tried again and again.
    Unavailable,
}

impl Refusal {
    /// A number that stays the same for ever, for rows and commands.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Refusal::InsufficientFunds => 1,
            Refusal::CardDeclined => 2,
            Refusal::CardUnusable => 3,
            Refusal::AuthenticationRequired => 4,
            Refusal::AuthorisationGone => 5,
            Refusal::AlreadyCaptured => 6,
            Refusal::AmountTooLarge => 7,
            Refusal::AmountUnfit => 8,
            Refusal::NotSupported => 9,
            Refusal::NoSuchObject => 10,
            Refusal::Malformed => 11,
            Refusal::Unavailable => 12,
        }
    }

    /// A sentence that says whose fault it is.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Refusal::InsufficientFunds => "the payer's money does not suffice",
            Refusal::CardDeclined => "the payer's bank declined",
            Refusal::CardUnusable => "the payer's card is expired, blocked or wrong",
            Refusal::AuthenticationRequired => "the payer must prove who they are, in person",
            Refusal::AuthorisationGone => "the authorisation lapsed or was given back",
            Refusal::AlreadyCaptured => "the payment was captured before",
            Refusal::AmountTooLarge => "the amount is more than what is there to take from",
            Refusal::AmountUnfit => "the provider cannot move such an amount of this currency",
            Refusal::NotSupported => "this means of payment cannot do that",
            Refusal::NoSuchObject => "the provider knows no such payment or means of payment",
            Refusal::Malformed => "we asked wrongly",
            Refusal::Unavailable => "the provider did not take it up in time",
        }
    }
}

/// What came of an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Done.
    Succeeded {
        /// The provider's name of what now is: the payment, or the refund.
        reference: ProviderRef,
        /// What it did, by the provider's word: reserved in all, taken, paid back; of a void zero.
        amount: Amount,
    },
    /// Definitely not done, and nothing will come of it.
    Declined {
        /// Why.
        refusal: Refusal,
        /// What the provider said, for people; no more than [`WORDS_BYTES_MAX`] bytes.
        words: Box<str>,
    },
    /// The provider is at it; an end will follow.
    Pending {
        /// The provider's name of it.
        reference: ProviderRef,
        /// What the payer's app needs in order to prove who they are.
        challenge: Option<Box<str>>,
    },
    /// Nobody knows. As an end: we stopped asking, reconciliation will find it.
    Unknown,
}

/// The most bytes that are kept of a provider's words.
pub const WORDS_BYTES_MAX: usize = 300;

impl Outcome {
    /// A refusal, with what the provider said cut to its bound.
    #[must_use]
    pub fn declined(refusal: Refusal, words: &str) -> Outcome {
        let words = if words.is_empty() { refusal.words() } else { words };
        let end = words.floor_char_boundary(WORDS_BYTES_MAX);
        Outcome::Declined { refusal, words: words[..end].into() }
    }

    /// Whether nothing will change it any more by asking.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        matches!(self, Outcome::Succeeded { .. } | Outcome::Declined { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written_and_nothing_else_is() {
        for id in [0, 1, u128::MAX, 0xfeed << 64] {
            let text = OperationId(id).to_string();
            assert_eq!(text.len(), 32);
            assert_eq!(OperationId::parse(&text), Some(OperationId(id)));
            assert_eq!(OperationId::parse(&text[1..]), None);
        }
        assert_eq!(OperationId::parse(&"F".repeat(32)), None);
        assert_eq!(OperationId::parse(&format!("+{}", "1".repeat(31))), None);
    }

    #[test]
    fn a_providers_name_cannot_leave_its_place_in_an_address() {
        assert!(ProviderRef::new("pi_3Abc-9").is_some());
        for wrong in ["", "pi_1/capture", "..", "a b", "a?b", "a%2f", "ä", &"a".repeat(256)] {
            assert!(ProviderRef::new(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn words_are_cut_between_characters() {
        let Outcome::Declined { words, .. } =
            Outcome::declined(Refusal::CardDeclined, &"é".repeat(WORDS_BYTES_MAX))
        else {
            panic!("a refusal");
        };
        assert_eq!(words.len(), WORDS_BYTES_MAX);
        let silent = Outcome::declined(Refusal::CardDeclined, "");
        assert!(matches!(silent, Outcome::Declined { words, .. } if words.contains("bank")));
    }
}
